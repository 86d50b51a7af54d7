"""What may be wrong with files: each fault is named with file and line, the rest goes on, and what was complete is not read again."""

import gzip
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import pytest

from dm_fhir.config import Cohort
from dm_fhir.fhir import sources
from dm_fhir.mappings.patient import merges
from dm_fhir.store.database import open_store
from dm_fhir.store.quarantine import quarantined
from dm_fhir.sync.held import held
from dm_fhir.sync.scan.piece import Piece
from dm_fhir.sync.scan.questions import Question
from dm_fhir.sync.scan.runners import Runner, in_processes, in_turn
from dm_fhir.sync.scan.scanned import Scanned

from ..ran import Ran
from ..servers.hospital import Hospital, serving
from ..servers.records import ck, infusion, person
from ..servers.study import Study, new_study
from .exports import STUDY, Pulls, export, write
from .test_files_killed import content

OBSERVATIONS = "file: Observation.ndjson"


@pytest.fixture
def pulls(tmp_path: Path) -> Pulls:
    return Pulls(tmp_path, Cohort("medication"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return export(tmp_path / "in")


def aside(pulls: Pulls) -> list[tuple[str, str]]:
    return [(Path(one.place).name, one.reason) for one in quarantined(pulls.db, "leon")]


def before(question: str, act: Callable[[], object]) -> Runner:
    """A runner that does something before it asks this question."""

    def run(pieces: Sequence[Piece], asked: Question) -> Iterator[Scanned]:
        if type(asked).__name__ == question:
            act()
        return in_turn(pieces, asked)

    return run


@pytest.mark.parametrize("packed", [False, True])
def test_half_a_last_line_means_that_more_is_missing(pulls: Pulls, folder: Path, packed: bool) -> None:
    path = folder / ("Observation.ndjson.gz" if packed else "Observation.ndjson")
    text = (folder / "Observation.ndjson").read_bytes()
    (folder / "Observation.ndjson").unlink()

    def put(content: bytes) -> None:
        path.write_bytes(gzip.compress(content) if packed else content)

    put(text + b'{"resourceType":"Observation","id":"ha')
    pulls(folder)
    row = f"file: {path.name}"
    assert pulls.states()[row] == "partial (file-cut-off)"
    assert aside(pulls) == [(path.name, "file-cut-off"), (f"{path.name}:7", "not-json")]
    assert "Observation/ck-ref" in pulls.stored()
    assert held(pulls.db, pulls.site, merges).keys() == {"Patient/code", "Patient/ref"}
    put(text + b'{"resourceType":"Observation","id":"ha\n')  # a whole line that is no JSON: nothing else is missing
    pulls(folder)
    assert (pulls.states()[row], aside(pulls)) == ("complete", [(f"{path.name}:7", "not-json")])
    put(text.rstrip(b"\n"))  # a last line without an end that is whole
    taken = pulls(folder)
    assert (pulls.states()[row], aside(pulls)) == ("complete", [])
    assert taken.files - taken.complete == 1, "the others are not read again"


def test_a_resource_type_that_is_none(pulls: Pulls, folder: Path) -> None:
    lines = ['{"resourceType":5,"id":"1"}', '{"resourceType":["Observation"],"id":"1"}', '{"id":"1"}', "[]", "7"]
    (folder / "more.ndjson").write_text("\n".join(lines) + "\n")
    taken = pulls(folder)
    assert [place for place, _ in aside(pulls)] == [f"more.ndjson:{number}" for number in range(1, 6)]
    assert (taken.not_kept["set_aside"], pulls.states()["file: more.ndjson"]) == (5, "complete")


@pytest.mark.parametrize("at", ["GivenDrug", "OfPatients"])
def test_a_file_that_is_changed_meanwhile(pulls: Pulls, folder: Path, at: str) -> None:
    path = folder / "MedicationAdministration.ndjson"

    def change() -> None:
        write(path, infusion("i1", "code"), infusion("i9", "other4"))

    pulls(folder, runner=before(at, change))
    assert pulls.states()["file: MedicationAdministration.ndjson"] == "partial (file-changed)"
    assert pulls.states()["all files"] == "complete"
    pulls(folder)
    assert {*pulls.states().values()} == {"complete"}
    assert "Patient/other4" in pulls.members()
    assert {"MedicationAdministration/i9", "Observation/ck-other4"} <= pulls.stored()


@pytest.mark.parametrize("at", ["GivenDrug", "Linked", "OfPatients"])
def test_a_folder_that_empties(pulls: Pulls, folder: Path, at: str) -> None:
    kept = {path.name: path.read_bytes() for path in folder.iterdir()}

    def empty() -> None:
        for path in folder.iterdir():
            path.unlink()

    pulls(folder, runner=before(at, empty))
    states = pulls.states()
    assert {states[f"file: {name}"] for name in kept} == {"partial (file-not-readable)"}
    for name, text in kept.items():
        (folder / name).write_bytes(text)
    pulls(folder)
    assert pulls.members() == ["Patient/code", "Patient/ref"]
    assert {*pulls.states().values()} == {"complete"}


def test_a_file_that_can_no_longer_be_opened(pulls: Pulls, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As one is whose permissions have changed: also where it is only opened for a look at its first lines."""
    real = sources.raw

    def deny(path: str, version: str = "") -> object:
        if path.endswith("Patient.ndjson"):
            raise PermissionError(13, "Permission denied")
        return real(path, version)

    pulls(folder, runner=before("GivenDrug", lambda: monkeypatch.setattr(sources, "raw", deny)))
    assert pulls.states()["file: Patient.ndjson"] == "partial (file-not-readable)"
    assert pulls.states()[OBSERVATIONS] == "complete"
    assert "Observation/ck-ref" in pulls.stored()


def test_a_file_is_read_again_when_it_or_the_question_changes(pulls: Pulls, folder: Path, tmp_path: Path) -> None:
    pulls(folder)
    pulls(folder)
    assert pulls.asked == []
    os.utime(folder / "Observation.ndjson")
    taken = pulls(folder)
    assert pulls.asked == [("OfPatients", ["Observation.ndjson"]), ("TheseMedications", ["Medication.000.ndjson"])]
    assert (taken.complete, taken.kept) == (4, {"unchanged": 2})
    taken = pulls(folder, full=True)
    assert (taken.complete, taken.kept) == (0, {"unchanged": 6})
    everything = Pulls(tmp_path, Cohort("medication"), scope="all")
    assert everything(folder).complete == 0
    assert "Encounter/e-ref" in everything.stored()


def test_somebody_new_is_looked_for_in_all_files_again(pulls: Pulls, folder: Path, tmp_path: Path) -> None:
    pulls(folder)
    later = write(tmp_path / "later" / "MedicationAdministration.ndjson", infusion("i9", "other4"))
    taken = pulls(later)
    assert (taken.unsearched, "Observation/ck-other4" in pulls.stored()) == (5, False)
    taken = pulls(folder, later)
    assert (taken.unsearched, taken.complete, "Observation/ck-other4" in pulls.stored()) == (0, 1, True)


def test_processes_leave_the_same_store(tmp_path: Path, folder: Path) -> None:
    stores = []
    for name, runner in (("one", in_turn), ("two", partial(in_processes, processes=2))):
        (tmp_path / name).mkdir()
        pulls = Pulls(tmp_path / name, Cohort("medication"))
        pulls(folder, runner=runner)
        stores.append(content(pulls.db))
    assert stores[0] == stores[1]


def test_killed_at_any_moment_with_processes(tmp_path: Path, folder: Path) -> None:
    """Wherever it has come by then: in a pass, between two, while it starts."""
    write(
        folder / "Observation.3.ndjson",
        *(ck(f"o{number}", "ref" if number % 50 == 0 else "other1") for number in range(4000)),
    )
    line = [Path(sys.executable).with_name("dm-fhir"), "pull", "--from", str(folder), "--processes", "2"]
    study = tmp_path / "study"
    study.mkdir(mode=0o700)
    (study / "dm-fhir.toml").write_text(STUDY)
    for seconds in (0.4, 0.8, 1.2, 1.6):
        with subprocess.Popen(line, cwd=study, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
            time.sleep(seconds)
            process.send_signal(signal.SIGKILL)
    assert subprocess.run(line, cwd=study, check=False, capture_output=True, timeout=60).returncode == 0
    (tmp_path / "whole").mkdir(mode=0o700)
    whole = Pulls(tmp_path / "whole", Cohort("medication"))
    whole(folder)
    db = open_store(study / "dm-fhir.sqlite", "anifrolumab")
    assert content(db) == content(whole.db)
    db.close()


@pytest.fixture
def typed(tmp_path: Path) -> Callable[..., Ran]:
    """Types commands in a study whose only site sends files."""
    (tmp_path / "dm-fhir.toml").write_text(STUDY)
    return Study(tmp_path / "dm-fhir.toml").type  # type: ignore[return-value]


def test_what_is_said(typed: Callable[..., Ran], folder: Path) -> None:
    ran = typed("pull", "--from", str(folder))
    assert ran.code == 0
    assert ran.out.splitlines()[:5] == [
        "leon: 2 patients in the cohort",
        "  files: 5",
        "  read 6 Encounter, 2 Medication, 4 MedicationAdministration, 6 Observation, 6 Patient",
        "  kept 6: 6 new",
        "  not kept: 16 of nobody in the cohort, 2 that the tables do not know",
    ]
    again = json.loads(typed("pull", "--from", str(folder), "--json").out)
    assert again["files"] == {"found": 5, "complete_before": 5}
    assert (again["read"], again["kept"], again["lines_read"]) == ({}, {}, 0)
    full = json.loads(typed("pull", "--from", str(folder), "--json", "--full").out)
    assert (full["cohort"], full["lines_read"], full["kept"]) == ({"leon": 2}, 24, {"unchanged": 6})
    assert full["not_kept"] == {"not_in_cohort": 16, "not_mapped": 2}
    (folder / "Observation.ndjson").write_text('{"resourceType":"Obs')
    ran = typed("pull", "--from", str(folder))
    assert ran.code == 3
    failed = typed("failed").out
    assert "get the file again: it is cut off" in failed
    assert f"pull --site leon --from {folder}/Observation.ndjson" in failed


def test_nobody_found_says_what_there_was(typed: Callable[..., Ran], tmp_path: Path) -> None:
    folder = tmp_path / "in"
    write(folder / "Patient.ndjson", person("a"))
    write(
        folder / "more.ndjson",
        infusion("i", "a", medicationCodeableConcept={"coding": [{"system": "urn:local", "code": "7"}]}),
    )
    ran = typed("pull", "--from", str(folder))
    assert ran.code == 0
    assert "nobody was given anifrolumab" in ran.err
    assert "the files hold 1 MedicationAdministration and 0 Medications" in ran.err


def test_a_folder_without_files_is_no_pull(typed: Callable[..., Ran], tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "read-me.txt").write_text("here is nothing")
    ran = typed("pull", "--from", str(tmp_path / "in"))
    assert ran.code == 2
    assert f"there is no FHIR file in {tmp_path / 'in'}; passed over: 1 (not a FHIR file)" in ran.err
    assert "is it mounted" in ran.err


def test_of_many_files_passed_over_the_first_are_named(typed: Callable[..., Ran], tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "one.ndjson").write_text('{"resourceType":"Patient","id":"1"}\n')
    for number in range(12):
        (tmp_path / "in" / f"{number}.txt").write_text("here is nothing")
    lines = typed("pull", "--from", str(tmp_path / "in")).out.splitlines()
    assert sum(line.startswith("  passed over, ") for line in lines) == 10
    assert "  … and 2 more passed over; all of them: pull --json" in lines


def test_everybody_is_not_asked_of_a_server(tmp_path: Path) -> None:
    with serving(Hospital()) as hospital:
        study = new_study(tmp_path, hospital.endpoint, cohort='by = "everybody"')
        ran, doctor = study.type("pull"), study.type("doctor")
    assert (doctor.code, "everybody at a server is none" in doctor.text) == (2, True)
    assert ran.code == 2
    assert 'by = "everybody" is for files' in ran.text
    assert "pull --from PATH" in ran.text
