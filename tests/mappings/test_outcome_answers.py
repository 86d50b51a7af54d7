"""Outcomes that are answers, written and read back: each is FHIR R4, of our CodeSystem, and never taken for a record."""

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from dm_fhir.mappings.codes import load_tables
from dm_fhir.mappings.outcome_observation import as_entered_in_error, is_own, to_fhir
from dm_fhir.mappings.outcome_parts import ANSWER_SYSTEM
from dm_fhir.mappings.terminology import resources
from dm_fhir.model.case import Case, Input, Outcome, Source
from dm_fhir.outcomes import composites, tis
from dm_fhir.outcomes.answers import ANSWERS

SCHEMA = Path(__file__).parents[3] / "shared" / "data" / "definitions" / "fhir.schema.json.gz"
BY_URL = {one["url"]: one for one in resources(load_tables())}
SYSTEM = BY_URL[ANSWER_SYSTEM]


def written(answer: str, variable: str = "tis_category", **values: Any) -> Any:
    """An outcome that is this answer, as it is written."""
    source = Input("followup", Source("north", "Observation/1", version="2"), "3")
    outcome = Outcome(
        variable, "R-TIS", "1", answer=answer, when="2024-07-08", visit="week_12", inputs=(source,), **values
    )
    return json.loads(to_fhir(outcome, "anifrolumab", "Patient/1", ZoneInfo("Europe/Madrid")).body)


@pytest.mark.parametrize("answer", ANSWERS)
def test_an_answer_is_a_code_of_our_system(answer: str) -> None:
    body = written(answer)
    [coding] = body["valueCodeableConcept"]["coding"]
    concepts = {one["code"]: one["display"] for one in SYSTEM["concept"]}

    assert (coding["system"], coding["display"]) == (SYSTEM["url"], concepts[coding["code"]])
    assert body["valueCodeableConcept"]["text"] == ANSWERS[answer]
    assert not {"valueQuantity", "valueDateTime", "dataAbsentReason"} & body.keys()
    assert body["derivedFrom"] == [{"reference": "Observation/1/_history/2"}]


def test_the_value_set_holds_every_answer() -> None:
    [included] = BY_URL[SYSTEM["valueSet"]]["compose"]["include"]

    assert included["system"] == ANSWER_SYSTEM
    assert len({one["code"] for one in included["concept"]}) == SYSTEM["count"] == len(ANSWERS)
    assert {*tis.CATEGORIES, "yes", "no"} <= ANSWERS.keys()


@pytest.mark.real_data
@pytest.mark.parametrize("answer", ["major", "no_improvement", "yes"])
def test_it_is_valid_r4(answer: str) -> None:
    from jsonschema import Draft6Validator

    whole = json.loads(gzip.decompress(SCHEMA.read_bytes()))
    validator = Draft6Validator({"$ref": "#/definitions/Observation", "definitions": whole["definitions"]})

    assert list(validator.iter_errors(written(answer))) == []
    assert list(validator.iter_errors({**written(answer), "valueCodeableConcept": {"coding": answer}}))


def test_whose_thresholds_were_used_is_noted() -> None:
    assert {"text": "population: jdm"} in written("major", verdicts={"population": "jdm"})["note"]
    assert "note" not in written("major")


@pytest.mark.parametrize("variable", composites.variables())
def test_what_we_wrote_is_left_out_when_it_is_read_back(variable: str, case_of: Callable[..., Case]) -> None:
    body = written("yes", variable)
    copy = {**body, "id": "7", "meta": {"versionId": "1"}}
    taken_back = json.loads(as_entered_in_error(json.dumps(body).encode()))

    assert body["category"][0]["coding"][0]["code"] == "exam"
    assert all(is_own(json.dumps(one).encode()) for one in (body, copy, taken_back))
    case = case_of(copy, {**taken_back, "id": "8"})
    assert (case.assessments, case.findings, case.left_out) == ((), (), {"Observation: written by dm-fhir": 2})


def test_the_visits_of_one_rule_are_outcomes_of_their_own() -> None:
    first, second = (written("yes", "imacs_improvement"), written("no", "imacs_improvement"))
    assert first["identifier"] == second["identifier"]  # one visit, one Observation, whatever the answer

    other = Outcome("imacs_improvement", "R", "1", answer="no", when="2024-06-10", visit="week_8")
    body = json.loads(to_fhir(other, "anifrolumab", "Patient/1", ZoneInfo("Europe/Madrid")).body)
    assert body["identifier"] != first["identifier"]
