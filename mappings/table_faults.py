"""What can be wrong with a site's mapping table, told with file, row and line."""

import re
from collections.abc import Collection, Container, Iterable, Iterator, Mapping
from difflib import get_close_matches
from fractions import Fraction
from typing import NamedTuple

from dm_fhir.mappings.rows import Row, factors, fraction, is_excluded, key_of
from dm_fhir.mappings.table_file import Entry, TableFile
from dm_fhir.mappings.ucum import DifferentKinds, ratio
from dm_fhir.model.case import Coding
from dm_fhir.validation import faults

Known = Mapping[tuple[str, str], Row]
_PLACE = re.compile(r"(?P<kind>\w+)\[(?P<row>\d+)\](?:\.codes\[(?P<code>\d+)\])?\.?(?P<rest>.*)", re.DOTALL)

#: Kinds whose variables the schema lists: a site cannot have others, and the shipped tables need not have all.
CLOSED_KINDS = (
    "method", "route", "ae_seriousness", "ae_relatedness", "ae_outcome", "ae_severity", "ae_grade", "ae_action",
)  # fmt: skip


class Judged(NamedTuple):
    """What is wrong in a table by itself, and its entries in which nothing is."""

    faults: list[str]
    sound: list[Entry]


def judged(file: TableFile) -> Judged:
    """The table held against its JSON Schema, and each entry's numbers against sense."""
    found: list[str] = []
    broken: set[str] = set()
    for fault in faults(file.document, "mapping-table"):
        entry, text = _placed(file, fault)
        broken |= {entry.origin} if entry else set()
        found.append(text)
    sound = []
    for entry in file.entries:
        if entry.origin in broken:
            continue
        wrong = [*_numbers(entry), *_forms(entry)]
        found += wrong
        sound += [] if wrong else [entry]
    if not any(fault.startswith(f"{file.name}: dose") for fault in found):
        found += _mass_units(file)
    return Judged(found, sound)


def _placed(file: TableFile, fault: str) -> tuple[Entry | None, str]:
    """A fault that the schema found, with row and line instead of an index."""
    path, _, message = fault.partition(": ")
    match = _PLACE.fullmatch(path)
    entries = [entry for entry in file.entries if match and entry.kind == match["kind"]]
    if match is None or not entries:
        return None, f"{file.name}: {message}" if path == "top level" else f"{file.name}: {path}: {message}"
    entry = entries[int(match["row"])]
    at, rest = entry.origin, match["rest"]
    if match["code"] is not None:
        at, rest = entry.code_origins[int(match["code"])], f"code {int(match['code']) + 1}{'.' if rest else ''}{rest}"
    return entry, f"{at}{f', {rest}' if rest else ''}: {message}"


def _numbers(entry: Entry) -> Iterator[str]:
    """Factors that would make every value 0, and ranges that nothing is in."""
    says = entry.says
    for key in ("units", "assumed_units"):
        yield from (
            _zero(entry.origin, f"{key}.{unit}") for unit, one in says.get(key, {}).items() if not fraction(one)
        )
    for code, origin in zip(says.get("codes", ()), entry.code_origins, strict=True):
        doses = code.get("dose_units", {}).items()
        yield from (_zero(origin, f"dose_units.{unit}.mg") for unit, dose in doses if not fraction(dose["mg"]))
    if "times_per_day" in says and not fraction(says["times_per_day"]):
        yield f"{entry.origin}, times_per_day: must not be 0"
    if "label_dose_mg" in says and not fraction(says["label_dose_mg"]):
        yield f"{entry.origin}, label_dose_mg: must not be 0"
    for key in ("range", "plausible"):
        low, *ends = says.get(key, ("0",))
        for high in ends:
            if fraction(low) <= fraction(high):
                continue
            yield f"{entry.origin}, {key}: the lower end comes first, and {low} is more than {high}"


def _forms(entry: Entry) -> Iterator[str]:
    """Forms that no rule scores: only the DLQI's ten items have one (R-DLQI-SCORE)."""
    for number, form in enumerate(entry.says.get("forms", ()), 1):
        where = f"{entry.origin}, form {number}"
        if "items" in form and entry.says["variable"] != "dlqi":
            yield f"{where}: only a DLQI is scored from its items, not '{entry.says['variable']}'; name its total"
        if ("items" in form) == ("total" in form):
            yield f"{where}: must name either the item that holds the total, or the items that make it up"
        if "prevented" in form and "items" not in form:
            yield f"{where}: prevented belongs to items"


def _zero(origin: str, path: str) -> str:
    return f"{origin}, {path}: the factor must not be 0, every value would be"


