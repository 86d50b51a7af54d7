"""Observation <-> Assessment (https://hl7.org/fhir/R4/observation.html)."""

from collections.abc import Iterator
from typing import TypeVar

import msgspec

from dm_fhir.mappings import measured
from dm_fhir.mappings.codes import Tables
from dm_fhir.mappings.datatypes import (
    CodeableConcept,
    Identifier,
    Period,
    Quantity,
    Range,
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
from dm_fhir.model import case
from dm_fhir.model.case import Assessment, Concept, Measured, Source

Value = TypeVar("Value")
ABSENT_EXTENSION = "http://hl7.org/fhir/StructureDefinition/data-absent-reason"


def _concept_paths(path: str) -> tuple[str, ...]:
    return (f"{path}.coding.system", f"{path}.coding.code", f"{path}.coding.display", f"{path}.text")


def _quantity_paths(path: str) -> tuple[str, ...]:
    return tuple(f"{path}.{name}" for name in ("value", "comparator", "unit", "system", "code"))


_MEASURED = (
    *_concept_paths("code"), *_quantity_paths("valueQuantity"), "valueInteger", "valueString", "valueBoolean",
    *_concept_paths("valueCodeableConcept"), *_quantity_paths("valueRange.low"), *_quantity_paths("valueRange.high"),
    *_quantity_paths("valueRatio.numerator"), *_quantity_paths("valueRatio.denominator"), "valueDateTime", "valueTime",
    "valuePeriod.start", "valuePeriod.end", *_concept_paths("dataAbsentReason"), *_concept_paths("interpretation"),
    *_quantity_paths("referenceRange.low"), *_quantity_paths("referenceRange.high"), "referenceRange.text",
    *_concept_paths("referenceRange.type"), *_concept_paths("referenceRange.appliesTo"),
    *_quantity_paths("referenceRange.age.low"), *_quantity_paths("referenceRange.age.high"),
)  # fmt: skip
#: The elements that survive the way there and back. (An effectiveInstant comes back as the effectiveDateTime it is, and
#: the data-absent-reason extension of a value as dataAbsentReason. The samples of valueSampledData are not kept.)
SUPPORTED = (
    "resourceType", "id", "identifier.system", "identifier.value", "status", *_concept_paths("category"),
    "subject.reference", "effectiveDateTime", "effectivePeriod.start", "effectivePeriod.end", "effectiveTiming.event",
    "issued", "specimen.reference", "hasMember.reference", "derivedFrom.reference", *_MEASURED,
    *(f"component.{element}" for element in _MEASURED),
)  # fmt: skip


class Extension(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """Extension: url, valueCode; the others pass by."""

    url: str | None = None
    valueCode: str | None = None


class Element(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """What stands beside a value, or in its place."""

    extension: tuple[Extension, ...] = ()


class ValueQuantity(Quantity, frozen=True, omit_defaults=True, gc=False):
    """A Quantity that may say why it has no value."""

    extension: tuple[Extension, ...] = ()
    beside_value: Element | None = msgspec.field(default=None, name="_value")


class ValueConcept(CodeableConcept, frozen=True, omit_defaults=True, gc=False):
    """A CodeableConcept that may say why it has no code."""

    extension: tuple[Extension, ...] = ()


class ReferenceRange(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """Observation.referenceRange."""

    low: Quantity | None = None
    high: Quantity | None = None
    type: CodeableConcept | None = None
    appliesTo: tuple[CodeableConcept, ...] = ()
    age: Range | None = None
    text: str | None = None


class SampledData(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """A series of samples: that it is one, and nothing of it."""


class Timing(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """Timing: event. A rule by which something repeats is not expanded."""

    event: tuple[str, ...] = ()


class Component(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """What Observation and Observation.component share: a code and its value."""

    code: CodeableConcept | None = None
    valueQuantity: ValueQuantity | None = None
    valueCodeableConcept: ValueConcept | None = None
    valueString: str | None = None
    valueBoolean: bool | None = None
    valueInteger: int | None = None
    valueRange: Range | None = None
    valueRatio: Ratio | None = None
    valueSampledData: SampledData | None = None
    valueTime: str | None = None
    valueDateTime: str | None = None
    valuePeriod: Period | None = None
    beside_string: Element | None = msgspec.field(default=None, name="_valueString")
    beside_boolean: Element | None = msgspec.field(default=None, name="_valueBoolean")
    beside_integer: Element | None = msgspec.field(default=None, name="_valueInteger")
    beside_time: Element | None = msgspec.field(default=None, name="_valueTime")
    beside_date_time: Element | None = msgspec.field(default=None, name="_valueDateTime")
    dataAbsentReason: CodeableConcept | None = None
    interpretation: tuple[CodeableConcept, ...] = ()
    referenceRange: tuple[ReferenceRange, ...] = ()


class Observation(Component, frozen=True, omit_defaults=True, gc=False, tag_field="resourceType", tag="Observation"):
    """The view of an Observation."""

    id: str | None = None
    contained: tuple[msgspec.Raw, ...] = ()
    identifier: tuple[Identifier, ...] = ()
    status: str | None = None
    category: tuple[CodeableConcept, ...] = ()
    subject: Reference | None = None
    effectiveDateTime: str | None = None
    effectiveInstant: str | None = None
    effectivePeriod: Period | None = None
    effectiveTiming: Timing | None = None
    issued: str | None = None
    specimen: Reference | None = None
    hasMember: tuple[Reference, ...] = ()
    derivedFrom: tuple[Reference, ...] = ()
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
        timing=record.effectiveTiming.event if record.effectiveTiming is not None else None,
        issued=record.issued,
        specimen=record.specimen.reference if record.specimen else None,
        measured=_measured(record, tables, len(components) or len(record.hasMember)),
        components=components,
        members=_references_in(record.hasMember),
        derived_from=_references_in(record.derivedFrom),
    )


def contained_members(record: Observation, source: Source, tables: Tables) -> Iterator[Assessment]:
    """The parts of a panel that are records inside it, each as an assessment of its own.

    Raises msgspec.DecodeError for one that is no readable Observation.
    """
    wanted = {member.reference for member in record.hasMember}
    for index, body in enumerate(record.contained):
        named = msgspec.json.decode(body, type=_Contained)
        if named.resourceType == "Observation" and f"#{named.id}" in wanted:
            part = msgspec.json.decode(body, type=Observation)
            yield from_fhir(part, msgspec.structs.replace(source, path=f"contained[{index}]"), tables)


def to_fhir(assessment: Assessment, subject: str | None) -> Observation:
    """The resource that says what `assessment` recorded; what it comes to is not written, it follows from that."""
    value = _component(assessment.measured)
    return Observation(
        id=local_id(assessment.source),
        identifier=identifiers_out(assessment.identifiers),
        status=assessment.status,
        category=concepts_out(assessment.categories),
        subject=Reference(subject),
        effectiveDateTime=assessment.when,
        effectivePeriod=period_out(assessment.during),
        effectiveTiming=Timing(assessment.timing) if assessment.timing is not None else None,
        issued=assessment.issued,
        specimen=Reference(assessment.specimen) if assessment.specimen is not None else None,
        hasMember=tuple(map(Reference, assessment.members)),
        derivedFrom=tuple(map(Reference, assessment.derived_from)),
        component=tuple(map(_component, assessment.components)),
        **{name: getattr(value, name) for name in Component.__struct_fields__},
    )


class _Contained(msgspec.Struct, frozen=True):
    resourceType: str | None = None
    id: str | None = None


def _references_in(references: tuple[Reference, ...]) -> tuple[str, ...]:
    return tuple(one.reference for one in references if one.reference is not None)


def _measured(part: Component, tables: Tables, part_count: int) -> Measured:
    absent = concept_in(part.dataAbsentReason) or _absent(part)
    recorded = Measured(
        concept=concept_in(part.code) or Concept(),
        quantity=_present(quantity_in(part.valueQuantity), absent),
        integer=part.valueInteger,
        string=part.valueString,
        boolean=part.valueBoolean,
        coded=_present(concept_in(part.valueCodeableConcept), absent),
        value_range=_value_range(part.valueRange),
        ratio=ratio_in(part.valueRatio),
        date_time=part.valueDateTime,
        time_of_day=part.valueTime,
        period=period_in(part.valuePeriod),
        sampled=part.valueSampledData is not None,
        absent=absent,
        interpretations=concepts_in(part.interpretation),
        ranges=tuple(map(_range_in, part.referenceRange)),
    )
    return measured.evaluated(recorded, tables, part_count)


def _absent(part: Component) -> Concept | None:
    """Why there is no value, where an extension says so in its place; as dataAbsentReason would say it."""
    quantity, coded = part.valueQuantity, part.valueCodeableConcept
    if quantity is not None and quantity.value is not None:
        return None
    beside = (
        quantity, quantity and quantity.beside_value, coded, part.beside_string, part.beside_boolean,
        part.beside_integer, part.beside_time, part.beside_date_time,
    )  # fmt: skip
    for element in beside:
        for one in element.extension if element is not None else ():
            if one.url == ABSENT_EXTENSION:
                return Concept((case.Coding(measured.ABSENT_SYSTEM, one.valueCode),))
    return None


def _present(value: Value | None, absent: Concept | None) -> Value | None:
    """The value; none where it has nothing in it but the reason why it is not there."""
    return None if absent is not None and value in (case.Quantity(), Concept()) else value


def _value_range(value: Range | None) -> case.Range | None:
    return case.Range(quantity_in(value.low), quantity_in(value.high)) if value is not None else None


def _range_in(one: ReferenceRange) -> case.Range:
    age = one.age
    return case.Range(
        low=quantity_in(one.low),
        high=quantity_in(one.high),
        text=one.text,
        type=concept_in(one.type),
        applies_to=concepts_in(one.appliesTo),
        age_low=quantity_in(age.low) if age is not None else None,
        age_high=quantity_in(age.high) if age is not None else None,
    )


def _component(value: Measured) -> Component:
    quantity, coded, between, ratio = value.quantity, value.coded, value.value_range, value.ratio
    return Component(
        code=concept_out(value.concept) if value.concept != Concept() else None,
        valueQuantity=ValueQuantity(*msgspec.structs.astuple(quantity)) if quantity is not None else None,
        valueCodeableConcept=_coded_out(coded),
        valueString=value.string,
        valueBoolean=value.boolean,
        valueInteger=value.integer,
        valueRange=Range(quantity_out(between.low), quantity_out(between.high)) if between is not None else None,
        valueRatio=ratio_out(ratio),
        valueSampledData=SampledData() if value.sampled else None,
        valueTime=value.time_of_day,
        valueDateTime=value.date_time,
        valuePeriod=period_out(value.period),
        dataAbsentReason=concept_out(value.absent),
        interpretation=concepts_out(value.interpretations),
        referenceRange=tuple(map(_range_out, value.ranges)),
    )


def _coded_out(concept: Concept | None) -> ValueConcept | None:
    plain = concept_out(concept)
    return ValueConcept(plain.coding, plain.text) if plain is not None else None


def _range_out(one: case.Range) -> ReferenceRange:
    has_age = one.age_low is not None or one.age_high is not None
    return ReferenceRange(
        low=quantity_out(one.low),
        high=quantity_out(one.high),
        type=concept_out(one.type),
        appliesTo=concepts_out(one.applies_to),
        age=Range(quantity_out(one.age_low), quantity_out(one.age_high)) if has_age else None,
        text=one.text,
    )
