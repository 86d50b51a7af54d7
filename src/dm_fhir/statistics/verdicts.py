"""What the outcomes come to by published definitions, over the patients: any definition that an outcome names."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from dm_fhir.model.case import Outcome
from dm_fhir.statistics.cohort import BASELINE, Cohort, Patient

_PARTS = ("_percent_improvement", "_improvement", "_baseline")


class Verdicts(NamedTuple):
    """Of one definition: how many of the `n` patients of whom it is decided come to what; why it is not of the others."""

    definition: str
    n: int
    counts: dict[str, int]
    lacking: dict[str, int]


class Speaking(NamedTuple):
    """A definition, and the variables of the outcomes that have a verdict by it: of a value at baseline, of what came after."""

    definition: str
    at_baseline: tuple[str, ...]
    after: tuple[str, ...]


def definitions_seen(cohort: Cohort, order: Sequence[str] = ()) -> tuple[Speaking, ...]:
    """All definitions that an outcome has a verdict by: those of `order` first, in its order, others by name."""
    speaking: dict[str, set[str]] = {}
    for patient in cohort.patients:
        for variable, alike in patient.by_variable.items():
            for name in {name for one in alike for name in one.verdicts}:
                speaking.setdefault(name, set()).add(variable)
    names = (*(name for name in order if name in speaking), *sorted(speaking.keys() - set(order)))
    return tuple(_speaking(name, speaking[name]) for name in names)


def _speaking(name: str, variables: set[str]) -> Speaking:
    at_baseline = tuple(sorted(one for one in variables if one.endswith("_baseline")))
    return Speaking(name, at_baseline, tuple(sorted(variables.difference(at_baseline))))


def verdicts(cohort: Cohort, definition: Speaking, visit: str) -> Verdicts:
    """What the patients come to by a definition at a visit, at the last follow-up or at baseline."""
    variables = definition.at_baseline if visit == BASELINE else definition.after
    counts: Counter[str] = Counter()
    lacking: Counter[str] = Counter()
    for patient in cohort.patients:
        found = patient.at(variables, visit)
        verdict = found.verdicts.get(definition.definition) if found else None
        if verdict is not None:
            counts[verdict] += 1
        else:
            lacking[reason_of(patient, found, variables)] += 1
    return Verdicts(definition.definition, counts.total(), dict(counts), dict(sorted(lacking.items())))


def answers(cohort: Cohort, variable: str, visit: str) -> Verdicts:
    """What the patients come to by the answers of one variable, such as `tis_category`."""
    counts: Counter[str] = Counter()
    lacking: Counter[str] = Counter()
    for patient in cohort.patients:
        found = patient.at((variable,), visit)
        if found is not None and found.answer is not None:
            counts[found.answer] += 1
        else:
            lacking[reason_of(patient, found, {variable})] += 1
    return Verdicts(variable, counts.total(), dict(counts), dict(sorted(lacking.items())))


def reason_of(patient: Patient, found: Outcome | None, variables: Iterable[str]) -> str:
    """Why an outcome says nothing: its first reason, else that of another of the measure, else `followup_missing`."""
    if found is not None and found.reasons:
        return found.reasons[0]
    if found is not None:
        return "not_decided"
    baselines = {f"{_measure(name)}_baseline" for name in variables}
    others = [one for name in sorted(baselines) for one in patient.by_variable.get(name, ())]
    if not any(one.reasons for one in others):
        return "followup_missing"
    return next(one.reasons[0] for one in others if one.reasons)


def _measure(variable: str) -> str:
    return next((variable.removesuffix(part) for part in _PARTS if variable.endswith(part)), variable)
