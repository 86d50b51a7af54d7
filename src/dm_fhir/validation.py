"""Checks a document against one of the published JSON Schemas and lists every fault. The only user of jsonschema."""

import json
from collections.abc import Callable, Iterator
from datetime import date, time
from difflib import get_close_matches
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jsonschema import ValidationError
    from jsonschema.protocols import Validator

SCHEMAS = ("case-series", "site-config", "mapping-table", "column-map")


def schema_text(name: str) -> str:
    """The JSON Schema called `name` (one of SCHEMAS), as published."""
    return (files("dm_fhir.schemas") / f"{name}.schema.json").read_text(encoding="utf-8")


def faults(document: Any, schema_name: str) -> list[str]:
    """Every fault of `document` against the schema, as `path: what was expected`; empty when it is valid.

    The values of the document are not repeated in the faults: a config may hold secrets, a case series patient data.
    """
    errors = [leaf for error in _validator(schema_name).iter_errors(document) for leaf in _leaves(error)]
    return list(dict.fromkeys(f"{_path(error)}: {_message(error)}" for error in sorted(errors, key=_place)))


@cache
def _validator(schema_name: str) -> "Validator":
    from jsonschema import Draft202012Validator

    return Draft202012Validator(json.loads(schema_text(schema_name)))


def _leaves(error: "ValidationError") -> Iterator["ValidationError"]:
    """What is wrong inside the one choice that was meant, where several are allowed and one has the right type."""
    choices: dict[object, list[ValidationError]] = {}
    for inner in error.context or ():
        choices.setdefault(inner.relative_schema_path[0], []).append(inner)
    meant = [inside for inside in choices.values() if not any(_is_another_type(inner) for inner in inside)]
    if len(meant) == 1:
        yield from (leaf for inner in meant[0] for leaf in _leaves(inner))
    else:
        yield error


def _is_another_type(inner: "ValidationError") -> bool:
    return inner.validator == "type" and not inner.relative_path


def _place(error: "ValidationError") -> list[tuple[int, int, str]]:
    """Sorts entries by number and keys by name."""
    return [(1, part, "") if isinstance(part, int) else (0, 0, str(part)) for part in error.absolute_path]


def _path(error: "ValidationError") -> str:
    parts = (f"[{part}]" if isinstance(part, int) else f".{part}" for part in error.absolute_path)
    return "".join(parts).removeprefix(".") or "top level"


def _message(error: "ValidationError") -> str:
    rule, expected, given, schema = str(error.validator), error.validator_value, error.instance, error.schema
    told: dict[str, Callable[[Any, Any, Any], str]] = {
        "additionalProperties": lambda _, given, schema: _unknown_keys(given, list(schema.get("properties", {}))),
        "required": lambda expected, given, _: "; ".join(f"'{key}' is missing" for key in expected if key not in given),
        "enum": lambda expected, *_: f"must be one of {', '.join(map(str, expected))}",
        "const": lambda expected, *_: f"must be {expected}",
        "type": lambda expected, given, _: f"must be {expected}, is {_type_name(given)}",
        "anyOf": lambda expected, given, _: f"must be {_either(expected)}, is {_type_name(given)}",
        "pattern": lambda expected, _, schema: str(schema.get("description", f"must match {expected}")),
        "minLength": lambda *_: "must not be empty",
        "minItems": lambda expected, *_: f"needs at least {expected} entr{'y' if expected == 1 else 'ies'}",
        "maxItems": lambda expected, *_: f"takes at most {expected} entries",
        "minimum": lambda expected, *_: f"must be at least {expected}",
        "maximum": lambda expected, *_: f"must be at most {expected}",
        "exclusiveMinimum": lambda expected, *_: f"must be more than {expected}",
    }
    return told[rule](expected, given, schema) if rule in told else f"does not satisfy '{rule}'"


def _either(choices: list[dict[str, Any]]) -> str:
    return " or ".join(str(choice.get("type", "object")) for choice in choices)


def _unknown_keys(given: dict[str, Any], known: list[str]) -> str:
    return "; ".join(_unknown_key(key, known) for key in given if key not in known)


def _unknown_key(key: str, known: list[str]) -> str:
    close = get_close_matches(key, known, n=1)
    return f"unknown key '{key}'" + (f", did you mean '{close[0]}'?" if close else f"; known: {', '.join(known)}")


def _type_name(value: Any) -> str:
    names = {bool: "true/false", int: "a number", float: "a number", str: "text", list: "a list", dict: "a table",
             date: "a date", time: "a time"}  # fmt: skip
    return next((name for kind, name in names.items() if isinstance(value, kind)), "null")
