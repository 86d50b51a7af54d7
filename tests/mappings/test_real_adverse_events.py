"""The examples of HL7's guide for research on adverse events, ported back to R4: what they come to, there and back."""

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from dm_fhir.mappings import adverse_event
from dm_fhir.mappings.codes import load_tables
from dm_fhir.mappings.datatypes import read
from dm_fhir.model.case import Source

pytestmark = pytest.mark.real_data
TABLES = load_tables()
DATA = Path(__file__).parents[3] / "shared" / "data" / "hl7-ae-research-backport"
GUIDE = "http://hl7.org/fhir/uv/ae-research-backport-ig/StructureDefinition/"
#: What HL7's own examples come to, read by hand from the files.
RESEARCH = {
    "AdverseEventFromProcedureNotStudyDrug": {
        "serious": False, "severity": "moderate", "grade": None, "outcome": "recovered", "resolved": "2021-01-15",
        "led_to_stop": False, "expected": False, "relatedness": ["unlikely_related", "related"], "met": [],
        "effects": ["Condition/AEModeratehives"],
    },
    "SeriousAdverseEventResearchStudy": {
        "serious": True, "severity": "severe", "grade": None, "outcome": "recovered", "resolved": "2021-12-09",
        "led_to_stop": True, "expected": False, "relatedness": ["possibly_related"],
        "met": ["C83052", "C84266", "C201939"], "effects": ["Condition/GIBleed"],
    },
    "adverse-event-compass-ex1b": {
        "serious": False, "severity": None, "grade": 1, "outcome": "recovered", "resolved": "2020-06-10",
        "led_to_stop": None, "expected": True, "relatedness": ["possibly_related", "possibly_related"], "met": [],
        "effects": [""],
    },
    "clinical-research-ae-example-medwatch-patient-report": {
        "serious": True, "severity": None, "grade": None, "outcome": "recovered", "resolved": None,
        "led_to_stop": None, "expected": None, "relatedness": ["possibly_related", "possibly_related"], "met": [],
        "effects": ["Condition/janetReported-condition"],
    },
}  # fmt: skip


@pytest.mark.parametrize("name", RESEARCH)
def test_the_examples_of_the_research_guide(name: str) -> None:
    body = (DATA / f"AdverseEvent-{name}.json").read_bytes()
    found = adverse_event.from_fhir(read(body, adverse_event.AdverseEvent), Source("north", "AdverseEvent/1"), TABLES)

    assert found.status == "completed"
    assert {
        "serious": found.serious,
        "severity": found.severity.variable if found.severity else None,
        "grade": found.grade,
        "outcome": found.outcome.variable if found.outcome else None,
        "resolved": found.resolved,
        "led_to_stop": found.led_to_stop,
        "expected": found.expected,
        "relatedness": [judged.variable for one in found.suspects for judged in one.relatedness],
        "met": [one.concept.codings[0].code for one in found.criteria if one.met and one.concept],
        "effects": list(found.resulting_effects),
    } == RESEARCH[name]


@pytest.mark.parametrize("name", RESEARCH)
def test_the_guides_extensions_come_back_as_they_were(name: str) -> None:
    """Each extension that is mapped is there again, element for element, whatever its order."""
    body = (DATA / f"AdverseEvent-{name}.json").read_bytes()
    record = read(body, adverse_event.AdverseEvent)
    part = adverse_event.from_fhir(record, Source("north", "AdverseEvent/1"), TABLES)
    written = json.loads(msgspec.json.encode(adverse_event.to_fhir(part, "Patient/1")))
    kept = ("seriousness-criteria", "ae-grade", "resolve-date", "caused-subject-to-discontinue-study",
            "expected-in-research-study")  # fmt: skip

    def of_the_guide(resource: dict[str, Any]) -> list[str]:
        found = [one for one in resource["extension"] if one["url"].removeprefix(GUIDE) in kept]
        return sorted(json.dumps(sorted_parts(one), sort_keys=True) for one in found)

    assert of_the_guide(written) == of_the_guide(json.loads(body))
    assert written["modifierExtension"] == json.loads(body)["modifierExtension"]


def sorted_parts(one: dict[str, Any]) -> dict[str, Any]:
    return {**one, "extension": sorted(one.get("extension", []), key=lambda part: str(part["url"]))}
