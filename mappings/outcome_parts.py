"""The parts of a composite as components of its Observation: points, percentages, limits kept, of each measure.

A component's code is what it was measured by (else the measure) and what is said of it: `ck-percent-of-range`.
"""

from collections.abc import Iterator
from decimal import Decimal
from fractions import Fraction
from functools import cache

from dm_fhir.mappings.codes import UCUM, own_code
from dm_fhir.mappings.outcome_verdicts import interpretations
from dm_fhir.mappings.written import CodeableConcept, Coding, Component, Quantity
from dm_fhir.model.case import Part
from dm_fhir.model.exact import rounded, to_decimal
from dm_fhir.outcomes import core_set, inactive, tis
from dm_fhir.outcomes.answers import answer_words
from dm_fhir.outcomes.labels import label

SYSTEM = "https://w3id.org/dm-fhir/CodeSystem/part"
ANSWER_SYSTEM = "https://w3id.org/dm-fhir/CodeSystem/answer"
ABSENT_SYSTEM = "http://terminology.hl7.org/CodeSystem/data-absent-reason"
_SAID = {
    "points": "points of the Total Improvement Score",
    "percent_of_range": "improvement in percent of the range of its scale (positive = better)",
    "percent_of_baseline": "improvement in percent of its baseline (positive = better)",
    "limit_kept": "whether the limit of inactive disease is kept",
}


def codes() -> Iterator[Coding]:
    """Every code that a component can have, with its words."""
    measures = dict.fromkeys(
        name for each in (core_set.IMACS, core_set.PRINTO) for one in each for name in (*one.variables, one.name)
    )
    for name in measures:
        yield from (_code(name, said).coding[0] for said in ("points", "percent_of_range", "percent_of_baseline"))
    yield from (_code(name, "limit_kept").coding[0] for name in inactive.LIMITS)


def components(parts: tuple[Part, ...], rule: str) -> tuple[Component, ...]:
    """The components of a composite that `rule` made; none of an outcome without parts."""
    if not parts:
        return ()
    says = _of_score if rule == tis.RULE else _of_limit if rule == inactive.RULE else _of_verdict
    return tuple(one for part in parts for one in says(part))


def absent(reasons: tuple[str, ...]) -> CodeableConcept:
    """Why there is no value: "unknown" is the plain one of the value set, the reasons are the words."""
    return CodeableConcept((Coding(ABSENT_SYSTEM, "unknown"),), ", ".join(reasons) or None)


def percent(number: Fraction) -> Decimal:
    """Percents as the report shows them, to one decimal."""
    return rounded(number, 1)


def answer(word: str) -> CodeableConcept:
    """An answer as a code of ours."""
    words = answer_words(word)
    return CodeableConcept((Coding(ANSWER_SYSTEM, own_code(word), words),), words)


def _of_score(part: Part) -> Iterator[Component]:
    code = _code(part.variable or part.measure, "points")
    if part.points is None:
        yield Component(code, data_absent_reason=absent(part.reasons))
    else:
        points = to_decimal(part.points)
        number = points if points is not None else rounded(part.points, 1)
        yield Component(code, value_quantity=Quantity(number, "{score}", UCUM, "{score}"))
    yield _of_percent(part, "percent_of_range", part.percent_of_range)


def _of_verdict(part: Part) -> Iterator[Component]:
    yield _of_percent(part, "percent_of_baseline", part.percent_of_baseline)


def _of_limit(part: Part) -> Iterator[Component]:
    code, kept = _code(part.measure, "limit_kept"), part.verdicts.get("limit_kept")
    if kept is None:
        yield Component(code, data_absent_reason=absent(part.reasons))
    else:
        yield Component(code, value_codeable_concept=answer(kept))


def _of_percent(part: Part, said: str, number: Fraction | None) -> Component:
    """A percentage, or between what it lies; of either, what was asked of the measure."""
    code, verdicts = _code(part.variable or part.measure, said), interpretations(part.verdicts)
    if number is not None:
        return Component(code, value_quantity=Quantity(percent(number), "%", UCUM, "%"), interpretation=verdicts)
    if part.between is not None:
        return Component(code, value_string=f"{part.between} %", interpretation=verdicts)
    return Component(code, data_absent_reason=absent(part.reasons), interpretation=verdicts)


@cache
def _code(name: str, said: str) -> CodeableConcept:
    words = f"{label(name)}: {_SAID[said]}"
    return CodeableConcept((Coding(SYSTEM, f"{own_code(name)}-{own_code(said)}", words),), words)
