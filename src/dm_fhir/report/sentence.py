"""A sentence of the paper, with its numbers beside it, and how counts are put into words."""

from collections.abc import Callable, Mapping

import msgspec

from dm_fhir.model.exact import rounded
from dm_fhir.statistics.small_cells import SHOW_ALL, SmallCells
from dm_fhir.statistics.summaries import MeanSd, percent_of_count

#: Between the ends of a range, as papers print it.
EN_DASH = "\N{EN DASH}"
#: Up to so many patients are named in a sentence; more are in the table of patients.
FEW = 10


class Sentence(msgspec.Struct, frozen=True):
    """One result in words.

    `values` holds the numbers exactly as the text shows them. `missing` says how many patients could not be counted
    and why; it is empty where all could. `topic` is the part of the paper that the sentence belongs to.
    """

    id: str
    text: str
    values: dict[str, str] = {}
    missing: str = ""
    topic: str = ""


class Counted(msgspec.Struct, frozen=True):
    """Counts of `n` patients as they may be shown. `exclusive`: nobody is in two of them.

    `open`: in how many of the `n` it is not known, by key.
    """

    counts: Mapping[str, int]
    n: int
    small: SmallCells = SHOW_ALL
    exclusive: bool = False
    open: Mapping[str, int] = {}

    def n_of(self, key: str) -> int:
        """Of how many it is known whether they are in the count."""
        return self.n - self.open.get(key, 0)

    @property
    def hidden(self) -> dict[str, str]:
        """What is shown instead of a count, by key."""
        if not self.exclusive:
            instead = ((key, self.small.instead(count, self.n_of(key))) for key, count in self.counts.items())
            return {key: text for key, text in instead if text is not None}
        return self.small.hidden(self.counts, self.n, exclusive=self.exclusive)

    def listed(self, words: Callable[[str], str] = str) -> str:
        """ "pruritus 22 of 24 (92 %), alopecia 11 of 24 (46 %)"."""
        hidden = self.hidden
        return ", ".join(
            f"{words(key)} {f'{hidden[key]} of {self.small.number(self.n_of(key))}' if key in hidden else self.small.of(count, self.n_of(key))}"
            for key, count in self.counts.items()
        )

    def named(self, words: Callable[[str], str] = str) -> str:
        """ "pruritus 22, alopecia 11"."""
        hidden = self.hidden
        return ", ".join(f"{words(key)} {hidden.get(key, count)}" for key, count in self.counts.items())

    def values(self) -> dict[str, str]:
        """The numbers, for `Sentence.values`: each count, its percentage, and n."""
        hidden, values = self.hidden, {"n": self.small.number(self.n)}
        for key, count in self.counts.items():
            percent = percent_of_count(count, self.n_of(key))
            values[key] = hidden.get(key, str(count))
            if percent is not None and key not in hidden:
                values[f"{key}_percent"] = percent
        return values


def lacking(counts: Mapping[str, int], n: int, small: SmallCells = SHOW_ALL) -> str:
    """ "2 of 24 without a birth date; 1 of 24 ...", for `Sentence.missing`; zeros are left out."""
    return "; ".join(
        f"{small.number(count)} of {small.number(n)} {reason}" for reason, count in counts.items() if count
    )


def shown_mean(mean: MeanSd | None, unit: str) -> str:
    """ "53.9 ± 19.8 years (mean ± SD, n = 24)"; a single value says that it has no SD."""
    if mean is None:
        return "not documented"
    sd = mean.sd()
    spread = f" ± {sd:f} {unit} (mean ± SD, n = {mean.n})" if sd is not None else f" {unit} (one patient, no SD)"
    return f"{rounded(mean.mean, 1):f}{spread}"


def mean_values(mean: MeanSd | None, small: SmallCells = SHOW_ALL) -> dict[str, str]:
    """The numbers of `shown_mean`, for `Sentence.values`; n alone where it is too small to be shown."""
    if mean is None or small.hides(mean.n):
        return {"n": small.number(mean.n) if mean else "0"}
    sd = mean.sd()
    return {"n": str(mean.n), "mean": f"{rounded(mean.mean, 1):f}"} | ({"sd": f"{sd:f}"} if sd is not None else {})
