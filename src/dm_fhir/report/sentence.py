"""A sentence of the paper, with its numbers beside it, and how counts are put into words."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence

import msgspec

from dm_fhir.model.exact import rounded
from dm_fhir.statistics.summaries import MeanSd, count_of_n, percent_of_count

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


def ranked(keys: Iterable[str]) -> dict[str, int]:
    """How often each key occurs, the most frequent first, equals in alphabetical order."""
    return dict(sorted(Counter(keys).items(), key=lambda item: (-item[1], item[0])))


def listed(counts: Mapping[str, int], n: int, words: Callable[[str], str] = str) -> str:
    """ "pruritus 22 of 24 (92 %), alopecia 11 of 24 (46 %)"."""
    return ", ".join(f"{words(key)} {count_of_n(count, n)}" for key, count in counts.items())


def members(names: Sequence[str], n: int) -> str:
    """How many of n; and who, where there are few enough for a reader to look them up."""
    return count_of_n(len(names), n) + (f" [{', '.join(names)}]" if names and n <= FEW else "")


def shown_counts(counts: Mapping[str, int], n: int) -> dict[str, str]:
    """The numbers of `listed`, for `Sentence.values`: each count, its percentage, and n."""
    values = {"n": str(n)}
    for key, count in counts.items():
        percent = percent_of_count(count, n)
        values |= {key: str(count)} | ({f"{key}_percent": percent} if percent is not None else {})
    return values


def lacking(counts: Mapping[str, int], n: int) -> str:
    """ "2 of 24 without a birth date; 1 of 24 ...", for `Sentence.missing`; zeros are left out."""
    return "; ".join(f"{count} of {n} {reason}" for reason, count in counts.items() if count)


def shown_mean(mean: MeanSd | None) -> str:
    """ "53.9 ± 19.8"; a single value says that it has no SD."""
    if mean is None:
        return "not documented"
    sd = mean.sd()
    return f"{rounded(mean.mean, 1):f}" + (f" ± {sd:f}" if sd is not None else " (one patient, no SD)")


def mean_values(mean: MeanSd | None) -> dict[str, str]:
    """The numbers of `shown_mean`, for `Sentence.values`."""
    if mean is None:
        return {"n": "0"}
    sd = mean.sd()
    return {"n": str(mean.n), "mean": f"{rounded(mean.mean, 1):f}"} | ({"sd": f"{sd:f}"} if sd is not None else {})
