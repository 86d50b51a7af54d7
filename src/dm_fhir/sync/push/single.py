"""One item written, whatever the server answers: looked up before anything is sent a second time, and three times at most."""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple

from dm_fhir.errors import LoginRefused, RequestFailed, ServerUnavailable, WriteUnsettled
from dm_fhir.fhir.connection import Connection
from dm_fhir.fhir.resource import Resource
from dm_fhir.sync.push.content import altered, fingerprint
from dm_fhir.sync.push.plan import Item
from dm_fhir.sync.push.request import Write, Written, send_one, token, tokens, without_servers_own
from dm_fhir.sync.push.resolve import Holding, IsOurs, look, look_until_found, read
from dm_fhir.sync.push.ways import Way, Ways

State = Literal["confirmed", "retracted", "rejected", "conflict", "sending", "blocked"]
#: How often an item is sent at most in one push.
MOST_TRIES = 3
#: The server holds another version than we thought, or several. What it holds says more than which of the two it answers.
_MOVED = (409, 412)
_GONE = (404, 410)
#: Refusals that say as much of the server as of what was sent.
_OF_THE_WAY = (400, 404, 405, 406, 409, 412, 415, 422, 428, 501)
#: Statuses of a server, or a gateway before it, that has no time.
AWAY = (429, 502, 503, 504)


class NothingMayBeWritten(LoginRefused):
    """The server lets us in and lets us write nothing."""


class Ended(NamedTuple):
    """What became of an item. `content`: what the server holds of it where that is not what we sent.

    `was_sent`: this push has written it. `status` is that of a refusal.
    """

    item: Item
    state: State
    message: str | None = None
    server_id: str | None = None
    version: str | None = None
    content: bytes | None = None
    was_sent: bool = False
    status: int | None = None

    @property
    def may_be_the_way(self) -> bool:
        """Whether another way of writing may do."""
        return self.state in ("rejected", "conflict") and self.status in _OF_THE_WAY


class Writer(NamedTuple):
    """How one server is written to. Used by all threads of a push."""

    connection: Connection
    ways: Ways
    is_ours: IsOurs

    def look(self, items: Sequence[Item], *, exactly: bool = True) -> dict[str, Holding]:
        """What the server holds of each, by identifier. Without `exactly` it may be late where the server guards its updates."""
        return look(self.connection, items, self.is_ours, exactly=exactly or not self.ways.guards_updates)

    def look_until_found(self, items: Sequence[Item], waited_seconds: float = 0) -> dict[str, Holding]:
        """The same after a write that may have been carried out."""
        is_immediate = self.ways.is_immediate
        return look_until_found(
            self.connection, items, self.is_ours, is_immediate=is_immediate, waited_seconds=waited_seconds
        )

    def rest(self, seconds: float | None) -> None:
        """Leave the server alone for as long as it asks."""
        if seconds:
            self.connection.pace.wait(min(seconds, self.connection.limits.longest_wait_seconds), Counter())


def write_one(writer: Writer, write: Write, way: Way, tries: int = MOST_TRIES) -> Ended:
    """Write one item by this way. Raises ServerUnavailable where the server has no time, LoginRefused where nothing may be written."""
    item, copy = write
    said = ""
    for tried in range(1, tries + 1):
        written: Written | None = None
        unsettled: WriteUnsettled | None = None
        if copy is None and way == "search":
            ended, copy = decide(item, writer.look([item])[item.identifier])
            if ended is not None:
                return ended
        try:
            written = send_one(writer.connection, way, Write(item, copy))
        except WriteUnsettled as error:
            unsettled, said = error, error.message
        except RequestFailed as error:
            if error.status in AWAY:
                raise ServerUnavailable(error.message, reason=error.reason, hint="run again later") from None
            return Ended(item, "sending", error.message, status=error.status)
        if written is not None and written.is_done and not _may_be_another(written, way, copy):
            return accepted(writer, item, written)
        is_unknown = written is None or written.is_unknown
        if written is not None and not is_unknown and not written.is_done and not _has_moved(written, copy):
            return refused(writer, item, written)
        if unsettled is not None:
            writer.rest(unsettled.wait_seconds)
        look_again = writer.look_until_found if is_unknown else writer.look
        ended, copy = decide(item, look_again([item])[item.identifier])
        if ended is not None:
            return ended._replace(was_sent=is_unknown)
        if written is not None:
            said = f"answered {written.status or 'nothing that can be read'}, {tried} times{_said(written)}"
    if unsettled is not None and unsettled.status in AWAY:
        raise ServerUnavailable(unsettled.message, reason=unsettled.reason, hint="run again later")
    if written is not None and written.status in _MOVED:
        name = copy.reference if copy else "it"
        return Ended(item, "conflict", f"{name} cannot be written: {said}", status=written.status)
    return Ended(item, "sending", said)


