"""A case that leaves the hospital: no free text, no identifier, no reference as it was, whatever part of it held one."""

from decimal import Decimal

import pytest

from dm_fhir.model.case import (
    Action,
    Administration,
    AdverseEvent,
    Case,
    Concept,
    Condition,
    Criterion,
    Dosing,
    Identifier,
    Quantity,
    Range,
    Source,
    Subject,
    Suspect,
    Therapy,
)
from dm_fhir.model.document import encode
from dm_fhir.report.pseudonym import pseudonymised

SECRET = "Zwetschkenbaum"
NUMBER = (Identifier("urn:mrn", SECRET),)
TEXT = Concept(text=SECRET)


def source(kind: str) -> Source:
    return Source("north", f"{kind}/{SECRET}", last_updated="2024-03-05")


CASE = Case(
    id=f"Patient/{SECRET}",
    site="north",
    timezone="Europe/Madrid",
    subject=Subject(source("Patient"), identifiers=NUMBER, birth_date="1971-04-15"),
    conditions=(
        Condition(
            source("Condition"), TEXT, identifiers=NUMBER, onset_text=SECRET, abatement_text=SECRET, body_sites=(TEXT,),
            onset_ages=Range(text=SECRET), severity=TEXT, stages=(TEXT,), evidence=(TEXT,), categories=(TEXT,),
        ),
    ),
    administrations=(
        Administration(
            source("MedicationAdministration"), identifiers=NUMBER, part_of=(f"Procedure/{SECRET}",),
            request=f"MedicationRequest/{SECRET}", medication_reference=f"urn:uuid:{SECRET}", reasons=(TEXT,),
        ),
    ),
    therapies=(
        Therapy(
            source("MedicationRequest"), TEXT, identifiers=NUMBER, based_on=(f"CarePlan/{SECRET}",), reasons=(TEXT,),
            medication_reference=f"Medication?identifier=urn:mrn|{SECRET}",
            dosings=(Dosing(text=SECRET, as_needed_for=TEXT, method=TEXT),),
            supplied_for=Quantity(Decimal(30), unit="d"),
        ),
    ),
    adverse_events=(
        AdverseEvent(
            source("AdverseEvent"), TEXT, identifier=NUMBER[0], criteria=(Criterion(TEXT, met=True),), severity=TEXT,
            suspects=(Suspect(reference=f"https://example.org/Patient/{SECRET}", concept=TEXT, drug="anifrolumab"),),
            actions=(Action(TEXT, f"Procedure/{SECRET}"),), resulting_conditions=(f"Condition/{SECRET}",),
            resulting_effects=(f"Condition/{SECRET}",),
        ),
    ),
)  # fmt: skip


@pytest.mark.parametrize("key", [b"one", b"another"])
def test_nothing_that_names_the_patient_is_left(key: bytes) -> None:
    document = encode(pseudonymised(CASE, key)).decode()

    assert SECRET in encode(CASE).decode()
    assert SECRET not in document
    assert "1971-04" not in document


def test_what_it_is_about_stays() -> None:
    veiled = pseudonymised(CASE, b"key")

    assert veiled.adverse_events[0].suspects[0].drug == "anifrolumab"
    assert veiled.therapies[0].supplied_for == Quantity(Decimal(30), unit="d")
    assert veiled.administrations[0].request == pseudonymised(CASE, b"key").administrations[0].request


def test_one_record_has_one_pseudonym_wherever_it_is_named() -> None:
    event = pseudonymised(CASE, b"key").adverse_events[0]

    assert event.resulting_conditions == event.resulting_effects
    assert event.resulting_conditions == (pseudonymised(CASE, b"key").conditions[0].source.reference,)
