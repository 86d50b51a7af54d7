"""Adverse events: what happened, how serious, how severe, how likely caused, how it ended, whether it led to a stop."""

from typing import Any, NamedTuple

import msgspec
import pytest

from dm_fhir.mappings import adverse_event
from dm_fhir.mappings.case import read_case
from dm_fhir.mappings.codes import load_tables
from dm_fhir.mappings.datatypes import read
from dm_fhir.model.case import AdverseEvent, Case, Source

TABLES = load_tables()
GUIDE = "http://hl7.org/fhir/uv/ae-research-backport-ig/StructureDefinition/"
HL7, NCIT = "http://terminology.hl7.org/CodeSystem/", "http://ncicb.nci.nih.gov/xml/owl/EVS/Thesaurus.owl"


class Stored(NamedTuple):
    type: str
    id: str
    body: bytes
    version: str | None = "1"
    last_updated: str | None = None


def event(**elements: Any) -> dict[str, Any]:
    return {"resourceType": "AdverseEvent", "actuality": "actual", "event": {"text": "cough"}, **elements}


def mapped(**elements: Any) -> AdverseEvent:
    record = read(msgspec.json.encode(event(**elements)), adverse_event.AdverseEvent)
    return adverse_event.from_fhir(record, Source("north", "AdverseEvent/1"), TABLES)


def coded(system: str, code: str) -> dict[str, Any]:
    return {"coding": [{"system": system, "code": code}]}


def extension(name: str, **value: Any) -> dict[str, Any]:
    return {"url": f"{GUIDE}{name}", **value}


def case_of(*resources: dict[str, Any]) -> Case:
    records = [Stored(one["resourceType"], str(i), msgspec.json.encode(one)) for i, one in enumerate(resources)]
    return read_case("Patient/1", "north", "Europe/Madrid", "anifrolumab", records, TABLES, {})


@pytest.mark.parametrize(
    ("code", "serious"),
    [("Serious", True), ("serious", True), ("Non-serious", False), ("non-serious", False), ("so-so", None)],
)
def test_seriousness_is_told_or_unknown(code: str, serious: bool | None) -> None:
    assert mapped(seriousness=coded(f"{HL7}adverse-event-seriousness", code)).serious is serious
    assert mapped().serious is None


def test_severity_grade_and_seriousness_are_three_things() -> None:
    found = mapped(
        severity=coded(f"{HL7}adverse-event-severity", "severe"),
        extension=[extension("ae-grade", valueCodeableConcept=coded(NCIT, "C41339"))],
        seriousness=coded(f"{HL7}adverse-event-seriousness", "Non-serious"),
    )

    assert found.severity is not None
    assert (found.severity.variable, found.grade, found.serious) == ("severe", 2, False)


@pytest.mark.parametrize(
    ("system", "code", "meaning"),
    [
        (f"{HL7}adverse-event-outcome", "resolved", "recovered"),
        (f"{HL7}adverse-event-outcome", "ongoing", "not_recovered"),
        (f"{HL7}adverse-event-outcome", "fatal", "fatal"),
        (NCIT, "C49495", "recovered_with_sequelae"),
        (NCIT, "C48275", "fatal"),
    ],
)
def test_an_outcome_means_the_same_in_both_code_systems(system: str, code: str, meaning: str) -> None:
    outcome = mapped(outcome=coded(system, code)).outcome

    assert outcome is not None
    assert outcome.variable == meaning


INFUSION = {
    "resourceType": "MedicationAdministration",
    "status": "completed",
    "medicationCodeableConcept": coded("http://www.whocc.no/atc", "L04AG11"),
    "effectiveDateTime": "2024-04-15",
}


def test_the_drug_that_was_suspected_is_found_behind_its_record() -> None:
    possible = {"assessment": coded(f"{HL7}adverse-event-causality-assess", "Possible")}
    suspects = [
        {"instance": {"reference": "MedicationAdministration/0"}, "causality": [possible]},
        {"instance": {"reference": "MedicationAdministration/gone"}},
    ]

    found = case_of(INFUSION, event(suspectEntity=suspects)).adverse_events[0]

    assert [one.drug for one in found.suspects] == ["anifrolumab", None]
    assert [[judged.variable for judged in one.relatedness] for one in found.suspects] == [["possibly_related"], []]


@pytest.mark.parametrize(
    ("extensions", "led_to_stop"),
    [
        ([], None),
        ([extension("caused-subject-to-discontinue-study", valueBoolean=True)], True),
        ([extension("caused-subject-to-discontinue-study", valueBoolean=False)], False),
        (
            [
                extension(
                    "mitigating-action", extension=[{"url": "item", "valueCodeableConcept": coded(NCIT, "C49502")}]
                )
            ],
            True,
        ),
        (
            [
                extension(
                    "mitigating-action", extension=[{"url": "item", "valueReference": {"reference": "Procedure/1"}}]
                )
            ],
            None,
        ),
    ],
)
def test_whether_it_led_to_a_stop(extensions: list[dict[str, Any]], led_to_stop: bool | None) -> None:
    assert mapped(extension=extensions).led_to_stop is led_to_stop


def test_what_did_not_happen_or_was_an_error_is_left_out_and_counted() -> None:
    in_error = [extension("status", valueCode="entered-in-error")]
    found = case_of(event(actuality="potential"), event(modifierExtension=in_error), event())

    assert len(found.adverse_events) == 1
    assert found.left_out == {"AdverseEvent: entered-in-error": 1, "AdverseEvent: potential, did not happen": 1}


def test_a_modifier_that_we_do_not_know_keeps_the_record_out_and_is_reported() -> None:
    found = case_of(event(modifierExtension=[{"url": "https://example.org/negated", "valueBoolean": True}]))

    assert found.adverse_events == ()
    assert [(one.code, one.severity) for one in found.findings] == [("modifier_unknown", "warning")]


def test_a_judgement_that_no_table_knows_is_reported_and_kept() -> None:
    found = case_of(event(severity=coded("urn:local", "bad"), outcome={"text": "well again"}))

    assert [(one.code, one.path) for one in found.findings] == [("judgement_without_meaning", "severity")]
    assert found.adverse_events[0].outcome is not None
    assert found.adverse_events[0].outcome.text == "well again"


def test_times_that_cannot_be_read_are_reported() -> None:
    found = case_of(event(date="yesterday", detected="2024-04-15T10:00:00"))

    assert [(one.code, one.path) for one in found.findings] == [
        ("time_unreadable", "date"),
        ("zone_assumed", "detected"),
    ]
