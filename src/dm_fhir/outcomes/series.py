"""What one instrument measured in one case, sorted by the first exposure: its baselines, follow-ups, and visits."""

from collections.abc import Iterable
from datetime import date
from typing import NamedTuple

from dm_fhir.model.case import Assessment
from dm_fhir.model.dates import Span
from dm_fhir.model.definitions import Definitions
from dm_fhir.outcomes import baseline, cdasi
from dm_fhir.outcomes.activity_from_total import from_totals
from dm_fhir.outcomes.baseline import Baseline, Dated, Sorted
from dm_fhir.outcomes.change import Instrument
from dm_fhir.outcomes.measured import Records
from dm_fhir.outcomes.visits import standing

_NO_CAUSE = {"", "after_first_infusion", "superseded", "duplicate", "not_latest", "less_precise", "blocked_by_conflict"}


class Candidates(NamedTuple):
    """Everything that an instrument measured in a case, and which of it is usable (R-BL, steps 1 and 2).

    `damages` are what was subtracted from a CDASI total to have the activity, by the place of the total.
    """

    measured: list[Assessment]
    sorted: Sorted
    damages: dict[str, Assessment]


class Series(NamedTuple):
    """An instrument's assessments on either side of the first exposure.

    `starts` is the baseline on each of its scales, `start` the one on whichever scale was latest. `visits` names the visit
    that a follow-up stands for, by its place. `no_baseline` and `no_follow_up` are the reasons to give where there is none.
    """

    instrument: Instrument
    starts: dict[str, Baseline]
    start: Baseline
    later: tuple[Dated, ...]
    contradictory: tuple[Dated, ...]
    visits: dict[str, str]
    damages: dict[str, Assessment]
    no_baseline: tuple[str, ...]
    no_follow_up: tuple[str, ...]


def candidates(instrument: Instrument, records: Records, definitions: Definitions) -> Candidates:
    """The instrument's assessments. CDASI activity may be reckoned from a total where the study takes it so."""
    measured, damages = records.of(instrument.variables), {}
    if instrument.name == cdasi.INSTRUMENT.name and definitions.activity_from_total:
        reckoned = from_totals(records)
        measured, damages = [*measured, *reckoned.activities], reckoned.damages
    return Candidates(measured, baseline.sort_out(measured, records.zone, records.accepted), damages)


def starts_of(instrument: Instrument, found: Sorted, first: Span, records: Records) -> dict[str, Baseline]:
    """The baseline on each scale of an instrument."""
    if len(instrument.variables) == 1:
        return {instrument.variables[0]: baseline.select_baseline(found, first, records.zone)}
    return {
        name: baseline.select_baseline(baseline.of_variable(found, name), first, records.zone)
        for name in instrument.variables
    }


def series_of(
    instrument: Instrument, records: Records, first: Span, day_0: date | None, definitions: Definitions
) -> Series:
    """The instrument's series for an exposure that began at `first`; `day_0` is the day of that, None if it is not known."""
    measured, found, damages = candidates(instrument, records, definitions)
    starts = starts_of(instrument, found, first, records)
    several = len(starts) > 1
    start = baseline.select_baseline(found, first, records.zone) if several else starts[instrument.variables[0]]
    later, contradictory = baseline.follow_ups(found, first, records.zone)
    no_baseline: tuple[str, ...] = ()
    if start.reason == "conflict":
        no_baseline = ("conflict",)
    elif start.chosen is None:
        no_baseline = _missing("baseline_missing", "before", start, measured, instrument, records, first)
    no_follow_up: tuple[str, ...] = ()
    if not later and not contradictory:
        no_follow_up = _missing("followup_missing", "after", start, measured, instrument, records, first)
    visits = _visits(later, day_0, definitions, records) if day_0 is not None else {}
    return Series(instrument, starts, start, later, contradictory, visits, damages, no_baseline, no_follow_up)


def _visits(later: Iterable[Dated], day_0: date, definitions: Definitions, records: Records) -> dict[str, str]:
    """The follow-ups that stand for a visit (R-VISIT), on each scale by itself; a conflict stands for none."""
    by_variable: dict[str | None, list[Dated]] = {}
    for one in later:
        by_variable.setdefault(one.assessment.measured.concept.variable, []).append(one)
    found: dict[str, str] = {}
    for some in by_variable.values():
        found |= standing(some, definitions.visits, day_0, records.zone)
    return found


def _missing(
    reason: str,
    side: str,
    start: Baseline,
    measured: Iterable[Assessment],
    instrument: Instrument,
    records: Records,
    first: Span,
) -> tuple[str, ...]:
    """Why there is nothing on one side of the first exposure: what disqualified the records that might have served."""
    elsewhere = "after" if side == "before" else "before"
    served = [one.source.place for one in measured if baseline.side(one, first, records.zone) != elsewhere]
    causes = sorted({start.excluded.get(place, "") for place in served} - _NO_CAUSE)
    only_total = instrument.name == cdasi.INSTRUMENT.name and _has_total(side, measured, records, first)
    return (reason, *causes, *(("total_is_not_activity",) if only_total else ()))


def _has_total(side: str, measured: Iterable[Assessment], records: Records, first: Span) -> bool:
    """Whether a CDASI total, of which no activity could be had, stands on that side."""
    reckoned = {one.source.place for one in measured}
    totals = [one for one in records.of((cdasi.TOTAL,)) if one.source.place not in reckoned]
    found = baseline.sort_out(totals, records.zone, records.accepted)
    if side == "before":
        return baseline.select_baseline(found, first, records.zone).chosen is not None
    return bool(baseline.follow_ups(found, first, records.zone)[0])
