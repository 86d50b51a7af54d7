"""Published definitions by their id: in words as short as a table needs, where they come from, and how sure that is."""

from typing import NamedTuple

from dm_fhir.outcomes.instruments import INSTRUMENTS
from dm_fhir.outcomes.thresholds import STATUS, Status
from dm_fhir.outcomes.verdicts import definitions_of

__all__ = ["DEFINITIONS", "STATUS", "Definition", "definition"]


class Definition(NamedTuple):
    """`status`: C is confirmed in its source, N is in use and not confirmed, D is this project's own."""

    words: str
    source: str
    status: Status


#: Thresholds and bands of the instruments, whose sources stand with them (outcomes/thresholds.py).
_OF_INSTRUMENTS = {
    "cdasi_a_mcid_4": "CDASI activity better by at least 4 points",
    "cdasi_a_mcid_5": "CDASI activity better by at least 5 points",
    "cdasi_a_pct_40": "CDASI activity better by at least 40 %",
    "cdasi_a_pct_50": "CDASI activity better by at least 50 %",
    "cdasi_a_band_stanford_14": "CDASI activity up to 14 mild, above not",
    "cdasi_a_band_upenn_19": "CDASI activity, cut at 19",
    "cdasi_a_entry_ge_14": "CDASI activity of at least 14, a trial's entry",
    "dlqi_mcid_4": "DLQI better by at least 4 points",
    "dlqi_band_hongbo": "DLQI in five bands",
    "ck_ctcae": "CK by CTCAE grade",
    "ck_normalised": "a raised CK within the upper limit of normal; one that was not raised is not asked",
    "aldolase_normalised": "a raised aldolase within the upper limit of normal; one that was not raised is not asked",
    "alt_normalised": "a raised ALT within the upper limit of normal; one that was not raised is not asked",
    "ast_normalised": "a raised AST within the upper limit of normal; one that was not raised is not asked",
    "ldh_normalised": "a raised LDH within the upper limit of normal; one that was not raised is not asked",
    "phga_change_2cm": "physician's global activity changed by at least 2 cm",
    "phga_band_proderm": "physician's global activity in three bands",
    "exm_not_involved": "extramuscular activity of at most 0.5 cm",
    "haq_mcii_0375_ra": "HAQ-DI better by at least 0.375",
    "haq_mid_010_014_ssc": "HAQ-DI better by at least 0.14; from 0.10 not decided",
    "haq_mcid_022_ra": "HAQ-DI better by at least 0.22",
    "haq_band": "HAQ-DI in three bands",
    "pruritus_nrs_mcid_3": "itch better by at least 3 points",
    "pruritus_nrs_mcid_4": "itch better by at least 4 points",
    "pruritus_nrs_band": "itch in four bands",
    "pruritus_vas_band": "itch on a line, in bands",
    "itch_5d_mcid_5": "5-D itch better by at least 5 points",
    "skindex29_severe": "severe by Skindex-29",
    "fvc_decline_10": "FVC lower by at least 10 % predicted, absolute; from 5 not decided",
}  # fmt: skip
#: What is asked of several measures together, or of a dose.
_OTHERS = {
    "ge_25": Definition("glucocorticoid dose lower by at least 25 %", "no source seen", "N"),
    "ge_50": Definition("glucocorticoid dose lower by at least 50 %", "no source seen", "N"),
    "le_7_5": Definition("glucocorticoid dose of at most 7.5 mg a day, of those who took any at baseline", "no source seen", "N"),
    "le_5": Definition("glucocorticoid dose of at most 5 mg a day, of those who took any at baseline", "no source seen", "N"),
    "imacs_improvement": Definition("IMACS definition of improvement", "Rider 2004", "C"),
    "imacs_worsening": Definition("IMACS definition of worsening", "Oddis 2005, original not opened", "N"),
    "proderm_deterioration": Definition("deterioration on two visits in a row", "ProDERM", "C"),
    "printo_improvement": Definition("PRINTO definition of improvement, juveniles", "Ruperto 2010, numbers not confirmed", "N"),
    "jdm_inactive": Definition("clinically inactive juvenile disease", "PRINTO, Lazarevic 2013", "C"),
    "jdm_inactive_phga": Definition("the same, physician's global activity mandatory", "later proposal", "N"),
    "tis_minimal": Definition("Total Improvement Score, at least minimal", "2016 ACR/EULAR, PMC5577002", "C"),
    "tis_moderate": Definition("Total Improvement Score, at least moderate", "2016 ACR/EULAR, PMC5577002", "C"),
    "tis_major": Definition("Total Improvement Score, major", "2016 ACR/EULAR, PMC5577002", "C"),
}  # fmt: skip
_TOLD = {one.id: one for instrument in INSTRUMENTS for one in definitions_of(instrument)}
#: In the order in which tables show them. A definition that is not here is shown under its id.
DEFINITIONS = {
    **{name: Definition(words, _TOLD[name].source, _TOLD[name].status) for name, words in _OF_INSTRUMENTS.items()},
    **_OTHERS,
}


def definition(name: str) -> Definition:
    """The definition with that id; one that is not known by it has its id for words."""
    return DEFINITIONS.get(name) or Definition(name.replace("_", " "), "not documented", "N")
