"""The dose of glucocorticoids over time: every patient's course where it is documented, and the median by month."""

from collections.abc import Sequence
from fractions import Fraction
from typing import TYPE_CHECKING, NamedTuple

from dm_fhir.model.exact import to_text
from dm_fhir.report.figures.figure import ACCENT, SECOND, SOFT, Figure, month_axis, months
from dm_fhir.report.figures.some import MOST_LINES, evenly, said
from dm_fhir.statistics.summaries import median_range

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas

EARLIEST_DAY = -91
_EVERY_DAYS = 28


class Stretch(NamedTuple):
    """Days since the first infusion, both ends included, on which the daily dose was the same; None where it is not known."""

    first_day: int
    last_day: int
    mg_per_day: Fraction | None


class Course(NamedTuple):
    """One patient's courses of days, in order."""

    number: int
    stretches: tuple[Stretch, ...]

    def on(self, day: int) -> Fraction | None:
        """The dose on a day; None where it is not known."""
        return next((one.mg_per_day for one in self.stretches if one.first_day <= day <= one.last_day), None)


def glucocorticoids(courses: Sequence[Course], patients: int) -> Figure:
    """The courses of those in whom any day is known, of so many `patients`."""
    known = [one for one in courses if any(stretch.mg_per_day is not None for stretch in one.stretches)]
    caption = (
        "Thin lines are patients, in mg of prednisone equivalent a day, broken where the dose is not documented; the thick "
        "line with squares is the median every 28 days of those whose dose on that day is known, with their number below it."
    )
    caption += said(min(len(known), MOST_LINES), len(known), "glucocorticoids.csv")
    lacking = patients - len(known)
    caption += f" Not drawn: {lacking} of {patients} patients without any documented dose." if lacking else ""
    return Figure(
        "glucocorticoids",
        "Systemic glucocorticoids over time",
        caption if known else "No patient has a documented daily dose of a glucocorticoid.",
        ("patient", "first day", "last day", "prednisone equivalent mg per day"),
        tuple(
            (
                str(one.number),
                str(s.first_day),
                str(s.last_day),
                to_text(s.mg_per_day) if s.mg_per_day is not None else "",
            )
            for one in known
            for s in one.stretches
        ),
        82,
        lambda canvas: _draw(canvas, known),
    )


def _draw(canvas: "Canvas", courses: Sequence[Course]) -> None:
    axes = canvas.subplots()
    for course in evenly(courses, MOST_LINES):
        for stretch in course.stretches:
            if stretch.mg_per_day is not None:
                ends = [months(stretch.first_day), months(stretch.last_day + 1)]
                axes.plot(ends, [float(stretch.mg_per_day)] * 2, color=SOFT, linewidth=1, alpha=0.6)
        _steps(axes, course)
    last = max(stretch.last_day for course in courses for stretch in course.stretches)
    middles = []
    for day in range(-_EVERY_DAYS, last + 1, _EVERY_DAYS):
        doses = [dose for course in courses if (dose := course.on(day)) is not None]
        middle = median_range(doses)
        if middle is not None:
            middles.append((months(day), float(middle.median), len(doses)))
    axes.plot(
        [x for x, _, _ in middles], [y for _, y, _ in middles], color=ACCENT, linewidth=2.2, marker="s", markersize=4
    )
    axes.axvline(0, color=SECOND, linewidth=0.8, linestyle=":")
    axes.set_ylim(-0.14 * axes.get_ylim()[1], axes.get_ylim()[1])
    for x, _, n in middles[:: max(1, len(middles) // 14)]:
        axes.annotate(f"n={n}", (x, 0.02), xycoords=("data", "axes fraction"), ha="center", fontsize=6.5, color=ACCENT)
    month_axis(axes)
    axes.set_ylabel("Prednisone equivalent (mg/day)")


def _steps(axes: "Axes", course: Course) -> None:
    """The changes of dose from one day to the next, as upright lines."""
    for one, other in zip(course.stretches, course.stretches[1:], strict=False):
        if one.mg_per_day is not None and other.mg_per_day is not None and other.first_day == one.last_day + 1:
            day = months(other.first_day)
            axes.plot(
                [day, day], [float(one.mg_per_day), float(other.mg_per_day)], color=SOFT, linewidth=0.7, alpha=0.6
            )
