"""What the outcomes come to by published definitions, over the patients: any definition that an outcome names."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from dm_fhir.model.case import Outcome
from dm_fhir.statistics.cohort import BASELINE, Cohort, Patient

#: What a definition of a change says: of one in either direction which way it was.
MET_OR_NOT = frozenset({"yes", "no", "better", "worse"})
_PARTS = ("_percent_improvement", "_improvement")


class Verdicts(NamedTuple):
    """Of one definition: how many of the `n` patients of whom it is decided come to what; why it is not of the others."""

    definition: str
    n: int
    counts: dict[str, int]
    lacking: dict[str, int]


class Speaking(NamedTuple):
    """A definition, and the variables of the outcomes that have a verdict by it: of a value at baseline, of what came after.

    `said` is everything that it was found to say.
    """

    definition: str
    at_baseline: tuple[str, ...]
    after: tuple[str, ...]
    said: frozenset[str]

    @property
    def is_of_a_change(self) -> bool:
        """Whether it is met or not: a definition of response."""
        return not self.at_baseline and self.said <= MET_OR_NOT

    @property
    def is_of_a_value(self) -> bool:
        """Whether it says how severe a value is. An outcome may also tell facts that are neither, such as days that were known."""
        told_in_words = not any(one[:1].isdigit() or one[:1] == "-" for one in self.said)
        of_a_measure = bool(self.at_baseline) or all(one.endswith("_improvement") for one in self.after)
        return told_in_words and of_a_measure and not self.is_of_a_change


def definitions_seen(cohort: Cohort, order: Sequence[str] = ()) -> tuple[Speaking, ...]:
    """All definitions that an outcome has a verdict by: those of `order` first, in its order, others by name."""
    variables: dict[str, set[str]] = {}
    said: dict[str, set[str]] = {}
    for patient in cohort.patients:
        for one in patient.outcomes:
            for name, verdict in one.verdicts.items():
                variables.setdefault(name, set()).add(one.variable)
                said.setdefault(name, set()).add(verdict)
    names = (*(name for name in order if name in said), *sorted(said.keys() - set(order)))
    return tuple(_speaking(name, variables[name], said[name]) for name in names)


def _speaking(name: str, variables: set[str], said: set[str]) -> Speaking:
    at_baseline = tuple(sorted(one for one in variables if one.endswith("_baseline")))
    return Speaking(name, at_baseline, tuple(sorted(variables.difference(at_baseline))), frozenset(said))


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
            needed = variables if definition.is_of_a_change else ()
            lacking[_reason(patient, found, needed)] += 1
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
            lacking[_reason(patient, found, ())] += 1
    return Verdicts(variable, counts.total(), dict(counts), dict(sorted(lacking.items())))


def _reason(patient: Patient, found: Outcome | None, of_a_change: Iterable[str]) -> str:
    """Why an outcome says nothing. A change of these variables lacks the baseline first, whatever else it lacks."""
    for variable in of_a_change:
        start = patient.at((f"{_measure(variable)}_baseline",), BASELINE)
        if start is not None and "baseline_missing" in start.reasons:
            return "baseline_missing"
    if found is None:
        return "followup_missing"
    return found.reasons[0] if found.reasons else "not_decided"


def _measure(variable: str) -> str:
    return next((variable.removesuffix(part) for part in _PARTS if variable.endswith(part)), variable)
