"""The parts of the report between the sentences and the methods: which figures and tables stand in which, in a paper's order."""

from collections.abc import Sequence
from typing import NamedTuple

from dm_fhir.model.definitions import Definitions
from dm_fhir.report.cohort import Cohort
from dm_fhir.report.figures.figure import Figure
from dm_fhir.report.figures.scores import scores
from dm_fhir.report.figures.swimmer import swimmer
from dm_fhir.report.figures.waterfall import waterfall
from dm_fhir.statistics.table import Table


class Section(NamedTuple):
    """A heading with what stands below it: texts first, then figures and tables in order."""

    id: str
    heading: str
    blocks: tuple[Figure | Table, ...] = ()
    texts: tuple[str, ...] = ()


def sections(cohort: Cohort, definitions: Definitions) -> tuple[Section, ...]:
    """Every section; what cannot be drawn or counted says why."""
    return (
        Section("exposure", "Exposure", (swimmer(cohort),)),
        Section("response", "Skin and muscle", (scores(cohort, definitions.visits), waterfall(cohort))),
    )


def figures_of(found: Sequence[Section]) -> list[Figure]:
    """All figures, in order."""
    return [block for section in found for block in section.blocks if isinstance(block, Figure)]


def tables_of(found: Sequence[Section]) -> list[Table]:
    """All tables, in order."""
    return [block for section in found for block in section.blocks if isinstance(block, Table)]
