"""The statistical methods against published examples. Each test names where its numbers are printed."""

import sys
from fractions import Fraction
from itertools import product
from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from dm_fhir.errors import ConfigError
from dm_fhir.model.exact import rounded
from dm_fhir.statistics.intervals import proportion_interval, rate_interval
from dm_fhir.statistics.signed_rank import MOST_EXACT, signed_rank
from dm_fhir.statistics.summaries import Quartiles, quartiles
from dm_fhir.statistics.survival import Followed, kaplan_meier


def shown(number: Fraction | None, decimals: int) -> str | None:
    return None if number is None else str(rounded(number, decimals))


def exact(*numbers: str) -> list[Fraction]:
    return list(map(Fraction, numbers))


#: Hamilton depression scale, factor IV, of nine patients before and after a tranquilliser.
#: Hollander and Wolfe, Nonparametric Statistical Methods (1973), page 29; also the example of R's wilcox.test.
BEFORE = exact("1.83", "0.50", "1.62", "2.48", "1.68", "1.88", "1.55", "3.06", "1.30")
AFTER = exact("0.878", "0.647", "0.598", "2.05", "1.06", "1.29", "1.06", "3.14", "1.29")
#: Darwin's crossed and self-fertilised maize, in eighths of an inch. Fisher, The Design of Experiments (1935), section 17.
MAIZE = [6, 8, 14, 16, 23, 24, 28, 29, 41, -48, 49, 56, 60, -67, 75]


def test_signed_rank_of_hollander_and_wolfe() -> None:
    # Printed: the sum of positive ranks is 40 of 45, the one-sided p 0.020 (R: V = 40, p-value = 0.01953).
    found = signed_rank([before - after for before, after in zip(BEFORE, AFTER, strict=True)])
    assert (found.n, found.zeros, found.statistic, found.method) == (9, 0, 5, "exact")
    assert found.p is not None
    assert shown(found.p / 2, 5) == "0.01953"


def test_signed_rank_of_darwins_maize() -> None:
    # scipy's documentation of wilcoxon prints the same: statistic 24.0, pvalue 0.041259765625.
    found = signed_rank(map(Fraction, MAIZE))
    assert (found.statistic, found.p) == (24, Fraction("0.041259765625"))


@pytest.mark.parametrize(("n", "p"), [(5, "0.0625"), (6, "0.03125"), (7, "0.015625"), (8, "0.0078125")])
def test_the_smallest_p_that_so_few_patients_can_give(n: int, p: str) -> None:
    # Wilcoxon 1945, table II, and every textbook since: five patients who all improve are not below 0.05.
    assert signed_rank(map(Fraction, range(1, n + 1))).p == Fraction(p)


def every_sign(sizes: list[Fraction]) -> Fraction:
    """The two-sided p that counting one by one gives, with mean ranks from the definition."""
    sizes = [one for one in sizes if one]
    ordered = sorted(map(abs, sizes))
    ranks = [Fraction(2 * ordered.index(abs(s)) + ordered.count(abs(s)) + 1, 2) for s in sizes]
    middle = sum(ranks) / 2
    seen = abs(sum(r for r, s in zip(ranks, sizes, strict=True) if s > 0) - middle)
    sums = [
        abs(sum(r for r, up in zip(ranks, signs, strict=True) if up) - middle)
        for signs in product((0, 1), repeat=len(ranks))
    ]
    return Fraction(sum(one >= seen for one in sums), len(sums))


@given(st.lists(st.integers(-6, 6).map(Fraction), min_size=1, max_size=9).filter(any))
def test_ties_are_counted_exactly(differences: list[Fraction]) -> None:
    found = signed_rank(differences)
    assert found.p == every_sign(differences)
    assert found.n + found.zeros == len(differences)
    assert signed_rank([-one for one in differences]).p == found.p
    assert signed_rank([one / 7 for one in reversed(differences)]) == found


