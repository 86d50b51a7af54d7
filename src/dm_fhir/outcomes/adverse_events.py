"""Which adverse events count, and what was judged of them (R-AE, version 1).

Inputs: the adverse events of a case, its exposure and follow-up. Formula: every event that happened counts, whether or not
the drug caused it, unless it surely began before the day of the first exposure; an undated one counts. Left out: potential
events, those entered in error, and copies (the same identifier; where one has none, the same date and content).
Related means that somebody judged it at least possible that the study drug caused it. Person-time is the days from the
first exposure to the end of follow-up (R-FOLLOW-UP); an event counts towards a rate only if it lies surely within.
No threshold, nothing configurable; counts of events and of patients are different numbers (reference, section 8).
"""

from datetime import timedelta, tzinfo
from typing import NamedTuple
from zoneinfo import ZoneInfo

from msgspec.structs import replace

from dm_fhir.model.case import AdverseEvent, Case, Source
from dm_fhir.model.dates import first_day, on_or_before
from dm_fhir.outcomes.exposure import Exposure
from dm_fhir.outcomes.follow_up import days_followed, end_of_follow_up
from dm_fhir.outcomes.therapies import study_drug

RULE, VERSION = "R-AE", "1"
_RELATED = {"related", "probably_related", "possibly_related"}
_UNRELATED = {"unlikely_related", "not_related"}


class Counted(NamedTuple):
    """An adverse event since the first exposure. Seriousness, grade and whether it led to stopping are those of `event`.

    `term` is what the tables call it, else its own words. `related` is None if nobody judged the study drug. `within` is
    whether it lies within follow-up, None where its date does not tell.
    """

    event: AdverseEvent
    term: str
    related: bool | None
    within: bool | None


class Events(NamedTuple):
    """The events that count, in order of their records; those that do not, with the reason.

    `person_days` is None where the day of the first exposure is not known, or there was none.
    """

    counted: tuple[Counted, ...]
    left_out: tuple[tuple[Source, str], ...]
    person_days: int | None

    @property
    def undated(self) -> tuple[Counted, ...]:
        """Those that count though it is not known when they happened."""
        return tuple(one for one in self.counted if one.event.date is None)


def events(case: Case, exposed: Exposure) -> Events:
    """Every adverse event of the case, counted or left out. Reasons: `potential`, `entered_in_error`, `duplicate`, `before_first_exposure`."""
    zone, drug = ZoneInfo(case.timezone), study_drug(case)
    counted: list[Counted] = []
    left_out: list[tuple[Source, str]] = []
    for event in sorted(case.adverse_events, key=lambda one: one.source.place):
        reason = _left_out(event, exposed, zone)
        if reason is None and any(_same(event, other.event) for other in counted):
            reason = "duplicate"
        if reason is not None:
            left_out.append((event.source, reason))
        else:
            counted.append(Counted(event, term(event), is_related(event, drug), _within(event, case, exposed, zone)))
    return Events(tuple(counted), tuple(left_out), days_followed(case, exposed))


def term(event: AdverseEvent) -> str:
    """What the tables call the event, else its own words."""
    displays = (coding.display or coding.code for coding in event.event.codings)
    return event.event.variable or event.event.text or next((name for name in displays if name), "not coded")


def is_related(event: AdverseEvent, drug: str | None) -> bool | None:
    """Whether any judgement finds it at least possible that the drug caused it; None if nobody judged that drug."""
    judged = {
        one.variable for suspect in event.suspects if drug and suspect.drug == drug for one in suspect.relatedness
    }
    return bool(judged & _RELATED) if judged & (_RELATED | _UNRELATED) else None


def _left_out(event: AdverseEvent, exposed: Exposure, zone: tzinfo) -> str | None:
    if event.actuality == "potential":
        return "potential"
    if event.status == "entered-in-error":
        return "entered_in_error"
    first = exposed.first
    if first is None:
        return "no_exposure"
    before = on_or_before(event.date, first_day(first.span, zone) - timedelta(days=1), zone)
    return "before_first_exposure" if before else None


def _same(one: AdverseEvent, other: AdverseEvent) -> bool:
    names = [event.identifier for event in (one, other) if event.identifier and event.identifier.value]
    if len(names) == 2:
        return names[0] == names[1]
    unnamed = {"source": one.source, "identifier": None}
    return one.date is not None and replace(one, **unnamed) == replace(other, **unnamed)


def _within(event: AdverseEvent, case: Case, exposed: Exposure, zone: tzinfo) -> bool | None:
    end = end_of_follow_up(case, exposed)
    return on_or_before(event.date, end.day, zone) if end is not None else None
