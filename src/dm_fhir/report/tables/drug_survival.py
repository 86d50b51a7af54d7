"""How long the patients stayed on the study drug (Kaplan-Meier), with the numbers at risk."""

from collections.abc import Iterator
from fractions import Fraction

from dm_fhir.model.exact import rounded, to_text
from dm_fhir.report.sentence import EN_DASH
from dm_fhir.report.tables.cells import NOT_SHOWN, NOTHING, number
from dm_fhir.statistics.cohort import Cohort
from dm_fhir.statistics.drug_survival import CENSORING, drug_survival
from dm_fhir.statistics.follow_up import DAYS_PER_MONTH, day_of_month
from dm_fhir.statistics.small_cells import SmallCells
from dm_fhir.statistics.survival import Step, Survival
from dm_fhir.statistics.table import Cell, Row, Table, grouped

COLUMNS = (
    "Months since the first infusion",
    "At risk",
    "Stopped until then",
    "Still on the drug",
    "95 % confidence interval",
)
#: In months; those after the longest time on the drug are left out.
TIMES = (0, 3, 6, 9, 12, 18, 24, 36, 48, 60)


def drug_survival_table(cohort: Cohort, drug: str, small: SmallCells) -> Table:
    """The share still on the drug at each time, of those of whom it is known how long they were and whether they stopped."""
    curve, lacking = drug_survival(cohort)
    untold = sum(lacking.values())
    notes = (
        f"Kaplan-Meier; the interval is pointwise, on the log-log scale. {CENSORING}",
        *((f"{_median(curve)}",) if curve.followed and not small.hides(len(curve.followed)) else ()),
        *((f"{small.number(untold)} of {small.number(cohort.n)} patients are not in it: how long they were on the drug, or whether they stopped, is not known.",) if untold else ()),
    )  # fmt: skip
    groups = grouped("", list(_rows(curve, small)) if curve.followed else [])
    return Table("drug_survival", f"Time on {drug}", COLUMNS, groups, notes)


def _rows(curve: Survival, small: SmallCells) -> Iterator[Row]:
    longest = max(one.days for one in curve.followed)
    for months in TIMES:
        day = day_of_month(months)
        if day <= longest:
            yield _row(months, day, curve, small)


def _row(months: int, day: int, curve: Survival, small: SmallCells) -> Row:
    at_risk, step = curve.at_risk(day), curve.at(day)
    stopped = sum(one.ended for one in curve.steps if one.day <= day)
    # The curve is a sum of the stops so far: it would tell how few they are.
    hidden = small.hides(stopped) or small.hides(len(curve.followed))
    return Row(
        str(months),
        str(months),
        (
            number(at_risk, small),
            number(stopped, small),
            NOT_SHOWN if hidden else _share(step),
            NOT_SHOWN if hidden else _interval(step),
        ),
    )


def _share(step: Step | None) -> Cell:
    share = 100 * (step.survival if step else Fraction(1))
    return Cell(f"{rounded(share, 1)} %", {"percent": to_text(share)})


def _interval(step: Step | None) -> Cell:
    if step is None or step.interval is None:
        return NOTHING
    low, high = (100 * end for end in step.interval)
    return Cell(f"{rounded(low, 1)}{EN_DASH}{rounded(high, 1)} %", {"low": to_text(low), "high": to_text(high)})


def _median(curve: Survival) -> str:
    if curve.median_days is None:
        return "The median time on the drug was not reached."
    return f"The median time on the drug was {rounded(curve.median_days / DAYS_PER_MONTH, 1)} months."
