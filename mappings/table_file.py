"""One mapping table as it was written: its entries, each with its place in the file."""

import re
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from importlib.resources import files
from typing import Any, NamedTuple

from dm_fhir.model.read_file import read_toml

#: What a row can be about.
KINDS = (
    "medication", "measurement", "condition", "adverse_event", "answer", "method", "route", "timing", "ae_seriousness",
    "ae_relatedness", "ae_outcome", "ae_severity", "ae_grade", "ae_action",
)  # fmt: skip
_HEADER = re.compile(r"^[ \t]*\[\[[ \t]*(\w+)[ \t]*\]\]", re.MULTILINE)
_CODE = re.compile(r"""code[ \t]*=[ \t]*["']""")

_Span = tuple[int, int]


class Entry(NamedTuple):
    """One row of a table as it was written. `origin` names file, row and line, `code_origins` those of each code."""

    kind: str
    says: Mapping[str, Any]
    origin: str
    code_origins: tuple[str, ...] = ()


class TableFile(NamedTuple):
    """A whole table: its text, what TOML makes of it, and its entries in the order of their kinds."""

    name: str
    text: str
    document: Mapping[str, Any]
    entries: tuple[Entry, ...]


def shipped(name: str) -> TableFile:
    """One of our own tables."""
    return parsed(name, (files("dm_fhir.mappings") / "tables" / name).read_text(encoding="utf-8"))


def parsed(name: str, text: str) -> TableFile:
    """The table in `text`. Raises tomllib.TOMLDecodeError. Whether it says what a table can say is not looked at."""
    document = read_toml(text)
    lines = _Lines(text)
    entries = [one for kind in KINDS for one in _entries(name, kind, _rows(document.get(kind)), lines)]
    return TableFile(name, text, document, tuple(entries))


def _rows(found: object) -> list[Mapping[str, Any]]:
    """The entries of a kind; none where it is no list, which the schema tells."""
    return [one if isinstance(one, dict) else {} for one in found] if isinstance(found, list) else []


def _entries(name: str, kind: str, rows: list[Mapping[str, Any]], lines: "_Lines") -> Iterator[Entry]:
    spans = lines.spans(kind, len(rows))
    for number, (says, span) in enumerate(zip(rows, spans, strict=True), 1):
        codes = says.get("codes")
        places = lines.of_codes(span, len(codes) if isinstance(codes, list) else 0)
        row = f"{name}, {kind} row {number}"
        origins = [f"{row} (line {line})" if line else row for line in (lines.of_row(span), *places)]
        yield Entry(kind, says, origins[0], tuple(origins[1:]))


class _Lines:
    """Where rows and codes stand in the text. TOML's reader does not tell, so they are looked for and counted.

    Where there are not as many as were read (a row written in another way, a header inside a text), no line is given.
    """

    def __init__(self, text: str) -> None:
        self._text = text
        self._newlines = [match.start() for match in re.finditer("\n", text)]
        found = list(_HEADER.finditer(text))
        ends = [*(match.start() for match in found), len(text)][1:]
        self._spans: dict[str, list[_Span]] = {}
        for match, end in zip(found, ends, strict=True):
            self._spans.setdefault(match[1], []).append((match.start(), end))

    def spans(self, kind: str, count: int) -> Sequence["_Span | None"]:
        """From where to where each row of a kind is written."""
        found = self._spans.get(kind, [])
        return found if len(found) == count else [None] * count

    def of_row(self, span: "_Span | None") -> int | None:
        """The line on which a row begins."""
        return self._line(span[0]) if span else None

    def of_codes(self, span: "_Span | None", count: int) -> list[int | None]:
        """The line of each code of a row, or that of the row."""
        found = [self._line(match.end()) for match in _CODE.finditer(self._text, *span)] if span else []
        return [*found] if len(found) == count else [self.of_row(span)] * count

    def _line(self, offset: int) -> int:
        return bisect_left(self._newlines, offset) + 1
