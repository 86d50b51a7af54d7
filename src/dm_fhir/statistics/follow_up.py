"""How long the patients were followed and what got better outside the skin."""

from collections.abc import Iterator
from datetime import date
from fractions import Fraction

from dm_fhir.outcomes import ck, mmt8
from dm_fhir.outcomes.exposure import infusions_before
from dm_fhir.outcomes.instruments import CORE
from dm_fhir.outcomes.manifestations import ended_by
from dm_fhir.statistics.change import last_assessed, last_change
from dm_fhir.statistics.cohort import Cohort, Patient

DAYS_PER_MONTH = Fraction(304375, 10000)
DAYS_PER_YEAR = 12 * DAYS_PER_MONTH
#: Manifestations outside the skin whose end counts as improvement.
EXTRACUTANEOUS = (
    "arthritis",
    "synovitis",
    "dysphagia",
    "proximal_weakness",
    "muscle_weakness",
    "musculoskeletal_involvement",
)


def day_of_month(months: int | Fraction) -> int:
    """The day since the first infusion within which so many months are over; the same in tables and figures."""
    return int(months * DAYS_PER_MONTH)


def follow_up_days(patient: Patient) -> int | None:
    """Days from the first infusion to the last documented infusion or accepted assessment; None without its day."""
    end: date | None = patient.last_day
    return (end - patient.started.day).days if patient.started.day and end else None


def followed(cohort: Cohort) -> list[int]:
    """The days of follow-up of those of whom they are known."""
    return [days for patient in cohort.patients if (days := follow_up_days(patient)) is not None]


def infusions_before_last_assessment(patient: Patient) -> int | None:
    """Completed infusions that started before the last follow-up assessment; None if there was none."""
    moment = patient.span(last_assessed(patient, CORE))
    return infusions_before(patient.exposed, moment) if moment else None


def extracutaneous(patient: Patient) -> dict[str, bool]:
    """Each measure outside the skin that the patient had at baseline, and whether it was better afterwards.

    MMT8 and CK by any amount; of manifestations documented up to the first infusion and not ended by then, whether they ended
    by the end of follow-up. One whose end is unknown is not among them.
    """
    return dict(_scores(patient)) | _resolved(patient)


def _scores(patient: Patient) -> Iterator[tuple[str, bool]]:
    for instrument in (mmt8.INSTRUMENT, ck.INSTRUMENT):
        points = last_change(patient, instrument).points
        if points is not None:
            yield instrument.name, points > 0


def _resolved(patient: Patient) -> dict[str, bool]:
    day_0, end = patient.started.day, patient.last_day
    if day_0 is None or end is None:
        return {}
    found: dict[str, bool] = {}
    for variable in EXTRACUTANEOUS:
        records = [
            (ended_by(one, day_0, patient.zone), ended_by(one, end, patient.zone))
            for one in patient.case.conditions
            if one.concept.variable == variable and patient.by(one.onset, day_0) is not False
        ]
        # What went on by one of its records went on; what may have ended before the first infusion tells nothing.
        after = [last if first is False else None for first, last in records if first is not True]
        if False in after or (after and None not in after):
            found[variable] = False not in after
    return found
