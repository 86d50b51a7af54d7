"""How many patients had each manifestation at baseline and over twelve months: one column of bars for each time."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from dm_fhir.report.figures.figure import ACCENT, INK, LINE, Figure
from dm_fhir.report.words import condition_words
from dm_fhir.statistics.summaries import percent_of_count

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Canvas


class Present(NamedTuple):
    """Of `n` patients who were followed that long and in whom it can be told, `k` had it; of `unknown` it cannot be told."""

    k: int
    n: int
    unknown: int


def manifestations(times: Sequence[str], present: Mapping[str, Sequence[Present]]) -> Figure:
    """`present` by manifestation: one count for each of `times`. The most frequent at the first time is at the top."""
    names = sorted(present, key=lambda name: (-present[name][0].k, name))
    caption = (
        "Patients with each manifestation, of those who were followed to that time and in whom it can be told (the numbers "
        "beside each bar). A manifestation is present from its onset until its end, as the conditions of the record say; a patient "
        "of whom no record names it is counted among those without it, whether or not anybody looked for it."
    )
    return Figure(
        "manifestations",
        "Manifestations over twelve months",
        caption if names else "No manifestation is recorded.",
        ("manifestation", "time", "patients", "of", "percent", "cannot be told"),
        tuple(
            (name, time, str(one.k), str(one.n), percent_of_count(one.k, one.n, 1) or "", str(one.unknown))
            for name in names
            for time, one in zip(times, present[name], strict=True)
        ),
        max(40, 20 + 6 * len(names)),
        lambda canvas: _draw(canvas, times, names, present),
    )


def _draw(
    canvas: "Canvas", times: Sequence[str], names: Sequence[str], present: Mapping[str, Sequence[Present]]
) -> None:
    places = range(len(names))
    columns = canvas.subplots(1, len(times), sharey=True, squeeze=False)[0]
    for index, (axes, time) in enumerate(zip(columns, times, strict=True)):
        counts = [present[name][index] for name in names]
        axes.barh(places, [100] * len(names), color=LINE, height=0.62, alpha=0.45)
        axes.barh(
            places, [100 * one.k / one.n if one.n else 0 for one in counts], color=ACCENT, height=0.62, edgecolor=INK
        )
        for place, one in zip(places, counts, strict=True):
            axes.annotate(f"{one.k}/{one.n}", (104, place), ha="left", va="center", fontsize=6.5)
        axes.set_title(time)
        axes.set_xlim(0, 145)
        axes.set_xticks([0, 50, 100])
        axes.set_xlabel("%", loc="left")
    columns[0].set_yticks(list(places), [condition_words(name) for name in names])
    columns[0].set_ylim(len(names) - 0.4, -0.6)
