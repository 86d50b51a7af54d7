"""The best change of CDASI activity in each patient, the best first: a waterfall."""

from collections.abc import Sequence
from fractions import Fraction
from typing import TYPE_CHECKING, NamedTuple

from dm_fhir.model.exact import to_text
from dm_fhir.report.figures.figure import ACCENT, INK, PAPER, SECOND, SOFT, Figure
from dm_fhir.statistics.cohort import Cohort, Patient

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas

_VARIABLE = "cdasi_activity_percent_improvement"
_NUMBERED = 60


class _Best(NamedTuple):
    percent: Fraction
    number: int
    when: str


def waterfall(cohort: Cohort) -> Figure:
    """One bar per patient who has a baseline above 0 and a follow-up."""
    found = [one for number, patient in enumerate(cohort.patients, 1) if (one := _best(number, patient)) is not None]
    bars = sorted(found, key=lambda one: (-one.percent, one.number))
    lacking = cohort.n - len(bars)
    caption = (
        "Each bar is a patient: the largest percent improvement of CDASI activity since baseline at any follow-up; "
        "down is better. Bars of patients who never improved are hatched. Lines mark 40 % and 50 %."
    )
    caption += (
        f" Not drawn: {lacking} of {cohort.n} patients without a baseline above 0 and a follow-up." if lacking else ""
    )
    return Figure(
        "waterfall",
        "Best change of CDASI activity",
        caption if bars else "No patient has a CDASI activity at baseline and at a follow-up.",
        ("patient", "best percent improvement", "on"),
        tuple((str(one.number), to_text(one.percent), one.when) for one in bars),
        80,
        lambda canvas: _draw(canvas, bars),
    )


def _best(number: int, patient: Patient) -> _Best | None:
    found = [
        _Best(outcome.number, number, (outcome.when or "").partition("T")[0])
        for outcome in patient.outcomes
        if outcome.variable == _VARIABLE and outcome.number is not None
    ]
    return max(found, default=None)


def _draw(canvas: "Canvas", bars: Sequence[_Best]) -> None:
    axes = canvas.subplots()
    is_numbered = len(bars) <= _NUMBERED
    if is_numbered:
        _bars(axes, bars)
    else:
        _outline(axes, bars)
    axes.axhline(0, color=INK, linewidth=0.8)
    for percent in (40, 50):
        axes.axhline(-percent, color=SOFT, linewidth=0.8, linestyle="--")
        axes.annotate(
            f"{percent} %", (1, -percent), xycoords=("axes fraction", "data"), ha="right", va="bottom", fontsize=7
        )
    axes.set_xticks(
        list(range(len(bars))) if is_numbered else [], [str(one.number) for one in bars] if is_numbered else []
    )
    axes.set_xlabel("Patient")
    axes.set_ylabel("Change of CDASI activity since baseline (%)")


def _bars(axes: "Axes", bars: Sequence[_Best]) -> None:
    heights = [-float(one.percent) for one in bars]
    drawn = axes.bar(range(len(bars)), heights, color=ACCENT, edgecolor=INK, linewidth=0.3, width=0.8)
    for bar, one in zip(drawn, bars, strict=True):
        if one.percent <= 0:
            bar.set(hatch="////", facecolor=PAPER, edgecolor=SECOND)


def _outline(axes: "Axes", bars: Sequence[_Best]) -> None:
    """Bars too many to be told apart are one shape: thousands of single ones take long, and show no more."""
    places, heights = list(range(len(bars))), [-float(one.percent) for one in bars]
    better = [one.percent > 0 for one in bars]
    axes.fill_between(places, heights, step="mid", where=better, facecolor=ACCENT, linewidth=0)
    worse = [not one for one in better]
    axes.fill_between(places, heights, step="mid", where=worse, facecolor=PAPER, edgecolor=SECOND, hatch="////")
