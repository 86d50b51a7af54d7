"""What the mappings do with records that are unusual: doses, drugs by reference, and bytes that are no FHIR."""

from decimal import Decimal
from fractions import Fraction
from typing import Any, NamedTuple

import msgspec
import pytest

from dm_fhir.mappings import patient, therapy
from dm_fhir.mappings.case import read_case
from dm_fhir.mappings.codes import UCUM, load_tables
from dm_fhir.mappings.datatypes import read
from dm_fhir.mappings.dose import dose_in_mg
from dm_fhir.mappings.medication import read_medications
from dm_fhir.mappings.observation import Observation
from dm_fhir.model.case import Case, Coding, Concept, Quantity, Source

TABLES = load_tables()
RXNORM, ATC = "http://www.nlm.nih.gov/research/umls/rxnorm", "http://www.whocc.no/atc"
VIAL, DRUG = Concept((Coding(RXNORM, "2565286"),)), Concept((Coding(ATC, "L04AG11"),))


@pytest.mark.parametrize(
    ("drug", "dose", "expected"),
    [
        (DRUG, Quantity(Decimal("0.3"), unit="g"), (300, ())),
        (DRUG, Quantity(Decimal(300), unit="milligram", system=UCUM, code="mg"), (300, ())),
        (DRUG, Quantity(Decimal(250000), unit="ug"), (250, ())),
        (VIAL, Quantity(Decimal("3.99"), unit="mL"), (Fraction("598.5"), ())),
        (VIAL, Quantity(Decimal(4), unit="mL"), (600, ())),
        (VIAL, Quantity(Decimal("4.01"), unit="mL"), (None, ("volume_is_bag",))),
        (DRUG, Quantity(Decimal(2), unit="mL"), (None, ("concentration_unknown",))),
        (None, Quantity(Decimal(2), unit="mL"), (None, ("concentration_unknown",))),
        # A UCUM code decides against the text beside it.
        (VIAL, Quantity(Decimal(2), unit="mg", system=UCUM, code="mL"), (300, ())),
        (DRUG, Quantity(Decimal(2), unit="mg", system=UCUM, code="{vial}"), (None, ("unit_incompatible",))),
        (DRUG, Quantity(Decimal(2), unit="mg", system="urn:local", code="17"), (2, ())),
        (DRUG, Quantity(Decimal(300)), (None, ("unit_missing",))),
        (DRUG, Quantity(unit="mg"), (None, ())),
        (DRUG, None, (None, ())),
    ],
)
def test_a_dose_in_mg(drug: Concept | None, dose: Quantity | None, expected: Any) -> None:
    assert dose_in_mg(dose, drug, TABLES) == expected


@pytest.mark.parametrize("value", ['"NaN"', '"Infinity"', "1e999999999", "0e-999999999", "1" * 2000, '"x"', "true"])
def test_an_amount_that_is_no_number_does_not_decode(value: str) -> None:
    body = f'{{"resourceType": "Observation", "valueQuantity": {{"value": {value}, "unit": "U/L"}}}}'

    with pytest.raises(msgspec.DecodeError, match=r"\$\.valueQuantity"):
        read(body.encode(), Observation)


@pytest.mark.parametrize(
    "body",
    [b'{"resourceType": "Observation", "id": "Le\xf3n"}', b'{"a":' * 100_000, b"", b'{"resourceType": "Patient"}'],
    ids=["latin-1", "deep", "empty", "another type"],
)
def test_bytes_that_are_no_such_resource_do_not_decode(body: bytes) -> None:
    with pytest.raises(msgspec.DecodeError) as error:
        read(body, Observation)

    assert "Le" not in str(error.value)


CONTAINED = {
    "contained": [
        {"resourceType": "Organization", "id": "org"},
        {
            "resourceType": "Medication",
            "id": "med",
            "ingredient": [{"itemCodeableConcept": {"coding": [{"system": ATC, "code": "L04AX03"}]}}],
        },
    ],
    "medicationReference": {"reference": "#med"},
}


def test_a_contained_drug_is_found_in_orders_and_statements_too() -> None:
    source = Source("north", "MedicationRequest/1")
    order = read(msgspec.json.encode({"resourceType": "MedicationRequest", **CONTAINED}), therapy.MedicationRequest)
    said = read(msgspec.json.encode({"resourceType": "MedicationStatement", **CONTAINED}), therapy.MedicationStatement)

    assert therapy.from_request(order, source, TABLES, {}).medication.variable == "methotrexate"
    assert therapy.from_statement(said, source, TABLES, {}).medication.variable == "methotrexate"


