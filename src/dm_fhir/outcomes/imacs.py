"""Improvement and worsening by the core set measures, three-valued: decided as soon as what is missing cannot change it.

Inputs: the measures at baseline (R-BL) and at a visit (R-VISIT): see `core_set.py`. Percents are relative to baseline. All
thresholds are included, where not said otherwise. A measure with baseline 0 has no relative percent: it cannot count as
improved, and whether it is worse is unknown when the follow-up is above 0. A bound such as "<20" decides what it can.

R-IMACS-IMPROVE, version 1, `imacs_improvement`: at least 3 of 6 measures improved by 20 %, and at most 2 worse by 25 %, none of
them strength. Rider 2004, as quoted with the 2016 ACR/EULAR criteria; that percents are relative is not confirmed.
R-IMACS-WORSEN, version 1, `imacs_worsening`: physician's global activity worse by 2 cm and strength worse by 20 %; or
extramuscular activity worse by 2 cm; or any 3 of 6 worse by 30 %. Oddis 2005, of which the original was not opened.
R-PRODERM, version 1, `proderm_deterioration`: the first two arms, or any 3 of the 5 measures without the enzyme worse by 30 %; on
two consecutive visits, of which it is told at the second. ProDERM, 13075-023-03232-2, figure 1.
R-PRINTO, version 1, `printo_improvement`, juveniles: at least 3 of the 6 PRINTO measures improved by 20 %, and at most 1 worse by more than
30 %, which is not strength (CMAS). Ruperto 2010; the numbers are not confirmed.
"""

from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import NamedTuple

from dm_fhir.outcomes import core_set
from dm_fhir.outcomes.bounds import Bounds, above, all_of, any_of, at_least, minus, negated, so_many, times
from dm_fhir.outcomes.core_set import CMAS, ENZYME, EXTRAMUSCULAR, IMACS, PHYSICIAN, PRINTO, STRENGTH, Compared

IMPROVE, WORSEN, PRODERM, PRINTO_RULE = "R-IMACS-IMPROVE", "R-IMACS-WORSEN", "R-PRODERM", "R-PRINTO"
VERSION = "1"
WORSE_CM = 2
#: Each rule in words; a rule of several arms says "or".
CRITERIA = {
    IMPROVE: ("at least 3 of 6 improved by >= 20 %", "at most 2 worse by >= 25 %", "strength not worse by >= 25 %"),
    WORSEN: (
        "physician's global activity worse by >= 2 cm and strength worse by >= 20 %",
        "or extramuscular activity worse by >= 2 cm",
        "or at least 3 of 6 worse by >= 30 %",
    ),
    PRODERM: (
        "at this visit and at the one before: physician's global activity worse by >= 2 cm and strength worse by >= 20 %",
        "or extramuscular activity worse by >= 2 cm",
        "or at least 3 of 5 (without the enzyme) worse by >= 30 %",
    ),
    PRINTO_RULE: ("at least 3 of 6 improved by >= 20 %", "at most 1 worse by > 30 %", "strength not worse by > 30 %"),
}
#: The measures of each rule.
SETS = {
    IMPROVE: IMACS,
    WORSEN: IMACS,
    PRODERM: tuple(measure for measure in IMACS if measure != ENZYME),
    PRINTO_RULE: PRINTO,
}


class Judged(NamedTuple):
    """What a measure came to: what is asked of it ("improved_20", "worse_25", …), and whether it holds, None for unknown."""

    compared: Compared
    verdicts: Mapping[str, bool | None]


