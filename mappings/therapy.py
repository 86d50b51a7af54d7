"""MedicationStatement and MedicationRequest -> Therapy: the other drugs, as stated or ordered.

https://hl7.org/fhir/R4/medicationstatement.html, https://hl7.org/fhir/R4/medicationrequest.html. Neither ever counts as
an administration (R-EXP).
"""

from collections.abc import Mapping

import msgspec

from dm_fhir.mappings.codes import Tables
from dm_fhir.mappings.datatypes import CodeableConcept, Period, Reference, concept_in, concepts_in, period_in
from dm_fhir.mappings.medication import Medicated, Medication, medication_concept
from dm_fhir.model import case
from dm_fhir.model.case import Concept, Source, Therapy


class MedicationRequest(
    msgspec.Struct, frozen=True, omit_defaults=True, tag_field="resourceType", tag="MedicationRequest"
):
    """The view of a MedicationRequest."""

    id: str | None = None
    contained: tuple[msgspec.Raw, ...] = ()
    status: str | None = None
    intent: str | None = None
    statusReason: CodeableConcept | None = None
    medicationCodeableConcept: CodeableConcept | None = None
    medicationReference: Reference | None = None
    authoredOn: str | None = None
    reasonCode: tuple[CodeableConcept, ...] = ()


class MedicationStatement(
    msgspec.Struct, frozen=True, omit_defaults=True, tag_field="resourceType", tag="MedicationStatement"
):
    """The view of a MedicationStatement."""

    id: str | None = None
    contained: tuple[msgspec.Raw, ...] = ()
    status: str | None = None
    statusReason: tuple[CodeableConcept, ...] = ()
    medicationCodeableConcept: CodeableConcept | None = None
    medicationReference: Reference | None = None
    effectiveDateTime: str | None = None
    effectivePeriod: Period | None = None
    reasonCode: tuple[CodeableConcept, ...] = ()


def from_request(
    record: MedicationRequest, source: Source, tables: Tables, medications: Mapping[str, Medication]
) -> Therapy:
    """An order: known from the day it was written, its end not known."""
    return Therapy(
        source=source,
        medication=_medication(record, tables, medications),
        status=record.status,
        intent=record.intent,
        period=case.Period(start=record.authoredOn) if record.authoredOn else None,
        reasons=concepts_in(record.reasonCode),
        status_reason=concept_in(record.statusReason),
    )


def from_statement(
    record: MedicationStatement, source: Source, tables: Tables, medications: Mapping[str, Medication]
) -> Therapy:
    """A drug that the patient takes, took or will take. A single moment is a period that begins and ends there."""
    moment = record.effectiveDateTime
    return Therapy(
        source=source,
        medication=_medication(record, tables, medications),
        status=record.status,
        period=case.Period(moment, moment) if moment else period_in(record.effectivePeriod),
        reasons=concepts_in(record.reasonCode),
        status_reason=concept_in(record.statusReason[0]) if record.statusReason else None,
    )


def _medication(record: Medicated, tables: Tables, medications: Mapping[str, Medication]) -> Concept:
    return medication_concept(record, tables, medications) or Concept()
