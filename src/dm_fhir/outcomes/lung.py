"""Forced vital capacity, in litres and in percent of what is predicted (R-FVC). Two variables, never mixed.

Worse = lower (MII Lungenfunktion); improvement is follow-up minus baseline.

Threshold, not confirmed: an absolute fall of 10 % predicted. A fall of 5 to below 10 counts only with symptoms, which no number
tells: there it is not decided.
"""

from fractions import Fraction

from dm_fhir.outcomes.change import Instrument
from dm_fhir.outcomes.thresholds import Threshold

LITRES = Instrument("fvc_l", ("fvc_l",), "R-FVC", "1", "L", higher_is_worse=False)
PERCENT_PREDICTED = Instrument(
    "fvc_percent_predicted",
    ("fvc_percent_predicted",),
    "R-FVC",
    "1",
    "%",
    higher_is_worse=False,
    thresholds=(
        Threshold(
            "fvc_decline_10",
            Fraction(10),
            "absolute, in % predicted; no source seen",
            "N",
            sense="worsening",
            undecided_from=Fraction(5),
            undecided_words="only with symptoms, not decided",
        ),
    ),
)
INSTRUMENTS = (LITRES, PERCENT_PREDICTED)
