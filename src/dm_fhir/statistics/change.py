"""What became of one score or lab value in one patient, from the outcomes: baseline, follow-up, improvement."""

from fractions import Fraction
from functools import cache
from typing import NamedTuple

from dm_fhir.model.case import Outcome
from dm_fhir.outcomes.change import Instrument
from dm_fhir.statistics.cohort import BASELINE, LAST, Patient


class Change(NamedTuple):
    """Baseline and a follow-up with the improvement between them.

    Numbers are None where they cannot be had; `lack` is then the reason why there is no improvement, and is empty
    otherwise. `scale` is the variable that was measured, `when` the time of the follow-up.
    """

    scale: str
    baseline: Fraction | None
    last: Fraction | None
    points: Fraction | None
    percent: Fraction | None
    lack: str
    when: str | None


def last_change(patient: Patient, instrument: Instrument) -> Change:
    """The change to the last follow-up in time, even if an earlier one could be computed and it cannot."""
    return change_at(patient, instrument, LAST)


def change_at(patient: Patient, instrument: Instrument, visit: str) -> Change:
    """The change to the follow-up that stands for `visit`, or to the last one in time."""
    baseline = patient.at(_named(instrument, "baseline"), BASELINE)
    points = patient.at(_named(instrument, "improvement"), visit)
    percent = patient.at(_named(instrument, "percent_improvement"), visit)
    compared_with = _baseline_of(points)
    return Change(
        scale=points.variable.removesuffix("_improvement") if points else instrument.name,
        baseline=compared_with if compared_with is not None else baseline.number if baseline else None,
        last=_value_of(points, "followup"),
        points=points.number if points else None,
        percent=percent.number if percent else None,
        lack=_lack(baseline, points),
        when=points.when if points else None,
    )


def last_assessed(patient: Patient, instruments: tuple[Instrument, ...]) -> str | None:
    """The time of the last follow-up assessment of any of the instruments; None if there was none."""
    seen = [change.when for instrument in instruments if (change := last_change(patient, instrument)).when]
    dated = [(moment.start, text) for text in seen if (moment := patient.span(text)) is not None]
    return max(dated)[1] if dated else None


@cache
def _named(instrument: Instrument, part: str) -> tuple[str, ...]:
    return tuple(f"{name}_{part}" for name in dict.fromkeys((instrument.name, *instrument.variables)))


def _baseline_of(points: Outcome | None) -> Fraction | None:
    """The baseline that the improvement was computed from: of two scales the one that the follow-up is on."""
    return _value_of(points, "baseline") if points is not None and points.number is not None else None


def _value_of(points: Outcome | None, role: str) -> Fraction | None:
    values = [part.value for part in points.inputs if part.role == role] if points else []
    return Fraction(values[0]) if values and values[0] is not None else None


def _lack(baseline: Outcome | None, points: Outcome | None) -> str:
    if points is not None and points.number is not None:
        return ""
    if baseline is None or "baseline_missing" in baseline.reasons:
        return "baseline_missing"
    reasons = (points.reasons if points else ()) or ("followup_missing",)
    return "followup_missing" if "followup_missing" in reasons else reasons[0]
