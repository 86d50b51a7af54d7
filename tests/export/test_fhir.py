"""Cases as FHIR: what is in it, what was not invented, and that R4B's models take all of it."""

import io
import json
from collections import Counter
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from fhir.resources.R4B.bundle import Bundle
from msgspec.structs import replace

from dm_fhir.export.fhir_files import write_bundle, write_ndjson
from dm_fhir.mappings.case_resources import resources
from dm_fhir.model.case import (
    Administration,
    Assessment,
    Case,
    CaseSeries,
    Coding,
    Concept,
    Condition,
    Link,
    Measured,
    Outcome,
    Quantity,
    Result,
    Source,
    Subject,
)
from dm_fhir.model.exact import rounded, to_decimal

CK = Concept((Coding("http://loinc.org", "2157-6"),), None, "ck")
EMPTY = Case("Patient/a", "leon", "Europe/Madrid")


def written(case: Case, head: CaseSeries) -> tuple[list[dict[str, Any]], Counter[str]]:
    left_out: Counter[str] = Counter()
    return list(resources(case, head, left_out)), left_out


def measured(**more: Any) -> Assessment:
    given: dict[str, Any] = {"status": "final", "when": "2024-03-05T10:00:00", "measured": Measured(CK)}
    return Assessment(Source("leon", "Observation/b", "3"), **(given | more))


def test_a_bundle_holds_the_cases_and_r4b_takes_it(head: CaseSeries, cases: tuple[Case, ...]) -> None:
    file, left_out = io.BytesIO(), Counter[str]()
    some = cases[:2]
    counts = write_bundle(file, ((case.site, one) for case in some for one in resources(case, head, left_out)))
    bundle = Bundle.model_validate_json(file.getvalue())

    assert (bundle.type, len(bundle.entry)) == ("collection", sum(counts.values()))
    without_time = sum(one.when is None for case in some for one in case.outcomes)
    assert counts == {
        "Patient": 2,
        "Condition": sum(len(case.conditions) for case in some),
        "MedicationAdministration": sum(len(case.administrations) for case in some),
        "MedicationRequest": sum(one.source.reference.startswith("MedicationRequest") for case in some for one in case.therapies),
        "MedicationStatement": sum(one.source.reference.startswith("MedicationStatement") for case in some for one in case.therapies),
        "Observation": sum(len(case.assessments) + len(case.outcomes) for case in some) - without_time,
        **({"AdverseEvent": events} if (events := sum(len(case.adverse_events) for case in some)) else {}),
    }  # fmt: skip
    assert left_out == ({"Observation: an outcome that speaks of no time": without_time} if without_time else {})
    assert len({entry.fullUrl for entry in bundle.entry}) == len(bundle.entry)


def test_numbers_and_references_of_the_outcomes_are_the_cases(head: CaseSeries, cases: tuple[Case, ...]) -> None:
    case, file = cases[0], io.BytesIO()
    write_ndjson(file, ((case.site, one) for one in resources(case, head, Counter())))
    read = [json.loads(line, parse_float=Decimal, parse_int=Decimal) for line in file.getvalue().splitlines()]
    ours = [one for one in read if any(i["system"].endswith("/outcome") for i in one.get("identifier", ()))]
    exact = [one for one in case.outcomes if one.when is not None and one.number is not None and one.unit != "%"]

    numbers = [
        one["valueQuantity"]["value"] for one in ours if "valueQuantity" in one and one["valueQuantity"]["code"] != "%"
    ]
    # A decimal that does not end is written to one place, as push writes it.
    written = [to_decimal(one.number) or rounded(one.number, 1) for one in exact if one.number is not None]
    assert [Fraction(number) for number in numbers] == list(map(Fraction, written))
    ids = {f"{one['resourceType']}/{one['id']}" for one in read}
    derived = {one["reference"].partition("/_history/")[0] for each in ours for one in each.get("derivedFrom", ())}
    assert derived
    assert derived <= ids
    assert {one["subject"]["reference"] for one in read if "subject" in one} == {case.id}


def test_what_was_done_to_it_is_said_in_every_resource(head: CaseSeries) -> None:
    case = replace(EMPTY, assessments=(measured(),))
    for one in written(case, replace(head, dates="days"))[0]:
        assert one["meta"]["security"] == [
            {"system": "http://terminology.hl7.org/CodeSystem/v3-ObservationValue", "code": "PSEUDED"}
        ]
        assert [tag["code"] for tag in one["meta"]["tag"]] == ["days"]
    identified, _ = written(case, replace(head, pseudonymised=False))
    assert [one.get("meta") for one in identified] == [None, {"versionId": "3"}]


def test_a_time_without_a_zone_gets_the_sites_for_fhir_demands_one(head: CaseSeries) -> None:
    _, one = written(replace(EMPTY, assessments=(measured(),)), head)[0]
    assert one["effectiveDateTime"] == "2024-03-05T10:00:00+01:00"


