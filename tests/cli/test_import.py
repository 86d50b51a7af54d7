"""dm-fhir import, as it is typed: what goes in, what is named, what a second import changes, and what is left when it is killed."""

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from dm_fhir.cli import main
from dm_fhir.fhir.resource import read_resource
from dm_fhir.store.database import open_store, transaction
from dm_fhir.store.filing import put_resources
from dm_fhir.store.ledger import begin_run, end_run, get_unit
from dm_fhir.store.quarantine import quarantined
from dm_fhir.store.resources import resources_of_type

from ..ran import Ran

CONFIG = """
[study]
title = "Scores in a table"
drug = "anifrolumab"
timezone = "Europe/Madrid"

[[site]]
name = "leon"

[site.import]
map = "clinic.toml"
"""
MAP = """
name = "clinic"
[patient]
column = "MRN"
system = "urn:mrn"
[date]
column = "Visit"
formats = ["YYYY-MM-DD"]
[[score]]
variable = "cdasi_activity"
column = "CDASI"
[[score]]
variable = "dlqi"
column = "DLQI"
"""
HEAD = "MRN,Visit,CDASI,DLQI\n"
GOOD = "mrn-771,2025-03-01,20,12\nmrn-771,2025-05-01,5,\nmrn-772,2025-05-01,30,9\n"
BAD = "mrn-771,2025-06-01,banana,3\nmrn-999,2025-06-01,4,3\n"
PRIVATE = ("mrn-771", "mrn-772", "mrn-999", "banana")


def infusion(name: str, patient: str) -> dict[str, Any]:
    """An infusion of the study drug on 3 March 2025."""
    return {
        "resourceType": "MedicationAdministration", "id": name, "status": "completed", "subject": {"reference": f"Patient/{patient}"},
        "medicationCodeableConcept": {"coding": [{"system": "http://www.whocc.no/atc", "code": "L04AG11"}]},
        "effectiveDateTime": "2025-03-03T10:00:00+01:00", "dosage": {"dose": {"value": 300, "unit": "mg"}},
    }  # fmt: skip


