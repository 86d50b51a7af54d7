"""MedicationAdministration <-> Administration (https://hl7.org/fhir/R4/medicationadministration.html)."""

from typing import Any

import msgspec

from dm_fhir.mappings.codes import Tables
from dm_fhir.mappings.datatypes import (
    CodeableConcept,
    Identifier,
    Period,
    Quantity,
    Ratio,
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
    ratio_in,
    ratio_out,
)
from dm_fhir.mappings.dosage import route_in
from dm_fhir.mappings.dose import dose_in_mg
from dm_fhir.mappings.medication import Medications, contained_out, drug_of
from dm_fhir.model.case import Administration, Source

#: The elements that survive the way there and back.
SUPPORTED = (
    "resourceType", "id", "identifier.system", "identifier.value", "partOf.reference", "request.reference",
    "status", "reasonCode.coding.system", "reasonCode.coding.code", "reasonCode.coding.display", "reasonCode.text",
    "statusReason.coding.system", "statusReason.coding.code", "statusReason.coding.display", "statusReason.text",
    "medicationCodeableConcept.coding.system", "medicationCodeableConcept.coding.code",
    "medicationCodeableConcept.coding.display", "medicationCodeableConcept.text", "medicationReference.reference",
    "subject.reference", "effectiveDateTime", "effectivePeriod.start", "effectivePeriod.end",
    "dosage.dose.value", "dosage.dose.comparator", "dosage.dose.unit", "dosage.dose.system", "dosage.dose.code",
    "dosage.route.coding.system", "dosage.route.coding.code", "dosage.route.coding.display", "dosage.route.text",
    "dosage.method.coding.system", "dosage.method.coding.code", "dosage.method.coding.display", "dosage.method.text",
    "dosage.rateQuantity.value", "dosage.rateQuantity.comparator", "dosage.rateQuantity.unit",
    "dosage.rateQuantity.system", "dosage.rateQuantity.code",
    "dosage.rateRatio.numerator.value", "dosage.rateRatio.numerator.comparator", "dosage.rateRatio.numerator.unit",
    "dosage.rateRatio.numerator.system", "dosage.rateRatio.numerator.code",
    "dosage.rateRatio.denominator.value", "dosage.rateRatio.denominator.comparator",
    "dosage.rateRatio.denominator.unit", "dosage.rateRatio.denominator.system", "dosage.rateRatio.denominator.code",
)  # fmt: skip


class Dosage(msgspec.Struct, frozen=True, omit_defaults=True):
    """MedicationAdministration.dosage: route, method, dose, rate[x]."""

    route: CodeableConcept | None = None
    method: CodeableConcept | None = None
    dose: Quantity | None = None
    rateQuantity: Quantity | None = None
    rateRatio: Ratio | None = None


class MedicationAdministration(
    msgspec.Struct, frozen=True, omit_defaults=True, tag_field="resourceType", tag="MedicationAdministration"
):
    """The view of a MedicationAdministration. R4 allows no effectiveTiming: where there is one, it is not expanded."""

    id: str | None = None
    contained: tuple[msgspec.Raw, ...] = ()
    identifier: tuple[Identifier, ...] = ()
    partOf: tuple[Reference, ...] = ()
    status: str | None = None
    statusReason: tuple[CodeableConcept, ...] = ()
    medicationCodeableConcept: CodeableConcept | None = None
    medicationReference: Reference | None = None
    subject: Reference | None = None
    effectiveDateTime: str | None = None
    effectivePeriod: Period | None = None
    effectiveTiming: Any = None
    reasonCode: tuple[CodeableConcept, ...] = ()
    request: Reference | None = None
    dosage: Dosage | None = None


def from_fhir(
    record: MedicationAdministration, source: Source, tables: Tables, medications: Medications
) -> Administration:
    """What was given, when, how much. `medication` is None where its reference leads nowhere."""
    dosage = record.dosage or Dosage()
    drug = drug_of(record, tables, medications)
    medication = drug.concept if drug else None
    dose = quantity_in(dosage.dose)
    method = concept_in(dosage.method)
    dose_mg, flags = dose_in_mg(dose, medication, tables)
    method_row = tables.row("method", method.codings) if method else None
    return Administration(
        source=source,
        status=record.status,
        identifiers=identifiers_in(record.identifier),
        part_of=tuple(part.reference or "" for part in record.partOf),
        request=record.request.reference if record.request else None,
        status_reasons=concepts_in(record.statusReason),
        reasons=concepts_in(record.reasonCode),
        medication=medication,
        medication_reference=record.medicationReference.reference if record.medicationReference else None,
        strength=drug.strength if drug else None,
        when=record.effectiveDateTime,
        during=period_in(record.effectivePeriod),
        dose=dose,
        rate=quantity_in(dosage.rateQuantity),
        rate_ratio=ratio_in(dosage.rateRatio),
        route=route_in(dosage.route, tables),
        method=method,
        method_status=method_row.variable if method_row else None,
        dose_mg=dose_mg,
        flags=flags,
    )


def to_fhir(administration: Administration, subject: str) -> MedicationAdministration:
    """The resource that says what `administration` knows; a referenced medication is written as the reference."""
    referenced = administration.medication_reference
    dosage = Dosage(
        route=concept_out(administration.route),
        method=concept_out(administration.method),
        dose=quantity_out(administration.dose),
        rateQuantity=quantity_out(administration.rate),
        rateRatio=ratio_out(administration.rate_ratio),
    )
    return MedicationAdministration(
        id=local_id(administration.source),
        contained=contained_out(referenced, administration.medication, administration.strength),
        identifier=identifiers_out(administration.identifiers),
        partOf=tuple(Reference(part or None) for part in administration.part_of),
        status=administration.status,
        statusReason=concepts_out(administration.status_reasons),
        reasonCode=concepts_out(administration.reasons),
        request=Reference(administration.request) if administration.request is not None else None,
        medicationCodeableConcept=None if referenced else concept_out(administration.medication),
        medicationReference=Reference(referenced) if referenced else None,
        subject=Reference(subject),
        effectiveDateTime=administration.when,
        effectivePeriod=period_out(administration.during),
        dosage=dosage if dosage != Dosage() else None,
    )
