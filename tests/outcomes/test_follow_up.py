"""How long a patient was followed and took the drug, whether and why it was stopped. Days are since the first infusion."""

from typing import Any

import pytest
from msgspec.structs import replace

from dm_fhir.model.case import AdverseEvent, Case, Concept, Source, Subject, Suspect
from dm_fhir.outcomes.discontinuation import discontinuation
from dm_fhir.outcomes.exposure import intervals
from dm_fhir.outcomes.follow_up import days_followed

from .pharmacy import case, computed, days, dosage, exposed, infusion, order, statement

OWN = "https://w3id.org/dm-fhir/CodeSystem/measurement"
HL7 = "http://terminology.hl7.org/CodeSystem/medicationrequest-status-reason"
SITTING = [infusion("0", 0), infusion("1", 28), infusion("2", 60)]


def died(when: str | None = None) -> Subject:
    return Subject(Source("north", "Patient/1"), deceased=True, deceased_at=when)


def why(system: str, code: str) -> dict[str, Any]:
    return {"statusReason": {"coding": [{"system": system, "code": code}]}}


def drug_order(status: str = "active", id: str = "1", **elements: Any) -> Any:
    return order(id, "anifrolumab", None, dosage(300), status=status, authoredOn="2024-04-01", **elements)


def stopping(day: str | None, *drugs: str | None, **parts: Any) -> AdverseEvent:
    suspects = tuple(Suspect(drug=drug) for drug in drugs)
    return AdverseEvent(
        Source("north", "AdverseEvent/1"), Concept(), date=day, suspects=suspects, led_to_stop=True, **parts
    )


def answers(found: Case) -> tuple[str | None, str | None]:
    outcomes = computed(found)
    return outcomes["discontinued", None].answer, outcomes["discontinuation_reason", None].answer


def test_follow_up_ends_with_the_last_infusion_or_accepted_assessment(clinic: Any) -> None:
    seen = [
        clinic.score("a", "cdasi-activity", 5, "2024-07-01"),
        clinic.score("b", "cdasi-activity", 5, "2024-09-01", status="cancelled"),
        clinic.score("c", "cdasi-activity", 5, "2024-08"),
    ]
    found = computed(case(infusions=SITTING, seen=seen))
    followed, taken = found["follow_up_days", None], found["days_on_drug", None]
    assert (followed.number, followed.unit, followed.when) == (77, "d", "2024-07-01")
    assert [one.source.reference for one in followed.inputs] == ["MedicationAdministration/0", "Observation/a"]
    assert (taken.number, taken.when) == (77, "2024-07-01")


def test_an_infusion_acts_for_four_weeks_and_no_longer_than_the_patient_is_seen(clinic: Any) -> None:
    for day, taken in (("2024-07-12", 88), ("2024-07-11", 87), ("2024-12-01", 88)):
        found = computed(case(infusions=SITTING, seen=[clinic.score("a", "cdasi-activity", 5, day)]))
        assert found["days_on_drug", None].number == taken
    assert computed(case(infusions=SITTING))["days_on_drug", None].number == 60


@pytest.mark.parametrize(
    ("death", "followed", "flags"),
    [("2024-05-20", 35, ("censored_at_death",)), ("2024-05", 46, ("censored_at_death",)), ("2024-12", 60, ()),
     (None, 60, ("death_date_missing",))],
)  # fmt: skip
def test_follow_up_is_censored_at_death(death: str | None, followed: int, flags: tuple[str, ...]) -> None:
    found = case(infusions=SITTING, subject=died(death))
    outcome = computed(found)["follow_up_days", None]
    assert (outcome.number, outcome.flags) == (followed, flags)
    assert days_followed(found, exposed(found)) == followed


def test_without_the_day_of_the_first_infusion_there_is_no_length() -> None:
    found = computed(case(infusions=[replace(infusion("0", 0), when="2024-04"), infusion("1", 60)]))
    assert {found[name, None].reasons for name in ("follow_up_days", "days_on_drug")} == {("first_day_unknown",)}


def test_intervals_by_class() -> None:
    found = exposed(case(infusions=[infusion(str(day), day) for day in (0, 13, 27, 55, 91)]))
    assert intervals(found) == {"below_label_minimum": 1, "early": 1, "on_schedule": 1, "late": 1, "unknown": 0}


