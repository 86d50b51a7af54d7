"""Which category an Observation that we write belongs to, by its variable."""

SYSTEM = "http://terminology.hl7.org/CodeSystem/observation-category"
_CATEGORIES = {
    **dict.fromkeys(("ck", "aldolase", "alt", "ast", "ldh"), "laboratory"),
    **dict.fromkeys(("cdasi", "mmt8", "mmt24", "physician_global", "extramuscular", "cmas", "jdm_das", "cat"), "exam"),
    **dict.fromkeys(
        ("dlqi", "cdlqi", "patient_global", "haq_di", "chaq", "pruritus", "itch_5d", "skindex29", "chq"), "survey"
    ),
    "fvc": "procedure",
    # Composites of a clinician's scores, a patient's, and a laboratory's: a clinician's assessment.
    **dict.fromkeys(("tis", "imacs", "proderm", "printo", "jdm_inactive"), "exam"),
}


def category(variable: str) -> str | None:
    """The category's code; None for a variable of which nobody has said it."""
    return next((code for beginning, code in _CATEGORIES.items() if f"{variable}_".startswith(f"{beginning}_")), None)
