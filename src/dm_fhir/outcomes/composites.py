"""The response criteria over the core set, at every visit: TIS, IMACS, ProDERM, PRINTO, inactive juvenile disease.

Each rule is asked at every visit at which one of its measures was seen. Without such a visit it yields one outcome with its
reasons; so it does where no visit decides it and all lack the same, which is then said once. The criteria for juveniles are
asked of juvenile dermatomyositis only.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from fractions import Fraction
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from msgspec.structs import replace

from dm_fhir.model.case import Assessment, Case, Input, Outcome
from dm_fhir.model.dates import span
from dm_fhir.model.definitions import Definitions
from dm_fhir.outcomes import ages, core_set, imacs, inactive, parts, tis
from dm_fhir.outcomes.ages import ADULT_YEARS, Population
from dm_fhir.outcomes.bounds import all_of, value_text, word
from dm_fhir.outcomes.core_set import IMACS, PRINTO, Compared, CoreSet, Measure
from dm_fhir.outcomes.exposure import Infusion

NO_POPULATION = "population_unknown"


class Setting(NamedTuple):
    """What the rules are asked about: one patient, from the first exposure on. `population` None: adult or not is unknown."""

    case: Case
    core: CoreSet
    population: Population | None
    is_juvenile: bool
    flags: tuple[str, ...]
    definitions: Definitions


class Asked(NamedTuple):
    """A rule, of whom, and at which visit; None for the case as a whole."""

    rule: "Rule"
    setting: Setting
    visit: str | None


class Rule(NamedTuple):
    """A rule, the variables whose values make a visit of it, and what it yields there; `variable` is its first outcome.

    `instead` are variables that only count for juveniles under 18.
    """

    variable: str
    id: str
    version: str
    measured: tuple[str, ...]
    at: Callable[[Asked], list[Outcome]]
    first_visit: int = 0
    of_juveniles: bool = False
    instead: tuple[str, ...] = ()


class _Used(NamedTuple):
    role: str
    assessment: Assessment


def composites(
    case: Case, first: Infusion | None, measured: Iterable[Assessment], definitions: Definitions
) -> list[Outcome]:
    """Every outcome of the rules for a case, rule by rule; `measured` are its assessments of `core_set.VARIABLES`."""
    if first is None:
        asked = [rule for rule in RULES if not rule.of_juveniles]
        return [Outcome(rule.variable, rule.id, rule.version, reasons=("no_exposure",)) for rule in asked]
    setting = setting_of(case, first, measured, definitions)
    return [outcome for rule in rules_for(setting) for outcome in _of_rule(rule, setting)]


def setting_of(case: Case, first: Infusion, measured: Iterable[Assessment], definitions: Definitions) -> Setting:
    """What the rules are asked about in this case."""
    juvenile, age = ages.is_juvenile(case, first.start), ages.age_at(case, first.start)
    is_surely_adult = juvenile is False or (age is not None and age[0] >= ADULT_YEARS)
    return Setting(
        case,
        core_set.core_set(case, measured, first.span, definitions),
        ages.population(case, first.start),
        juvenile is True,
        () if juvenile or is_surely_adult else ("age_unknown",),
        definitions,
    )


def rules_for(setting: Setting) -> list[Rule]:
    """The rules that this patient is asked."""
    return [rule for rule in RULES if setting.is_juvenile or not rule.of_juveniles]


def variables() -> tuple[str, ...]:
    """Every variable that an outcome of these rules can have."""
    return (*(rule.variable for rule in RULES), "tis_category", "tis_lower_bound", "jdm_inactive_phga")


def previous_visit(setting: Setting, visit: str) -> str | None:
    """The visit of the schedule before this one; None for the first."""
    names = [one.name for one in setting.definitions.visits]
    place = names.index(visit) if visit in names else 0
    return names[place - 1] if place else None


def imacs_verdict(rule: str, core: CoreSet, visit: str | None) -> imacs.Verdict:
    """What one of the rules of `imacs.py` says of a visit, for `imacs.PRODERM` without its confirmation."""
    return _JUDGES[rule]([core_set.compared(core, measure, visit) for measure in imacs.SETS[rule]])


_JUDGES: Mapping[str, Callable[[Sequence[Compared]], imacs.Verdict]] = {
    imacs.IMPROVE: imacs.improvement,
    imacs.WORSEN: imacs.worsening,
    imacs.PRODERM: imacs.worsening,
    imacs.PRINTO_RULE: imacs.printo_improvement,
}


def limits_kept(core: CoreSet, visit: str | None) -> tuple[inactive.Kept, ...]:
    """Each limit of inactive juvenile disease at a visit."""
    seen = {name: core.seen(name, visit) for name in inactive.LIMITS}
    missing = {name: core_set.followup_missing(core, name, visit) for name, one in seen.items() if one is None}
    return inactive.kept({name: one.assessment if one else None for name, one in seen.items()}, missing)


def _of_rule(rule: Rule, setting: Setting) -> list[Outcome]:
    schedule = [visit.name for visit in setting.definitions.visits][rule.first_visit :]
    visits = [name for name in schedule if _seen(rule, setting, name)]
    if not visits or (rule.id == tis.RULE and setting.population is None):
        return rule.at(Asked(rule, setting, None))[:1]
    found = [rule.at(Asked(rule, setting, name)) for name in visits]
    shared = _lacking_everywhere([outcomes[0] for outcomes in found])
    if not shared:
        return [outcome for outcomes in found for outcome in outcomes]
    only_starts = tuple(one for one in found[0][0].inputs if one.role == "baseline")
    # What is said once, of no visit, has no parts: they would be those of the first.
    once = replace(found[0][0], visit=None, when=None, reasons=shared, inputs=only_starts, parts=())
    return [once, *(one for outcomes in found for one in outcomes if _is_told(one))]


def _seen(rule: Rule, setting: Setting, visit: str | None) -> list[Assessment]:
    """What stands for the visit of all that the rule asks for, whether or not it comes to use it."""
    variables = (*rule.measured, *(rule.instead if setting.population == "jdm" else ()))
    found = (setting.core.seen(name, visit) for name in variables)
    return [one.assessment for one in found if one is not None]


def _lacking_everywhere(outcomes: Sequence[Outcome]) -> tuple[str, ...]:
    """The reasons that several visits share, where none of them could be decided."""
    if len(outcomes) < 2 or any(map(_is_told, outcomes)):
        return ()
    return tuple(reason for reason in outcomes[0].reasons if all(reason in one.reasons for one in outcomes))


def _is_told(one: Outcome) -> bool:
    return one.number is not None or one.answer is not None


def _tis(asked: Asked) -> list[Outcome]:
    """The score, its category, and where the study wants it the points of what is known."""
    setting = asked.setting
    if setting.population is None:
        return [_outcome(asked, "tis", (), reasons=(NO_POPULATION,))]
    found = tis.scored(setting.core, asked.visit, setting.population, setting.definitions)
    used = [one for each in found for one in _compared(each.compared)]
    reasons = tuple(reason for each in found for reason in each.reasons)
    flags = (*setting.flags, *(flag for each in found for flag in each.compared.flags))
    known = [each.points for each in found if each.points is not None]
    total, says = sum(known, Fraction(0)), {"population": setting.population}
    came_to = tuple(map(parts.of_score, found))
    if not reasons:
        shared: dict[str, Any] = {"flags": flags, "verdicts": says, "parts": came_to}
        return [
            _outcome(asked, "tis", used, number=total, unit="{score}", **shared),
            _outcome(asked, "tis_category", used, answer=tis.category(total, setting.population), **shared),
        ]
    names = ("tis", "tis_category")
    outcomes = [_outcome(asked, name, used, reasons=reasons, verdicts=says, parts=came_to) for name in names]
    if setting.definitions.tis_lower_bound and known:
        shared = {"flags": (*flags, *reasons), "verdicts": says, "parts": came_to}
        outcomes.append(_outcome(asked, "tis_lower_bound", used, number=total, unit="{score}", **shared))
    return outcomes


def _imacs(asked: Asked) -> list[Outcome]:
    found = imacs_verdict(asked.rule.id, asked.setting.core, asked.visit)
    return [_of_verdict(asked, found.met, found.judged, found.reasons)]


def _proderm(asked: Asked) -> list[Outcome]:
    """Deterioration at this visit and at the one before it."""
    rule, setting, visit = asked
    first = next((one.name for one in setting.definitions.visits), None)
    if visit is None and _seen(rule, setting, first):
        return [_outcome(asked, rule.variable, (), reasons=("followup_missing:second_visit",))]
    before = previous_visit(setting, visit) if visit is not None else None
    now, earlier = (imacs_verdict(rule.id, setting.core, name) for name in (visit, before))
    met = all_of(now.met, earlier.met)
    lacking = now.reasons
    if before is not None and not _seen(rule, setting, before):
        lacking = (*lacking, f"followup_missing:{before}")
    elif before is not None:
        lacking = (*lacking, *(f"{reason}@{before}" for reason in earlier.reasons))
    found = _of_verdict(asked, met, now.judged, lacking if met is None else ())
    seen_before = [one.compared.seen.assessment for one in earlier.judged if one.compared.seen is not None]
    return [replace(found, inputs=(*found.inputs, *(_input(_Used("earlier_followup", one)) for one in seen_before)))]


def _inactive(asked: Asked) -> list[Outcome]:
    """Inactive disease, and the same with the physician's global activity mandatory."""
    kept = limits_kept(asked.setting.core, asked.visit)
    found = {one.variable: one.met for one in kept}
    used = [_Used("followup", one.assessment) for one in kept if one.assessment is not None]
    flags = tuple(flag for one in used for flag in one.assessment.measured.result.flags)
    lacking = tuple(reason for one in kept for reason in one.reasons)
    answers = {
        "jdm_inactive": inactive.is_inactive(found),
        "jdm_inactive_phga": inactive.is_inactive_by_physician(found),
    }
    came_to = tuple(map(parts.of_limit, kept))
    return [
        _outcome(asked, name, used, reasons=lacking, parts=came_to)
        if met is None
        else _outcome(asked, name, used, answer=word(met), flags=flags, parts=came_to)
        for name, met in answers.items()
    ]


