"""Why outcomes are missing: each reason, counted."""

from collections import Counter, defaultdict

from dm_fhir.outcomes.labels import label
from dm_fhir.report.tables.cells import number, share
from dm_fhir.report.words import reason_words
from dm_fhir.statistics.cohort import Cohort
from dm_fhir.statistics.small_cells import SmallCells
from dm_fhir.statistics.table import Row, Table, grouped

#: Of whom goes on with the drug there is nothing to tell; the category lacks what its score lacks.
NO_LACK = ("not_discontinued",)
OF_ANOTHER = ("tis_category",)
COLUMNS = ("Reason", "Outcomes", "Patients")
NOTES = (
    "An outcome that cannot be computed is there with its reasons and is never taken for 0, normal or unchanged. One outcome may have "
    "several reasons, and a patient several outcomes of one kind.",
)


def not_computable(cohort: Cohort, small: SmallCells) -> Table:
    """For each kind of outcome the reasons why some are not computable, the most frequent first."""
    reasons: dict[str, Counter[str]] = defaultdict(Counter)
    patients: dict[str, Counter[str]] = defaultdict(Counter)
    for patient in cohort.patients:
        for variable, alike in patient.by_variable.items():
            if variable in OF_ANOTHER:
                continue
            found = [reason for one in alike for reason in one.reasons if reason not in NO_LACK]
            reasons[variable].update(found)
            patients[variable].update(set(found))
    groups = [
        group
        for variable in sorted(reasons, key=label)
        for group in grouped(label(variable), _rows(reasons[variable], patients[variable], cohort.n, small))
    ]
    nothing = "Every outcome could be computed." if cohort.n else "There are no outcomes: nobody was analysed."
    notes = NOTES if groups else (nothing,)
    return Table("not_computable", "Outcomes that could not be computed", COLUMNS, tuple(groups), notes)


def _rows(reasons: Counter[str], patients: Counter[str], n: int, small: SmallCells) -> list[Row]:
    ordered = sorted(reasons.items(), key=lambda item: (-item[1], item[0]))
    return [
        Row(reason, reason_words(reason), (number(count, small), share(patients[reason], n, small)))
        for reason, count in ordered
    ]
