"""MedicationAdministration <-> Administration (https://hl7.org/fhir/R4/medicationadministration.html)."""

from collections.abc import Mapping
from fractions import Fraction

import msgspec

from dm_fhir.mappings.codes import Tables, unit_names
from dm_fhir.mappings.datatypes import (
    CodeableConcept,
    Identifier,
    Period,
    Quantity,
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
    write,
)
from dm_fhir.mappings.medication import Medication, contained
from dm_fhir.mappings.medication import medication_concept as medication_concept
from dm_fhir.model import case
from dm_fhir.model.case import Administration, Concept, Source

#: The elements that survive the way there and back.
SUPPORTED = (
    "resourceType", "id", "identifier.system", "identifier.value", "partOf.reference", "status",
    "statusReason.coding.system", "statusReason.coding.code", "statusReason.coding.display", "statusReason.text",
    "medicationCodeableConcept.coding.system", "medicationCodeableConcept.coding.code",
    "medicationCodeableConcept.coding.display", "medicationCodeableConcept.text", "medicationReference.reference",
    "subject.reference", "effectiveDateTime", "effectivePeriod.start", "effectivePeriod.end",
    "dosage.dose.value", "dosage.dose.comparator", "dosage.dose.unit", "dosage.dose.system", "dosage.dose.code",
    "dosage.route.coding.system", "dosage.route.coding.code", "dosage.route.coding.display", "dosage.route.text",
    "dosage.method.coding.system", "dosage.method.coding.code", "dosage.method.coding.display", "dosage.method.text",
)  # fmt: skip


class Dosage(msgspec.Struct, frozen=True, omit_defaults=True):
    """MedicationAdministration.dosage: route, method, dose."""

    route: CodeableConcept | None = None
    method: CodeableConcept | None = None
    dose: Quantity | None = None


class MedicationAdministration(
    msgspec.Struct, frozen=True, omit_defaults=True, tag_field="resourceType", tag="MedicationAdministration"
):
    """The view of a MedicationAdministration."""

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
    dosage: Dosage | None = None


def from_fhir(
    record: MedicationAdministration, source: Source, tables: Tables, medications: Mapping[str, Medication]
) -> Administration:
    """What was given, when, how much. `medication` is None where its reference leads nowhere."""
    dosage = record.dosage or Dosage()
    medication = medication_concept(record, tables, medications)
    dose = quantity_in(dosage.dose)
    method = concept_in(dosage.method)
    dose_mg, flags = dose_in_mg(dose, medication, tables)
    method_row = tables.row("method", method.codings) if method else None
    return Administration(
        source=source,
        status=record.status,
        identifiers=identifiers_in(record.identifier),
        part_of=tuple(part.reference or "" for part in record.partOf),
        status_reasons=concepts_in(record.statusReason),
        medication=medication,
        medication_reference=record.medicationReference.reference if record.medicationReference else None,
        when=record.effectiveDateTime,
        during=period_in(record.effectivePeriod),
        dose=dose,
        route=concept_in(dosage.route),
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
    )
    return MedicationAdministration(
        id=local_id(administration.source),
        contained=_contained_out(referenced, administration.medication),
        identifier=identifiers_out(administration.identifiers),
        partOf=tuple(Reference(part or None) for part in administration.part_of),
        status=administration.status,
        statusReason=concepts_out(administration.status_reasons),
        medicationCodeableConcept=None if referenced else concept_out(administration.medication),
        medicationReference=Reference(referenced) if referenced else None,
        subject=Reference(subject),
        effectiveDateTime=administration.when,
        effectivePeriod=period_out(administration.during),
        dosage=dosage if dosage != Dosage() else None,
    )


def dose_in_mg(
    dose: case.Quantity | None, medication: Concept | None, tables: Tables
) -> tuple[Fraction | None, tuple[str, ...]]:
    """The dose in milligrams, exact, or None with the flag that says why (R-EXP). No dose at all has no flag."""
    if dose is None or dose.value is None:
        return None, ()
    names = unit_names(dose)
    if not names:
        return None, ("unit_missing",)
    for name in names:
        if name in tables.mass_units:
            return Fraction(dose.value) * tables.mass_units[name], ()
    return _product_dose(Fraction(dose.value), names, medication, tables)


def _product_dose(
    value: Fraction, names: tuple[str, ...], medication: Concept | None, tables: Tables
) -> tuple[Fraction | None, tuple[str, ...]]:
    codings = medication.codings if medication else ()
    row = tables.row("medication", codings)
    units = tables.dose_units(row, codings) if row else {}
    known = next((units[name] for name in names if name in units), None)
    if known is None:
        return None, ("concentration_unknown" if "mL" in names else "unit_incompatible",)
    if known.most is not None and value > known.most:
        return None, ("volume_is_bag",)
    return value * known.mg, ()


def _contained_out(reference: str | None, medication: Concept | None) -> tuple[msgspec.Raw, ...]:
    if reference is None or not reference.startswith("#") or medication is None:
        return ()
    return (msgspec.Raw(write(contained(reference, medication))),)