@pytest.mark.parametrize("differences", [[1, 1, 2, 2, -3, 4, 5], [3, -3, 5, 5, 5, 9, 0]])
def test_ties_as_scipy_permutes_them(differences: list[int]) -> None:
    permuted = stats.wilcoxon(differences, method=stats.PermutationMethod(n_resamples=inf))
    found = signed_rank(map(Fraction, differences)).p
    assert found is not None
    assert float(found) == pytest.approx(float(permuted.pvalue))


def test_without_ties_as_scipy_has_it_exactly() -> None:
    differences = [one if one % 3 else -one for one in range(1, MOST_EXACT + 1)]
    found = signed_rank(map(Fraction, differences))
    assert found.method == "exact"
    assert float(found.p or 0) == pytest.approx(float(stats.wilcoxon(differences, method="exact").pvalue))


def test_many_differences_are_approximate_and_say_so() -> None:
    differences = [Fraction(one if one % 3 else -one, 10) for one in range(1, MOST_EXACT + 2)]
    found = signed_rank(differences)
    assert found.method == "approximate"
    assert float(found.p or 0) == pytest.approx(
        float(stats.wilcoxon([int(10 * d) for d in differences], method="exact").pvalue), abs=0.001
    )


def test_nothing_that_differs_has_no_p() -> None:
    assert signed_rank([Fraction(0)] * 3)[:2] == (0, 3)
    assert signed_rank([Fraction(0)] * 3).p is None
    assert signed_rank([]).method == "none"


@pytest.mark.parametrize(
    ("count", "n", "low", "high"),
    [(81, 263, "0.2527", "0.3676"), (0, 20, "0.0000", "0.1684"), (1, 29, "0.0009", "0.1776"), (4, 20, "0.0573", "0.4366")],
)  # fmt: skip
def test_clopper_pearson_of_newcombe(count: int, n: int, low: str, high: str) -> None:
    # Newcombe, Stat Med 1998; 17:857-872, table I, method 5 (Clopper-Pearson); the last is printed by R's exactci(4, 20).
    found = proportion_interval(count, n)
    assert found is not None
    assert (shown(found.low, 4), shown(found.high, 4)) == (low, high)


def test_an_interval_of_nobody_and_of_an_impossible_count() -> None:
    assert proportion_interval(0, 0) is None
    with pytest.raises(ValueError, match="from 0 to its denominator"):
        proportion_interval(5, 4)


