"""Columns of tables, read off the model: a path into its parts says which value, its type there says how it is written.

A date has the days that it may mean beside it, an exact number the same number rounded: what cannot be read as a number
by other programs ("100/3") is never the only form.
"""

from collections.abc import Callable, Iterable, Mapping
from datetime import date
from decimal import Decimal
from fractions import Fraction
from types import UnionType
from typing import Any, Literal, NamedTuple, Union, get_args, get_origin, get_type_hints
from zoneinfo import ZoneInfo

import msgspec

from dm_fhir.model.case import Case, Coding, Concept, Period, Quantity
from dm_fhir.model.dates import first_day, last_day, span
from dm_fhir.model.exact import rounded, to_text

Kind = Literal["text", "date", "integer", "boolean", "exact", "decimal", "recorded"]
Cell = str | int | bool | Decimal | None
#: How many digits an exact number is rounded to behind the point, and may have before it.
DECIMALS, WHOLE_DIGITS = 6, 32
_BETWEEN = "; "


class Row(NamedTuple):
    """What a line of a table is about: the case, the day of its first infusion, and the parts by the first word of a path."""

    case: Case
    day_0: date | None
    parts: Mapping[str, Any]


class Column(NamedTuple):
    """One column. `kind` is how it is written, `unit` the unit of its numbers, `values` what may stand in it."""

    name: str
    kind: Kind
    meaning: str
    get: Callable[[Row], Cell]
    unit: str = ""
    values: str = ""


class Spec(NamedTuple):
    """A value of the model that becomes one column or several; `path` begins with a word of the table's parts."""

    name: str
    path: str
    meaning: str
    unit: str = ""
    values: str = ""
    is_date: bool = False


def columns_of(spec: Spec, kinds: Mapping[str, type]) -> tuple[Column, ...]:
    """The columns of a value, by its type in the model."""
    hint = type_at(spec.path, kinds)
    if hint is Concept:
        return _concept(spec)
    if hint is Quantity:
        return _parts_of(
            spec, kinds, {"value": "", "comparator": ": <, <=, >, >= make it a bound", "unit": ": its unit"}
        )
    if hint is Period:
        return _parts_of(spec, kinds, {"start": ": from", "end": ": to"}, is_date=True)
    if spec.is_date:
        return _date(spec)
    if hint is Fraction:
        return _exact(spec)
    get, kind = _written(spec.path, hint)
    return (Column(spec.name, kind, spec.meaning, get, spec.unit, spec.values or _literals(hint)),)


def type_at(path: str, kinds: Mapping[str, type]) -> Any:
    """The type of the value at a path, without None. Raises KeyError for a path that the model does not have."""
    word, *names = path.split(".")
    hint: Any = kinds[word]
    for name in names:
        fields = get_type_hints(hint)
        hint = fields[name] if name in fields else get_type_hints(vars(hint)[name].fget)["return"]
        if get_origin(hint) in (Union, UnionType):
            hint = next(one for one in get_args(hint) if one is not type(None))
    return hint


def _at(path: str) -> Callable[[Row], Any]:
    """Gets the value at a path; None where a part on the way there is None."""
    word, *names = path.split(".")

    def get(row: Row) -> Any:
        value = row.parts[word]
        for name in names:
            if value is None:
                return None
            value = getattr(value, name)
        return value

    return get


def _written(path: str, hint: Any) -> tuple[Callable[[Row], Cell], Kind]:
    get = _at(path)
    if hint is bool or hint is int:
        return get, "boolean" if hint is bool else "integer"
    if hint is Decimal:
        return lambda row: _as_recorded(get(row)), "recorded"
    if get_origin(hint) is tuple:
        return lambda row: _joined(get(row)), "text"
    return get, "text"


def _as_recorded(number: Decimal | None) -> str | None:
    return str(number) if number is not None else None


def _joined(values: Iterable[Any] | None) -> str | None:
    """Several values in one cell; concepts by what the tables call them."""
    texts = (_one(value) for value in values or ())
    return _BETWEEN.join(text for text in texts if text) or None


def _one(value: Any) -> str:
    match value:
        case Concept():
            return value.variable or _joined(value.codings) or value.text or ""
        case Coding():
            return "|".join(part for part in (value.system, value.code) if part)
        case msgspec.Struct():
            return _BETWEEN.join(str(one) for one in msgspec.structs.astuple(value) if one is not None)
    return str(value)


def _concept(spec: Spec) -> tuple[Column, ...]:
    get, codings = _at(spec.path), _at(f"{spec.path}.codings")

    def codes(row: Row) -> Cell:
        return _joined(codings(row))

    def name(row: Row) -> Cell:
        concept: Concept | None = get(row)
        return (concept.variable or concept.text) if concept else None

    return (
        Column(spec.name, "text", spec.meaning, name, values=spec.values or "a variable of the mapping tables"),
        Column(f"{spec.name}_codes", "text", f"{spec.meaning}: its codes", codes, values="system|code; …"),
    )


def _parts_of(
    spec: Spec, kinds: Mapping[str, type], parts: Mapping[str, str], *, is_date: bool = False
) -> tuple[Column, ...]:
    inner = (
        Spec(f"{spec.name}_{part}", f"{spec.path}.{part}", f"{spec.meaning}{more}", is_date=is_date)
        for part, more in parts.items()
    )
    return tuple(column for one in inner for column in columns_of(one, kinds))


def _date(spec: Spec) -> tuple[Column, ...]:
    text = _at(spec.path)

    def days(row: Row, end: Callable[..., date]) -> Cell:
        written: str | None = text(row)
        if not written or row.day_0 is None:
            return None
        zone = ZoneInfo(row.case.timezone)
        try:
            return (end(span(written, zone), zone) - row.day_0).days
        except ValueError:  # no FHIR date
            return None

    means = f"{spec.meaning}: the {{}} day that it may mean, counted from the day of the first infusion, day 0"
    return (
        Column(spec.name, "date", spec.meaning, text, values="YYYY, YYYY-MM, YYYY-MM-DD or a time with its zone"),
        Column(f"{spec.name}_first_day", "integer", means.format("first"), lambda row: days(row, first_day), "d"),
        Column(f"{spec.name}_last_day", "integer", means.format("last"), lambda row: days(row, last_day), "d"),
    )


def _exact(spec: Spec) -> tuple[Column, ...]:
    get = _at(spec.path)

    def exact(row: Row) -> Cell:
        number: Fraction | None = get(row)
        return to_text(number) if number is not None else None

    def near(row: Row) -> Cell:
        number: Fraction | None = get(row)
        return rounded(number, DECIMALS) if number is not None and abs(number) < 10**WHOLE_DIGITS else None

    return (
        Column(spec.name, "exact", f"{spec.meaning}, exact", exact, spec.unit, 'a decimal, or a fraction such as "100/3"'),
        Column(f"{spec.name}_rounded", "decimal", f"{spec.meaning}, rounded half up to {DECIMALS} decimals", near, spec.unit),
    )  # fmt: skip


def _literals(hint: Any) -> str:
    return ", ".join(map(str, get_args(hint))) if get_origin(hint) is Literal else ""
