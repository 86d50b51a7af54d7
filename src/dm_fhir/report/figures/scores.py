"""CDASI activity and MMT8 over time: every patient's line, and the median at each visit with the number behind it."""

from collections.abc import Sequence
from fractions import Fraction
from typing import TYPE_CHECKING, NamedTuple

from dm_fhir.model.case import Outcome
from dm_fhir.model.definitions import Visit
from dm_fhir.model.exact import to_text
from dm_fhir.outcomes.labels import label
from dm_fhir.report.figures.figure import ACCENT, SECOND, SOFT, Figure, month_axis, months
from dm_fhir.report.figures.some import MOST_LINES, evenly, said
from dm_fhir.statistics.change import number_of
from dm_fhir.statistics.cohort import Cohort, Patient
from dm_fhir.statistics.summaries import median_range

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas

VARIABLES = ("cdasi_activity", "mmt8_150", "mmt8_80")
#: A median of fewer says more of who came than of how they were; of a smaller cohort all must have come.
FEWEST = 3


class Point(NamedTuple):
    """A value on a day since the first infusion; `visit` is the one that it stands for, "baseline" or None."""

    day: int
    value: Fraction
    visit: str | None


class Line(NamedTuple):
    """One patient's values of one variable, in order of time."""

    number: int
    variable: str
    points: tuple[Point, ...]


class Median(NamedTuple):
    """The median of `n` patients at a visit."""

    visit: str
    day: int
    n: int
    value: Fraction


def scores(cohort: Cohort, visits: Sequence[Visit]) -> Figure:
    """One panel for each variable that somebody has; the two scales of MMT8 are never put into one."""
    lines = [line for number, patient in enumerate(cohort.patients, 1) for line in _lines(number, patient)]
    panels = [(name, of_it) for name in VARIABLES if (of_it := [one for one in lines if one.variable == name])]
    caption = (
        "Thin lines with dots are patients, from the baseline to each usable follow-up; the thick line with squares is the "
        "median at baseline and at each visit at which at least three patients were seen (of fewer patients all), with their "
        "number below it. A patient counts at a visit with the assessment nearest to its day."
    )
    caption += "".join(said(min(len(of_it), MOST_LINES), len(of_it), "scores.csv") for _, of_it in panels)
    return Figure(
        "scores",
        "Skin and muscle over time",
        caption if panels else "No patient has a CDASI activity or MMT8 score on a known day.",
        ("patient", "variable", "day", "value", "visit"),
        tuple(_rows(lines, visits)),
        20 + 62 * len(panels),
        lambda canvas: _draw(canvas, panels, visits),
    )


def medians(lines: Sequence[Line], visits: Sequence[Visit]) -> list[Median]:
    """The median at baseline, drawn at day 0, and at every visit at which enough patients were assessed."""
    places = [("baseline", 0), *((visit.name, visit.day) for visit in visits)]
    found = []
    for name, day in places:
        values = [point.value for line in lines for point in line.points if point.visit == name]
        middle = median_range(values)
        if middle is not None and len(values) >= min(FEWEST, len(lines)):
            found.append(Median(name, day, len(values), middle.median))
    return found


def _lines(number: int, patient: Patient) -> list[Line]:
    return [
        Line(number, variable, points)
        for variable in VARIABLES
        if (points := tuple(sorted(_points(patient, variable))))
    ]


def _points(patient: Patient, variable: str) -> list[Point]:
    day_0 = patient.started.day
    found = []
    for outcome in patient.outcomes:
        value, visit = _value(outcome, variable)
        day = patient.day(outcome.when)
        if value is not None and day is not None and day_0 is not None:
            found.append(Point((day - day_0).days, value, visit))
    return found


def _value(outcome: Outcome, variable: str) -> tuple[Fraction | None, str | None]:
    """The value that the outcome rests on, where it is this variable's baseline or one of its follow-ups."""
    if outcome.variable == f"{variable}_baseline":
        return outcome.number, "baseline"
    if outcome.variable == f"{variable}_improvement":
        values = [number_of(one.value) for one in outcome.inputs if one.role == "followup"]
        return (values[0], outcome.visit) if values else (None, None)
    return None, None


def _rows(lines: Sequence[Line], visits: Sequence[Visit]) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = [
        (str(line.number), line.variable, str(point.day), to_text(point.value), point.visit or "")
        for line in lines
        for point in line.points
    ]
    for variable in VARIABLES:
        middles = medians([line for line in lines if line.variable == variable], visits)
        rows += [(f"median of {one.n}", variable, str(one.day), to_text(one.value), one.visit) for one in middles]
    return rows


def _draw(canvas: "Canvas", panels: Sequence[tuple[str, list[Line]]], visits: Sequence[Visit]) -> None:
    grid = canvas.subplots(len(panels), 1, sharex=True, squeeze=False)
    for axes, (variable, lines) in zip(grid[:, 0], panels, strict=True):
        _panel(axes, variable, lines, medians(lines, visits))
    month_axis(grid[-1, 0])


def _panel(axes: "Axes", variable: str, lines: Sequence[Line], middles: Sequence[Median]) -> None:
    for line in evenly(lines, MOST_LINES):
        days, values = [months(point.day) for point in line.points], [float(point.value) for point in line.points]
        axes.plot(days, values, color=SOFT, linewidth=0.6, marker=".", markersize=3, alpha=0.65)
    axes.plot(
        [months(one.day) for one in middles],
        [float(one.value) for one in middles],
        color=ACCENT,
        linewidth=2.2,
        marker="s",
        markersize=5,
        label="median",
    )
    axes.axvline(0, color=SECOND, linewidth=0.8, linestyle=":")
    low, high = axes.get_ylim()
    axes.set_ylim(low - 0.14 * (high - low), high)
    for one in middles:
        axes.annotate(
            f"n={one.n}",
            (months(one.day), 0.02),
            xycoords=("data", "axes fraction"),
            ha="center",
            fontsize=7,
            color=ACCENT,
        )
    axes.set_title(label(variable))
    axes.set_ylabel("Score")
