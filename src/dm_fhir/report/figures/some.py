"""Which patients a figure of single patients shows where there are more than it can hold; it always says how many."""

from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")
#: Rows, and lines, that can be told apart on a page.
MOST_ROWS = 50
MOST_LINES = 100


def evenly(ordered: Sequence[T], most: int) -> list[T]:
    """All, or `most` of them at even distances, the first and the last among them."""
    if len(ordered) <= most:
        return list(ordered)
    return [ordered[round(place * (len(ordered) - 1) / (most - 1))] for place in range(most)]


def said(shown: int, of: int, file: str) -> str:
    """What the caption says of those that are not shown; nothing where all are."""
    return f" Shown are {shown} of {of} patients at even distances; all are in {file}." if shown < of else ""
