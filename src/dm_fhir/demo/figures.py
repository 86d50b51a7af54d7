"""Every published figure beside the computed one: the same, or not, and why."""

import tomllib
from collections.abc import Mapping, Sequence
from datetime import date
from fractions import Fraction
from importlib.resources import files
from typing import Literal, NamedTuple

import msgspec

from dm_fhir.demo.published import Cohort, source
from dm_fhir.model.exact import rounded, shown
from dm_fhir.statistics.ages import age_order
from dm_fhir.statistics.summaries import percent_of_count, rounded_root
from dm_fhir.statistics.table import Cell, Row, Table, grouped

Values = Mapping[str, str]
Verdict = Literal["same", "same count, printed otherwise", "the paper contradicts itself", "differs", "not computed"]

COLUMNS = ("Statement", "Published", "Computed", "Same?", "Remark")
HEADINGS = {False: "Printed", True: "Not printed, but follows from what is"}
NOTE = (
    "The persons of the sample are invented; made to these counts, they show that the program computes what the papers print, and "
    "nothing about the papers' patients. Percentages are rounded once, half up; where a paper contradicts itself that is said and "
    "nothing is repaired."
)


class Members(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which patients, by their number in the paper."""

    key: str
    numbers: tuple[int, ...]


class Figure(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename={"where": "from"}):
    """One published figure and where the computed one stands; see figures.toml."""

    says: str
    printed: str
    where: str = ""
    key: str = ""
    count: int | None = None
    n: int | None = None
    decimals: int | None = None
    shows: str = ""
    members: Members | None = None
    ages: dict[str, str] = {}
    derived: bool = False
    contradicts: bool = False
    note: str = ""


class Compared(NamedTuple):
    """What was computed in place of a figure, and whether that is the same."""

    figure: Figure
    computed: str
    verdict: Verdict


def figures(cohort: Cohort) -> tuple[Figure, ...]:
    """The figures of one case series, in the order in which it prints them."""
    text = (files("dm_fhir.demo") / "figures.toml").read_text(encoding="utf-8")
    return msgspec.convert(tomllib.loads(text), dict[str, tuple[Figure, ...]])[cohort]


def compare(cohort: Cohort, sentences: Mapping[str, Values], tables: Sequence[Table]) -> tuple[Compared, ...]:
    """Each figure with what the sentences (their values by id) and the tables of the same patients say."""
    computed: Mapping[str, Values] = {**sentences, **_cells(tables)}
    return tuple(_compared(figure, computed.get(figure.where, {})) for figure in figures(cohort))


def comparison(cohort: Cohort, found: Sequence[Compared]) -> Table:
    """The comparison as a table."""
    groups = [
        group
        for derived, heading in HEADINGS.items()
        for group in grouped(heading, [_row(one) for one in found if one.figure.derived == derived])
    ]
    return Table(
        "published", f"Published and computed: {source(cohort)}", COLUMNS, tuple(groups), (NOTE,),
        findings=("impossible_if_same_patients",) if any(one.figure.ages for one in found) else (),
    )  # fmt: skip


def _row(one: Compared) -> Row:
    figure = one.figure
    cells = (Cell(figure.printed), Cell(one.computed), Cell(one.verdict), Cell(figure.note))
    return Row(figure.says, figure.says, cells)


def _compared(figure: Figure, values: Values) -> Compared:
    if figure.ages:
        return _ages(figure)
    if figure.count is not None:
        return _counted(figure, values)
    try:
        computed = figure.shows.format_map(dict(values) | _months(values))
    except KeyError:
        return Compared(figure, "", "not computed")
    same: Verdict = "same" if computed == figure.printed else "differs"
    return Compared(figure, computed, "the paper contradicts itself" if figure.contradicts else same)


def _counted(figure: Figure, values: Values) -> Compared:
    """A count is compared as a count; as a percentage it is shown with the decimals that the paper has."""
    if not values.get(figure.key, "").isdigit() or (figure.n is not None and not values.get("n", "").isdigit()):
        return Compared(figure, values.get(figure.key, ""), "not computed")
    count, n = int(values[figure.key]), int(values["n"]) if figure.n is not None else None
    text = str(count) if n is None else f"{count} of {n}"
    members = values.get(figure.members.key, "") if figure.members else ""
    text += f": {members}" if members else ""
    if (count, n) != (figure.count, figure.n) or not _same_members(figure, members):
        return Compared(figure, text, "differs")
    if n is None or figure.decimals is None:
        return Compared(figure, text, "same")
    percent = f"{percent_of_count(count, n, figure.decimals)}%"
    same: Verdict = "same" if percent == figure.printed else "same count, printed otherwise"
    return Compared(figure, f"{percent} ({text})", same)


def _same_members(figure: Figure, members: str) -> bool:
    """Whether they are the patients of those numbers, by the numbers that the sample's names end with."""
    if figure.members is None or not members:
        return True
    return {one.rpartition("-")[2] for one in members.split(", ")} == set(map(str, figure.members.numbers))


def _ages(figure: Figure) -> Compared:
    at_diagnosis, at_start = Fraction(figure.ages["at_diagnosis"]), Fraction(figure.ages["at_start"])
    found = age_order(at_diagnosis, at_start, same_n=True)
    return Compared(figure, f"{rounded(found.mean_difference, 1)}: {found.finding}", "the paper contradicts itself")


def _cells(tables: Sequence[Table]) -> dict[str, Values]:
    """What stands behind each cell, as it is shown, by table/group/row/column."""
    return {
        f"{table.id}/{group.heading}/{row.id}/{column}": _as_shown(cell.values)
        for table in tables
        for group in table.groups
        for row in group.rows
        for column, cell in enumerate(row.cells)
    }


def _as_shown(values: Values) -> Values:
    told = {
        key: values[key] if key in ("count", "n") else shown(Fraction(text)) for key, text in _numbers(values).items()
    }
    if "mean" in values:
        told["mean"] = f"{rounded(Fraction(values['mean']), 1)}"
    if "variance" in values:
        told["sd"] = f"{rounded_root(Fraction(values['variance']), 1)}"
    return told


def _numbers(values: Values) -> Values:
    return {key: text for key, text in values.items() if text[:1].isdigit() or text[:1] == "-"}


def _months(values: Values) -> dict[str, str]:
    """Of each day its month and its year."""
    found: dict[str, str] = {}
    for key in ("first", "last"):
        if key in values:
            day = date.fromisoformat(values[key])
            found |= {f"{key}_month": f"{day:%B}", f"{key}_year": f"{day.year}"}
    return found
