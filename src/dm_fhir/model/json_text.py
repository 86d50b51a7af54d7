"""JSON as servers write it: halves of characters that no text can hold, and objects that say the same key twice."""

import json
import re
from functools import lru_cache
from typing import Any

import msgspec

_SURROGATE = re.compile(rb"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|\\u[dD][89a-fA-F][0-9a-fA-F]{2}")
_PAIR_LENGTH = len(rb"\ud800\udc00")
_GENERIC = msgspec.json.Decoder(float_hook=str)
_ENCODE = msgspec.json.Encoder().encode
#: A pattern finds two characters in a third of the time that `in` takes.
_ESCAPED = re.compile(rb"\\u").search
_ESCAPED_COLON = re.compile(rb"\\u003[aA]").search
#: What differs between two records of a kind is mostly digits: of numbers, dates and ids, hexadecimal ones too.
_ALIKE = bytes.maketrans(b"0123456789abcdef", b"1" * 16)
_LONGEST_SHAPE, _SHAPES = 16_384, 4000


def repaired(body: bytes) -> bytes:
    """The bytes with escaped halves of characters as U+FFFD; the same bytes if there are none."""
    if not _ESCAPED(body):
        return body
    return _SURROGATE.sub(lambda found: found[0] if len(found[0]) == _PAIR_LENGTH else rb"\ufffd", body)


def is_ambiguous(body: bytes) -> bool:
    """Whether an object in it has a key twice: readers differ in which of the two they take.

    Records of a kind have the same shape, their bytes with all digits alike. Where even so no key comes twice, none does in any
    record of that shape: equal keys have equal shapes, unless a character of one is written by its number (`\\u0061`).
    """
    if len(body) <= _LONGEST_SHAPE and not _ESCAPED(body) and _has_each_key_once(body.translate(_ALIKE)):
        return False
    return _is_ambiguous(body)


@lru_cache(_SHAPES)
def _has_each_key_once(shape: bytes) -> bool:
    """Whether a shape is JSON without a key twice. Its `true` and `false` have lost letters, and get them back."""
    whole = shape.replace(b"tru1", b"true").replace(b"11ls1", b"false")
    try:
        return _ENCODE(_GENERIC.decode(whole)).count(b":") == shape.count(b":")
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False


def _is_ambiguous(body: bytes) -> bool:
    try:
        generic = _GENERIC.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return _has_key_twice(repaired(body))
    # A second key is lost on the way through a dict, and its colon with it. One that is escaped comes back as a colon.
    return (_ENCODE(generic).count(b":") != body.count(b":") or bool(_ESCAPED_COLON(body))) and _has_key_twice(body)


class _Twice(Exception):
    pass


def _has_key_twice(body: bytes) -> bool:
    try:
        json.loads(body, object_pairs_hook=_single, parse_float=str, parse_int=str)
    except _Twice:
        return True
    except (ValueError, RecursionError):
        return False
    return False


def _single(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise _Twice
    return found
