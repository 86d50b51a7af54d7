"""Variables and outcomes in words, as a clinician writes them."""

_VARIABLES = {
    "cdasi_activity": "CDASI activity",
    "mmt8": "MMT8",
    "mmt8_80": "MMT8 (0-80)",
    "mmt8_150": "MMT8 (0-150)",
    "dlqi": "DLQI",
    "ck": "CK",
}
_PARTS = {
    "_percent_improvement": "percent improvement since baseline",
    "_improvement": "improvement since baseline (positive = better)",
    "_baseline": "baseline",
}
_WHOLE = {
    "infusions_completed": "completed infusions of the study drug",
    "cumulative_dose_mg": "cumulative dose of the study drug",
    "infusion_dose_mg": "dose of one infusion of the study drug",
    "first_exposure": "first exposure to the study drug",
    "last_exposure": "last exposure to the study drug",
}


def label(variable: str) -> str:
    """`variable` in words; its own name with blanks where there are no better ones."""
    if variable in _WHOLE:
        return _WHOLE[variable]
    for part, words in _PARTS.items():
        if variable.endswith(part):
            return f"{label(variable.removesuffix(part))}, {words}"
    return _VARIABLES.get(variable, variable.replace("_", " "))
