"""The outcomes of R-GC-COURSE: dose at baseline, at each visit and at the end of follow-up, and what became of it.

The follow-up day of a visit is the day of the assessment that stands for it (R-VISIT); where none does, the target day of
its window. A visit whose day follow-up did not reach has no outcome. "last" is the last documented day of follow-up.
"""

from collections.abc import Iterator, Mapping
from datetime import date, timedelta
from fractions import Fraction
from typing import NamedTuple
from zoneinfo import ZoneInfo

from msgspec.structs import replace

from dm_fhir.model.case import Case, Input, Outcome, Source
from dm_fhir.model.dates import first_day, span
from dm_fhir.model.definitions import Definitions
from dm_fhir.model.exact import to_text
from dm_fhir.outcomes import glucocorticoids as course_of
from dm_fhir.outcomes.baseline import Dated, current
from dm_fhir.outcomes.exposure import Exposure
from dm_fhir.outcomes.follow_up import NO_FIRST_DAY, end_of_follow_up
from dm_fhir.outcomes.glucocorticoid_records import records
from dm_fhir.outcomes.glucocorticoids import BASELINE_DAYS, IMPLAUSIBLE_MG, RULE, VERSION, Course, Stretch
from dm_fhir.outcomes.visits import at_visit

DOSE, STATUS = "prednisone_equivalent_mg_per_day", "glucocorticoid_status"
BASELINE = f"{DOSE}_baseline"
LAST = "last"
UNIT = "mg/d"
_DAY = timedelta(days=1)
#: How the name of a verdict begins that is the factor of a drug.
_FACTOR = "factor_"


class Seen(NamedTuple):
    """The course of a case around its first exposure, which is `day_0`."""

    whole: Course
    day_0: date
    start: Source


def variables() -> tuple[str, ...]:
    """What the outcomes of this rule are called."""
    return (BASELINE, DOSE, STATUS)


def outcomes(case: Case, exposed: Exposure, definitions: Definitions) -> Iterator[Outcome]:
    """Baseline, then dose and status at each visit that follow-up reached and at "last"; None with the reasons."""
    first, end = exposed.first, end_of_follow_up(case, exposed)
    if first is None or first.day is None or end is None:
        reasons = ("no_exposure",) if first is None else NO_FIRST_DAY
        yield Outcome(BASELINE, RULE, VERSION, unit=UNIT, reasons=reasons)
        for variable in (DOSE, STATUS):
            yield Outcome(variable, RULE, VERSION, visit=LAST, reasons=reasons)
        return
    whole = whole_course(case, first.day, end.day, definitions)
    seen = Seen(whole, first.day, first.sources[0])
    baseline = _baseline(seen)
    yield baseline
    for name, on in follow_up_days(case, first.day, end.day, definitions).items():
        yield from _at(seen, baseline, name, on)


def whole_course(case: Case, day_0: date, last: date, definitions: Definitions) -> Course:
    """The course from the first day of which a record tells, at the latest the 28th before `day_0`, to the last day."""
    start = course_of.since(records(case, definitions), day_0 - timedelta(days=BASELINE_DAYS))
    return course_of.course(case, start, last, definitions)


def follow_up_days(case: Case, day_0: date, last: date, definitions: Definitions) -> dict[str, date]:
    """The follow-up day of every visit that follow-up reached, by its name, and of "last"."""
    zone = ZoneInfo(case.timezone)
    later = sorted(_assessed(case, day_0), key=lambda one: one.span)
    days = {}
    for visit in definitions.visits:
        stands = at_visit(later, visit, day_0, zone)
        exact = stands is not None and stands.span.precision in ("day", "time")
        day = first_day(stands.span, zone) if stands is not None and exact else day_0 + visit.day * _DAY
        if day <= last:
            days[visit.name] = day
    return {**days, LAST: last}


def reckoned(case: Case, exposed: Exposure, outcome: Outcome) -> str | None:
    """How a dose was reckoned, with exact values: `(14 x 20 + 14 x 10) / 28`, `16 x 5/4 + 5 x 1`; None where nothing was."""
    first, end = exposed.first, end_of_follow_up(case, exposed)
    if outcome.number is None or first is None or first.day is None or end is None or outcome.when is None:
        return None
    whole = whole_course(case, first.day, end.day, Definitions(prednisone_factors=factors_of(outcome)))
    if outcome.variable == BASELINE:
        window = whole.between(first.day - timedelta(days=BASELINE_DAYS), first.day - _DAY)
        return f"({' + '.join(f'{one.days} x {_sum(one)}' for one in window)}) / {BASELINE_DAYS}"
    found = whole.on(date.fromisoformat(outcome.when))
    if found is None or (len(found.doses) < 2 and all(dose.factor == 1 for dose in found.doses)):
        return None
    return _sum(found)


def factors_of(outcome: Outcome) -> dict[str, Fraction]:
    """The factors that an outcome was computed with, by drug."""
    named = (
        (name.removeprefix(_FACTOR), value) for name, value in outcome.verdicts.items() if name.startswith(_FACTOR)
    )
    return {drug: Fraction(value) for drug, value in named}


