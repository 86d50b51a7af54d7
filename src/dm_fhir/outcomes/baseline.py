"""Which assessment is the baseline, and which are follow-up (R-BL, R-VISIT).

Baseline: the last usable value at or before the start of the first exposure, at most 90 days back. Same day earlier
counts, same day later is follow-up. Partial dates are intervals and are never padded. A conflict at the latest time
blocks: an older value is not used in silence.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Literal, NamedTuple

from dm_fhir.model.case import Assessment, Case, Identifier, naming
from dm_fhir.model.dates import PRECISIONS, Span, first_day, last_day, span

LOOK_BACK_DAYS = 90
#: What counts, and of two copies of one result the higher. (`completed` is a QuestionnaireResponse's final.)
_STANDING = {"preliminary": 0, "final": 1, "completed": 1, "amended": 2, "corrected": 2}
ACCEPTED_STATUSES = ("final", "completed", "amended", "corrected")


class Dated(NamedTuple):
    """A usable assessment with the stretch of time it belongs to."""

    assessment: Assessment
    span: Span


class Sorted(NamedTuple):
    """Assessments of one variable, one per time and value; why the others are out, by reference.

    `conflicts` are values of equal rank that contradict each other.
    """

    usable: tuple[Dated, ...]
    conflicts: tuple[Dated, ...]
    excluded: dict[str, str]


class Baseline(NamedTuple):
    """The chosen assessment; or None with the reason. `excluded` says of every other one why it is not it."""

    chosen: Assessment | None
    reason: str | None
    flags: tuple[str, ...]
    excluded: dict[str, str]


def accepted_statuses(case: Case) -> tuple[str, ...]:
    """The statuses that count in this case; preliminary ones too where its site says so."""
    return statuses_that_count(preliminary=case.accepts_preliminary)


def statuses_that_count(*, preliminary: bool) -> tuple[str, ...]:
    """The statuses that count; preliminary results are taken only where a site's table says so."""
    return (*ACCEPTED_STATUSES, "preliminary") if preliminary else ACCEPTED_STATUSES


def current(case: Case) -> list[Assessment]:
    """The case's assessments that count, usable or not, without those that a copy of higher standing replaced."""
    accepted = accepted_statuses(case)
    counted = [one for one in case.assessments if one.status in accepted]
    highest: dict[Identifier, int] = {}
    for one in counted:
        for name in naming(one.identifiers):
            highest[name] = max(highest.get(name, 0), _standing(one))
    return [one for one in counted if all(highest[name] <= _standing(one) for name in naming(one.identifiers))]


def sort_out(assessments: Iterable[Assessment], zone: tzinfo, accepted: Collection[str] = ACCEPTED_STATUSES) -> Sorted:
    """Steps 1 and 2 of R-BL: statuses, missing values, amendments and duplicates. `accepted` are the statuses that count."""
    excluded: dict[str, str] = {}
    dated: list[Dated] = []
    for one in sorted(assessments, key=lambda a: a.source.place):
        reason, moment = _usable(one, zone, accepted)
        if moment is None:
            excluded[one.source.place] = reason
        else:
            dated.append(Dated(one, moment))
    survivors, twofold = _one_each(_by_identifier(dated), excluded)
    survivors, torn = _one_each(_by_specimen(survivors), excluded)
    survivors, contradictory = _one_each(_by_moment(survivors), excluded)
    return Sorted(tuple(survivors), (*twofold, *torn, *contradictory), excluded)


def of_variable(candidates: Sorted, variable: str) -> Sorted:
    """Of the sorted assessments those of one variable, as an instrument with two scales needs them."""

    def alike(dated: Sequence[Dated]) -> tuple[Dated, ...]:
        return tuple(one for one in dated if one.assessment.measured.concept.variable == variable)

    return Sorted(alike(candidates.usable), alike(candidates.conflicts), candidates.excluded)


