"""The core set of myositis disease activity measures of one case: at baseline, and at each visit (R-BL, R-VISIT).

IMACS: physician's and patient's global activity, function (HAQ, CHAQ), strength (MMT), the most abnormal muscle enzyme, and
extramuscular activity. PRINTO, for juveniles: CMAS for strength, the CHQ's physical summary for the enzyme, DAS for
extramuscular activity. What a measure has several scales of is only compared on one and the same of them.

The enzyme that is followed is the one that is most abnormal at baseline: the highest multiple of its upper limit of normal
(ULN), which is the result's own, else the study's, and never guessed. It is kept, even where it has no follow-up.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import tzinfo
from fractions import Fraction
from typing import NamedTuple
from zoneinfo import ZoneInfo

from dm_fhir.model.case import Assessment, Case
from dm_fhir.model.dates import Span, first_day, span
from dm_fhir.model.definitions import Definitions, Visit
from dm_fhir.outcomes import baseline, visits
from dm_fhir.outcomes.baseline import Baseline, Dated, causes
from dm_fhir.outcomes.bounds import Bounds, possible, times


class Scale(NamedTuple):
    """The ends of a scale, None where it has none or none is known, and which way is worse."""

    lowest: Fraction | None
    highest: Fraction | None
    higher_is_worse: bool


class Measure(NamedTuple):
    """A measure of the core set, and the variables by which it is measured, the preferred first."""

    name: str
    variables: tuple[str, ...]


def _scale(highest: int | None, *, higher_is_worse: bool = True) -> Scale:
    return Scale(Fraction(0), Fraction(highest) if highest is not None else None, higher_is_worse)


ENZYMES = ("ck", "aldolase", "alt", "ast", "ldh")
SCALES = {
    **dict.fromkeys(("physician_global_vas", "patient_global_vas", "extramuscular_vas"), _scale(10)),
    **dict.fromkeys(("haq_di", "chaq"), _scale(3)),
    "mmt8_150": _scale(150, higher_is_worse=False),
    "mmt8_80": _scale(80, higher_is_worse=False),
    "mmt24_260": _scale(260, higher_is_worse=False),
    **dict.fromkeys(ENZYMES, _scale(None)),
    "cmas": _scale(52, higher_is_worse=False),
    "jdm_das_total": _scale(20),
    "chq_phs": Scale(None, None, higher_is_worse=False),
}
PHYSICIAN = Measure("physician_global_vas", ("physician_global_vas",))
PATIENT = Measure("patient_global_vas", ("patient_global_vas",))
FUNCTION = Measure("haq_di", ("haq_di", "chaq"))
STRENGTH = Measure("mmt8", ("mmt8_150", "mmt8_80", "mmt24_260"))
ENZYME = Measure("enzyme", ENZYMES)
EXTRAMUSCULAR = Measure("extramuscular_vas", ("extramuscular_vas",))
CMAS, DAS, CHQ = (Measure(name, (name,)) for name in ("cmas", "jdm_das_total", "chq_phs"))
IMACS = (PHYSICIAN, PATIENT, FUNCTION, STRENGTH, ENZYME, EXTRAMUSCULAR)
PRINTO = (PHYSICIAN, PATIENT, FUNCTION, CMAS, CHQ, DAS)
#: An MMT8 of unknown scale is not compared, but it is why a measure is missing.
VARIABLES = (*SCALES, "mmt8")
#: Variables whose records may be copies of each other.
_TOGETHER = dict.fromkeys(("mmt8", "mmt8_80", "mmt8_150"), "mmt8")


class Series(NamedTuple):
    """One variable of one case: its baseline, and by name of the visit what stands for it.

    `excluded` is why records are not usable at all, by place; `unusable` why records that might have served do not, by
    what for: "baseline", a visit, or "" for no visit.
    """

    start: Baseline
    at: dict[str, Dated]
    excluded: dict[str, str]
    unusable: dict[str, tuple[str, ...]]


class Compared(NamedTuple):
    """A measure of one visit held against its baseline. With `reasons` it cannot be, and what there is stands beside them.

    `ends` is what baseline and follow-up may be, None where they cannot be compared.
    """

    measure: Measure
    variable: str | None
    start: Assessment | None
    seen: Dated | None
    reasons: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()
    ends: tuple[Bounds, Bounds] | None = None


class CoreSet(NamedTuple):
    """The measures of one case, by variable; and what limits of normal hold where results carry none.

    `known` holds what has been compared already: several rules ask for the same measure of the same visit.
    """

    series: dict[str, Series]
    uln_u_per_l: dict[str, Fraction]
    known: dict[tuple[str, str | None], Compared]

    def seen(self, variable: str, visit: str | None) -> Dated | None:
        """What stands for the visit; None if nothing does, and for no visit."""
        return self.series[variable].at.get(visit) if visit is not None and variable in self.series else None


def core_set(case: Case, measured: Iterable[Assessment], first: Span, definitions: Definitions) -> CoreSet:
    """The core set of a case whose first exposure began at `first`, from its assessments (parts of panels alone)."""
    groups: dict[str, list[Assessment]] = defaultdict(list)
    for one in measured:
        variable = one.measured.concept.variable or ""
        if variable in VARIABLES:
            groups[_TOGETHER.get(variable, variable)].append(one)
    found: dict[str, Series] = {}
    for group in groups.values():
        found |= _series(case, group, first, definitions.visits)
    return CoreSet(found, definitions.uln_u_per_l, {})


def compared(core: CoreSet, measure: Measure, visit: str | None) -> Compared:
    """The measure at the visit against its baseline, on the first of its scales that has both.

    Reasons name the measure: `measure_missing:mmt8` (neither), `baseline_missing:…`, `followup_missing:…`,
    `scale_mixed:…`, `conflict:…`; and for enzymes `uln_missing:…`, `comparator:…` where it is not known which is the most
    abnormal. What made a record unusable follows (`out_of_range:…`).
    """
    found = core.known.get((measure.name, visit))
    if found is None:
        found = _enzyme(core, visit) if measure == ENZYME else _on_one_scale(core, measure, visit)
        core.known[measure.name, visit] = found
    return found


def followup_missing(core: CoreSet, variable: str, visit: str | None) -> tuple[str, ...]:
    """Why nothing of the variable stands for the visit, for a rule that needs no baseline."""
    unusable = core.series[variable].unusable.get(visit or _NO_VISIT, ()) if variable in core.series else ()
    return tuple(f"{reason}:{variable}" for reason in ("followup_missing", *unusable))


def most_abnormal(core: CoreSet) -> tuple[str | None, tuple[str, ...]]:
    """The enzyme with the highest multiple of its ULN at baseline; of two equal ones the first in the order of `ENZYMES`.

    None with the reasons: it has to be decided between all that were measured. A single one needs no ULN for it.
    """
    conflicts = [f"conflict:{name}" for name in ENZYMES if name in core.series and _is_conflict(core.series[name])]
    starts = {name: one for name in ENZYMES if (one := _chosen(core, name)) is not None}
    if conflicts or len(starts) < 2:
        return next(iter(starts), None) if not conflicts else None, tuple(conflicts)
    multiples = multiples_of_uln(core)
    known = {name: multiple for name, multiple in multiples.items() if multiple is not None}
    unknown = tuple(f"uln_missing:{name}" for name in multiples if name not in known)
    if unknown:
        return None, unknown
    best = next((name for name in known if _is_highest(name, known)), None)
    bounded = tuple(f"comparator:{name}" for name, multiple in known.items() if multiple.exact is None)
    return best, () if best is not None else bounded


def multiples_of_uln(core: CoreSet) -> dict[str, Bounds | None]:
    """The baseline of each enzyme that has one in multiples of its ULN; None where that is not known."""
    found: dict[str, Bounds | None] = {}
    for name in ENZYMES:
        start = _chosen(core, name)
        if start is not None:
            limit = uln(core, start)
            found[name] = times(bounds(start), 1 / limit) if limit is not None else None
    return found


def uln(core: CoreSet, one: Assessment) -> Fraction | None:
    """The upper limit of normal of a result: its own, else the study's; None if neither is told."""
    own = one.measured.result.reference_high
    limit = own if own is not None else core.uln_u_per_l.get(variable_of(one))
    return limit if limit is not None and limit > 0 else None


