"""What was considered for an outcome and not used, and why: R-BL and R-EXP asked once more, about one outcome."""

from collections.abc import Iterator
from fractions import Fraction
from typing import NamedTuple
from zoneinfo import ZoneInfo

from dm_fhir.model.case import Administration, Assessment, Case, Outcome, Source
from dm_fhir.model.definitions import Definitions
from dm_fhir.outcomes import baseline, battery, cdasi, composites, core_set, exposure, inactive
from dm_fhir.outcomes.change import Instrument

_PARTS = ("baseline", "improvement", "percent_improvement")


class Considered(NamedTuple):
    """A record that an outcome does not rest on, and why. `number` is in `unit`; None where it has none."""

    source: Source
    variable: str
    when: str | None
    number: Fraction | None
    unit: str | None
    reason: str


def considered(case: Case, outcome: Outcome, definitions: Definitions = battery.DEFAULTS) -> tuple[Considered, ...]:
    """The records that might have been an input of the outcome: other candidates for its baseline, other administrations.

    Follow-ups have outcomes of their own; they are named only where the outcome is the baseline itself. For a composite
    they are those in the window of its visit, and the values of enzymes and scales that were not followed.
    """
    used = {one.source.place for one in outcome.inputs}
    if outcome.variable in composites.variables():
        return tuple(sorted(_of_composite(case, outcome, used, definitions), key=_candidates_first))
    if outcome.rule == exposure.RULE:
        return tuple(_administrations(case)) if outcome.about is None else ()
    instrument, variable, part = _instrument(outcome)
    if instrument is None:
        return ()
    reasons = _reasons(case, instrument, variable)
    found = [
        _assessed(one, reasons.get(one.source.place, "scale_mixed"))
        for one in battery.measured_as(case, instrument.variables)
        if one.source.place not in used and one.source.place != outcome.about
    ]
    if part != "baseline":
        found = [one for one in found if one.reason != "after_first_infusion"]
    if "total_is_not_activity" in outcome.reasons:
        totals = battery.measured_as(case, (cdasi.TOTAL,))
        found += [_assessed(one, "total_is_not_activity") for one in totals]
    return tuple(sorted(found, key=_candidates_first))


def arithmetic(outcome: Outcome) -> str | None:
    """What was reckoned, with the exact values: `100 x (28 - 12) / 28`; None where nothing was or it is a plain sum."""
    instrument, _, part = _instrument(outcome)
    by_role = {one.role: one.value for one in outcome.inputs}
    first, last = by_role.get("baseline"), by_role.get("followup")
    if instrument is None or part == "baseline" or outcome.number is None or first is None or last is None:
        return None
    points = f"{first} - {last}" if instrument.higher_is_worse else f"{last} - {first}"
    return points if part == "improvement" else f"100 x ({points}) / {first}"


def _of_composite(case: Case, outcome: Outcome, used: set[str], definitions: Definitions) -> Iterator[Considered]:
    first, measured = battery.exposure_of(case).first, battery.measured_as(case, core_set.VARIABLES)
    rule = next(one for one in composites.RULES if one.id == outcome.rule)
    if first is None:
        return
    setting = composites.setting_of(case, first, measured, definitions)
    zone, core = ZoneInfo(case.timezone), setting.core
    asked = (*rule.measured, *(rule.instead if setting.population == "jdm" else ()), "mmt8")
    for one in measured:
        variable, place = core_set.variable_of(one), one.source.place
        if place in used or variable not in asked:
            continue
        series, visit = core.series[variable], outcome.visit
        reason = series.excluded.get(place, "") or series.start.excluded.get(place, "")
        if baseline.side(one, first.span, zone) == "after":
            touched = dict(core_set.windows(one, first.span, definitions.visits, zone))
            stands = core.seen(variable, visit)
            if visit is None or visit not in touched:
                continue
            reason = touched[visit] or ("" if reason == "after_first_infusion" else reason)
            reason = reason or ("not_followed" if stands is None or stands.assessment is one else "not_nearest")
        elif rule.id == inactive.RULE:
            continue  # it needs no baseline
        yield _assessed(one, reason or "not_followed")


def _instrument(outcome: Outcome) -> tuple[Instrument | None, str, str]:
    """The instrument of an outcome, the variable that it speaks of, and whether it is a baseline or a change."""
    for instrument in battery.INSTRUMENTS:
        for variable in (*instrument.variables, instrument.name):
            for part in _PARTS:
                if outcome.variable == f"{variable}_{part}":
                    return instrument, variable, part
    return None, "", ""


def _reasons(case: Case, instrument: Instrument, variable: str) -> dict[str, str]:
    """Why each record is not the baseline, by place."""
    first = battery.exposure_of(case).first
    zone = ZoneInfo(case.timezone)
    accepted = baseline.accepted_statuses(case)
    candidates = baseline.sort_out(battery.measured_as(case, instrument.variables), zone, accepted)
    if first is None:
        places = (one.assessment.source.place for one in (*candidates.usable, *candidates.conflicts))
        return {**dict.fromkeys(places, "no_exposure"), **candidates.excluded}
    own = baseline.select_baseline(baseline.of_variable(candidates, variable), first.span, zone)
    whole = baseline.select_baseline(candidates, first.span, zone)
    # Where a scale has no baseline of its own, the change was held against the one on the other scale.
    return (own if own.chosen is not None else whole).excluded


def _candidates_first(one: Considered) -> tuple[bool, str, str]:
    return one.reason == "after_first_infusion", one.when or "", one.source.place


def _assessed(one: Assessment, reason: str) -> Considered:
    result = one.measured.result
    return Considered(one.source, one.measured.concept.variable or "", one.time, result.number, result.unit, reason)


def _administrations(case: Case) -> Iterator[Considered]:
    exposed = battery.exposure_of(case)
    for given, reason in (
        *((one, "not_given") for one in exposed.missed),
        *((one, _why_not_counted(one)) for one in exposed.not_counted),
        *((one, "entered_in_error" if _is_error(one) else "duplicate") for one in exposed.dropped),
    ):
        when = given.when or (given.during.start if given.during else None)
        variable = (given.medication.variable if given.medication else None) or ""
        yield Considered(given.source, variable, when, given.dose_mg, "mg", reason)


def _is_error(given: Administration) -> bool:
    return exposure.status_of(given) == "entered-in-error"


def _why_not_counted(given: Administration) -> str:
    """Its status, or that its time says nothing."""
    if exposure.status_of(given) not in ("completed", "stopped"):
        return "status_excluded"
    return "time_unreadable" if given.when or (given.during and given.during.start) else "time_missing"
