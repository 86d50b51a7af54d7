"""What happens to the machine or the process: dm-fhir as a process of its own."""

import os
import re
import signal
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from threading import Event
from unittest import mock

import pytest

from .answers import Deliver
from .certificates import Certificates
from .checks import check_always, check_healed, check_row
from .conftest import Observe
from .faults import Fault
from .processes import Process
from .scenarios import LARGE, MOST_MIB, MOST_MIB_MORE, SCENARIOS, Scenario
from .server import FaultServer, Run
from .study import Ran, Study, new_study

StudyOf = Callable[[Scenario], tuple[Study, str]]
ROW = {scenario.id: scenario for scenario in SCENARIOS}
_PATIENCE_SECONDS = 20


def _sending(page: int, deliver: Deliver) -> Fault:
    """A page that is sent in another way."""
    return Fault(reply=lambda ask, reply: replace(reply, deliver=deliver) if ask.page == page else reply)


class _Held:
    """A page whose answer waits."""

    def __init__(self, page: int) -> None:
        self.reached, self.released = Event(), Event()
        self.fault = _sending(page, self._deliver)

    def _deliver(self, connection: socket.socket, head: bytes, body: bytes) -> bool:
        self.reached.set()
        self.released.wait(_PATIENCE_SECONDS)
        connection.sendall(head + body)
        return True


def _study_at(server: FaultServer, folder: Path, fault: Fault) -> tuple[Study, Run]:
    endpoint = server.endpoint("ok")
    run = server.run(endpoint)
    run.suffer(fault)
    return new_study(folder, endpoint), run


def _heals(study: Study, run: Run, *, pull: Callable[[], Ran]) -> Ran:
    """The next pull brings the rest."""
    before, asked = study.units(), len(run.log)
    run.heal()
    again = pull()
    check_healed(study, again, before, run.log[asked:], rows=1000, is_full=False)
    return again


def test_nothing_listens(tmp_path: Path, observe: Observe) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    study = new_study(tmp_path, f"http://127.0.0.1:{port}/fhir")
    ran, _, _ = Process(study, "-v", "pull").ended()
    observe(ROW["T11-down"], study, ran)
    check_row(ROW["T11-down"], study, Run(()), ran)
    check_always(study, Run(()), ran)
    assert sum(ran.waits) < 60


@pytest.mark.parametrize("id_", ["T35-tls-expired", "T35-tls-issuer", "T35-tls-name"])
def test_a_bad_certificate(
    server: FaultServer, certificates: Certificates, tmp_path: Path, observe: Observe, id_: str
) -> None:
    scenario = ROW[id_]
    endpoint = server.endpoint("ok", scenario.tls)
    trusted = "" if id_ == "T35-tls-issuer" else f'ca_bundle = "{certificates.authority}"'
    study, run = new_study(tmp_path, endpoint, site=trusted), server.run(endpoint)
    ran, seconds, _ = Process(study, "-v", "pull").ended()
    observe(scenario, study, ran)
    check_row(scenario, study, run, ran)
    check_always(study, run, ran)
    assert run.log == []
    assert sum(ran.waits) == 0, "a certificate does not become good by trying again"
    assert seconds < 5


@pytest.fixture(scope="module")
def usual_mib(server: FaultServer, tmp_path_factory: pytest.TempPathFactory) -> float:
    """What a pull without a fault takes."""
    ran, _, mib = Process(new_study(tmp_path_factory.mktemp("usual"), server.endpoint("ok")), "pull").ended()
    assert ran.code == 0, ran.text
    return mib


@pytest.mark.parametrize("scenario", LARGE, ids=lambda scenario: scenario.id)
def test_large_answers(
    server: FaultServer, study_of: StudyOf, observe: Observe, usual_mib: float, scenario: Scenario
) -> None:
    study, endpoint = study_of(scenario)
    run = server.run(endpoint)
    ran, _, mib = Process(study, "-v", "pull").ended()
    observe(scenario, study, ran)
    check_row(scenario, study, run, ran)
    check_always(study, run, ran, scenario=scenario)
    most = usual_mib + MOST_MIB_MORE[scenario.t] if scenario.t in MOST_MIB_MORE else MOST_MIB[scenario.t]
    assert 0 < mib < most
    _heals(study, run, pull=lambda: study.type("pull"))


