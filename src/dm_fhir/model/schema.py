"""The JSON Schema of the case series document, as it follows from the model. The published file is made from it."""

import inspect
import json
from fractions import Fraction
from typing import Any

import msgspec

from dm_fhir.model.case import FORMAT_VERSION, CaseSeries

ID = f"https://w3id.org/dm-fhir/schema/case-series/{FORMAT_VERSION}"
_EXACT = {
    "type": "string",
    "pattern": "^-?[0-9]+(\\.[0-9]+|/[1-9][0-9]*)?$",
    "description": "an exact number: a decimal, or a fraction such as 100/3",
}


def case_series_schema() -> dict[str, Any]:
    """JSON Schema 2020-12 of a CaseSeries document: no key beyond the model's is allowed."""
    schema = msgspec.json.schema(CaseSeries, schema_hook=_of_kind)
    definitions = {name: _published(part) for name, part in sorted(schema["$defs"].items())}
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": ID, "title": "dm-fhir case series"}
    return {**head, "$ref": schema["$ref"], "$defs": definitions}


def _published(part: dict[str, Any]) -> dict[str, Any]:
    """One definition: closed, its description without the source's indentation, recorded decimals as JSON numbers."""
    text = json.dumps({**part, "description": inspect.cleandoc(part["description"]), "additionalProperties": False})
    found: dict[str, Any] = json.loads(text.replace('{"type": "string", "format": "decimal"}', '{"type": "number"}'))
    return found


def _of_kind(kind: type) -> dict[str, Any]:
    if kind is Fraction:
        return _EXACT
    raise TypeError(f"the model holds no {kind.__name__}")


if __name__ == "__main__":
    print(json.dumps(case_series_schema(), indent=2, ensure_ascii=False))  # noqa: T201  # `make schema` writes the file
