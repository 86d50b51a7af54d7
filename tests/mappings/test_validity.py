"""What is wrong with a record is told by place and kind, and never by what stands there."""

import json
from typing import Any

import pytest
from fhir.resources.R4B import get_fhir_model_class
from hypothesis import given, settings
from hypothesis import strategies as st

from dm_fhir.mappings.codes import load_tables
from dm_fhir.mappings.record_check import check_record
from dm_fhir.mappings.validity import faults_in, faults_of
from dm_fhir.mappings.value_sets import FIXED_CODES

SECRET = "Zwetschkenbaum"
TABLES = load_tables()
OBSERVATION: dict[str, Any] = {
    "resourceType": "Observation",
    "id": "x" * 88,
    "status": "final",
    "code": {"coding": [{"system": "http://loinc.org", "code": "2157-6"}]},
    "subject": {"reference": "Patient/1"},
    "effectiveDateTime": "2026-03-03T10:00:00+01:00",
    "valueQuantity": {"value": 12.50, "unit": "U/L"},
}


def faults(**changes: Any) -> list[str]:
    """The faults of an Observation with these elements in place of its own."""
    return faults_of(json.dumps({**OBSERVATION, **changes}).encode())


def test_a_valid_record_has_none() -> None:
    assert faults() == []


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"effectiveDateTime": SECRET}, ["effectiveDateTime is not in the form that FHIR asks for"]),
        ({"effectiveDateTime": "2026-03-03T10:00:00"}, ["effectiveDateTime is a time without a zone"]),
        (
            {"effectivePeriod": {"start": "2026-03-03T10:00"}, "effectiveDateTime": None},
            ["effectivePeriod.start is a time without a zone"],
        ),
        ({"status": "done"}, ["status is no code that FHIR allows here"]),
        (
            {"valueQuantity": {"value": 1, "comparator": "~"}},
            ["valueQuantity.comparator is no code that FHIR allows here"],
        ),
        ({"valueQuantity": {"value": "12.5"}}, ["valueQuantity.value is text where FHIR says a number"]),
        ({"referenceRange": [{"low": {"value": "1"}}]}, ["referenceRange.low.value is text where FHIR says a number"]),
        ({SECRET: SECRET}, ["it has an element that FHIR does not know"]),
        ({"code": {SECRET: 1}}, ["code has an element that FHIR does not know"]),
        ({"component": [{}, {"code": {"text": "a"}}, {}]}, ["component.code is missing"]),
        (
            {"component": [{"code": {"text": "a"}, "valueString": "a", "valueInteger": 1}]},
            ["component has none or several of a choice of which it must have one"],
        ),
        (
            {"category": {"text": SECRET}},
            ["category cannot be read by dm-fhir", "category is of another type than FHIR says"],
        ),
        ({"issued": 5}, ["issued cannot be read by dm-fhir"]),
        (
            {"status": {"text": SECRET}},
            ["status cannot be read by dm-fhir", "status is of another type than FHIR says"],
        ),
        (
            {"valueQuantity": {"value": SECRET}},
            [
                "valueQuantity.value cannot be read by dm-fhir",
                "valueQuantity.value is not in the form that FHIR asks for",
            ],
        ),
    ],
)
def test_a_fault_is_told_by_place_and_kind(changes: dict[str, Any], expected: list[str]) -> None:
    assert faults(**changes) == expected


def test_a_fault_has_its_path_and_the_place_to_look_for_it() -> None:
    parts = [
        {"code": {"text": "a"}},
        {"code": {SECRET: 1, "coding": [{"code": "b"}, {"code": 5}]}, "valueQuantity": {"value": "5"}},
    ]
    found = faults_in(json.dumps({**OBSERVATION, "component": parts}).encode())
    assert [(one.path, one.at) for one in found] == [
        (("component", 1, "code"), ("component", 1, "code", SECRET)),
        *[(("component", 1, "code", "coding", 1, "code"),) * 2] * 2,
        (("component", 1, "valueQuantity", "value"),) * 2,
    ]