def _variables(measures: Iterable[Measure]) -> tuple[str, ...]:
    return tuple(name for measure in measures for name in measure.variables)


RULES = (
    Rule("tis", tis.RULE, tis.VERSION, _variables(IMACS), _tis, instead=_variables(PRINTO)),
    Rule("imacs_improvement", imacs.IMPROVE, imacs.VERSION, _variables(imacs.SETS[imacs.IMPROVE]), _imacs),
    Rule("imacs_worsening", imacs.WORSEN, imacs.VERSION, _variables(imacs.SETS[imacs.WORSEN]), _imacs),
    Rule(
        "proderm_deterioration",
        imacs.PRODERM,
        imacs.VERSION,
        _variables(imacs.SETS[imacs.PRODERM]),
        _proderm,
        first_visit=1,
    ),
    Rule("printo_improvement", imacs.PRINTO_RULE, imacs.VERSION, _variables(PRINTO), _imacs, of_juveniles=True),
    Rule("jdm_inactive", inactive.RULE, inactive.VERSION, tuple(inactive.LIMITS), _inactive, of_juveniles=True),
)


def _of_verdict(asked: Asked, met: bool | None, judged: Sequence[imacs.Judged], reasons: tuple[str, ...]) -> Outcome:
    used = [one for each in judged for one in _compared(each.compared)]
    flags = tuple(flag for each in judged for flag in each.compared.flags) if met is not None else ()
    came_to = tuple(map(parts.of_verdict, judged))
    return _outcome(asked, asked.rule.variable, used, reasons=reasons, answer=word(met), flags=flags, parts=came_to)


