"""AdverseEvent -> AdverseEvent of the case series (https://hl7.org/fhir/R4/adverseevent.html)."""

import msgspec

from dm_fhir.mappings.codes import Tables
from dm_fhir.mappings.datatypes import CodeableConcept, Reference, coding_in
from dm_fhir.model import case
from dm_fhir.model.case import Source


class AdverseEvent(msgspec.Struct, frozen=True, omit_defaults=True, tag_field="resourceType", tag="AdverseEvent"):
    """The view of an AdverseEvent."""

    id: str | None = None
    actuality: str | None = None
    event: CodeableConcept | None = None
    subject: Reference | None = None
    date: str | None = None
    seriousness: CodeableConcept | None = None


def from_fhir(record: AdverseEvent, source: Source, tables: Tables) -> case.AdverseEvent:
    """What happened and when. Seriousness is None where the record does not say."""
    event = record.event or CodeableConcept()
    return case.AdverseEvent(
        source=source,
        event=tables.concept("adverse_event", tuple(map(coding_in, event.coding)), event.text),
        date=record.date,
        serious=_serious(record.seriousness),
    )


def _serious(concept: CodeableConcept | None) -> bool | None:
    codes = {coding.code for coding in concept.coding} if concept else set()
    return True if "serious" in codes else False if "non-serious" in codes else None