class Study:
    """A study whose store holds two patients."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder, self._capsys = folder, capsys
        (folder / "dm-fhir.toml").write_text(CONFIG, encoding="utf-8")
        (folder / "clinic.toml").write_text(MAP, encoding="utf-8")
        self.db = open_store(folder / "dm-fhir.sqlite", "anifrolumab")
        end_run(self.db, begin_run(self.db, "pull"), 0)
        self.store(*(self.patient(name, f"mrn-77{name}") for name in "12"), infusion("i1", "1"), infusion("i2", "2"))

    def patient(self, name: str, mrn: str, **more: Any) -> dict[str, Any]:
        return {"resourceType": "Patient", "id": name, "identifier": [{"system": "urn:mrn", "value": mrn}], **more}

    def store(self, *resources: dict[str, Any]) -> None:
        with transaction(self.db):
            put_resources(self.db, "leon", [read_resource(json.dumps(one).encode()) for one in resources], 1)

    def table(self, rows: str, name: str = "scores.csv") -> None:
        (self.folder / name).write_text(HEAD + rows, encoding="utf-8")

    def type(self, *words: str) -> Ran:
        self._capsys.readouterr()
        code = main.call(["-q", *words])
        return Ran(code, *self._capsys.readouterr())

    def scores(self) -> dict[tuple[str, str], tuple[float, str]]:
        """Value and status of every score in the store, by patient and day, of CDASI."""
        found = [json.loads(one.body) for one in resources_of_type(self.db, "leon", "Observation")]
        return {
            (one["subject"]["reference"], one["effectiveDateTime"]): (one["valueQuantity"]["value"], one["status"])
            for one in found
            if one["code"]["coding"][0]["code"] == "cdasi-activity"
        }

    def versions(self) -> int:
        return int(self.db.execute("SELECT count(*) FROM resource_version").fetchone()[0])


@pytest.fixture
def study(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.chdir(tmp_path)
    study = Study(tmp_path, capsys)
    yield study
    study.db.close()


def test_a_table_goes_in_and_becomes_outcomes(study: Study) -> None:
    study.table(GOOD)
    ran = study.type("import", "scores.csv")
    assert (ran.code, ran.out.splitlines()[:2]) == (
        0, ["leon: scores.csv: 3 rows", "leon: 5 scores: 5 new; other cells: 1 empty"],
    )  # fmt: skip
    assert ran.out.splitlines()[-1] == "import: units: 1 complete; exit 0 (complete)"
    assert study.type("compute").code == 0
    rows = study.db.execute("SELECT body FROM outcome WHERE variable = 'cdasi_activity_percent_improvement'").fetchall()
    assert sorted(json.loads(body).get("number", "none") for (body,) in rows) == ["75", "none"]


def test_the_same_file_again_changes_nothing_and_a_corrected_value_is_a_new_version(study: Study) -> None:
    study.table(GOOD)
    study.type("import", "scores.csv")
    before = study.db.execute("SELECT * FROM resource ORDER BY type, id").fetchall()
    assert "5 scores: 5 unchanged" in study.type("import", "scores.csv").out
    assert study.db.execute("SELECT * FROM resource ORDER BY type, id").fetchall() == before
    study.table(GOOD.replace(",20,", ",21,"))
    assert study.type("import", "scores.csv", "--json").json["imported"]["scores"] == {"amended": 1, "unchanged": 4}
    assert study.scores()["Patient/1", "2025-03-01"] == (21, "amended")
    assert study.versions() == 1
    assert study.type("import", "scores.csv", "--json").json["imported"]["scores"] == {"unchanged": 5}
    # The same score in another file is the same score.
    study.table(GOOD, "other.csv")
    assert study.type("import", "other.csv", "--json").json["imported"]["scores"] == {"amended": 1, "unchanged": 4}
    assert study.scores()["Patient/1", "2025-03-01"] == (20, "amended")


def test_what_a_file_has_no_longer_is_named_and_withdrawn_only_on_request(study: Study) -> None:
    study.table(GOOD)
    study.type("import", "scores.csv")
    shorter = "".join(GOOD.splitlines(keepends=True)[1:])
    study.table(shorter)
    ran = study.type("import", "scores.csv")
    assert ran.code == 0
    assert (
        "  no longer in the file, still in the store: 2; --replace withdraws them\n    Observation/dm-fhir-import-"
        in ran.out
    )
    assert study.scores()["Patient/1", "2025-03-01"] == (20, "final")
    assert study.type("import", "scores.csv", "--replace", "--json").json["imported"]["scores"] == {
        "unchanged": 3,
        "withdrawn": 2,
    }
    assert study.scores()["Patient/1", "2025-03-01"] == (20, "entered-in-error")
    assert study.type("import", "scores.csv", "--replace", "--json").json["imported"]["gone"] == []
    study.table(GOOD)
    study.type("import", "scores.csv")
    assert study.scores()["Patient/1", "2025-03-01"] == (20, "amended")


def test_nothing_is_withdrawn_while_a_row_has_faults(study: Study) -> None:
    study.table(GOOD)
    study.type("import", "scores.csv")
    study.table(GOOD.replace(",20,", ",banana,"))
    ran = study.type("import", "scores.csv", "--replace")
    assert "nothing is withdrawn while rows have faults" in ran.out
    assert study.scores()["Patient/1", "2025-03-01"] == (20, "final")


def test_faulty_rows_are_named_the_others_go_in_and_the_import_stays_partial(study: Study) -> None:
    study.table(GOOD + BAD)
    ran = study.type("import", "scores.csv")
    assert ran.code == 3
    assert "leon: scores.csv: 5 rows: 2 with faults\nleon: 6 scores: 6 new" in ran.out
    assert "  line 5, column CDASI: value_not_a_number; expected a number with a decimal point" in ran.out
    assert "  line 6, column MRN: patient_unknown; expected a patient whose records have been pulled" in ran.out
    assert "what mends them: dm-fhir failed --site leon" in ran.out
    assert "set aside: " not in ran.out  # each row is told once, with what was expected
    assert ran.out.splitlines()[-1] == (
        "import: units: 1 partial; exit 3 (partial: what is named above; dm-fhir failed says what mends it)"
    )
    assert len(study.type("import", "scores.csv", "--json").json["sites"][0]["set_aside"]) == 2
    failed = study.type("failed")
    assert failed.code == 3
    assert "mend the rows that `dm-fhir quarantine --site leon` lists, or acknowledge them there" in failed.out
    command = next(line for line in failed.out.splitlines() if "then: " in line).partition("then: ")[2]
    study.table(GOOD)
    mended = study.type(*command.split()[1:])
    assert mended.code == 0
    assert quarantined(study.db, "leon") == []
    assert study.type("failed").code == 0


def test_what_somebody_acknowledges_keeps_no_import_from_being_complete(study: Study) -> None:
    study.table(GOOD + BAD)
    study.type("import", "scores.csv")
    assert study.type("quarantine", "ack", "--all").code == 0
    assert study.type("import", "scores.csv").code == 0
    study.table("mrn-771,2025-07-01,200,3\n" + GOOD + BAD)  # the acknowledged rows have moved, another is faulty
    assert study.type("import", "scores.csv").code == 3
    assert [
        one.place.rpartition(", line ")[2] for one in quarantined(study.db, "leon") if one.acknowledged is None
    ] == ["2, column CDASI: out_of_range"]


def test_nothing_that_is_said_tells_a_value_or_an_identifier(study: Study) -> None:
    study.table(GOOD + BAD)
    for words in (
        ["import", "scores.csv", "--dry-run"],
        ["import", "scores.csv"],
        ["import", "scores.csv", "--json"],
        ["failed"],
        ["status"],
        ["quarantine"],
    ):
        ran = study.type(*words)
        assert [word for word in PRIVATE if word in ran.out + ran.err] == []
    (unit,) = study.db.execute("SELECT message, notes FROM unit WHERE query LIKE 'import: %'").fetchall()
    assert unit[0] == "2 of 5 rows have faults"
    shown = main.call(["-q", "quarantine", "show", str(quarantined(study.db, "leon")[0].number)])
    assert shown == 0  # and there, on request, the row is


def test_a_dry_run_says_the_same_and_changes_nothing(study: Study) -> None:
    study.table(GOOD + BAD)
    ran = study.type("import", "scores.csv", "--dry-run", "--json")
    assert (ran.code, ran.json["state"], ran.json["dry_run"]) == (3, "partial", True)
    assert study.scores() == {}
    assert study.db.execute("SELECT count(*) FROM unit").fetchone() == (0,)
    assert study.db.execute("SELECT count(*) FROM run").fetchone() == (1,)
    real = study.type("import", "scores.csv", "--json")
    assert real.json["imported"] == ran.json["imported"]


def test_two_maps_on_one_file_are_two_imports(study: Study) -> None:
    study.table(GOOD + BAD)
    (study.folder / "dlqi.toml").write_text(MAP.replace('"clinic"', '"other"'), encoding="utf-8")
    study.type("import", "scores.csv")
    study.table(GOOD)
    study.type("import", "scores.csv", "--map", "dlqi.toml")
    first, second = (
        get_unit(study.db, "leon", "", f"import: scores.csv by {path}")
        for path in (study.folder / "clinic.toml", "dlqi.toml")
    )
    assert first is not None
    assert second is not None
    assert (first.state, second.state) == ("partial", "complete")


def test_of_merged_patients_who_share_an_identifier_the_one_that_remains_is_meant(study: Study) -> None:
    link = [{"type": "replaced-by", "other": {"reference": "Patient/1"}}]
    study.store(study.patient("0", "mrn-771", link=link))
    study.table(GOOD)
    assert study.type("import", "scores.csv").code == 0
    assert {patient for patient, _ in study.scores()} == {"Patient/1", "Patient/2"}


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["import", "none.csv"], "none.csv does not exist"),
        (["import", "scores.csv", "--map", "none.toml"], "there is no column map at none.toml"),
        (["import", "scores.csv", "--site", "none"], "no site is called 'none'"),
    ],
)
def test_what_is_asked_wrongly_ends_with_2_and_is_said(study: Study, words: list[str], expected: str) -> None:
    study.table(GOOD)
    ran = study.type(*words)
    assert (ran.code, expected in ran.err) == (2, True)


def test_without_a_map_the_ways_to_one_are_said(study: Study) -> None:
    study.table(GOOD)
    (study.folder / "dm-fhir.toml").write_text(CONFIG.partition("[site.import]")[0], encoding="utf-8")
    ran = study.type("import", "scores.csv")
    assert ran.code == 2
    assert "give --map COLUMNS.toml, or set map under [site.import] of leon" in ran.err


_KILLED = """
import os, signal, sys
from dm_fhir.sync import imports
from dm_fhir.cli.main import run
original, calls = getattr(imports, sys.argv[1]), 0
def killed(*args, **kwargs):
    os.kill(os.getpid(), signal.SIGKILL)
setattr(imports, sys.argv[1], killed)
sys.argv = ["dm-fhir", "-q", "import", "scores.csv"]
run()
"""


@pytest.mark.parametrize("function", ["put_resources", "set_aside", "clear_set_aside", "put_unit"])
def test_killed_in_the_middle_nothing_of_the_file_is_in_the_store_and_the_next_import_has_all(
    study: Study, function: str
) -> None:
    study.table(GOOD + BAD)
    process = subprocess.run([sys.executable, "-c", _KILLED, function], cwd=study.folder, check=False)
    assert process.returncode == -signal.SIGKILL
    assert study.scores() == {}
    assert quarantined(study.db, "leon") == []
    assert "6 scores: 6 new" in study.type("import", "scores.csv").out