def _outcome(
    asked: Asked,
    variable: str,
    used: Sequence[_Used],
    reasons: Iterable[str] = (),
    flags: Iterable[str] = (),
    **values: Any,
) -> Outcome:
    # A visit whose values are of no use, such as of an enzyme that is not followed, has the time of those.
    seen = [one.assessment for one in used if one.role == "followup"] or _seen(asked.rule, asked.setting, asked.visit)
    return Outcome(
        variable, asked.rule.id, asked.rule.version, visit=asked.visit,
        when=_latest([one.time for one in seen], asked.setting),
        reasons=tuple(dict.fromkeys(reasons)), flags=tuple(sorted(set(flags))), inputs=tuple(map(_input, used)), **values,
    )  # fmt: skip


def _compared(one: Compared) -> Iterator[_Used]:
    if one.start is not None:
        yield _Used("baseline", one.start)
    if one.seen is not None:
        yield _Used("followup", one.seen.assessment)


def _input(used: _Used) -> Input:
    return Input(used.role, used.assessment.source, value_text(used.assessment.measured.result))


def _latest(times: Iterable[str | None], setting: Setting) -> str | None:
    """The latest of the times; they all could be read, or their assessments would not have been used."""
    zone = ZoneInfo(setting.case.timezone)

    def end(time: str) -> tuple[datetime, str]:
        return span(time, zone).end, time

    return max((time for time in times if time), key=end, default=None)
