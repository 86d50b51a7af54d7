"""What is reported of orders, statements, conditions and administrations, and what is left out and counted."""

from typing import Any, NamedTuple

import msgspec
import pytest

from dm_fhir.mappings.case import read_case
from dm_fhir.mappings.codes import load_tables
from dm_fhir.model.case import Case, Period

TABLES = load_tables()
ATC, SNOMED = "http://www.whocc.no/atc", "http://snomed.info/sct"
CLINICAL = "http://terminology.hl7.org/CodeSystem/condition-clinical"
VERIFICATION = "http://terminology.hl7.org/CodeSystem/condition-ver-status"


class Stored(NamedTuple):
    type: str
    id: str
    body: bytes
    version: str | None = "1"
    last_updated: str | None = None


def case_of(*resources: dict[str, Any]) -> Case:
    records = [Stored(one["resourceType"], str(i), msgspec.json.encode(one)) for i, one in enumerate(resources)]
    return read_case("Patient/1", "north", "Europe/Madrid", "anifrolumab", records, TABLES, {})


def told(case: Case) -> list[tuple[str, str | None, str]]:
    return [(one.code, one.path, one.done) for one in case.findings]


def concept(code: str, system: str = ATC) -> dict[str, Any]:
    return {"coding": [{"system": system, "code": code}]}


def order(**elements: Any) -> dict[str, Any]:
    base = {"resourceType": "MedicationRequest", "status": "active", "intent": "order"}
    return base | {"medicationCodeableConcept": concept("H02AB07")} | elements


def statement(**elements: Any) -> dict[str, Any]:
    base = {"resourceType": "MedicationStatement", "status": "active"}
    return base | {"medicationCodeableConcept": concept("H02AB07")} | elements


DAILY = {"repeat": {"frequency": 1, "period": 1, "periodUnit": "d"}}
TEN_MG = [{"doseQuantity": {"value": 10, "unit": "mg"}}]


def test_a_dose_that_is_not_known_is_reported_where_it_stands() -> None:
    whole = {"timing": DAILY, "doseAndRate": TEN_MG}
    found = case_of(
        order(dosageInstruction=[whole, {"timing": DAILY, "text": "10 mg"}]),
        statement(dosage=[{"doseAndRate": TEN_MG}]),
    )

    assert told(found) == [
        ("dose_missing", "dosageInstruction[1]", "no daily dose"),
        ("dose_unknown", "dosage[0]", "no daily dose: frequency_missing"),
    ]
    assert [one.mg_per_day for therapy in found.therapies for one in therapy.dosings] == [10, None, None]


def test_what_is_taken_as_needed_or_locally_is_not_unusual() -> None:
    as_needed = {"asNeededBoolean": True, "text": "if it hurts"}
    on_the_skin = {"route": concept("6064005", SNOMED), "text": "thinly"}

    found = case_of(order(dosageInstruction=[as_needed, on_the_skin]))

    assert told(found) == []
    assert [one.reasons for one in found.therapies[0].dosings] == [
        ("as_needed", "dose_missing", "dose_unknown:frequency_missing"),
        ("route_not_systemic", "dose_missing", "dose_unknown:frequency_missing"),
    ]


def test_a_route_that_no_table_knows_is_reported_of_any_drug() -> None:
    given = {"route": concept("PO", "urn:local"), "dose": {"value": 10, "unit": "mg"}}
    administration = {
        "resourceType": "MedicationAdministration",
        "status": "completed",
        "effectiveDateTime": "2024-03-05",
        "medicationCodeableConcept": concept("H02AB07"),
        "dosage": given,
    }
    dosed = {"route": given["route"], "timing": DAILY, "doseAndRate": TEN_MG}

    found = case_of(administration, statement(dosage=[dosed]))

    assert [(code, path) for code, path, _ in told(found)] == [
        ("route_without_meaning", "dosage.route"),
        ("route_without_meaning", "dosage[0].route"),
    ]
    assert found.therapies[0].dosings[0].mg_per_day == 10


def bounded(start: str | None, end: str | None) -> dict[str, Any]:
    edges = {name: value for name, value in (("start", start), ("end", end)) if value}
    return {"timing": {"repeat": {**DAILY["repeat"], "boundsPeriod": edges}}, "doseAndRate": TEN_MG}


@pytest.mark.parametrize(
    ("dosings", "period"),
    [
        ([], Period("2024-03-01")),
        ([{"timing": DAILY, "doseAndRate": TEN_MG}], Period("2024-03-01")),
        ([bounded("2024-03-05", "2024-03-20")], Period("2024-03-05", "2024-03-20")),
        # A taper: the second phase began before the first was written down, and only both together have an end.
        (
            [bounded("2024-03-20", "2024-04-10"), bounded("2024-03-05", "2024-03-19")],
            Period("2024-03-05", "2024-04-10"),
        ),
        ([bounded("2024-03-05", "2024-03-20"), bounded("2024-03-21", None)], Period("2024-03-05")),
        ([bounded(None, "2024-03-20")], Period("2024-03-01", "2024-03-20")),
        ([bounded("soon", "2024-03-20")], Period("soon", "2024-03-20")),
    ],
)
def test_an_order_is_in_force_while_its_dosings_say_so(dosings: list[dict[str, Any]], period: Period) -> None:
    found = case_of(order(authoredOn="2024-03-01", dosageInstruction=dosings))

    assert found.therapies[0].period == period


