"""Exposure as a swimmer plot: each patient's time since the first infusion, the infusions, and how it ended."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from dm_fhir.report.figures.figure import ACCENT, INK, LINE, PAPER, Figure, month_axis, months
from dm_fhir.report.figures.some import MOST_ROWS, evenly, said
from dm_fhir.statistics.cohort import Cohort, Patient

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas


class _Lane(NamedTuple):
    number: int
    days: int
    infusions: tuple[int, ...]
    partial: tuple[int, ...]
    missed: tuple[int, ...]
    died: int | None


def swimmer(cohort: Cohort) -> Figure:
    """One lane per patient, the longest first."""
    lanes = sorted(_lanes(cohort), key=lambda lane: (-lane.days, lane.number))
    shown = evenly(lanes, MOST_ROWS)
    undated = cohort.n - len(lanes)
    caption = (
        "Each bar is a patient from the first infusion (month 0) to the end of follow-up; the longest are at the top. "
        "Strokes are infusions, open circles infusions that were broken off, crosses doses that were missed, "
        "a dagger is death (after a dotted line if it came later). A month is 30.4375 days."
    )
    caption += said(len(shown), len(lanes), "swimmer.csv")
    caption += f" Not drawn: {undated} without a full date of the first infusion." if undated else ""
    return Figure(
        "swimmer",
        "Exposure to the study drug",
        caption if lanes else "No patient has a dated infusion.",
        ("patient", "day", "event"),
        tuple(_rows(lanes)),
        max(40, 18 + 5 * len(shown)),
        lambda canvas: _draw(canvas, shown),
    )


def _lanes(cohort: Cohort) -> list[_Lane]:
    return [lane for number, patient in enumerate(cohort.patients, 1) if (lane := _lane(number, patient)) is not None]


def _lane(number: int, patient: Patient) -> _Lane | None:
    day_0 = patient.started.day
    if day_0 is None:
        return None
    subject = patient.case.subject
    died = patient.day(subject.deceased_at) if subject else None
    end = patient.last_day or day_0
    missed = (patient.day(one.when or (one.during.start if one.during else None)) for one in patient.exposed.missed)
    return _Lane(
        number,
        (end - day_0).days,
        tuple((one.day - day_0).days for one in patient.exposed.completed if one.day),
        tuple((one.day - day_0).days for one in patient.exposed.partial if one.day),
        tuple((day - day_0).days for day in missed if day is not None and day >= day_0),
        (died - day_0).days if died else None,
    )


def _rows(lanes: Sequence[_Lane]) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = []
    for lane in lanes:
        events = [(day, "infusion") for day in lane.infusions] + [(day, "infusion broken off") for day in lane.partial]
        events += [(day, "dose missed") for day in lane.missed]
        last = [(lane.days, "end of follow-up"), *([(lane.died, "death")] if lane.died is not None else [])]
        rows += [(str(lane.number), str(day), event) for day, event in (*sorted(events), *last)]
    return rows


def _draw(canvas: "Canvas", lanes: Sequence[_Lane]) -> None:
    axes = canvas.subplots()
    heights = range(len(lanes))
    axes.barh(heights, [months(lane.days) for lane in lanes], height=0.5, color=LINE, edgecolor=INK, linewidth=0.4)
    _marks(axes, lanes, "infusions", marker="|", color=ACCENT, s=60, linewidth=1.6, label="infusion")
    _marks(axes, lanes, "partial", marker="o", facecolor=PAPER, edgecolor=ACCENT, s=18, label="broken off")
    _marks(axes, lanes, "missed", marker="x", color=INK, s=18, linewidth=1, label="missed")
    for height, lane in enumerate(lanes):
        if lane.died is not None:
            axes.plot([months(lane.days), months(lane.died)], [height] * 2, color=INK, linewidth=0.8, linestyle=":")
            axes.annotate("\N{DAGGER}", (months(lane.died), height), (3, 0), textcoords="offset points", va="center")
    axes.set_yticks(list(heights), [str(lane.number) for lane in lanes])
    axes.set_ylim(len(lanes) - 0.4, -0.6)
    axes.set_xlim(left=min(-0.15, -0.02 * months(lanes[0].days)))
    month_axis(axes)
    axes.set_ylabel("Patient")
    axes.legend(loc="lower right", ncols=3)


def _marks(axes: "Axes", lanes: Sequence[_Lane], what: str, **style: Any) -> None:
    points = [(months(day), height) for height, lane in enumerate(lanes) for day in getattr(lane, what)]
    if points:
        axes.scatter([day for day, _ in points], [height for _, height in points], zorder=3, **style)
