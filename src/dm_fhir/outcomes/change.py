"""Improvement since baseline, in points and in percent: the arithmetic that all instruments share.

`improvement` is positive when the patient is better, whichever way the scale runs; worsening keeps its sign.
"""

from fractions import Fraction
from typing import NamedTuple


class Instrument(NamedTuple):
    """A score or lab value that outcomes follow over time: its variables, its unit and which way is worse."""

    name: str
    variables: tuple[str, ...]
    rule: str
    rule_version: str
    unit: str
    higher_is_worse: bool


def improvement(baseline: Fraction, followup: Fraction, *, higher_is_worse: bool) -> Fraction:
    """How much better the follow-up is, in the unit of the values."""
    return baseline - followup if higher_is_worse else followup - baseline


def percent_improvement(baseline: Fraction, followup: Fraction, *, higher_is_worse: bool) -> Fraction | None:
    """100 x improvement / baseline, exact; None for a baseline of 0 (reason `baseline_zero`)."""
    if baseline == 0:
        return None
    return 100 * improvement(baseline, followup, higher_is_worse=higher_is_worse) / baseline
