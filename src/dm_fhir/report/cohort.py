"""The patients whom the report counts, by the name it knows them under."""

from dm_fhir.statistics.cohort import Cohort, Patient

__all__ = ["Cohort", "Patient"]
