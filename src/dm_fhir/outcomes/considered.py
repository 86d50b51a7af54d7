"""What was considered for an outcome and not used, and why: R-BL and R-EXP asked once more, about one outcome."""

from collections.abc import Iterator
from fractions import Fraction
from typing import NamedTuple

from dm_fhir.model.case import Administration, Assessment, Case, Outcome, Source
from dm_fhir.model.definitions import Definitions
from dm_fhir.model.exact import to_text
from dm_fhir.outcomes import (
    baseline,
    battery,
    cdasi,
    composites,
    core_set,
    exposure,
    glucocorticoid_outcomes,
    glucocorticoids,
    inactive,
    other_therapies,
)
from dm_fhir.outcomes.change import Instrument
from dm_fhir.outcomes.followed import DAMAGE
from dm_fhir.outcomes.glucocorticoid_records import records as glucocorticoid_records
from dm_fhir.outcomes.instruments import whose
from dm_fhir.outcomes.measured import Records, records_of
from dm_fhir.outcomes.series import Candidates, candidates, starts_of
from dm_fhir.outcomes.therapies import GLUCOCORTICOIDS, GROUPS, is_taken


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
    if outcome.rule in _DRUGS:
        return tuple(_other_drugs(case, outcome))
    if outcome.rule == exposure.RULE:
        return tuple(_administrations(case)) if outcome.about is None else ()
    found = whose(outcome.variable)
    if found is None or found[2] == "x_uln":  # made of one follow-up alone
        return ()
    instrument, variable, part = found
    records = records_of(case)
    among = candidates(instrument, records, definitions)
    reasons = _reasons(case, instrument, variable, records, among)
    others = [
        _assessed(one, reasons.get(one.source.place, "scale_mixed"))
        for one in among.measured
        if one.source.place not in used and one.source.place != outcome.about
    ]
    if not part.endswith("baseline"):
        others = [one for one in others if one.reason != "after_first_infusion"]
    if "total_is_not_activity" in outcome.reasons:
        reckoned = {one.source.place for one in among.measured}
        totals = [one for one in records.of((cdasi.TOTAL,)) if one.source.place not in reckoned]
        others += [_assessed(one, "total_is_not_activity") for one in totals]
    return tuple(sorted(others, key=_candidates_first))


_DRUGS = (glucocorticoids.RULE, other_therapies.RULE)


def _other_drugs(case: Case, outcome: Outcome) -> Iterator[Considered]:
    """The records of the drug, or of all glucocorticoids, on which the outcome does not rest."""
    used = {one.source.reference for one in outcome.inputs}
    factors = glucocorticoid_outcomes.factors_of(outcome)
    found = glucocorticoid_records(case, Definitions(prednisone_factors=factors))
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
    found = whose(outcome.variable)
    first, last = _value(outcome, "baseline"), _value(outcome, "followup")
    if found is None or outcome.number is None:
        return None
    instrument, _, part = found
    if part == "baseline":
        return first if first is not None and first.startswith("(") else None
    if part in ("x_uln", "x_uln_baseline"):
        return _over_limit(outcome, first if part == "x_uln_baseline" else last)
    if first is None or last is None:
        return None
    points = f"{first} - {last}" if instrument.higher_is_worse else f"{last} - {first}"
    return points if part == "improvement" else f"100 x ({points}) / {first}"


def _value(outcome: Outcome, role: str) -> str | None:
    """The value that played this part: a number, or `(40 - 10)` where it is total minus damage; None if none did."""
    by_role = {one.role: one.value for one in outcome.inputs}
    value, damage = by_role.get(role), by_role.get(role + DAMAGE)
    if value is None or damage is None:
        return value
    return f"({to_text(Fraction(value) + Fraction(damage))} - {damage})"


def _of_composite(case: Case, outcome: Outcome, used: set[str], definitions: Definitions) -> Iterator[Considered]:
    first, records = battery.exposure_of(case).first, records_of(case)
    measured = records.of(core_set.VARIABLES)
    rule = next(one for one in composites.RULES if one.id == outcome.rule)
    if first is None:
        return
    setting = composites.setting_of(case, first, measured, definitions)
    zone, core = records.zone, setting.core
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


def _over_limit(outcome: Outcome, value: str | None) -> str | None:
    """The value over its upper limit of normal, which is the value over their quotient; a value of 0 does not tell it."""
    if value is None or not outcome.number:
        return None
    return f"{value} / {to_text(Fraction(value) / outcome.number)}"


def _reasons(case: Case, instrument: Instrument, variable: str, records: Records, among: Candidates) -> dict[str, str]:
    """Why each record is not the baseline, by place."""
    first = battery.exposure_of(case).first
    found = among.sorted
    if first is None:
        places = (one.assessment.source.place for one in (*found.usable, *found.conflicts))
        return {**dict.fromkeys(places, "no_exposure"), **found.excluded}
    own = starts_of(instrument, found, first.span, records).get(variable)
    whole = baseline.select_baseline(found, first.span, records.zone)
    # Where a scale has no baseline of its own, the change was held against the one on the other scale.
    return (own if own is not None and own.chosen is not None else whole).excluded


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
