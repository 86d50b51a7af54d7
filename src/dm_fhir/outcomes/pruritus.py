"""Itch: numeric rating scale, visual analogue scale, 5-D itch scale (R-PRURITUS). Three variables, never mixed.

NRS 0-10, VAS 0-10 cm, 5-D 5-25; worse = higher, improvement is baseline minus follow-up.

Thresholds, none of them for dermatomyositis: NRS 3 points (uraemic itch), 4 points (atopic dermatitis); 5-D 5 points. Bands: NRS
by ItchyQuant, both ends included; VAS by Reich 2012, lower ends included, of which those from 7 up are not confirmed.
"""

from fractions import Fraction

from dm_fhir.outcomes.change import Instrument
from dm_fhir.outcomes.thresholds import Bands, Interval, Threshold, closed, from_each

_ZERO = Fraction(0)
_NRS = Bands(
    "pruritus_nrs_band",
    closed(("none", "0", "0"), ("mild", "1", "3"), ("moderate", "4", "7"), ("severe", "8", "10")),
    "ItchyQuant, JID 2016",
    "C",
)
_VAS = Bands(
    "pruritus_vas_band",
    (
        ("none", Interval(_ZERO, _ZERO)),
        ("mild", Interval(_ZERO, Fraction(4), low_open=True, high_open=True)),
        *from_each((("moderate", "4"), ("severe", "7"), ("very_severe", "9")), "10"),
    ),
    "Reich 2012; severe and very severe are not confirmed",
    "N",
)
NRS = Instrument(
    "pruritus_nrs",
    ("pruritus_nrs",),
    "R-PRURITUS",
    "1",
    "{score}",
    higher_is_worse=True,
    thresholds=(
        Threshold("pruritus_nrs_mcid_3", Fraction(3), "uraemic itch: PMC9871858", "C"),
        Threshold("pruritus_nrs_mcid_4", Fraction(4), "atopic dermatitis: dupixenthcp.com", "C"),
    ),
    bands=(_NRS,),
)
VAS = Instrument("pruritus_vas", ("pruritus_vas",), "R-PRURITUS", "1", "cm", higher_is_worse=True, bands=(_VAS,))
FIVE_D = Instrument(
    "itch_5d",
    ("itch_5d",),
    "R-PRURITUS",
    "1",
    "{score}",
    higher_is_worse=True,
    thresholds=(Threshold("itch_5d_mcid_5", Fraction(5), "not dermatomyositis: PMC9871858", "C"),),
)
