"""Variables and outcomes in words, as a clinician writes them."""

_VARIABLES = {
    "cdasi_activity": "CDASI activity",
    "mmt8": "MMT8",
    "mmt8_80": "MMT8 (0-80)",
    "mmt8_150": "MMT8 (0-150)",
    "dlqi": "DLQI",
    "ck": "CK",
    "cdasi_damage": "CDASI damage",
    "mmt24_260": "MMT24 (0-260)",
    "cdlqi": "CDLQI",
    "enzyme": "muscle enzyme",
    "aldolase": "aldolase",
    "alt": "ALT",
    "ast": "AST",
    "ldh": "LDH",
    "physician_global_vas": "physician global VAS",
    "patient_global_vas": "patient global VAS",
    "extramuscular_vas": "extramuscular VAS",
    "extramuscular_vas_sum": "sum of six organ VAS",
    "haq_di": "HAQ-DI",
    "chaq": "CHAQ",
    "pruritus_nrs": "itch NRS",
    "pruritus_vas": "itch VAS",
    "itch_5d": "5-D itch scale",
    "skindex29_total": "Skindex-29",
    "skindex29_symptoms": "Skindex-29 symptoms",
    "skindex29_emotions": "Skindex-29 emotions",
    "skindex29_functioning": "Skindex-29 functioning",
    "fvc_l": "FVC",
    "fvc_percent_predicted": "FVC, % predicted",
    "cmas": "CMAS",
    "jdm_das_total": "JDM DAS",
    "jdm_das_muscle": "JDM DAS, muscle",
    "jdm_das_skin": "JDM DAS, skin",
    "cat_activity": "CAT activity",
    "cat_damage": "CAT damage",
    "cat_bm_activity": "CAT-BM activity",
    "cat_bm_damage": "CAT-BM damage",
    "chq_phs": "CHQ physical summary",
    "prednisone_equivalent_mg_per_day": "systemic glucocorticoid, mg of prednisone-equivalent a day",
    "scig": "subcutaneous immunoglobulin",
}
_PARTS = {
    "_percent_improvement": "percent improvement since baseline",
    "_improvement": "improvement since baseline (positive = better)",
    "_baseline": "baseline",
    "_x_uln": "multiple of the upper limit of normal",
    "_change": "change since the first exposure",
}
_WHOLE = {
    "infusions_completed": "completed infusions of the study drug",
    "cumulative_dose_mg": "cumulative dose of the study drug",
    "infusion_dose_mg": "dose of one infusion of the study drug",
    "first_exposure": "first exposure to the study drug",
    "last_exposure": "last exposure to the study drug",
    "tis": "Total Improvement Score (2016 ACR/EULAR)",
    "tis_category": "category of the Total Improvement Score (2016 ACR/EULAR)",
    "tis_lower_bound": "points of the known measures of an incomplete Total Improvement Score",
    "imacs_improvement": "improvement by the IMACS definition",
    "imacs_worsening": "worsening by the IMACS definition",
    "proderm_deterioration": "deterioration as in ProDERM, confirmed at two consecutive visits",
    "printo_improvement": "improvement by the PRINTO definition (JDM)",
    "jdm_inactive": "clinically inactive JDM (PRINTO)",
    "jdm_inactive_phga": "clinically inactive JDM, physician's global activity mandatory",
    "follow_up_days": "days from the first exposure to the end of follow-up",
    "days_on_drug": "days on the study drug",
    "discontinued": "whether the study drug was discontinued",
    "discontinuation_reason": "why the study drug was discontinued",
    "glucocorticoid_status": "systemic glucocorticoid since baseline",
}


def label(variable: str) -> str:
    """`variable` in words; its own name with blanks where there are no better ones."""
    if variable in _WHOLE:
        return _WHOLE[variable]
    for part, words in _PARTS.items():
        if variable.endswith(part):
            return f"{label(variable.removesuffix(part))}, {words}"
    return _VARIABLES.get(variable, variable.replace("_", " "))
