"""A record that no table knows is not read any further, and is counted just as if it had been."""

from typing import Any, NamedTuple

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from dm_fhir.mappings.case import read_case
from dm_fhir.mappings.codes import load_tables
from dm_fhir.mappings.imported_observation import IDENTIFIER_SYSTEM as IMPORTED
from dm_fhir.mappings.medication import Medications, read_medications
from dm_fhir.mappings.outcome_observation import IDENTIFIER_SYSTEM as OUTCOME
from dm_fhir.mappings.scope import Scope
from dm_fhir.model.case import Case

TABLES = load_tables()
SCORE = "a1" * 16
LOINC, ATC = "http://loinc.org", "http://www.whocc.no/atc"


class Stored(NamedTuple):
    type: str
    id: str
    body: bytes
    version: str | None = "1"
    last_updated: str | None = None


class ReadsAll(Scope):
    """As if every record had to be read."""

    def is_nothing_to_us(self, type_name: str, body: bytes, medications: Medications) -> bool:
        return False


def case_of(*bodies: bytes | dict[str, Any], reading_all: bool = False) -> Case:
    written = [one if isinstance(one, bytes) else msgspec.json.encode(one) for one in bodies]
    kinds = [msgspec.json.decode(body, type=dict[str, Any]) for body in written]
    records = [Stored(one["resourceType"], one.get("id", str(i)), written[i]) for i, one in enumerate(kinds)]
    known = ReadsAll(TABLES) if reading_all else Scope(TABLES)
    return read_case("Patient/1", "north", "Europe/Madrid", "anifrolumab", records, TABLES, MEDICATIONS, known)


def concept(*codes: tuple[str, str] | str) -> dict[str, Any]:
    return {
        "coding": [{"system": one[0], "code": one[1]} if isinstance(one, tuple) else {"code": one} for one in codes]
    }


#: A site's Medications: known, known by an ingredient, unknown, known by no word, unreadable.
MEDICATIONS = read_medications(
    Stored("Medication", id_, msgspec.json.encode({"resourceType": "Medication", **elements}))
    for id_, elements in {
        "known": {"code": concept((ATC, "L04AG11"))},
        "mixed": {"code": concept("9"), "ingredient": [{"itemReference": {"reference": "Medication/known"}}]},
        "unknown": {"code": concept("9")},
        "empty": {"status": "active"},
        "odd": {"code": 5},
    }.items()
)
REFERENCES = [
    {"reference": name}
    for name in (
        "#in",
        "#out",
        "#x/Medication/unknown",
        *MEDICATIONS,
        "Medication/gone",
        "https://x/Medication/unknown/_history/2",
    )
]
REFERENCES += [{"display": "Saphnelo"}]
CODES = st.sampled_from([concept("9"), concept((LOINC, "9")), concept((LOINC, "2157-6")), concept("9", (LOINC, "2157-6")), {"text": "CK"}, {}])  # fmt: skip
DRUGS = st.sampled_from([concept("9"), concept((ATC, "9")), concept((ATC, "L04AG11")), concept("9", (ATC, "H02AB07")), {"text": "Saphnelo"}, {}])  # fmt: skip
DIAGNOSES = st.sampled_from([concept("9"), concept(("http://snomed.info/sct", "396230008")), {"text": "DM"}, {}])
STATUSES = st.sampled_from(["final", "entered-in-error", "active", "completed"])
VERIFIED = st.sampled_from([concept("confirmed"), concept("refuted"), concept("x", "entered-in-error"), {}])
IDENTIFIERS = st.lists(st.sampled_from([{"system": OUTCOME, "value": "1"}, {"system": IMPORTED, "value": SCORE}, {"system": "x"}]), max_size=2)  # fmt: skip
MEMBERS = st.lists(
    st.sampled_from([{"reference": "Observation/2"}, {"display": "none"}, {"reference": "#in"}]), max_size=2
)
#: Each element of a record that has a say in why it is left out.
RECORDS = st.one_of(
    st.fixed_dictionaries(
        {"resourceType": st.just("Observation")},
        optional={
            "status": STATUSES, "code": CODES, "component": st.lists(st.fixed_dictionaries({}, optional={"code": CODES}), max_size=2),
            "hasMember": MEMBERS, "identifier": IDENTIFIERS,
            "contained": st.just([{"resourceType": "Observation", "id": "in", "code": concept((LOINC, "2157-6"))}]),
        },
    ),
    st.fixed_dictionaries(
        {"resourceType": st.just("Condition")}, optional={"code": DIAGNOSES, "verificationStatus": VERIFIED}
    ),
    st.fixed_dictionaries(
        {"resourceType": st.sampled_from(["MedicationAdministration", "MedicationRequest", "MedicationStatement"])},
        optional={
            "status": STATUSES, "medicationCodeableConcept": DRUGS, "doNotPerform": st.booleans(),
            "medicationReference": st.sampled_from(REFERENCES),
            "contained": st.just([{"resourceType": "Medication", "id": "in", "code": concept((ATC, "L04AG11"))}]),
        },
    ),
)  # fmt: skip


