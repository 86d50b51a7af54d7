"""One figure: what it shows, the data behind it, and how it becomes SVG for the page, and SVG, PDF, PNG and CSV for a journal.

Nothing is told by colour alone. On the page the colours are the page's own, so that they follow light and dark.
"""

import csv
import io
import re
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from dm_fhir.errors import ConfigError
from dm_fhir.model.spreadsheet_text import harmless
from dm_fhir.statistics.follow_up import DAYS_PER_MONTH

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas

WIDTH_MM = 180  # the width of two columns of a journal
INK, SOFT, LINE, ACCENT, SECOND, BETTER, WORSE, PAPER = (
    "#1d2733",
    "#5b6877",
    "#d6dde5",
    "#1f4e79",
    "#a8521c",
    "#1b6b3a",
    "#9c2f22",
    "#fefefe",
)
#: What each colour is called in the page's style sheet.
VARIABLES = {
    INK: "--ink",
    SOFT: "--soft",
    LINE: "--line",
    ACCENT: "--accent",
    SECOND: "--second",
    BETTER: "--better",
    WORSE: "--worse",
    PAPER: "--paper",
}
_STYLE: Any = {  # matplotlib types its keys one by one
    "font.size": 8,
    "font.family": "DejaVu Sans",
    "axes.edgecolor": SOFT,
    "axes.labelcolor": INK,
    "axes.titlesize": 9,
    "axes.titlecolor": INK,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.8,
    "text.color": INK,
    "xtick.color": SOFT,
    "ytick.color": SOFT,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "legend.frameon": False,
    "figure.facecolor": PAPER,
    "axes.facecolor": PAPER,
    "savefig.facecolor": PAPER,
    "svg.fonttype": "none",  # text stays text: it can be searched, and takes the page's font
    "svg.hashsalt": "dm-fhir",  # the same figure is the same file
    "pdf.fonttype": 42,  # journals ask for fonts that can be edited
}
_DOTS_PER_INCH = 300
_MM_PER_INCH = 25.4


class Figure(NamedTuple):
    """A figure of the report. `rows` are the data behind it as text, with `columns` as their head; numbers are exact.

    Without `rows` there is nothing to draw, and `caption` says why.
    """

    id: str
    title: str
    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    height_mm: int
    draw: Callable[["Canvas"], None]


def inline_svg(figure: Figure) -> str:
    """The drawing as an element of the page, named by the figure's title, in the page's colours."""
    text = _drawn(figure, ("svg",))["svg"].decode()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, count=1, flags=re.DOTALL)
    # Ids are unique in a page, not only in a drawing.
    text = re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>{figure.id}-", text)
    for colour, variable in VARIABLES.items():
        text = text.replace(colour, f"var({variable})")
    head, rest = text.split(">", 1)
    view = re.search(r'viewBox="[^"]*"', head)
    return f'<svg {view[0] if view else ""} role="img" aria-labelledby="{figure.id}-title">{rest}'


def files(figure: Figure) -> dict[str, bytes]:
    """The figure for a journal, by file name: the drawing in three forms, and the data behind it."""
    drawings = _drawn(figure, ("svg", "pdf", "png")) if figure.rows else {}
    named = {f"{figure.id}.{form}": drawing for form, drawing in drawings.items()}
    return {**named, f"{figure.id}.csv": table_bytes(figure.columns, figure.rows)}


def table_bytes(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> bytes:
    """A table as CSV in UTF-8. What a spreadsheet would take for a formula gets an apostrophe before it."""
    found = io.BytesIO()
    text = io.TextIOWrapper(found, encoding="utf-8", newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(map(harmless, rows))
    text.flush()
    return found.getvalue()


def months(days: int) -> float:
    """Days as months of 30.4375 days, for an axis."""
    return float(days / DAYS_PER_MONTH)


def month_axis(axes: "Axes") -> None:
    """The axis of months since the first infusion, with whole months at its marks."""
    from matplotlib.ticker import MultipleLocator

    low, high = axes.get_xlim()
    axes.xaxis.set_major_locator(
        MultipleLocator(next(step for step in (1, 3, 6, 12, 24, 120) if (high - low) / step <= 12))
    )
    axes.set_xlabel("Months since the first infusion")


def _drawn(figure: Figure, forms: Sequence[str]) -> dict[str, bytes]:
    """The drawing in each of the forms."""
    try:
        from matplotlib import rc_context
        from matplotlib.figure import Figure as Canvas
    except ModuleNotFoundError:
        hint = "install it with: pip install 'dm-fhir[report]'"
        raise ConfigError("figures need matplotlib, which is not installed", hint=hint) from None

    found = {}
    with rc_context(_STYLE):
        size = (WIDTH_MM / _MM_PER_INCH, figure.height_mm / _MM_PER_INCH)
        canvas = Canvas(figsize=size, layout="constrained")
        figure.draw(canvas)
        for form in forms:
            target = io.BytesIO()
            canvas.savefig(target, format=form, dpi=_DOTS_PER_INCH, metadata=_UNDATED.get(form))
            found[form] = target.getvalue()
    return found


#: The same figure is the same file, whenever it is drawn.
_UNDATED = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}
