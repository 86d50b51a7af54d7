"""Where in a JSON text something stands: the line of an element, of a key given twice, of a number that is none.

Reads what JSON parsers refuse or hide: NaN, and the second of two equal keys. The text is otherwise taken to be JSON.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from itertools import count
from typing import NamedTuple

#: An element: keys and indices from the top. A FHIR choice may go by its short name (`value` for `valueQuantity`).
Path = tuple[str | int, ...]

_TOKEN = re.compile(rb'[\s:,]*("(?:[^"\\]|\\.)*"|[{}\[\]]|[^\s{}\[\]:,"]+)', re.DOTALL)
_NO_NUMBERS = (b"NaN", b"Infinity", b"-Infinity")


#: What an object should not have.
KEY_TWICE = "a key twice in one object"


class Odd(NamedTuple):
    """What a JSON text should not hold, and the line where it does."""

    line: int
    what: str


class _Node(NamedTuple):
    path: Path
    offset: int
    token: bytes
    is_repeated: bool


def lines_of(text: bytes, wanted: Iterable[Path]) -> dict[Path, int]:
    """The line of each path, counted from 1; of the nearest element around it where there is no such element."""
    asked = list(wanted)
    prefixes = {path[:length] for path in asked for length in range(len(path) + 1)}
    line, before = 1, 0
    found: dict[Path, int] = {}
    meant: dict[Path, list[Path]] = {}
    for node in _nodes(text):
        paths = _meant(node.path, meant, prefixes)
        if not paths:
            continue
        line, before = line + text.count(b"\n", before, node.offset), node.offset
        meant[node.path] = paths
        for path in paths:
            found.setdefault(path, line)
    return {path: _nearest(path, found) for path in asked}


def oddities(text: bytes) -> list[Odd]:
    """Every key that its object has already, and every NaN or Infinity."""
    found, line, before = [], 1, 0
    for node in _nodes(text):
        what = KEY_TWICE if node.is_repeated else None
        if node.token in _NO_NUMBERS:
            what = "NaN or Infinity, which JSON does not have"
        if what:
            line, before = line + text.count(b"\n", before, node.offset), node.offset
            found.append(Odd(line, what))
    return found


def broken_line(text: bytes) -> int | None:
    """The line where the text stops being JSON in UTF-8 (NaN let pass); None where it does not, or is nested too deeply."""
    try:
        json.loads(text)
    except UnicodeDecodeError as error:
        return 1 + text.count(b"\n", 0, error.start)
    except json.JSONDecodeError as error:
        return error.lineno
    except (ValueError, RecursionError):
        return None
    return None


def _meant(path: Path, meant: Mapping[Path, list[Path]], prefixes: set[Path]) -> list[Path]:
    """The prefixes of wanted paths that mean the element whose own path this is."""
    if not path:
        return [path]
    name = path[-1]
    names = [name, *_short(name)] if isinstance(name, str) else [name]
    return [whole for around in meant.get(path[:-1], ()) for one in names if (whole := (*around, one)) in prefixes]


def _short(name: str) -> Iterator[str]:
    """`value` and `valueCodeable` of `valueCodeableConcept`: one of them may be the name of a choice."""
    return (name[:at] for at, letter in enumerate(name) if at and letter.isupper())


def _nearest(path: Path, found: dict[Path, int]) -> int:
    return next((found[path[:length]] for length in range(len(path), -1, -1) if path[:length] in found), 1)


def _nodes(text: bytes) -> Iterator[_Node]:
    """Every value of the text: its path, and where it begins; for a member of an object where its key does."""
    # One level for each object or array that is open: its path, its keys so far (None for an array), its next index.
    levels: list[tuple[Path, set[bytes] | None, Iterator[int]]] = []
    key: tuple[bytes, int] | None = None
    for match in _TOKEN.finditer(text):
        token, offset = match[1], match.start(1)
        if token in b"}]":
            levels[-1:] = []
        elif levels and levels[-1][1] is not None and key is None:
            key = token, offset
        else:
            path: Path = ()
            is_repeated = False
            if levels:
                around, keys, index = levels[-1]
                if keys is None or key is None:
                    path = (*around, next(index))
                else:
                    path, offset = (*around, _text(key[0])), key[1]
                    is_repeated = key[0] in keys
                    keys.add(key[0])
            key = None
            yield _Node(path, offset, token, is_repeated)
            if token in b"{[":
                levels.append((path, set() if token == b"{" else None, count()))


@lru_cache(maxsize=10_000)  # the same few names, over and over
def _text(key: bytes) -> str:
    try:
        return str(json.loads(key))
    except ValueError:
        return ""
