"""CDASI activity: Cutaneous Dermatomyositis Disease Area and Severity Index, activity part (R-CDASI).

0-100, whole numbers, worse = higher (Yassaee, PMC2852630). The highest seen in two cohorts is 48 (Anyanwu 2015,
PMC4878996): above it a value is flagged. Only activity feeds the response; a total is never taken for activity.
"""

from fractions import Fraction

from dm_fhir.outcomes.change import Instrument

INSTRUMENT = Instrument("cdasi_activity", ("cdasi_activity",), "R-CDASI", "1", "{score}", higher_is_worse=True)
TOTAL = "cdasi_total"
PUBLISHED_MAXIMUM = 48


def flags(value: Fraction) -> tuple[str, ...]:
    """What is doubtful about a CDASI activity score."""
    above = ("above_published_maximum",) if value > PUBLISHED_MAXIMUM else ()
    return (*above, *(("non_integer",) if value.denominator != 1 else ()))