class Stored(NamedTuple):
    type: str
    id: str
    body: bytes
    version: str | None = "1"
    last_updated: str | None = None


def case_of(*resources: dict[str, Any] | bytes, medications: Any = ()) -> Case:
    def stored(index: int, resource: Any) -> Stored:
        kind = "Observation" if isinstance(resource, bytes) else resource["resourceType"]
        return Stored(kind, str(index), resource if isinstance(resource, bytes) else msgspec.json.encode(resource))

    records = [stored(index, resource) for index, resource in enumerate(resources)]
    known = read_medications([Stored("Medication", "m", msgspec.json.encode(one)) for one in medications])
    return read_case("Patient/1", "north", "Europe/Madrid", "anifrolumab", records, TABLES, known)


def administration(**elements: Any) -> dict[str, Any]:
    return {"resourceType": "MedicationAdministration", "status": "completed", **elements}


def test_every_administration_is_used_left_out_or_a_finding() -> None:
    drug = {"resourceType": "Medication", "code": {"coding": [{"system": ATC, "code": "L04AG11"}]}}
    found = case_of(
        administration(medicationReference={"reference": "https://example.org/r4/Medication/m/_history/2"}),
        administration(medicationCodeableConcept={"text": "Saphnelo"}),
        administration(medicationCodeableConcept={"coding": [{"system": ATC, "code": "L04AX03"}]}),
        administration(medicationReference={"reference": "Medication/gone"}),
        administration(status="entered-in-error"),
        medications=[drug],
    )

    assert [one.source.reference for one in found.administrations] == ["MedicationAdministration/0"]
    assert [one.source.reference for one in found.other_administrations] == ["MedicationAdministration/2"]
    assert found.left_out == {
        "MedicationAdministration: entered in error, drug unknown": 1,
        "MedicationAdministration: no code that the tables know": 1,
    }
    assert [(one.code, one.reference) for one in found.findings] == [
        ("medication_unresolved", "MedicationAdministration/3")
    ]


def test_a_record_that_cannot_be_read_is_a_finding_and_the_others_are_read() -> None:
    score = {"system": "https://w3id.org/dm-fhir/CodeSystem/measurement", "code": "dlqi"}
    fine = {"resourceType": "Observation", "status": "final", "code": {"coding": [score]}, "valueInteger": 12}
    fine["effectiveDateTime"] = "2024-03-05"
    found = case_of(
        b'{"resourceType": "Observation", "status": 5}', b'{"resourceType": "Observation", "id": "\xf3"}', fine
    )

    assert [(one.code, one.path) for one in found.findings] == [("unreadable", "status"), ("unreadable", None)]
    assert [one.measured.result.number for one in found.assessments] == [12]


def test_ck_mb_is_never_ck_and_is_counted() -> None:
    code = {"coding": [{"system": "http://loinc.org", "code": "13969-1"}]}
    found = case_of({"resourceType": "Observation", "status": "final", "code": code, "valueQuantity": {"value": 9}})

    assert (found.assessments, found.findings) == ((), ())
    assert found.left_out == {"Observation: known in order to be left out (exclude_ck_mb)": 1}


def test_a_panel_is_read_for_its_parts_and_misses_no_value() -> None:
    ncit = "http://ncicb.nci.nih.gov/xml/owl/EVS/Thesaurus.owl"
    panel = {"coding": [{"system": ncit, "code": "C119102"}]}
    total = {"code": {"coding": [{"system": ncit, "code": "C119174"}]}, "valueInteger": 7}
    when = {"effectiveDateTime": "2024-03-05"}
    found = case_of({"resourceType": "Observation", "status": "final", "code": panel, "component": [total], **when})

    assert found.findings == ()
    assert [part.result.number for part in found.assessments[0].components] == [7]


def test_a_detailed_race_is_no_second_race() -> None:
    race = "http://hl7.org/fhir/us/core/StructureDefinition/us-core-race"
    system = "urn:oid:2.16.840.1.113883.6.238"
    parts = [
        {"url": "ombCategory", "valueCoding": {"system": system, "code": "2106-3"}},
        {"url": "detailed", "valueCoding": {"system": system, "code": "2110-5"}},
        {"url": "text", "valueString": "English"},
    ]
    body = {"resourceType": "Patient", "id": "1", "extension": [{"url": race, "extension": parts}]}
    subject = patient.from_fhir(read(msgspec.json.encode(body), patient.Patient), Source("north", "Patient/1"))

    assert [one.code for one in subject.races] == ["2106-3"]
    assert [one.code for one in subject.race_details] == ["2110-5"]
