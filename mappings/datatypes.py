"""Views of the FHIR R4 data types: just the elements that the mappings use, both ways to the model.

A view reads leniently (unknown elements are passed over) and writes only what is set. Numbers are Decimal.
"""

import re
from decimal import Decimal
from functools import lru_cache
from typing import TypeVar

import msgspec

from dm_fhir.model import case
from dm_fhir.model.json_text import is_ambiguous, repaired


class Coding(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """Coding: system, code, display."""

    system: str | None = None
    code: str | None = None
    display: str | None = None


class CodeableConcept(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """CodeableConcept: coding, text."""

    coding: tuple[Coding, ...] = ()
    text: str | None = None


class Quantity(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """Quantity: value, comparator, unit, system, code."""

    value: Decimal | None = None
    comparator: str | None = None
    unit: str | None = None
    system: str | None = None
    code: str | None = None

    def __post_init__(self) -> None:
        # "NaN" and 1e999999999 decode as decimals too; the first is no number, the second takes all memory when used.
        value = self.value
        if value is None or _SHORT(str(value)):
            return
        if not (value.is_finite() and abs(value.adjusted()) < _DIGITS and len(str(value)) < _DIGITS):
            raise ValueError("not a number that can be reckoned with")


_DIGITS = 1000
#: Nearly every amount in a record, for which the questions above need not be asked.
_SHORT = re.compile(r"-?[0-9.]{1,30}").fullmatch


class Ratio(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """Ratio: numerator, denominator."""

    numerator: Quantity | None = None
    denominator: Quantity | None = None


class Period(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """Period: start, end."""

    start: str | None = None
    end: str | None = None


class Range(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """Observation.referenceRange: low, high, text."""

    low: Quantity | None = None
    high: Quantity | None = None
    text: str | None = None


class Reference(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """Reference: reference."""

    reference: str | None = None


class Identifier(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """Identifier: system, value."""

    system: str | None = None
    value: str | None = None


class Meta(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """Meta: security."""

    security: tuple[Coding, ...] = ()


class Extension(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """Extension: url, valueCoding, valueString, nested extensions."""

    url: str
    valueCoding: Coding | None = None
    valueString: str | None = None
    extension: "tuple[Extension, ...]" = ()


View = TypeVar("View")
#: The records of a hospital say few things many times: so many of the last are remembered. Never of what holds a Decimal that
#: is to stay as it was written: 1.0 equals 1.00.
REMEMBERED = 2000


def read(body: bytes, view: type[View]) -> View:
    """The resource in `body` as `view`; escaped halves of characters, which no text can hold, become U+FFFD.

    Raises msgspec.DecodeError, or its ValidationError, which names the path; also for an object that has a key twice.
    """
    if is_ambiguous(body):
        raise msgspec.DecodeError("a key twice in one object: readers differ in which they take")
    return read_unambiguous(body, view)


def read_unambiguous(body: bytes, view: type[View]) -> View:
    """As `read`, for bytes that are known to have no key twice."""
    try:
        return msgspec.json.decode(repaired(body), type=view)
    except (UnicodeDecodeError, RecursionError) as error:
        # The first would repeat the text it could not read.
        raise msgspec.DecodeError("not UTF-8, or nested too deep") from error


def write(view: msgspec.Struct) -> bytes:
    """`view` as FHIR JSON, decimals as they were written."""
    return _ENCODER.encode(view)


_ENCODER = msgspec.json.Encoder(decimal_format="number")


def coding_in(coding: Coding) -> case.Coding:
    """A FHIR Coding as the model's."""
    return case.Coding(coding.system, coding.code, coding.display)


def coding_out(coding: case.Coding) -> Coding:
    """The model's coding as FHIR's."""
    return Coding(coding.system, coding.code, coding.display)


def concept_in(concept: CodeableConcept | None) -> case.Concept | None:
    """A CodeableConcept that no table gives a meaning to; None stays None."""
    return None if concept is None else _concept(concept)


def concepts_in(concepts: tuple[CodeableConcept, ...]) -> tuple[case.Concept, ...]:
    """Several concepts, as `concept_in`."""
    return tuple(map(_concept, concepts)) if concepts else ()


@lru_cache(REMEMBERED)
def _concept(concept: CodeableConcept) -> case.Concept:
    return case.Concept(tuple(map(coding_in, concept.coding)), concept.text)


def concept_out(concept: case.Concept | None) -> CodeableConcept | None:
    """The model's concept as FHIR's; None stays None."""
    if concept is None:
        return None
    return CodeableConcept(tuple(map(coding_out, concept.codings)), concept.text)


def concepts_out(concepts: tuple[case.Concept, ...]) -> tuple[CodeableConcept, ...]:
    """Several concepts, as `concept_out`."""
    return tuple(CodeableConcept(tuple(map(coding_out, c.codings)), c.text) for c in concepts)


def quantity_in(quantity: Quantity | None) -> case.Quantity | None:
    """A Quantity as recorded; None stays None."""
    if quantity is None:
        return None
    return case.Quantity(quantity.value, quantity.comparator, quantity.unit, quantity.system, quantity.code)


def quantity_out(quantity: case.Quantity | None) -> Quantity | None:
    """The model's quantity as FHIR's; None stays None."""
    if quantity is None:
        return None
    return Quantity(quantity.value, quantity.comparator, quantity.unit, quantity.system, quantity.code)


def ratio_in(ratio: Ratio | None) -> case.Ratio | None:
    """A Ratio as recorded; None stays None."""
    return case.Ratio(quantity_in(ratio.numerator), quantity_in(ratio.denominator)) if ratio else None


def ratio_out(ratio: case.Ratio | None) -> Ratio | None:
    """The model's ratio as FHIR's; None stays None."""
    return Ratio(quantity_out(ratio.numerator), quantity_out(ratio.denominator)) if ratio else None


def period_in(period: Period | None) -> case.Period | None:
    """A Period; None stays None."""
    return case.Period(period.start, period.end) if period else None


def period_out(period: case.Period | None) -> Period | None:
    """The model's period as FHIR's; None stays None."""
    return Period(period.start, period.end) if period else None


def identifiers_in(identifiers: tuple[Identifier, ...]) -> tuple[case.Identifier, ...]:
    """Business identifiers."""
    return tuple(case.Identifier(i.system, i.value) for i in identifiers)


def identifiers_out(identifiers: tuple[case.Identifier, ...]) -> tuple[Identifier, ...]:
    """The model's identifiers as FHIR's."""
    return tuple(Identifier(i.system, i.value) for i in identifiers)


def local_id(source: case.Source) -> str | None:
    """The resource's id on its server; None if it has none yet."""
    return source.reference.partition("/")[2] or None
