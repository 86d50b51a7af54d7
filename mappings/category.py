"""Which category an Observation that we write belongs to, by its variable."""

SYSTEM = "http://terminology.hl7.org/CodeSystem/observation-category"
_CATEGORIES = {
    "dlqi": "survey", "ck": "laboratory", "cdasi": "exam", "mmt8": "exam",
    # Composites of a clinician's scores, a patient's, and a laboratory's: a clinician's assessment.
    "tis": "exam", "imacs": "exam", "proderm": "exam", "printo": "exam", "jdm_inactive": "exam",
}  # fmt: skip


def category(variable: str) -> str | None:
    """The category's code; None for a variable of which nobody has said it."""
    return next((code for beginning, code in _CATEGORIES.items() if variable.startswith(beginning)), None)
