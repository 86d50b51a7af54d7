"""Amounts that somebody wrote as text."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dm_fhir.mappings.number_in_text import quantity_in_text
from dm_fhir.model.case import Quantity


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("450 UI/L", Quantity(Decimal(450), unit="UI/L")),
        ("450UI/L", Quantity(Decimal(450), unit="UI/L")),
        (" 450 ", Quantity(Decimal(450))),
        ("7,5 ukat/L", Quantity(Decimal("7.5"), unit="ukat/L")),
        ("7.50 µkat/L", Quantity(Decimal("7.50"), unit="µkat/L")),
        ("< 20 U/L", Quantity(Decimal(20), "<", "U/L")),
        ("≥20", Quantity(Decimal(20), ">=")),
        ("0.123", Quantity(Decimal("0.123"))),
        ("12 %", Quantity(Decimal(12), unit="%")),
    ],
)
def test_one_amount_is_read(text: str, expected: Quantity) -> None:
    assert quantity_in_text(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "", "normal", "1.234 U/L", "1,234", "1,234.5", "450-500 U/L", "450 / 500", "ca. 450", "450 U/L (high)", "1e3", "1:640",
        "4 5", "٤٥٠", "450 U/L 3", "10^3/uL", "--5", "<>5",
    ],
)  # fmt: skip
def test_what_could_be_something_else_is_not(text: str) -> None:
    assert quantity_in_text(text) is None


@given(st.text(max_size=30))
def test_any_text_is_survived(text: str) -> None:
    found = quantity_in_text(text)
    assert found is None or (found.value is not None and found.value.is_finite())
