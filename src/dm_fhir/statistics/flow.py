"""From the patients found to those analysed: who was left out on the way, and why."""

from collections.abc import Mapping
from typing import NamedTuple

from dm_fhir.outcomes import cdasi
from dm_fhir.statistics.change import change_at
from dm_fhir.statistics.cohort import LEFT_OUT_REASONS, Cohort

#: What the store calls a patient who makes a case.
CASE = "case"


class Step(NamedTuple):
    """Patients at one step, and by reason those who do not come to the next."""

    id: str
    n: int
    left_out: dict[str, int]


def flow(cohort: Cohort, states: Mapping[str, Mapping[str, int]] | None = None) -> tuple[Step, ...]:
    """The steps in order: found, cases, analysed, with CDASI activity at baseline, with a follow-up of it.

    `states` counts, by site, what became of each patient found ("case", or why not); without it (a case series from a
    file) the flow begins with the cases.
    """
    analysed = cohort.n
    without_case = _sum(states or {})
    left_out = {reason: len(cohort.left_out[reason]) for reason in LEFT_OUT_REASONS if cohort.left_out.get(reason)}
    cases = analysed + sum(left_out.values())
    changes = [change_at(patient, cdasi.INSTRUMENT, "last") for patient in cohort.patients]
    at_baseline = sum(change.baseline is not None for change in changes)
    followed = sum(change.points is not None for change in changes)
    found = () if states is None else (Step("found", cases + sum(without_case.values()), without_case),)
    return (
        *found,
        Step("cases", cases, left_out),
        Step("analysed", analysed, _lost("no CDASI activity at baseline", analysed - at_baseline)),
        Step(
            "cdasi_at_baseline", at_baseline, _lost("no comparable CDASI activity afterwards", at_baseline - followed)
        ),
        Step("cdasi_at_follow_up", followed, {}),
    )


def _sum(states: Mapping[str, Mapping[str, int]]) -> dict[str, int]:
    """Patients without a case, by the reason, over all sites."""
    total: dict[str, int] = {}
    for counts in states.values():
        for state, count in counts.items():
            if state != CASE:
                total[state] = total.get(state, 0) + count
    return dict(sorted(total.items()))


def _lost(reason: str, count: int) -> dict[str, int]:
    return {reason: count} if count else {}
