"""Observation <-> Assessment (https://hl7.org/fhir/R4/observation.html)."""

from decimal import Decimal
from fractions import Fraction

import msgspec

from dm_fhir.mappings.codes import Row, Tables, unit_names
from dm_fhir.mappings.datatypes import (
    CodeableConcept,
    Identifier,
    Period,
    Quantity,
    Range,
    Reference,
    coding_in,
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
from dm_fhir.model.case import Assessment, Concept, Measured, Result, Source
from dm_fhir.outcomes import mmt8

_MEASURED = (
    "code.coding.system", "code.coding.code", "code.coding.display", "code.text", "valueQuantity.value",
    "valueQuantity.comparator", "valueQuantity.unit", "valueQuantity.system", "valueQuantity.code", "valueInteger",
    "valueString", "valueBoolean", "valueCodeableConcept.coding.system", "valueCodeableConcept.coding.code",
    "valueCodeableConcept.coding.display", "valueCodeableConcept.text", "dataAbsentReason.coding.system",
    "dataAbsentReason.coding.code", "dataAbsentReason.coding.display", "dataAbsentReason.text",
    "interpretation.coding.system", "interpretation.coding.code", "interpretation.coding.display",
    "interpretation.text", "referenceRange.low.value", "referenceRange.low.unit", "referenceRange.low.system",
    "referenceRange.low.code", "referenceRange.high.value", "referenceRange.high.unit", "referenceRange.high.system",
    "referenceRange.high.code", "referenceRange.text",
)  # fmt: skip
#: The elements that survive the way there and back. (An effectiveInstant comes back as the effectiveDateTime it is.)
SUPPORTED = (
    "resourceType", "id", "identifier.system", "identifier.value", "status", "category.coding.system",
    "category.coding.code", "category.coding.display", "category.text", "subject.reference", "effectiveDateTime",
    "effectivePeriod.start", "effectivePeriod.end", "issued", *_MEASURED,
    *(f"component.{element}" for element in _MEASURED),
)  # fmt: skip


class Component(msgspec.Struct, frozen=True, omit_defaults=True):
    """What Observation and Observation.component share: a code and its value."""

    code: CodeableConcept | None = None
    valueQuantity: Quantity | None = None
    valueCodeableConcept: CodeableConcept | None = None
    valueString: str | None = None
    valueBoolean: bool | None = None
    valueInteger: int | None = None
    dataAbsentReason: CodeableConcept | None = None
    interpretation: tuple[CodeableConcept, ...] = ()
    referenceRange: tuple[Range, ...] = ()


class Observation(Component, frozen=True, omit_defaults=True, tag_field="resourceType", tag="Observation"):
    """The view of an Observation."""

    id: str | None = None
    identifier: tuple[Identifier, ...] = ()
    status: str | None = None
    category: tuple[CodeableConcept, ...] = ()
    subject: Reference | None = None
    effectiveDateTime: str | None = None
    effectiveInstant: str | None = None
    effectivePeriod: Period | None = None
    issued: str | None = None
    component: tuple[Component, ...] = ()


def from_fhir(record: Observation, source: Source, tables: Tables) -> Assessment:
    """What was measured and what it comes to. An instant is read as the dateTime it is."""
    components = tuple(_measured(part, tables, 0) for part in record.component)
    return Assessment(
        source=source,
        status=record.status,
        identifiers=identifiers_in(record.identifier),
        categories=concepts_in(record.category),
        when=record.effectiveDateTime or record.effectiveInstant,
        during=period_in(record.effectivePeriod),
        issued=record.issued,
        measured=_measured(record, tables, len(components)),
        components=components,
    )


def to_fhir(assessment: Assessment, subject: str) -> Observation:
    """The resource that says what `assessment` recorded; what it comes to is not written, it follows from that."""
    measured = _component(assessment.measured)
    return Observation(
        id=local_id(assessment.source),
        identifier=identifiers_out(assessment.identifiers),
        status=assessment.status,
        category=concepts_out(assessment.categories),
        subject=Reference(subject),
        effectiveDateTime=assessment.when,
        effectivePeriod=period_out(assessment.during),
        issued=assessment.issued,
        component=tuple(map(_component, assessment.components)),
        **msgspec.structs.asdict(measured),
    )


def _measured(part: Component, tables: Tables, component_count: int) -> Measured:
    code = part.code or CodeableConcept()
    recorded = Measured(
        concept=tables.concept("measurement", tuple(map(coding_in, code.coding)), code.text),
        quantity=quantity_in(part.valueQuantity),
        integer=part.valueInteger,
        string=part.valueString,
        boolean=part.valueBoolean,
        coded=concept_in(part.valueCodeableConcept),
        absent=concept_in(part.dataAbsentReason),
        interpretations=concepts_in(part.interpretation),
        ranges=tuple(case.Range(quantity_in(r.low), quantity_in(r.high), r.text) for r in part.referenceRange),
    )
    return evaluated(recorded, tables, component_count)


def _component(measured: Measured) -> Component:
    return Component(
        code=concept_out(measured.concept) if measured.concept != Concept() else None,
        valueQuantity=quantity_out(measured.quantity),
        valueCodeableConcept=concept_out(measured.coded),
        valueString=measured.string,
        valueBoolean=measured.boolean,
        valueInteger=measured.integer,
        dataAbsentReason=concept_out(measured.absent),
        interpretation=concepts_out(measured.interpretations),
        referenceRange=tuple(Range(quantity_out(r.low), quantity_out(r.high), r.text) for r in measured.ranges),
    )


def evaluated(recorded: Measured, tables: Tables, component_count: int = 0) -> Measured:
    """`recorded` with what it comes to in its variable's unit.

    A code that no table knows comes to nothing, and so does a panel by itself, and what is known only to be left out.
    """
    row = tables.row("measurement", recorded.concept.codings)
    if row is None or row.panel or row.excluded:
        return recorded
    if row.answers:
        return msgspec.structs.replace(recorded, result=_answer(recorded, tables))
    result = _number(recorded, row)
    if row.variable in mmt8.VARIABLES and result.number is not None:
        return _on_its_scale(recorded, result, row, component_count)
    return msgspec.structs.replace(recorded, result=result)


def _answer(recorded: Measured, tables: Tables) -> Result:
    """What a coded result means: its value first, then its interpretation."""
    for concept in (recorded.coded, *recorded.interpretations):
        row = tables.row("answer", concept.codings) if concept else None
        if row is not None:
            return Result(answer=row.variable)
    return Result(reason="value_missing" if recorded.coded is None else "value_not_mapped")


def _number(recorded: Measured, row: Row) -> Result:
    """The value in the row's unit, exact, or None with a reason. Text is never read as a number."""
    quantity = recorded.quantity
    if quantity is None and recorded.integer is not None:
        quantity = case.Quantity(value=Decimal(recorded.integer))
    if quantity is None or quantity.value is None:
        return Result(reason="value_is_string" if recorded.string is not None else "value_missing")
    factor, flag = _factor(quantity, row)
    if factor is None:
        return Result(reason=flag)
    number = Fraction(quantity.value) * factor
    if row.range and not row.range[0] <= number <= row.range[1]:
        return Result(reason="out_of_range")
    implausible = row.plausible is not None and not row.plausible[0] <= number <= row.plausible[1]
    flags = (*((flag,) if flag else ()), *(("implausible",) if implausible else ()))
    return Result(number, row.unit, _BOUNDS.get(quantity.comparator or "", "exact"), flags=flags)


_BOUNDS = {"<": "upper_exclusive", "<=": "upper_inclusive", ">": "lower_exclusive", ">=": "lower_inclusive"}


def _factor(quantity: case.Quantity, row: Row) -> tuple[Fraction | None, str | None]:
    """The exact factor to the row's unit with a flag for an assumption; or None with the reason."""
    names = unit_names(quantity)
    for units, flag in ((row.units, None), (row.assumed_units, "unit_read_as_U_per_L")):
        for name in names:
            if name in units:
                return units[name], flag
    if not names:
        return (Fraction(1), None) if row.unitless else (None, "unit_missing")
    return None, "unit_incompatible"


def _on_its_scale(recorded: Measured, result: Result, row: Row, component_count: int) -> Measured:
    """An MMT8 under the variable of its scale, or without a number and with the reason (R-MMT)."""
    highs = [Fraction(r.high.value) for r in recorded.ranges if r.high is not None and r.high.value is not None]
    code_scale = None if row.variable == "mmt8" else row.scale
    site_scale = row.scale if row.variable == "mmt8" else None
    scale = mmt8.scale(
        result.number or Fraction(0), code_scale, highs[0] if highs else None, component_count, site_scale
    )
    concept = msgspec.structs.replace(recorded.concept, variable=scale.variable or row.variable)
    result = result if scale.variable else Result(reason=scale.reason)
    return msgspec.structs.replace(recorded, concept=concept, result=result)
