"""Sentences about harm: adverse events, new signs, and why treatment ended."""

from collections.abc import Iterator

from dm_fhir.model.case import AdverseEvent, Therapy
from dm_fhir.model.dates import last_day
from dm_fhir.report.cohort import Cohort, Patient
from dm_fhir.report.disease import is_manifestation
from dm_fhir.report.sentence import Sentence, lacking, listed, ranked, shown_counts
from dm_fhir.report.treatment import OWN_SYSTEM, study_orders
from dm_fhir.report.words import condition_words, event_words
from dm_fhir.statistics.summaries import count_of_n

_HL7_REASON = "http://terminology.hl7.org/CodeSystem/medicationrequest-status-reason"
#: Coded reasons for stopping that a paper tells apart; any other is shown in its own words.
STOP_REASONS = {
    (OWN_SYSTEM, "lost-to-follow-up"): "lost to follow-up",
    (OWN_SYSTEM, "adverse-event"): "adverse event",
    (_HL7_REASON, "salg"): "adverse event",
    (_HL7_REASON, "sintol"): "adverse event",
}


def sentences_of_safety(cohort: Cohort, drug: str) -> Iterator[Sentence]:
    """Adverse events, new signs, discontinuation."""
    yield _adverse_events(cohort, drug)
    yield _new_signs(cohort)
    yield _discontinuation(cohort, drug)


def _adverse_events(cohort: Cohort, drug: str) -> Sentence:
    after = {patient.case.id: _after_start(patient) for patient in cohort.patients}
    counts = ranked(event_words(_term(event)) for events in after.values() for event in events)
    total, having = sum(counts.values()), sum(bool(events) for events in after.values())
    text = f"Adverse events recorded since the first infusion: {total} event{'s' * (total != 1)} in "
    text += f"{count_of_n(having, cohort.n)} patients"
    text += f" ({', '.join(f'{term} {count}' for term, count in counts.items())})" if counts else ""
    judged = [found for events in after.values() for one in events if (found := _related(one, drug)) is not None]
    related = f"judged at least possibly related to {drug} in {count_of_n(sum(judged), len(judged))} judged"
    text += f"; {related if judged else 'whether the drug caused them was not judged'}." if counts else "."
    undated = sum(any(patient.span(e.date) is None for e in patient.case.adverse_events) for patient in cohort.patients)
    missing = lacking({"with an undated adverse event, which is counted": undated}, cohort.n)
    values = shown_counts({"patients": having}, cohort.n) | {"events": str(total)}
    values |= {"judged": str(len(judged)), "related": str(sum(judged))} if judged else {}
    return Sentence("adverse_events", text, values | {term: str(count) for term, count in counts.items()}, missing)


def _after_start(patient: Patient) -> list[AdverseEvent]:
    """The events not surely before the day of the first infusion."""
    return [e for e in patient.case.adverse_events if not _before(patient, e.date)]


def _related(event: AdverseEvent, drug: str) -> bool | None:
    """Whether any judgement finds it at least possible that the drug caused it; None if nobody judged that drug."""
    judged = {one.variable for suspect in event.suspects if suspect.drug == drug for one in suspect.relatedness}
    return bool(judged & _RELATED) if judged & (_RELATED | _UNRELATED) else None


_RELATED = {"related", "probably_related", "possibly_related"}
_UNRELATED = {"unlikely_related", "not_related"}


def _before(patient: Patient, date: str | None) -> bool:
    moment = patient.span(date)
    return moment is not None and last_day(moment, patient.zone) < patient.first_day


def _term(event: AdverseEvent) -> str:
    displays = (coding.display or coding.code for coding in event.event.codings)
    return event.event.variable or event.event.text or next((name for name in displays if name), "not coded")


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
    ordered = [orders for patient in cohort.patients if (orders := study_orders(patient, drug))]
    reasons = [_stop_reason(orders) for orders in ordered]
    counts = ranked(reason for reason in reasons if reason is not None)
    stopped = sum(counts.values())
    text = f"{drug.capitalize()} was documented as stopped in {count_of_n(stopped, len(ordered))}; "
    text += listed({"for an adverse event": counts.get("adverse event", 0)}, len(ordered))
    others = {reason: count for reason, count in counts.items() if reason != "adverse event"}
    text += f", {listed(others, len(ordered))}." if others else "."
    text = text if ordered else f"Whether {drug} was stopped is not documented."
    values = shown_counts({"stopped": stopped, "adverse event": 0, **counts}, len(ordered))
    return Sentence("discontinuation", text, values, lacking({"without an order": cohort.n - len(ordered)}, cohort.n))


def _stop_reason(orders: list[Therapy]) -> str | None:
    """Why the study drug was stopped; None if no order says that it was, or a newer one is active."""
    stopped = [order for order in orders if order.status == "stopped"]
    if not stopped or any(order.status == "active" for order in orders):
        return None
    reason = next((one for order in stopped for one in order.status_reasons), None)
    if reason is None:
        return "reason not documented"
    told = (STOP_REASONS.get((coding.system or "", coding.code or "")) for coding in reason.codings)
    displays = (coding.display for coding in reason.codings)
    return next((name for name in (*told, reason.text, *displays) if name), "reason not documented")