@pytest.mark.parametrize(
    ("type_name", "changes", "expected"),
    [
        ("Patient", {"gender": "m"}, ["gender cannot be read by dm-fhir", "gender is no code that FHIR allows here"]),
        ("Condition", {"clinicalStatus": {"coding": [{"code": "active"}, {"code": "over"}]}, "subject": {}}, ["clinicalStatus.coding.code is no code that FHIR allows here"]),
        ("MedicationRequest", {"status": "open", "intent": "order", "subject": {}, "medicationReference": {}}, ["status is no code that FHIR allows here"]),
        ("MedicationStatement", {"status": "taken", "subject": {}, "medicationReference": {}}, ["status is no code that FHIR allows here"]),
        ("MedicationAdministration", {"status": "given", "subject": {}, "medicationReference": {}, "effectiveDateTime": "2026", "dosage": {"dose": {"value": "300"}}}, ["dosage.dose.value is text where FHIR says a number", "status is no code that FHIR allows here"]),
        ("AdverseEvent", {"actuality": "possible", "subject": {}}, ["actuality is no code that FHIR allows here"]),
        ("Medication", {"status": "gone"}, ["status is no code that FHIR allows here"]),
    ],
)  # fmt: skip
def test_codes_that_fhir_fixes(type_name: str, changes: dict[str, Any], expected: list[str]) -> None:
    assert faults_of(json.dumps({"resourceType": type_name, "id": "1", **changes}).encode()) == expected


def test_the_codes_are_those_that_the_models_of_r4b_know_and_do_not_check() -> None:
    """The models list codes of one level only, and write `+` where there are more."""
    known = {
        (name, path): set(get_fhir_model_class(name).model_fields[path[0]].json_schema_extra["enum_values"])
        for name, sets in FIXED_CODES.items()
        for path in sets
        if len(path) == 1
    } | {
        ("Patient", ("link", "type")): set(
            get_fhir_model_class("PatientLink").model_fields["type"].json_schema_extra["enum_values"]
        )
    }
    whole = {where: codes for where, codes in known.items() if "+" not in codes}
    assert {(name, path): FIXED_CODES[name][path] for name, path in whole} == whole
    assert known.keys() - whole.keys() == {("Observation", ("status",))}


def test_an_observation_s_statuses() -> None:
    every = "registered preliminary final amended corrected cancelled entered-in-error unknown"
    assert [faults(status=status) for status in every.split()] == [[]] * 8
    assert faults(status="completed") == ["status is no code that FHIR allows here"]


@pytest.mark.parametrize("comparator", ["<", "<=", ">=", ">"])
def test_a_comparator(comparator: str) -> None:
    value = {"value": 1, "comparator": comparator}
    assert faults(valueQuantity=value, component=[{"code": {"text": "a"}, "valueQuantity": value}]) == []


@pytest.mark.parametrize(
    ("body", "fault"),
    [
        (b"\xff{", "it cannot be read as JSON"),
        (b"[" * 5000, "it cannot be read as JSON"),
        (b'{"resourceType":"Zwetschkenbaum"}', "its type is none of those that dm-fhir reads"),
        (b"{}", "its type is none of those that dm-fhir reads"),
    ],
)
def test_what_is_no_record(body: bytes, fault: str) -> None:
    assert faults_of(body) == [fault]


_JSON = st.recursive(
    st.sampled_from([SECRET, f"{SECRET}-1", "", None, True, 1e999, -1, 5]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from([SECRET, "code", "text", "reference", "id", "url", "resourceType"]), inner, max_size=3),
    max_leaves=6,
)  # fmt: skip
_NAMES = ["code", "status", "subject", "effectiveDateTime", "valueQuantity", "component", "contained", "extension", "_status",
          "meta", "text", "note", "identifier", SECRET, "id"]  # fmt: skip


@settings(max_examples=200, deadline=None)
@given(name=st.sampled_from(["Observation", "Patient", "MedicationAdministration", "Condition", "AdverseEvent"]),
       changes=st.dictionaries(st.sampled_from(_NAMES), _JSON, max_size=4))  # fmt: skip
def test_whatever_is_in_a_record_nothing_of_it_is_told(name: str, changes: dict[str, Any]) -> None:
    found = faults_of(json.dumps({**OBSERVATION, "resourceType": name, **changes}).encode())

    assert [fault for fault in found if SECRET in fault] == []


@settings(max_examples=200, deadline=None)
@given(name=st.sampled_from(["Observation", "Patient", "MedicationAdministration", "Condition", "MedicationRequest"]),
       changes=st.dictionaries(st.sampled_from(_NAMES), _JSON, max_size=4))  # fmt: skip
def test_whatever_is_in_a_record_nothing_of_it_is_in_its_findings(name: str, changes: dict[str, Any]) -> None:
    body = json.dumps({**OBSERVATION, "resourceType": name, **changes}).encode()
    checked = check_record(name, "1", body, TABLES, "Europe/Madrid")

    assert [fault for fault in checked.faults if SECRET in repr(fault._replace(at=()))] == []
    assert SECRET not in repr(checked.findings) + repr(checked.left_out)
