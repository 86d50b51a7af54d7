"""The JSON Schema of a mapping table, as an editor needs it: sound, explained, its examples true."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from dm_fhir.mappings.table_file import KINDS
from dm_fhir.validation import schema_text

SCHEMA = json.loads(schema_text("mapping-table"))


def parts(schema: Any, path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every schema in the schema, with its path."""
    if isinstance(schema, dict):
        yield path, schema
        for key in ("properties", "$defs"):
            for name, part in schema.get(key, {}).items():
                yield from parts(part, f"{path}/{key}/{name}")
        for key in ("items", "additionalProperties"):
            yield from parts(schema.get(key), f"{path}/{key}")


PARTS = dict(parts(SCHEMA))


def test_the_schema_is_one() -> None:
    Draft202012Validator.check_schema(SCHEMA)

    assert SCHEMA["$id"] == "https://w3id.org/dm-fhir/schema/mapping-table/1"
    assert set(KINDS) | {"aliases", "dose", "observations"} == set(SCHEMA["properties"])


def test_every_key_is_explained() -> None:
    keys = {
        path: part for path, part in PARTS.items() if "/properties/" in path and path.split("/")[-2] == "properties"
    }
    refs = {path: SCHEMA["$defs"][part["$ref"].split("/")[-1]] if "$ref" in part else {} for path, part in keys.items()}

    assert [path for path, part in keys.items() if "title" not in part and "title" not in refs[path]] == []


@pytest.mark.parametrize("path", [path for path, part in PARTS.items() if "examples" in part])
def test_every_example_satisfies_its_own_schema(path: str) -> None:
    validator = Draft202012Validator({**PARTS[path], "$defs": SCHEMA["$defs"]})

    assert [error.message for one in PARTS[path]["examples"] for error in validator.iter_errors(one)] == []
