"""The outcomes of one instrument in one case: its baseline, and the change at every follow-up, with their verdicts."""

from fractions import Fraction
from typing import Any, NamedTuple

from msgspec.structs import replace

from dm_fhir.model.case import Assessment, Input, Outcome
from dm_fhir.model.definitions import Definitions
from dm_fhir.model.exact import to_text
from dm_fhir.outcomes import verdicts
from dm_fhir.outcomes.baseline import Baseline, Dated
from dm_fhir.outcomes.bounds import value_text
from dm_fhir.outcomes.change import Instrument, flags, improvement, percent_improvement
from dm_fhir.outcomes.enzymes import upper_limit
from dm_fhir.outcomes.exposure import Infusion
from dm_fhir.outcomes.measured import Records
from dm_fhir.outcomes.series import Series, series_of
from dm_fhir.outcomes.thresholds import Interval, possible

IN_ULN = "{ULN}"
#: Of what is subtracted from a CDASI total the part that it plays, after the part of the total.
DAMAGE = "_damage"


class _Way(NamedTuple):
    """How an outcome is made of assessments: of which series, by which definitions."""

    series: Series
    definitions: Definitions

    @property
    def instrument(self) -> Instrument:
        return self.series.instrument


def unexposed(instrument: Instrument) -> list[Outcome]:
    """Without exposure there is no baseline, and no follow-up."""
    return [_outcome(instrument, instrument.name, "baseline", reasons=("no_exposure",))]


def followed(instrument: Instrument, records: Records, first: Infusion, definitions: Definitions) -> list[Outcome]:
    """Baseline on every scale, then improvement and percent improvement of every follow-up, in order of time.

    An enzyme has each value in multiples of its upper limit of normal as well. What cannot be computed has its reasons.
    """
    way = _Way(series_of(instrument, records, first.span, first.day, definitions), definitions)
    changes = [outcome for seen in way.series.later for outcome in _changes(way, seen)]
    conflicts = [outcome for one in way.series.contradictory for outcome in _conflict(way, one.assessment)]
    return [*_baselines(way, first), *((*changes, *conflicts) or _no_follow_up(way))]


def _baselines(way: _Way, first: Infusion) -> list[Outcome]:
    """The baseline on every scale that has one; one outcome with the reasons where none has."""
    chosen = [start.chosen for start in way.series.starts.values() if start.chosen is not None]
    if chosen:
        return [outcome for one in chosen for outcome in _baseline(way, one, first)]
    missing = _outcome(way.instrument, way.instrument.name, "baseline", reasons=way.series.no_baseline)
    return [missing, *_multiple(way, missing, "x_uln_baseline", None)]


def _baseline(way: _Way, chosen: Assessment, first: Infusion) -> list[Outcome]:
    instrument, variable, bounded = way.instrument, _variable(chosen), _bound_reason(chosen)
    found = _outcome(
        instrument,
        variable,
        "baseline",
        number=None if bounded else chosen.measured.result.number,
        unit=instrument.unit,
        when=chosen.time,
        reasons=bounded,
        flags=_distinct(way.series.starts[variable].flags, _flags(instrument, chosen)) if not bounded else (),
        inputs=(*_inputs(way, "baseline", chosen), *(Input("first_exposure", source) for source in first.sources[:1])),
        verdicts=verdicts.by_bands(instrument, *_held(way, chosen)),
    )
    return [found, *_multiple(way, found, "x_uln_baseline", chosen)]


def _changes(way: _Way, seen: Dated) -> list[Outcome]:
    """Improvement and percent improvement of one follow-up since the baseline on its scale."""
    instrument, variable, last = way.instrument, _variable(seen.assessment), seen.assessment
    own = way.series.starts[variable]
    start = own if own.chosen is not None else way.series.start
    reasons = way.series.no_baseline if start.chosen is None else _incomparable(start.chosen, last)
    points = percent = None
    if start.chosen is not None and not reasons:
        points, percent = _change(instrument, start.chosen, last)
    shared = {
        "when": last.time,
        "about": last.source.place,
        "visit": way.series.visits.get(last.source.place),
        "flags": _change_flags(instrument, start, seen, points) if points is not None else (),
        "inputs": (*_inputs(way, "baseline", start.chosen), *_inputs(way, "followup", last)),
    }
    undefined = () if reasons or percent is not None else ("baseline_zero",)
    in_points = _outcome(
        instrument,
        variable,
        "improvement",
        number=points,
        unit=instrument.unit,
        reasons=reasons,
        verdicts=_verdicts(way, start.chosen, last, points),
        **shared,
    )
    in_percent = _outcome(
        instrument,
        variable,
        "percent_improvement",
        number=percent,
        unit="%",
        reasons=reasons or undefined,
        verdicts=verdicts.by_thresholds(instrument, "percent", percent) if percent is not None else {},
        **shared,
    )
    return [in_points, in_percent, *_multiple(way, in_points, "x_uln", last)]


