"""The case series as JSON: exact numbers as text ("24.5", "100/3"), recorded decimals as numbers."""

import re
from fractions import Fraction
from typing import Any, TypeVar

import msgspec

from dm_fhir.model.exact import to_text

T = TypeVar("T")


def encode(part: object) -> bytes:
    """`part` of the model as JSON, keys in a fixed order."""
    return _ENCODER.encode(part)


def decode(data: bytes, kind: type[T]) -> T:
    """The part of the model in `data`. Raises msgspec.ValidationError where it is not one."""
    return msgspec.json.decode(data, type=kind, dec_hook=_from_plain)


def _to_plain(value: Any) -> str:
    if isinstance(value, Fraction):
        return to_text(value)
    raise TypeError(f"the model holds no {type(value).__name__}")


def _from_plain(kind: type, value: Any) -> Any:
    if kind is Fraction:
        return _fraction(value)
    raise TypeError(f"the model holds no {kind.__name__}")


def _fraction(value: Any) -> Fraction:
    if not isinstance(value, str) or not _EXACT.fullmatch(value):
        raise ValueError('an exact number must be text such as "24.5" or "100/3"')
    return Fraction(value)


_EXACT = re.compile(r"-?[0-9]+(\.[0-9]+|/[1-9][0-9]*)?")
_ENCODER = msgspec.json.Encoder(enc_hook=_to_plain, decimal_format="number", order="deterministic")