@pytest.fixture
def mortal(tmp_path: Path) -> Iterator[FaultServer]:
    """A server that may die."""
    with FaultServer() as server:
        yield server
        assert server.errors == []


def test_the_server_dies(mortal: FaultServer, tmp_path: Path, observe: Observe) -> None:
    def half_and_die(connection: socket.socket, head: bytes, body: bytes) -> bool:
        connection.sendall(head + body[: len(body) // 2])
        mortal.die()
        return False

    study, run = _study_at(mortal, tmp_path, _sending(6, half_and_die))
    ran, _, _ = Process(study, "-v", "pull").ended()
    observe(ROW["T59-killserver"], study, ran)
    check_row(ROW["T59-killserver"], study, run, ran)
    check_always(study, run, ran)
    mortal.come_back()
    _heals(study, run, pull=lambda: study.type("pull"))


def test_a_second_pull_is_locked_out(server: FaultServer, tmp_path: Path, observe: Observe) -> None:
    held = _Held(5)
    study, run = _study_at(server, tmp_path, held.fault)
    first = Process(study, "pull")
    first.reaches(held.reached)
    asked, units, start = len(run.log), study.units(), time.monotonic()
    second = study.type("pull")
    seconds = time.monotonic() - start
    ledger, requests = study.units(), len(run.log)
    held.released.set()
    ran, _, _ = first.ended()
    observe(ROW["T61-two"], study, second)
    assert second.code == 11
    assert re.search(ROW["T61-two"].says[0], second.text), second.text
    assert f"process {first.id}" in second.text
    assert seconds < 1
    assert (ledger, requests) == (units, asked), "the second run left something behind"
    assert (ran.code, len(study.observations())) == (0, 1000), ran.text


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_interrupted(server: FaultServer, tmp_path: Path, observe: Observe, name: str) -> None:
    scenario = ROW[f"T63-ctrlc-{name}"]
    held = _Held(6)
    study, run = _study_at(server, tmp_path, held.fault)
    process = Process(study, "-v", "pull")
    process.reaches(held.reached)
    process.send(getattr(signal, name))
    ran, seconds, _ = process.ended()
    held.released.set()
    observe(scenario, study, ran)
    assert seconds < 2
    check_row(scenario, study, run, ran)
    again = _heals(study, run, pull=lambda: study.type("pull"))
    assert "holds the lock" not in again.text


def test_the_disk_is_full(server: FaultServer, tmp_path: Path, observe: Observe) -> None:
    scenario = ROW["T62-full"]
    study, run = _study_at(server, tmp_path, Fault())
    study.type("status")
    page_bytes = int.from_bytes(study.store.read_bytes()[16:18], "big")  # as the file's head says
    pages = study.store.stat().st_size // page_bytes
    ran, _, _ = Process(study, "-v", "pull", most_pages=pages + 60_000 // page_bytes).ended()
    observe(scenario, study, ran)
    rows, unit = len(study.observations()), study.units()["Observation?patient"]
    assert ran.code == 1, ran.text
    assert 0 < rows < 1000
    assert rows == unit.unique == 100 * unit.pages, "what is counted is what is there"
    check_row(replace(scenario, rows=rows, received=rows), study, run, ran)
    _heals(study, run, pull=lambda: study.type("pull"))


def test_the_disk_will_be_full(server: FaultServer, tmp_path: Path, observe: Observe) -> None:
    scenario = ROW["T62-full-soon"]
    study, _ = _study_at(server, tmp_path, Fault())
    assert study.type("pull").code == 0
    original = os.statvfs

    def nearly_full(path: str) -> os.statvfs_result:
        values = list(original(path))
        values[3] = values[4] = 100_000 // values[1]  # what is free, and free for us, in blocks
        return os.statvfs_result(values)

    with mock.patch.object(os, "statvfs", nearly_full):
        ran = study.type("pull", "--full")
    observe(scenario, study, ran)
    assert re.search("space", ran.err), ran.text
    assert len(study.observations()) == 1000
