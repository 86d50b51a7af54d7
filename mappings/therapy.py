"""MedicationStatement and MedicationRequest <-> Therapy: the other drugs, as stated or ordered, and how they are taken.

https://hl7.org/fhir/R4/medicationstatement.html, https://hl7.org/fhir/R4/medicationrequest.html. Neither ever counts as
an administration (R-EXP).
"""

from collections.abc import Iterable, Sequence
from datetime import UTC
from typing import Any

import msgspec

from dm_fhir.mappings import dosage as dosages
from dm_fhir.mappings.codes import Tables
from dm_fhir.mappings.datatypes import (
    CodeableConcept,
    Identifier,
    Period,
    Quantity,
    Reference,
    concept_out,
    concepts_in,
    concepts_out,
    identifiers_in,
    identifiers_out,
    local_id,
    period_in,
    period_out,
    quantity_in,
    quantity_out,
)
from dm_fhir.mappings.dosage import Dosage, Product, dosing_in, dosing_out
from dm_fhir.mappings.medication import Drug, Medicated, Medications, contained_out, drug_of
from dm_fhir.model import case
from dm_fhir.model.case import Concept, Dosing, Source, Therapy
from dm_fhir.model.dates import span

_CONCEPT = ("coding.system", "coding.code", "coding.display", "text")
_SHARED = (
    "resourceType", "id", "identifier.system", "identifier.value", "basedOn.reference", "status",
    "medicationReference.reference", "subject.reference",
    *(f"{element}.{part}" for element in ("medicationCodeableConcept", "statusReason", "reasonCode") for part in _CONCEPT),
)  # fmt: skip
#: The elements that survive the way there and back, by type.
SUPPORTED = {
    "MedicationRequest": (
        *_SHARED, "intent", "authoredOn", "dispenseRequest.validityPeriod.start", "dispenseRequest.validityPeriod.end",
        *(f"dispenseRequest.expectedSupplyDuration.{part}" for part in ("value", "comparator", "unit", "system", "code")),
        *(f"dosageInstruction.{element}" for element in dosages.SUPPORTED),
    ),
    "MedicationStatement": (
        *_SHARED, "effectiveDateTime", "effectivePeriod.start", "effectivePeriod.end",
        *(f"dosage.{element}" for element in dosages.SUPPORTED),
    ),
}  # fmt: skip


class DispenseRequest(msgspec.Struct, frozen=True, omit_defaults=True):
    """MedicationRequest.dispenseRequest: how long the order may be filled, and for how long that lasts."""

    validityPeriod: Period | None = None
    expectedSupplyDuration: Quantity | None = None


class MedicationRequest(
    msgspec.Struct, frozen=True, omit_defaults=True, tag_field="resourceType", tag="MedicationRequest"
):
    """The view of a MedicationRequest."""

    id: str | None = None
    contained: tuple[msgspec.Raw, ...] = ()
    identifier: tuple[Identifier, ...] = ()
    basedOn: tuple[Reference, ...] = ()
    status: str | None = None
    intent: str | None = None
    doNotPerform: bool | None = None
    statusReason: CodeableConcept | None = None
    medicationCodeableConcept: CodeableConcept | None = None
    medicationReference: Reference | None = None
    subject: Reference | None = None
    authoredOn: str | None = None
    reasonCode: tuple[CodeableConcept, ...] = ()
    dosageInstruction: tuple[Dosage, ...] = ()
    dispenseRequest: DispenseRequest | None = None


class MedicationStatement(
    msgspec.Struct, frozen=True, omit_defaults=True, tag_field="resourceType", tag="MedicationStatement"
):
    """The view of a MedicationStatement."""

    id: str | None = None
    contained: tuple[msgspec.Raw, ...] = ()
    identifier: tuple[Identifier, ...] = ()
    basedOn: tuple[Reference, ...] = ()
    status: str | None = None
    statusReason: tuple[CodeableConcept, ...] = ()
    medicationCodeableConcept: CodeableConcept | None = None
    medicationReference: Reference | None = None
    subject: Reference | None = None
    effectiveDateTime: str | None = None
    effectivePeriod: Period | None = None
    reasonCode: tuple[CodeableConcept, ...] = ()
    dosage: tuple[Dosage, ...] = ()