def test_what_a_pharmacy_may_supply_does_not_say_when_the_drug_was_taken() -> None:
    supply = {"validityPeriod": {"start": "2024-03-01", "end": "2024-03-31"}}

    therapy = case_of(order(dispenseRequest=supply)).therapies[0]

    assert therapy.period is None
    assert therapy.supplied_during == Period("2024-03-01", "2024-03-31")


def test_the_times_of_orders_statements_and_conditions_are_checked() -> None:
    found = case_of(
        order(authoredOn="2024-03-05T10:00:00", dosageInstruction=[bounded("2024-13", "2024-03-20")]),
        statement(effectivePeriod={"start": "2024-03-05", "end": "2024-02"}),
        condition(onsetPeriod={"start": "03/2024", "end": "2024-05"}, recordedDate="2024-03-05T10:00:00"),
        order(dosageInstruction=[bounded("2024-03-20", "2024-03-05")]),
    )

    assert [(code, path) for code, path, _ in told(found)] == [
        ("zone_assumed", "recordedDate"),
        ("time_unreadable", "onset.start"),
        ("onset_no_date", "onset"),
        ("zone_assumed", "authoredOn"),
        ("time_unreadable", "dosageInstruction[0].timing.start"),
        ("period_reversed", "dosageInstruction"),
        ("period_reversed", "effective"),
    ]


def condition(**elements: Any) -> dict[str, Any]:
    return {"resourceType": "Condition", "code": concept("396230008", SNOMED), **elements}


def status(*codes: tuple[str, str]) -> dict[str, Any]:
    return {"coding": [{"system": system, "code": code} for system, code in codes]}


def test_a_status_is_read_from_fhirs_own_codes_and_a_denial_from_any() -> None:
    found = case_of(
        condition(clinicalStatus=status(("urn:local", "A"), (CLINICAL, "remission"))),
        condition(verificationStatus=status((VERIFICATION, "confirmed"), ("urn:local", "refuted"))),
        condition(verificationStatus=status((VERIFICATION, "entered-in-error"))),
        condition(verificationStatus=status((VERIFICATION, "provisional"))),
        condition(),
    )

    assert [one.clinical_status for one in found.conditions] == ["remission", None, None]
    assert [one.verification_status for one in found.conditions] == [None, "provisional", None]
    assert found.left_out == {"Condition: entered-in-error": 1, "Condition: refuted": 1}


@pytest.mark.parametrize(
    ("elements", "onset"),
    [
        ({"onsetDateTime": "2019-05"}, "2019-05"),
        ({"onsetPeriod": {"start": "2019-05-02", "end": "2019-05-20"}}, "2019-05"),
        ({"onsetPeriod": {"start": "2019-05-02"}}, "2019-05-02"),
        ({"onsetPeriod": {"start": "2019", "end": "2021"}}, None),
        ({"onsetRange": {"low": {"value": 40, "code": "a"}, "high": {"value": 45, "code": "a"}}}, None),
        ({"onsetString": "in her forties"}, None),
    ],
)
def test_an_onset_has_a_date_only_where_the_record_has_one(elements: dict[str, Any], onset: str | None) -> None:
    found = case_of(condition(**elements))

    assert found.conditions[0].onset == onset
    assert told(found) == ([] if onset else [("onset_no_date", "onset", "it is kept as recorded; its date is unknown")])


def test_administrations_of_other_drugs_are_kept_apart_and_errors_counted() -> None:
    pulse = {
        "resourceType": "MedicationAdministration",
        "status": "completed",
        "effectiveDateTime": "2024-03-05",
        "medicationCodeableConcept": concept("H02AB04"),
        "dosage": {"dose": {"value": 1, "unit": "g"}, "route": concept("47625008", SNOMED)},
    }

    found = case_of(pulse, pulse | {"status": "entered-in-error"})

    assert [one.dose_mg for one in found.other_administrations] == [1000]
    assert found.other_administrations[0].route is not None
    assert found.other_administrations[0].route.variable == "route_intravenous"
    assert found.left_out == {"MedicationAdministration: another drug, entered-in-error": 1}
    assert found.administrations == ()


def test_a_time_inside_a_period_is_reported_once() -> None:
    found = case_of(condition(onsetPeriod={"start": "03/2024"}, abatementPeriod={"start": "04/2024"}))

    assert [(one.code, one.path) for one in found.findings] == [
        ("time_unreadable", "onset.start"),
        ("time_unreadable", "abatement.start"),
    ]
