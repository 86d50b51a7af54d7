"""Muscle enzymes: aldolase, ALT, AST and LDH beside CK, and the upper limit of normal of each (R-CK).

In U/L, worse = higher; improvement is baseline minus follow-up. The upper limit of normal (ULN) is that of the same result,
converted with it, else the study's; it is never guessed, and without one there is no multiple (`uln_missing`). Two results
may have two limits: each is held against its own. `<enzyme>_normalised`: the baseline was above its limit, the follow-up is
not above its own; said only where the baseline was above.
"""

from fractions import Fraction

from dm_fhir.model.case import Result
from dm_fhir.model.definitions import Definitions
from dm_fhir.outcomes import ck
from dm_fhir.outcomes.change import Instrument
from dm_fhir.outcomes.thresholds import Interval

OTHERS = tuple(
    Instrument(name, (name,), "R-CK", "1", "U/L", higher_is_worse=True, in_uln=True)
    for name in ("aldolase", "alt", "ast", "ldh")
)
ENZYMES = (ck.INSTRUMENT, *OTHERS)


def upper_limit(result: Result, variable: str, definitions: Definitions) -> Fraction | None:
    """The upper limit of normal of an enzyme's result in U/L: its own, else the study's; None if neither tells one."""
    own = result.reference_high
    if own is not None and own > 0:
        return own
    return definitions.uln_u_per_l.get(variable)


def normalised(first: Interval, last: Interval) -> str | None:
    """Whether a raised enzyme is no longer raised: "yes" or "no".

    Both are the multiples of their upper limits that the results may mean. None where the first was not above its limit, or
    where a bound leaves it open.
    """
    above, within = Interval(Fraction(1), low_open=True), Interval(high=Fraction(1))
    if not above.holds(first):
        return None
    return "yes" if within.holds(last) else "no" if above.holds(last) else None
