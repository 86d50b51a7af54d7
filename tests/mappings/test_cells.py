"""Cells: numbers as they were written, dates in the declared format and in no other."""

from contextlib import suppress
from datetime import date, datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dm_fhir.mappings.cells import Unreadable, format_fault, number, when

TODAY = date(2026, 6, 1)
DAYS = st.dates(date(1900, 1, 1), TODAY)
NUMBERS = st.decimals(allow_nan=False, allow_infinity=False, places=3, min_value=-(10**9), max_value=10**9)


@given(NUMBERS, st.sampled_from([".", ","]), st.sampled_from(["", "<", "<=", ">", ">="]))
def test_a_number_is_read_as_it_was_written(value: Decimal, decimal: str, comparator: str) -> None:
    text = f"{comparator}{value:f}".replace(".", decimal)
    assert number(f" {text}\u00a0", decimal) == (value, comparator or None)


@given(NUMBERS.filter(lambda n: n != n.to_integral()), st.sampled_from([(".", ","), (",", ".")]))
def test_the_other_sign_is_never_a_decimal_one(value: Decimal, signs: tuple[str, str]) -> None:
    declared, other = signs
    with pytest.raises(Unreadable):
        number(f"{value:f}".replace(".", other), declared)


@given(st.text("0123456789-+,.<=> \N{MINUS SIGN}eE/", max_size=12))
def test_whatever_is_read_as_a_number_was_written_as_one(text: str) -> None:
    with suppress(Unreadable):
        found = number(text, ",")
        written = text.strip().lstrip("<>= ").replace("\N{MINUS SIGN}", "-").replace(",", ".")
        assert Decimal(written) == found.value
        assert not set(written) - set("0123456789.-")


@pytest.mark.parametrize(
    ("text", "expected"),
    [("12", "12"), ("\N{MINUS SIGN}3", "-3"), ("007", "7"), ("12.50", "12.50"), ("≤ 5", "5"), ("1e3", None), ("1,234", None), ("1 234", None), ("1.234.5", None), (".5", None), ("5.", None), ("", None), ("1" * 41, None), ("١٢", None), ("12 U/L", None)],
)  # fmt: skip
def test_numbers_with_a_decimal_point(text: str, expected: str | None) -> None:
    if expected is None:
        with pytest.raises(Unreadable, match="decimal point"):
            number(text)
    else:
        assert str(number(text).value) == expected


def test_what_a_spreadsheet_made_a_date_of_is_no_number() -> None:
    with pytest.raises(Unreadable) as caught:
        number(date(2026, 4, 3))
    assert caught.value.kind == "value_is_date"


@given(DAYS, st.sampled_from(["DD/MM/YYYY", "MM/DD/YYYY", "YYYY-MM-DD", "DD.MM.YYYY", "YYYYMMDD", "DD MM YYYY"]))
def test_a_day_is_read_in_its_format(day: date, form: str) -> None:
    text = form.replace("YYYY", f"{day.year:04}").replace("MM", f"{day.month:02}").replace("DD", f"{day.day:02}")
    assert when(text, (form,), TODAY) == day.isoformat()


@given(DAYS)
def test_day_and_month_are_never_swapped(day: date) -> None:
    text = f"{day.day}/{day.month}/{day.year}"
    assert when(text, ("DD/MM/YYYY",), TODAY) == day.isoformat()
    both = ("DD/MM/YYYY", "MM/DD/YYYY")
    if day.day <= 12 and day.day != day.month:
        with pytest.raises(Unreadable) as caught:
            when(text, both, TODAY)
        assert caught.value.kind == "date_ambiguous"
    else:
        assert when(text, both, TODAY) == day.isoformat()


@pytest.mark.parametrize(
    ("text", "form", "expected"),
    [
        ("2025", "YYYY", "2025"), ("3/2025", "MM/YYYY", "2025-03"), ("2025-03-05 9:30", "YYYY-MM-DD hh:mm", "2025-03-05T09:30:00"),
        ("2025-03-05T09:30:07", "YYYY-MM-DDThh:mm:ss", "2025-03-05T09:30:07"), ("29.02.2024", "DD.MM.YYYY", "2024-02-29"),
        ("2026", "YYYY", "2026"), ("06/2026", "MM/YYYY", "2026-06"),
    ],
)  # fmt: skip
def test_a_date_is_as_precise_as_its_format(text: str, form: str, expected: str) -> None:
    assert when(text, (form,), TODAY) == expected


@pytest.mark.parametrize(
    ("text", "form", "kind"),
    [
        ("29.02.2025", "DD.MM.YYYY", "date_unreadable"), ("5.3.25", "DD.MM.YYYY", "date_unreadable"),
        ("2025-03-05", "DD.MM.YYYY", "date_unreadable"), ("2025-03-05 25:00", "YYYY-MM-DD hh:mm", "date_unreadable"),
        ("02.06.2026", "DD.MM.YYYY", "date_unlikely"), ("31.12.1899", "DD.MM.YYYY", "date_unlikely"), ("2027", "YYYY", "date_unlikely"),
        ("soon", "YYYY", "date_unreadable"),
    ],
)  # fmt: skip
def test_what_is_no_date_of_the_format_is_said(text: str, form: str, kind: str) -> None:
    with pytest.raises(Unreadable) as caught:
        when(text, (form,), TODAY)
    assert caught.value.kind == kind
    assert text not in caught.value.expected


def test_a_date_of_a_spreadsheet_needs_no_format() -> None:
    assert when(date(2025, 3, 5), ("YYYY",), TODAY) == "2025-03-05"
    assert when(datetime(2025, 3, 5, 9, 30), ("YYYY",), TODAY) == "2025-03-05T09:30:00"  # noqa: DTZ001  # as openpyxl gives it


@pytest.mark.parametrize(
    "form", ["YYYY-MM-DD", "DD.MM.YYYY hh:mm", "YYYY", "MM/YYYY", "YYYYMMDD", "YYYY-MM-DDThh:mm:ss"]
)
def test_date_formats(form: str) -> None:
    assert format_fault(form) is None


@pytest.mark.parametrize(
    "form",
    ["DD/MM/YY", "%d.%m.%Y", "YYYY-DD", "MM-DD", "YYYY-MM-DD hh", "YYYY-MM-DD hh:mm h", "", "YYYY YYYY", "DD-MMM-YYYY"],
)
def test_what_is_no_date_format_is_said(form: str) -> None:
    assert format_fault(form)
