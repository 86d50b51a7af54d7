"""All outcomes of one case: each instrument at baseline and at every follow-up, and the exposure."""

from collections.abc import Iterator, Sequence
from fractions import Fraction
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from msgspec.structs import replace

from dm_fhir.model.case import Assessment, Case, Identifier, Input, Measured, Outcome, Source
from dm_fhir.model.dates import Span
from dm_fhir.model.definitions import Definitions
from dm_fhir.model.exact import to_text
from dm_fhir.outcomes import (
    baseline,
    cdasi,
    ck,
    discontinuation,
    dlqi,
    exposure,
    follow_up,
    glucocorticoid_outcomes,
    mmt8,
    other_therapies,
)
from dm_fhir.outcomes.baseline import Baseline, Dated
from dm_fhir.outcomes.change import Instrument, improvement, percent_improvement
from dm_fhir.outcomes.exposure import Exposure, Infusion

INSTRUMENTS = (cdasi.INSTRUMENT, mmt8.INSTRUMENT, dlqi.INSTRUMENT, ck.INSTRUMENT)
#: Raised whenever a rule changes what it yields for the same records; a new version re-computes every case.
VERSION = "3"
DEFAULTS = Definitions()
#: What an instrument's outcomes are called after its variable.
PARTS = ("baseline", "improvement", "percent_improvement")
_EXPOSURE = ("infusions_completed", "cumulative_dose_mg", "first_exposure", "last_exposure", "infusion_dose_mg")


def variables() -> tuple[str, ...]:
    """Every variable that an outcome can have."""
    followed = [name for one in INSTRUMENTS for name in dict.fromkeys((one.name, *one.variables))]
    courses = (*follow_up.variables(), *discontinuation.variables(), *glucocorticoid_outcomes.variables())
    changes = other_therapies.variables()
    return (*_EXPOSURE, *(f"{name}_{part}" for name in followed for part in PARTS), *courses, *changes)


def outcomes(
    case: Case, label_dose_mg: Fraction | None = None, definitions: Definitions = DEFAULTS
) -> tuple[Outcome, ...]:
    """Every outcome of `case`, in a fixed order. Those that cannot be computed are there with their reasons."""
    exposed = exposure_of(case, label_dose_mg)
    changes = [outcome for instrument in INSTRUMENTS for outcome in _instrument(instrument, case, exposed)]
    return (
        *_exposure(exposed),
        *changes,
        *follow_up.outcomes(case, exposed),
        *discontinuation.outcomes(case, exposed),
        *glucocorticoid_outcomes.outcomes(case, exposed, definitions),
        *other_therapies.outcomes(case, exposed, definitions),
    )


def exposure_of(case: Case, label_dose_mg: Fraction | None = None) -> Exposure:
    """The case's exposure to the study drug."""
    return exposure.exposure(case.administrations, ZoneInfo(case.timezone), label_dose_mg)


def measured_as(case: Case, variables: Sequence[str]) -> list[Assessment]:
    """The case's assessments of these variables; a part of a panel stands alone, under the panel's time and status."""
    return [
        one
        for assessment in case.assessments
        for one in _parts(assessment)
        if one.measured.concept.variable in variables
    ]


def _parts(assessment: Assessment) -> Iterator[Assessment]:
    yield assessment
    for index, component in enumerate(assessment.components):
        yield _part(assessment, component, assessment.source_of(index))


def _part(panel: Assessment, component: Measured, source: Source) -> Assessment:
    # A copy of the panel, such as its amendment, has a copy of the part: the part is known by both names.
    names = tuple(
        Identifier(one.system, f"{one.value}#{component.concept.variable}") for one in panel.identifiers if one.value
    )
    return replace(panel, source=source, measured=component, components=(), identifiers=names)


class _Series(NamedTuple):
    """What one instrument measured in one case, sorted by the first exposure.

    `starts` is the baseline on each of the instrument's scales, `start` the one on whichever scale was latest.
    `no_baseline` and `no_follow_up` are the reasons to give where there is none.
    """

    instrument: Instrument
    starts: dict[str, Baseline]
    start: Baseline
    later: tuple[Dated, ...]
    contradictory: tuple[Dated, ...]
    no_baseline: tuple[str, ...]
    no_follow_up: tuple[str, ...]


def _instrument(instrument: Instrument, case: Case, exposed: Exposure) -> list[Outcome]:
    if exposed.first is None:
        return [_outcome(instrument, instrument.name, "baseline", reasons=("no_exposure",))]
    series = _series(instrument, case, exposed.first.span)
    changes = [outcome for seen in series.later for outcome in _changes(series, seen)]
    conflicts = [outcome for one in series.contradictory for outcome in _conflict(instrument, one.assessment)]
    return [*_baselines(series, exposed.first), *((*changes, *conflicts) or _no_follow_up(series))]


