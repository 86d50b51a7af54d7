"""HAQ-DI: disability index of the Health Assessment Questionnaire; CHAQ, the children's (R-HAQ).

0-3, worse = higher (LOINC 75874-8); improvement is baseline minus follow-up. The two are never compared with each other.

Thresholds, none of them for dermatomyositis: an improvement of 0.375 and of 0.22 (rheumatoid arthritis), and of 0.10 to 0.14
(systemic sclerosis), an estimate with two ends: between them it is not decided. Bands: rheumakit.com; 1 and 2 are in the
higher band. Neither is applied to the CHAQ.
"""

from fractions import Fraction

from dm_fhir.outcomes.change import Instrument
from dm_fhir.outcomes.thresholds import Bands, Threshold, from_each

_BAND = Bands(
    "haq_band",
    from_each((("mild_moderate", "0"), ("moderate_severe", "1"), ("severe_very_severe", "2")), "3"),
    "rheumakit.com; the side of 1 and of 2 is this project's",
    "D",
)
ADULT = Instrument(
    "haq_di",
    ("haq_di",),
    "R-HAQ",
    "1",
    "{score}",
    higher_is_worse=True,
    thresholds=(
        Threshold("haq_mcii_0375_ra", Fraction("0.375"), "rheumatoid arthritis: Ward 2014, PMC4216638", "C"),
        Threshold(
            "haq_mid_010_014_ssc",
            Fraction("0.14"),
            "systemic sclerosis: PubMed 16540546",
            "C",
            undecided_from=Fraction("0.10"),
            undecided_words="within the estimate, not decided",
        ),
        Threshold("haq_mcid_022_ra", Fraction("0.22"), "rheumatoid arthritis, no source seen", "N"),
    ),
    bands=(_BAND,),
)
CHILD = Instrument("chaq", ("chaq",), "R-HAQ", "1", "{score}", higher_is_worse=True)
