"""What differs between two sets of mapping tables: rows, codes, units, and everything else that a row says."""

from collections.abc import Iterator, Mapping
from fractions import Fraction
from typing import Any, Literal

import msgspec

from dm_fhir.mappings.codes import Row, Tables
from dm_fhir.mappings.rows import Bounds, key_of
from dm_fhir.model.case import Coding
from dm_fhir.model.exact import to_text

#: What of the tables is another way of keeping the rows, and what of a row changes no value.
_DERIVED = ("rows", "by_code", "forms", "remarks", "fingerprint")
_NAMES = ("kind", "variable", "codes", "origin", "code_origins")


class TableChange(msgspec.Struct, frozen=True):
    """One row that differs, or with kind `table` what a table says beside its rows. `what` says how, a sentence each."""

    kind: str
    variable: str
    change: Literal["added", "removed", "changed"]
    what: tuple[str, ...]


def table_changes(old: Tables, new: Tables) -> list[TableChange]:
    """Every row that is not the same in both, in order of kind and variable; displays and the order of codes do not count."""
    found = []
    for key in sorted({*old.rows, *new.rows}):
        before, after = old.rows.get(key), new.rows.get(key)
        if before is None and after is not None:
            found.append(TableChange(*key, "added", tuple(_row(Row(*key), after))))
        elif after is None and before is not None:
            found.append(TableChange(*key, "removed", tuple(_row(before, Row(*key)))))
        elif before is not None and after is not None and (what := tuple(_row(before, after))):
            found.append(TableChange(*key, "changed", what))
    for name in Tables.__struct_fields__:
        if name not in _DERIVED and (what := tuple(_field(name, getattr(old, name), getattr(new, name)))):
            found.append(TableChange("table", name, "changed", what))
    return found


def _row(old: Row, new: Row) -> Iterator[str]:
    before, after = ({(code.system, code.code) for code in row.codes} for row in (old, new))
    yield from (f"code {system}|{code} added" for system, code in sorted(after - before, key=repr))
    yield from (f"code {system}|{code} removed" for system, code in sorted(before - after, key=repr))
    for system, code in sorted(before & after, key=repr):
        was, now = (_status(row, system, code) for row in (old, new))
        yield from _field(f"code {system}|{code}", was, now)
    for name in Row.__struct_fields__:
        if name not in _NAMES:
            yield from _field(name, getattr(old, name), getattr(new, name))


def _status(row: Row, system: str | None, code: str | None) -> str | None:
    """Why a code is read and never written; None where it may be written."""
    origin = row.code_origins.get(key_of(Coding(system, code)))
    return origin.status if origin else None


def _field(name: str, old: Any, new: Any) -> Iterator[str]:
    """What became of one thing that a row says; of several things by name, each on its own."""
    words = name.replace("_", " ")
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for key in sorted({*old, *new}, key=repr):
            yield from _field(f"{words} {_text(key)}", old.get(key), new.get(key))
    elif _is_said(old) and not _is_said(new):
        yield f"{words} removed, was {_text(old)}"
    elif old != new and _is_said(new):
        yield f"{words} {_text(new)}" + (f", was {_text(old)}" if _is_said(old) else " added")


def _is_said(value: Any) -> bool:
    return value not in (None, False, (), {}, "")


def _text(value: Any) -> str:
    match value:
        case Fraction():
            return to_text(value)
        case Bounds(low, None):
            return f"from {to_text(low)}"
        case Coding():
            return f"{value.system}|{value.code}"
        case Mapping():
            return ", ".join(f"{_text(key)} = {_text(one)}" for key, one in value.items())
        case tuple() | list():
            return " ".join(_text(one) for one in value if one is not None and one != ())
    return "yes" if value is True else str(value)