def _mass_units(file: TableFile) -> Iterator[str]:
    for unit, one in file.document.get("dose", {}).get("units", {}).items():
        where = f"{file.name}, dose.units.{unit}"
        if not fraction(one):
            yield f"{where}: the factor must not be 0, every dose would be"
        else:
            yield from _conversion(where, unit, fraction(one), "mg")


def alias_faults(files: Iterable[TableFile]) -> Iterator[str]:
    """Names of code systems that two tables lead to different ones."""
    first: dict[str, tuple[str, str]] = {}
    for file in files:
        for alias, usual in file.document.get("aliases", {}).items():
            other, there = first.setdefault(alias, (usual, file.name))
            if other != usual:
                yield f"{file.name}, aliases: {alias} is {usual} here, and {other} in {there}"


def against(entry: Entry, known: Known, on: Container[tuple[str, str]]) -> Iterator[str]:
    """What is wrong with an entry once it is known which variables there are, and in which units the rules reckon.

    `known` has every row that there ever was, `on` names those that no table has switched off.
    """
    kind, says = entry.kind, entry.says
    variable, before = says["variable"], known.get((kind, says["variable"]))
    if before is None and kind not in CLOSED_KINDS and not says.get("new"):
        yield f"{entry.origin}: {_unknown(kind, variable, known)}"
    elif before is not None and says.get("new"):
        yield (
            f"{entry.origin}: '{variable}' is not new, {before.origin} has it; "
            "take new = true away to add to it, or give yours another name"
        )
    elif kind == "measurement" and not says.get("off"):
        adds = before is not None and (kind, variable) in on and not says.get("replace")
        yield from _units(entry, before, adds=adds)


def _unknown(kind: str, variable: str, known: Known) -> str:
    close = get_close_matches(variable, [name for of_kind, name in known if of_kind == kind], n=1)
    meant = f", did you mean '{close[0]}'?" if close else ";"
    return f"no table knows the {kind.replace('_', ' ')} '{variable}'{meant} a variable of your own says new = true"


def _units(entry: Entry, before: Row | None, *, adds: bool) -> Iterator[str]:
    """Units that the variable cannot have, and factors that say otherwise than its own unit, or than another table.

    An entry that adds to a row need not repeat its units; one that stands alone must have them.
    """
    says, at = entry.says, entry.origin
    unit = before.unit if before else says.get("unit")
    coded = before.answers or before.panel if before else says.get("answers") or says.get("panel")
    if coded:
        stated = [key for key in ("unit", "units", "assumed_units") if key in says]
        yield from (f"{at}, {key}: {says['variable']} has no number, so it takes no unit" for key in stated)
        return
    if unit is None and is_excluded(says["variable"]):
        return
    if unit is None:
        yield f"{at}: a new measurement needs unit and units, or answers = true, or panel = true"
        return
    if says.get("unit", unit) != unit:
        yield f"{at}, unit: {says['variable']} is reckoned in {unit}; give the factor to it in units instead"
        return
    if not adds and fraction(says.get("units", {}).get(unit, "0")) != 1:
        yield f'{at}, units: must hold the variable\'s own unit: "{unit}" = "1"'
    others = before.units if before and adds else {}
    for key in ("units", "assumed_units"):
        for name, factor in factors(says.get(key, {})).items():
            where = f"{at}, {key}.{name}"
            if before and others.get(name, factor) != factor:
                yield f"{where}: the factor is {others[name]} by {before.origin}, and {factor} here"
            else:
                yield from _conversion(where, name, factor, unit)


def _conversion(where: str, name: str, factor: Fraction, unit: str) -> Iterator[str]:
    try:
        true = ratio(name, unit)
    except DifferentKinds:
        yield f"{where}: {name} is another kind of quantity than {unit}"
    else:
        if true is not None and true != factor:
            yield f"{where}: 1 {name} is {true} {unit}, not {factor}"


def contradictions(
    found: Iterable[tuple[Coding, Row, Row]], unclear: set[tuple[str, str]], shipped: Collection[str]
) -> Iterator[str]:
    """Codes with two meanings, both with their place. Rows that a faulty entry would have changed are not judged."""
    for code, *rows in found:
        if {(row.kind, row.variable) for row in rows} & unclear:
            continue
        places = [(_place(row, code), row.variable) for row in reversed(rows)]
        # Ours is not at fault: the site's is named first, and of two of the site the later.
        (first, one), (second, two) = sorted(places, key=lambda place: place[0].split(",")[0] in shipped)
        yield f"{first}: {code.system}|{code.code} means '{one}' here, and '{two}' in {second}"


def _place(row: Row, code: Coding) -> str:
    """Where the code is written, or its row where the code is the variable's own and need not be."""
    origin = row.code_origins.get(key_of(code))
    return origin.origin if origin else row.origin
