"""The resources that say what the tables say, against the official JSON Schema of FHIR R4 (hl7.org/fhir/R4)."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from dm_fhir.mappings.codes import load_tables
from dm_fhir.mappings.terminology import bundle, resources

pytestmark = pytest.mark.real_data
SCHEMA = Path(__file__).parents[3] / "shared" / "data" / "definitions" / "fhir.schema.json.gz"
RESOURCES = resources(load_tables())


@pytest.fixture(scope="module")
def faults() -> Any:
    """Lists what is wrong with a resource."""
    from jsonschema import Draft6Validator

    whole = json.loads(gzip.decompress(SCHEMA.read_bytes()))

    def listed(resource: dict[str, Any]) -> list[str]:
        kind = resource["resourceType"]
        validator = Draft6Validator({"$ref": f"#/definitions/{kind}", "definitions": whole["definitions"]})
        return [error.message for error in validator.iter_errors(resource)]

    return listed


@pytest.mark.parametrize("resource", RESOURCES, ids=lambda one: f"{one['resourceType']}-{one['id']}")
def test_each_is_valid_r4(faults: Any, resource: dict[str, Any]) -> None:
    assert faults(resource) == []
    assert faults({**resource, "surprise": 1})
    assert faults({**resource, "status": 5})


def test_the_bundle_is_valid_r4(faults: Any) -> None:
    shell = bundle(RESOURCES)

    assert faults({**shell, "entry": shell["entry"][:1]}) == []
