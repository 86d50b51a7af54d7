"""Manual Muscle Test of eight muscles (MMT8): which scale a value is on; and of 24 (R-MMT).

IMACS Form 04: eight muscles of one side, 0-10 each, make 0-80; neck flexors plus seven muscles on both sides make
0-150. Higher is better; improvement is follow-up minus baseline. The two scales share one name and often one code, and are
never converted into each other; values on different scales are never compared (`scale_mixed`). The MMT24, 0-260, is a
score of its own. No threshold is published for any of them.
"""

from fractions import Fraction
from typing import NamedTuple

from dm_fhir.outcomes.change import Instrument

VARIABLES = ("mmt8", "mmt8_80", "mmt8_150")
INSTRUMENT = Instrument("mmt8", VARIABLES, "R-MMT", "1", "{score}", higher_is_worse=False)
MMT24 = Instrument("mmt24_260", ("mmt24_260",), "R-MMT", "1", "{score}", higher_is_worse=False)
_SCALE_OF_HIGH: dict[Fraction | int, int] = {80: 80, 150: 150}
#: The upper ends of a reference range that tell the scale.
HIGHS = tuple(_SCALE_OF_HIGH)
_SCALE_OF_COUNT = {8: 80, 15: 150}


class Scale(NamedTuple):
    """The variable of the scale with the evidence for it; or None with the reason why it cannot be told."""

    variable: str | None
    evidence: str | None = None
    reason: str | None = None


def scale(
    value: Fraction,
    code_scale: int | None = None,
    reference_range_high: Fraction | None = None,
    component_count: int = 0,
    site_default: int | None = None,
) -> Scale:
    """The scale of `value`, by the first evidence of: code, reference range, number of components, value, site default.

    Reasons: `scale_conflict` (two pieces of evidence disagree), `scale_ambiguous` (none), `out_of_range`.
    """
    told = _stated(code_scale, reference_range_high, component_count)
    if len(set(told.values())) > 1:
        return Scale(None, reason="scale_conflict")
    if not told and value > 80:
        told = {"value_above_80": 150}
    if not told and site_default is not None:
        told = {"site_default": site_default}
    if not told:
        return Scale(None, reason="scale_ambiguous")
    name, highest = next(iter(told.items()))
    if not 0 <= value <= highest:
        return Scale(None, reason="out_of_range")
    return Scale(f"mmt8_{highest}", evidence=name)


def _stated(code_scale: int | None, reference_range_high: Fraction | None, component_count: int) -> dict[str, int]:
    """What the record itself says of its scale, best evidence first."""
    evidence = {
        "code": code_scale,
        "reference_range": _SCALE_OF_HIGH.get(reference_range_high or 0),
        "component_count": _SCALE_OF_COUNT.get(component_count),
    }
    return {name: found for name, found in evidence.items() if found is not None}
