"""Exposure to the study drug: infusions, doses, dates, intervals (R-EXP).

Only an administration that was completed counts as an infusion and takes the next ordinal. One that was stopped is
partial: it starts exposure but takes no ordinal. not-done is a missed dose. Orders never count (HL7 Vulcan RWD calls
the administration the definitive record). Label of anifrolumab: 300 mg every 4 weeks, at least 14 days apart (SmPC).
"""

from collections.abc import Iterable, Sequence
from datetime import date, timedelta, tzinfo
from fractions import Fraction
from typing import NamedTuple

from dm_fhir.model.case import Administration, Source, naming
from dm_fhir.model.dates import Span, day, span

RULE, VERSION = "R-EXP", "1"
SHORTEST_INTERVAL_DAYS = 14
SCHEDULED_INTERVAL_DAYS = (21, 35)  # 28 +- 7, both ends included
INTERVAL_CLASSES = ("below_label_minimum", "early", "on_schedule", "late", "unknown")
_TAKEN = ("completed", "stopped")


class Infusion(NamedTuple):
    """One infusion, its bags merged. `ordinal` is None for a partial one, `dose_mg` None if it cannot be known."""

    start: str
    span: Span
    day: date | None
    dose_mg: Fraction | None
    ordinal: int | None
    interval_days: int | None
    sources: tuple[Source, ...]


class Exposure(NamedTuple):
    """All of a patient's exposure, infusions in order of time."""

    infusions: tuple[Infusion, ...]
    missed: tuple[Administration, ...]
    not_counted: tuple[Administration, ...]
    dropped: tuple[Administration, ...]
    flags: tuple[str, ...]

    @property
    def completed(self) -> tuple[Infusion, ...]:
        """The infusions that took an ordinal."""
        return tuple(infusion for infusion in self.infusions if infusion.ordinal is not None)

    @property
    def partial(self) -> tuple[Infusion, ...]:
        """The infusions that were begun and stopped."""
        return tuple(infusion for infusion in self.infusions if infusion.ordinal is None)

    @property
    def first(self) -> Infusion | None:
        """The first exposure; everything after it is no baseline. None if there was none."""
        return self.infusions[0] if self.infusions else None


class _Given(NamedTuple):
    record: Administration
    start: str
    span: Span
    status: str


class _Pile(NamedTuple):
    """Administrations by what they count as."""

    taken: list[_Given]
    missed: list[Administration]
    not_counted: list[Administration]
    dropped: list[Administration]
    flags: set[str]


def exposure(
    administrations: Iterable[Administration], zone: tzinfo, label_dose_mg: Fraction | None = None
) -> Exposure:
    """Every administration accounted for: an infusion, missed, not counted or dropped. Days are those of `zone`.

    `label_dose_mg` is the drug's usual dose; a completed infusion below it is flagged `below_label_dose`.
    """
    pile = _Pile([], [], [], [], set())
    for record in sorted(administrations, key=lambda record: record.source.reference):
        _sort_in(record, pile, zone)
    kept, duplicates, suspected = _without_duplicates(sorted(pile.taken, key=lambda given: given.span.start))
    groups = _bags(kept, zone)
    infusions = _infusions(groups, zone)
    flags = pile.flags | _flags(infusions, label_dose_mg)
    flags.update(["duplicate_suspected"] if suspected else [])
    flags.update(["merged_same_day"] if any(map(_merged_by_day, groups)) else [])
    return Exposure(
        infusions, tuple(pile.missed), tuple(pile.not_counted), (*pile.dropped, *duplicates), tuple(sorted(flags))
    )


def status_of(record: Administration) -> str:
    """What happened: what the dosage method says where a table gives it a meaning, else the status.

    Hospitals exist that record `completed` and say "Not Given" in the method. A status that says it was not given, or
    that the record is an error, always stands: no method makes an infusion of it.
    """
    status = record.status or "unknown"
    return status if status in ("entered-in-error", "not-done") else record.method_status or status


def interval_class(days: int) -> str:
    """How an interval to the previous infusion relates to the label's four weeks."""
    if days < SHORTEST_INTERVAL_DAYS:
        return "below_label_minimum"
    first, last = SCHEDULED_INTERVAL_DAYS
    return "early" if days < first else "on_schedule" if days <= last else "late"


def intervals(exposed: Exposure) -> dict[str, int]:
    """How many intervals of each class there were; those of which a day is not known are "unknown"."""
    found = dict.fromkeys(INTERVAL_CLASSES, 0)
    for infusion in exposed.infusions[1:]:
        days = infusion.interval_days
        found[interval_class(days) if days is not None else "unknown"] += 1
    return found


