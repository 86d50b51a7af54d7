"""Traps of real records that lie in the numbers; each test is named by the trap's number and what is required.

The numbers are those of the clinical reference: 19 choice of baseline, 24 rounding, 26 a baseline of 0, 29 exactness.
Trap 1 is tested with the report, 23 with the servers; the thresholds of 25 come with the responders.
"""

from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest

from dm_fhir.model.case import Case, Outcome
from dm_fhir.model.exact import rounded, shown
from dm_fhir.outcomes.battery import outcomes

OWN = "https://w3id.org/dm-fhir/CodeSystem/measurement"
CaseOf = Callable[..., Case]


def observation(variable: str, when: str, value: str, unit: str) -> dict[str, Any]:
    """The value goes into the JSON as it is written here."""
    return {
        "resourceType": "Observation",
        "status": "final",
        "code": {"coding": [{"system": OWN, "code": variable}]},
        "effectiveDateTime": when,
        "valueQuantity": {"value": Decimal(value), "unit": unit},
    }


INFUSION = {
    "resourceType": "MedicationAdministration",
    "id": "i",
    "status": "completed",
    "medicationCodeableConcept": {"coding": [{"system": "http://www.whocc.no/atc", "code": "L04AG11"}]},
    "effectiveDateTime": "2024-04-15T10:00:00+02:00",
}
JANUARY, MARCH = observation("ck", "2024-01-15", "500", "U/L"), observation("ck", "2024-03-01", "400", "U/L")
BEFORE = observation("ck", "2024-04-15T09:00:00+02:00", "300", "U/L")
AFTER = observation("ck", "2024-04-15T11:00:00+02:00", "100", "U/L")


def found(case: Case, variable: str) -> Outcome:
    return next(one for one in outcomes(case) if one.variable == variable)


@pytest.mark.parametrize(
    ("records", "baseline"),
    [
        ([JANUARY, MARCH, BEFORE, AFTER], 300),
        ([JANUARY, MARCH, AFTER], 400),
        ([observation("ck", "2024-01-16", "500", "U/L"), AFTER], 500),
        ([JANUARY, AFTER], None),
    ],
)
def test_trap_19_the_baseline_is_the_last_value_before_the_first_infusion_within_90_days(
    case_of: CaseOf, records: list[dict[str, Any]], baseline: int | None
) -> None:
    outcome = found(case_of(INFUSION, *records), "ck_baseline")

    assert outcome.number == baseline
    assert bool(outcome.reasons) == (baseline is None)


@pytest.mark.parametrize(
    ("number", "whole", "one_decimal"),
    [("25/2", "13", "12.5"), ("125/2", "63", "62.5"), ("-25/2", "-13", "-12.5"), ("0.25", "0", "0.3"), ("100/24", "4", "4.2")],
)  # fmt: skip
def test_trap_24_halves_are_rounded_up_and_once(number: str, whole: str, one_decimal: str) -> None:
    numerator, _, denominator = number.partition("/")
    exact = Fraction(numerator) / Fraction(denominator or 1)

    assert (str(rounded(exact, 0)), shown(exact, 1)) == (whole, one_decimal)


def test_trap_26_a_baseline_of_0_keeps_the_points_and_has_no_percent(case_of: CaseOf) -> None:
    case = case_of(
        INFUSION,
        observation("cdasi-activity", "2024-04-01", "0", "{score}"),
        observation("cdasi-activity", "2024-07-01", "4", "{score}"),
    )
    percent = found(case, "cdasi_activity_percent_improvement")

    assert found(case, "cdasi_activity_improvement").number == -4
    assert (percent.number, percent.reasons) == (None, ("baseline_zero",))


@pytest.mark.parametrize(("before", "after", "percent"), [("1.1", "0.6", 5), ("2.2", "0.7", 15), ("4.4", "1.9", 25)])
def test_trap_29_a_change_at_the_edge_of_a_band_is_exact(
    case_of: CaseOf, before: str, after: str, percent: int
) -> None:
    """In binary floats each of these is a little more, and would be one band higher."""
    case = case_of(
        observation("physician-global-vas", "2024-04-01", before, "cm"),
        observation("physician-global-vas", "2024-07-01", after, "cm"),
    )
    first, second = (one.measured.result.number for one in case.assessments)

    assert first is not None
    assert second is not None
    assert (first - second) / 10 * 100 == percent
    assert (float(before) - float(after)) / 10 * 100 > percent
