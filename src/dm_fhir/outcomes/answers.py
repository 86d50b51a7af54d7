"""Every answer that an outcome can be, in words. They are the codes of what is written back: an answer stands here or nowhere."""

ANSWERS = {
    "yes": "yes",
    "no": "no",
    # The category of a Total Improvement Score.
    "no_improvement": "no improvement",
    "minimal": "minimal improvement",
    "moderate": "moderate improvement",
    "major": "major improvement",
    # What became of a drug or its dose.
    "discontinued": "discontinued",
    "tapered": "tapered",
    "unchanged": "unchanged",
    "increased": "increased",
    "started": "started",
    "none_at_baseline": "none, and none at baseline",
    "stopped": "stopped",
    "reduced": "reduced",
    "spaced": "longer interval between doses",
    "unknown": "unknown",
    # Why the study drug was stopped.
    "adverse_event": "adverse event",
    "lost_to_follow_up": "lost to follow-up",
    "death": "death",
    "other": "another reason",
}


def answer_words(answer: str) -> str:
    """An answer in words; one that is not listed as it is, with blanks."""
    return ANSWERS.get(answer, answer.replace("_", " "))
