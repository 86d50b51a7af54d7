"""A case with every field of the model filled, so that whatever leaves it can be looked for."""

from decimal import Decimal
from fractions import Fraction
from functools import cache
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import msgspec
from msgspec.structs import replace

from dm_fhir.model import case as model
from dm_fhir.model.case import Case

#: What a hospital's record may say of a patient anywhere.
SECRET = "Zwetschkenbaum, Eulalia"
BORN = "1961-11-23"
#: The texts that are our own words, the tables' or the config's, whatever a record says.
OWN = {
    model.Source: ("site",), model.Concept: ("variable",), model.Administration: ("method_status", "flags"),
    model.Finding: ("code", "severity", "done"), model.Result: ("unit", "bound", "answer", "reason", "flags"),
    model.Dosing: ("reasons",), model.Suspect: ("drug",), model.Input: ("role",),
    model.Part: ("measure", "variable", "between", "reasons"), Case: ("site", "timezone", "person"),
    model.Outcome: ("variable", "rule", "rule_version", "unit", "reasons", "flags", "answer", "visit"),
}  # fmt: skip
#: Texts that are dates, or must be words of ours for a case to be one.
_FIXED = {"timezone": "Europe/Madrid", "site": "north", "birth_date": BORN, "when": "2024-03-05T09:30:00+01:00"}


def full_case() -> Case:
    """Every optional field is there, every tuple has one member; every text is SECRET unless it is one of our own words."""
    case: Case = _full(Case)
    given = replace(case.administrations[0], status="completed", method_status=None)
    return replace(case, administrations=(given,))


def texts(kind: type) -> list[str]:
    """The fields of a part that hold text, alone or several."""
    return [name for name, hint in get_type_hints(kind).items() if name in kind.__struct_fields__ and _is_text(hint)]  # type: ignore[attr-defined]


@cache
def parts(kind: type = Case) -> frozenset[type]:
    """Every kind of part that a case may have."""
    found = {kind}
    for hint in get_type_hints(kind).values():
        for one in _inside(hint):
            if isinstance(one, type) and issubclass(one, msgspec.Struct) and one is not kind:
                found |= parts(one)
    return frozenset(found)


def _inside(hint: Any) -> list[Any]:
    return [hint, *(inner for one in get_args(hint) for inner in _inside(one))]


def _is_text(hint: Any) -> bool:
    if get_origin(hint) in (Union, UnionType):
        return any(map(_is_text, get_args(hint)))
    return hint is str or hint == tuple[str, ...]


def _full(kind: Any) -> Any:
    own = OWN.get(kind, ())
    return kind(**{
        name: _value(hint, _FIXED.get(name) or (f"own_{name}" if name in own else SECRET))
        for name, hint in get_type_hints(kind).items()
        if name in kind.__struct_fields__
    })  # fmt: skip


def _value(hint: Any, text: str) -> Any:
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        return _value(next(one for one in arguments if one is not type(None)), text)
    if origin is tuple:
        return tuple(_value(one, text) for one in arguments if one is not ...)
    if origin is dict:
        return {"own_key": _value(arguments[1], "own_value")}
    if origin is Literal:
        return arguments[0]
    if hint is str:
        return text
    if hint in (int, bool, Decimal, Fraction):
        return hint(1)
    return _full(hint)
