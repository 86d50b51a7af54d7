"""Exact numbers: rounded once, half up, and text without loss. Expected values are worked out by hand."""

from decimal import ROUND_HALF_UP, Context, Decimal
from fractions import Fraction

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dm_fhir.model.case import Outcome
from dm_fhir.model.document import decode, encode
from dm_fhir.model.exact import rounded, shown, to_decimal, to_text

QUICK = settings(deadline=None, derandomize=True, database=None)
WIDE = Context(prec=400, rounding=ROUND_HALF_UP)
FRACTIONS = st.fractions() | st.decimals(allow_nan=False, allow_infinity=False, places=6).map(Fraction)


@pytest.mark.parametrize(
    ("number", "decimals", "expected"),
    [
        ("100/3", 1, "33.3"),
        ("200/3", 1, "66.7"),
        ("12.5", 0, "13"),
        ("62.5", 0, "63"),
        ("-12.5", 0, "-13"),
        ("0.25", 1, "0.3"),
        ("-0.25", 1, "-0.3"),
        ("0.05", 1, "0.1"),
        ("-0.04", 1, "0.0"),
        ("700/9", 1, "77.8"),
        ("475/12", 0, "40"),
        ("20", 1, "20.0"),
        ("0", 1, "0.0"),
        ("-60", 1, "-60.0"),
    ],
)
def test_halves_are_rounded_away_from_zero(number: str, decimals: int, expected: str) -> None:
    assert str(rounded(Fraction(number), decimals)) == expected


@pytest.mark.parametrize(
    ("number", "text"),
    [
        ("49/2", "24.5"),
        ("-49/2", "-24.5"),
        ("100/3", "100/3"),
        ("-5/6", "-5/6"),
        ("24", "24"),
        ("0", "0"),
        ("3/50", "0.06"),
        ("1002/5", "200.4"),
        ("1/1024", "0.0009765625"),
        ("300000000000000000000000000000000000000", "300000000000000000000000000000000000000"),
    ],
)
def test_text_is_a_decimal_where_one_is_exact(number: str, text: str) -> None:
    assert to_text(Fraction(number)) == text


@pytest.mark.parametrize(
    ("number", "text"), [("24", "24"), ("49/2", "24.5"), ("100/3", "33.3"), ("-1/16", "-0.1"), ("300", "300")]
)
def test_a_reader_sees_whole_numbers_bare(number: str, text: str) -> None:
    assert shown(Fraction(number)) == text


@QUICK
@given(FRACTIONS)
def test_text_is_without_loss(number: Fraction) -> None:
    assert Fraction(to_text(number)) == number


@QUICK
@given(FRACTIONS)
def test_a_decimal_is_exact_or_none(number: Fraction) -> None:
    decimal = to_decimal(number)
    rest = number.denominator
    for prime in (2, 5):
        while rest % prime == 0:
            rest //= prime

    assert (decimal is not None) == (rest == 1)
    assert decimal is None or Fraction(decimal) == number


@QUICK
@given(st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**12), max_value=10**12), st.integers(0, 4))
def test_rounding_agrees_with_decimal(number: Decimal, decimals: int) -> None:
    expected = number.quantize(Decimal(1).scaleb(-decimals), context=WIDE)

    assert rounded(Fraction(number), decimals) == expected


@QUICK
@given(FRACTIONS)
def test_a_document_keeps_exact_numbers(number: Fraction) -> None:
    outcome = Outcome("ck_improvement", "R-CK", "1", number=number)

    assert decode(encode(outcome), Outcome) == outcome


@pytest.mark.parametrize("number", ["24.5", '"1/0"', '"NaN"', '"1e999999999"', '" 1"', '"1/2/3"', "true"])
def test_a_document_with_another_number_is_refused(number: str) -> None:
    body = f'{{"variable": "ck_improvement", "rule": "R-CK", "rule_version": "1", "number": {number}}}'

    with pytest.raises(msgspec.ValidationError, match=r"\$\.number"):
        decode(body.encode(), Outcome)
