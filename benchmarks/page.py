"""Results as Markdown."""

from collections.abc import Iterable, Sequence

from results import Cell, Machine, Part, Ratio, Results, Table

_UNITS = {"times": " times", "MB": " MB", "s": " s", "requests": " requests", "exponent": "", "share": ""}


def page(results: Results) -> str:
    """The machine, then each part with its ratios and its tables."""
    return "\n\n".join((_machine(results.machine), *map(_part, results.parts))) + "\n"


def _machine(machine: Machine) -> str:
    libraries = ", ".join(f"{name} {version}" for name, version in machine.libraries.items())
    return (
        f"{machine.system}, {machine.processor}, {machine.cores} cores, {machine.memory_gb:.0f} GB of memory, {machine.disk}; "
        f"Python {machine.python}, {libraries}."
    )


def _part(part: Part) -> str:
    quick = ", a quick run" if part.is_quick else ""
    head = f"### {part.name.capitalize()}\n\n{part.found.about}"
    when = f"{part.began} at {part.commit}, load {part.load:.1f} when it began, {part.seconds:.0f} s{quick}."
    ratios = _ratios(part.found.ratios) if part.found.ratios else ""
    return "\n\n".join(filter(None, (head, when, ratios, *map(_table, part.found.tables))))


def _ratios(ratios: Iterable[Ratio]) -> str:
    rows = [(ratio.what, wanted(ratio), said(ratio.value, ratio), _verdict(ratio)) for ratio in ratios]
    return _lines(("compared", "wanted", "measured", ""), rows)


def wanted(ratio: Ratio) -> str:
    """`at least 40%`, or nothing."""
    if ratio.target is None:
        return ""
    return f"at {'least' if ratio.better == 'more' else 'most'} {said(ratio.target, ratio)}"


def said(value: float, ratio: Ratio) -> str:
    """The value in the ratio's unit."""
    text = f"{value:.1%}" if ratio.unit == "share" else number(value)
    return f"{text}{_UNITS[ratio.unit]}"


def _verdict(ratio: Ratio) -> str:
    return {None: "", True: "met", False: "**missed**"}[ratio.is_met]


def _table(table: Table) -> str:
    return (f"{table.title}\n\n" if table.title else "") + _lines(
        table.columns, [tuple(map(_cell, row)) for row in table.rows]
    )


def _cell(cell: Cell) -> str:
    if cell is None:
        return "not measured"
    return cell if isinstance(cell, str) else number(cell)


def number(value: float) -> str:
    """Three digits that mean something, and whole numbers whole."""
    if isinstance(value, int) or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}" if abs(value) >= 0.1 or not value else f"{value:.2g}"


def _lines(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    return "\n".join("| " + " | ".join(row) + " |" for row in (head, ["---"] * len(head), *rows))
