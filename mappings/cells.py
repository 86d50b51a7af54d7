"""What a cell of a table says: a number as it was written, a date in the declared format and in no other."""

import re
from datetime import date, datetime
from decimal import Decimal
from functools import cache
from typing import NamedTuple

from dm_fhir.mappings.sheet import Cell, text_of

_YEAR = r"(?P<YYYY>\d{4})"
_TOKEN = re.compile("YYYY|MM|DD|hh|mm|ss")
#: Each part of a time needs the coarser ones before it.
_FROM_COARSE = ("YYYY", "MM", "DD", "hh", "mm", "ss")
_COMPARATORS = {"<": "<", "<=": "<=", "≤": "<=", ">": ">", ">=": ">=", "≥": ">="}
_MINUS = "\N{MINUS SIGN}"
_NUMBER = rf"(?P<comparator><=|>=|[<>≤≥])?\s*(?P<number>[-{_MINUS}]?\d+(?:{{decimal}}\d+)?)"
_MOST_DIGITS = 40
EARLIEST_YEAR = 1900


class Unreadable(ValueError):
    """A cell that does not say what its column should. `kind` is one word, `expected` says what was; neither repeats it."""

    def __init__(self, kind: str, expected: str) -> None:
        super().__init__(expected)
        self.kind, self.expected = kind, expected


class Number(NamedTuple):
    """A number as it was written; `comparator` (<, <=, >, >=) makes it a bound."""

    value: Decimal
    comparator: str | None = None


def number(cell: Cell, decimal: str = ".") -> Number:
    """The number in a cell. In text only `decimal` separates decimals, and nothing separates thousands.

    Raises Unreadable.
    """
    if isinstance(cell, Decimal):
        return Number(cell)
    if isinstance(cell, date):
        raise Unreadable("value_is_date", "expected a number, the spreadsheet holds a date")
    form = re.fullmatch(_NUMBER.format(decimal=re.escape(decimal)), cell.strip(), re.ASCII)
    if form is None or len(form["number"]) > _MOST_DIGITS:
        name = "comma" if decimal == "," else "point"
        raise Unreadable(
            "value_not_a_number",
            f"expected a number with a decimal {name} and nothing between thousands, or a bound such as <50",
        )
    value = form["number"].replace(_MINUS, "-").replace(decimal, ".")
    return Number(Decimal(value), _COMPARATORS.get(form["comparator"] or ""))


def when(cell: Cell, formats: tuple[str, ...], today: date) -> str:
    """The FHIR date or dateTime in a cell, as precise as its format: 2024, 2024-03, 2024-03-05, 2024-03-05T10:30:00.

    What a spreadsheet holds as a date needs no format. Raises Unreadable: also for what two formats read differently, and for
    a date after `today`.
    """
    if isinstance(cell, datetime):
        found = {cell.replace(tzinfo=None, microsecond=0).isoformat()}
    elif isinstance(cell, date):
        found = {cell.isoformat()}
    else:
        read = (_read(text_of(cell), one) for one in formats)
        found = {one for one in read if one is not None}
    if not found:
        raise Unreadable("date_unreadable", f"expected a date as {' or '.join(formats)}")
    if len(found) > 1:
        raise Unreadable("date_ambiguous", f"expected a date that only one of {', '.join(formats)} can read")
    (text,) = found
    if not (int(text[:4]) >= EARLIEST_YEAR and text[:10] <= today.isoformat()[: len(text[:10])]):
        raise Unreadable("date_unlikely", f"expected a date from {EARLIEST_YEAR} to today")
    return text


def format_fault(text: str) -> str | None:
    """What is wrong with a date format; None if nothing is."""
    parts = _TOKEN.findall(text)
    if sorted(parts) != sorted(_FROM_COARSE[: len(parts)]) or not parts or len(parts) == 4:
        return f"'{text}' is no date format; expected such as YYYY-MM-DD, DD/MM/YYYY, MM/YYYY or YYYY-MM-DD hh:mm"
    if re.search(r"\w", _TOKEN.sub("", text.replace("T", " "))):
        return f"'{text}' holds letters or digits that stand for nothing; known: YYYY, MM, DD, hh, mm, ss"
    return None


@cache
def _pattern(text: str) -> re.Pattern[str]:
    """A format as a pattern. A part may lack its leading zero where something separates it from its neighbours."""
    pieces, end = [], 0
    for match in _TOKEN.finditer(text):
        pieces.append(re.escape(text[end : match.start()]))
        beside = (text[match.start() - 1 : match.start()], text[match.end() : match.end() + 1])
        digits = r"\d\d" if any(one.isalpha() and one != "T" for one in beside) else r"\d{1,2}"
        pieces.append(_YEAR if match[0] == "YYYY" else f"(?P<{match[0]}>{digits})")
        end = match.end()
    return re.compile("".join([*pieces, re.escape(text[end:])]), re.ASCII)


def _read(text: str, format_: str) -> str | None:
    form = _pattern(format_).fullmatch(text)
    if form is None:
        return None
    parts = [int(form[name]) for name in _FROM_COARSE if name in form.groupdict()]
    try:
        moment = datetime(*(parts + [1] * (3 - len(parts))))  # type: ignore[arg-type]  # noqa: DTZ001  # no zone was written
    except ValueError:
        return None
    return moment.isoformat() if len(parts) > 3 else moment.date().isoformat()[: (4, 7, 10)[len(parts) - 1]]
