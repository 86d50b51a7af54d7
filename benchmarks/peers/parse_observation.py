"""One way to read an Observation, as its documentation says. Prints how many a second of processor time.

python parse_observation.py WAY FILE [SCHEMA]
"""

import json
import sys
import time
from collections.abc import Callable, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

_SECONDS = 0.7
Read = Callable[[bytes], object]


def _json(_: str) -> Read:
    return json.loads


def _json_decimal(_: str) -> Read:
    return lambda line: json.loads(line, parse_float=Decimal)


def _orjson(_: str) -> Read:
    import orjson

    return orjson.loads


def _msgspec(_: str) -> Read:
    import msgspec

    return msgspec.json.Decoder().decode


def _jsonschema_rs(schema: str) -> Read:
    import jsonschema_rs

    validate = jsonschema_rs.validator_for(json.loads(Path(schema).read_bytes())).validate
    return lambda line: validate(json.loads(line))


def _fhirkit(_: str) -> Read:
    import fhirkit

    return lambda line: fhirkit.parse(line, strict=True)


def _fhirpy_types(_: str) -> Read:
    from fhirpy_types_r4b import Observation

    return Observation.model_validate_json


def _fhirclient(_: str) -> Read:
    from fhirclient.models.observation import Observation

    return lambda line: Observation(json.loads(line))


def _fhir_resources(_: str) -> Read:
    from fhir.resources.R4B.observation import Observation

    return Observation.model_validate_json


WAYS = {
    "msgspec": _msgspec,
    "orjson": _orjson,
    "json": _json,
    "json, Decimal": _json_decimal,
    "jsonschema-rs": _jsonschema_rs,
    "fhirkit-rs": _fhirkit,
    "fhirpy-types-r4b": _fhirpy_types,
    "fhirclient": _fhirclient,
    "fhir.resources": _fhir_resources,
}


def per_second(read: Callable[[Any], object], things: Sequence[Any], each: int = 1) -> float:
    """How many a second: everything again and again, for as long as counts. `each`: how many one thing stands for."""
    for thing in things[:50]:  # what is made at first use is not counted
        read(thing)
    done, began = 0, time.process_time()
    while time.process_time() - began < _SECONDS:
        for thing in things:
            read(thing)
        done += len(things) * each
    return done / (time.process_time() - began)


def main(way: str, file: str, schema: str = "") -> None:
    """Read every line of the file this way."""
    sys.stdout.write(f"{per_second(WAYS[way](schema), Path(file).read_bytes().splitlines())}\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
