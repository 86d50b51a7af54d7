"""Condition <-> diagnosis or manifestation (https://hl7.org/fhir/R4/condition.html)."""

import msgspec

from dm_fhir.mappings.codes import Tables
from dm_fhir.mappings.datatypes import (
    CodeableConcept,
    Coding,
    Identifier,
    Period,
    Quantity,
    Range,
    Reference,
    concept_in,
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
from dm_fhir.model import case
from dm_fhir.model.case import Concept, Source
from dm_fhir.model.dates import holding

_CONCEPT = ("coding.system", "coding.code", "coding.display", "text")
_QUANTITY = ("value", "comparator", "unit", "system", "code")
#: The elements that survive the way there and back. Of a status its code does; several codes of one come back as one.
SUPPORTED = (
    "resourceType", "id", "identifier.system", "identifier.value", "subject.reference", "recordedDate",
    *(f"{element}.{part}" for element in ("category", "severity", "code", "bodySite", "stage.summary", "evidence.code")
      for part in _CONCEPT),
    *(f"{began}{form}" for began in ("onset", "abatement")
      for form in ("DateTime", "Period.start", "Period.end", "String", *(f"Age.{part}" for part in _QUANTITY),
                   *(f"Range.{end}.{part}" for end in ("low", "high") for part in _QUANTITY))),
)  # fmt: skip

_CLINICAL = "http://terminology.hl7.org/CodeSystem/condition-clinical"
_VERIFICATION = "http://terminology.hl7.org/CodeSystem/condition-ver-status"
#: Verification statuses of what the patient does not have.
DENIED = ("entered-in-error", "refuted")


class Stage(msgspec.Struct, frozen=True, omit_defaults=True):
    """Condition.stage: summary."""

    summary: CodeableConcept | None = None


class Evidence(msgspec.Struct, frozen=True, omit_defaults=True):
    """Condition.evidence: code."""

    code: tuple[CodeableConcept, ...] = ()


class Diagnosis(msgspec.Struct, frozen=True):
    """What a Condition says of the disease, and nothing else of it."""

    code: CodeableConcept | None = None
    verificationStatus: CodeableConcept | None = None


class Condition(msgspec.Struct, frozen=True, omit_defaults=True, tag_field="resourceType", tag="Condition"):
    """The view of a Condition."""

    id: str | None = None
    identifier: tuple[Identifier, ...] = ()
    clinicalStatus: CodeableConcept | None = None
    verificationStatus: CodeableConcept | None = None
    category: tuple[CodeableConcept, ...] = ()
    severity: CodeableConcept | None = None
    code: CodeableConcept | None = None
    bodySite: tuple[CodeableConcept, ...] = ()
    subject: Reference | None = None
    onsetDateTime: str | None = None
    onsetAge: Quantity | None = None
    onsetPeriod: Period | None = None
    onsetRange: Range | None = None
    onsetString: str | None = None
    abatementDateTime: str | None = None
    abatementAge: Quantity | None = None
    abatementPeriod: Period | None = None
    abatementRange: Range | None = None
    abatementString: str | None = None
    recordedDate: str | None = None
    stage: tuple[Stage, ...] = ()
    evidence: tuple[Evidence, ...] = ()


def from_fhir(record: Condition, source: Source, tables: Tables) -> case.Condition:
    """What the condition is, since when and until when. A status that the record leaves out stays None."""
    return case.Condition(
        source=source,
        concept=_meaning(record.code, tables),
        identifiers=identifiers_in(record.identifier),
        categories=concepts_in(record.category),
        clinical_status=_status(record.clinicalStatus, _CLINICAL),
        verification_status=_status(record.verificationStatus, _VERIFICATION),
        severity=concept_in(record.severity),
        body_sites=concepts_in(record.bodySite),
        onset=_date(record.onsetDateTime, record.onsetPeriod),
        onset_during=period_in(record.onsetPeriod),
        onset_age=quantity_in(record.onsetAge),
        onset_ages=_range_in(record.onsetRange),
        onset_text=record.onsetString,
        abatement=_date(record.abatementDateTime, record.abatementPeriod),
        abatement_during=period_in(record.abatementPeriod),
        abatement_age=quantity_in(record.abatementAge),
        abatement_ages=_range_in(record.abatementRange),
        abatement_text=record.abatementString,
        recorded=record.recordedDate,
        stages=tuple(concept_in(one.summary) or Concept() for one in record.stage),
        evidence=tuple(code for one in record.evidence for code in concepts_in(one.code)),
    )


def to_fhir(condition: case.Condition, subject: str) -> Condition:
    """The resource that says what `condition` knows."""
    return Condition(
        id=local_id(condition.source),
        identifier=identifiers_out(condition.identifiers),
        clinicalStatus=_status_out(condition.clinical_status, _CLINICAL),
        verificationStatus=_status_out(condition.verification_status, _VERIFICATION),
        category=concepts_out(condition.categories),
        severity=concept_out(condition.severity),
        code=concept_out(condition.concept) if condition.concept != Concept() else None,
        bodySite=concepts_out(condition.body_sites),
        subject=Reference(subject),
        onsetDateTime=None if condition.onset_during else condition.onset,
        onsetAge=quantity_out(condition.onset_age),
        onsetPeriod=period_out(condition.onset_during),
        onsetRange=_range_out(condition.onset_ages),
        onsetString=condition.onset_text,
        abatementDateTime=None if condition.abatement_during else condition.abatement,
        abatementAge=quantity_out(condition.abatement_age),
        abatementPeriod=period_out(condition.abatement_during),
        abatementRange=_range_out(condition.abatement_ages),
        abatementString=condition.abatement_text,
        recordedDate=condition.recorded,
        stage=tuple(Stage(concept_out(one)) for one in condition.stages),
        evidence=tuple(Evidence((code,)) for code in concepts_out(condition.evidence)),
    )


def meanings(concept: Concept, tables: Tables) -> set[str]:
    """Every variable that the tables see in the codes of a condition."""
    rows = (tables.row("condition", (coding,)) for coding in concept.codings)
    return {row.variable for row in rows if row is not None}


def statuses(record: Condition | Diagnosis) -> set[str]:
    """Every code of the verification status."""
    status = record.verificationStatus
    return {coding.code for coding in status.coding if coding.code} if status else set()


def _meaning(code: CodeableConcept | None, tables: Tables) -> Concept:
    """The codes with what they mean: of several the one that tells the subtype, for others are broader."""
    recorded = concept_in(code) or Concept()
    rows = [row for coding in recorded.codings if (row := tables.row("condition", (coding,))) is not None]
    row = next((row for row in rows if row.subtype), rows[0] if rows else None)
    return msgspec.structs.replace(recorded, variable=row.variable if row else None)


def _date(moment: str | None, period: Period | None) -> str | None:
    return moment if moment is not None or period is None else holding(period.start, period.end)


def _status(status: CodeableConcept | None, system: str) -> str | None:
    """The code of the status, FHIR's own before any other; one that denies the condition before all."""
    codings = sorted(status.coding, key=lambda coding: coding.system != system) if status else []
    codes = [coding.code for coding in codings if coding.code]
    return next((code for code in codes if code in DENIED), codes[0] if codes else None)


def _status_out(status: str | None, system: str) -> CodeableConcept | None:
    return CodeableConcept((Coding(system, status),)) if status is not None else None


def _range_in(ends: Range | None) -> case.Range | None:
    return case.Range(quantity_in(ends.low), quantity_in(ends.high), ends.text) if ends else None


def _range_out(ends: case.Range | None) -> Range | None:
    return Range(quantity_out(ends.low), quantity_out(ends.high), ends.text) if ends else None
