"""Glucocorticoids over time: mg of prednisone-equivalent a day, baseline and what became of it (R-GC-COURSE, version 1).

Inputs: every record of a systemic glucocorticoid (R-GC). A day is known inside the sure dates of a record with a dose, and
after an explicit stop (status stopped or completed, with an end) until the next record of any glucocorticoid: then it is
0. A record that merely runs out leaves the days after it unknown, and so do an order without an end and a record without
a start. An active statement without an end goes on. Formula: different drugs add up; of one drug administrations are
believed before statements before orders; those of one day add up, and so do statements or orders that began together.
Two that run side by side and did not begin together may be a renewal or a dose on top: unknown. A pulse (R-GC) and a depot
injection are not in the daily dose. Baseline = mean of the days -28 to -1 before the first exposure, only if all 28 are
known. Follow-up = the dose in force on the follow-up day. Status: `discontinued` is 0 mg with evidence on 28 consecutive days up to the follow-up day; else
`tapered` below the baseline, `unchanged`, `increased`; `none_at_baseline` and `started` where the baseline is 0.
Thresholds, all inclusive: reduction by 25 % or 50 %, dose of 7.5 or 5 mg a day or less. Above 200 mg a day is flagged.
All are this project's decisions (no consensus definition was found; PRINTO's proposal: PMC6530070).
Configurable: `prednisone_factors`.
"""

from collections.abc import Iterable, Iterator, Sequence
from datetime import date, timedelta
from fractions import Fraction
from itertools import groupby, pairwise
from typing import NamedTuple

from dm_fhir.model.case import Case, Source
from dm_fhir.model.definitions import Definitions
from dm_fhir.outcomes.glucocorticoid_records import PULSE_MG, Records, Said, records

RULE, VERSION = "R-GC-COURSE", "1"
BASELINE_DAYS = 28
ZERO_DAYS = 28
IMPLAUSIBLE_MG = 200
_DAY = timedelta(days=1)


class Dose(NamedTuple):
    """What one record adds to a day: mg of its drug, and the factor that makes prednisone of it."""

    drug: str
    mg_per_day: Fraction
    factor: Fraction
    source: Source


class Stretch(NamedTuple):
    """Consecutive days, both ends included, that are all alike.

    `mg_per_day` is in mg of prednisone-equivalent; None where it is not known, with `reasons`. Where it is 0, `doses` is
    empty or of 0 mg, and `evidence` are the records that say so. `pulse_mg` is mg of prednisone-equivalent given as a pulse
    on each of the days beside that; 0 for none.
    """

    first: date
    last: date
    mg_per_day: Fraction | None
    doses: tuple[Dose, ...] = ()
    evidence: tuple[Source, ...] = ()
    reasons: tuple[str, ...] = ()
    pulse_mg: Fraction = Fraction(0)

    @property
    def days(self) -> int:
        """How many days."""
        return (self.last - self.first).days + 1


class Course(NamedTuple):
    """The daily dose over time, in stretches that follow each other without a gap; and the records it rests on."""

    stretches: tuple[Stretch, ...]
    records: Records

    def on(self, day: date) -> Stretch | None:
        """The stretch that holds the day; None outside the course."""
        return next((one for one in self.stretches if one.first <= day <= one.last), None)

    def between(self, first: date, last: date) -> tuple[Stretch, ...]:
        """The part of the course from the first to the last day, both included."""
        inside = (one for one in self.stretches if one.last >= first and one.first <= last)
        return tuple(one._replace(first=max(one.first, first), last=min(one.last, last)) for one in inside)


class Status(NamedTuple):
    """What became of the dose; `answer` is None where it is not known. `reduction_percent` is None for a baseline of 0."""

    answer: str | None
    reduction_percent: Fraction | None
    verdicts: dict[str, str]


def course(case: Case, first: date, last: date, definitions: Definitions) -> Course:
    """The course from the first to the last day, both included. Days before the first record are not documented."""
    found = records(case, definitions)
    return Course(tuple(_merged(_stretches(found.said, first, last))), found)


def since(found: Records, day: date) -> date:
    """The first day of which a record tells, at the latest `day`."""
    return min([day, *(one.may_from for one in found.said if one.may_from != date.min)])


def baseline_of(whole: Course, day_0: date) -> tuple[Fraction | None, int]:
    """The mean mg a day over the 28 days before `day_0`, None if one is not known; and how many of them are known."""
    window = whole.between(day_0 - timedelta(days=BASELINE_DAYS), day_0 - _DAY)
    known = [(one.mg_per_day, one.days) for one in window if one.mg_per_day is not None]
    covered = sum(days for _, days in known)
    total = sum((mg * days for mg, days in known), Fraction(0))
    return (total / BASELINE_DAYS if covered == BASELINE_DAYS else None), covered


def days_at_zero(whole: Course, day: date) -> int | None:
    """How many consecutive days up to `day`, which counts, are documented as 0 mg; None where the day itself is not known."""
    until = [one for one in whole.stretches if one.first <= day]
    if not until or until[-1].last < day or until[-1].mg_per_day is None:
        return None
    run = 0
    for one in reversed(until):
        if one.mg_per_day != 0:
            break
        run += (min(one.last, day) - one.first).days + 1
    return run


