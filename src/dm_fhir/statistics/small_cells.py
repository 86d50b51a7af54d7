"""Counts of few patients, which may give a patient away, are not shown where a study says so.

A count from 1 to `below` - 1 is shown as "<5". What would give it away by subtraction from a total is shown as "≥5".
"""

from collections.abc import Mapping
from typing import NamedTuple

from dm_fhir.statistics.summaries import count_of_n, of_evaluable

AT_LEAST = "\N{GREATER-THAN OR EQUAL TO}"


class SmallCells(NamedTuple):
    """Counts from 1 to `below` - 1 are hidden; with 0 none is."""

    below: int = 0

    def hides(self, count: int) -> bool:
        """Whether the count is too small to be shown."""
        return 0 < count < self.below

    def number(self, count: int) -> str:
        """The count, or "<5"."""
        return f"<{self.below}" if self.hides(count) else str(count)

    def instead(self, count: int, n: int) -> str | None:
        """What is shown instead of `count` of `n`; None where it may be shown. The rest of `n` is a count as well."""
        if self.hides(count):
            return f"<{self.below}"
        return f"{AT_LEAST}{self.below}" if count and self.hides(n - count) else None

    def of(self, count: int, n: int, decimals: int = 0) -> str:
        """ "k of n (p %)", or "<5 of 24"."""
        hidden = self.instead(count, n)
        if hidden or self.hides(n):
            return f"{hidden or count} of {self.number(n)}"
        return count_of_n(count, n, decimals)

    def of_evaluable(self, count: int, evaluable: int, n: int, lacking: Mapping[str, int]) -> str:
        """`count` among the evaluable patients, then how many of all `n` are not, by what they lack."""
        plain = self.instead(count, evaluable) is None and not self.hides(evaluable)
        among = of_evaluable(count, evaluable, n, {}) if plain else f"{self.of(count, evaluable)} evaluable"
        others = (f"{self.number(number)} of {self.number(n)} {what}" for what, number in lacking.items() if number)
        return "; ".join((among, *others))

    def hidden(self, counts: Mapping[str, int], n: int, *, exclusive: bool = False) -> dict[str, str]:
        """What is shown instead, by key, of those of the counts that are not shown.

        `exclusive`: each of the `n` is in one of the counts at most, so that they and the rest sum to `n`. Where the
        sum would then tell what is hidden, the smallest other counts are hidden too, as long as there are any.
        """
        found = {key: text for key, count in counts.items() if (text := self.instead(count, n)) is not None}
        if not exclusive:
            return found
        small = [count for count in (*counts.values(), n - sum(counts.values())) if self.hides(count)]
        large = [counts[key] for key in found if not self.hides(counts[key])]
        others = sorted((count, key) for key, count in counts.items() if key not in found and count)
        while others and self._told_by_their_sum(small, large):
            count, key = others.pop(0)
            large.append(count)
            found[key] = f"{AT_LEAST}{self.below}"
        return found

    def _told_by_their_sum(self, small: list[int], large: list[int]) -> bool:
        """Whether there is one way only in which the small and the large hidden counts make their sum."""
        least, most = len(small), len(small) * (self.below - 1)
        # What the large ones do not need at the least may be the small ones'.
        left = sum(small) + sum(large) - len(large) * self.below
        if not small:
            return False
        if large:
            return min(most, left) == least
        return len(small) == 1 or sum(small) in (least, most)


SHOW_ALL = SmallCells()
