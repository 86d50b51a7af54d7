"""What an outcome comes to by a published definition, as codes: the definition's id, a dot, and the verdict.

`cdasi-a-band-upenn-19.moderate-severe`. What stands among the verdicts of an outcome and is none (a population, an amount) has
no code, and is noted.
"""

from collections.abc import Iterator, Mapping
from functools import cache

from dm_fhir.mappings.codes import own_code
from dm_fhir.mappings.written import CodeableConcept, Coding
from dm_fhir.outcomes import exposure
from dm_fhir.outcomes.instruments import INSTRUMENTS
from dm_fhir.outcomes.labels import label
from dm_fhir.outcomes.thresholds import Bands, Threshold

SYSTEM = "https://w3id.org/dm-fhir/CodeSystem/verdict"
_YES_OR_NO = ("yes", "no")
#: What is asked beside the definitions of the instruments, in words: of the dose of glucocorticoid, of each measure of a composite.
_ASKED = {
    "ge_25": "dose of glucocorticoid lower by at least 25 %",
    "ge_50": "dose of glucocorticoid lower by at least 50 %",
    "le_7_5": "dose of glucocorticoid of at most 7.5 mg a day",
    "le_5": "dose of glucocorticoid of at most 5 mg a day",
    "improved_20": "improved by at least 20 % of the baseline",
    "worse_20": "worse by at least 20 % of the baseline",
    "worse_25": "worse by at least 25 % of the baseline",
    "worse_30": "worse by at least 30 % of the baseline",
    "worse_above_30": "worse by more than 30 % of the baseline",
    "worse_2_cm": "worse by at least 2 cm",
    "limit_kept": "limit of inactive disease kept",
}


def codes() -> Iterator[Coding]:
    """Every code, with the definition and the verdict in words; in an order that depends on nothing but the definitions."""
    return (one.coding[0] for one in _CONCEPTS.values())


def interpretations(verdicts: Mapping[str, str]) -> tuple[CodeableConcept, ...]:
    """The verdicts that have a code, one concept each."""
    return tuple(found for pair in verdicts.items() if (found := _CONCEPTS.get(pair)) is not None)


@cache
def noted(definition: str, verdict: str) -> str | None:
    """What is said in a note since it has no code; None of what has one."""
    return (
        None if (definition, verdict) in _CONCEPTS else f"{definition.replace('_', ' ')}: {verdict.replace('_', ' ')}"
    )


def _all() -> Iterator[tuple[str, str, str]]:
    """Each definition and verdict, and the two in words."""
    for instrument in INSTRUMENTS:
        name = label(instrument.name)
        for threshold in instrument.thresholds:
            words = f"{name}, {threshold.words(instrument.unit)} ({threshold.source})"
            yield from ((threshold.id, verdict, f"{words}: {verdict}") for verdict in _verdicts_of(threshold))
        for bands in instrument.bands:
            words = f"{name}, {_asked_by(bands)} ({bands.source})"
            yield from ((bands.id, band, f"{words}: {band.replace('_', ' ')}") for band, _ in bands.bands)
        if instrument.in_uln:
            words = f"{name}, raised at baseline, within its upper limit of normal at follow-up"
            yield from ((f"{instrument.name}_normalised", verdict, f"{words}: {verdict}") for verdict in _YES_OR_NO)
    for asked, words in _ASKED.items():
        yield from ((asked, verdict, f"{words}: {verdict}") for verdict in _YES_OR_NO)
    for verdict in exposure.INTERVAL_CLASSES:
        said = verdict.replace("_", " ")
        yield "interval_class", verdict, f"interval to the infusion before, by the label's four weeks: {said}"


def _verdicts_of(threshold: Threshold) -> tuple[str, ...]:
    return ("better", "worse", "no") if threshold.sense == "either" else _YES_OR_NO


def _asked_by(bands: Bands) -> str:
    """What the bands are of; where they are yes and no, what is asked. A study may choose the edges of the others."""
    asked = next((band.words for name, band in bands.bands if name == "yes"), None)
    return asked or ("band of its multiple of the upper limit of normal" if bands.of == "x_uln" else "band")


_CONCEPTS = {
    (definition, verdict): CodeableConcept((Coding(SYSTEM, f"{own_code(definition)}.{own_code(verdict)}", words),))
    for definition, verdict, words in _all()
}