@settings(max_examples=400)
@example(
    {"resourceType": "MedicationRequest", "medicationCodeableConcept": concept("9"), "status": "entered-in-error"},
    False,
)
@example(
    {"resourceType": "MedicationStatement", "medicationCodeableConcept": concept("9"), "status": "entered-in-error"},
    False,
)
@given(RECORDS, st.booleans())
def test_it_is_counted_by_the_same_reason(record: dict[str, Any], has_import: bool) -> None:
    imported = {"resourceType": "Observation", "id": f"dm-fhir-import-{SCORE}", "code": concept((LOINC, "2157-6"))}
    whole = [record, *([imported] if has_import else [])]

    assert case_of(*whole) == case_of(*whole, reading_all=True)


UNKNOWN = b'{"resourceType": "Observation", "code": {"coding": [{"code": "9"}]}, "component": 5}'


@pytest.mark.parametrize(
    ("body", "left_out", "found"),
    [
        # Whatever else it says, it has no code that is known.
        (UNKNOWN.replace(b'"component": 5', b'"valueString": 5'), 1, []),
        # Here there is no telling whether it has.
        (UNKNOWN, 0, ["component"]),
        (UNKNOWN.replace(b'"9"', b"9"), 0, ["code.coding[0].code"]),
        (UNKNOWN.replace(b'"component"', b'"status": "final", "status"'), 0, [None]),
        (UNKNOWN.replace(b'"component": 5', b'"code": {"coding": [{"system": "http://loinc.org", "code": "2157-6"}]}'), 0, [None]),
        (UNKNOWN.replace(b'"component": 5', b'"status": 5'), 0, ["status"]),
    ],
)  # fmt: skip
def test_one_that_cannot_be_read_is_a_finding_where_it_may_be_wanted(
    body: bytes, left_out: int, found: list[str | None]
) -> None:
    case = case_of(body)

    assert sum(case.left_out.values()) == left_out
    assert [(one.code, one.path) for one in case.findings] == [("unreadable", path) for path in found]


def test_a_denial_is_seen_however_it_is_written() -> None:
    body = b'{"resourceType": "Condition", "code": {"text": "DM"}, "verificationStatus": {"coding": [{"code": "ref\\u0075ted"}]}}'

    assert case_of(body).left_out == {"Condition: refuted": 1}


def test_half_a_byte_of_text_is_a_finding_where_it_is_read() -> None:
    record = Stored("Observation", "1", UNKNOWN.replace(b'"component": 5', b'"issued": "\xf3"'))
    case = read_case("Patient/1", "north", "Europe/Madrid", "anifrolumab", [record], TABLES, {})

    assert [one.code for one in case.findings] == ["unreadable"]


@pytest.mark.parametrize("reference", REFERENCES)
@pytest.mark.parametrize("kind", ["MedicationAdministration", "MedicationRequest"])
def test_a_drug_by_reference_is_counted_by_the_same_reason(kind: str, reference: dict[str, str]) -> None:
    record = {"resourceType": kind, "status": "completed", "medicationReference": reference}

    assert case_of(record) == case_of(record, reading_all=True)


def test_another_sites_medications_are_asked_anew() -> None:
    scope, body = Scope(TABLES), b'{"medicationReference": {"reference": "Medication/unknown"}}'

    assert scope.is_nothing_to_us("MedicationRequest", body, MEDICATIONS)
    assert not scope.is_nothing_to_us("MedicationRequest", body, {})
    assert scope.is_nothing_to_us("MedicationRequest", body, MEDICATIONS)
