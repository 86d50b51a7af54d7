"""Which of the field's definitions a study uses, where the field leaves the choice open. Every number is printed with them.

The defaults are those of the clinical literature where it has one, and this project's where it has none.
"""

from fractions import Fraction
from typing import Literal

import msgspec


class Visit(msgspec.Struct, frozen=True):
    """A named window of days since the day of the first exposure, which is day 0; both ends belong to it."""

    name: str
    day: int
    first_day: int
    last_day: int


#: Every four weeks as the drug is given, 28 days +- 7.
WEEKS = tuple(Visit(f"week_{4 * k}", 28 * k, 28 * k - 7, 28 * k + 7) for k in range(1, 7))
#: Half a year and a year, +- 28 days.
MONTHS = (Visit("month_6", 183, 155, 211), Visit("month_12", 365, 337, 393))
#: CK 15, the transaminases and LDH 3 times the upper limit of normal (a public implementation); aldolase 6, not confirmed.
ADULT_ENZYME_RANGES = {
    name: Fraction(times) for name, times in (("ck", 15), ("aldolase", 6), ("alt", 3), ("ast", 3), ("ldh", 3))
}
SCHEDULES = {"weeks": WEEKS, "months": MONTHS}


class Definitions(msgspec.Struct, frozen=True, omit_defaults=True):
    """The choices of one study.

    `visits` is its one schedule. `cdasi_19` is the side on which a CDASI activity of exactly 19 falls (Anyanwu 2015 leaves
    it open). `activity_from_total`: CDASI activity may be total minus damage of one assessment.
    `enzyme_range_in_uln` is the range of each enzyme in the Total Improvement Score as a multiple of its upper limit of
    normal, for juveniles `enzyme_range_in_uln_juvenile`, of which none is published. `uln_u_per_l` are limits for results
    that carry none. `enzyme_change_in_uln`: an enzyme whose two results have different limits is followed in multiples of
    them. `chq_phs_range`: the width of that score's scale, not confirmed anywhere. `tis_lower_bound`: sum the known points
    of an incomplete score, under a name of its own. `prednisone_factors`: mg of prednisone to one mg of a drug.
    """

    visits: tuple[Visit, ...] = WEEKS
    cdasi_19: Literal["mild", "moderate_severe"] = "moderate_severe"
    activity_from_total: bool = False
    enzyme_range_in_uln: dict[str, Fraction] = msgspec.field(default_factory=ADULT_ENZYME_RANGES.copy)
    enzyme_range_in_uln_juvenile: dict[str, Fraction] = {}
    uln_u_per_l: dict[str, Fraction] = {}
    enzyme_change_in_uln: bool = False
    chq_phs_range: Fraction | None = None
    tis_lower_bound: bool = False
    prednisone_factors: dict[str, Fraction] = {}
