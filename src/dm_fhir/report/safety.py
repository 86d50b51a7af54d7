"""Sentences about harm: adverse events, new signs, and why treatment ended."""

from collections.abc import Iterator

from dm_fhir.model.dates import last_day
from dm_fhir.outcomes.adverse_events import Events, events
from dm_fhir.outcomes.discontinuation import Discontinuation, discontinuation
from dm_fhir.outcomes.manifestations import is_manifestation
from dm_fhir.report.cohort import Cohort, Patient
from dm_fhir.report.sentence import Sentence, lacking, listed, ranked, shown_counts
from dm_fhir.report.words import condition_words, event_words
from dm_fhir.statistics.summaries import count_of_n


def sentences_of_safety(cohort: Cohort, drug: str) -> Iterator[Sentence]:
    """Adverse events, new signs, discontinuation."""
    yield _adverse_events(cohort, drug)
    yield _new_signs(cohort)
    yield _discontinuation(cohort, drug)


def _adverse_events(cohort: Cohort, drug: str) -> Sentence:
    found: list[Events] = [events(patient.case, patient.exposed) for patient in cohort.patients]
    counts = ranked(event_words(one.term) for each in found for one in each.counted)
    total, having = sum(counts.values()), sum(bool(each.counted) for each in found)
    text = f"Adverse events recorded since the first infusion: {total} event{'s' * (total != 1)} in "
    text += f"{count_of_n(having, cohort.n)} patients"
    text += f" ({', '.join(f'{term} {count}' for term, count in counts.items())})" if counts else ""
    judged = [one.related for each in found for one in each.counted if one.related is not None]
    related = f"judged at least possibly related to {drug} in {count_of_n(sum(judged), len(judged))} judged"
    text += f"; {related if judged else 'whether the drug caused them was not judged'}." if counts else "."
    missing = lacking(
        {
            "with an undated adverse event, which is counted": sum(bool(each.undated) for each in found),
            "with a copy of an adverse event, which is not": sum(_has_copies(each) for each in found),
        },
        cohort.n,
    )
    values = shown_counts({"patients": having}, cohort.n) | {"events": str(total)}
    values |= {"judged": str(len(judged)), "related": str(sum(judged))} if judged else {}
    return Sentence("adverse_events", text, values | {term: str(count) for term, count in counts.items()}, missing)


def _has_copies(found: Events) -> bool:
    return any(reason == "duplicate" for _, reason in found.left_out)


def _new_signs(cohort: Cohort) -> Sentence:
    found = [_new(patient) for patient in cohort.patients]
    counts = ranked(variable for signs in found for variable in signs)
    having = sum(bool(signs) for signs in found)
    text = f"Signs that began after the first infusion: {count_of_n(having, cohort.n)} patients"
    text += f" ({', '.join(f'{condition_words(name)} {count}' for name, count in counts.items())})." if counts else "."
    return Sentence("new_signs", text, shown_counts({"patients": having, **counts}, cohort.n))


def _new(patient: Patient) -> set[str]:
    start = last_day(patient.started.span, patient.zone)
    return {
        variable
        for one in patient.case.conditions
        if is_manifestation(variable := one.concept.variable or "") and patient.by(one.onset, start) is False
    }


def _discontinuation(cohort: Cohort, drug: str) -> Sentence:
    found = [discontinuation(patient.case, patient.exposed) for patient in cohort.patients]
    known = [one for one in found if one.stopped is not None]
    counts = ranked(_reason_words(one) for one in known if one.stopped)
    stopped = sum(counts.values())
    text = f"{drug.capitalize()} was documented as stopped in {count_of_n(stopped, len(known))}; "
    text += listed({"for an adverse event": counts.get("adverse event", 0)}, len(known))
    others = {reason: count for reason, count in counts.items() if reason != "adverse event"}
    text += f", {listed(others, len(known))}." if others else "."
    text = text if known else f"Whether {drug} was stopped is not documented."
    values = shown_counts({"stopped": stopped, "adverse event": 0, **counts}, len(known))
    missing = lacking({"where no record tells whether it was stopped": cohort.n - len(known)}, cohort.n)
    return Sentence("discontinuation", text, values, missing)


def _reason_words(found: Discontinuation) -> str:
    """A reason that a paper tells apart, else the record's own words."""
    if found.reason is None:
        return "reason not documented"
    if found.reason != "other" or found.recorded is None:
        return found.reason.replace("_", " ").replace("follow up", "follow-up")
    displays = (coding.display for coding in found.recorded.codings)
    return next((name for name in (found.recorded.text, *displays) if name), "reason not documented")
