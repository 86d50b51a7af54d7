"""The traps of hospital data that lie in drugs, conditions and persons: one test and more for each, named by its number."""

from fractions import Fraction
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import msgspec
import pytest

from dm_fhir.mappings.case import read_case
from dm_fhir.mappings.codes import load_tables
from dm_fhir.mappings.medication import read_medications
from dm_fhir.mappings.patient import merges
from dm_fhir.model.case import Case, Identifier
from dm_fhir.model.dates import span
from dm_fhir.outcomes.battery import exposure_of
from dm_fhir.outcomes.exposure import Exposure, interval_class
from dm_fhir.statistics.ages import age_at_first_infusion
from dm_fhir.statistics.cohort import Cohort
from dm_fhir.statistics.disease import subtype

TABLES = load_tables()
RXNORM, ATC = "http://www.nlm.nih.gov/research/umls/rxnorm", "http://www.whocc.no/atc"
HCPCS = "http://www.cms.gov/Medicare/Coding/HCPCSReleaseCodeSets"
ICD, SNOMED = "http://hl7.org/fhir/sid/icd-10-cm", "http://snomed.info/sct"
ABSENT = "http://hl7.org/fhir/StructureDefinition/data-absent-reason"
ZONE = "America/New_York"


class Stored(NamedTuple):
    type: str
    id: str
    body: bytes
    version: str | None = "1"
    last_updated: str | None = None


def case_of(
    *resources: dict[str, Any], medications: tuple[Any, ...] = (), patient: dict[str, Any] | None = None
) -> Case:
    """The case of Patient/1; a resource without an id is numbered."""
    everything = [{"resourceType": "Patient", "id": "1", **(patient or {})}, *resources]
    records = [
        Stored(one["resourceType"], one.get("id", str(index)), msgspec.json.encode(one))
        for index, one in enumerate(everything)
    ]
    known = read_medications(
        Stored("Medication", one["id"], msgspec.json.encode(one) if "broken" not in one else b'{"id": 5}')
        for one in medications
    )
    return read_case("Patient/1", "north", ZONE, "anifrolumab", records, TABLES, known)


def concept(code: str, system: str = ATC) -> dict[str, Any]:
    return {"coding": [{"system": system, "code": code}]}


VIAL = concept("2565286", RXNORM)


def dose(value: float, unit: str | None = "mg") -> dict[str, Any]:
    return {"dose": {"value": value} | ({"unit": unit} if unit else {})}


def infusion(when: str | None = "2024-04-15T10:00:00-04:00", **elements: Any) -> dict[str, Any]:
    base = {
        "resourceType": "MedicationAdministration",
        "status": "completed",
        "medicationCodeableConcept": VIAL,
        "dosage": dose(300),
    }
    return base | ({"effectiveDateTime": when} if when else {}) | elements


def by_reference(reference: str, **elements: Any) -> dict[str, Any]:
    return infusion(medicationReference={"reference": reference}, medicationCodeableConcept=None, **elements)


def exposed(*resources: dict[str, Any]) -> Exposure:
    return exposure_of(case_of(*resources), Fraction(300))


def told(case: Case) -> list[tuple[str, str, str | None]]:
    return [(one.code, one.reference, one.path) for one in case.findings if one.code != "birth_date_missing"]


# Trap 9: partial dates.


def test_trap_9_a_partial_date_stays_as_it_was_written_and_is_never_padded() -> None:
    found = case_of(infusion("2024-04"), infusion("2024"))

    assert [one.when for one in found.administrations] == ["2024-04", "2024"]
    assert [one.day for one in exposure_of(found).infusions] == [None, None]


def test_trap_9_the_order_of_partial_dates_has_three_values() -> None:
    zone = ZoneInfo(ZONE)
    march, april, the_fifteenth = (span(text, zone) for text in ("2024-03", "2024-04", "2024-04-15"))

    assert march.before(the_fifteenth) is True
    assert the_fifteenth.before(march) is False
    assert april.before(the_fifteenth) is None


# Trap 10: zones.


def test_trap_10_an_infusion_at_half_past_eleven_keeps_its_day() -> None:
    evening = exposed(infusion("2024-04-15T23:30:00-04:00"), infusion("2024-05-14T03:30:00Z"))

    assert [str(one.day) for one in evening.infusions] == ["2024-04-15", "2024-05-13"]
    assert evening.infusions[1].interval_days == 28