def _sum(one: Stretch) -> str:
    """The doses of a day: mg of each drug by its factor."""
    parts = [to_text(dose.mg_per_day) + (f" x {dose.factor}" if dose.factor != 1 else "") for dose in one.doses]
    return f"({' + '.join(parts)})" if len(parts) > 1 else "".join(parts) or "0"


def _assessed(case: Case, day_0: date) -> Iterator[Dated]:
    """What was measured after the day of the first exposure; the same day is no visit."""
    zone = ZoneInfo(case.timezone)
    for one in current(case):
        try:
            moment = span(one.time or "", zone)
        except ValueError:
            continue
        numbers = (one.measured.result.number, *(part.result.number for part in one.components))
        if first_day(moment, zone) > day_0 and any(number is not None for number in numbers):
            yield Dated(one, moment)


def _baseline(seen: Seen) -> Outcome:
    mean, covered = course_of.baseline_of(seen.whole, seen.day_0)
    last = seen.day_0 - _DAY
    window = seen.whole.between(seen.day_0 - timedelta(days=BASELINE_DAYS), last)
    pulses = sum(one.days for one in window if one.pulse_mg)
    causes = dict.fromkeys(reason for one in window for reason in one.reasons)
    missing = ("baseline_missing", f"days_known:{covered} of {BASELINE_DAYS}", *causes)
    return Outcome(
        BASELINE,
        RULE,
        VERSION,
        number=mean,
        unit=UNIT,
        when=last.isoformat() if mean is not None else None,
        reasons=missing if mean is None else (),
        flags=_flags(seen.whole, mean),
        inputs=(*_inputs(window), Input("first_exposure", seen.start)),
        verdicts={"coverage_days": str(covered), "pulses_in_baseline": str(pulses), **_factors(window)},
    )


def _at(seen: Seen, baseline: Outcome, visit: str, on: date) -> Iterator[Outcome]:
    """Dose and status on one follow-up day."""
    found = seen.whole.between(on, on)
    mg = found[0].mg_per_day if found else None
    causes = found[0].reasons if found else ("not_documented",)
    known = on.isoformat() if mg is not None else None
    dose = Outcome(
        DOSE,
        RULE,
        VERSION,
        number=mg,
        unit=UNIT,
        when=known,
        visit=visit,
        reasons=() if mg is not None else ("followup_missing", *causes),
        flags=_flags(seen.whole, mg),
        inputs=_inputs(found),
        verdicts=_factors(found),
    )
    zero_days = course_of.days_at_zero(seen.whole, on)
    became = course_of.status(baseline.number, mg, zero_days)
    amounts = {"zero_days": str(zero_days)} if zero_days is not None else {}
    if became.reduction_percent is not None:
        amounts["reduction_percent"] = to_text(became.reduction_percent)
    yield dose
    yield Outcome(
        STATUS,
        RULE,
        VERSION,
        answer=became.answer,
        when=known if became.answer is not None else None,
        visit=visit,
        reasons=tuple(dict.fromkeys((*baseline.reasons, *dose.reasons))),
        flags=tuple(sorted({*baseline.flags, *dose.flags})),
        inputs=_distinct(baseline, dose),
        verdicts={**became.verdicts, **amounts},
    )


def _distinct(baseline: Outcome, dose: Outcome) -> tuple[Input, ...]:
    """The records of both, by the part they play."""
    before = (replace(one, role="baseline") if one.role != "first_exposure" else one for one in baseline.inputs)
    return (*before, *(replace(one, role="followup") for one in dose.inputs))


def _inputs(stretches: tuple[Stretch, ...]) -> tuple[Input, ...]:
    """Each record, and what it comes to in mg of prednisone-equivalent a day; its last amount where it has several."""
    sources: dict[str, Source] = {}
    amounts: dict[str, Fraction] = {}
    for one in stretches:
        sources |= {source.place: source for source in one.evidence}
        amounts |= _amounts(one)
    return tuple(
        Input("glucocorticoid", sources[place], to_text(amounts[place]) if place in amounts else None)
        for place in sorted(sources)
    )


def _amounts(stretch: Stretch) -> Mapping[str, Fraction]:
    found: dict[str, Fraction] = {}
    for dose in stretch.doses:
        found[dose.source.place] = found.get(dose.source.place, Fraction(0)) + dose.mg_per_day * dose.factor
    return found


def _factors(stretches: tuple[Stretch, ...]) -> dict[str, str]:
    """The factor used for each drug."""
    used = {dose.drug: dose.factor for one in stretches for dose in one.doses if dose.mg_per_day}
    return {f"{_FACTOR}{drug}": to_text(used[drug]) for drug in sorted(used)}


def _flags(whole: Course, mg: Fraction | None) -> tuple[str, ...]:
    found = set(whole.records.flags) if mg is not None else set()
    found.update(["implausible"] if mg is not None and mg > IMPLAUSIBLE_MG else [])
    found.update(["depot_injection"] if whole.records.depots else [])
    return tuple(sorted(found))
