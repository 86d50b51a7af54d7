"""Whether paired values changed: the signed-rank test of Wilcoxon (Biometrics Bulletin 1945; 1:80-83).

Differences of 0 are left out, as Wilcoxon did; equal ones share the mean of their ranks. Two-sided.
"""

from collections.abc import Iterable
from fractions import Fraction
from itertools import groupby
from typing import Literal, NamedTuple

from dm_fhir.statistics.library import scipy_stats

#: Up to so many differences all signs they could have had are counted; above it the normal curve stands for them.
MOST_EXACT = 50


class SignedRank(NamedTuple):
    """`p` of `n` differences other than 0; `zeros` more were left out. `p` is None where nothing differs.

    `statistic` is the smaller of the sums of ranks of the positive and of the negative differences.
    """

    n: int
    zeros: int
    statistic: Fraction
    p: Fraction | None
    method: Literal["exact", "approximate", "none"]


def signed_rank(differences: Iterable[Fraction]) -> SignedRank:
    """The test of `differences` against a distribution symmetric about 0.

    Exact for up to 50 of them, with ties too; above that the normal approximation with corrections for ties and for
    continuity (scipy.stats.wilcoxon).
    """
    given = list(differences)
    differing = [one for one in given if one]
    ranks = _doubled_ranks([abs(one) for one in differing])
    positive = sum(rank for rank, one in zip(ranks, differing, strict=True) if one > 0)
    smaller = min(positive, sum(ranks) - positive)
    n, zeros = len(differing), len(given) - len(differing)
    if not differing:
        return SignedRank(0, zeros, Fraction(0), None, "none")
    if n <= MOST_EXACT:
        return SignedRank(n, zeros, Fraction(smaller, 2), _exact(ranks, smaller), "exact")
    return SignedRank(n, zeros, Fraction(smaller, 2), _approximate(ranks, differing), "approximate")


def _doubled_ranks(sizes: list[Fraction]) -> list[int]:
    """Twice the rank of each size, so that the mean of two ranks is whole."""
    of_size, before = {}, 0
    for size, alike in groupby(sorted(sizes)):
        count = len(list(alike))
        of_size[size] = 2 * before + count + 1
        before += count
    return [of_size[size] for size in sizes]


def _exact(ranks: list[int], smaller: int) -> Fraction:
    """Of all 2^n ways to give signs to the ranks the share with a sum as far from the middle, on either side.

    scipy's exact distribution knows no ties, and its permutations go through every one of the 2^n.
    """
    ways = [1] + [0] * sum(ranks)  # ways[s]: in how many ways the positive ranks sum to s
    for rank in ranks:
        for total in range(len(ways) - 1, rank - 1, -1):
            ways[total] += ways[total - rank]
    return min(Fraction(2 * sum(ways[: smaller + 1]), 2 ** len(ranks)), Fraction(1))


def _approximate(ranks: list[int], differing: list[Fraction]) -> Fraction:
    stats = scipy_stats()

    # Only signs and ranks matter to the test. Handed over as ranks, equal differences stay equal in binary floats.
    signed = [rank if one > 0 else -rank for rank, one in zip(ranks, differing, strict=True)]
    return Fraction(float(stats.wilcoxon(signed, correction=True, method="asymptotic").pvalue))