def test_trap_10_a_time_without_a_zone_is_read_in_the_sites_and_reported() -> None:
    found = case_of(infusion("2024-04-15T23:30:00"))

    assert told(found) == [("zone_assumed", "MedicationAdministration/1", "effective")]
    assert str(exposure_of(found).infusions[0].day) == "2024-04-15"


@pytest.mark.parametrize("when", ["0001-01-01", "9999-12-31", "15/04/2024", "2024-02-30", "2024-04-15T25:00:00Z"])
def test_trap_10_a_time_that_cannot_be_is_reported_and_not_counted(when: str) -> None:
    found = case_of(infusion(when))

    assert told(found) == [("time_unreadable", "MedicationAdministration/1", "effective")]
    assert exposure_of(found).infusions == ()
    assert len(exposure_of(found).not_counted) == 1


@pytest.mark.parametrize(
    ("when", "day"),
    [
        ("2024-04-15T24:00:00-04:00", "2024-04-16"),
        ("2016-12-31T23:59:60-05:00", "2016-12-31"),
        ("2180-07-23T23:30:00-04:00", "2180-07-23"),
    ],
)
def test_trap_10_midnight_as_24_a_leap_second_and_a_shifted_century_have_their_day(when: str, day: str) -> None:
    assert str(exposed(infusion(when)).infusions[0].day) == day


# Trap 11: dateTime, Period, Timing.


def test_trap_11_a_period_is_one_infusion_at_its_start_and_may_be_open() -> None:
    closed = infusion(None, effectivePeriod={"start": "2024-04-15T23:45:00-04:00", "end": "2024-04-16T00:15:00-04:00"})
    open_ = infusion(None, effectivePeriod={"start": "2024-05-13T10:00:00-04:00"})

    assert [str(one.day) for one in exposed(closed, open_).infusions] == ["2024-04-15", "2024-05-13"]


def test_trap_11_a_timing_is_one_record_and_not_several_infusions() -> None:
    found = case_of(infusion(None, effectiveTiming={"event": ["2024-04-15", "2024-05-13", "2024-06-10"]}))

    assert told(found) == [("timing_not_expanded", "MedicationAdministration/1", "effectiveTiming")]
    assert exposure_of(found).infusions == ()
    assert len(exposure_of(found).not_counted) == 1


def test_trap_11_a_period_that_ends_before_it_begins_is_reported() -> None:
    found = case_of(infusion(None, effectivePeriod={"start": "2024-04-15", "end": "2024-04-14"}))

    assert told(found) == [("period_reversed", "MedicationAdministration/1", "effective")]


# Trap 12: status.


@pytest.mark.parametrize(
    ("status", "counts"),
    [
        ("completed", (1, 0, 0, 0, 0)),
        ("stopped", (0, 1, 0, 0, 0)),
        ("not-done", (0, 0, 1, 0, 0)),
        ("in-progress", (0, 0, 0, 1, 0)),
        ("on-hold", (0, 0, 0, 1, 0)),
        ("unknown", (0, 0, 0, 1, 0)),
        ("entered-in-error", (0, 0, 0, 0, 1)),
    ],
)
def test_trap_12_only_completed_takes_an_ordinal(status: str, counts: tuple[int, ...]) -> None:
    found = exposed(infusion(status=status))

    assert counts == tuple(
        len(part) for part in (found.completed, found.partial, found.missed, found.not_counted, found.dropped)
    )


def test_trap_12_a_stopped_infusion_has_the_dose_that_is_given_or_none() -> None:
    half, unknown = infusion(status="stopped", dosage=dose(150)), infusion(status="stopped", dosage=None)

    assert exposed(half).infusions[0].dose_mg == 150
    assert exposed(unknown).infusions[0].dose_mg is None
    assert exposed(half).first is not None


def test_trap_12_a_missed_dose_says_why() -> None:
    found = case_of(infusion(status="not-done", statusReason=[{"text": "zoster"}]))

    assert [one.status_reasons[0].text for one in exposure_of(found).missed] == ["zoster"]


def test_trap_12_what_was_entered_in_error_may_lack_everything_else() -> None:
    found = case_of({"resourceType": "MedicationAdministration", "status": "entered-in-error"})

    assert found.left_out == {"MedicationAdministration: entered in error, drug unknown": 1}
    assert told(found) == []


def test_trap_12_orders_and_statements_never_count_as_infusions() -> None:
    order = {"resourceType": "MedicationRequest", "status": "completed", "intent": "order"}
    statement = {"resourceType": "MedicationStatement", "status": "completed", "effectiveDateTime": "2024-04-15"}
    found = case_of(*({**one, "medicationCodeableConcept": VIAL} for one in (order, statement)))

    assert exposure_of(found).infusions == ()
    assert len(found.therapies) == 2


