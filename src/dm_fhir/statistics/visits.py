"""At which visits the outcomes of a cohort may be looked at."""

from collections.abc import Sequence

from dm_fhir.model.definitions import Visit
from dm_fhir.statistics.cohort import LAST, Cohort


def visits_seen(cohort: Cohort, schedule: Sequence[Visit]) -> tuple[str, ...]:
    """The visits of the schedule that any outcome stands for, in its order, others by name, and the last follow-up."""
    seen = {one.visit for patient in cohort.patients for one in patient.outcomes if one.visit}
    planned = [visit.name for visit in schedule if visit.name in seen]
    return (*planned, *sorted(seen - {*planned, LAST}), LAST)
