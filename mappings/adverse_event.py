"""AdverseEvent <-> AdverseEvent of the case series (https://hl7.org/fhir/R4/adverseevent.html).

What R4 has no element for is in the extensions of HL7's guide for research on adverse events, in its backport to R4:
status, criteria of seriousness, grade, what was suspected and how it was judged, what was done, when it was over.
"""

import msgspec

from dm_fhir.mappings import adverse_event_extensions as extensions
from dm_fhir.mappings.adverse_event_extensions import Extension
from dm_fhir.mappings.codes import Tables
from dm_fhir.mappings.datatypes import CodeableConcept, Identifier, Reference, concept_out, local_id
from dm_fhir.model import case
from dm_fhir.model.case import Concept, Source, Suspect

_CONCEPT = ("coding.system", "coding.code", "coding.display", "text")
#: The elements that survive the way there and back; beside them the extensions of `adverse_event_extensions`.
SUPPORTED = (
    "resourceType", "id", "identifier.system", "identifier.value", "actuality", "subject.reference", "date", "detected",
    "recordedDate", "resultingCondition.reference", "suspectEntity.instance.reference",
    *(f"{element}.{part}" for element in ("event", "seriousness", "severity", "outcome",
                                          "suspectEntity.causality.assessment")
      for part in _CONCEPT),
)  # fmt: skip


class Causality(msgspec.Struct, frozen=True, omit_defaults=True):
    """AdverseEvent.suspectEntity.causality: assessment."""

    assessment: CodeableConcept | None = None


class SuspectEntity(msgspec.Struct, frozen=True, omit_defaults=True):
    """AdverseEvent.suspectEntity: instance, causality."""

    instance: Reference | None = None
    causality: tuple[Causality, ...] = ()


class AdverseEvent(msgspec.Struct, frozen=True, omit_defaults=True, tag_field="resourceType", tag="AdverseEvent"):
    """The view of an AdverseEvent."""

    id: str | None = None
    extension: tuple[Extension, ...] = ()
    modifierExtension: tuple[Extension, ...] = ()
    identifier: Identifier | None = None
    actuality: str | None = None
    event: CodeableConcept | None = None
    subject: Reference | None = None
    date: str | None = None
    detected: str | None = None
    recordedDate: str | None = None
    resultingCondition: tuple[Reference, ...] = ()
    seriousness: CodeableConcept | None = None
    severity: CodeableConcept | None = None
    outcome: CodeableConcept | None = None
    suspectEntity: tuple[SuspectEntity, ...] = ()


def from_fhir(record: AdverseEvent, source: Source, tables: Tables) -> case.AdverseEvent:
    """What happened, when, how bad it was, what may have caused it. What the record does not say is None."""
    event = extensions.concept_of("adverse_event", record.event, tables) or Concept()
    seriousness = extensions.concept_of("ae_seriousness", record.seriousness, tables)
    further = extensions.read_from(record.extension, tables)
    return case.AdverseEvent(
        source=source,
        event=event,
        identifier=case.Identifier(record.identifier.system, record.identifier.value) if record.identifier else None,
        status=extensions.status_in(record.modifierExtension),
        actuality=record.actuality,
        date=record.date,
        detected=record.detected,
        recorded=record.recordedDate,
        resolved=further.resolved,
        seriousness=seriousness,
        serious=_SERIOUS.get(seriousness.variable or "") if seriousness else None,
        criteria=further.criteria,
        severity=extensions.concept_of("ae_severity", record.severity, tables),
        grading=further.grading,
        grade=_grade(further.grading),
        outcome=extensions.concept_of("ae_outcome", record.outcome, tables),
        suspects=(*(_suspect_in(one, tables) for one in record.suspectEntity), *further.suspects),
        actions=further.actions,
        left_study=further.left_study,
        led_to_stop=_led_to_stop(further),
        expected=further.expected,
        resulting_conditions=tuple(one.reference or "" for one in record.resultingCondition),
        resulting_effects=further.effects,
    )


def to_fhir(event: case.AdverseEvent, subject: str) -> AdverseEvent:
    """The resource that says what `event` knows."""
    known = event.identifier
    return AdverseEvent(
        id=local_id(event.source),
        extension=extensions.written(event),
        modifierExtension=extensions.status_out(event.status),
        identifier=Identifier(known.system, known.value) if known else None,
        actuality=event.actuality,
        event=concept_out(event.event) if event.event != Concept() else None,
        subject=Reference(subject),
        date=event.date,
        detected=event.detected,
        recordedDate=event.recorded,
        resultingCondition=tuple(Reference(one or None) for one in event.resulting_conditions),
        seriousness=concept_out(event.seriousness),
        severity=concept_out(event.severity),
        outcome=concept_out(event.outcome),
        suspectEntity=tuple(_suspect_out(one) for one in event.suspects if not one.backported),
    )


_SERIOUS = {"serious": True, "non_serious": False}
_GRADES = {f"grade_{number}": number for number in range(1, 6)}


def _grade(grading: Concept | None) -> int | None:
    return _GRADES.get(grading.variable or "") if grading else None


def _led_to_stop(further: extensions.Further) -> bool | None:
    """Whether the drug was withdrawn or the study left for it; the record denies it only where it says so itself."""
    withdrawn = any(one.concept is not None and one.concept.variable == "drug_withdrawn" for one in further.actions)
    return True if withdrawn or further.left_study else further.left_study


def _suspect_in(entity: SuspectEntity, tables: Tables) -> Suspect:
    judged = (extensions.concept_of("ae_relatedness", one.assessment, tables) for one in entity.causality)
    return Suspect(
        reference=entity.instance.reference if entity.instance else None,
        relatedness=tuple(one for one in judged if one is not None),
    )


def _suspect_out(suspect: Suspect) -> SuspectEntity:
    return SuspectEntity(
        instance=Reference(suspect.reference) if suspect.reference is not None else None,
        causality=tuple(Causality(concept_out(one)) for one in suspect.relatedness),
    )