@given(st.integers(1, 60).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_an_interval_holds_its_share_and_mirrors(counted: tuple[int, int]) -> None:
    count, n = counted
    found, other = proportion_interval(count, n), proportion_interval(n - count, n)
    assert found is not None
    assert other is not None
    assert 0 <= found.low <= Fraction(count, n) <= found.high <= 1
    assert float(found.low) == pytest.approx(1 - float(other.high))


@pytest.mark.parametrize(
    ("events", "low", "high"),
    [(0, "0.000", "3.689"), (1, "0.025", "5.572"), (5, "1.623", "11.668"), (10, "4.795", "18.390")],
)
def test_poisson_limits_of_garwood(events: int, low: str, high: str) -> None:
    # Garwood 1936, as tabled by Ulm 1990 and Breslow and Day (IARC 82, 1987), table 2.10, for the 95 % limits of a count.
    found = rate_interval(events, Fraction(1))
    assert found is not None
    assert (shown(found.low, 3), shown(found.high, 3)) == (low, high)


def test_a_rate_is_per_time_and_none_without_it() -> None:
    found, whole = rate_interval(5, Fraction(15)), rate_interval(5, Fraction(1))
    assert found is not None
    assert whole is not None
    assert found.high * 15 == whole.high
    assert rate_interval(0, Fraction(0)) is None


#: Weeks of remission with 6-mercaptopurine. Freireich et al., Blood 1963; 21:699-716; + means still in remission.
MERCAPTOPURINE = "6 6 6 6+ 7 9+ 10 10+ 11+ 13 16 17+ 19+ 20+ 22 23 25+ 32+ 32+ 34+ 35+"
PLACEBO = "1 1 2 2 3 4 4 5 5 8 8 8 8 11 11 12 12 15 17 22 23"


def weeks(text: str) -> list[Followed]:
    return [Followed(int(one.rstrip("+")), not one.endswith("+")) for one in text.split()]


def test_kaplan_meier_of_freireich() -> None:
    # The usual textbook table: Kleinbaum and Klein, Survival Analysis, table 2.1; the log-log limits as Stata's sts list.
    found = kaplan_meier(weeks(MERCAPTOPURINE))
    table = [
        (step.day, step.at_risk, step.ended, shown(step.survival, 4), step.interval and shown(step.interval.low, 4),
         step.interval and shown(step.interval.high, 4))
        for step in found.steps
    ]  # fmt: skip
    assert table == [
        (6, 21, 3, "0.8571", "0.6197", "0.9516"),
        (7, 17, 1, "0.8067", "0.5631", "0.9228"),
        (10, 15, 1, "0.7529", "0.5032", "0.8894"),
        (13, 12, 1, "0.6902", "0.4316", "0.8491"),
        (16, 11, 1, "0.6275", "0.3675", "0.8049"),
        (22, 7, 1, "0.5378", "0.2678", "0.7468"),
        (23, 6, 1, "0.4482", "0.1881", "0.6801"),
    ]
    assert found.median_days == 23
    assert kaplan_meier(weeks(PLACEBO)).median_days == 8
    assert [found.at_risk(week) for week in (0, 10, 20, 36)] == [21, 15, 8, 0]
    assert found.at(5) is None
    assert found.at(21) == found.steps[4]


def test_the_estimate_is_scipys() -> None:
    sample = weeks(MERCAPTOPURINE)
    theirs = stats.ecdf(
        stats.CensoredData([one.days for one in sample if one.ended], right=[o.days for o in sample if not o.ended])
    )
    for step in kaplan_meier(sample).steps:
        assert float(step.survival) == pytest.approx(float(theirs.sf.evaluate(step.day)))


def test_a_half_is_reached_exactly() -> None:
    # 23/24 x 22/23 x ... x 12/13 is a half; in binary floats it is a hair more, and the median would be missed.
    found = kaplan_meier([Followed(day, day <= 12) for day in range(1, 25)])
    assert found.median_days == 12


def test_a_curve_that_stays_above_a_half_or_has_no_step_has_no_median() -> None:
    assert kaplan_meier(weeks("3 5+ 6+ 9+")).median_days is None
    assert kaplan_meier(weeks("3+ 5+")).steps == ()
    assert kaplan_meier([]).at_risk(0) == 0


def test_a_share_of_nought_has_no_interval() -> None:
    assert [step.interval is None for step in kaplan_meier(weeks("3 5")).steps] == [False, True]


def test_quartiles_interpolate() -> None:
    # The example of Wikipedia's article on quartiles, whose method 2 agrees with definition 7 here; R: quantile(x).
    assert quartiles([6, 7, 15, 36, 39, 40, 41, 42, 43, 47, 49]) == Quartiles(
        Fraction("25.5"), Fraction(40), Fraction("42.5")
    )
    assert quartiles([1, 2, 3, 4]) == Quartiles(Fraction("1.75"), Fraction("2.5"), Fraction("3.25"))
    assert quartiles([7]) == Quartiles(Fraction(7), Fraction(7), Fraction(7))
    assert quartiles([]) is None


def test_without_the_library_the_line_that_installs_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "scipy", None)
    with pytest.raises(ConfigError) as caught:
        proportion_interval(1, 2)
    assert "pip install 'dm-fhir[report]'" in str(caught.value)
    # Up to 50 patients the signs are counted here; nothing is missing for that.
    assert signed_rank(map(Fraction, MAIZE)).method == "exact"
