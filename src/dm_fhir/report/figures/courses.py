"""The courses of glucocorticoids that the figure draws, from the outcomes' own course (R-GC-COURSE)."""

from dm_fhir.model.definitions import Definitions
from dm_fhir.outcomes.follow_up import end_of_follow_up
from dm_fhir.outcomes.glucocorticoid_outcomes import whole_course
from dm_fhir.report.figures.glucocorticoids import EARLIEST_DAY, Course, Stretch
from dm_fhir.statistics.cohort import Cohort, Patient


def courses(cohort: Cohort, definitions: Definitions) -> list[Course]:
    """One for each patient whose day of first exposure is known, numbered as in the table of patients."""
    found = ((number, _stretches(patient, definitions)) for number, patient in enumerate(cohort.patients, 1))
    return [Course(number, stretches) for number, stretches in found if stretches]


def _stretches(patient: Patient, definitions: Definitions) -> tuple[Stretch, ...]:
    day_0, end = patient.started.day, end_of_follow_up(patient.case, patient.exposed)
    if day_0 is None or end is None:
        return ()
    whole = whole_course(patient.case, day_0, end.day, definitions)
    return tuple(
        Stretch(max((one.first - day_0).days, EARLIEST_DAY), (one.last - day_0).days, one.mg_per_day)
        for one in whole.stretches
        if (one.last - day_0).days >= EARLIEST_DAY
    )
