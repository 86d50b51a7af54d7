"""What became of one score or lab value in one patient, from the outcomes: baseline, last follow-up, improvement."""

from fractions import Fraction
from typing import NamedTuple

from dm_fhir.model.case import Outcome
from dm_fhir.outcomes.change import Instrument
from dm_fhir.report.cohort import Patient
from dm_fhir.report.words import reason_words


class Change(NamedTuple):
    """Baseline and last follow-up with the improvement between them.

    Numbers are None where they cannot be had; `lack` then says why there is no improvement, and is empty otherwise.
    `scale` is the variable that was measured, `when` the time of the last follow-up.
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
    baseline = _only(patient, _named(instrument, "baseline"))
    points = _last(patient, _named(instrument, "improvement"))
    percent = _last(patient, _named(instrument, "percent_improvement"))
    return Change(
        scale=points.variable.removesuffix("_improvement") if points else instrument.name,
        baseline=baseline.number if baseline else None,
        last=_followup(points),
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


def _named(instrument: Instrument, part: str) -> set[str]:
    return {f"{variable}_{part}" for variable in (instrument.name, *instrument.variables)}


def _only(patient: Patient, names: set[str]) -> Outcome | None:
    return next((outcome for outcome in patient.outcomes if outcome.variable in names), None)


def _last(patient: Patient, names: set[str]) -> Outcome | None:
    found = [outcome for outcome in patient.outcomes if outcome.variable in names]
    dated = [(moment.start, outcome) for outcome in found if (moment := patient.span(outcome.when)) is not None]
    return max(dated, key=lambda pair: pair[0])[1] if dated else next(iter(found), None)


def _followup(points: Outcome | None) -> Fraction | None:
    values = [part.value for part in points.inputs if part.role == "followup"] if points else []
    return Fraction(values[0]) if values and values[0] is not None else None


def _lack(baseline: Outcome | None, points: Outcome | None) -> str:
    if points is not None and points.number is not None:
        return ""
    if baseline is None or "baseline_missing" in baseline.reasons:
        return "without baseline"
    reasons = (points.reasons if points else ()) or ("followup_missing",)
    return "without follow-up" if "followup_missing" in reasons else f"not computable: {reason_words(reasons[0])}"