@pytest.mark.parametrize(
    ("assessment", "why"),
    [
        (measured(status=None), "Observation: status"),
        (measured(when="in spring"), "Observation: effectiveDateTime"),
    ],
)
def test_what_fhir_demands_and_the_case_has_not_is_counted_and_not_invented(
    assessment: Assessment, why: str, head: CaseSeries
) -> None:
    found, left_out = written(replace(EMPTY, assessments=(assessment,)), head)
    assert [one["resourceType"] for one in found] == ["Patient"]
    assert left_out == {why: 1}


def test_a_local_code_that_stayed_behind_is_our_own_instead(head: CaseSeries) -> None:
    condition = Condition(Source("leon", "Condition/c"), Concept((), None, "gottron_papules"))
    _, one = written(replace(EMPTY, conditions=(condition,)), head)[0]
    assert one["code"] == {
        "coding": [{"system": "https://w3id.org/dm-fhir/CodeSystem/measurement", "code": "gottron-papules"}]
    }


def test_a_code_of_what_the_study_does_not_ask_for_is_masked(head: CaseSeries) -> None:
    unknown = measured(measured=Measured(Concept()), components=(Measured(CK), Measured(Concept(), integer=5)))
    case = replace(EMPTY, assessments=(unknown,))
    _, one = written(case, head)[0]
    masked = {
        "extension": [{"url": "http://hl7.org/fhir/StructureDefinition/data-absent-reason", "valueCode": "masked"}]
    }
    assert (one["code"], [part["code"] for part in one["component"]][1]) == (masked, masked)
    assert one["component"][0]["code"]["coding"][0]["code"] == "2157-6"
    assert written(case, replace(head, pseudonymised=False))[1] == {"Observation: code": 1}


def test_a_value_whose_unit_stayed_behind_has_the_variables_own(head: CaseSeries) -> None:
    part = Measured(CK, Quantity(Decimal("1.5")), result=Result(Fraction(90), "U/L"))
    _, one = written(replace(EMPTY, assessments=(measured(measured=part),)), head)[0]
    assert one["valueQuantity"] == {
        "value": Decimal(90),
        "unit": "U/L",
        "system": "http://unitsofmeasure.org",
        "code": "U/L",
    }


def test_the_score_of_a_form_is_an_observation_derived_from_it(head: CaseSeries) -> None:
    source = Source("leon", "QuestionnaireResponse/q", path="item[7a]")
    _, one = written(replace(EMPTY, assessments=(replace(measured(), source=source),)), head)[0]
    assert (one["id"], one["derivedFrom"]) == ("q-item-7a", [{"reference": "QuestionnaireResponse/q"}])


def test_a_drug_is_told_by_its_codes_for_no_medication_is_in_it(head: CaseSeries) -> None:
    drug = Concept((Coding("http://www.whocc.no/atc", "L04AG11"),), None, "anifrolumab")
    given = Administration(
        Source("leon", "MedicationAdministration/m"),
        status="completed",
        medication=drug,
        medication_reference="Medication/x",
        when="2024",
    )
    _, one = written(replace(EMPTY, administrations=(given,)), head)[0]
    assert "medicationReference" not in one
    assert one["medicationCodeableConcept"]["coding"][0]["code"] == "L04AG11"


def test_a_person_is_an_identifier_and_a_link_without_a_type_is_none(head: CaseSeries) -> None:
    subject = Subject(Source("leon", "Patient/a"), links=(Link("Patient/b", ""), Link("Patient/c", "seealso")))
    (one,), _ = written(replace(EMPTY, subject=subject, person="Person/0123"), head)
    assert one["identifier"] == [{"system": "https://w3id.org/dm-fhir/person", "value": "0123"}]
    assert [link["type"] for link in one["link"]] == ["seealso"]


def test_two_sites_may_have_the_same_ids(head: CaseSeries) -> None:
    file = io.BytesIO()
    write_bundle(file, ((site, one) for site in ("leon", "madrid") for one in resources(EMPTY, head, Counter())))
    urls = [entry["fullUrl"] for entry in json.loads(file.getvalue())["entry"]]
    assert urls == [f"https://w3id.org/dm-fhir/site/{site}/Patient/a" for site in ("leon", "madrid")]


def test_nothing_is_a_bundle_too(head: CaseSeries) -> None:
    file = io.BytesIO()
    assert write_bundle(file, iter(())) == {}
    assert json.loads(file.getvalue()) == {"resourceType": "Bundle", "type": "collection"}
    outcome = Outcome("ck_baseline", "R-BL", "1", reasons=("baseline_missing",))
    assert written(replace(EMPTY, outcomes=(outcome,)), head)[1] == {
        "Observation: an outcome that speaks of no time": 1
    }
