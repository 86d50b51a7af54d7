"""Import: scores that were kept in a table, into the store beside what the hospital's server says.

All of a file in one transaction with the ledger's row for it. A score is one Observation for ever: the same value changes
nothing, another one is a new version, and what a file no longer has is named, and withdrawn only on request.
"""

import sqlite3
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import msgspec

from dm_fhir.fhir.resource import NOT_READABLE, read_resource
from dm_fhir.store.database import transaction
from dm_fhir.store.filing import put_resources
from dm_fhir.store.ledger import Unit, get_unit, now, put_unit
from dm_fhir.store.quarantine import clear_set_aside, quarantined, set_aside
from dm_fhir.store.resources import bodies_with, resources_of_type
from dm_fhir.sync.mapper import Mapper

#: How the query of an imported file begins; the column map follows after `_BY`.
IMPORT = "import: "
_BY = " by "
FAULTY_ROWS, FAULTY_ROW = "faulty-rows", "faulty-row"
_WITHDRAWN = "entered-in-error"
_EXACT = msgspec.json.Decoder(dict[str, Any], float_hook=Decimal)
_ENCODER = msgspec.json.Encoder(decimal_format="number")


class Score(Protocol):
    """A score that was read: the id it has in the store, and the Observation that says it."""

    @property
    def id(self) -> str: ...
    @property
    def body(self) -> bytes: ...


class Plan(NamedTuple):
    """What an import changes: Observations to be put into the store. `gone` are references of scores no longer in the file."""

    new: list[bytes]
    amended: list[bytes]
    unchanged: int
    withdrawn: list[bytes]
    gone: list[str]

    def counts(self) -> dict[str, int]:
        """How many scores became what."""
        counts = {
            "new": len(self.new), "amended": len(self.amended), "unchanged": self.unchanged,
            "withdrawn": len(self.withdrawn),
        }  # fmt: skip
        return {name: count for name, count in counts.items() if count}


class FaultyRow(NamedTuple):
    """A row that was not taken whole: its line, columns and kinds of fault in words, and the row itself."""

    place: str
    body: bytes


def query_of(file: Path, column_map: Path) -> str:
    """The query by which the ledger knows an import."""
    return f"{IMPORT}{file}{_BY}{column_map}"


def file_and_map(query: str) -> tuple[str, str]:
    """The file and the column map of such a query."""
    file, _, column_map = query.removeprefix(IMPORT).rpartition(_BY)
    return file, column_map


def patients_by_identifier(db: sqlite3.Connection, site: str, mapper: Mapper) -> dict[tuple[str | None, str], set[str]]:
    """The site's patients by identifier (system, value), and by (None, `Patient/id`).

    Of patients whom the hospital has merged and who share an identifier, the one that remains.
    """
    found: dict[tuple[str | None, str], set[str]] = defaultdict(set)
    replaced: dict[str, set[str]] = defaultdict(set)
    for patient in resources_of_type(db, site, "Patient"):
        reference = f"Patient/{patient.id}"
        found[None, reference].add(reference)
        for kind, other in mapper.merges(patient.body):
            replaced[reference if kind == "replaced-by" else other].add(other if kind == "replaced-by" else reference)
        for one in _identifiers(patient.body):
            if one.system and one.value:
                found[one.system, one.value].add(reference)
    return {name: {one for one in some if not replaced[one] & some} or some for name, some in found.items()}


def plan_import(db: sqlite3.Connection, site: str, origin: str, scores: Iterable[Score], *, withdraw: bool) -> Plan:
    """What importing these scores would change. `origin` is what their Observations have as `meta.source`.

    Only with `withdraw` is what an earlier import of the same origin had, and these scores no longer have, withdrawn.
    """
    held = dict(bodies_with(db, site, "Observation", f'"source":"{origin}"'))
    plan = Plan([], [], 0, [], [])
    unchanged = 0
    for score in scores:
        before = held.pop(score.id, None)
        if before is None:
            plan.new.append(score.body)
        elif _says_the_same(before, score.body):
            unchanged += 1
        else:
            plan.amended.append(_with_status(score.body, "amended"))
    for id_, body in held.items():
        if _status(body) != _WITHDRAWN:
            plan.gone.append(f"Observation/{id_}")
            plan.withdrawn.extend([_with_status(body, _WITHDRAWN)] if withdraw else [])
    return plan._replace(unchanged=unchanged)


def carry_out(
    db: sqlite3.Connection, site: str, query: str, plan: Plan, rows: int, faulty: Sequence[FaultyRow], run: int
) -> None:
    """Put all of it into the store, and the ledger's row: partial while nobody has mended or acknowledged a faulty row."""
    with transaction(db):
        before = get_unit(db, site, "", query)
        changed = [read_resource(body) for body in (*plan.new, *plan.amended, *plan.withdrawn)]
        put_resources(db, site, changed, run, "file")
        for row in faulty:
            set_aside(db, site, "", query, row.place, FAULTY_ROW, row.body, run)
        clear_set_aside(db, site, query, "", run)
        still_open = _not_acknowledged(db, site, query)
        put_unit(db, Unit(
            site, "", query, state="partial" if still_open else "complete", received=rows,
            unique=len(changed) + plan.unchanged, pages=1, reason=FAULTY_ROWS if still_open else None,
            message=f"{still_open} of {rows} rows have faults" if still_open else None, notes=_notes(plan, faulty),
            watermark=(before.watermark if before else None) if still_open else now(), run=run,
        ))  # fmt: skip


def _notes(plan: Plan, faulty: Sequence[FaultyRow]) -> dict[str, int]:
    counts = Counter({f"imported_{name}": count for name, count in plan.counts().items()})
    return dict(counts + Counter(faulty_rows=len(faulty), imported_gone=len(plan.gone)))


def _not_acknowledged(db: sqlite3.Connection, site: str, query: str) -> int:
    aside: Sequence[Any] = quarantined(db, site)
    return sum(one.acknowledged is None and one.place.startswith(f"{query}, ") for one in aside)


def _says_the_same(before: bytes, after: bytes) -> bool:
    """Whether both say the same; the first may be the correction of something older, but not withdrawn."""
    one, other = _EXACT.decode(before), _EXACT.decode(after)
    return one["status"] != _WITHDRAWN and one | {"status": ""} == other | {"status": ""}


def _with_status(body: bytes, status: str) -> bytes:
    return _ENCODER.encode(_EXACT.decode(body) | {"status": status})


def _status(body: bytes) -> str:
    return str(_EXACT.decode(body).get("status"))


class _Identifier(msgspec.Struct, frozen=True):
    system: str | None = None
    value: str | None = None


class _Identified(msgspec.Struct, frozen=True):
    identifier: tuple[_Identifier, ...] = ()


def _identifiers(body: bytes) -> Collection[_Identifier]:
    try:
        return msgspec.json.decode(body, type=_Identified).identifier
    except NOT_READABLE:  # the mapping reports it
        return ()