def from_request(record: MedicationRequest, source: Source, tables: Tables, medications: Medications) -> Therapy:
    """An order. It is in force while its dosing says so; else from the day it was written, its end not known."""
    drug = drug_of(record, tables, medications)
    dosings = _dosings(record.dosageInstruction, drug, tables)
    supply = record.dispenseRequest or DispenseRequest()
    return Therapy(
        source=source,
        **_shared_in(record, drug),
        identifiers=identifiers_in(record.identifier),
        based_on=tuple(one.reference or "" for one in record.basedOn),
        status=record.status,
        intent=record.intent,
        authored=record.authoredOn,
        period=ordered_period(record.authoredOn, dosings),
        reasons=concepts_in(record.reasonCode),
        status_reasons=concepts_in((record.statusReason,)) if record.statusReason else (),
        dosings=dosings,
        supplied_during=period_in(supply.validityPeriod),
        supplied_for=quantity_in(supply.expectedSupplyDuration),
    )


def from_statement(record: MedicationStatement, source: Source, tables: Tables, medications: Medications) -> Therapy:
    """A drug that the patient takes, took or will take. A single moment is a period that begins and ends there."""
    moment = record.effectiveDateTime
    drug = drug_of(record, tables, medications)
    return Therapy(
        source=source,
        **_shared_in(record, drug),
        identifiers=identifiers_in(record.identifier),
        based_on=tuple(one.reference or "" for one in record.basedOn),
        status=record.status,
        when=moment,
        period=case.Period(moment, moment) if moment is not None else period_in(record.effectivePeriod),
        reasons=concepts_in(record.reasonCode),
        status_reasons=concepts_in(record.statusReason),
        dosings=_dosings(record.dosage, drug, tables),
    )


def to_request(therapy: Therapy, subject: str) -> MedicationRequest:
    """The MedicationRequest that says what an order knows."""
    supply = DispenseRequest(period_out(therapy.supplied_during), quantity_out(therapy.supplied_for))
    return MedicationRequest(
        **_shared_out(therapy, subject),
        intent=therapy.intent,
        authoredOn=therapy.authored,
        statusReason=concept_out(therapy.status_reasons[0]) if therapy.status_reasons else None,
        dosageInstruction=tuple(map(dosing_out, therapy.dosings)),
        dispenseRequest=supply if supply != DispenseRequest() else None,
    )


def to_statement(therapy: Therapy, subject: str) -> MedicationStatement:
    """The MedicationStatement that says what a statement knows."""
    return MedicationStatement(
        **_shared_out(therapy, subject),
        statusReason=concepts_out(therapy.status_reasons),
        effectiveDateTime=therapy.when,
        effectivePeriod=period_out(therapy.period) if therapy.when is None else None,
        dosage=tuple(map(dosing_out, therapy.dosings)),
    )


def ordered_period(authored: str | None, dosings: Sequence[Dosing]) -> case.Period | None:
    """From when to when an order holds: the bounds of its dosings, from the first start to the last end.

    Without a start it begins on the day it was written. It ends only where every dosing has an end.
    """
    bounds = [one.timing.during if one.timing else None for one in dosings]
    starts = [one.start for one in bounds if one is not None and one.start is not None]
    ends = [one.end if one else None for one in bounds]
    start = _first(starts) or authored
    end = _last([one for one in ends if one is not None]) if ends and None not in ends else None
    return case.Period(start, end) if start is not None or end is not None else None


def _shared_in(record: Medicated, drug: Drug | None) -> dict[str, Any]:
    return {
        "medication": drug.concept if drug else Concept(),
        "medication_reference": record.medicationReference.reference if record.medicationReference else None,
        "strength": drug.strength if drug else None,
    }


def _shared_out(therapy: Therapy, subject: str) -> dict[str, Any]:
    referenced = therapy.medication_reference
    by_codes = referenced is None and therapy.medication != Concept()
    return {
        "id": local_id(therapy.source),
        "contained": contained_out(referenced, therapy.medication, therapy.strength),
        "identifier": identifiers_out(therapy.identifiers),
        "basedOn": tuple(Reference(one or None) for one in therapy.based_on),
        "status": therapy.status,
        "medicationCodeableConcept": concept_out(therapy.medication) if by_codes else None,
        "medicationReference": Reference(referenced) if referenced is not None else None,
        "subject": Reference(subject),
        "reasonCode": concepts_out(therapy.reasons),
    }


def _dosings(recorded: Iterable[Dosage], drug: Drug | None, tables: Tables) -> tuple[Dosing, ...]:
    product = Product(drug.concept if drug else Concept(), drug.strength if drug else None)
    return tuple(dosing_in(one, product, tables) for one in recorded)


def _first(texts: Sequence[str]) -> str | None:
    """The one that may begin earliest; the first as written where one of them is no date."""
    try:
        return min(texts, key=lambda text: span(text, UTC).start, default=None)
    except ValueError:
        return texts[0]


def _last(texts: Sequence[str]) -> str | None:
    """The one that may end latest; the last as written where one of them is no date."""
    try:
        return max(texts, key=lambda text: span(text, UTC).end, default=None)
    except ValueError:
        return texts[-1]