def select_baseline(candidates: Sorted, first: Span, zone: tzinfo) -> Baseline:
    """Steps 3 to 7 of R-BL for an exposure that began at `first`. Days are those of `zone`.

    Reasons: `baseline_missing`, `conflict`. Flags: `partial_date`, `same_day_time_unknown`.
    """
    excluded = dict(candidates.excluded)
    inside: list[Dated] = []
    for one in (*candidates.usable, *candidates.conflicts):
        reason = _not_before(one.span, first, zone) or _outside_window(one.span, first, zone)
        if reason:
            excluded[one.assessment.source.place] = reason
        else:
            inside.append(one)
    if not inside:
        return Baseline(None, "baseline_missing", (), excluded)
    latest = _latest(inside, candidates.conflicts)
    blocked = latest in candidates.conflicts
    for one in inside:
        if one is not latest or blocked:
            excluded[one.assessment.source.place] = _passed_over(one, latest, candidates.conflicts)
    if blocked:
        return Baseline(None, "conflict", (), excluded)
    return Baseline(latest.assessment, None, _flags(latest.span, first, zone), excluded)


def follow_ups(candidates: Sorted, first: Span, zone: tzinfo) -> tuple[tuple[Dated, ...], tuple[Dated, ...]]:
    """The usable assessments after the first exposure, in order of time; and those that contradict each other there."""

    def after(dated: Sequence[Dated]) -> tuple[Dated, ...]:
        later = (one for one in dated if _not_before(one.span, first, zone) == "after_first_infusion")
        return tuple(sorted(later, key=lambda d: (d.span.start, d.span.end, d.assessment.source.place)))

    return after(candidates.usable), after(candidates.conflicts)


def side(one: Assessment, first: Span, zone: tzinfo) -> Literal["before", "after"] | None:
    """On which side of the first exposure an assessment lies, usable or not; None if its time does not tell."""
    try:
        verdict = _not_before(span(one.time or "", zone), first, zone)
    except ValueError:
        return None
    return "before" if verdict is None else "after" if verdict == "after_first_infusion" else None


def causes(reasons: Iterable[str]) -> tuple[str, ...]:
    """What disqualified the records that might have been the one that is missing, of the reasons why they were not it."""
    return tuple(sorted(set(reasons) - _NO_CAUSE))


_NO_CAUSE = {"", "after_first_infusion", "superseded", "duplicate", "not_latest", "less_precise", "blocked_by_conflict"}


def _usable(one: Assessment, zone: tzinfo, accepted: Collection[str]) -> tuple[str, Span | None]:
    if one.status not in accepted:
        return "status_excluded", None
    if one.measured.result.number is None:
        return one.measured.result.reason or "value_missing", None
    try:
        return "", span(one.time or "", zone)
    except ValueError:
        return "time_unreadable" if one.time else "time_missing", None


def _by_identifier(dated: Sequence[Dated]) -> list[list[Dated]]:
    """Copies of one result: those that share a business identifier, directly or through a third."""
    copies: dict[object, dict[str, Dated]] = {}
    for one in dated:
        names: frozenset[object] = naming(one.assessment.identifiers) or frozenset({one.assessment.source.place})
        together = {one.assessment.source.place: one}
        for name in names:
            together |= copies.get(name, {})
        for member in together.values():
            copies.update(dict.fromkeys((*names, *naming(member.assessment.identifiers)), together))
    distinct = {id(together): together for together in copies.values()}
    return [[together[place] for place in sorted(together)] for together in distinct.values()]


def _by_specimen(dated: Sequence[Dated]) -> list[list[Dated]]:
    """What was measured at the same time in the same specimen; what names none stands alone."""
    groups: dict[object, list[Dated]] = defaultdict(list)
    for one in dated:
        specimen = one.assessment.specimen
        alone = one.assessment.source.place if specimen is None else None
        groups[one.assessment.measured.concept.variable, one.span, specimen, alone].append(one)
    return list(groups.values())


def _by_moment(dated: Sequence[Dated]) -> list[list[Dated]]:
    """What was measured at the same time on the same scale."""
    groups: dict[object, list[Dated]] = defaultdict(list)
    for one in dated:
        groups[one.assessment.measured.concept.variable, one.span].append(one)
    return list(groups.values())


