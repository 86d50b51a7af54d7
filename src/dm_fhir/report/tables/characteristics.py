"""Table 1: who the patients are, what they have and how they were treated."""

from collections.abc import Callable, Iterator, Sequence

from dm_fhir.outcomes.ages import ADULT_YEARS
from dm_fhir.report.tables.cells import counted_rows, mean, median, middle_half, number
from dm_fhir.report.words import antibody_words, condition_words, drug_words
from dm_fhir.statistics import disease, persons, treatment
from dm_fhir.statistics.ages import Ages, adult_onset, ages
from dm_fhir.statistics.cohort import Cohort
from dm_fhir.statistics.small_cells import SmallCells
from dm_fhir.statistics.table import Cell, Group, Row, Table, grouped
from dm_fhir.statistics.tally import Tally

COLUMNS = ("Characteristic", "Patients", "Not known")
FINDINGS = {
    "impossible_if_same_patients": "The mean age at the first infusion is below the mean age at onset: impossible in the same "
    "patients. Both are shown as recorded; years from onset to the first infusion are withheld.",
    "not_comparable": "The two mean ages are of different numbers of patients and say nothing about each other; years from "
    "onset to the first infusion are of the patients of whom both are known.",
}


def characteristics(cohort: Cohort, drug: str, small: SmallCells) -> Table:
    """Demographics, disease, antibodies, manifestations, and treatment before and at the first infusion."""
    found = ages(cohort)
    wrong = (found.finding,) if found.finding else ()
    impossible = found.finding == "impossible_if_same_patients"
    return Table(
        "characteristics",
        "Characteristics of the patients at the first infusion",
        COLUMNS,
        (
            *grouped("Demographics", list(_demographics(cohort, found, small, impossible=impossible))),
            *_disease(cohort, small),
            *_antibodies(cohort, small),
            *_group("Manifestations documented up to the first infusion", disease.manifestations_of(cohort), small, condition_words),
            *_group(f"Indication for {drug}", treatment.indications(cohort, drug), small, exclusive=True),
            *_drugs("Treatment begun before the first infusion", treatment.prior(cohort, drug), cohort.n, small),
            *_drugs("Treatment in force at the first infusion", treatment.concomitant(cohort, drug), cohort.n, small),
            *_csdmards(cohort, drug, small),
        ),
        (
            f"{small.number(cohort.n)} patients. Percentages are of the patients of whom it is known; of manifestations and "
            "subtypes they are of all. SD is the sample SD; quartiles by linear interpolation (Hyndman and Fan, definition 7).",
            *((FINDINGS[found.finding],) if found.finding else ()),
        ),
        wrong,
    )  # fmt: skip


def _demographics(cohort: Cohort, found: Ages, small: SmallCells, *, impossible: bool) -> Iterator[Row]:
    for name, words, known in (
        ("age_at_first_infusion", "Age at the first infusion, years", found.at_start),
        ("age_at_diagnosis", "Age at onset, years", found.at_diagnosis),
    ):
        yield from _numbers(name, words, list(known.values()), cohort.n, small)
    if not impossible:
        years = list(found.years_between.values())
        yield from _numbers("years_since_diagnosis", "Years from onset to the first infusion", years, cohort.n, small)
    yield from _order(found, small)
    yield from _rows(persons.sex(cohort), "sex", small, exclusive=True)
    yield from _rows(persons.race(cohort), "race", small, exclusive=True)


def _numbers(name: str, words: str, values: Sequence[int], n: int, small: SmallCells) -> Iterator[Row]:
    """Mean, median with range and with quartiles, each with its n; where nobody's is known, one row that says so."""
    lacking = number(n - len(values), small)
    with_n = f", n = {small.number(len(values))}"
    yield Row(f"{name}_mean", f"{words}: mean ± SD{with_n}", (mean(values, small), lacking))
    yield Row(f"{name}_median", f"{words}: median (range){with_n}", (median(values, small), lacking))
    yield Row(f"{name}_quartiles", f"{words}: median (quartiles){with_n}", (middle_half(values, small), lacking))


def _order(found: Ages, small: SmallCells) -> Iterator[Row]:
    known = {name: order for name, order in found.order.items() if order != "unknown"}
    counts = {
        "ok": sum(order == "ok" for order in known.values()),
        "violation": len(found.violations),
    }
    words = {"ok": "Onset on or before the day of the first infusion", "violation": "Onset after the first infusion"}
    lacking = len(found.order) - len(known)
    yield from counted_rows(counts, len(known), lacking, small, words.__getitem__, exclusive=True)


def _disease(cohort: Cohort, small: SmallCells) -> tuple[Group, ...]:
    rows = [
        *_rows(disease.subtypes(cohort), "subtype", small, exclusive=True),
        *_rows(adult_onset(cohort), "onset", small, lambda _: f"adult onset ({ADULT_YEARS} years or later)"),
        *_rows(disease.paraneoplastic(cohort), "malignancy", small),
    ]
    return grouped("Disease", rows)


def _antibodies(cohort: Cohort, small: SmallCells) -> tuple[Group, ...]:
    found, ro52 = disease.antibodies(cohort), disease.anti_ro52(cohort)
    whole = {"positive": found.positive, "seronegative": found.seronegative}
    words = {"positive": "any myositis-specific antibody", "seronegative": "seronegative (all tested ones negative)"}
    lacking = sum(found.lacking.values())
    rows = [
        *counted_rows(whole, found.n, lacking, small, words.__getitem__, exclusive=True),
        *counted_rows(found.each, found.n, lacking, small, antibody_words, open_=found.untested),
        *counted_rows(ro52.counts, ro52.n, sum(ro52.lacking.values()), small, antibody_words),
    ]
    return grouped("Antibodies, of those tested", rows)


def _drugs(heading: str, tally: Tally, patients: int, small: SmallCells) -> tuple[Group, ...]:
    """A row for each drug; in whom its dates tell nothing is counted for that drug alone."""
    lacking = patients - tally.n
    rows = counted_rows(tally.counts, tally.n, lacking, small, drug_words, open_=tally.open)
    return grouped(heading, rows or [Row("none", "any", (Cell("not documented"), number(lacking, small)))])


def _csdmards(cohort: Cohort, drug: str, small: SmallCells) -> tuple[Group, ...]:
    tally = treatment.concomitant_csdmards(cohort, drug)
    having = sum(tally.counts.values())
    lacking = sum(tally.lacking.values())
    rows = [
        *counted_rows({"any": having}, tally.n, lacking, small),
        *counted_rows(tally.counts, tally.n, lacking, small, exclusive=True),
    ]
    return grouped("csDMARD in force at the first infusion, exclusive groups", rows if tally.n else [])


def _group(
    heading: str, tally: Tally, small: SmallCells, words: Callable[[str], str] = str, *, exclusive: bool = False
) -> tuple[Group, ...]:
    return grouped(heading, _rows(tally, "any", small, words, exclusive=exclusive))


def _rows(
    tally: Tally, what: str, small: SmallCells, words: Callable[[str], str] = str, *, exclusive: bool = False
) -> list[Row]:
    """A row for each count; where there is none, one that says of `what` that it is not documented."""
    lacking = sum(tally.lacking.values())
    rows = counted_rows(tally.counts, tally.n, lacking, small, words, exclusive=exclusive)
    return rows or [Row("none", what, (Cell("not documented"), number(lacking, small)))]
