"""Several copies of one result on a server: all but one are set to entered-in-error, on request only."""

import sqlite3
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from dm_fhir.config import Site
from dm_fhir.errors import RequestFailed, ServerUnavailable, WriteUnsettled
from dm_fhir.fhir.capability import read_capability
from dm_fhir.fhir.connection import Connection
from dm_fhir.fhir.resource import Resource
from dm_fhir.fhir.vendors import vendor_of
from dm_fhir.store.audit import note_written
from dm_fhir.store.database import batched, transaction
from dm_fhir.store.facts import facts, remember
from dm_fhir.store.pushes import Pushed, each_pushed, pushed, put_push
from dm_fhir.store.transmissions import begin_transmission, set_state
from dm_fhir.sync.mapper import Mapper
from dm_fhir.sync.push.content import fingerprint
from dm_fhir.sync.push.plan import Item
from dm_fhir.sync.push.provenance import document
from dm_fhir.sync.push.request import REFUSALS, refusal, token, tokens, with_id, without_servers_own
from dm_fhir.sync.push.resolve import find, is_retired, read
from dm_fhir.sync.push.result import Result, counted
from dm_fhir.sync.push.ways import Ways

#: So many are looked for at a time: what is found of them is held.
_TOGETHER = 200
_SETTLED_NEXT = "repaired: one copy is left, and the next push brings it up to date: run dm-fhir push again"


class Copies(NamedTuple):
    """One result that a server holds more than once: the copy that stays, and the others, which hold our identifier too.

    `name` is the identifier (`system|value`), `row` what the ledger knows of it, None where it knows nothing.
    """

    name: str
    row: Pushed | None
    patient: str
    variable: str
    kept: Resource
    others: tuple[Resource, ...]


def copies_of(db: sqlite3.Connection, site: Site, connection: Connection, items: Iterable[Item]) -> list[Copies]:
    """The results of which the server holds several copies, of all that was written to the site or is to be. Nothing is written.

    The one that the ledger knows stays, else the oldest of those that say what we wrote, else the oldest. Raises RequestFailed,
    ServerUnavailable or LoginRefused.
    """
    planned = {item.identifier: (token(item), item.patient, item.variable) for item in items if item.body}
    rows = ((row, _name(row)) for row in pushed(db, site.name))
    written = {row.identifier: (name, row.patient, row.variable) for row, name in rows if name}
    several = []
    for some in batched([*(planned | written).items()], _TOGETHER):
        found = find(connection, [name for _, (name, *_) in some])
        standing = {name: [copy for copy in copies if not is_retired(copy)] for name, copies in found.items()}
        for identifier, (name, patient, variable) in some:
            if len(standing[name]) > 1:
                row = next(each_pushed(db, site.name, [identifier]), None)
                kept = _kept(standing[name], row)
                others = tuple(copy for copy in standing[name] if copy is not kept)
                several.append((identifier, Copies(name, row, patient, variable, kept, others)))
    return [copies for _, copies in sorted(several, key=lambda one: one[0])]


def repair_site(
    db: sqlite3.Connection, site: Site, connection: Connection, mapper: Mapper, run: int, items: Iterable[Item]
) -> Result:
    """Look for copies of everything that was written to the site or is to be, and retire all but one of each; see `copies_of`.

    Only what holds our identifier is touched, and only in the version that was looked at. `counts`: "repaired" results;
    `troubles`: copies that could not be retired. Raises what `copies_of` raises.
    """
    troubles: list[str] = []
    retired: list[tuple[str, str | None]] = []
    repaired = 0
    for one in copies_of(db, site, connection, items):
        ended = [_retire(connection, mapper, copy, one.name) for copy in one.others]
        troubles += [said for said in ended if isinstance(said, str)]
        done = [copy for copy in ended if isinstance(copy, Resource)]
        retired += [(copy.reference, copy.version) for copy in done]
        repaired += len(done) == len(ended)
        with transaction(db):
            note_written(db, run, site.name, "retract", [(one.patient, copy.reference) for copy in done])
            if one.row is not None and len(done) == len(ended):
                put_push(db, site.name, _after(one.row, one.kept), run)
    remarks = _documented(db, site, connection, mapper, run, retired) if retired else []
    said = (
        [f"{counted(len(retired), 'copy', 'copies')} set to entered-in-error"] if retired else ["no result has copies"]
    )
    return Result({"repaired": repaired}, {}, troubles, [*said, *remarks], len(retired), 0, 0, 0, {})


def _name(row: Pushed) -> str | None:
    return next((name for name in tokens(row.body) if name.endswith(f"|{row.identifier}")), None)


def _kept(standing: Sequence[Resource], row: Pushed | None) -> Resource:
    """The one that stays."""
    by_age = sorted(standing, key=lambda copy: (copy.last_updated or "", copy.reference))
    known = [copy for copy in by_age if row is not None and copy.reference == row.server_id]
    ours = [copy for copy in by_age if row is not None and fingerprint(copy.body) in (fingerprint(row.body), row.hash)]
    return [*known, *ours, *by_age][0]


def _retire(connection: Connection, mapper: Mapper, copy: Resource, name: str) -> Resource | str:
    """The copy as it stands now, taken back; or why it is not."""
    body = with_id(mapper.taken_back(without_servers_own(copy.body)), copy.id)
    guard = {"If-Match": f'W/"{copy.version}"'} if copy.version else {}
    try:
        answer = connection.request(
            "PUT", copy.reference, body=body, headers=guard, accept=REFUSALS, place="PUT Observation"
        )
        if answer.status in REFUSALS:
            return f"{copy.reference} is left as it is: answered {answer.status}: {refusal(connection, answer).said}"
    except WriteUnsettled:
        pass  # what is there now tells
    except RequestFailed as error:
        return f"{copy.reference} is left as it is: {error.message}"
    now = read(connection, copy.reference)
    if now is None or not is_retired(now) or name not in tokens(now.body):
        return f"{copy.reference} does not say entered-in-error when it is read back"
    return now


def _after(row: Pushed, kept: Resource) -> Pushed:
    """The ledger's row of a result of which one copy is left. Of what the ledger knew no id before, that copy is ours now."""
    if fingerprint(kept.body) == row.hash:
        state = "retracted" if row.state == "retracted" else "confirmed"
        return row._replace(state=state, server_id=kept.reference, version=kept.version, message=None)
    body = row.body if row.server_id else without_servers_own(kept.body)
    return row._replace(
        state="sending", server_id=kept.reference, version=kept.version, message=_SETTLED_NEXT, body=body
    )


def _documented(
    db: sqlite3.Connection,
    site: Site,
    connection: Connection,
    mapper: Mapper,
    run: int,
    retired: Sequence[tuple[str, str | None]],
) -> list[str]:
    """Write the Provenance of the retired copies; what there is to say of that."""
    capability = read_capability(connection)

    def keep(name: str, value: str) -> None:
        remember(db, site.name, name, value)

    ways = Ways(site, capability, vendor_of(capability, site.vendor), facts(db, site.name), keep)
    with transaction(db):
        transmission = begin_transmission(db, site.name, run, "NULLIFY")
    name = None
    try:
        name = document(connection, ways, mapper, transmission, retired, is_new=True) if ways.takes_provenance else None
    except (RequestFailed, ServerUnavailable) as error:
        ways.remark(f"no Provenance of it is on the server: {error.message}")
    set_state(db, transmission.number, "documented" if name else "undocumented", name)
    return ways.remarks
