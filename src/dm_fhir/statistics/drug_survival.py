"""How long the patients stayed on the study drug, from the outcomes `days_on_drug`, `discontinued` and its reason.

Whoever stopped for any reason but the two below counts as stopped on the last day on the drug. Everybody else is censored on that day.
"""

from collections import Counter

from dm_fhir.model.case import Outcome
from dm_fhir.statistics.cohort import Cohort, Patient
from dm_fhir.statistics.survival import Followed, Survival, kaplan_meier

#: Of these nobody knows, or can know, how long they would have stayed on the drug.
CENSORED = ("lost to follow-up", "death")
CENSORING = (
    "Stopping for any reason counts, on the last day on the drug; whoever goes on, died or was lost to follow-up is censored "
    "on that day."
)


def drug_survival(cohort: Cohort) -> tuple[Survival, dict[str, int]]:
    """The curve, and of how many patients it is not known: by the reason, `days_on_drug` first."""
    followed: list[Followed] = []
    lacking: Counter[str] = Counter()
    for patient in cohort.patients:
        days, stopped = _of(patient, "days_on_drug"), _of(patient, "discontinued")
        if days is None or days.number is None:
            lacking["days_on_drug"] += 1
        elif stopped is None or stopped.answer not in ("yes", "no"):
            lacking["discontinued"] += 1
        else:
            ended = stopped.answer == "yes" and _reason(patient) not in CENSORED
            followed.append(Followed(int(days.number), ended))
    return kaplan_meier(followed), dict(lacking)


def _of(patient: Patient, variable: str) -> Outcome | None:
    return next(iter(patient.by_variable.get(variable, ())), None)


def _reason(patient: Patient) -> str | None:
    found = _of(patient, "discontinuation_reason")
    return found.answer.replace("_", " ").replace("follow up", "follow-up") if found and found.answer else None
