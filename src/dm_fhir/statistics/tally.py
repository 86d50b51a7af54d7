"""A count of patients: how many have what, of how many, and who could not be counted."""

from collections import Counter
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import NamedTuple


class Tally(NamedTuple):
    """How many have what (`counts`) of the `n` patients of whom it is documented.

    `lacking` says of the others how many there are, by what they lack, in words that follow "2 of 24 ...". `open` says of a
    key in how many of the `n` it is not known: they neither have it nor do not.
    """

    n: int
    counts: dict[str, int]
    lacking: dict[str, int]
    open: Mapping[str, int] = MappingProxyType({})


def ranked(keys: Iterable[str]) -> dict[str, int]:
    """How often each key occurs, the most frequent first, equals in alphabetical order."""
    return dict(sorted(Counter(keys).items(), key=lambda item: (-item[1], item[0])))


def ranked_where_known(each: Iterable[Mapping[str, bool | None]]) -> tuple[dict[str, int], dict[str, int]]:
    """How often each key is true, as by `ranked`, and how often it is not known; one that is nowhere true stands with 0."""
    found = list(each)
    counts = ranked(key for one in found for key, holds in one.items() if holds)
    unknown = ranked(key for one in found for key, holds in one.items() if holds is None)
    return counts | dict.fromkeys(sorted(unknown.keys() - counts), 0), unknown
