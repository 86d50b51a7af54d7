"""CDASI: Cutaneous Dermatomyositis Disease Area and Severity Index, activity and damage (R-CDASI, R-CDASI-BAND).

Activity 0-100, damage 0-32, whole numbers, worse = higher (Yassaee, PMC2852630). The highest activity seen in two cohorts is
48 (Anyanwu 2015, PMC4878996): above it a value is flagged. Inputs are the baseline and a follow-up of one of the two;
improvement is baseline minus follow-up. Only activity feeds the response. Damage is followed and is no endpoint; a total is
never taken for activity, but where a study says so activity is total minus damage of one assessment.

Thresholds: an improvement of 4 points (UPenn) and of 5 (Stanford) are two published MCIDs; 40 % and 50 % are in use, not
confirmed. Bands: up to 14 mild (Stanford); the cut at 19 (UPenn), whose own side the source leaves open and a study states;
14 and more as the entry of a trial. The points at which quality of life no longer follows the score (Gaffney) are no
definition of a response, and are not applied.
"""

from fractions import Fraction

from dm_fhir.model.definitions import Definitions
from dm_fhir.outcomes.change import Instrument
from dm_fhir.outcomes.thresholds import Bands, Interval, Threshold, at_least

TOTAL = "cdasi_total"
_FOURTEEN, _NINETEEN = Fraction(14), Fraction(19)
_STANFORD = Bands(
    "cdasi_a_band_stanford_14",
    (("mild", Interval(high=_FOURTEEN)), ("not_mild", Interval(_FOURTEEN, low_open=True))),
    "Stanford cohort, Anyanwu 2015; Gaffney",
    "C",
)
_ENTRY = at_least("cdasi_a_entry_ge_14", "14", "dazukibart phase 2, Fiorentino, Lancet 2025", "C")


def _upenn(nineteen: str) -> Bands:
    """The cut at 19, which itself is "mild" or "moderate_severe"."""
    is_mild = nineteen == "mild"
    bands = (
        ("mild", Interval(high=_NINETEEN, high_open=not is_mild)),
        ("moderate_severe", Interval(_NINETEEN, low_open=is_mild)),
    )
    return Bands("cdasi_a_band_upenn_19", bands, "UPenn cohort, Anyanwu 2015; the side of 19 is the study's", "N")


INSTRUMENT = Instrument(
    "cdasi_activity",
    ("cdasi_activity",),
    "R-CDASI",
    "1",
    "{score}",
    higher_is_worse=True,
    thresholds=(
        Threshold("cdasi_a_mcid_4", Fraction(4), "UPenn cohort, Anyanwu 2015", "C"),
        Threshold("cdasi_a_mcid_5", Fraction(5), "Stanford cohort, Anyanwu 2015", "C"),
        Threshold("cdasi_a_pct_40", Fraction(40), "used in trials", "N", of="percent"),
        Threshold("cdasi_a_pct_50", Fraction(50), "used in trials", "N", of="percent"),
    ),
    bands=(_STANFORD, _upenn("moderate_severe"), _ENTRY),
    published_maximum=48,
)
DAMAGE = Instrument(
    "cdasi_damage", ("cdasi_damage",), "R-CDASI", "1", "{score}", higher_is_worse=True, is_endpoint=False
)


def defined(definitions: Definitions) -> Instrument:
    """CDASI activity with the study's side of 19."""
    return INSTRUMENT._replace(bands=(_STANFORD, _upenn(definitions.cdasi_19), _ENTRY))
