"""How a composite outcome came about: each measure with its values and what it came to, the criteria, the definitions used.

The rules are asked once more, of the one visit that an outcome speaks of.
"""

from collections.abc import Iterator

import msgspec

from dm_fhir.model.case import Assessment, Case, Outcome
from dm_fhir.model.definitions import Definitions
from dm_fhir.model.exact import to_text
from dm_fhir.outcomes import battery, composites, core_set, imacs, inactive, tis
from dm_fhir.outcomes.bounds import value_text, word
from dm_fhir.outcomes.composites import Setting
from dm_fhir.outcomes.core_set import Compared
from dm_fhir.outcomes.measured import records_of
from dm_fhir.outcomes.parts import percent_of_baseline, percent_text
from dm_fhir.outcomes.tis import Scored


class Step(msgspec.Struct, frozen=True):
    """One measure at one visit. Values are in `unit`, with the sign of a bound ("<20"); None where there is none.

    `came_to` is what the rule made of it, by name: `range`, `percent` (exact), `band` and `points` of the Total Improvement Score;
    elsewhere `percent` of baseline (positive is better) and "yes", "no" or "unknown" of each thing asked.
    """

    measure: str
    variable: str | None
    visit: str | None
    baseline: str | None
    followup: str | None
    unit: str | None
    came_to: dict[str, str]
    reasons: tuple[str, ...]


class Working(msgspec.Struct, frozen=True):
    """The criteria in words, the definitions of the study that were used, and the measures one by one."""

    criteria: tuple[str, ...]
    definitions: dict[str, str]
    steps: tuple[Step, ...]


def working(case: Case, outcome: Outcome, definitions: Definitions) -> Working | None:
    """How the outcome came about; None for one that is no composite, or of a patient without exposure."""
    first = battery.exposure_of(case).first
    if outcome.variable not in composites.variables() or first is None:
        return None
    measured = records_of(case).of(core_set.VARIABLES)
    setting = composites.setting_of(case, first, measured, definitions)
    if outcome.rule == tis.RULE:
        return _of_score(setting, outcome.visit)
    window = _window(definitions, outcome.visit)
    if outcome.rule == inactive.RULE:
        return Working(_limits(outcome.variable), window, tuple(_of_limits(setting, outcome.visit)))
    visits = [outcome.visit]
    if outcome.rule == imacs.PRODERM and outcome.visit is not None:
        visits = [composites.previous_visit(setting, outcome.visit), outcome.visit]
    steps = [step for visit in visits for step in _of_verdict(setting, outcome.rule, visit)]
    return Working(imacs.CRITERIA[outcome.rule], window, tuple(steps))


def _of_score(setting: Setting, visit: str | None) -> Working:
    window = _window(setting.definitions, visit)
    if setting.population is None:
        return Working(
            ("thresholds of adults or of juveniles: the age at the first exposure is not known",), window, ()
        )
    thresholds = ", ".join(f"{name} >= {least}" for name, least in reversed(tis.THRESHOLDS[setting.population]))
    whose = {"adult": "adults", "jdm": "juvenile dermatomyositis"}[setting.population]
    found = tis.scored(setting.core, visit, setting.population, setting.definitions)
    ranges = setting.definitions.enzyme_range_in_uln
    if setting.population == "jdm":
        ranges = setting.definitions.enzyme_range_in_uln_juvenile
    used = {
        f"range of {name}": f"{to_text(times_uln)} x ULN" for name, times_uln in ranges.items() if _is_used(name, found)
    }
    multiples = core_set.multiples_of_uln(setting.core)
    if len(multiples) > 1:
        told = (f"{name} {percent_text(one) if one is not None else 'unknown'}" for name, one in multiples.items())
        used["most abnormal enzyme, x ULN at baseline"] = ", ".join(told)
    return Working(
        (f"of six measures, all known; {whose}: {thresholds}",),
        {**window, **used},
        tuple(_step_of_score(one, visit) for one in found),
    )


def _is_used(variable: str, found: tuple[Scored, ...]) -> bool:
    return any(one.compared.variable == variable for one in found)


def _step_of_score(one: Scored, visit: str | None) -> Step:
    came_to = {}
    if one.range is not None and one.percent is not None:
        unit = " x ULN" if one.in_multiples else ""
        came_to = {"range": f"{to_text(one.range)}{unit}", "percent": percent_text(one.percent)}
    if one.uln is not None:
        came_to["uln"] = to_text(one.uln)
    if one.points is not None and one.percent is not None:
        low, _ = tis.bands_possible(one.compared.measure.name, one.percent)
        came_to |= {"band": _band(tis.edges(one.compared.measure.name), low), "points": to_text(one.points)}
    return _step(one.compared, visit, came_to, one.reasons)


def _band(edges: tuple[object, ...], index: int) -> str:
    """A band in percent: open below, closed above."""
    if index == 0:
        return f"<= {edges[0]} % or worse"
    return f"> {edges[index - 1]} %" if index == len(edges) else f"> {edges[index - 1]} to {edges[index]} %"


def _of_verdict(setting: Setting, rule: str, visit: str | None) -> Iterator[Step]:
    for one in composites.imacs_verdict(rule, setting.core, visit).judged:
        percent = percent_of_baseline(one.compared)
        asked = {name: word(verdict) or "unknown" for name, verdict in one.verdicts.items()}
        came_to = {"percent": percent_text(percent), **asked} if percent is not None else asked
        yield _step(one.compared, visit, came_to, imacs.unknown(one))


def _limits(variable: str) -> tuple[str, ...]:
    kept = f"at least {inactive.ENOUGH} of {len(inactive.LIMITS)} limits kept"
    return (kept, "the physician's global activity among them") if variable.endswith("_phga") else (kept,)


def _of_limits(setting: Setting, visit: str | None) -> Iterator[Step]:
    for one in composites.limits_kept(setting.core, visit):
        came_to = {"limit": inactive.LIMITS[one.variable].words, "kept": word(one.met) or "unknown"}
        value, unit = _value(one.assessment), _unit(one.assessment)
        yield Step(one.variable, one.variable, visit, None, value, unit, came_to, one.reasons)


def _step(one: Compared, visit: str | None, came_to: dict[str, str], reasons: tuple[str, ...]) -> Step:
    seen = one.seen.assessment if one.seen is not None else None
    return Step(
        one.measure.name,
        one.variable,
        visit,
        _value(one.start),
        _value(seen),
        _unit(one.start or seen),
        came_to,
        reasons,
    )


def _window(definitions: Definitions, visit: str | None) -> dict[str, str]:
    """The window of the visit, in days since the first exposure."""
    return {
        one.name: f"day {one.day}, {one.first_day} to {one.last_day}" for one in definitions.visits if one.name == visit
    }


def _value(one: Assessment | None) -> str | None:
    return value_text(one.measured.result) if one is not None else None


def _unit(one: Assessment | None) -> str | None:
    return one.measured.result.unit if one is not None else None
