"""What the server holds of ours: looked up by identifier past its caches, and by the id that it gave us.

A search may be late, so that it never proves that something is absent; a read by id is not, so that what we know by id is read.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Literal, NamedTuple, TypeVar
from urllib.parse import quote

from dm_fhir.errors import RequestFailed, ServerUnavailable
from dm_fhir.fhir.connection import TRY_AGAIN, Connection
from dm_fhir.fhir.page import Page, read_page
from dm_fhir.fhir.resource import Resource, Unusable, read_resource
from dm_fhir.store.database import batched
from dm_fhir.sync.push.content import fingerprint, same_but_status, status_of
from dm_fhir.sync.push.plan import Item
from dm_fhir.sync.push.request import token, tokens

T = TypeVar("T")
#: Identifiers in one search: addresses have to stay short.
_TOGETHER = 20
#: Copies of one resource that are looked at; a search's page has room for so many of each.
_MOST_COPIES = 5
_MOST_PAGES = 50
#: How long to wait in all, and in which steps, until a search may be believed that something is not there.
_STEPS_SECONDS = (1, 2, 4, 8, 15, 30)
_STEPS_OF_IMMEDIATE_SECONDS = (1,)
_NO_CACHE = {"Cache-Control": "no-cache"}
_RETIRED = "entered-in-error"
_STANDING = ("final", "amended", "corrected")
#: Whether this program has written a resource as it stands, as the server itself documents it.
IsOurs = Callable[[Resource], bool]


class Holding(NamedTuple):
    """What the server holds of one item.

    `same`: what we want to be there, or what differs from it in nothing but final, amended or corrected. `ours`: what we wrote before. `foreign`: something else. `absent`: nothing. `gone`:
    nothing, though it told us an id. `several`: more than one copy.
    """

    kind: Literal["same", "ours", "foreign", "absent", "gone", "several"]
    copies: tuple[Resource, ...] = ()

    @property
    def copy(self) -> Resource:
        """The one that is there."""
        return self.copies[0]


def is_retired(copy: Resource) -> bool:
    """Whether it says of itself that it does not hold."""
    return status_of(copy.body) == _RETIRED


def find(connection: Connection, names: Sequence[str]) -> dict[str, list[Resource]]:
    """By identifier (`system|value`) all the Observations that a search finds now. Raises what a request raises."""
    found: dict[str, list[Resource]] = {name: [] for name in names}
    for some in batched(names, _TOGETHER):
        _search(connection, some, found)
        missing = [name for name in some if not found[name]]
        if len(missing) < len(some) or len(some) == 1:
            continue
        for name in missing:  # perhaps it does not search for several at a time
            _search(connection, [name], found)
            if not found[name]:
                break
    return found


def read(connection: Connection, reference: str) -> Resource | None:
    """The current version of `Observation/id`; None where the server says that there is none. Raises what a request raises."""
    kind, _, id_ = reference.partition("/")
    answer = _asked(partial(connection.get, f"{kind}/{quote(id_, safe='')}", accept=(404, 410), headers=_NO_CACHE))
    if answer.status in (404, 410):
        return None
    try:
        return read_resource(answer.body)
    except Unusable:
        raise RequestFailed(f"the answer for {reference} is no resource", reason="not-fhir") from None


def holds_only(connection: Connection, system: str, reference: str) -> bool:
    """Whether a search for all identifiers of a system is shown to work, and there is this one resource and no other."""
    try:
        page = _page(connection, f"Observation?identifier={quote(f'{system}|', safe='')}&_count=2")
    except RequestFailed:
        return False
    return page.next_url is None and [one.reference for one in page.resources] == [reference]


def look(connection: Connection, items: Sequence[Item], is_ours: IsOurs, *, exactly: bool = True) -> dict[str, Holding]:
    """What the server holds of each item, by its identifier. Without `exactly` what a search finds is good enough, late or not."""
    names = {item.identifier: token(item) for item in items}
    found = find(connection, list(names.values()))
    return {
        item.identifier: _holding(connection, item, found[names[item.identifier]], is_ours, exactly=exactly)
        for item in items
    }


def look_until_found(
    connection: Connection, items: Sequence[Item], is_ours: IsOurs, *, is_immediate: bool, waited_seconds: float = 0
) -> dict[str, Holding]:
    """The same after a write whose end is not known: what is absent is looked for again until the server's index has had time."""
    holdings = look(connection, items, is_ours)
    for seconds in _STEPS_OF_IMMEDIATE_SECONDS if is_immediate else _STEPS_SECONDS:
        absent = [item for item in items if holdings[item.identifier].kind == "absent"]
        if not absent:
            break
        if waited_seconds < seconds:
            connection.pace.wait(seconds - waited_seconds, Counter())
            holdings |= look(connection, absent, is_ours)
        waited_seconds = max(0.0, waited_seconds - seconds)
    return holdings


def _search(connection: Connection, names: Sequence[str], into: dict[str, list[Resource]]) -> None:
    wanted = quote(",".join(names), safe="")
    url: str | None = f"Observation?identifier={wanted}&_count={len(names) * _MOST_COPIES}"
    for _ in range(_MOST_PAGES):
        if url is None:
            return
        page = _page(connection, url)
        for resource in page.resources:
            for name in tokens(resource.body):
                if name in into and resource.reference not in [one.reference for one in into[name]]:
                    into[name].append(resource)
        url = page.next_url


def _page(connection: Connection, url: str) -> Page:
    read_this = partial(read_page, connection=connection, place="search for what was written")
    return _asked(
        partial(connection.ask, read_this, "GET", url, headers=_NO_CACHE, place="search for what was written")
    )


def _asked(request: "partial[T]") -> T:
    """The answer. Raises ServerUnavailable where the server keeps failing: going on is pointless then."""
    try:
        return request()
    except RequestFailed as error:
        if error.status in TRY_AGAIN and error.status != 500:
            raise ServerUnavailable(error.message, reason=error.reason, hint="run again later") from None
        raise


def _holding(
    connection: Connection, item: Item, found: Iterable[Resource], is_ours: IsOurs, *, exactly: bool
) -> Holding:
    known = item.before.server_id if item.before else None
    copies = {copy.reference: copy for copy in found}
    if known is not None and (exactly or known not in copies):
        current = read(connection, known)
        copies.pop(known, None)
        copies |= {known: current} if current is not None else {}
    # A copy that was taken back is none, unless it is the one that we know.
    standing = [copy for copy in copies.values() if copy.reference == known or not is_retired(copy)]
    standing = standing or list(copies.values())
    if not standing:
        return Holding("absent" if known is None else "gone")
    if len(standing) > 1:
        return Holding("several", tuple(sorted(standing, key=lambda copy: copy.reference)))
    return Holding(_kind(item, standing[0], is_ours), (standing[0],))


def _kind(item: Item, copy: Resource, is_ours: IsOurs) -> Literal["same", "ours", "foreign"]:
    kept = fingerprint(copy.body)
    if kept == fingerprint(item.body):
        return "same"
    # What we last wrote; or were writing when we were cut off, and the outcome has changed again since. What the ledger does not
    # know, since it is new or an older copy of it was put back, is ours only if a Provenance of ours names this very version.
    known = (fingerprint(item.before.body), item.before.hash) if item.before else ()
    if kept not in known and not is_ours(copy):
        return "foreign"
    stand = status_of(copy.body) in _STANDING and status_of(item.body) in _STANDING
    return "same" if stand and same_but_status(copy.body, item.body) else "ours"