def status(baseline: Fraction | None, followup: Fraction | None, zero_days: int | None) -> Status:
    """What became of the dose between baseline and follow-up day, with the secondary verdicts, "yes" or "no"."""
    if baseline is None or followup is None:
        return Status(None, None, {})
    if baseline == 0:
        return Status("started" if followup > 0 else "none_at_baseline", None, {})
    reduction = 100 * (baseline - followup) / baseline
    verdicts = {
        "ge_25": reduction >= 25,
        "ge_50": reduction >= 50,
        "le_7_5": followup <= Fraction(15, 2),
        "le_5": followup <= 5,
    }
    answer = "tapered" if followup < baseline else "unchanged" if followup == baseline else "increased"
    if followup == 0 and (zero_days or 0) >= ZERO_DAYS:
        answer = "discontinued"
    return Status(answer, reduction, {name: "yes" if met else "no" for name, met in verdicts.items()})


def _stretches(said: Sequence[Said], first: date, last: date) -> Iterator[Stretch]:
    """From one day on which anything changes to the next."""
    waiting = sorted(said, key=lambda one: (one.may_from, one.source.place, one.drug))
    current: list[Said] = []
    over: list[Said] = []  # those that end on the latest day on which any ended
    for begin, after in pairwise(_changes(said, first, last)):
        while waiting and waiting[0].may_from <= begin:
            current.append(waiting.pop(0))
        ended = [one for one in current if one.may_to < begin]
        current = [one for one in current if one.may_to >= begin]
        latest = max((one.may_to for one in (*ended, *over)), default=date.min)
        over = [one for one in (*ended, *over) if one.may_to == latest]
        yield _stretch(begin, after - _DAY, current, over)


def _changes(said: Iterable[Said], first: date, last: date) -> list[date]:
    """The days on which something may begin, and those after something may have ended; and the bounds of the course."""
    end = last + _DAY
    days = {first, end}
    for one in said:
        days.update((one.may_from, one.sure_from))
        days.update(day + _DAY for day in (one.sure_to, one.may_to) if day != date.max)
    return sorted(day for day in days if first <= day <= end)


def _stretch(first: date, last: date, current: Sequence[Said], over: Sequence[Said]) -> Stretch:
    pulsing = _pulse(current, first)
    rest = [one for one in current if not (pulsing and one.may_pulse)]
    pulse_mg = sum((_equivalent(one) or Fraction(0) for one in pulsing), Fraction(0))
    if not rest:
        if pulsing:
            return Stretch(first, last, None, reasons=("pulse_reported_separately",), pulse_mg=pulse_mg)
        if over and all(one.stopped for one in over):
            return Stretch(first, last, Fraction(0), evidence=_sources(over))
        return Stretch(first, last, None, reasons=("not_documented",))
    chosen: list[Said] = []
    reasons: list[str] = []
    for drug in sorted({one.drug for one in rest}):
        believed, why = _of_drug([one for one in rest if one.drug == drug], first)
        chosen += believed
        reasons += why
    if reasons:
        return Stretch(
            first, last, None, reasons=tuple(dict.fromkeys(reasons)), evidence=_sources(rest), pulse_mg=pulse_mg
        )
    doses = [
        Dose(one.drug, one.mg_per_day, one.factor if one.factor is not None else Fraction(0), one.source)
        for one in chosen
        if one.mg_per_day is not None
    ]
    mg = sum((one.mg_per_day * one.factor for one in doses), Fraction(0))
    return Stretch(first, last, mg, tuple(doses), _sources(chosen), pulse_mg=pulse_mg)


def _pulse(current: Sequence[Said], day: date) -> list[Said]:
    """The intravenous methylprednisolone of the day, if it is a pulse."""
    intravenous = [one for one in current if one.may_pulse and one.is_sure(day) and one.mg_per_day is not None]
    kind = min((one.kind for one in intravenous), default=None)
    given = [one for one in intravenous if one.kind == kind]
    return given if sum((one.mg_per_day or Fraction(0) for one in given), Fraction(0)) >= PULSE_MG else []


def _of_drug(said: Sequence[Said], day: date) -> tuple[list[Said], list[str]]:
    """The records of one drug that are believed on the day; or why its dose is not known."""
    reasons: list[str] = []
    for kind in sorted({one.kind for one in said}):
        found = sorted((one for one in said if one.kind == kind), key=lambda one: (one.source.place, one.sure_from))
        sure = [one for one in found if one.is_sure(day)]
        # What may have ended counts no longer once the next record of the drug has begun.
        unsure = [one for one in found if one not in sure and not _is_followed(one, sure, day)]
        why = [one.reason or f"partial_date:{one.drug}" for one in unsure]
        why += [one.reason or f"dose_missing:{one.drug}" for one in sure if one.mg_per_day is None]
        why += [f"no_factor:{one.drug}" for one in sure if one.factor is None and one.mg_per_day != 0]
        if _overlap(sure):
            why.append(f"overlap_unclear:{sure[0].drug}")
        if not why:
            return sure, []
        reasons += why
    return [], reasons


def _overlap(sure: Iterable[Said]) -> bool:
    """Whether records of one drug run side by side that did not begin together: a renewal, or a dose on top?"""
    begun = {one.source.reference: one.sure_from for one in sure}
    return len(set(begun.values())) > 1


def _is_followed(one: Said, sure: Iterable[Said], day: date) -> bool:
    return one.sure_from <= day and any(other.sure_from > one.sure_from for other in sure)


def _equivalent(one: Said) -> Fraction | None:
    return one.mg_per_day * one.factor if one.mg_per_day is not None and one.factor is not None else None


def _sources(said: Iterable[Said]) -> tuple[Source, ...]:
    found = {one.source.place: one.source for one in said}
    return tuple(found[place] for place in sorted(found))


def _merged(stretches: Iterable[Stretch]) -> Iterator[Stretch]:
    """Neighbours that say the same of the same records are one."""
    for _, alike in groupby(stretches, key=lambda one: one[2:]):
        group = list(alike)
        yield group[0]._replace(last=group[-1].last)
