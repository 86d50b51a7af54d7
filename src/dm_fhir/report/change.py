"""The change of one score in one patient, with what it lacks in words."""

from dm_fhir.outcomes.change import Instrument
from dm_fhir.report.words import reason_words
from dm_fhir.statistics.change import Change
from dm_fhir.statistics.change import last_change as computed
from dm_fhir.statistics.cohort import Patient

__all__ = ["Change", "lack_words", "last_change"]

_LACKS = {"baseline_missing": "without baseline", "followup_missing": "without follow-up"}


def last_change(patient: Patient, instrument: Instrument) -> Change:
    """As `dm_fhir.statistics.change.last_change`; `lack` says in words why there is no improvement."""
    change = computed(patient, instrument)
    return change._replace(lack=lack_words(change.lack))


def lack_words(reason: str) -> str:
    """ "without baseline"; empty where nothing lacks."""
    return _LACKS.get(reason) or (f"not computable: {reason_words(reason)}" if reason else "")