def _verdicts(way: _Way, first: Assessment | None, last: Assessment, points: Fraction | None) -> dict[str, str]:
    """By the thresholds on points; and where the follow-up's value stands, whether or not there is a change."""
    values, multiples = _held(way, last)
    found = verdicts.by_thresholds(way.instrument, "points", points) if points is not None else {}
    found |= verdicts.by_bands(way.instrument, values, multiples)
    if first is not None and multiples is not None:
        found |= verdicts.by_limit(way.instrument.name, _held(way, first)[1], multiples)
    return found


def _held(way: _Way, one: Assessment) -> tuple[Interval, Interval | None]:
    """What a result may mean, and that in multiples of its upper limit of normal."""
    values = possible(_number(one), one.measured.result.bound)
    return values, verdicts.multiples(values, one.measured.result, way.instrument, way.definitions)


def _multiple(way: _Way, beside: Outcome, part: str, one: Assessment | None) -> list[Outcome]:
    """The value of an enzyme in multiples of its upper limit of normal, beside its baseline or its change."""
    if not way.instrument.in_uln:
        return []
    variable = _variable(one) if one is not None else way.instrument.name
    if one is None:
        return [_outcome(way.instrument, variable, part, reasons=beside.reasons)]
    limit = upper_limit(one.measured.result, variable, way.definitions)
    reasons = _bound_reason(one) or (("uln_missing",) if limit is None else ())
    number = _number(one) / limit if limit is not None and not reasons else None
    configured = ("uln_configured",) if number is not None and one.measured.result.reference_high != limit else ()
    is_baseline = part == "x_uln_baseline"
    found = _outcome(
        way.instrument,
        variable,
        part,
        number=number,
        unit=IN_ULN,
        reasons=reasons,
        flags=_distinct(_flags(way.instrument, one), configured, beside.flags if is_baseline else ())
        if number is not None
        else (),
        when=beside.when,
        about=beside.about,
        visit=beside.visit,
        inputs=beside.inputs if is_baseline else _inputs(way, "followup", one),
    )
    return [found]


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


def _conflict(way: _Way, seen: Assessment) -> list[Outcome]:
    """A follow-up value that another of equal rank contradicts yields no change, and says so."""
    shared = {"when": seen.time, "about": seen.source.place, "inputs": _inputs(way, "followup", seen)}
    return [
        _outcome(way.instrument, _variable(seen), name, reasons=("conflict",), **shared)
        for name in _parts_of_follow_up(way.instrument)
    ]


def _no_follow_up(way: _Way) -> list[Outcome]:
    return [
        _outcome(way.instrument, way.instrument.name, name, reasons=way.series.no_follow_up)
        for name in _parts_of_follow_up(way.instrument)
    ]


def _parts_of_follow_up(instrument: Instrument) -> tuple[str, ...]:
    return ("improvement", "percent_improvement", *(("x_uln",) if instrument.in_uln else ()))


def _outcome(instrument: Instrument, variable: str, part: str, **values: Any) -> Outcome:
    return replace(Outcome(f"{variable}_{part}", instrument.rule, instrument.rule_version), **values)


def _inputs(way: _Way, role: str, one: Assessment | None) -> tuple[Input, ...]:
    """The record with its value; and the damage that was subtracted from it, if it is a total."""
    if one is None:
        return ()
    damage = way.series.damages.get(one.source.place)
    subtracted = (Input(role + DAMAGE, damage.source, to_text(_number(damage))),) if damage is not None else ()
    return (Input(role, one.source, value_text(one.measured.result)), *subtracted)


def _variable(one: Assessment) -> str:
    """The variable that it measures; only assessments that have one get this far."""
    return one.measured.concept.variable or ""


def _number(one: Assessment) -> Fraction:
    """The number of an assessment that `baseline.sort_out` found usable, so it has one."""
    if one.measured.result.number is None:
        raise ValueError(f"{one.source.place} has no number")
    return one.measured.result.number


def _flags(instrument: Instrument, one: Assessment) -> tuple[str, ...]:
    return (*one.measured.result.flags, *flags(instrument, _number(one)))


def _distinct(*groups: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(sorted({flag for group in groups for flag in group}))
