"""What the outcomes come to by published definitions, over the patients: any definition that an outcome names."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from dm_fhir.model.case import Outcome
from dm_fhir.outcomes.composites import RULES
from dm_fhir.outcomes.instruments import INSTRUMENTS, whose
from dm_fhir.statistics.cohort import BASELINE, Cohort, Patient

#: What a definition of a change says: of one in either direction which way it was.
MET_OR_NOT = frozenset({"yes", "no", "better", "worse"})
#: Of whom took no glucocorticoid at baseline no reduction is asked (R-GC-COURSE).
_WITHOUT_DOSE = ("none_at_baseline", "started")
#: Asked of juvenile dermatomyositis only; nobody else lacks anything.
_OF_JUVENILES = frozenset(
    name for rule in RULES if rule.of_juveniles for name in (rule.variable, f"{rule.variable}_phga")
)
_PARTS = ("_percent_improvement", "_improvement")
#: Bands say how severe a value is, also where their words are yes and no and nobody has a baseline.
_BANDS = frozenset(bands.id for one in INSTRUMENTS for bands in one.bands)


class Verdicts(NamedTuple):
    """Of one definition: how many of the `n` patients of whom it is decided come to what; why it is not of the others."""

    definition: str
    n: int
    counts: dict[str, int]
    lacking: dict[str, int]


class Speaking(NamedTuple):
    """A definition, and the variables of the outcomes that have a verdict by it: of a value at baseline, of what came after.

    `said` is everything that it was found to say. `of` is what was measured, where the definition speaks of several
    measures, which are never taken for one.
    """

    definition: str
    at_baseline: tuple[str, ...]
    after: tuple[str, ...]
    said: frozenset[str]
    of: str = ""

    @property
    def is_of_a_change(self) -> bool:
        """Whether it is met or not: a definition of response."""
        return self.definition not in _BANDS and not self.at_baseline and self.said <= MET_OR_NOT

    @property
    def is_of_a_value(self) -> bool:
        """Whether it says how severe a value is. An outcome may also tell facts that are neither, such as days that were known."""
        told_in_words = not any(one[:1].isdigit() or one[:1] == "-" for one in self.said)
        of_a_measure = bool(self.at_baseline) or all(one.endswith("_improvement") for one in self.after)
        return told_in_words and of_a_measure and not self.is_of_a_change


def definitions_seen(cohort: Cohort, order: Sequence[str] = ()) -> tuple[Speaking, ...]:
    """All definitions that an outcome has a verdict by: those of `order` first, in its order, others by name."""
    said: dict[str, dict[str, set[str]]] = {}
    for patient in cohort.patients:
        for one in patient.outcomes:
            for name, verdict in one.verdicts.items():
                said.setdefault(name, {}).setdefault(one.variable, set()).add(verdict)
    names = (*(name for name in order if name in said), *sorted(said.keys() - set(order)))
    return tuple(one for name in names for one in _speaking(name, said[name]))


def _speaking(name: str, said: dict[str, set[str]]) -> Iterator[Speaking]:
    """The definition once for each measure: severe symptoms are not severe emotions, though one source defines both."""
    measures: dict[str, list[str]] = {}
    for variable in sorted(said):
        of_instrument = whose(variable)
        measures.setdefault(of_instrument[0].name if of_instrument else "", []).append(variable)
    for measure, variables in measures.items():
        at_baseline = tuple(one for one in variables if one.endswith("_baseline"))
        after = tuple(one for one in variables if one not in at_baseline)
        words = frozenset(word for one in variables for word in said[one])
        yield Speaking(name, at_baseline, after, words, measure if len(measures) > 1 else "")


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
        elif variable in _OF_JUVENILES and variable not in patient.by_variable:
            lacking["not_juvenile"] += 1
        else:
            lacking[_reason(patient, found, ())] += 1
    return Verdicts(variable, counts.total(), dict(counts), dict(sorted(lacking.items())))


def _reason(patient: Patient, found: Outcome | None, of_a_change: Iterable[str]) -> str:
    """Why an outcome says nothing. A change of these variables lacks the baseline first, whatever else it lacks."""
    for variable in of_a_change:
        if _measure(variable) == variable:
            continue
        start = patient.at((f"{_measure(variable)}_baseline",), BASELINE)
        if "baseline_missing" in start.reasons if start is not None else found is None:
            return "baseline_missing"
    if found is None:
        return "followup_missing"
    if found.answer in _WITHOUT_DOSE:
        return "none_at_baseline"
    return found.reasons[0] if found.reasons else "not_decided"


def _measure(variable: str) -> str:
    return next((variable.removesuffix(part) for part in _PARTS if variable.endswith(part)), variable)
