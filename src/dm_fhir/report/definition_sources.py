"""Published definitions by their id: in words, where they come from, and how sure that is."""

from typing import NamedTuple


class Definition(NamedTuple):
    """`status`: C is confirmed in its source, N is in use and not confirmed, D is this project's own."""

    words: str
    source: str
    status: str


#: In the order in which tables show them. A definition that is not here is shown under its id.
DEFINITIONS = {
    "cdasi_a_mcid_4": Definition("CDASI activity better by at least 4 points", "UPenn cohort, Anyanwu 2015", "C"),
    "cdasi_a_mcid_5": Definition("CDASI activity better by at least 5 points", "Stanford cohort, Anyanwu 2015", "C"),
    "cdasi_a_pct_40": Definition("CDASI activity better by at least 40 %", "used in trials", "N"),
    "cdasi_a_pct_50": Definition("CDASI activity better by at least 50 %", "used in trials", "N"),
    "cdasi_a_band_stanford_14": Definition("CDASI activity up to 14 mild, above not", "Stanford cohort, Anyanwu 2015", "C"),
    "cdasi_a_band_upenn_19": Definition("CDASI activity, cut at 19", "UPenn cohort, Anyanwu 2015; the side of 19 is the study's", "N"),
    "cdasi_a_entry_ge_14": Definition("CDASI activity of at least 14, a trial's entry", "dazukibart phase 2, Fiorentino 2025", "C"),
    "dlqi_mcid_4": Definition("DLQI better by at least 4 points", "Basra 2015", "C"),
    "dlqi_band_hongbo": Definition("DLQI in five bands", "Hongbo 2005", "C"),
    "ck_ctcae": Definition("CK by CTCAE grade", "CTCAE", "N"),
    **{
        f"{variable}_normalised": Definition(f"a raised {name} within the upper limit of normal; one that was not raised is not asked", "this project", "D")
        for variable, name in (("ck", "CK"), ("aldolase", "aldolase"), ("alt", "ALT"), ("ast", "AST"), ("ldh", "LDH"))
    },
    "phga_change_2cm": Definition("physician's global activity changed by at least 2 cm", "ProDERM; Anyanwu 2015", "C"),
    "phga_band_proderm": Definition("physician's global activity in three bands", "ProDERM", "C"),
    "exm_not_involved": Definition("extramuscular activity of at most 0.5 cm", "ProDERM", "C"),
    "haq_mcii_0375_ra": Definition("HAQ-DI better by at least 0.375", "rheumatoid arthritis: Ward 2014", "C"),
    "haq_mid_010_014_ssc": Definition("HAQ-DI better by at least 0.14; from 0.10 not decided", "systemic sclerosis: PubMed 16540546", "C"),
    "haq_mcid_022_ra": Definition("HAQ-DI better by at least 0.22", "rheumatoid arthritis, no source seen", "N"),
    "haq_band": Definition("HAQ-DI in three bands", "rheumakit.com; the side of 1 and 2 is this project's", "D"),
    "pruritus_nrs_mcid_3": Definition("itch better by at least 3 points", "uraemic itch: PMC9871858", "C"),
    "pruritus_nrs_mcid_4": Definition("itch better by at least 4 points", "atopic dermatitis: dupixenthcp.com", "C"),
    "pruritus_nrs_band": Definition("itch in four bands", "ItchyQuant, JID 2016", "C"),
    "pruritus_vas_band": Definition("itch on a line, in bands", "Reich 2012", "N"),
    "itch_5d_mcid_5": Definition("5-D itch better by at least 5 points", "not dermatomyositis: PMC9871858", "C"),
    "skindex29_severe": Definition("severe by Skindex-29", "Prinsen", "N"),
    "fvc_decline_10": Definition("FVC lower by at least 10 % predicted, absolute; from 5 not decided", "no source seen", "N"),
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
STATUS = {"C": "confirmed", "N": "not confirmed", "D": "this project's own"}


def definition(name: str) -> Definition:
    """The definition with that id; one that is not known by it has its id for words."""
    return DEFINITIONS.get(name) or Definition(name.replace("_", " "), "not documented", "N")
