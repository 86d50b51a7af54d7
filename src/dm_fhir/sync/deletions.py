"""What the hospital has deleted: a stored resource that a complete answer no longer holds is asked for by its id.

404 and 410 make a tombstone, never a removal; whatever is still readable is kept and counted.
"""

from collections import Counter
from collections.abc import Collection, Sequence

import msgspec

from dm_fhir.errors import AnswerUnusable, RequestFailed
from dm_fhir.fhir.resource import Resource, Unusable, digest, read_resource
from dm_fhir.fhir.search import Search, read_url
from dm_fhir.fhir.transport import Answer
from dm_fhir.store.filing import delete_resource, put_resources
from dm_fhir.store.ledger import Unit, now
from dm_fhir.store.resources import ids_from_server, stored_resource
from dm_fhir.sync.puller import Puller
from dm_fhir.sync.query import Query

GONE = (404, 410)
_HISTORY_PAGES = 20


def was_full(unit: Unit | None) -> bool:
    """Whether the unit was once read in full: only then can something of it be missing now."""
    return unit is not None and unit.read_in_full is not None


def find_deleted(
    puller: Puller, query: Query, patients: Sequence[str], seen: Collection[str], notes: Counter[str]
) -> None:
    """Look for what a full and complete answer to the query should have held, but did not."""
    if not patients:
        return
    with puller.reading() as db:
        held = list(ids_from_server(db, puller.name, query.type, patients))
    for subject, id_ in held:
        reference = f"{query.type}/{id_}"
        if reference not in seen and _belongs(puller, query, subject, reference):
            notes["missing_from_search"] += reread(puller, reference, notes)


def find_in_history(puller: Puller, type_name: str, changed_since: str, notes: Counter[str]) -> None:
    """What the server's own history of a type says has been deleted since then, as far as we hold it.

    Everybody's changes pass by here; nothing of them is kept.
    """
    search = Search(f"{type_name}/_history", (("_since", changed_since),), puller.settings.page_size, strict=False)
    address = search.url
    for _ in range(_HISTORY_PAGES):
        bundle = puller.connection.ask(_read_history, "GET", address, notes=notes)
        for entry in bundle.entry:
            if entry.request and entry.request.method == "DELETE" and (reference := _reference(entry, type_name)):
                with puller.reading() as db:
                    is_held = stored_resource(db, puller.name, reference) is not None
                if is_held:
                    reread(puller, reference, notes)
        following = next((link.url for link in bundle.link if link.relation == "next" and link.url), None)
        if following is None:
            return
        address = following
    notes["history_cut_short"] += 1


def _belongs(puller: Puller, query: Query, subject: str, reference: str) -> bool:
    """Whether this query would have brought the resource: another one may be responsible for it."""
    with puller.reading() as db:
        body = stored_resource(db, puller.name, reference)
    if body is None:
        return False
    type_name, _, id_ = reference.partition("/")
    resource = Resource(type_name, id_, None, None, subject, body, digest(body))
    return query.wanted(resource) and all(fits(resource) for _, fits in query.filters)


def reread(puller: Puller, reference: str, notes: Counter[str]) -> bool:
    """Ask for one resource by its id, and keep what the server says of it now: another content, or that it is gone.

    Whether the server still has it.
    """
    try:
        answer = puller.connection.get(read_url(reference), accept=GONE, notes=notes)
    except RequestFailed:
        notes["missing_not_readable"] += 1
        return False
    type_name, _, id_ = reference.partition("/")
    with puller.writing() as db:
        if answer.status in GONE:
            notes["deleted"] += delete_resource(db, puller.name, type_name, id_, now())
            return False
        try:
            resource = read_resource(answer.body)
        except Unusable:
            return True
        if resource.reference == reference:
            put_resources(db, puller.name, [resource], puller.run)
    return True


class _Request(msgspec.Struct, frozen=True):
    method: str | None = None
    url: str | None = None


class _Entry(msgspec.Struct, frozen=True):
    fullUrl: str | None = None
    request: _Request | None = None


class _Link(msgspec.Struct, frozen=True):
    relation: str | None = None
    url: str | None = None


class _History(msgspec.Struct, frozen=True):
    resourceType: str | None = None
    entry: tuple[_Entry, ...] = ()
    link: tuple[_Link, ...] = ()


def _read_history(answer: Answer) -> _History:
    try:
        history = msgspec.json.decode(answer.body, type=_History)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        history = _History()
    if history.resourceType != "Bundle":
        raise AnswerUnusable("the answer is no history", reason="not-fhir")
    return history


def _reference(entry: _Entry, type_name: str) -> str | None:
    """`Type/id` of what a history entry is about."""
    for url in (entry.request.url if entry.request else None, entry.fullUrl):
        parts = (url or "").partition("/_history/")[0].rstrip("/").split("/")
        if len(parts) >= 2 and parts[-2] == type_name:
            return "/".join(parts[-2:])
    return None
