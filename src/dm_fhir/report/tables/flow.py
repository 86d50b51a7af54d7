"""The flow of patients, as a table: the data of the diagram."""

from collections.abc import Mapping

from dm_fhir.report.tables.cells import number
from dm_fhir.statistics.cohort import Cohort
from dm_fhir.statistics.flow import Step, flow
from dm_fhir.statistics.small_cells import AT_LEAST, SmallCells
from dm_fhir.statistics.table import Cell, Group, Row, Table

COLUMNS = ("Patients", "Number")
WORDS = {
    "found": "found at the sites",
    "cases": "with a case",
    "analysed": "analysed: at least one completed infusion",
    "cdasi_at_baseline": "with CDASI activity at baseline",
    "cdasi_at_follow_up": "with CDASI activity at baseline and afterwards",
}


def flow_table(cohort: Cohort, states: Mapping[str, Mapping[str, int]] | None, small: SmallCells) -> Table:
    """A group for each step: how many, and by reason those who do not come to the next."""
    groups: list[Group] = []
    told = False
    # From the last step back: those analysed are counted in every table, so the numbers before would tell who was left out.
    for step in reversed(flow(cohort, states)):
        told = told or any(map(small.hides, step.left_out.values()))
        groups.append(_group(step, small, told=told))
    return Table(
        "flow",
        "From the patients found to the patients analysed",
        COLUMNS,
        tuple(reversed(groups)),
        () if states is not None else ("Of a case series from a file it is not known how many patients were found.",),
    )


def _group(step: Step, small: SmallCells, *, told: bool) -> Group:
    hidden = small.hidden(step.left_out, step.n, exclusive=True) if told else {}
    count = Cell(f"{AT_LEAST}{small.below}") if told and step.n >= small.below else number(step.n, small)
    rows = [Row(step.id, WORDS[step.id], (count,))]
    for reason, left_out in step.left_out.items():
        cell = Cell(hidden[reason]) if reason in hidden else number(left_out, small)
        rows.append(Row(f"{step.id}: {reason}", f"left out: {reason}", (cell,)))
    return Group("", tuple(rows))
