"""Text for spreadsheets: a program that opens a table must not take a text of it for a formula and run it."""

import re
from collections.abc import Iterable

#: What makes a spreadsheet read a cell as a formula, the full-width forms too.
_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
_NUMBER = re.compile(r"-?\d+(\.\d+)?(/\d+)?([eE][+-]?\d+)?", re.ASCII)
#: Characters that XML has no way to write.
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")


def is_formula(text: str) -> bool:
    """Whether a spreadsheet could take the text for a formula; a negative number is none."""
    return text.startswith(_STARTS) and not _NUMBER.fullmatch(text)


def neutralised(text: str) -> str:
    """The text with an apostrophe before it where a spreadsheet could take it for a formula; else the same."""
    return f"'{text}" if is_formula(text) else text


def harmless(cells: Iterable[object]) -> list[object]:
    """The cells of a row with every text neutralised, for a CSV file."""
    return [neutralised(cell) if isinstance(cell, str) else cell for cell in cells]


def printable(text: str) -> str:
    """The text with control characters, which a workbook cannot hold, as U+FFFD."""
    return _CONTROL.sub("\ufffd", text)
