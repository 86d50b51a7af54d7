"""Sentences about harm: adverse events, new signs, and why treatment ended."""

from collections.abc import Iterator

from dm_fhir.outcomes.adverse_events import Events, events
from dm_fhir.report.sentence import Counted, Sentence, lacking
from dm_fhir.report.words import condition_words, event_words
from dm_fhir.statistics.cohort import Cohort
from dm_fhir.statistics.disease import new_manifestations
from dm_fhir.statistics.small_cells import SmallCells
from dm_fhir.statistics.tally import ranked
from dm_fhir.statistics.treatment import discontinuations


def sentences_of_safety(cohort: Cohort, drug: str, small: SmallCells) -> Iterator[Sentence]:
    """Adverse events, new signs, discontinuation."""
    yield _adverse_events(cohort, drug, small)
    yield _new_signs(cohort, small)
    yield _discontinuation(cohort, drug, small)


def _adverse_events(cohort: Cohort, drug: str, small: SmallCells) -> Sentence:
    found = [events(patient.case, patient.exposed) for patient in cohort.patients]
    counts = ranked(event_words(one.term) for each in found for one in each.counted)
    total, having = sum(counts.values()), sum(bool(each.counted) for each in found)
    of_terms = Counted(counts, total, small, exclusive=True)
    text = f"Adverse events recorded since the first infusion: {small.number(total)} event{'s' * (total != 1)} in "
    text += f"{small.of(having, cohort.n)} patients"
    text += f" ({of_terms.named()})" if counts else ""
    judged = [one.related for each in found for one in each.counted if one.related is not None]
    causal = f"judged at least possibly related to {drug} in {small.of(sum(judged), len(judged))} judged"
    text += f"; {causal if judged else 'whether the drug caused them was not judged'}." if counts else "."
    lacks = {
        "with an undated adverse event, which is counted": sum(bool(each.undated) for each in found),
        "with a copy of an adverse event, which is not": sum(_has_copies(each) for each in found),
    }
    missing = lacking(lacks, cohort.n, small)
    values = Counted({"patients": having}, cohort.n, small).values() | {"events": small.number(total)}
    if judged:
        related_of = small.instead(sum(judged), len(judged)) or str(sum(judged))
        values |= {"judged": small.number(len(judged)), "related": related_of}
    hidden = of_terms.hidden
    return Sentence(
        "adverse_events", text, values | {name: hidden.get(name, str(n)) for name, n in counts.items()}, missing
    )


def _has_copies(found: Events) -> bool:
    return any(reason == "duplicate" for _, reason in found.left_out)


def _new_signs(cohort: Cohort, small: SmallCells) -> Sentence:
    found = [new_manifestations(patient) for patient in cohort.patients]
    counts = ranked(variable for signs in found for variable in signs)
    having = sum(bool(signs) for signs in found)
    text = f"Signs that began after the first infusion: {small.of(having, cohort.n)} patients"
    text += f" ({Counted(counts, cohort.n, small).named(condition_words)})." if counts else "."
    return Sentence("new_signs", text, Counted({"patients": having, **counts}, cohort.n, small).values())


def _discontinuation(cohort: Cohort, drug: str, small: SmallCells) -> Sentence:
    tally = discontinuations(cohort)
    stopped = sum(tally.counts.values())
    others = {reason: count for reason, count in tally.counts.items() if reason != "adverse event"}
    for_event = Counted({"for an adverse event": tally.counts.get("adverse event", 0)}, tally.n, small)
    text = f"{drug.capitalize()} was documented as stopped in {small.of(stopped, tally.n)}; {for_event.listed()}"
    text += f", {Counted(others, tally.n, small).listed()}." if others else "."
    text = text if tally.n else f"Whether {drug} was stopped is not documented."
    values = Counted({"stopped": stopped, "adverse event": 0, **tally.counts}, tally.n, small).values()
    return Sentence("discontinuation", text, values, lacking(tally.lacking, cohort.n, small))