def _series(instrument: Instrument, case: Case, first: Span) -> _Series:
    zone = ZoneInfo(case.timezone)
    measured = measured_as(case, instrument.variables)
    candidates = baseline.sort_out(measured, zone, baseline.accepted_statuses(case))
    start = baseline.select_baseline(candidates, first, zone)
    before = [one.source.place for one in measured if baseline.side(one, first, zone) != "after"]
    after = [one.source.place for one in measured if baseline.side(one, first, zone) != "before"]
    instead_before, instead_after = _total_instead(instrument, case, first)
    missing = ("baseline_missing", *_causes(start, before), *instead_before)
    later, contradictory = baseline.follow_ups(candidates, first, zone)
    return _Series(
        instrument=instrument,
        starts={
            v: baseline.select_baseline(baseline.of_variable(candidates, v), first, zone) for v in instrument.variables
        },
        start=start,
        later=later,
        contradictory=contradictory,
        no_baseline=("conflict",) if start.reason == "conflict" else missing,
        no_follow_up=("followup_missing", *_causes(start, after), *instead_after),
    )


def _causes(start: Baseline, places: Sequence[str]) -> tuple[str, ...]:
    """What disqualified the records that might have been the one that is missing."""
    return tuple(sorted({start.excluded.get(place, "") for place in places} - _NO_CAUSE))


_NO_CAUSE = {"", "after_first_infusion", "superseded", "duplicate", "not_latest", "less_precise", "blocked_by_conflict"}