def test_trap_12_an_order_not_to_give_a_drug_is_no_therapy() -> None:
    order = {"resourceType": "MedicationRequest", "status": "active", "intent": "order", "doNotPerform": True}
    found = case_of({**order, "medicationCodeableConcept": concept("L04AX03")})

    assert found.therapies == ()
    assert found.left_out == {"MedicationRequest: not to be given": 1}


# Trap 13: Medication by reference.


def medication(id: str, **elements: Any) -> dict[str, Any]:
    return {"resourceType": "Medication", "id": id, **elements}


@pytest.mark.parametrize(
    "reference", ["#m", "Medication/m", "urn:uuid:m", "https://example.org/r4/Medication/m/_history/2"]
)
def test_trap_13_a_medication_is_found_wherever_it_is(reference: str) -> None:
    drug = medication("m", ingredient=[{"itemCodeableConcept": concept("L04AG11")}])
    inside = (drug,) if reference.startswith("#") else ()
    found = case_of(by_reference(reference, contained=inside), medications=() if inside else (drug,))

    assert len(exposure_of(found).completed) == 1
    assert told(found) == []


def test_trap_13_a_medication_that_is_gone_is_reported_for_every_record() -> None:
    order = {"resourceType": "MedicationRequest", "status": "active", "intent": "order"}
    found = case_of(by_reference("Medication/gone"), {**order, "medicationReference": {"reference": "Medication/gone"}})

    assert told(found) == [
        ("medication_unresolved", "MedicationAdministration/1", "medication"),
        ("medication_unresolved", "MedicationRequest/2", "medication"),
    ]


def test_trap_13_a_medication_that_cannot_be_read_is_a_finding_of_its_own_and_once() -> None:
    broken = {"id": "m", "broken": True}
    found = case_of(by_reference("Medication/m"), by_reference("Medication/m"), medications=(broken,))

    assert told(found) == [
        ("unreadable", "Medication/m", None),
        ("medication_unresolved", "MedicationAdministration/1", "medication"),
        ("medication_unresolved", "MedicationAdministration/2", "medication"),
    ]
    assert [one.severity for one in found.findings if one.code == "unreadable"] == ["error"]


def test_trap_13_any_of_several_codings_may_be_the_one_and_text_is_none() -> None:
    codings = [{"system": "http://fhir.de/CodeSystem/ifa/pzn", "code": "1"}, {"system": ATC, "code": "L04AG11"}]
    found = case_of(
        infusion(medicationCodeableConcept={"coding": codings}),
        infusion(medicationCodeableConcept={"text": "Saphnelo 300 mg"}),
    )

    assert len(found.administrations) == 1
    assert found.left_out == {"MedicationAdministration: no code that the tables know": 1}


# Trap 14: doses.


@pytest.mark.parametrize(
    ("drug", "given", "expected"),
    [
        (VIAL, dose(300), 300),
        (VIAL, dose(0.3, "g"), 300),
        (VIAL, dose(2, "mL"), 300),
        (VIAL, dose(100, "mL"), None),
        (VIAL, dose(102, "mL"), None),
        (VIAL, dose(1, "{vial}"), 300),
        (concept("L04AG11"), dose(2, "mL"), None),
        (concept("L04AG11"), dose(1, "{vial}"), None),
        (concept("J0491", HCPCS), dose(300, "[U]"), 300),
        (VIAL, dose(300, None), None),
        (VIAL, {"rateQuantity": {"value": 200, "unit": "mL/h"}}, None),
        (VIAL, {"dose": {"value": 300, "unit": "mg", "comparator": "<"}}, None),
    ],
)
def test_trap_14_a_dose_by_its_unit_and_product_and_unknown_stays_unknown(
    drug: dict[str, Any], given: dict[str, Any], expected: int | None
) -> None:
    found = exposed(infusion(medicationCodeableConcept=drug, dosage=given))

    assert [one.dose_mg for one in found.completed] == [expected]


def test_trap_14_the_rate_is_kept_as_it_was_recorded() -> None:
    ratio = {"numerator": {"value": 100, "unit": "mL"}, "denominator": {"value": 30, "unit": "min"}}
    found = case_of(
        infusion(dosage=dose(300) | {"rateRatio": ratio}),
        infusion(dosage=dose(300) | {"rateQuantity": {"value": 200, "unit": "mL/h"}}),
    )
    by_ratio, by_quantity = found.administrations

    assert by_ratio.rate_ratio is not None
    assert by_ratio.rate_ratio.denominator is not None
    assert by_ratio.rate_ratio.denominator.value == 30
    assert by_quantity.rate is not None
    assert (by_quantity.rate.value, by_quantity.rate.unit) == (200, "mL/h")