class Verdict(NamedTuple):
    """Whether a rule is met, None for unknown; and what each of its measures came to."""

    met: bool | None
    judged: tuple[Judged, ...]

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why it is unknown: what is not known of each measure. Empty where it is known."""
        return () if self.met is not None else tuple(reason for one in self.judged for reason in unknown(one))


def improvement(measures: Sequence[Compared]) -> Verdict:
    """The IMACS definition of improvement, of the six IMACS measures."""
    judged = [_judge(one, improved_20=_improved(one, 20), worse_25=_worse(one, 25)) for one in measures]
    improved, worse = _of(judged, "improved_20"), _of(judged, "worse_25")
    met = all_of(so_many(3, improved.values()), negated(so_many(3, worse.values())), negated(worse[STRENGTH.name]))
    return Verdict(met, tuple(judged))


def worsening(measures: Sequence[Compared]) -> Verdict:
    """The IMACS definition of worsening, of the six IMACS measures; of five, deterioration as in ProDERM at one visit."""
    judged = []
    for one in measures:
        asked = {"worse_30": _worse(one, 30)}
        if one.measure in (PHYSICIAN, EXTRAMUSCULAR):
            asked["worse_2_cm"] = _worse_by(one, WORSE_CM)
        if one.measure == STRENGTH:
            asked["worse_20"] = _worse(one, 20)
        judged.append(Judged(one, asked))
    by_name = {one.compared.measure.name: one.verdicts for one in judged}
    met = any_of(
        all_of(by_name[PHYSICIAN.name]["worse_2_cm"], by_name[STRENGTH.name]["worse_20"]),
        by_name[EXTRAMUSCULAR.name]["worse_2_cm"],
        so_many(3, (verdicts["worse_30"] for verdicts in by_name.values())),
    )
    return Verdict(met, tuple(judged))


def printo_improvement(measures: Sequence[Compared]) -> Verdict:
    """The PRINTO definition of improvement, of the six PRINTO measures."""
    judged = [_judge(one, improved_20=_improved(one, 20), worse_above_30=_worse_by_more(one, 30)) for one in measures]
    improved, worse = _of(judged, "improved_20"), _of(judged, "worse_above_30")
    met = all_of(so_many(3, improved.values()), negated(so_many(2, worse.values())), negated(worse[CMAS.name]))
    return Verdict(met, tuple(judged))


def unknown(one: Judged) -> tuple[str, ...]:
    """Why something is not known of a measure: its own reasons, `baseline_zero:…` or `comparator:…`."""
    if None not in one.verdicts.values():
        return ()
    if one.compared.reasons:
        return one.compared.reasons
    start = one.compared.start
    is_zero = start is not None and core_set.bounds(start).exact == 0
    return (f"{'baseline_zero' if is_zero else 'comparator'}:{one.compared.variable}",)


def _judge(one: Compared, **verdicts: bool | None) -> Judged:
    return Judged(one, verdicts)


def _of(judged: Sequence[Judged], asked: str) -> dict[str, bool | None]:
    return {one.compared.measure.name: one.verdicts[asked] for one in judged}


def _improved(one: Compared, percent: int) -> bool | None:
    """Whether it improved by at least so much of its baseline. A baseline of 0 never does."""
    ends = _ends(one)
    if ends is None:
        return None
    first, last, higher_is_worse = ends
    if first.exact == 0:
        return False
    rest = Fraction(100 - percent if higher_is_worse else 100 + percent, 100)
    left = minus(times(first, rest), last) if higher_is_worse else minus(last, times(first, rest))
    return _if_above_zero(first, at_least(left, 0))


def _worse(one: Compared, percent: int) -> bool | None:
    """Whether it is worse by at least so much of its baseline."""
    return _worsened(one, percent, or_equal=True)


def _worse_by_more(one: Compared, percent: int) -> bool | None:
    """Whether it is worse by more than so much of its baseline."""
    return _worsened(one, percent, or_equal=False)


def _worsened(one: Compared, percent: int, *, or_equal: bool) -> bool | None:
    ends = _ends(one)
    if ends is None:
        return None
    first, last, higher_is_worse = ends
    if first.exact == 0:
        # No percentage; but what is not above 0, or is better above it, is surely not worse.
        return False if not higher_is_worse or last.exact == 0 else None
    limit = Fraction(100 + percent if higher_is_worse else 100 - percent, 100)
    passed = minus(last, times(first, limit)) if higher_is_worse else minus(times(first, limit), last)
    return _if_above_zero(first, at_least(passed, 0) if or_equal else above(passed, 0))


def _worse_by(one: Compared, amount: int) -> bool | None:
    """Whether it is worse by at least so much, in its unit; for scales on which higher is worse."""
    ends = _ends(one)
    return at_least(minus(ends[1], ends[0]), amount) if ends is not None else None


def _ends(one: Compared) -> tuple[Bounds, Bounds, bool] | None:
    """What baseline and follow-up may be, and whether higher is worse; None where they cannot be compared."""
    return (*one.ends, core_set.SCALES[one.variable or ""].higher_is_worse) if one.ends is not None else None


def _if_above_zero(first: Bounds, verdict: bool | None) -> bool | None:
    """What holds of every percentage; where the baseline may be 0 there may be none, and only "no" is sure."""
    return (
        verdict if verdict is False or (first.low is not None and first.low > 0) else _if_open_at_zero(first, verdict)
    )


def _if_open_at_zero(first: Bounds, verdict: bool | None) -> bool | None:
    return verdict if first.low == 0 and first.low_open else None
