"""What a recorded value comes to in its variable's unit: an exact number, an answer, or the reason why neither.

Nothing is guessed. Text is read as a number, and a code as a value, only where a table says so.
"""

from collections.abc import Iterable, Sequence
from decimal import Decimal
from fractions import Fraction
from functools import lru_cache
from typing import NamedTuple

from msgspec.structs import replace

from dm_fhir.mappings.codes import Row, Tables, unit_names
from dm_fhir.mappings.datatypes import REMEMBERED
from dm_fhir.mappings.number_in_text import quantity_in_text
from dm_fhir.model.case import Concept, Measured, Quantity, Range, Result
from dm_fhir.outcomes import mmt8

ABSENT_SYSTEM = "http://terminology.hl7.org/CodeSystem/data-absent-reason"
_MEANING_SYSTEM = "http://terminology.hl7.org/CodeSystem/referencerange-meaning"
_BOUNDS = {
    None: "exact",
    "<": "upper_exclusive",
    "<=": "upper_inclusive",
    ">": "lower_exclusive",
    ">=": "lower_inclusive",
}


def evaluated(recorded: Measured, tables: Tables, part_count: int = 0) -> Measured:
    """`recorded` with what it comes to. `part_count` is of how many parts it is made; a code without row says nothing."""
    named = _named(recorded.concept, tables)
    if named is None:
        return recorded
    row, twice = named
    return evaluated_as(row, recorded, tables, part_count, named_twice=twice)


def row_of(concept: Concept, tables: Tables) -> Row | None:
    """The row of what was measured; None where no table knows one of its codes."""
    named = _named(concept, tables)
    return named[0] if named is not None else None


@lru_cache(REMEMBERED)
def _named(concept: Concept, tables: Tables) -> tuple[Row, bool] | None:
    """The row that the codes name, and whether they mean two things; None where no table knows one of them."""
    rows = [row for coding in concept.codings if (row := tables.row("measurement", (coding,))) is not None]
    return (_foremost(rows), len(rows) > 1 and _differ(rows)) if rows else None


def _foremost(rows: Sequence[Row]) -> Row:
    """Of several that the codes name the first, or the one that tells a scale."""
    return next((row for row in rows if row.scale is not None and row.variable != "mmt8"), rows[0])


def _differ(rows: Iterable[Row]) -> bool:
    """Whether codes of one record mean two things. (Several antibodies are one test, the MMT8 has two scales.)"""
    return len({"mmt8" if row.variable in mmt8.VARIABLES else row.variable for row in rows if not row.answers}) > 1


def evaluated_as(
    row: Row, recorded: Measured, tables: Tables, part_count: int = 0, *, named_twice: bool = False
) -> Measured:
    """`recorded` as the variable of `row`; one that has no unit and no answers is recognised and comes to nothing.

    Reasons: `value_missing`, `value_is_string`, `value_not_mapped` (a code without meaning), `value_not_a_number`
    (a range, ratio, time, series or yes/no), `conflict` (it contradicts itself: two values, a value that is said to be
    absent, codes of two variables), `comparator` (unknown), `unit_missing`, `unit_incompatible`, `out_of_range`,
    `scale_ambiguous`, `scale_conflict`.
    """
    variable, values = row.variable, _values(recorded)
    if named_twice or len(values) > 1 or (values and recorded.absent is not None):
        result = Result(reason="conflict")
    elif row.answers:
        result = _answer(recorded, tables)
    elif row.unit is None or row.panel or row.excluded:
        result = Result()
    else:
        result = _number(recorded, row, tables)
        if result.number is not None and variable in mmt8.VARIABLES:
            variable, result = _on_its_scale(recorded, result, row, part_count)
    codes = recorded.concept
    return replace(recorded, concept=Concept(codes.codings, codes.text, variable), result=result)


def _values(recorded: Measured) -> list[object]:
    """Every value that is recorded; more than one is more than FHIR allows."""
    amount = recorded.quantity.value if recorded.quantity is not None else None
    found = (
        amount, recorded.integer, recorded.string, recorded.boolean, recorded.coded, recorded.value_range,
        recorded.ratio, recorded.date_time, recorded.time_of_day, recorded.period, recorded.sampled or None,
    )  # fmt: skip
    return [value for value in found if value is not None]