# Trap 15: bags.


def test_trap_15_bags_of_one_day_or_of_one_procedure_are_one_infusion() -> None:
    whole = {"partOf": [{"reference": "Procedure/p"}], "dosage": dose(150)}
    same_day = exposed(infusion(dosage=dose(100)), infusion("2024-04-15T12:00:00-04:00", dosage=dose(200)))
    over_midnight = exposed(
        infusion("2024-04-15T23:30:00-04:00", **whole), infusion("2024-04-16T00:10:00-04:00", **whole)
    )

    assert [one.dose_mg for one in same_day.completed] == [300]
    assert same_day.flags == ("merged_same_day",)
    assert [one.dose_mg for one in over_midnight.completed] == [300]
    assert over_midnight.flags == ()


def test_trap_15_bags_without_one_dose_have_none_together() -> None:
    found = exposed(infusion(), infusion("2024-04-15T12:00:00-04:00", dosage=None))

    assert [one.dose_mg for one in found.completed] == [None]


def test_trap_15_less_than_14_days_apart_is_flagged_and_stays_two() -> None:
    found = exposed(infusion(), infusion("2024-04-28T10:00:00-04:00"))

    assert len(found.completed) == 2
    assert found.flags == ("interval_below_14_days",)


# Trap 16: intervals.


def test_trap_16_the_interval_is_in_days_of_the_site_and_has_its_class() -> None:
    days = ("2024-04-15", "2024-05-06", "2024-06-10", "2024-07-16", "2024-07-31")
    found = exposed(*(infusion(day) for day in days))
    intervals = [one.interval_days for one in found.infusions[1:]]

    assert intervals == [21, 35, 36, 15]
    assert [interval_class(one) for one in intervals if one] == ["on_schedule", "on_schedule", "late", "early"]


# Trap 20: links, several identifiers.


def test_trap_20_seealso_is_reported_and_not_merged_and_replaced_by_is_followed() -> None:
    links = [
        {"other": {"reference": "Patient/2"}, "type": "seealso"},
        {"other": {"reference": "https://example.org/r4/Patient/3"}, "type": "replaced-by"},
    ]
    body = {"resourceType": "Patient", "id": "1", "link": links}

    assert told(case_of(patient=body)) == [("linked", "Patient/1", "link")]
    assert merges(msgspec.json.encode(body)) == (("replaced-by", "Patient/3"),)


def test_trap_20_records_of_a_merged_patient_count_and_the_other_patient_says_nothing_of_who_it_is() -> None:
    other = {"resourceType": "Patient", "id": "old", "gender": "male", "active": False}
    found = case_of(other, infusion(), patient={"gender": "female"})

    assert found.subject is not None
    assert found.subject.sex == "female"
    assert found.left_out == {"Patient: merged into this one": 1}
    assert len(found.administrations) == 1


def test_trap_20_identifiers_compare_by_system_and_value() -> None:
    numbers = [{"system": "urn:a", "value": "7"}, {"system": "urn:b", "value": "7"}]
    found = case_of(patient={"identifier": numbers})

    assert found.subject is not None
    assert found.subject.identifiers == (Identifier("urn:a", "7"), Identifier("urn:b", "7"))


# Trap 21: death.


def dlqi(when: str) -> dict[str, Any]:
    score = {"system": "https://w3id.org/dm-fhir/CodeSystem/measurement", "code": "dlqi"}
    code = {"coding": [score]}
    return {
        "resourceType": "Observation", "status": "final", "code": code, "valueInteger": 9, "effectiveDateTime": when,
    }  # fmt: skip


def test_trap_21_what_is_later_than_death_is_reported_and_not_used() -> None:
    event = {"resourceType": "AdverseEvent", "actuality": "actual", "event": {"text": "cough"}, "date": "2024-07-01"}
    found = case_of(
        infusion(), infusion("2024-06-12T10:00:00-04:00"), dlqi("2024-05-31"), dlqi("2024-06-11"), event,
        patient={"deceasedDateTime": "2024-06-10"},
    )  # fmt: skip

    assert [one.when for one in found.administrations] == ["2024-04-15T10:00:00-04:00"]
    assert [one.time for one in found.assessments] == ["2024-05-31"]
    assert found.adverse_events == ()
    assert found.left_out == {
        "AdverseEvent: after death": 1, "MedicationAdministration: after death": 1, "Observation: after death": 1,
    }  # fmt: skip
    assert {one.reference for one in found.findings if one.code == "after_death"} == {
        "AdverseEvent/5", "MedicationAdministration/2", "Observation/4",
    }  # fmt: skip


