"""Which adverse events count; which manifestations are present when. Days are since the first infusion on 15 April 2024."""

from typing import Any

import pytest
from msgspec.structs import replace

from dm_fhir.model.case import (
    AdverseEvent,
    Case,
    Concept,
    Condition,
    Identifier,
    Period,
    Quantity,
    Source,
    Subject,
    Suspect,
)
from dm_fhir.outcomes.adverse_events import events
from dm_fhir.outcomes.manifestations import over_time

from .pharmacy import case, exposed, infusion

SITTING = [infusion("0", 0), infusion("1", 60)]


def event(id: str, date: str | None = "2024-05-01", **parts: Any) -> AdverseEvent:
    return AdverseEvent(Source("north", f"AdverseEvent/{id}"), Concept(variable="ae_uti"), date=date, **parts)


def judged(*variables: str, drug: str = "anifrolumab") -> dict[str, Any]:
    return {"suspects": (Suspect(drug=drug, relatedness=tuple(Concept(variable=one) for one in variables)),)}


def counted(*found: AdverseEvent, **parts: Any) -> Any:
    whole = case(infusions=SITTING, events=found, **parts)
    return events(whole, exposed(whole))


@pytest.mark.parametrize(
    ("one", "reason"),
    [
        (event("1", "2024-04-14"), "before_first_exposure"),
        (event("1", "2024-04-15"), None),
        (event("1", "2024-03"), "before_first_exposure"),
        (event("1", "2024-04"), None),
        (event("1", None), None),
        (event("1", actuality="potential"), "potential"),
        (event("1", actuality="actual"), None),
        (event("1", status="entered-in-error"), "entered_in_error"),
        (event("1", status="completed"), None),
    ],
)
def test_which_events_count(one: AdverseEvent, reason: str | None) -> None:
    found = counted(one)
    assert [why for _, why in found.left_out] == ([reason] if reason else [])
    assert len(found.counted) == (0 if reason else 1)


def test_copies_count_once_and_two_alike_with_names_of_their_own_twice() -> None:
    def named(id: str, value: str) -> AdverseEvent:
        return event(id, identifier=Identifier("urn:ae", value))

    for one, other, n in (
        (named("1", "a"), replace(named("2", "a"), date="2024-05-02"), 1),
        (named("1", "a"), named("2", "b"), 2),
        (event("1"), event("2"), 1),
        (event("1"), named("2", "b"), 1),
        (event("1"), event("2", "2024-05-02"), 2),
        (event("1"), event("2", grade=3), 2),
        (event("1", None), event("2", None), 2),
    ):
        assert len(counted(one, other).counted) == n


@pytest.mark.parametrize(
    ("suspects", "related"),
    [(judged("possibly_related"), True), (judged("not_related"), False), (judged("not_related", "related"), True),
     (judged("unlikely_related"), False), (judged("related", drug="methotrexate"), None), (judged(), None), ({}, None)],
)  # fmt: skip
def test_related_means_judged_at_least_possible_for_the_study_drug(suspects: Any, related: bool | None) -> None:
    (one,) = counted(event("1", **suspects)).counted
    assert one.related is related


def test_person_time_is_exact_and_events_after_it_are_told_apart() -> None:
    found = counted(event("1", "2024-06-14"), event("2", "2024-06-15"), event("3", "2024-06"), event("4", None))
    assert found.person_days == 60
    assert [one.within for one in found.counted] == [True, False, None, None]
    assert [one.event.source.reference for one in found.undated] == ["AdverseEvent/4"]
    died = Subject(Source("north", "Patient/1"), deceased=True, deceased_at="2024-04-25")
    assert counted(event("1"), subject=died).person_days == 10


def condition(variable: str = "pruritus", **parts: Any) -> Condition:
    return Condition(Source("north", f"Condition/{variable}"), Concept(variable=variable), **parts)


def times(*conditions: Condition, last: int = 400, subject: Subject | None = None) -> list[str]:
    """What is said of pruritus at baseline and month 1, 3, 6 and 12."""
    whole = case(conditions=conditions, infusions=[infusion("0", 0), infusion("1", last)], subject=subject)
    return [answer[0] for answer in over_time(whole, exposed(whole))["pruritus"].values()]


ONSET = {"onset": "2020-05"}
ACTIVE = {"clinical_status": "active"}


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        (ONSET | ACTIVE, "ppppp"),
        (ONSET | {"abatement": "2024-05-15"}, "paaaa"),
        (ONSET | {"abatement": "2024-05-16"}, "ppaaa"),
        (ONSET | {"abatement": "2024-07-15"}, "ppaaa"),
        (ONSET | {"abatement": "2024-07"}, "ppuaa"),
        (ONSET | {"abatement": "2025"}, "ppppu"),
        (ONSET | ACTIVE | {"abatement_text": "in summer"}, "uuuuu"),
        (ONSET | ACTIVE | {"abatement_age": Quantity()}, "uuuuu"),
        (ONSET | {"clinical_status": "resolved"}, "uuuuu"),
        (ONSET, "uuuuu"),
        (ONSET | {"clinical_status": "relapse"}, "ppppp"),
        (ACTIVE | {"onset": "2024-05-15"}, "apppp"),
        (ACTIVE | {"onset": "2024-05"}, "auppp"),
        (ACTIVE | {"onset": "2024-05", "onset_during": Period("2024-05-02", "2024-05-20")}, "auppp"),
        (ACTIVE | {"recorded": "2024-05-15"}, "upppp"),
        (ACTIVE, "uuuuu"),
    ],
)
def test_presence_of_a_manifestation(parts: dict[str, Any], expected: str) -> None:
    assert "".join(times(condition(**parts))) == expected


def test_of_several_records_any_that_is_present_decides_and_an_open_one_leaves_it_open() -> None:
    over = condition(**ONSET, abatement="2024-05-01")
    assert "".join(times(over, condition(**ONSET, **ACTIVE))) == "ppppp"
    assert "".join(times(over, condition())) == "puuuu"


def test_nothing_is_said_beyond_follow_up_or_death() -> None:
    assert "".join(times(condition(**ONSET, **ACTIVE), last=91)) == "pppnn"
    assert "".join(times(condition(**ONSET, **ACTIVE), last=90)) == "ppnnn"
    died = Subject(Source("north", "Patient/1"), deceased_at="2024-05-20")
    assert "".join(times(condition(**ONSET, **ACTIVE), subject=died)) == "ppnnn"


def test_diagnoses_are_no_manifestations_and_without_exposure_there_are_no_times() -> None:
    whole: Case = case(conditions=[condition("dermatomyositis"), condition("exclude_polymyositis"), condition("")])
    assert over_time(whole, exposed(whole)) == {}
    never = case(conditions=[condition()], infusions=())
    assert over_time(never, exposed(never)) == {}
