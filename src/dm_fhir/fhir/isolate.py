"""The slow way through a page that does not decode: every entry by itself, so that only the bad resource is lost.

Brackets and strings are followed without decoding anything; so bad UTF-8, NaN and broken numbers stay inside their entry.
"""

import re
from collections.abc import Iterator
from typing import NamedTuple

import msgspec

from dm_fhir.errors import AnswerUnusable
from dm_fhir.fhir.resource import NOT_READABLE
from dm_fhir.model.json_text import repaired

MOST_LEVELS = 200
_TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*"|[{}\[\]:,]', re.DOTALL)
_OPENING, _CLOSING = b"{[", b"}]"
_NOT_A_NUMBER = re.compile(rb"[:,\[\s](?:NaN|-?Infinity)\b")


class Isolated(NamedTuple):
    """A page taken apart: the Bundle without its entries, and the bytes of each entry's resource (`null` where it has none)."""

    envelope: bytes
    resources: tuple[bytes, ...]


def isolated(body: bytes) -> Isolated:
    """The page in `body`, entry by entry. Raises AnswerUnusable: `body-incomplete`, `too-deep`, or `not-fhir` for no object."""
    if not body.lstrip().startswith(b"{"):
        raise AnswerUnusable("the answer is not readable JSON", reason="not-fhir")
    entries: list[bytes] = []
    envelope = body
    for name, start, end in members(body, 0):
        if name == b'"entry"' and body[start : start + 1] == b"[":
            entries = [_resource(body[first:last]) for first, last in elements(body, start)]
            envelope = body[: start + 1] + body[end - 1 :]
    return Isolated(envelope, tuple(entries))


def why_unreadable(body: bytes) -> str | None:
    """What is wrong with one resource's bytes as JSON, in one word; None if nothing is."""
    try:
        body.decode()
    except UnicodeDecodeError:
        return "invalid-utf-8"
    try:
        msgspec.json.decode(repaired(body), type=msgspec.Raw)
    except RecursionError:
        return "too-deep"
    except NOT_READABLE:
        return "not-json-number" if _NOT_A_NUMBER.search(body) else "not-json"
    return None


def _resource(entry: bytes) -> bytes:
    if not entry.startswith(b"{"):
        return b"null"
    return next((entry[start:end] for name, start, end in members(entry, 0) if name == b'"resource"'), b"null")


def members(body: bytes, start: int) -> Iterator[tuple[bytes, int, int]]:
    """The members of the object that begins at or after `start`: name, and where the value begins and ends."""
    name: bytes | None = None
    value_from = -1
    for token, depth, position in _tokens(body, start):
        if depth == 1 and name is None and token[:1] == b'"':
            name = token
        elif depth == 1 and token == b":" and value_from < 0:
            value_from = position + 1
        elif name is not None and value_from >= 0 and ((depth == 1 and token == b",") or depth == 0):
            first, last = _trimmed(body, value_from, position)
            yield name, first, last
            name, value_from = None, -1


def elements(body: bytes, start: int) -> Iterator[tuple[int, int]]:
    """The elements of the array that begins at `start`: where each begins and ends."""
    value_from = start + 1
    for token, depth, position in _tokens(body, start):
        if (depth == 1 and token == b",") or depth == 0:
            first, last = _trimmed(body, value_from, position)
            if first < last:
                yield first, last
            value_from = position + 1


def _tokens(body: bytes, start: int) -> Iterator[tuple[bytes, int, int]]:
    """Strings and punctuation of the value that begins at `start`, with the depth that they leave behind."""
    depth = 0
    for found in _TOKEN.finditer(body, start):
        token = found[0]
        if token in (b"{", b"["):
            depth += 1
            if depth > MOST_LEVELS:
                raise AnswerUnusable(f"the answer is nested deeper than {MOST_LEVELS} levels", reason="too-deep")
        elif token in (b"}", b"]"):
            depth -= 1
        yield token, depth, found.start()
        if depth == 0 and token in (b"}", b"]"):
            return
    raise AnswerUnusable("the answer is cut off", reason="body-incomplete")


def _trimmed(body: bytes, start: int, end: int) -> tuple[int, int]:
    """The part between without the blanks around it."""
    part = body[start:end]
    return start + len(part) - len(part.lstrip()), end - len(part) + len(part.rstrip())
