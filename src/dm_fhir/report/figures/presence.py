"""How many patients had each manifestation at each time, counted for the figure (R-MANIFEST)."""

from dm_fhir.outcomes.manifestations import DAYS, Presence, over_time
from dm_fhir.report.figures.manifestations import Present
from dm_fhir.report.words import visit_words
from dm_fhir.statistics.cohort import Cohort, Patient


def presence(cohort: Cohort) -> tuple[tuple[str, ...], dict[str, list[Present]]]:
    """The times in words; and for each manifestation that somebody has a record of the counts at each.

    A patient without any record of it counts as not having it, as in the table of characteristics; one whose records
    leave it open is counted apart.
    """
    by_patient = [found for patient in cohort.patients if (found := over_time(patient.case, patient.exposed))]
    followed = {time: sum(_is_followed(patient, days) for patient in cohort.patients) for time, days in DAYS.items()}
    names = sorted({name for found in by_patient for name in found})
    counts = {name: [_at(time, name, by_patient, followed[time]) for time in DAYS] for name in names}
    return tuple(map(visit_words, DAYS)), counts


def _is_followed(patient: Patient, days: int) -> bool:
    return (
        patient.started.day is not None
        and patient.last_day is not None
        and ((patient.last_day - patient.started.day).days >= days)
    )


def _at(time: str, name: str, by_patient: list[dict[str, dict[str, Presence]]], followed: int) -> Present:
    told = [found[name][time] for found in by_patient if name in found]
    unknown = told.count("unknown")
    return Present(told.count("present"), followed - unknown, unknown)
