"""A copy made in the middle of a sync is put back, and the next sync ends as if nothing had happened."""

from __future__ import annotations

import os
import signal
import time
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.acceptance.conftest import HospitalMaker, StudyMaker

#: Where the run stops itself: in the middle of the pull, and where what is to be written has just been noted.
MOMENTS = {
    "pulling": ("dm_fhir.fhir.connection:Connection.ask", 6, "before"),
    "pushing": ("dm_fhir.store.pushes:put_pushes", 1, "after"),
}


def wait_until_stopped(pid: int) -> None:
    deadline = time.monotonic() + 60
    while True:
        with open(f"/proc/{pid}/stat", encoding="ascii") as file:
            if file.read().rpartition(")")[2].split()[0] == "T":
                return
        assert time.monotonic() < deadline, "it did not get there"
        time.sleep(0.02)


@pytest.mark.parametrize("moment", MOMENTS)
def test_the_next_sync_ends_with_the_same(new_hospital: HospitalMaker, new_study: StudyMaker, moment: str) -> None:
    hospital = new_hospital()
    study = new_study(hospital)
    copy = str(study.config.with_name("copy.sqlite"))
    syncing = study.start_disturbed(*MOMENTS[moment], "sync", sending=signal.SIGSTOP)
    wait_until_stopped(syncing.pid)
    made = study.type("backup", copy, "--json")
    os.kill(syncing.pid, signal.SIGCONT)
    out, err = syncing.communicate(timeout=120)
    assert (made.code, syncing.returncode) == (0, 0), out + err
    content, written = study.content(), hospital.outcomes()

    assert study.type("restore", copy).code == 0
    assert study.content() != content
    again = study.type("sync", "--json")

    assert (again.code, study.content()) == (0, content), again.out
    assert "previous run was interrupted; continuing" in again.err
    identifiers = [one["identifier"][0]["value"] for one in hospital.outcomes()]
    assert len(identifiers) == len(set(identifiers)) == len(written) > 0
    assert [run["command"] for run in study.type("runs", "--json").json["runs"]] == ["sync", "restore", "sync"]
