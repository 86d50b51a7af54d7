"""A score from a table <-> Observation, as the store keeps it and as it is written to the hospital.

Its id and its identifier say which score it is (site, column map, patient, variable, time), and tell nothing of the patient. So a
corrected value gives the same Observation a new version, however often and from whichever file it comes.
"""

import hashlib
import re
from collections.abc import Collection, Iterable
from datetime import tzinfo
from decimal import Decimal
from typing import Any, NamedTuple

import msgspec

from dm_fhir.mappings import category, measured, observation
from dm_fhir.mappings.codes import UCUM, Row, Tables
from dm_fhir.mappings.datatypes import write
from dm_fhir.model.case import Assessment, Coding, Concept, Identifier, Measured, Quantity, Source
from dm_fhir.model.dates import with_zone

IDENTIFIER_SYSTEM = "https://w3id.org/dm-fhir/imported"
_ID = re.compile(r"dm-fhir-import-([0-9a-f]{32})")
_EXACT = msgspec.json.Decoder(dict[str, Any], float_hook=Decimal)


class Value(NamedTuple):
    """What a cell says of a variable: a number with its unit, or an answer as the tables call it."""

    quantity: Quantity | None = None
    answer: str | None = None


class ImportedResource(NamedTuple):
    """A score ready to be kept or written: its identifier, and the Observation as FHIR JSON."""

    identifier: str
    body: bytes


def origin(name: str) -> str:
    """Where the scores of a column map come from, as `meta.source` of their Observations says it."""
    return f"https://w3id.org/dm-fhir/import/{name}"


def identifier(site: str, name: str, patient: str, variable: str, when: str) -> str:
    """The business identifier of a score that the column map `name` reads."""
    return hashlib.sha256("\0".join((site, name, patient, variable, when)).encode()).hexdigest()[:32]


def identifier_of(reference: str) -> str | None:
    """The identifier of the imported score that `Observation/id` is in the store; None if it is none."""
    form = _ID.fullmatch(reference.removeprefix("Observation/"))
    return form[1] if form else None


def copied(identifiers: Iterable[Identifier], held: Collection[str | None]) -> bool:
    """Whether one of the identifiers is that of an imported score that is `held` itself."""
    return any(one.system == IDENTIFIER_SYSTEM and one.value in held for one in identifiers)


def assessment(name: str, value: Value, row: Row, tables: Tables, when: str, source: Source) -> Assessment:
    """The score as recorded and what it comes to. `name` is its identifier, `source` its own reference."""
    answer = tables.rows["answer", value.answer].codes[:1] if value.answer else ()
    recorded = Measured(
        concept=tables.concept("measurement", row.codes[:1], None),
        quantity=value.quantity,
        coded=Concept(answer) if answer else None,
    )
    return Assessment(
        source=source,
        status="final",
        identifiers=(Identifier(IDENTIFIER_SYSTEM, name),),
        categories=_categories(row),
        when=when,
        measured=measured.evaluated(recorded, tables),
    )


def to_fhir(
    score: Assessment, patient: str, column_map: str, method: str | None = None, assessor: str | None = None
) -> bytes:
    """The Observation of a score of `patient` (a reference), for the store."""
    document = _EXACT.decode(write(observation.to_fhir(score, patient)))
    document["meta"] = {"source": origin(column_map)}
    if method:
        document["method"] = {"text": method}
    if assessor:
        document["performer"] = [{"display": assessor}]
    return _ENCODER.encode(document)


def to_server(body: bytes, zone: tzinfo) -> ImportedResource:
    """The score as it is written to the hospital: without the store's id, a time with the site's zone."""
    from fhir.resources.R4B.observation import Observation

    document = {name: value for name, value in _EXACT.decode(body).items() if name not in ("id", "meta")}
    document["effectiveDateTime"] = with_zone(document["effectiveDateTime"], zone)
    name = document["identifier"][0]["value"]
    return ImportedResource(name, Observation.model_validate(document).model_dump_json().encode())


def quantity(value: Decimal, comparator: str | None, unit: str | None, row: Row) -> Quantity:
    """A number with its unit; one that needs none is in the variable's own."""
    unit = unit or (row.unit if row.unitless else None)
    is_own = unit is not None and unit == row.unit
    return Quantity(value, comparator, unit, UCUM if is_own else None, unit if is_own else None)


def _categories(row: Row) -> tuple[Concept, ...]:
    code = "laboratory" if row.answers else category.category(row.variable)
    return (Concept((Coding(category.SYSTEM, code),)),) if code else ()


_ENCODER = msgspec.json.Encoder(decimal_format="number")