def test_trap_21_an_administration_of_another_drug_after_death_is_not_used_either() -> None:
    later = infusion("2024-06-12", medicationCodeableConcept=concept("H02AB04"))
    found = case_of(later, patient={"deceasedDateTime": "2024-06-10"})

    assert found.other_administrations == ()
    assert found.left_out == {"MedicationAdministration: after death": 1}


def test_trap_21_the_day_of_death_itself_and_a_partial_one_leave_open_what_came_first() -> None:
    on_the_day = case_of(dlqi("2024-06-10T23:00:00-04:00"), patient={"deceasedDateTime": "2024-06-10"})
    in_the_year = case_of(dlqi("2024-06-10"), patient={"deceasedDateTime": "2024"})

    assert len(on_the_day.assessments) == len(in_the_year.assessments) == 1


def test_trap_21_death_without_a_date_censors_nothing_and_is_flagged() -> None:
    found = case_of(dlqi("2024-06-10"), patient={"deceasedBoolean": True})

    assert told(found) == [("death_undated", "Patient/1", "deceasedBoolean")]
    assert len(found.assessments) == 1
    assert told(case_of(patient={"deceasedBoolean": False})) == []


# Trap 22: test patients.


def test_trap_22_a_test_patient_is_excluded_and_counted() -> None:
    label = {"system": "http://terminology.hl7.org/CodeSystem/v3-ActReason", "code": "HTEST"}
    invented = case_of(infusion(), patient={"meta": {"security": [label]}})
    cohort = Cohort([invented, case_of(infusion())])

    assert cohort.n == 1
    assert cohort.left_out == {"test patient": ["Patient/1"]}


# Trap 28: M33.13 does not prove amyopathic.


def condition(*codings: tuple[str, str], **elements: Any) -> dict[str, Any]:
    code = {"coding": [{"system": system, "code": value} for system, value in codings]}
    return {"resourceType": "Condition", "code": code, **elements}


@pytest.mark.parametrize(
    ("codings", "expected"),
    [
        ([(ICD, "M33.13")], None),
        ([(SNOMED, "238935002")], "amyopathic"),
        # A better code beside it tells the subtype, whichever comes first.
        ([(ICD, "M33.13"), (SNOMED, "238935002")], "amyopathic"),
        ([(SNOMED, "238935002"), (ICD, "M33.13")], "amyopathic"),
        ([(ICD, "M33.12")], "classic"),
    ],
)
def test_trap_28_the_subtype_needs_more_than_m33_13(codings: list[tuple[str, str]], expected: str | None) -> None:
    patients = Cohort([case_of(infusion(), condition(*codings))]).patients

    found = subtype(patients[0])

    assert found == expected


def test_trap_28_codes_that_mean_several_things_are_reported() -> None:
    found = case_of(condition((ICD, "M33.13"), (SNOMED, "238935002")))

    assert told(found) == [("several_meanings", "Condition/1", "code")]


# Trap 30: de-identified data.


@pytest.mark.parametrize("extension", [None, {"extension": [{"url": ABSENT, "valueCode": "masked"}]}])
def test_trap_30_without_a_birth_date_the_age_is_unknown_and_the_reason_kept(extension: Any) -> None:
    found = case_of(infusion(), patient={"_birthDate": extension} if extension else {})

    assert found.subject is not None
    assert found.subject.birth_date_absent == ("masked" if extension else None)
    assert [one.code for one in found.findings] == ["birth_date_missing"]
    assert age_at_first_infusion(Cohort([found]).patients[0]) is None


def test_trap_30_a_shifted_date_gives_the_same_age() -> None:
    found = case_of(infusion("2184-04-15"), patient={"birthDate": "2130-04-16"})

    assert age_at_first_infusion(Cohort([found]).patients[0]) == 53


def test_trap_30_an_age_that_was_recorded_is_kept_beside_the_missing_date() -> None:
    dm = condition((SNOMED, "396230008"), onsetAge={"value": 52, "system": "http://unitsofmeasure.org", "code": "a"})
    found = case_of(dm)

    assert found.conditions[0].onset is None
    assert found.conditions[0].onset_age is not None
    assert found.conditions[0].onset_age.value == 52
    assert told(found) == [("onset_no_date", "Condition/1", "onset")]