def bounds(one: Assessment) -> Bounds:
    """What an assessment's value may be, in its unit."""
    result, scale = one.measured.result, SCALES[variable_of(one)]
    if result.number is None:
        raise ValueError(f"{one.source.place} has no number")
    return possible(result.number, result.bound, scale.lowest, scale.highest)


def variable_of(one: Assessment) -> str:
    """What an assessment measures; those of the core set all say it."""
    return one.measured.concept.variable or ""


def windows(one: Assessment, first: Span, schedule: Sequence[Visit], zone: tzinfo) -> list[tuple[str, str]]:
    """The visits whose window an assessment touches, and why it does not stand for it; no visit where it touches none."""
    try:
        moment = span(one.time or "", zone)
    except ValueError:
        return []
    day_0 = first_day(first, zone)
    placed = visits.place(moment, day_0, schedule, zone)
    if placed.visit is not None or placed.reason == "no_window":
        return [(placed.visit.name, "")] if placed.visit is not None else [(_NO_VISIT, "no_window")]
    each = ((visit.name, visits.place(moment, day_0, (visit,), zone).reason or "") for visit in schedule)
    return [(name, reason) for name, reason in each if reason != "no_window"]


def _series(case: Case, measured: Sequence[Assessment], first: Span, schedule: Sequence[Visit]) -> dict[str, Series]:
    zone = ZoneInfo(case.timezone)
    candidates = baseline.sort_out(measured, zone, baseline.accepted_statuses(case))
    found: dict[str, Series] = {}
    for variable in dict.fromkeys(map(variable_of, measured)):
        own = baseline.of_variable(candidates, variable)
        start, (later, _) = baseline.select_baseline(own, first, zone), baseline.follow_ups(own, first, zone)
        unusable: dict[str, set[str]] = defaultdict(set)
        for one in (one for one in measured if variable_of(one) == variable):
            reason, as_start = (why.get(one.source.place, "") for why in (candidates.excluded, start.excluded))
            side = baseline.side(one, first, zone)
            if side != "after":
                unusable[_BASELINE].add(as_start)
            if side != "before":
                for visit, in_window in windows(one, first, schedule, zone):
                    unusable[visit].add(reason or in_window or as_start)
        why_not = {place: causes(reasons) for place, reasons in unusable.items()}
        found[variable] = Series(start, _at(later, first, schedule, zone), candidates.excluded, why_not)
    return found