def decide(item: Item, holding: Holding) -> tuple[Ended | None, Resource | None]:
    """What the server's copy says before we write: how it has ended; else None, and the copy that may be written over."""
    match holding.kind:
        case "same":  # an earlier run, or an earlier try, was cut off after the server had stored it
            return confirmed(item, holding.copy), None
        case "ours":
            return None, holding.copy
        case "foreign":
            which = f" (version {holding.copy.version})" if holding.copy.version else ""
            message = f"{holding.copy.reference} was changed by someone else{which}; left as it is"
            return Ended(item, "conflict", message), None
        case "several":
            return Ended(item, "conflict", several(holding.copies)), None
    if item.action == "retract":
        return Ended(item, "retracted"), None
    if holding.kind == "gone" and item.before is not None:
        return Ended(item, "conflict", f"{item.before.server_id} is no longer on the server; not written again"), None
    return None, None


def several(copies: Sequence[Resource]) -> str:
    """What to say of several copies of one result."""
    references = ", ".join(copy.reference for copy in copies)
    return f"{len(copies)} copies of one result on the server; see push --repair: {references}; none was changed"


def confirmed(item: Item, copy: Resource) -> Ended:
    """The server holds what we want to be there."""
    content = without_servers_own(copy.body) if fingerprint(copy.body) != fingerprint(item.body) else None
    return Ended(item, _settled(item), None, copy.reference, copy.version, content)


def accepted(writer: Writer, item: Item, written: Written) -> Ended:
    """What was carried out, as far as the answer shows what the server holds now; what it does not show is looked up."""
    return next(accepted_together(writer, [(item, written)]))


def accepted_together(writer: Writer, done: Sequence[tuple[Item, Written]]) -> Iterator[Ended]:
    """The same for several, with as few requests as they need."""
    writer.ways.has_written = True
    holdings = writer.look([item for item, written in done if written.content is None])
    nameless = [item for item, written in done if written.server_id is None and not holdings[item.identifier].copies]
    holdings |= writer.look_until_found(nameless)
    for item, written in done:
        if written.content is not None:
            yield kept(writer, item, written.content)
            continue
        holding = holdings[item.identifier]
        if holding.kind == "several":
            yield Ended(item, "conflict", several(holding.copies), was_sent=True)
        elif holding.copies and written.version in (None, holding.copy.version):
            yield kept(writer, item, holding.copy)
        else:  # a search is late
            copy = read(writer.connection, written.server_id) if written.server_id else None
            late = Ended(item, "sending", "the server has taken it and does not show it yet", was_sent=True)
            yield kept(writer, item, copy) if copy else late


def kept(writer: Writer, item: Item, copy: Resource) -> Ended:
    """How an item has ended that was carried out, by what the server kept of it."""
    settled = Ended(item, _settled(item), None, copy.reference, copy.version, was_sent=True)
    if token(item) not in tokens(copy.body):
        writer.ways.loses_identifiers()
        return settled._replace(
            state="conflict",
            message=f"the server dropped the identifier of {copy.reference}",
            content=without_servers_own(copy.body),
        )
    if fingerprint(copy.body) == fingerprint(item.body):
        return settled
    if differing := altered(copy.body, item.body):
        message = f"the server changed {', '.join(differing)} of {copy.reference}"
        return settled._replace(state="rejected", message=message, content=without_servers_own(copy.body))
    return settled


def refused(writer: Writer, item: Item, written: Written) -> Ended:
    """What the server will not have. Raises LoginRefused where it has let us write nothing yet."""
    if written.status == 403 and not writer.ways.has_written:
        raise NothingMayBeWritten(
            f"the server lets us write nothing (403){_said(written)}",
            hint="ask the hospital for the scope system/Observation.write (or .cu), and name it in [site.auth] scope",
        )
    if written.status == 413:
        writer.ways.is_not_the_size()
    at = f" at {written.element}" if written.element else ""
    return Ended(item, "rejected", f"answered {written.status}{at}{_said(written)}", status=written.status)


def _settled(item: Item) -> State:
    return "retracted" if item.action == "retract" else "confirmed"


def _may_be_another(written: Written, way: Way, copy: Resource | None) -> bool:
    """Whether the server may have found one that was there already, and changed nothing."""
    return way == "conditional-create" and copy is None and written.status == 200


def _has_moved(written: Written, copy: Resource | None) -> bool:
    """Whether the server refuses because of what it holds already, or no longer."""
    return written.status in _MOVED or (copy is not None and written.status in _GONE)


def _said(written: Written) -> str:
    return f": {written.said}" if written.said else ""
