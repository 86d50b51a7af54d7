"""Courses of glucocorticoids that nobody wrote by hand: order, splitting and units change nothing."""

import random
from datetime import date, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from dm_fhir.model.case import Therapy
from dm_fhir.model.definitions import Definitions
from dm_fhir.outcomes import battery
from dm_fhir.outcomes.glucocorticoids import course

from .pharmacy import DAY_0, LAST, case, days, dosage, order, statement

TO_THE_END = days(-200, 84)


def dose_on_the_last_day(said: Therapy) -> Fraction | None:
    (stretch,) = course(case(said), LAST, LAST, Definitions()).stretches
    return stretch.mg_per_day


DRUGS = st.sampled_from(["prednisone", "prednisolone", "methylprednisolone", "dexamethasone", "meprednisone"])
STATUSES = st.sampled_from(["active", "completed", "stopped", "not-taken", "unknown"])
DAYS = st.integers(-40, 60)
RECORDS = st.lists(st.tuples(DRUGS, STATUSES, DAYS, st.none() | st.integers(0, 50), st.integers(0, 60)), max_size=6)


def recorded(rows: Any) -> list[Therapy]:
    """Every second one an order."""
    return [
        (order if n % 2 else statement)(
            f"{n}", drug, days(start, start + length if length is not None else None), dosage(mg), status=status
        )
        for n, (drug, status, start, length, mg) in enumerate(rows)
    ]


def doses(said: list[Therapy]) -> list[tuple[date, Fraction | None]]:
    """The dose of each day."""
    whole = course(case(*said), DAY_0 - timedelta(days=50), LAST, Definitions())
    return [(one.first + timedelta(days=n), one.mg_per_day) for one in whole.stretches for n in range(one.days)]


@settings(max_examples=60, deadline=None)
@given(RECORDS, st.randoms(use_true_random=False))
def test_the_order_of_the_records_changes_nothing(rows: Any, chance: random.Random) -> None:
    said = recorded(rows)
    mixed = chance.sample(said, len(said))
    one, other = case(*said), case(*mixed)
    assert battery.outcomes(one) == battery.outcomes(other)


@settings(max_examples=60, deadline=None)
@given(RECORDS)
def test_a_course_has_every_day_once(rows: Any) -> None:
    found = doses(recorded(rows))
    first = DAY_0 - timedelta(days=50)
    assert [day for day, _ in found] == [first + timedelta(days=n) for n in range((LAST - first).days + 1)]


@settings(max_examples=60, deadline=None)
@given(st.integers(-40, 20), st.integers(1, 60), st.integers(1, 59), st.integers(0, 60))
def test_a_record_split_in_two_is_the_same_course(start: int, length: int, cut: int, mg: int) -> None:
    middle = start + min(cut, length) - 1
    whole = [statement("1", "prednisone", days(start, start + length), dosage(mg), status="completed")]
    halves = [
        statement("1", "prednisone", days(start, middle), dosage(mg), status="completed"),
        statement("2", "prednisone", days(middle + 1, start + length), dosage(mg), status="completed"),
    ]
    assert doses(whole) == doses(halves)


@settings(max_examples=40, deadline=None)
@given(DRUGS, st.integers(1, 200_000))
def test_grams_are_a_thousand_milligrams(drug: str, ug: int) -> None:
    mg, g = (Decimal(ug) / 1000, Decimal(ug) / 1_000_000)
    in_mg, in_g = (
        statement("1", drug, TO_THE_END, dosage(value, None, unit)) for value, unit in ((mg, "mg"), (g, "g"))
    )
    assert dose_on_the_last_day(in_mg) == dose_on_the_last_day(in_g)
