"""All tables of the paper, in its order."""

from collections.abc import Mapping

from dm_fhir.model.definitions import Definitions
from dm_fhir.report.tables.adverse_events import adverse_events
from dm_fhir.report.tables.change import changes
from dm_fhir.report.tables.characteristics import characteristics
from dm_fhir.report.tables.drug_survival import drug_survival_table
from dm_fhir.report.tables.exposure import exposure
from dm_fhir.report.tables.flow import flow_table
from dm_fhir.report.tables.glucocorticoids import glucocorticoids
from dm_fhir.report.tables.not_computable import not_computable
from dm_fhir.report.tables.responders import responders, severity
from dm_fhir.statistics.cohort import Cohort
from dm_fhir.statistics.small_cells import SmallCells
from dm_fhir.statistics.table import Table


def tables(
    cohort: Cohort,
    drug: str,
    definitions: Definitions,
    suppress_below: int = 0,
    states: Mapping[str, Mapping[str, int]] | None = None,
) -> tuple[Table, ...]:
    """Every table; one that has nothing to show is there without rows and says why.

    `definitions` are those of the study, `states` what became of each patient found, by site (None: not known). Counts from
    1 to `suppress_below` - 1 are not shown.
    """
    small, visits = SmallCells(suppress_below), definitions.visits
    return (
        flow_table(cohort, states, small),
        characteristics(cohort, drug, small),
        exposure(cohort, drug, small),
        changes(cohort, visits, small),
        responders(cohort, visits, small),
        severity(cohort, visits, small),
        glucocorticoids(cohort, visits, small),
        drug_survival_table(cohort, drug, small),
        adverse_events(cohort, drug, small),
        not_computable(cohort, small),
    )
