"""Clinically inactive juvenile dermatomyositis (R-JDM-INACTIVE, version 1), three-valued.

Inputs: the values of one visit (R-VISIT); a baseline is not needed. At least 3 of 4, limits included: CK <= 150 U/L (2.5 ukat/L),
CMAS >= 48, MMT8 >= 78 on the scale 0-80, physician's global activity <= 0.2 cm. An MMT8 on 0-150 is missing here. A bound such as
"<20" counts where it decides. PRINTO, Lazarevic 2013, PubMed 22736096.
`jdm_inactive_phga`: the same with the physician's global activity among those met, a later proposal, not confirmed.
"""

from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import NamedTuple

from dm_fhir.model.case import Assessment
from dm_fhir.outcomes import core_set
from dm_fhir.outcomes.bounds import Bounds, all_of, at_least, at_most, so_many

RULE, VERSION = "R-JDM-INACTIVE", "1"
ENOUGH = 3


class Limit(NamedTuple):
    """A limit of one measure: `is_met` asks whether a value keeps it; `words` say it."""

    words: str
    is_met: Callable[[Bounds], bool | None]


LIMITS: Mapping[str, Limit] = {
    "ck": Limit("<= 150 U/L", lambda value: at_most(value, 150)),
    "cmas": Limit(">= 48", lambda value: at_least(value, 48)),
    "mmt8_80": Limit(">= 78 of 80", lambda value: at_least(value, 78)),
    "physician_global_vas": Limit("<= 0.2 cm", lambda value: at_most(value, Fraction("0.2"))),
}


class Kept(NamedTuple):
    """One of the four: the value of the visit, whether it keeps its limit, None with the reasons where that is not known."""

    variable: str
    assessment: Assessment | None
    met: bool | None
    reasons: tuple[str, ...]


def kept(seen: Mapping[str, Assessment | None], why_missing: Mapping[str, tuple[str, ...]]) -> tuple[Kept, ...]:
    """Each of the four at a visit; None stands for one that is missing, with `why_missing`."""
    return tuple(_kept(name, seen.get(name), why_missing.get(name, ())) for name in LIMITS)


def is_inactive(found: Mapping[str, bool | None]) -> bool | None:
    """Whether enough limits are kept, by variable; what is not there is unknown."""
    return so_many(ENOUGH, (found.get(name) for name in LIMITS))


def is_inactive_by_physician(found: Mapping[str, bool | None]) -> bool | None:
    """The same, with the physician's global activity mandatory."""
    return all_of(is_inactive(found), found.get("physician_global_vas"))


def _kept(name: str, one: Assessment | None, why_missing: tuple[str, ...]) -> Kept:
    if one is None:
        return Kept(name, None, None, why_missing)
    met = LIMITS[name].is_met(core_set.bounds(one))
    return Kept(name, one, met, () if met is not None else (f"comparator:{name}",))