def _answer(recorded: Measured, tables: Tables) -> Result:
    """What a coded result means: its value first, then its interpretation."""
    for concept in (recorded.coded, *recorded.interpretations):
        row = tables.row("answer", concept.codings) if concept else None
        if row is not None:
            return Result(answer=row.variable)
    is_bare = bool(_values(recorded)) and recorded.string is None and recorded.coded is None
    return Result(reason="value_not_mapped" if is_bare else _no_value(recorded))


def _no_value(recorded: Measured) -> str:
    """Why there is no number: nothing recorded, or something that is none."""
    if recorded.string is not None:
        return "value_is_string"
    if recorded.coded is not None:
        is_absent = any(coding.system == ABSENT_SYSTEM for coding in recorded.coded.codings)
        return "value_missing" if is_absent else "value_not_mapped"
    return "value_not_a_number" if _values(recorded) else "value_missing"


def _number(recorded: Measured, row: Row, tables: Tables) -> Result:
    """The value in the row's unit, exact, or None with a reason."""
    quantity, told = _quantity(recorded, row, tables)
    if quantity is None or quantity.value is None:
        return Result(reason=_no_value(recorded))
    bound = _BOUNDS.get(quantity.comparator)
    if bound is None:
        return Result(reason="comparator")
    found = _in_unit(quantity.value, unit_names(quantity), row)
    if found.reason == "unit_missing" and row.line:
        found = _judged(quantity.value, _of_a_line(quantity.value, recorded.ranges, row), row)
    if found.number is None:
        return Result(reason=found.reason)
    low, high = _normal(recorded.ranges, row)
    return Result(found.number, row.unit, bound, flags=told + found.flags, reference_low=low, reference_high=high)


class _Number(NamedTuple):
    """A number in the row's unit with flags for what is doubtful; or none and the reason."""

    number: Fraction | None
    flags: tuple[str, ...] = ()
    reason: str | None = None


@lru_cache(REMEMBERED)
def _in_unit(value: Decimal, names: tuple[str, ...], row: Row) -> _Number:
    return _judged(value, _factor(names, row), row)


def _judged(value: Decimal, unit: "_Unit", row: Row) -> _Number:
    if unit.factor is None:
        return _Number(None, reason=unit.reason)
    number = _times(value, unit.factor)
    if row.range is not None and not row.range.hold(number):
        return _Number(None, reason="out_of_range")
    return _Number(number, (*unit.flags, *_doubts(number, row)))


class Conversion(NamedTuple):
    """How a number is made of a value: `amount`, as it was read, in `unit`, times the exact `factor`.

    No unit: a bare number, a mark on a line, a coded value. No amount, or no factor: the value gives no number.
    """

    amount: Decimal | None = None
    unit: str | None = None
    factor: Fraction | None = None


def conversion(recorded: Measured, row: Row, tables: Tables) -> Conversion:
    """How the value of `row` becomes a number in the row's unit."""
    quantity, _ = _quantity(recorded, row, tables)
    if quantity is None or quantity.value is None:
        return Conversion()
    names = unit_names(quantity)
    unit = _factor(names, row)
    if unit.reason == "unit_missing" and row.line:
        unit = _of_a_line(quantity.value, recorded.ranges, row)
    name = next((one for one in names if one in row.units or one in row.assumed_units), None)
    return Conversion(quantity.value, None if recorded.coded is not None else name, unit.factor)


def _quantity(recorded: Measured, row: Row, tables: Tables) -> tuple[Quantity | None, tuple[str, ...]]:
    """The recorded amount, with a flag where it had to be read out of text."""
    if recorded.integer is not None:
        return Quantity(Decimal(recorded.integer)), ()
    if recorded.coded is not None:
        values = (row.values.get((tables.system(one.system), one.code or "")) for one in recorded.coded.codings)
        value = next((one for one in values if one is not None), None)
        return (Quantity(value, code=row.unit) if value is not None else None), ()
    if recorded.string is not None and row.parse_text:
        return quantity_in_text(recorded.string), ("parsed_from_text",)
    return recorded.quantity, ()