def _one_each(groups: Iterable[Sequence[Dated]], excluded: dict[str, str]) -> tuple[list[Dated], list[Dated]]:
    """The best of each group by status, time issued and time stored; members of equal rank that differ are a conflict."""
    kept: list[Dated] = []
    conflicts: list[Dated] = []
    for group in groups:
        if len(group) == 1:
            kept.append(group[0])
            continue
        best = max(map(_rank, group)) if _comparable(group) else None
        top = [one for one in group if best is None or _rank(one) == best]
        excluded.update((one.assessment.source.place, "superseded") for one in group if one not in top)
        if len({(one.assessment.measured.result.number, one.assessment.measured.result.bound) for one in top}) > 1:
            excluded.update((one.assessment.source.place, "conflict") for one in top)
            conflicts += top
        else:
            kept.append(top[0])
            excluded.update((one.assessment.source.place, "duplicate") for one in top[1:])
    return kept, conflicts


def _comparable(group: Sequence[Dated]) -> bool:
    """Whether one may supersede another: not if each has identifiers or a specimen of its own, they are different results."""
    if len({one.assessment.specimen for one in group} - {None}) > 1:
        return False
    names = [naming(one.assessment.identifiers) for one in group]
    return not all(names) or sum(map(len, names)) > len(frozenset[Identifier]().union(*names))


def _standing(one: Assessment) -> int:
    return _STANDING.get(one.status or "", 0)


def _rank(one: Dated) -> tuple[int, datetime, datetime]:
    return _standing(one.assessment), _instant(one.assessment.issued), _instant(one.assessment.source.last_updated)


def _instant(text: str | None) -> datetime:
    """When it was; what is missing or cannot be read sorts first."""
    try:
        return span(text or "", UTC).start
    except ValueError:
        return datetime.min.replace(tzinfo=UTC)


def _not_before(moment: Span, first: Span, zone: tzinfo) -> str | None:
    """None if `moment` counts as at or before the first exposure; else `after_first_infusion` or `order_unknown`."""
    if moment.precision == first.precision == "time":
        return None if moment.start <= first.start else "after_first_infusion"
    if moment.precision in _DAYS and first.precision in _DAYS:
        return None if first_day(moment, zone) <= first_day(first, zone) else "after_first_infusion"
    if last_day(moment, zone) < first_day(first, zone):
        return None
    return "after_first_infusion" if first_day(moment, zone) > last_day(first, zone) else "order_unknown"


_DAYS = ("day", "time")


def _outside_window(moment: Span, first: Span, zone: tzinfo) -> str | None:
    opens_first, opens_last = (
        d - timedelta(days=LOOK_BACK_DAYS) for d in (first_day(first, zone), last_day(first, zone))
    )
    if first_day(moment, zone) >= opens_last:
        return None
    return "outside_window" if last_day(moment, zone) < opens_first else "window_unknown"


def _latest(inside: Sequence[Dated], conflicts: Sequence[Dated]) -> Dated:
    """Of those that none is surely later than, the most precise; at one moment a conflict outweighs a single value."""
    unbeaten = [one for one in inside if not any(one.span.surely_before(other.span) for other in inside)]

    def weight(one: Dated) -> tuple[int, datetime, bool, str]:
        return PRECISIONS.index(one.span.precision), one.span.start, one in conflicts, one.assessment.source.place

    return max(unbeaten, key=weight)


def _passed_over(one: Dated, latest: Dated, conflicts: Sequence[Dated]) -> str:
    if latest in conflicts:
        return "conflict" if one in conflicts and one.span == latest.span else "blocked_by_conflict"
    return "not_latest" if one.span.surely_before(latest.span) else "less_precise"


def _flags(moment: Span, first: Span, zone: tzinfo) -> tuple[str, ...]:
    if moment.precision not in _DAYS:
        return ("partial_date",)
    same_day = first_day(moment, zone) == first_day(first, zone)
    times_known = moment.precision == first.precision == "time"
    return ("same_day_time_unknown",) if same_day and not times_known else ()
