"""A site table to begin from: a row for each code and unit that no table knows. Every row is commented out.

Which variable a code means, and how large a unit is that UCUM does not tell, only a person can say; nothing is guessed
from a display.
"""

import json
from collections.abc import Iterator, Sequence
from fractions import Fraction

from dm_fhir.mappings.codes import Row, Tables
from dm_fhir.mappings.seen import CANONICAL, VALUE
from dm_fhir.mappings.survey import OTHERS, CodeSeen, SiteSeen
from dm_fhir.mappings.table_faults import CLOSED_KINDS
from dm_fhir.mappings.ucum import DifferentKinds, ratio

_MOST_ROWS = 30
#: Signs that people write in several ways in one and the same unit.
_ALIKE = str.maketrans({"\N{MICRO SIGN}": "u", "\N{GREEK SMALL LETTER MU}": "u", " ": None, "[": None, "]": None})


def suggestion(seen: SiteSeen, tables: Tables, most: int = _MOST_ROWS) -> str:
    """TOML that can be laid over the tables as it stands, and then changes nothing; the most frequent codes first."""
    units = [line for one in seen.mapped for line in _units(one, tables)]
    # A code may be seen in several elements; one row is enough for it.
    usable = list({(one.kind, one.system, one.code): one for one in reversed(seen.unmapped) if one.system}.values())[
        ::-1
    ]
    codes = [line for one in usable[:most] for line in _row(one, seen.site)]
    more = len(usable) - most
    return "\n".join(
        [
            f"# What {seen.site} sends and no table knows, the most frequent first. Take the # off the rows that the study needs",
            "# (the lines without a blank behind it), fill in what stands between the empty quotation marks, delete the rest.",
            "# Variables that there are: dm-fhir map show. A row of a known variable adds to it; one of your own needs the lines",
            "# that begin with ## as well.",
            *(units or codes or ["", "# Nothing: every code and every unit that was seen is known."]),
            *(codes if units else []),
            *(["", f"# … and {more} more codes: dm-fhir map check --site {seen.site} --json"] if more > 0 else []),
            "",
        ]
    )


def _row(one: CodeSeen, site: str) -> Iterator[str]:
    yield ""
    yield f"# {_seen(one)}"
    if one.kind == VALUE:
        yield from _value(one)
        return
    yield f"#[[{one.kind}]]"
    yield '#variable = ""'
    if one.system == CANONICAL:
        yield f'#forms = [{{ canonical = {_text(one.code)}, total = "" }}]'
        yield "# (total: the linkId of the item that holds the score; for a DLQI of ten items see docs/mapping.md)"
    else:
        display = f", display = {_text(one.display)}" if one.display else ""
        yield (
            f"#codes = [{{ system = {_text(one.system)}, code = {_text(one.code)}{display}, "
            f"source = {_text(f'seen at {site}')} }}]"
        )
    yield from (f"##{line}" for line in _of_ones_own(one))


def _of_ones_own(one: CodeSeen) -> Iterator[str]:
    """What a row needs beyond its codes where the variable is the site's own. The unit is the one that is seen most."""
    if one.kind == "answer" or one.kind in CLOSED_KINDS:
        return  # what these can mean is given
    yield "new = true"
    if one.kind == "timing":
        yield 'times_per_day = ""'
    if one.kind != "measurement":
        return
    units = [unit for unit in one.units if unit and unit != OTHERS]
    if units:
        factors = ((unit, _factor(unit, units[0])) for unit in units)
        yield f"unit = {_text(units[0])}"
        yield f"units = {{ {', '.join(f'{_text(unit)} = {_text(one)}' for unit, one in factors if one is not None)} }}"
    elif set(one.values) & {"valueQuantity", "valueInteger"} or one.system == CANONICAL:
        yield 'unit = "{score}"'
        yield 'units = { "{score}" = "1" }'
        yield "unitless = true"
    elif "valueCodeableConcept" in one.values:
        yield "answers = true"
    else:
        yield "panel = true"


def _factor(unit: str, to: str) -> str | None:
    """How many `to` one `unit` is; empty where only a person can say, None where it is another kind of quantity."""
    try:
        found = Fraction(1) if unit == to else ratio(unit, to)
    except DifferentKinds:
        return None
    return str(found) if found is not None else ""


def _value(one: CodeSeen) -> Iterator[str]:
    """The worth of a coded value, for each variable that it was seen as a value of."""
    for variable in one.scales:
        yield "#[[measurement]]"
        yield f"#variable = {_text(variable)}"
        yield f'#values = [{{ system = {_text(one.system)}, code = {_text(one.code)}, value = "" }}]'


def _units(one: CodeSeen, tables: Tables) -> Iterator[str]:
    """The units of a known code that its row does not know."""
    row = tables.rows.get((one.kind, one.variable or ""))
    if row is None or row.unit is None:
        return
    foreign = [unit for unit in one.units_not_in_table if unit and unit != OTHERS]
    if foreign:
        yield ""
    missing: dict[str, str] = {}
    for unit in foreign:
        factor, said = _guess(unit, row, row.unit)
        if factor is not None:
            missing[unit] = factor
        yield f"# {row.variable}: {one.units[unit]} values in {_text(unit)} are not used{said}"
    if missing:
        yield f"#[[{one.kind}]]"
        yield f"#variable = {_text(row.variable)}"
        yield f"#units = {{ {', '.join(f'{_text(unit)} = {_text(factor)}' for unit, factor in missing.items())} }}"


def _guess(unit: str, row: Row, to: str) -> tuple[str | None, str]:
    """The factor as far as it can be known, empty if it cannot, None if there is none; and what is to be said of it."""
    try:
        exact = ratio(unit, to)
    except DifferentKinds:
        return None, f"; another kind of quantity than {to}: ask what was measured"
    if exact is not None:
        return str(exact), f"; by UCUM it is {exact} {to}: check that it is meant"
    like = _alike(unit, row)
    if like is not None:
        return like[1], f"; written like {like[0]}: check that it is"
    return "", f"; how many {to} is it?"


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
