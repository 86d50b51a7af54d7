"""`cases`: what a resource becomes by a hospital's table; and the example of the documentation, as it stands there."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from dm_fhir.errors import ConfigError, DmFhirError
from dm_fhir.testing import cases

ROOT = Path(__file__).parents[2]
TABLE = '[[medication]]\nvariable = "anifrolumab"\ncodes = [{ system = "urn:leon", code = "ANI" }]\n'
DRUG = {"resourceType": "Medication", "id": "m", "code": {"coding": [{"system": "urn:leon", "code": "ANI"}]}}
INFUSION = {
    "resourceType": "MedicationAdministration", "id": "i", "status": "completed", "subject": {"reference": "Patient/7"},
    "medicationReference": {"reference": "Medication/m"}, "effectiveDateTime": "2025-03-03T10:00:00", "dosage": {"dose": {"value": 300, "unit": "mg"}},
}  # fmt: skip


def score(name: str, day: str, value: float, **more: Any) -> dict[str, Any]:
    """A CDASI by our own code."""
    return {
        "resourceType": "Observation", "id": name, "status": "final", "subject": {"reference": "Patient/7"}, "effectiveDateTime": day,
        "code": {"coding": [{"system": "https://w3id.org/dm-fhir/CodeSystem/measurement", "code": "cdasi-activity"}]},
        "valueQuantity": {"value": value, "unit": "{score}"}, **more,
    }  # fmt: skip


@pytest.fixture
def table(tmp_path: Path) -> Path:
    (tmp_path / "leon.toml").write_text(TABLE, encoding="utf-8")
    return tmp_path / "leon.toml"


def test_a_resource_is_seen_through_the_table_with_findings_and_outcomes(table: Path) -> None:
    records = [DRUG, INFUSION, score("b", "2025-03-01", 20), score("f", "2025-05-01", 5), score("x", "2025-06-01", 500)]
    (case,) = cases(records, [table], timezone="Europe/Madrid")
    assert (case.id, [one.dose_mg for one in case.administrations]) == ("Patient/7", [300])
    assert [(one.code, one.reference) for one in case.findings] == [
        ("zone_assumed", "MedicationAdministration/i"),
        ("out_of_range", "Observation/x"),
    ]
    percents = [one.number for one in case.outcomes if one.variable == "cdasi_activity_percent_improvement"]
    assert 75 in percents


def test_without_the_table_it_is_another_drug() -> None:
    (case,) = cases([DRUG, INFUSION])
    assert case.administrations == ()
    assert case.left_out == {"MedicationAdministration: no code that the tables know": 1}


def test_each_patient_has_a_case() -> None:
    others = [{**score(name, "2025-03-01", 3), "subject": {"reference": f"Patient/{name}"}} for name in "ba"]
    assert [case.id for case in cases(others)] == ["Patient/a", "Patient/b"]
    assert cases([]) == []


def test_what_cannot_be_anybodys_is_said(table: Path) -> None:
    with pytest.raises(ValueError, match="Observation/b names no patient"):
        cases([{**score("b", "2025-03-01", 3), "subject": {"display": "somebody"}}])
    with pytest.raises(DmFhirError, match="it has no id"):
        cases([{"resourceType": "Patient"}])
    with pytest.raises(ConfigError, match="knows the study drug 'rituximap'"):
        cases([], drug="rituximap")
    table.write_text("[[measurment]]", encoding="utf-8")
    with pytest.raises(ConfigError, match="did you mean 'measurement'"):
        cases([], [table])


def test_the_documented_example_passes_as_it_stands_and_fails_with_another_factor(tmp_path: Path) -> None:
    text = (ROOT / "docs" / "testing.md").read_text(encoding="utf-8")
    toml, test = (re.findall(rf"```{kind}\n(.*?)```", text, re.DOTALL)[0] for kind in ("toml", "python"))
    (tmp_path / "test_tables.py").write_text(test, encoding="utf-8")
    assert len([line for line in test.splitlines() if line]) == 10
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_tables.py"]
    for factor, code in (("60", 0), ("61", 1)):
        (tmp_path / "leon.toml").write_text(toml.replace('"60"', f'"{factor}"'), encoding="utf-8")
        assert subprocess.run(command, cwd=tmp_path, capture_output=True, check=False).returncode == code
