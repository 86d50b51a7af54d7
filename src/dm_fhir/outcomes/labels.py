"""Variables and outcomes in words, as a clinician writes them."""

_VARIABLES = {
    "cdasi_activity": "CDASI activity",
    "mmt8": "MMT8",
    "mmt8_80": "MMT8 (0-80)",
    "mmt8_150": "MMT8 (0-150)",
    "dlqi": "DLQI",
    "ck": "CK",
    "prednisone_equivalent_mg_per_day": "systemic glucocorticoid, mg of prednisone-equivalent a day",
    "scig": "subcutaneous immunoglobulin",
}
_PARTS = {
    "_percent_improvement": "percent improvement since baseline",
    "_improvement": "improvement since baseline (positive = better)",
    "_baseline": "baseline",
    "_change": "change since the first exposure",
}
_WHOLE = {
    "infusions_completed": "completed infusions of the study drug",
    "cumulative_dose_mg": "cumulative dose of the study drug",
    "infusion_dose_mg": "dose of one infusion of the study drug",
    "first_exposure": "first exposure to the study drug",
    "last_exposure": "last exposure to the study drug",
    "follow_up_days": "days from the first exposure to the end of follow-up",
    "days_on_drug": "days on the study drug",
    "discontinued": "whether the study drug was discontinued",
    "discontinuation_reason": "why the study drug was discontinued",
    "glucocorticoid_status": "systemic glucocorticoid since baseline",
}
#: What outcomes may answer, in words.
ANSWERS = {
    **{name: name for name in ("yes", "no", "tapered", "discontinued", "unchanged", "increased", "started")},
    **{name: name for name in ("stopped", "reduced", "death")},
    "none_at_baseline": "none, and none at baseline",
    "spaced": "longer interval between doses",
    "adverse_event": "adverse event",
    "lost_to_follow_up": "lost to follow-up",
    "other": "another reason",
}


def label(variable: str) -> str:
    """`variable` in words; its own name with blanks where there are no better ones."""
    if variable in _WHOLE:
        return _WHOLE[variable]
    for part, words in _PARTS.items():
        if variable.endswith(part):
            return f"{label(variable.removesuffix(part))}, {words}"
    return _VARIABLES.get(variable, variable.replace("_", " "))


def answer_words(answer: str) -> str:
    """An answer in words; its own name with blanks where there are no better ones."""
    return ANSWERS.get(answer, answer.replace("_", " "))
