"""kill -9 at every commit of a pull of files: the same command then gives the store of one that nobody disturbed."""

import os
import signal
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dm_fhir.config import Cohort
from dm_fhir.mappings.patient import merges
from dm_fhir.store.blocks import kept
from dm_fhir.store.database import open_store
from dm_fhir.store.ledger import units
from dm_fhir.sync.held import held
from dm_fhir.sync.scan import scanned

from ..servers.records import ck, infusion, person, record
from .exports import Pulls, by_reference, export, medication, write
from .mocked import new_study

#: Which row of the ledger must be complete before a question need not be asked again of a file. (Links are another question
#: whenever somebody has joined by them.)
_ROW_OF = {
    "GivenDrug": "cohort: file: ", "GivenDrug by Medication": "cohort: by Medication, file: ",
    "OfPatients": "file: ",
}  # fmt: skip
_PARTS = 5


def content(db: sqlite3.Connection) -> dict[str, list[Any]]:
    """Everything in the store but when and by which run."""
    rows = db.execute(
        "SELECT site, type, id, version, last_updated, hash, subject, origin, block, start, length FROM resource ORDER BY 1, 2, 3"
    ).fetchall()
    bodies = kept(db, (row[-3:] for row in rows))
    return {
        "resources": [(*row[:-3], body) for row, body in zip(rows, bodies, strict=True)],
        "versions": db.execute("SELECT site, type, id, hash FROM resource_version ORDER BY 1, 2, 3, 4").fetchall(),
        "aside": db.execute("SELECT query, place, reason, body FROM quarantine ORDER BY 1, 2").fetchall(),
        "members": db.execute("SELECT patient, gone FROM cohort_member ORDER BY 1").fetchall(),
        "ledger": [(u.query, u.state, u.reason, u.received, u.unique, u.asked) for u in units(db, "leon")],
    }


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An export in which every pass has something to find: links, a stray infusion, a Medication that is referred to."""
    into = export(tmp_path / "in")
    link = [{"type": "replaced-by", "other": {"reference": "Patient/code"}}]
    write(into / "Patient.2.ndjson", person("old", link=link))
    lines = [ck(f"o{number}", "old" if number % 10 else "other3") for number in range(500)]
    write(into / "Observation.2.ndjson", *lines, infusion("stray", "other3"), by_reference("s2", "ref", "Medication/x"))
    write(into / "Medication.1.ndjson", medication("x", {"coding": [{"system": "urn:x", "code": "x"}]}))
    with (into / "Encounter.ndjson").open("a") as file:
        file.write('{oops\n{"resourceType":"Encounter"}\n')
    write(
        into / "MedicationRequest.ndjson",
        record("MedicationRequest", "r", "code", medicationReference={"reference": "Medication/x"}),
    )
    return into


@pytest.fixture(autouse=True)
def _small_parcels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scanned, "PARCEL_RESOURCES", 200)


def killed(study: Path, folder: Path, commit: int) -> bool:
    """Pull in a process that is killed just before its so-many-th commit; whether it came so far."""
    child = os.fork()
    if child == 0:
        pulls = Pulls(study, Cohort("medication"))
        left = iter(range(commit, -1, -1))

        def count(statement: str) -> None:
            if statement == "COMMIT" and next(left) == 1:
                os.kill(os.getpid(), signal.SIGKILL)

        pulls.db.set_trace_callback(count)
        pulls(folder)
        os._exit(0)
    return os.WIFSIGNALED(os.waitpid(child, 0)[1])


def commits(study: Path, folder: Path, first: int) -> Iterator[tuple[int, Path]]:
    """A new study for each commit at which it was killed: of every `_PARTS` one, from the `first` on."""
    for commit in range(first, 200, _PARTS):
        one = study / str(commit)
        one.mkdir(mode=0o700)
        if not killed(one, folder, commit):
            return
        yield commit, one


@pytest.mark.parametrize("first", range(1, 1 + _PARTS))
def test_killed_at_every_commit_the_next_run_ends_as_if_nothing_had_been(
    tmp_path: Path, folder: Path, first: int
) -> None:
    (tmp_path / "whole").mkdir(mode=0o700)
    whole = Pulls(tmp_path / "whole", Cohort("medication"))
    whole(folder)
    expected = content(whole.db)
    assert {state for _, state, *_ in expected["ledger"]} == {"complete"}
    assert len(expected["resources"]) > 450
    goes_on, tried = 0, []
    for commit, study in commits(tmp_path, folder, first):
        tried.append(commit)
        pulls = Pulls(study, Cohort("medication"))
        states = pulls.states()
        assert {*states.values()} != {"complete"} or not states, "the ledger must say that it is not through"
        assert pulls.members() == [] or held(pulls.db, pulls.site, merges).keys() >= set(pulls.members())
        pulls(folder)
        question, names = pulls.asked[0] if pulls.asked else ("", [])
        row = _ROW_OF.get(question, "nothing")
        begun = {query: state for query, state in states.items() if query.startswith(row)}
        if {*begun.values()} > {"complete"}:  # in the middle of this pass: nobody has joined since it began
            assert {query.removeprefix(row) for query, state in begun.items() if state != "complete"} >= {*names}
            goes_on += 1
        assert content(pulls.db) == expected
        pulls.db.close()
    assert len(tried) >= 5
    assert goes_on >= 1, "only what was not finished is read again"


def test_killed_again_and_again_it_still_gets_through(tmp_path: Path, folder: Path) -> None:
    (tmp_path / "whole").mkdir(mode=0o700)
    whole = Pulls(tmp_path / "whole", Cohort("medication"))
    whole(folder)
    study = tmp_path / "study"
    study.mkdir(mode=0o700)
    kills = 0
    while killed(study, folder, 7):
        kills += 1
        assert kills < 30
    assert kills > 3
    db = open_store(study / "study.sqlite", "anifrolumab")
    assert content(db) == content(whole.db)


def test_what_a_killed_pull_of_standard_input_leaves_is_private_and_goes_with_the_next_pull(tmp_path: Path) -> None:
    study = new_study(tmp_path / "study", {"leon": "http://127.0.0.1:9/fhir"})
    spool = study.config.with_name("dm-fhir.sqlite.stdin")
    command = [
        sys.executable,
        "-c",
        "from dm_fhir.cli.main import run; run()",
        "--config",
        str(study.config),
        "pull",
        "--from",
        "-",
    ]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, umask=0
    ) as process:
        assert process.stdin is not None
        process.stdin.write(b'{"resourceType":"Patient","id":"1"}\n' * 100_000)
        process.stdin.flush()
        while not (spool.exists() and spool.stat().st_size):
            assert process.poll() is None
        process.kill()
    assert stat.S_IMODE(spool.stat().st_mode) == 0o600
    assert study.type("pull").code == 4
    assert not spool.exists()
