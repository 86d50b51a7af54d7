"""Every resource of an export, against the official JSON Schema of FHIR R4 (fhir.schema.json of hl7.org/fhir/R4)."""

import gzip
import io
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft6Validator
from msgspec.structs import replace

from dm_fhir.export.fhir_files import write_bundle
from dm_fhir.mappings.case_resources import resources
from dm_fhir.model.case import Case, CaseSeries

pytestmark = pytest.mark.real_data
SCHEMA = Path(__file__).parents[3] / "shared" / "data" / "definitions" / "fhir.schema.json.gz"


@pytest.fixture(scope="module")
def schema() -> Any:
    return json.loads(gzip.decompress(SCHEMA.read_bytes()))


def faults(schema: Any, resource: Any) -> list[str]:
    validator = Draft6Validator(
        {"$ref": f"#/definitions/{resource['resourceType']}", "definitions": schema["definitions"]}
    )
    return [f"{error.json_path}: {error.validator}" for error in validator.iter_errors(resource)]


def test_every_resource_and_the_bundle_are_valid_r4(schema: Any, head: CaseSeries, cases: tuple[Case, ...]) -> None:
    moved, file = replace(head, dates="shifted"), io.BytesIO()
    some = [*[case for case in cases if case.adverse_events][:2], cases[0], cases[-1]]
    found = [(case.site, one) for case in some for one in resources(case, moved, Counter())]
    write_bundle(file, iter(found))
    bundle = json.loads(file.getvalue())

    types = {entry["resource"]["resourceType"] for entry in bundle["entry"]}
    assert types == {
        "Patient",
        "Condition",
        "MedicationAdministration",
        "MedicationRequest",
        "MedicationStatement",
        "Observation",
        "AdverseEvent",
    }
    assert {key: value for key, value in bundle.items() if key != "entry"} == {
        "resourceType": "Bundle",
        "type": "collection",
    }
    by_resource = {entry["fullUrl"]: faults(schema, entry["resource"]) for entry in bundle["entry"]}
    assert {url: one for url, one in by_resource.items() if one} == {}
    assert faults(schema, {**bundle, "entry": [{"fullUrl": entry["fullUrl"]} for entry in bundle["entry"]]}) == []
    assert faults(schema, {**bundle["entry"][0]["resource"], "surprise": 1})
    assert len(by_resource) == len(found)