def _doubts(number: Fraction, row: Row) -> tuple[str, ...]:
    implausible = row.plausible is not None and not row.plausible.hold(number)
    broken = row.whole and number.denominator != 1
    return (*(("implausible",) if implausible else ()), *(("non_integer",) if broken else ()))


class _Unit(NamedTuple):
    """The exact factor to the row's unit with flags for what was assumed; or no factor and the reason."""

    factor: Fraction | None
    flags: tuple[str, ...] = ()
    reason: str | None = None


def _factor(names: tuple[str, ...], row: Row) -> _Unit:
    """By the unit that is stated, else the one that the table gives to bare numbers."""
    for name in names:
        if name in row.units:
            return _Unit(row.units[name])
    for name in names:
        if name in row.assumed_units:
            return _Unit(row.assumed_units[name], (f"unit_read_as_{(row.unit or '').replace('/', '_per_')}",))
    if names:
        return _Unit(None, reason="unit_incompatible")
    return _Unit(_ONE) if row.unitless else _Unit(None, reason="unit_missing")


_ONE = Fraction(1)


def _times(value: Decimal, factor: Fraction) -> Fraction:
    return Fraction(value) if factor == 1 else Fraction(value) * factor


def _of_a_line(value: Decimal, ranges: Iterable[Range], row: Row) -> _Unit:
    """A mark on a line of 10 cm, written without unit: the reference range tells, else up to 10 is read as cm (2.5)."""
    factors = {factor for one in ranges for factor in _told_by(one.high, row)}
    if len(factors) > 1:
        return _Unit(None, reason="unit_missing")
    if factors:
        return _Unit(factors.pop())
    return _Unit(_ONE, ("unit_missing",)) if value <= 10 else _Unit(None, reason="unit_missing")


_LINE_ENDS = {Decimal(10): _ONE, Decimal(100): Fraction(1, 10)}


def _told_by(high: Quantity | None, row: Row) -> list[Fraction]:
    """The factors that a line's end tells: by 10 or 100, and by its own unit; none for any other end."""
    if high is None or high.value is None or high.value not in _LINE_ENDS:
        return []
    return [_LINE_ENDS[high.value], *(row.units[name] for name in unit_names(high) if name in row.units)]


@lru_cache(REMEMBERED)
def _normal(ranges: tuple[Range, ...], row: Row) -> tuple[Fraction | None, Fraction | None]:
    """Both ends of the normal range in the row's unit; None where none, or more than one, is told."""
    told = [(_converted(one.low, row), _converted(one.high, row)) for one in ranges if _is_normal(one)]
    if len(told) > 1:
        told = list(dict.fromkeys(ends for ends in told if ends != (None, None)))
    return told[0] if len(told) == 1 else (None, None)


def _is_normal(one: Range) -> bool:
    """Whether a reference range is the normal one; one without meaning is (R4, referenceRange.type)."""
    codes = one.type.codings if one.type is not None else ()
    return not codes or any(coding.system == _MEANING_SYSTEM and coding.code == "normal" for coding in codes)


def _converted(end: Quantity | None, row: Row) -> Fraction | None:
    """An end of a reference range. It has its own unit: without one, or with an unknown one, it is not used."""
    if end is None or end.value is None:
        return None
    factor = _factor(unit_names(end), row).factor
    return _times(end.value, factor) if factor is not None else None


def _on_its_scale(recorded: Measured, result: Result, row: Row, part_count: int) -> tuple[str, Result]:
    """An MMT8 as the variable of its scale, or without a number and with the reason (R-MMT)."""
    ends = (Fraction(one.high.value) for one in recorded.ranges if one.high is not None and one.high.value is not None)
    highs = sorted({end for end in ends if end in mmt8.HIGHS})
    code_scale = None if row.variable == "mmt8" else row.scale
    site_scale = row.scale if row.variable == "mmt8" else None
    high = highs[0] if highs else None
    scale = mmt8.scale(result.number or Fraction(0), code_scale, high, part_count, site_scale)
    if len(highs) > 1:
        scale = mmt8.Scale(None, reason="scale_conflict")
    return (scale.variable, result) if scale.variable else (row.variable, Result(reason=scale.reason))
