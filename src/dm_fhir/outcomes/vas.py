"""Global and extramuscular disease activity on a visual analogue scale (R-VAS).

0-10 cm, worse = higher (IMACS core set); millimetres are converted in the mapping table. Improvement is baseline minus
follow-up. The sum of six organs' scales (0-60) is another variable: followed, never compared with these, never part of the TIS.

Threshold: a change of 2 cm of the physician's, which is worsening in ProDERM and the anchor of the CDASI's MCID. Bands: ProDERM,
both ends included, so that 3.5 is in none; an extramuscular scale of at most 0.5 is "not involved" (said there of organs).
"""

from fractions import Fraction

from dm_fhir.outcomes.change import Instrument
from dm_fhir.outcomes.thresholds import Bands, Interval, Threshold, closed

_PRODERM = "ProDERM, 13075-023-03232-2 fig. 1"
_HALF = Fraction(1, 2)
PHYSICIAN = Instrument(
    "physician_global_vas",
    ("physician_global_vas",),
    "R-VAS",
    "1",
    "cm",
    higher_is_worse=True,
    thresholds=(Threshold("phga_change_2cm", Fraction(2), "ProDERM; Anyanwu 2015", "C", sense="either"),),
    bands=(
        Bands(
            "phga_band_proderm", closed(("mild", "0", "3"), ("moderate", "4", "6"), ("major", "7", "10")), _PRODERM, "C"
        ),
    ),
)
PATIENT = Instrument("patient_global_vas", ("patient_global_vas",), "R-VAS", "1", "cm", higher_is_worse=True)
EXTRAMUSCULAR = Instrument(
    "extramuscular_vas",
    ("extramuscular_vas",),
    "R-VAS",
    "1",
    "cm",
    higher_is_worse=True,
    bands=(
        Bands(
            "exm_not_involved",
            (("yes", Interval(high=_HALF)), ("no", Interval(_HALF, low_open=True))),
            "ProDERM sub-analysis",
            "C",
        ),
    ),
)
SIX_ORGANS = Instrument(
    "extramuscular_vas_sum", ("extramuscular_vas_sum",), "R-VAS", "1", "{score}", higher_is_worse=True
)
