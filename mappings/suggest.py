"""A site table to begin from: a row for each code and unit that no table knows. Every row is commented out.

Which variable a code means, and how large a unit is, only a person can say; nothing is guessed from a display.
"""

import json
from collections.abc import Iterator, Sequence

from dm_fhir.mappings.codes import Row, Tables
from dm_fhir.mappings.survey import CodeSeen, SiteSeen

_MOST_ROWS = 30
#: Signs that people write in several ways in one and the same unit.
_ALIKE = str.maketrans({"\N{MICRO SIGN}": "u", "\N{GREEK SMALL LETTER MU}": "u", " ": None, "[": None, "]": None})


def suggestion(seen: SiteSeen, tables: Tables, most: int = _MOST_ROWS) -> str:
    """TOML that can be laid over the tables as it stands, and then changes nothing; the most frequent codes first."""
    units = [row for one in seen.mapped for row in _units(one, tables)]
    # A code may be seen in several elements; one row is enough for it.
    usable = list({(one.kind, one.system, one.code): one for one in reversed(seen.unmapped) if one.system}.values())[
        ::-1
    ]
    codes = [row for one in usable[:most] for row in _code(one, seen.site)]
    more = len(usable) - most
    return "\n".join(
        [
            f"# What {seen.site} sends and no table knows, the most frequent first. Take the # off the rows that the study needs",
            "# (the lines without a blank behind it), fill in what stands between the empty quotation marks, delete the rest.",
            "# Variables that there are: dm-fhir map show. A row of a known variable adds to it.",
            *(units or codes or ["", "# Nothing: every code and every unit that was seen is known."]),
            *(codes if units else []),
            *(["", f"# … and {more} more codes: dm-fhir map check --site {seen.site} --json"] if more > 0 else []),
            "",
        ]
    )


def _code(one: CodeSeen, site: str) -> Iterator[str]:
    display = f", display = {_text(one.display)}" if one.display else ""
    yield ""
    yield f"# {_seen(one)}"
    yield f"#[[{one.kind}]]"
    yield '#variable = ""'
    yield (
        f"#codes = [{{ system = {_text(one.system)}, code = {_text(one.code)}{display}, source = {_text(f'seen at {site}')} }}]"
    )


def _units(one: CodeSeen, tables: Tables) -> Iterator[str]:
    """The units of a known code that its row does not know."""
    row = tables.rows.get((one.kind, one.variable or ""))
    missing = [unit for unit in one.units_not_in_table if unit]
    if row is None or row.unit is None or not missing:
        return
    yield ""
    for unit in missing:
        like = _alike(unit, row)
        said = f"; written like {like[0]}: check that it is" if like else f"; how many {row.unit} is it?"
        yield f"# {row.variable}: {one.units[unit]} values in {_text(unit)} are not used{said}"
    factors = ", ".join(f"{_text(unit)} = {_text((_alike(unit, row) or ('', ''))[1])}" for unit in missing)
    yield f"#[[{one.kind}]]"
    yield f"#variable = {_text(row.variable)}"
    yield f"#units = {{ {factors} }}"


def _alike(unit: str, row: Row) -> tuple[str, str] | None:
    """A unit of the row that differs only in how it is written, and its factor."""
    wanted = unit.translate(_ALIKE).casefold()
    found = ((name, str(factor)) for name, factor in row.units.items() if name.translate(_ALIKE).casefold() == wanted)
    several: Sequence[tuple[str, str]] = list(found)
    return several[0] if several and len({factor for _, factor in several}) == 1 else None


def _seen(one: CodeSeen) -> str:
    parts = [
        f"{one.element}: {one.records} records of {one.patients} patients",
        f"last {one.last_seen}" if one.last_seen else "",
        f"units {', '.join(_text(unit) if unit else 'none' for unit in one.units)}" if one.units else "",
    ]
    return ", ".join(part for part in parts if part)


def _text(text: str) -> str:
    """A TOML string, on one line whatever is in it."""
    written = json.dumps(text, ensure_ascii=False)
    return "".join(
        c if c.isprintable() else f"\\u{ord(c):04x}" if ord(c) < 0x10000 else f"\\U{ord(c):08x}" for c in written
    )