def infusions_before(exposed: Exposure, moment: Span) -> int:
    """Completed infusions before an assessment; where only the day is known, its infusion counts as after (R-BL)."""
    return sum(1 for infusion in exposed.completed if infusion.span.surely_before(moment))


def _sort_in(record: Administration, pile: _Pile, zone: tzinfo) -> None:
    status = status_of(record)
    if status == "entered-in-error":
        pile.dropped.append(record)
    elif status == "not-done":
        pile.missed.append(record)
    elif status not in _TAKEN:
        pile.not_counted.append(record)
    else:
        _take(record, status, pile, zone)


def _take(record: Administration, status: str, pile: _Pile, zone: tzinfo) -> None:
    start = record.when or (record.during.start if record.during else None)
    try:
        pile.taken.append(_Given(record, start or "", span(start or "", zone), status))
        pile.flags.update(record.flags)
    except ValueError:
        pile.not_counted.append(record)
        pile.flags.add("time_unreadable" if start else "time_missing")


def _without_duplicates(given: Sequence[_Given]) -> tuple[list[_Given], list[Administration], bool]:
    """The first of each administration, the copies, and whether start and dose had to tell that they are copies."""
    kept: list[_Given] = []
    dropped: list[Administration] = []
    suspected = False
    for one in given:
        verdicts = {_same(one, other) for other in kept} - {None}
        if not verdicts:
            kept.append(one)
            continue
        dropped.append(one.record)
        suspected |= "identifier" not in verdicts
    return kept, dropped, suspected


def _same(one: _Given, other: _Given) -> str | None:
    """What shows that two records are one administration: the identifier; where one has none, start and dose."""
    names, others = naming(one.record.identifiers), naming(other.record.identifiers)
    if names and others:
        return "identifier" if names & others else None
    same_dose = one.record.dose_mg is not None and one.record.dose_mg == other.record.dose_mg
    return "start and dose" if same_dose and one.span == other.span and _whole(one) == _whole(other) else None


def _whole(one: _Given) -> frozenset[str]:
    """The procedures that the administration is a part of."""
    return frozenset(part for part in one.record.part_of if part)


def _bags(given: Sequence[_Given], zone: tzinfo) -> list[list[_Given]]:
    """The bags of each infusion, in order of time."""
    groups: list[list[_Given]] = []
    for one in given:
        group = next((group for group in groups if any(_one_infusion(one, other, zone) for other in group)), None)
        if group is None:
            groups.append([one])
        else:
            group.append(one)
    return groups


def _one_infusion(one: _Given, other: _Given, zone: tzinfo) -> bool:
    """Whether two bags are of one infusion: given on one day, or parts of one procedure, which may pass midnight."""
    this, that = day(one.start, zone), day(other.start, zone)
    if this is None or that is None:
        return False
    # A procedure may also stand for the whole course of treatment: then its parts lie weeks apart.
    return this == that or (abs(this - that) <= timedelta(days=1) and bool(_whole(one) & _whole(other)))


def _merged_by_day(group: Sequence[_Given]) -> bool:
    """Whether only the day shows that these bags belong together."""
    return not frozenset.intersection(*map(_whole, group)) if len(group) > 1 else False


def _infusions(groups: Iterable[Sequence[_Given]], zone: tzinfo) -> tuple[Infusion, ...]:
    infusions: list[Infusion] = []
    ordinal = 0
    for group in groups:
        completed = any(one.status == "completed" for one in group)
        ordinal += completed
        infusions.append(_infusion(group, ordinal if completed else None, infusions[-1] if infusions else None, zone))
    return tuple(infusions)


def _infusion(group: Sequence[_Given], ordinal: int | None, before: Infusion | None, zone: tzinfo) -> Infusion:
    doses = [one.record.dose_mg for one in group]
    this_day = day(group[0].start, zone)
    interval = (this_day - before.day).days if before and before.day and this_day else None
    return Infusion(
        start=group[0].start,
        span=group[0].span,
        day=this_day,
        dose_mg=None if None in doses else sum((dose for dose in doses if dose is not None), Fraction(0)),
        ordinal=ordinal,
        interval_days=interval,
        sources=tuple(one.record.source for one in group),
    )


def _flags(infusions: Sequence[Infusion], label_dose_mg: Fraction | None) -> set[str]:
    flags = set()
    if infusions and infusions[0].ordinal is None:
        flags.add("first_exposure_partial")
    if any(i.interval_days is not None and i.interval_days < SHORTEST_INTERVAL_DAYS for i in infusions):
        flags.add("interval_below_14_days")
    full = [infusion.dose_mg for infusion in infusions if infusion.ordinal and infusion.dose_mg is not None]
    if label_dose_mg is not None and any(dose < label_dose_mg for dose in full):
        flags.add("below_label_dose")
    return flags