def _total_instead(instrument: Instrument, case: Case, first: Span) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Whether a CDASI total stands where activity is missing: as baseline, as follow-up."""
    if instrument is not cdasi.INSTRUMENT:
        return (), ()
    zone = ZoneInfo(case.timezone)
    totals = baseline.sort_out(measured_as(case, (cdasi.TOTAL,)), zone, baseline.accepted_statuses(case))
    reason = ("total_is_not_activity",)
    as_baseline = baseline.select_baseline(totals, first, zone).chosen is not None
    return reason if as_baseline else (), reason if baseline.follow_ups(totals, first, zone)[0] else ()


def _baselines(series: _Series, first: Infusion) -> list[Outcome]:
    """The baseline on every scale that has one; one outcome with the reasons where none has."""
    chosen = [start.chosen for start in series.starts.values() if start.chosen is not None]
    if not chosen:
        return [_outcome(series.instrument, series.instrument.name, "baseline", reasons=series.no_baseline)]
    return [_baseline(series, one, first) for one in chosen]


def _baseline(series: _Series, chosen: Assessment, first: Infusion) -> Outcome:
    variable, bounded = _variable(chosen), _bound_reason(chosen)
    return _outcome(
        series.instrument,
        variable,
        "baseline",
        number=None if bounded else chosen.measured.result.number,
        unit=series.instrument.unit,
        when=chosen.time,
        reasons=bounded,
        flags=_distinct(series.starts[variable].flags, _flags(series.instrument, chosen)) if not bounded else (),
        inputs=(_input("baseline", chosen), *(Input("first_exposure", source) for source in first.sources[:1])),
    )


def _changes(series: _Series, seen: Dated) -> list[Outcome]:
    """Improvement and percent improvement of one follow-up since the baseline on its scale."""
    instrument, variable = series.instrument, _variable(seen.assessment)
    own = series.starts[variable]
    start = own if own.chosen is not None else series.start
    reasons = series.no_baseline if start.chosen is None else _incomparable(start.chosen, seen.assessment)
    points = percent = None
    if start.chosen is not None and not reasons:
        points, percent = _change(instrument, start.chosen, seen.assessment)
    shared = {
        "when": seen.assessment.time,
        "about": seen.assessment.source.place,
        "flags": _change_flags(instrument, start, seen, points) if points is not None else (),
        "inputs": (*_inputs("baseline", start.chosen), *_inputs("followup", seen.assessment)),
    }
    undefined = () if reasons or percent is not None else ("baseline_zero",)
    in_points = {"number": points, "unit": instrument.unit, "reasons": reasons}
    in_percent = {"number": percent, "unit": "%", "reasons": reasons or undefined}
    return [
        _outcome(instrument, variable, "improvement", **in_points, **shared),
        _outcome(instrument, variable, "percent_improvement", **in_percent, **shared),
    ]


def _change(instrument: Instrument, first: Assessment, last: Assessment) -> tuple[Fraction, Fraction | None]:
    values = _number(first), _number(last)
    worse = instrument.higher_is_worse
    return improvement(*values, higher_is_worse=worse), percent_improvement(*values, higher_is_worse=worse)


def _change_flags(instrument: Instrument, start: Baseline, seen: Dated, points: Fraction) -> tuple[str, ...]:
    """What is doubtful about a change; flags qualify a number, where there is none the reasons speak."""
    first = _flags(instrument, start.chosen) if start.chosen is not None else ()
    partial = ("partial_date",) if seen.span.precision in ("year", "month") else ()
    worsened = ("worsened",) if points < 0 else ()
    return _distinct(start.flags, first, _flags(instrument, seen.assessment), partial, worsened)


def _incomparable(chosen: Assessment, seen: Assessment) -> tuple[str, ...]:
    if _variable(chosen) != _variable(seen):
        return ("scale_mixed",)
    return _bound_reason(chosen) or _bound_reason(seen)


def _bound_reason(one: Assessment) -> tuple[str, ...]:
    """A bound such as "<20" is no value: neither a baseline nor a change can be stated with it."""
    return () if one.measured.result.bound == "exact" else ("comparator",)


def _conflict(instrument: Instrument, seen: Assessment) -> list[Outcome]:
    """A follow-up value that another of equal rank contradicts yields no change, and says so."""
    shared = {"when": seen.time, "about": seen.source.place, "inputs": _inputs("followup", seen)}
    return [
        _outcome(instrument, _variable(seen), name, reasons=("conflict",), **shared)
        for name in ("improvement", "percent_improvement")
    ]


def _no_follow_up(series: _Series) -> list[Outcome]:
    return [
        _outcome(series.instrument, series.instrument.name, name, reasons=series.no_follow_up)
        for name in ("improvement", "percent_improvement")
    ]


def _exposure(exposed: Exposure) -> list[Outcome]:
    """Number of infusions, total dose, first and last date; dose and date of each."""
    infusions = exposed.infusions
    first, last = (infusions[0].start, infusions[-1].start) if infusions else (None, None)
    none = () if infusions else ("no_exposure",)
    dose = _cumulative_dose(infusions)
    unknown = none or (("dose_unknown",) if dose is None else ())
    inputs = tuple(Input("infusion", source) for infusion in infusions for source in infusion.sources)

    def of_exposure(variable: str, **values: Any) -> Outcome:
        shared = Outcome(variable, exposure.RULE, exposure.VERSION, when=last, flags=exposed.flags, inputs=inputs)
        return replace(shared, **values)

    return [
        of_exposure("infusions_completed", number=Fraction(len(exposed.completed)), unit="{infusion}"),
        of_exposure("cumulative_dose_mg", number=dose, unit="mg", reasons=unknown),
        of_exposure("first_exposure", date=first, reasons=none),
        of_exposure("last_exposure", date=last, reasons=none),
        *map(_infusion, infusions),
    ]


def _infusion(infusion: Infusion) -> Outcome:
    """The dose of one infusion at its time; a partial one is flagged."""
    return Outcome(
        "infusion_dose_mg",
        exposure.RULE,
        exposure.VERSION,
        number=infusion.dose_mg,
        unit="mg",
        when=infusion.start,
        about=infusion.sources[0].place,
        reasons=() if infusion.dose_mg is not None else ("dose_unknown",),
        flags=() if infusion.ordinal is not None else ("partial",),
        inputs=tuple(Input("infusion", source) for source in infusion.sources),
        verdicts=_interval(infusion),
    )


def _interval(infusion: Infusion) -> dict[str, str]:
    """The days since the infusion before, and what the label makes of them; nothing for the first, or if a day is not known."""
    days = infusion.interval_days
    return {"interval_days": str(days), "interval_class": exposure.interval_class(days)} if days is not None else {}


def _cumulative_dose(infusions: Sequence[Infusion]) -> Fraction | None:
    doses = [infusion.dose_mg for infusion in infusions if infusion.dose_mg is not None]
    return sum(doses, Fraction(0)) if doses and len(doses) == len(infusions) else None


def _outcome(instrument: Instrument, variable: str, part: str, **values: Any) -> Outcome:
    return replace(Outcome(f"{variable}_{part}", instrument.rule, instrument.rule_version), **values)


def _inputs(role: str, one: Assessment | None) -> tuple[Input, ...]:
    return (_input(role, one),) if one is not None else ()


def _input(role: str, one: Assessment) -> Input:
    return Input(role, one.source, to_text(_number(one)))


def _variable(one: Assessment) -> str:
    """The variable that it measures; only assessments that have one get this far."""
    return one.measured.concept.variable or ""


def _number(one: Assessment) -> Fraction:
    """The number of an assessment that `baseline.sort_out` found usable, so it has one."""
    if one.measured.result.number is None:
        raise ValueError(f"{one.source.place} has no number")
    return one.measured.result.number


def _flags(instrument: Instrument, one: Assessment) -> tuple[str, ...]:
    own = cdasi.flags(_number(one)) if instrument is cdasi.INSTRUMENT else ()
    return (*one.measured.result.flags, *own)


def _distinct(*groups: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(sorted({flag for group in groups for flag in group}))
