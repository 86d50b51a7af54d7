"""DLQI: Dermatology Life Quality Index, total score (R-DLQI).

0-30, worse = higher, for age 16 and over (dermatology.org.uk); improvement is baseline minus follow-up. The questionnaire's
text is copyrighted; scores only. The children's questionnaire (CDLQI) is another score and never compared with it.

Threshold: an improvement of 4 points (Basra 2015, whose estimate is 3.3). Bands: Hongbo 2005, both ends included.
"""

from collections.abc import Sequence
from fractions import Fraction
from typing import NamedTuple

from dm_fhir.outcomes.change import Instrument
from dm_fhir.outcomes.thresholds import Bands, Threshold, closed

_HONGBO = Bands(
    "dlqi_band_hongbo",
    closed(
        ("no_effect", "0", "1"),
        ("small", "2", "5"),
        ("moderate", "6", "10"),
        ("very_large", "11", "20"),
        ("extremely_large", "21", "30"),
    ),
    "Hongbo 2005",
    "C",
)
INSTRUMENT = Instrument(
    "dlqi",
    ("dlqi",),
    "R-DLQI",
    "1",
    "{score}",
    higher_is_worse=True,
    thresholds=(Threshold("dlqi_mcid_4", Fraction(4), "Basra 2015", "C"),),
    bands=(_HONGBO,),
)
CHILDREN = Instrument("cdlqi", ("cdlqi",), "R-DLQI", "1", "{score}", higher_is_worse=True)
#: Below it the children's questionnaire (CDLQI) is another instrument.
YOUNGEST_YEARS = 16
_MOST = 3


class Score(NamedTuple):
    """The total of the ten items, 0-30; or None with the reason."""

    number: Fraction | None
    reason: str | None = None
    flags: tuple[str, ...] = ()


def score(items: Sequence[Fraction | int | None], *, prevented: bool = False, age_years: int | None = None) -> Score:
    """The total of a filled-in DLQI (R-DLQI-SCORE): ten items of 0-3 in order, None where one was left out.

    "Not relevant" is 0. `prevented`: the skin prevented work or study (question 7), which scores 3. One item left out
    counts 0, flag `one_item_missing_scored_0` (the developer's instructions, not opened: not confirmed). Reasons:
    `two_or_more_items_missing`, `out_of_range`, `use_cdlqi` (younger than 16).
    """
    answered = [Fraction(_MOST) if prevented and place == 6 else item for place, item in enumerate(items)]
    given = [Fraction(item) for item in answered if item is not None]
    missing = 10 - len(given)
    if age_years is not None and age_years < YOUNGEST_YEARS:
        return Score(None, "use_cdlqi")
    if any(item not in range(_MOST + 1) for item in given) or missing < 0:
        return Score(None, "out_of_range")
    if missing > 1:
        return Score(None, "two_or_more_items_missing")
    return Score(sum(given, Fraction(0)), flags=("one_item_missing_scored_0",) if missing else ())
