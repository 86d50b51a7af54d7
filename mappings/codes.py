"""What the mapping tables say, all in one hand: which code means what, in which units.

Codes match by (system, code), never by display text. A site's table adds its codes and units to the shipped rows;
`replace = true` puts its row in place of ours, `off = true` switches ours off.
"""

import hashlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from fractions import Fraction
from functools import cache, lru_cache
from pathlib import Path
from typing import NamedTuple

import msgspec

from dm_fhir.mappings.datatypes import REMEMBERED
from dm_fhir.mappings.rows import CodeOrigin, DoseUnit, Form, Row, built, factors, key_of
from dm_fhir.mappings.table_file import KINDS, TableFile, shipped
from dm_fhir.model.case import Coding, Concept, Quantity

__all__ = [
    "KINDS", "OWN_SYSTEM", "SHIPPED", "UCUM", "CodeOrigin", "DoseUnit", "Form", "Meanings", "Row", "Tables", "aliases_of",
    "load_tables", "meanings_of", "own_code", "shipped_tables", "tables_of", "unit_names",
]  # fmt: skip

SHIPPED = (
    "medications.toml", "measurements.toml", "conditions.toml", "adverse-events.toml", "dosing.toml", "judgements.toml",
)  # fmt: skip
#: Every variable has a code of ours, its name with hyphens; it is the one to write where there is no standard code.
OWN_SYSTEM = "https://w3id.org/dm-fhir/CodeSystem/measurement"


UCUM = "http://unitsofmeasure.org"


class Tables(msgspec.Struct, frozen=True, eq=False):
    """All rows that hold at one site. `fingerprint` changes whenever any of them does.

    `forms` are the questionnaires that give scores, by canonical. `accepts_preliminary`: preliminary results count.
    `remarks` says what of the site's tables was read and not taken, and why.
    """

    rows: dict[tuple[str, str], Row]
    by_code: dict[tuple[str, str, str], Row]
    aliases: dict[str, str]
    mass_units: dict[str, Fraction]
    fingerprint: str
    forms: dict[str, tuple[tuple[Row, Form], ...]] = {}
    accepts_preliminary: bool = False
    remarks: tuple[str, ...] = ()

    def row(self, kind: str, codings: Iterable[Coding]) -> Row | None:
        """The row of `kind` that knows one of the codings, the first that is known; None if none is."""
        for coding in codings:
            found = self.by_code.get((kind, self.system(coding.system), coding.code or ""))
            if found is not None:
                return found
        return None

    def system(self, name: str | None) -> str:
        """The code system's usual name, whichever alias was used."""
        return self.aliases.get(name or "", name or "")

    def under_every_name(self, codings: Iterable[Coding]) -> list[tuple[str, str]]:
        """Each code under every name of its system, as (system, code): servers compare names as they are written."""
        names: dict[str, list[str]] = {}
        for alias, usual in self.aliases.items():
            names.setdefault(usual, [usual]).append(alias)
        return [(n, one.code or "") for one in codings for n in names.get(one.system or "", [one.system or ""])]

    def concept(self, kind: str, codings: tuple[Coding, ...], text: str | None) -> Concept:
        """Codes and text of a record with the variable that the tables see in them."""
        return _concept(self, kind, codings, text)

    def dose_units(self, row: Row, codings: Iterable[Coding]) -> dict[str, DoseUnit]:
        """What one unit of this product holds, beyond milligrams and grams; empty if no code tells the product."""
        for coding in codings:
            found = row.dose_units.get((self.system(coding.system), coding.code or ""))
            if found:
                return found
        return {}

    def origin(self, row: Row, codings: Iterable[Coding]) -> CodeOrigin | None:
        """Where the first of the codings that `row` knows was given its meaning; None if it knows none of them."""
        own = {(OWN_SYSTEM, own_code(row.variable)): CodeOrigin(row.origin)}
        keys = ((self.system(coding.system), coding.code or "") for coding in codings)
        known = own | row.code_origins
        return next((known[key] for key in keys if key in known), None)


@lru_cache(REMEMBERED)
def _concept(tables: Tables, kind: str, codings: tuple[Coding, ...], text: str | None) -> Concept:
    row = tables.row(kind, codings)
    return Concept(codings, text, row.variable if row else None)


def unit_names(quantity: Quantity) -> tuple[str, ...]:
    """What tells the unit of a quantity, best first: a UCUM code alone, else the code and the text beside it."""
    if quantity.code and quantity.system == UCUM:
        return (quantity.code,)
    return tuple(name for name in (quantity.code, quantity.unit) if name)


def own_code(variable: str) -> str:
    """The variable's code in OWN_SYSTEM."""
    return variable.replace("_", "-")


def load_tables(site_tables: Sequence[Path] = ()) -> Tables:
    """The shipped tables with the site's laid over them, in order. Raises ConfigError naming file and row."""
    if not site_tables:
        return shipped_tables()[1]
    from dm_fhir.mappings.site_tables import laid_over

    return laid_over(site_tables)


@cache
def shipped_tables() -> tuple[tuple[TableFile, ...], Tables]:
    """Our own tables, as files and as what they say. They are not checked here: the tests do that once for all."""
    own = tuple(map(shipped, SHIPPED))
    aliases = aliases_of(own)
    rows = [built(entry, aliases) for file in own for entry in file.entries]
    return own, tables_of(own, {(row.kind, row.variable): row for row in rows})


class Meanings(NamedTuple):
    """Each code's row, and the codes that have a second one."""

    by_code: dict[tuple[str, str, str], Row]
    contradictions: list[tuple[Coding, Row, Row]]


def meanings_of(rows: Collection[Row]) -> Meanings:
    """What each code means. A variable is known by its code in OWN_SYSTEM too, whether or not its row says so."""
    found = Meanings({}, [])
    written = [(code, row) for row in rows for code in row.codes]
    own = [(Coding(OWN_SYSTEM, own_code(row.variable)), row) for row in rows]
    for code, row in (*written, *own):
        other = found.by_code.setdefault((row.kind, *key_of(code)), row)
        if other is not row:
            found.contradictions.append((code, other, row))
    return found


def aliases_of(tables: Iterable[TableFile]) -> dict[str, str]:
    """Every other name of a code system with its usual one, also where a table leads to it by another alias."""
    aliases = {key: value for file in tables for key, value in file.document.get("aliases", {}).items()}
    for key in aliases:
        seen = {key}
        while aliases[key] in aliases and aliases[key] not in seen:
            seen.add(aliases[key])
            aliases[key] = aliases[aliases[key]]
    return aliases


def tables_of(files: Sequence[TableFile], rows: Mapping[tuple[str, str], Row], remarks: tuple[str, ...] = ()) -> Tables:
    """The rows with what the files say beside them."""
    return Tables(
        rows=dict(rows),
        by_code=meanings_of(rows.values()).by_code,
        aliases=aliases_of(files),
        mass_units=factors({k: v for one in files for k, v in one.document.get("dose", {}).get("units", {}).items()}),
        fingerprint=hashlib.sha256("\0".join(file.text for file in files).encode()).hexdigest()[:16],
        forms=_forms(rows.values()),
        accepts_preliminary=any(one.document.get("observations", {}).get("preliminary", False) for one in files),
        remarks=remarks,
    )


def _forms(rows: Iterable[Row]) -> dict[str, tuple[tuple[Row, Form], ...]]:
    found: dict[str, tuple[tuple[Row, Form], ...]] = {}
    for row in rows:
        for form in row.forms:
            found[form.canonical] = (*found.get(form.canonical, ()), (row, form))
    return found
