"""A count of patients: how many have what, of how many, and who could not be counted."""

from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple


class Tally(NamedTuple):
    """How many have what (`counts`) of the `n` patients of whom it is documented.

    `lacking` says of the others how many there are, by what they lack, in words that follow "2 of 24 ...".
    """

    n: int
    counts: dict[str, int]
    lacking: dict[str, int]


def ranked(keys: Iterable[str]) -> dict[str, int]:
    """How often each key occurs, the most frequent first, equals in alphabetical order."""
    return dict(sorted(Counter(keys).items(), key=lambda item: (-item[1], item[0])))
