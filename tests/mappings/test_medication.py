"""Which drug and which strength stand behind a reference: contained, on the server, in the Bundle, by identifier, gone."""

from typing import Any, NamedTuple

import msgspec
import pytest

from dm_fhir.mappings import therapy
from dm_fhir.mappings.codes import load_tables
from dm_fhir.mappings.datatypes import read
from dm_fhir.mappings.medication import Medications, read_medications
from dm_fhir.model.case import Source, Therapy

TABLES = load_tables()
ATC = "http://www.whocc.no/atc"
TAB = "http://terminology.hl7.org/CodeSystem/v3-orderableDrugForm"


class Stored(NamedTuple):
    id: str
    body: bytes


def concept(code: str) -> dict[str, Any]:
    return {"coding": [{"system": ATC, "code": code}]}


def medication(id: str = "m1", **elements: Any) -> dict[str, Any]:
    return {"resourceType": "Medication", "id": id, **elements}


def known(*resources: dict[str, Any] | bytes) -> Medications:
    bodies = [one if isinstance(one, bytes) else msgspec.json.encode(one) for one in resources]
    ids = [one["id"] if isinstance(one, dict) else f"broken-{index}" for index, one in enumerate(resources)]
    return read_medications(Stored(id, body) for id, body in zip(ids, bodies, strict=True))


def stated(reference: str, medications: Medications, contained: tuple[Any, ...] = (), **elements: Any) -> Therapy:
    body = {
        "resourceType": "MedicationStatement",
        "contained": contained,
        "medicationReference": {"reference": reference},
        **elements,
    }
    record = read(msgspec.json.encode(body), therapy.MedicationStatement)
    return therapy.from_statement(record, Source("north", "MedicationStatement/1"), TABLES, medications)


@pytest.mark.parametrize(
    "reference",
    [
        "Medication/m1", "Medication/m1/_history/3", "https://example.org/r4/Medication/m1",
        "https://example.org/r4/Medication/m1/_history/3", "urn:uuid:m1", "Medication?identifier=urn:pharmacy|77",
        "urn:uuid:0c3151bd-1cbf-4d64-b04d-cd9187a4c6e0",
    ],
)  # fmt: skip
def test_every_name_of_a_medication_leads_to_it(reference: str) -> None:
    names = [
        {"system": "urn:pharmacy", "value": "77"},
        {"system": "urn:ietf:rfc:3986", "value": "urn:uuid:0c3151bd-1cbf-4d64-b04d-cd9187a4c6e0"},
    ]

    found = stated(reference, known(medication(code=concept("H02AB07"), identifier=names)))

    assert found.medication.variable == "prednisone"


@pytest.mark.parametrize("reference", ["Medication/m2", "urn:uuid:m2", "Medication?identifier=urn:pharmacy|78", "#m1"])
def test_what_is_not_there_leads_nowhere(reference: str) -> None:
    assert stated(reference, known(medication(code=concept("H02AB07")))).medication.variable is None


def test_an_identifier_that_two_medications_share_names_none() -> None:
    shared = [{"system": "urn:pharmacy", "value": "77"}]
    both = known(
        medication("m1", code=concept("H02AB07"), identifier=shared),
        medication("m2", code=concept("L04AX03"), identifier=shared),
    )

    assert stated("Medication?identifier=urn:pharmacy|77", both).medication.variable is None
    assert stated("Medication/m2", both).medication.variable == "methotrexate"


def test_a_mixture_is_what_its_ingredients_are() -> None:
    mixture = medication("mix", ingredient=[{"itemReference": {"reference": "Medication/m1"}}])
    endless = medication("loop", ingredient=[{"itemReference": {"reference": "Medication/loop"}}])
    medications = known(mixture, endless, medication(code=concept("H02AB04")))

    assert stated("Medication/mix", medications).medication.variable == "methylprednisolone"
    assert stated("Medication/loop", medications).medication.variable is None


def strength(value: str, per: dict[str, Any]) -> dict[str, Any]:
    return {"numerator": {"value": msgspec.Raw(value.encode()), "unit": "mg"}, "denominator": per}


TABLET = {"value": 1, "system": TAB, "code": "TAB"}
TWICE = {"timing": {"repeat": {"frequency": 2, "period": 1, "periodUnit": "d"}}}


def dose(value: int, unit: str) -> dict[str, Any]:
    return {"dosage": [{**TWICE, "doseAndRate": [{"doseQuantity": {"value": value, "unit": unit}}]}]}


def test_tablets_have_the_strength_of_their_medication() -> None:
    one = medication(
        code=concept("H02AB07"),
        ingredient=[{"itemCodeableConcept": concept("H02AB07"), "strength": strength("2.5", TABLET)}],
    )

    found = stated("Medication/m1", known(one), **dose(2, "tablet"))
    inside = stated("#m1", {}, contained=(one,), **dose(2, "tablet"))

    assert [two.dosings[0].mg_per_day for two in (found, inside)] == [10, 10]


def test_of_a_combination_only_the_drugs_own_strength_counts() -> None:
    parts = [
        {"itemCodeableConcept": concept("N02BE01"), "strength": strength("500", TABLET)},
        {"itemCodeableConcept": concept("H02AB07"), "strength": strength("5", TABLET)},
    ]

    found = stated("Medication/m1", known(medication(ingredient=parts)), **dose(1, "{tbl}"))

    assert (found.medication.variable, found.dosings[0].mg_per_day) == ("prednisone", 10)


def test_a_strength_per_millilitre_is_none_per_tablet() -> None:
    syrup = medication(
        code=concept("H02AB07"),
        ingredient=[{"itemCodeableConcept": concept("H02AB07"), "strength": strength("5", {"value": 1, "unit": "mL"})}],
    )

    assert stated("Medication/m1", known(syrup), **dose(1, "{tbl}")).dosings[0].mg_per_day is None
    assert stated("Medication/m1", known(syrup), **dose(1, "mL")).dosings[0].mg_per_day == 10


def test_one_that_cannot_be_read_is_known_to_be_there() -> None:
    assert known(b'{"resourceType": "Medication", "code": 5}') == {"Medication/broken-0": None}
