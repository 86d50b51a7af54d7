"""Adverse events since the first infusion: how many, in whom, of what kind, and what was made of them."""

from dm_fhir.model.case import AdverseEvent
from dm_fhir.model.dates import last_day
from dm_fhir.statistics.cohort import Cohort, Patient

_RELATED = {"related", "probably_related", "possibly_related"}
_UNRELATED = {"unlikely_related", "not_related"}


def events_since_start(patient: Patient) -> list[AdverseEvent]:
    """The events not surely before the day of the first infusion."""
    return [e for e in patient.case.adverse_events if not _before(patient, e.date)]


def with_undated_event(cohort: Cohort) -> int:
    """How many patients have an event whose date is not known; it is counted."""
    return sum(any(patient.span(e.date) is None for e in patient.case.adverse_events) for patient in cohort.patients)


def related(event: AdverseEvent, drug: str) -> bool | None:
    """Whether any judgement finds it at least possible that the drug caused it; None if nobody judged that drug."""
    judged = {one.variable for suspect in event.suspects if suspect.drug == drug for one in suspect.relatedness}
    return bool(judged & _RELATED) if judged & (_RELATED | _UNRELATED) else None


def within_follow_up(patient: Patient, event: AdverseEvent) -> bool:
    """Whether it surely happened until the last day of follow-up; only such events count towards a rate."""
    return patient.last_day is not None and patient.by(event.date, patient.last_day) is True


def term(event: AdverseEvent) -> str:
    """The variable of its code, else its text, else a display."""
    displays = (coding.display or coding.code for coding in event.event.codings)
    return event.event.variable or event.event.text or next((name for name in displays if name), "not coded")


def _before(patient: Patient, date: str | None) -> bool:
    moment = patient.span(date)
    return moment is not None and last_day(moment, patient.zone) < patient.first_day