def _at(later: Sequence[Dated], first: Span, schedule: Sequence[Visit], zone: tzinfo) -> dict[str, Dated]:
    """What stands for each visit that has something in its window."""
    near: dict[str, list[Dated]] = defaultdict(list)
    for one in later:
        for name, _ in windows(one.assessment, first, schedule, zone):
            near[name].append(one)
    day_0 = first_day(first, zone)
    at = {one.name: visits.at_visit(near[one.name], one, day_0, zone) for one in schedule if one.name in near}
    return {name: seen for name, seen in at.items() if seen is not None}


_BASELINE, _NO_VISIT = "baseline", ""


def _on_one_scale(core: CoreSet, measure: Measure, visit: str | None) -> Compared:
    starts = [name for name in measure.variables if _chosen(core, name) is not None]
    seen = [name for name in measure.variables if core.seen(name, visit) is not None]
    both = next((name for name in starts if name in seen), None)
    if both is not None:
        return _held(core, measure, both, visit)
    variable = next(iter([*starts, *seen]), None)
    start = _chosen(core, starts[0]) if starts else None
    last = core.seen(seen[0], visit) if seen else None
    reasons = (f"scale_mixed:{measure.name}",) if starts and seen else _missing(core, measure, visit)
    return Compared(measure, variable, start, last, reasons)


def _held(core: CoreSet, measure: Measure, variable: str, visit: str | None) -> Compared:
    """A measure that has both a baseline and a follow-up on one scale."""
    start, seen = core.series[variable].start, core.seen(variable, visit)
    if start.chosen is None or seen is None:
        raise ValueError(f"{variable} has no baseline or no follow-up")
    partial = ("partial_date",) if seen.span.precision in ("year", "month") else ()
    results = (start.chosen.measured.result, seen.assessment.measured.result)
    flags = {*start.flags, *partial, *(flag for one in results for flag in one.flags)}
    ends = bounds(start.chosen), bounds(seen.assessment)
    return Compared(measure, variable, start.chosen, seen, (), tuple(sorted(flags)), ends)


def _enzyme(core: CoreSet, visit: str | None) -> Compared:
    """The enzyme that is the most abnormal one at baseline, which is kept."""
    variable, undecided = most_abnormal(core)
    if undecided:
        return Compared(ENZYME, None, None, None, undecided)
    if variable is None:
        return Compared(ENZYME, None, None, None, _missing(core, ENZYME, visit))
    if core.seen(variable, visit) is None:
        reasons = _missing(core, Measure(variable, (variable,)), visit)
        return Compared(ENZYME, variable, _chosen(core, variable), None, reasons)
    return _held(core, ENZYME, variable, visit)


def _missing(core: CoreSet, measure: Measure, visit: str | None) -> tuple[str, ...]:
    """Why there is no baseline, no follow-up, or neither of a measure, and what made its records unusable."""
    own = [core.series[name] for name in (*measure.variables, *_UNSCALED.get(measure.name, ())) if name in core.series]
    has_start = any(one.start.chosen is not None for one in own)
    has_seen = visit is not None and any(visit in one.at for one in own)
    if not has_start and any(map(_is_conflict, own)):
        return (f"conflict:{measure.name}",)
    which = "followup_missing" if has_start else "baseline_missing" if has_seen else "measure_missing"
    places = (*(() if has_start else (_BASELINE,)), *(() if has_seen else (visit or _NO_VISIT,)))
    found = {reason for one in own for place in places for reason in one.unusable.get(place, ())}
    return tuple(f"{reason}:{measure.name}" for reason in (which, *sorted(found)))


#: Values of an MMT8 whose scale cannot be told are not compared with anything.
_UNSCALED = {STRENGTH.name: ("mmt8",)}


def _is_conflict(series: Series) -> bool:
    return series.start.reason == "conflict"


def _chosen(core: CoreSet, variable: str) -> Assessment | None:
    return core.series[variable].start.chosen if variable in core.series else None


def _is_highest(name: str, multiples: dict[str, Bounds]) -> bool:
    """Whether no other enzyme's multiple can be higher."""
    own = multiples[name].low
    highs = [other.high for other_name, other in multiples.items() if other_name != name]
    return own is not None and all(high is not None and high <= own for high in highs)
