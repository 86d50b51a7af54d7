"""How long a patient was followed and how long on the drug (R-FOLLOW-UP, version 1).

Inputs: the infusions of the study drug (R-EXP), the assessments that count by their status (R-BL), the death. Formula:
`follow_up_days` = last documented day - day of the first exposure. The last documented day is that of the last infusion or
accepted assessment whose day is known, and never after the day of death; a death known only to the month ends it with that
month. `days_on_drug` = day of the last exposure + 28 - day of the first: an infusion is taken to act for the four weeks of
the label (anifrolumab: 300 mg every 4 weeks, SmPC), but nobody is on the drug longer than observed, so it ends with
follow-up. Both are this project's decisions: the two case series state no end of follow-up. Nothing is configurable.
"""

from collections.abc import Iterator
from datetime import date, timedelta
from fractions import Fraction
from typing import NamedTuple
from zoneinfo import ZoneInfo

from msgspec.structs import replace

from dm_fhir.model.case import Case, Input, Outcome, Source
from dm_fhir.model.dates import day, first_day, last_day, span
from dm_fhir.outcomes.baseline import current
from dm_fhir.outcomes.exposure import Exposure

RULE, VERSION = "R-FOLLOW-UP", "1"
#: The label's interval: so long an infusion is taken to act.
LABEL_INTERVAL_DAYS = 28
#: What an outcome counted from the first exposure says where its day is not known.
NO_FIRST_DAY = ("first_day_unknown",)


class End(NamedTuple):
    """The last documented day, the records that show it, and whether the death was earlier than they say."""

    day: date
    sources: tuple[Source, ...]
    censored_at_death: bool


def end_of_follow_up(case: Case, exposed: Exposure) -> End | None:
    """The end of follow-up; None without an exposure, or if no day from then on is known."""
    zone = ZoneInfo(case.timezone)
    first = exposed.first
    if first is None:
        return None
    begun = first_day(first.span, zone)
    seen = [(one.day, source) for one in exposed.infusions if one.day for source in one.sources]
    seen += [(found, one.source) for one in current(case) if (found := _day(one.time, zone))]
    later = [(when, source) for when, source in seen if when >= begun]
    if not later:
        return None
    latest = max(when for when, _ in later)
    death = day_of_death(case)
    sources = tuple(sorted({source for when, source in later if when == latest}, key=lambda one: one.place))
    return End(max(begun, min(latest, death or latest)), sources, death is not None and death < latest)


def day_of_death(case: Case) -> date | None:
    """The last day on which the patient may have died; None if alive, or if the day is not documented."""
    subject = case.subject
    zone = ZoneInfo(case.timezone)
    try:
        return last_day(span((subject.deceased_at if subject else None) or "", zone), zone)
    except ValueError:
        return None


def days_followed(case: Case, exposed: Exposure) -> int | None:
    """Days from the first exposure to the end of follow-up, which is the person-time of a rate; None if it is not known."""
    first, end = exposed.first, end_of_follow_up(case, exposed)
    return (end.day - first.day).days if first and first.day and end else None


def variables() -> tuple[str, ...]:
    """What the outcomes of this rule are called."""
    return ("follow_up_days", "days_on_drug")


def outcomes(case: Case, exposed: Exposure) -> Iterator[Outcome]:
    """Length of follow-up and of exposure in days, 0 for one known day; None with `no_exposure` or `first_day_unknown`."""
    first, end = exposed.first, end_of_follow_up(case, exposed)
    followed, last = Outcome("follow_up_days", RULE, VERSION), Outcome("days_on_drug", RULE, VERSION)
    if first is None or first.day is None or end is None:
        reasons = ("no_exposure",) if first is None else NO_FIRST_DAY
        yield from (replace(one, reasons=reasons) for one in (followed, last))
        return
    start = tuple(Input("first_exposure", source) for source in first.sources[:1])
    undated = case.subject is not None and case.subject.deceased is True and day_of_death(case) is None
    flags = (*(("censored_at_death",) if end.censored_at_death else ()), *(("death_date_missing",) if undated else ()))
    yield replace(
        followed,
        number=Fraction((end.day - first.day).days),
        unit="d",
        when=end.day.isoformat(),
        flags=flags,
        inputs=(*start, *(Input("end_of_follow_up", source) for source in end.sources)),
    )
    latest = exposed.infusions[-1]
    if latest.day is None:
        yield replace(last, reasons=("last_day_unknown",))
        return
    covered = min(latest.day + timedelta(days=LABEL_INTERVAL_DAYS), end.day)
    yield replace(
        last,
        number=Fraction((covered - first.day).days),
        unit="d",
        when=covered.isoformat(),
        flags=flags,
        inputs=(*start, *(Input("last_exposure", source) for source in latest.sources[:1])),
    )


def _day(text: str | None, zone: ZoneInfo) -> date | None:
    try:
        return day(text, zone) if text else None
    except ValueError:
        return None
