"""Exact numbers: fractions in memory, text in documents, rounded once when shown."""

from decimal import Decimal
from fractions import Fraction


def to_text(number: Fraction) -> str:
    """`number` without loss: a decimal where it ends ("24.5"), else a fraction ("100/3")."""
    if number.denominator == 1:  # most are, and a decimal takes its time
        return str(number.numerator)
    decimal = to_decimal(number)
    return f"{decimal:f}" if decimal is not None else f"{number.numerator}/{number.denominator}"


def to_decimal(number: Fraction) -> Decimal | None:
    """`number` as a decimal without loss; None where no decimal is exact, as for 100/3."""
    rest, places = number.denominator, 0
    for prime in (2, 5):
        power = 0
        while rest % prime == 0:
            rest //= prime
            power += 1
        places = max(places, power)
    return _decimal(number.numerator * 10**places // number.denominator, places) if rest == 1 else None


def rounded(number: Fraction, decimals: int) -> Decimal:
    """`number` rounded half up, away from zero for negative halves (R-ROUND)."""
    whole = int(abs(number) * 10**decimals + Fraction(1, 2))
    return _decimal(-whole if number < 0 else whole, decimals)


def shown(number: Fraction, decimals: int = 1) -> str:
    """`number` for a reader: whole numbers bare, others rounded half up to `decimals`."""
    return str(number.numerator) if number.denominator == 1 else f"{rounded(number, decimals):f}"


def _decimal(scaled: int, places: int) -> Decimal:
    """scaled / 10**places, however many digits it has (arithmetic on Decimal would round to the context)."""
    return Decimal((scaled < 0, tuple(map(int, str(abs(scaled)))), -places))
