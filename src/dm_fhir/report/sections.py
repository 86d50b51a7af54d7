"""The parts of the report between the sentences and the methods: which figures and tables stand in which, in a paper's order."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from dm_fhir.model.definitions import Definitions
from dm_fhir.report.figures.courses import courses
from dm_fhir.report.figures.figure import Figure
from dm_fhir.report.figures.glucocorticoids import glucocorticoids
from dm_fhir.report.figures.manifestations import manifestations
from dm_fhir.report.figures.presence import presence
from dm_fhir.report.figures.scores import scores
from dm_fhir.report.figures.survival import survival
from dm_fhir.report.figures.swimmer import swimmer
from dm_fhir.report.figures.waterfall import waterfall
from dm_fhir.report.tables.paper import tables
from dm_fhir.statistics.cohort import Cohort
from dm_fhir.statistics.drug_survival import drug_survival
from dm_fhir.statistics.table import Table

Block = Figure | Table
#: Said in place of the figures of single patients where small numbers are hidden.
HIDDEN = "Figures of single patients are left out: counts of few patients are hidden in this report."


class Section(NamedTuple):
    """A heading with what stands below it: texts first, then figures and tables in order."""

    id: str
    heading: str
    blocks: tuple[Block, ...] = ()
    texts: tuple[str, ...] = ()


def sections(
    cohort: Cohort,
    drug: str,
    definitions: Definitions,
    suppress_below: int = 0,
    states: Mapping[str, Mapping[str, int]] | None = None,
) -> tuple[Section, ...]:
    """Every section; what cannot be drawn or counted says why. `suppress_below` and `states` are those of `tables`."""
    by_id = {table.id: table for table in tables(cohort, drug, definitions, suppress_below, states)}

    def of_patients(*figures: Figure) -> tuple[Figure, ...]:
        return () if suppress_below else figures

    hidden = (HIDDEN,) if suppress_below else ()
    curve, untold = drug_survival(cohort)
    left_out = f"Not in it: {sum(untold.values())} of {cohort.n} patients of whom it is not known." if untold else ""
    named = (
        Section("flow", "Patients found and analysed", (by_id["flow"],)),
        Section("characteristics", "Who the patients are", (by_id["characteristics"],)),
        Section(
            "exposure",
            "Exposure",
            (
                *of_patients(swimmer(cohort)),
                by_id["exposure"],
                *of_patients(survival(curve, left_out)),
                by_id["drug_survival"],
            ),
            hidden,
        ),
        Section(
            "response",
            "Response",
            (
                *of_patients(scores(cohort, definitions.visits)),
                by_id["changes"],
                *of_patients(waterfall(cohort)),
                by_id["responders"],
                by_id["severity"],
            ),
            hidden,
        ),
        Section(
            "glucocorticoids",
            "Glucocorticoids and other treatment",
            (*of_patients(glucocorticoids(courses(cohort, definitions), cohort.n)), by_id["glucocorticoids"]),
            hidden,
        ),
        Section("manifestations", "Manifestations", of_patients(manifestations(*presence(cohort))), hidden),
        Section("safety", "Safety", (by_id["adverse_events"],)),
        Section("lacking", "What could not be computed", (by_id["not_computable"],)),
    )
    rest = [table for name, table in by_id.items() if not any(table in section.blocks for section in named)]
    return (*named, *((Section("more", "More tables", tuple(rest)),) if rest else ()))


def figures_of(found: Sequence[Section]) -> list[Figure]:
    """All figures, in order."""
    return [block for section in found for block in section.blocks if isinstance(block, Figure)]


def tables_of(found: Sequence[Section]) -> list[Table]:
    """All tables, in order."""
    return [block for section in found for block in section.blocks if isinstance(block, Table)]
