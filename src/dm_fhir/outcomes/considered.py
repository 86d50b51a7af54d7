"""What was considered for an outcome and not used, and why: R-BL and R-EXP asked once more, about one outcome."""

from collections.abc import Iterator
from fractions import Fraction
from typing import NamedTuple
from zoneinfo import ZoneInfo

from dm_fhir.model.case import Administration, Assessment, Case, Outcome, Source
from dm_fhir.model.definitions import Definitions
from dm_fhir.outcomes import (
    baseline,
    battery,
    cdasi,
    exposure,
    glucocorticoid_outcomes,
    glucocorticoids,
    other_therapies,
)
from dm_fhir.outcomes.change import Instrument
from dm_fhir.outcomes.glucocorticoid_records import records
from dm_fhir.outcomes.therapies import GLUCOCORTICOIDS, GROUPS, is_taken

_PARTS = ("baseline", "improvement", "percent_improvement")


class Considered(NamedTuple):
    """A record that an outcome does not rest on, and why. `number` is in `unit`; None where it has none."""

    source: Source
    variable: str
    when: str | None
    number: Fraction | None
    unit: str | None
    reason: str


def considered(case: Case, outcome: Outcome) -> tuple[Considered, ...]:
    """The records that might have been an input of the outcome: other candidates for its baseline, other administrations.

    Follow-ups have outcomes of their own; they are named only where the outcome is the baseline itself.
    """
    used = {one.source.place for one in outcome.inputs}
    if outcome.rule in _DRUGS:
        return tuple(_other_drugs(case, outcome))
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


_DRUGS = (glucocorticoids.RULE, other_therapies.RULE)


def _other_drugs(case: Case, outcome: Outcome) -> Iterator[Considered]:
    """The records of the drug, or of all glucocorticoids, on which the outcome does not rest."""
    used = {one.source.reference for one in outcome.inputs}
    factors = glucocorticoid_outcomes.factors_of(outcome)
    found = records(case, Definitions(prednisone_factors=factors))
    reasons = {one.source.reference: one.reason for one in found.left_out}
    reasons |= {one.reference: "depot_injection" for one in found.depots}
    drug = outcome.variable.removesuffix("_change")
    names = {*GLUCOCORTICOIDS, *factors} if outcome.rule == glucocorticoids.RULE else {drug}
    for one in case.therapies:
        variable = one.medication.variable or ""
        if {variable, GROUPS.get(variable, variable)} & names and one.source.reference not in used:
            why = reasons.get(one.source.reference, "not_in_force" if is_taken(one) else "status_excluded")
            yield Considered(one.source, variable, one.period.start if one.period else None, None, None, why)
    for given in case.other_administrations:
        variable = (given.medication.variable if given.medication else None) or ""
        if {variable, GROUPS.get(variable, variable)} & names and given.source.reference not in used:
            when = given.when or (given.during.start if given.during else None)
            why = reasons.get(given.source.reference, "not_in_force")
            yield Considered(given.source, variable, when, given.dose_mg, "mg", why)


def arithmetic(case: Case, outcome: Outcome) -> str | None:
    """What was reckoned, with the exact values: `100 x (28 - 12) / 28`; None where nothing was or it is a plain sum."""
    if outcome.rule == glucocorticoids.RULE:
        return glucocorticoid_outcomes.reckoned(case, battery.exposure_of(case), outcome)
    instrument, _, part = _instrument(outcome)
    by_role = {one.role: one.value for one in outcome.inputs}
    first, last = by_role.get("baseline"), by_role.get("followup")
    if instrument is None or part == "baseline" or outcome.number is None or first is None or last is None:
        return None
    points = f"{first} - {last}" if instrument.higher_is_worse else f"{last} - {first}"
    return points if part == "improvement" else f"100 x ({points}) / {first}"


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
