"""Every Observation that was pushed, against the official JSON Schema of FHIR R4 (fhir.schema.json of hl7.org/fhir/R4)."""

from __future__ import annotations

import gzip
import json
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import pytest

from dm_fhir.mappings.codes import UCUM, load_tables
from dm_fhir.mappings.imported_observation import Value, assessment, to_fhir, to_server
from dm_fhir.model.case import Quantity, Source

if TYPE_CHECKING:
    from tests.acceptance.conftest import HospitalMaker, Json, Loop, StudyMaker

pytestmark = pytest.mark.real_data
SCHEMA = Path(__file__).parents[3] / "shared" / "data" / "definitions" / "fhir.schema.json.gz"


@pytest.fixture(scope="module")
def observation_faults() -> Any:
    """Lists what is wrong with an Observation."""
    from jsonschema import Draft6Validator

    whole = json.loads(gzip.decompress(SCHEMA.read_bytes()))
    validator = Draft6Validator({"$ref": "#/definitions/Observation", "definitions": whole["definitions"]})
    return lambda resource: [error.message for error in validator.iter_errors(resource)]


def test_the_schema_finds_a_fault(observation_faults: Any, loop: Loop) -> None:
    one = loop.hospital.outcomes()[0]

    assert observation_faults(one) == []
    assert observation_faults({**one, "code": {"coding": "cdasi"}})
    assert observation_faults({**one, "surprise": 1})


def test_every_pushed_observation_is_valid_r4(observation_faults: Any, loop: Loop) -> None:
    found = {one["id"]: observation_faults(one) for one in loop.hospital.outcomes()}

    assert found
    assert {id_: faults for id_, faults in found.items() if faults} == {}


@pytest.mark.parametrize(
    ("value", "variable"),
    [
        (Value(Quantity(Decimal("2.50"), "<", "ukat/L")), "ck"),
        (Value(Quantity(Decimal(20), None, "{score}", UCUM, "{score}")), "cdasi_activity"),
        (Value(answer="positive"), "anti_mda5"),
    ],
)
def test_an_imported_score_is_valid_r4(observation_faults: Any, value: Value, variable: str) -> None:
    tables = load_tables()
    source = Source("leon", f"Observation/dm-fhir-import-{'0' * 32}")
    score = assessment("0" * 32, value, tables.rows["measurement", variable], tables, "2025-03-01T09:30:00", source)
    body = to_fhir(score, "Patient/7", "clinic", "by hand", "Dr. Invented")
    assert observation_faults(json.loads(to_server(body, ZoneInfo("Europe/Madrid")).body)) == []


def test_a_retracted_one_is_valid_r4(
    observation_faults: Any, new_hospital: HospitalMaker, new_study: StudyMaker, one_patient: list[Json]
) -> None:
    hospital = new_hospital()
    study = new_study(hospital)
    study.type("sync")
    hospital.put(next(one for one in one_patient if one["id"] == "bal-1-dlqi-1") | {"status": "entered-in-error"})
    study.type("sync")

    retracted = [one for one in hospital.outcomes() if one["status"] == "entered-in-error"]

    assert retracted
    assert [observation_faults(one) for one in retracted] == [[]] * len(retracted)