def test_each_infusion_says_how_long_after_the_one_before_it_came() -> None:
    from dm_fhir.outcomes.battery import outcomes

    found = [one.verdicts for one in outcomes(case(infusions=SITTING)) if one.variable == "infusion_dose_mg"]
    assert found == [
        {},
        {"interval_days": "28", "interval_class": "on_schedule"},
        {"interval_days": "32", "interval_class": "on_schedule"},
    ]


def test_nothing_documented_is_unknown_and_never_no() -> None:
    found = computed(case(infusions=SITTING))
    assert (found["discontinued", None].answer, found["discontinued", None].reasons) == (None, ("stop_not_documented",))
    assert found["discontinuation_reason", None].reasons == ("stop_not_documented",)


@pytest.mark.parametrize(
    ("reason", "answer"),
    [(why(OWN, "lost-to-follow-up"), "lost_to_follow_up"), (why(OWN, "adverse-event"), "adverse_event"),
     (why(HL7, "sintol"), "adverse_event"), (why(HL7, "salg"), "adverse_event"), (why(HL7, "surg"), "other"),
     ({"statusReason": {"text": "moved away"}}, "other"), ({}, None)],
)  # fmt: skip
def test_a_stopped_order_says_why(reason: Any, answer: str | None) -> None:
    assert answers(case(drug_order("stopped", **reason), infusions=SITTING)) == ("yes", answer)


def test_an_active_order_means_no_also_beside_a_stopped_one() -> None:
    assert answers(case(drug_order(), infusions=SITTING)) == ("no", None)
    assert answers(case(drug_order(), drug_order("stopped", "2"), infusions=SITTING)) == ("no", None)
    for status in ("completed", "cancelled", "on-hold"):
        assert answers(case(drug_order(status), infusions=SITTING)) == (None, None)


def test_an_infusion_after_the_end_of_an_order_overrules_its_stop() -> None:
    def ended(day: int) -> Any:
        return statement("1", "anifrolumab", days(-14, day), status="stopped")

    assert answers(case(ended(59), infusions=SITTING)) == (None, None)
    assert answers(case(ended(61), infusions=SITTING)) == ("yes", None)


@pytest.mark.parametrize("status", ["not-done", "stopped"])
def test_the_last_administration_that_was_not_given_may_tell_the_reason_but_is_no_stop(status: str) -> None:
    missed = infusion("3", 88, status=status, statusReason=[{"coding": [{"system": OWN, "code": "adverse-event"}]}])
    again = infusion("4", 95)
    assert answers(case(infusions=[*SITTING, missed])) == (None, None)
    assert answers(case(drug_order("stopped"), infusions=[*SITTING, missed])) == ("yes", "adverse_event")
    assert answers(case(drug_order("stopped"), infusions=[*SITTING, missed, again])) == ("yes", None)
    given = replace(missed, status="completed")
    assert answers(case(drug_order("stopped"), infusions=[*SITTING, given])) == ("yes", None)


def test_an_adverse_event_that_led_to_stopping_stands_over_an_order_that_is_still_active() -> None:
    after = stopping("2024-06-20", "anifrolumab")
    assert answers(case(drug_order(), infusions=SITTING, events=[after])) == ("yes", "adverse_event")
    assert answers(case(drug_order(), infusions=SITTING, events=[replace(after, led_to_stop=None)])) == ("no", None)
    assert answers(case(drug_order(), infusions=SITTING, events=[stopping("2024-06-01")])) == ("no", None)
    assert answers(case(drug_order(), infusions=SITTING, events=[stopping("2024-06-20", "methotrexate")])) == (
        "no",
        None,
    )
    left = stopping("2024-06-20", "methotrexate", left_study=True)
    assert answers(case(drug_order(), infusions=SITTING, events=[left])) == ("yes", "adverse_event")


def test_a_patient_who_died_stopped() -> None:
    assert answers(case(drug_order(), infusions=SITTING, subject=died())) == ("yes", "death")
    lost = drug_order("stopped", **why(OWN, "lost-to-follow-up"))
    assert answers(case(lost, infusions=SITTING, subject=died("2024-12-01"))) == ("yes", "lost_to_follow_up")


def test_who_never_took_it_did_not_stop() -> None:
    found = case(drug_order("stopped"), infusions=[infusion("0", 0, status="not-done")])
    assert discontinuation(found, exposed(found)).stopped is None
    assert computed(found)["discontinued", None].reasons == ("no_exposure",)
