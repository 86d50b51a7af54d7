"""The mapping tables, loaded, checked and laid over each other: which code means what, in which units.

Codes match by (system, code), never by display text. A site's table adds its codes and units to the shipped rows;
`replace = true` puts its row in place of ours, `off = true` switches ours off.
"""

import hashlib
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from fractions import Fraction
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from dm_fhir.errors import ConfigError
from dm_fhir.model.case import Coding, Concept, Quantity
from dm_fhir.validation import faults

KINDS = ("medication", "measurement", "condition", "adverse_event", "answer", "method")
SHIPPED = ("medications.toml", "measurements.toml", "conditions.toml", "adverse-events.toml")
#: Where a measurement has no standard code, ours are here: the variable's name with hyphens.
OWN_SYSTEM = "https://w3id.org/dm-fhir/CodeSystem/measurement"


UCUM = "http://unitsofmeasure.org"


class DoseUnit(NamedTuple):
    """Milligrams in one unit of a product; `most` is the largest amount in that unit that can be the product itself."""

    mg: Fraction
    most: Fraction | None


class Row(msgspec.Struct, frozen=True):
    """What the tables say of one variable. `unit` None: it has no number. `range` and `plausible` include both ends.

    `origin` is where it is written: `measurements.toml, row 8`, several where a site's row is laid over ours.
    """

    kind: str
    variable: str
    codes: tuple[Coding, ...] = ()
    unit: str | None = None
    units: dict[str, Fraction] = {}
    assumed_units: dict[str, Fraction] = {}
    unitless: bool = False
    range: tuple[Fraction, Fraction] | None = None
    plausible: tuple[Fraction, Fraction] | None = None
    scale: int | None = None
    answers: bool = False
    diagnosis: bool = False
    subtype: str | None = None
    label_dose_mg: Fraction | None = None
    dose_units: dict[tuple[str, str], dict[str, DoseUnit]] = {}
    origin: str = ""


class Tables(msgspec.Struct, frozen=True):
    """All rows that hold at one site. `fingerprint` changes whenever any of them does."""

    rows: dict[tuple[str, str], Row]
    by_code: dict[tuple[str, str, str], Row]
    aliases: dict[str, str]
    mass_units: dict[str, Fraction]
    fingerprint: str

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
        row = self.row(kind, codings)
        return Concept(codings, text, row.variable if row else None)

    def dose_units(self, row: Row, codings: Iterable[Coding]) -> dict[str, DoseUnit]:
        """What one unit of this product holds, beyond milligrams and grams; empty if no code tells the product."""
        for coding in codings:
            found = row.dose_units.get((self.system(coding.system), coding.code or ""))
            if found:
                return found
        return {}


def unit_names(quantity: Quantity) -> tuple[str, ...]:
    """What tells the unit of a quantity, best first: a UCUM code alone, else the code and the text beside it."""
    if quantity.code and quantity.system == UCUM:
        return (quantity.code,)
    return tuple(name for name in (quantity.code, quantity.unit) if name)


def load_tables(site_tables: Sequence[Path] = ()) -> Tables:
    """The shipped tables with the site's laid over them, in order. Raises ConfigError naming file and row."""
    shipped = [(name, (files("dm_fhir.mappings") / "tables" / name).read_text(encoding="utf-8")) for name in SHIPPED]
    texts = [*shipped, *((str(path), _read(path)) for path in site_tables)]
    documents = [(name, _parse(name, text)) for name, text in texts]
    rows: dict[tuple[str, str], Row] = {}
    for name, document in documents:
        for kind in KINDS:
            for number, entry in enumerate(document.get(kind, []), start=1):
                _lay(rows, kind, entry, f"{name}, row {number}")
    aliases = {key: value for _, document in documents for key, value in document.get("aliases", {}).items()}
    rows = {key: _in_usual_systems(row, aliases) for key, row in rows.items()}
    return Tables(
        rows=rows,
        by_code=_index(rows, aliases, documents),
        aliases=aliases,
        mass_units=_factors({k: v for _, doc in documents for k, v in doc.get("dose", {}).get("units", {}).items()}),
        fingerprint=hashlib.sha256("\0".join(text for _, text in texts).encode()).hexdigest()[:16],
    )


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"the mapping table {path} cannot be read: {error}") from error


def _parse(name: str, text: str) -> dict[str, Any]:
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"the mapping table {name} is not TOML: {error}") from error
    found = faults(document, "mapping-table") or [*_zero_factors(document), *_twice(document)]
    if found:
        raise ConfigError(f"the mapping table {name} has {len(found)} fault{'s' * (len(found) > 1)}:", faults=found)
    return document


