"""How long patients stayed on the study drug: the curve of Kaplan and Meier, with the numbers at risk below it."""

from fractions import Fraction
from typing import TYPE_CHECKING

from dm_fhir.model.exact import shown
from dm_fhir.report.figures.figure import ACCENT, INK, SOFT, Figure, month_axis, months
from dm_fhir.statistics.follow_up import day_of_month
from dm_fhir.statistics.survival import Survival

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas


def survival(curve: Survival, left_out: str = "") -> Figure:
    """The share still on the drug over time. `left_out` says who is not in it and why."""
    caption = (
        "Share of patients still on the study drug (Kaplan and Meier), with the pointwise 95 % confidence interval as dashed "
        "lines. Strokes are patients last seen on the drug; below are those still followed and on it."
    )
    return Figure(
        "drug-survival",
        "Time on the study drug",
        f"{caption} {left_out}".rstrip() if curve.followed else "No patient was followed on the study drug.",
        ("day", "at risk", "stopped", "share still on the drug", "95 % interval from", "to"),
        _rows(curve),
        85,
        lambda canvas: _draw(canvas, curve),
    )


def _rows(curve: Survival) -> tuple[tuple[str, ...], ...]:
    if not curve.followed:
        return ()
    rows = [("0", str(len(curve.followed)), "0", "1", "", "")]
    for step in curve.steps:
        low, high = (f"{float(end):.4f}" for end in step.interval) if step.interval else ("", "")
        rows.append((str(step.day), str(step.at_risk), str(step.ended), f"{float(step.survival):.4f}", low, high))
    rows += [(str(one.days), str(curve.at_risk(one.days)), "0", "", "", "") for one in curve.followed if not one.ended]
    return tuple(sorted(rows, key=lambda row: int(row[0])))


def _draw(canvas: "Canvas", curve: Survival) -> None:
    axes = canvas.subplots()
    last = max(one.days for one in curve.followed)
    days = [0, *(step.day for step in curve.steps), last]
    shares = [Fraction(1), *(step.survival for step in curve.steps)]
    shares.append(shares[-1])
    axes.step(
        [months(day) for day in days], [100 * float(share) for share in shares], where="post", color=ACCENT, linewidth=2
    )
    bounded = [step for step in curve.steps if step.interval is not None]
    for end in (0, 1):
        values = [100 * float(step.interval[end]) for step in bounded if step.interval is not None]
        if values:
            over = [months(step.day) for step in bounded] + [months(last)]
            axes.step(over, [*values, values[-1]], where="post", color=SOFT, linewidth=0.8, linestyle="--")
    censored = [(months(one.days), 100 * float(_share(curve, one.days))) for one in curve.followed if not one.ended]
    if censored:
        axes.scatter(
            [day for day, _ in censored],
            [share for _, share in censored],
            marker="|",
            s=40,
            color=INK,
            linewidth=1,
            zorder=3,
        )
    axes.set_ylim(0, 103)
    axes.set_xlim(left=0)
    month_axis(axes)
    axes.set_ylabel("Still on the drug (%)")
    _numbers_at_risk(axes, curve)


def _share(curve: Survival, day: int) -> Fraction:
    step = curve.at(day)
    return step.survival if step else Fraction(1)


def _numbers_at_risk(axes: "Axes", curve: Survival) -> None:
    low, high = axes.get_xlim()
    for month in axes.get_xticks():
        if low <= month <= high:
            at_risk = curve.at_risk(day_of_month(Fraction(month)))
            axes.annotate(
                shown(Fraction(at_risk)),
                (month, -0.2),
                xycoords=("data", "axes fraction"),
                ha="center",
                va="top",
                fontsize=7,
            )
    axes.annotate(
        "At risk",
        (0, -0.2),
        xycoords="axes fraction",
        xytext=(-14, 0),
        textcoords="offset points",
        ha="right",
        va="top",
        fontsize=7,
    )
