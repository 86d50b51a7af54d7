"""Condition -> diagnosis or manifestation (https://hl7.org/fhir/R4/condition.html)."""

import msgspec

from dm_fhir.mappings.codes import Tables
from dm_fhir.mappings.datatypes import CodeableConcept, Period, Reference, coding_in
from dm_fhir.model import case
from dm_fhir.model.case import Source


class Condition(msgspec.Struct, frozen=True, omit_defaults=True, tag_field="resourceType", tag="Condition"):
    """The view of a Condition."""

    id: str | None = None
    clinicalStatus: CodeableConcept | None = None
    verificationStatus: CodeableConcept | None = None
    code: CodeableConcept | None = None
    subject: Reference | None = None
    onsetDateTime: str | None = None
    onsetPeriod: Period | None = None
    abatementDateTime: str | None = None
    recordedDate: str | None = None


def from_fhir(record: Condition, source: Source, tables: Tables) -> case.Condition:
    """What the condition is and since when. A status that the record leaves out stays None."""
    code = record.code or CodeableConcept()
    return case.Condition(
        source=source,
        concept=tables.concept("condition", tuple(map(coding_in, code.coding)), code.text),
        clinical_status=_code(record.clinicalStatus),
        verification_status=_code(record.verificationStatus),
        onset=record.onsetDateTime or (record.onsetPeriod.start if record.onsetPeriod else None),
        abatement=record.abatementDateTime,
        recorded=record.recordedDate,
    )


def _code(status: CodeableConcept | None) -> str | None:
    return next((coding.code for coding in status.coding if coding.code), None) if status else None
