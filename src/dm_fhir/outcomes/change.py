"""Improvement since baseline, in points and in percent: the arithmetic that all instruments share.

`improvement` is positive when the patient is better, whichever way the scale runs; worsening keeps its sign.
"""

from fractions import Fraction
from typing import NamedTuple

from dm_fhir.outcomes.thresholds import Bands, Threshold


class Instrument(NamedTuple):
    """A score or lab value that outcomes follow over time: its variables, its unit and which way is worse.

    `thresholds` and `bands` are the published definitions that its changes and values are held against.
    `published_maximum`: values above the highest ever published are flagged. `in_uln`: it is an enzyme, whose values are
    also multiples of their upper limit of normal. `is_endpoint`: its change says something of the response to treatment;
    damage does not.
    """

    name: str
    variables: tuple[str, ...]
    rule: str
    rule_version: str
    unit: str
    higher_is_worse: bool
    thresholds: tuple[Threshold, ...] = ()
    bands: tuple[Bands, ...] = ()
    published_maximum: int | None = None
    in_uln: bool = False
    is_endpoint: bool = True


def improvement(baseline: Fraction, followup: Fraction, *, higher_is_worse: bool) -> Fraction:
    """How much better the follow-up is, in the unit of the values."""
    return baseline - followup if higher_is_worse else followup - baseline


def percent_improvement(baseline: Fraction, followup: Fraction, *, higher_is_worse: bool) -> Fraction | None:
    """100 x improvement / baseline, exact; None for a baseline of 0 (reason `baseline_zero`)."""
    if baseline == 0:
        return None
    return 100 * improvement(baseline, followup, higher_is_worse=higher_is_worse) / baseline


def flags(instrument: Instrument, value: Fraction) -> tuple[str, ...]:
    """What is doubtful about a value on this instrument: `above_published_maximum`."""
    highest = instrument.published_maximum
    return ("above_published_maximum",) if highest is not None and value > highest else ()