def _entries(document: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    return ((kind, entry) for kind in KINDS for entry in document.get(kind, []))


def _twice(document: Mapping[str, Any]) -> list[str]:
    """Codes that one file gives two meanings."""
    meaning: dict[tuple[str, str, str], str] = {}
    found = []
    for kind, entry in _entries(document):
        for code in entry.get("codes", []):
            variable = meaning.setdefault((kind, code["system"], code["code"]), entry["variable"])
            if variable != entry["variable"]:
                found.append(
                    f"{kind}: {code['system']}|{code['code']} means both '{variable}' and '{entry['variable']}'"
                )
    return found


def _zero_factors(document: Mapping[str, Any]) -> Iterator[str]:
    """Units whose factor would make every value 0."""
    for path, units in _units(document):
        for unit, factor in units.items():
            if _fraction(factor) == 0:
                yield f"{path}.{unit}: the factor must not be 0"


def _units(document: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, str]]]:
    """Every table of factors with its path."""
    yield "dose.units", document.get("dose", {}).get("units", {})
    for kind, entries in document.items():
        for index, entry in enumerate(entries if kind in KINDS else ()):
            yield f"{kind}[{index}].units", entry.get("units", {})
            yield f"{kind}[{index}].assumed_units", entry.get("assumed_units", {})
            for place, code in enumerate(entry.get("codes", [])):
                factors = {unit: dose["mg"] for unit, dose in code.get("dose_units", {}).items()}
                yield f"{kind}[{index}].codes[{place}].dose_units", factors


def _lay(rows: dict[tuple[str, str], Row], kind: str, entry: Mapping[str, Any], origin: str) -> None:
    key = (kind, entry["variable"])
    if entry.get("off"):
        rows.pop(key, None)
        return
    new = msgspec.structs.replace(_row(kind, entry), origin=origin)
    old = rows.get(key)
    rows[key] = new if old is None or entry.get("replace") else _merged(old, new)


def _row(kind: str, entry: Mapping[str, Any]) -> Row:
    codes = entry.get("codes", [])
    return Row(
        kind=kind,
        variable=entry["variable"],
        codes=tuple(Coding(code["system"], code["code"], code.get("display")) for code in codes),
        unit=entry.get("unit"),
        units=_factors(entry.get("units", {})),
        assumed_units=_factors(entry.get("assumed_units", {})),
        unitless=entry.get("unitless", False),
        range=_bounds(entry.get("range")),
        plausible=_bounds(entry.get("plausible")),
        scale=entry.get("scale"),
        answers=entry.get("answers", False),
        diagnosis=entry.get("diagnosis", False),
        subtype=entry.get("subtype"),
        label_dose_mg=_fraction(entry["label_dose_mg"]) if "label_dose_mg" in entry else None,
        dose_units={
            (code["system"], code["code"]): _dose_units(code["dose_units"]) for code in codes if "dose_units" in code
        },
    )


def _factors(units: Mapping[str, str]) -> dict[str, Fraction]:
    return {unit: _fraction(factor) for unit, factor in units.items()}


def _bounds(ends: Sequence[str] | None) -> tuple[Fraction, Fraction] | None:
    return (_fraction(ends[0]), _fraction(ends[1])) if ends else None


def _fraction(text: str) -> Fraction:
    numerator, _, denominator = text.partition("/")
    return Fraction(numerator) / Fraction(denominator or 1)


def _dose_units(units: Mapping[str, Mapping[str, str]]) -> dict[str, DoseUnit]:
    return {u: DoseUnit(_fraction(e["mg"]), _fraction(e["most"]) if "most" in e else None) for u, e in units.items()}


def _merged(old: Row, new: Row) -> Row:
    """The site's row added to ours: its codes and units come on top, and what it states it overrules."""
    stated = {
        name: value for name in Row.__struct_fields__ if (value := getattr(new, name)) not in (None, False, (), {})
    }
    for name in ("units", "assumed_units", "dose_units"):
        stated[name] = {**getattr(old, name), **getattr(new, name)}
    origin = f"{old.origin}; {new.origin}"
    return msgspec.structs.replace(old, **{**stated, "codes": old.codes + new.codes, "origin": origin})


def _in_usual_systems(row: Row, aliases: Mapping[str, str]) -> Row:
    """The row with its products under their code systems' usual names, as they are looked up."""
    units = {(aliases.get(system, system), code): known for (system, code), known in row.dose_units.items()}
    return msgspec.structs.replace(row, dose_units=units)


def _index(
    rows: Mapping[tuple[str, str], Row], aliases: Mapping[str, str], documents: Sequence[tuple[str, Mapping[str, Any]]]
) -> dict[tuple[str, str, str], Row]:
    index: dict[tuple[str, str, str], Row] = {}
    found = []
    for row in rows.values():
        for code in row.codes:
            system = aliases.get(code.system or "", code.system or "")
            other = index.setdefault((row.kind, system, code.code or ""), row)
            if other is not row:
                found.append(f"{row.kind}: {system}|{code.code} means both '{other.variable}' and '{row.variable}'")
    if found:
        names = ", ".join(name for name, _ in documents if name not in SHIPPED)
        raise ConfigError(
            f"the mapping tables contradict each other ({names}):",
            faults=found,
            hint="give the row replace = true, or switch the other off",
        )
    return index
