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
    otherwise. `scale` is the variable that was measured, `when` the time of the follow-up. `recorded` are baseline and
    follow-up as text, a bound with its sign ("<20"), which is no number.
    """

    scale: str
    baseline: Fraction | None
    last: Fraction | None
    points: Fraction | None
    percent: Fraction | None
    lack: str
    when: str | None
    recorded: tuple[str | None, str | None] = (None, None)


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
        last=number_of(_recorded(points, "followup")),
        points=points.number if points else None,
        percent=percent.number if percent else None,
        lack=_lack(baseline, points),
        when=points.when if points else None,
        recorded=(_recorded(points or baseline, "baseline"), _recorded(points, "followup")),
    )


def last_assessed(patient: Patient, instruments: tuple[Instrument, ...]) -> str | None:
    """The time of the last follow-up assessment of any of the instruments; None if there was none."""
    seen = [change.when for instrument in instruments if (change := last_change(patient, instrument)).when]
    dated = [(moment.start, text) for text in seen if (moment := patient.span(text)) is not None]
    return max(dated)[1] if dated else None


@cache
def _named(instrument: Instrument, part: str) -> tuple[str, ...]:
    """Of two scales of one time the finer is asked first, as in the response criteria (`core_set.STRENGTH`)."""
    return tuple(f"{name}_{part}" for name in dict.fromkeys((*reversed(instrument.variables), instrument.name)))


def _baseline_of(points: Outcome | None) -> Fraction | None:
    """The baseline that the improvement was computed from: of two scales the one that the follow-up is on."""
    return number_of(_recorded(points, "baseline")) if points is not None and points.number is not None else None


def number_of(recorded: str | None) -> Fraction | None:
    """The number that an outcome's input says; None without one, and for a bound such as "<20"."""
    return Fraction(recorded) if recorded is not None and recorded[:1] not in "<>" else None


def _recorded(found: Outcome | None, role: str) -> str | None:
    return next((part.value for part in found.inputs if part.role == role), None) if found else None


def _lack(baseline: Outcome | None, points: Outcome | None) -> str:
    if points is not None and points.number is not None:
        return ""
    if baseline is None or "baseline_missing" in baseline.reasons:
        return "baseline_missing"
    reasons = (points.reasons if points else ()) or ("followup_missing",)
    return "followup_missing" if "followup_missing" in reasons else reasons[0]
