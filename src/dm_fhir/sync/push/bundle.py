"""Many items written together, as transaction Bundles: each entry's end found out, whatever the server makes of the whole.

A Bundle that is too large is halved, and that is remembered. One that is refused for a bad entry is sent without it. One that a
server has carried out in part, or of which nobody knows, is looked up entry by entry before anything is sent again.
"""

import re
from collections.abc import Iterator, Sequence

from dm_fhir.errors import RequestFailed, ServerUnavailable, WriteUnsettled
from dm_fhir.store.database import batched
from dm_fhir.sync.push.request import Write, Written, send_bundle
from dm_fhir.sync.push.single import AWAY, MOST_TRIES, Ended, Writer, accepted_together, decide, refused, write_one

_TOO_LARGE = re.compile(r"exceed|too many|too large|limit|maximum", re.IGNORECASE)
#: Ends of a request that a smaller Bundle may not meet.
_TOO_SLOW = ("read-timeout", "too-slow", "http-504", "http-408")
#: The server does not hold what we thought: that is told apart entry by entry.
_ONE_BY_ONE = (409, 412)


def write_bundles(writer: Writer, writes: Sequence[Write], tries: int = MOST_TRIES) -> Iterator[Ended]:
    """Write all of them, in Bundles as large as the server takes. Raises what `write_one` raises."""
    start = 0
    while start < len(writes):  # the size may shrink on the way
        some = writes[start : start + writer.ways.bundle_size]
        start += len(some)
        if len(some) == 1:
            yield write_one(writer, some[0], "transaction", tries)
        else:
            yield from _write(writer, some, tries)


def _write(writer: Writer, writes: Sequence[Write], tries: int) -> Iterator[Ended]:
    try:
        sent = send_bundle(writer.connection, writes)
    except WriteUnsettled as error:
        yield from _settled(writer, writes, error, tries)
        return
    except RequestFailed as error:
        if error.status in AWAY:
            raise ServerUnavailable(error.message, reason=error.reason, hint="run again later") from None
        yield from (Ended(write.item, "sending", error.message) for write in writes)
        return
    if isinstance(sent, list):
        yield from _each(writer, writes, sent, tries)
    elif sent.status == 413 or (sent.entry is None and _TOO_LARGE.search(sent.said)):
        writer.ways.too_large(len(writes))
        yield from write_bundles(writer, writes, tries)
    else:
        yield from _without_the_bad(writer, writes, sent, tries)


def _each(writer: Writer, writes: Sequence[Write], sent: Sequence[Written], tries: int) -> Iterator[Ended]:
    """The ends of a Bundle that was answered entry by entry: as a transaction should be, or run as a batch."""
    done = [(write.item, written) for write, written in zip(writes, sent, strict=True) if written.is_done]
    if done:
        yield from accepted_together(writer, done)
    again = []
    for write, written in zip(writes, sent, strict=True):
        if written.is_unknown or written.status in _ONE_BY_ONE:
            again.append(write)
        elif not written.is_done:
            yield refused(writer, write.item, written)
    if again:
        holdings = writer.look_until_found([write.item for write in again])
        for write in again:
            ended, copy = decide(write.item, holdings[write.item.identifier])
            yield ended or write_one(writer, Write(write.item, copy), "transaction", tries)


def _without_the_bad(writer: Writer, writes: Sequence[Write], refusal: Written, tries: int) -> Iterator[Ended]:
    """A transaction refused as a whole: the entry that is to blame by itself, which says why; or each half."""
    if refusal.status == 403 and not writer.ways.has_written:
        refused(writer, writes[0].item, refusal)
    if refusal.entry is not None and refusal.entry < len(writes):
        yield write_one(writer, writes[refusal.entry], "transaction", tries)
        parts: list[Sequence[Write]] = [[write for index, write in enumerate(writes) if index != refusal.entry]]
    else:
        parts = _halves(writes)
    for part in parts:
        yield from write_bundles(writer, part, tries)


def _settled(writer: Writer, writes: Sequence[Write], error: WriteUnsettled, tries: int) -> Iterator[Ended]:
    """A Bundle of which nobody knows whether it was carried out. What is not there is sent again, in smaller Bundles."""
    if error.reason in _TOO_SLOW:
        writer.ways.too_large(len(writes))
    writer.rest(error.wait_seconds)
    holdings = writer.look_until_found([write.item for write in writes])
    rest = []
    for write in writes:
        ended, copy = decide(write.item, holdings[write.item.identifier])
        if ended is not None:
            yield ended._replace(was_sent=True)
        else:
            rest.append(Write(write.item, copy))
    if not rest:
        return
    if tries > 1:
        for part in _halves(rest):
            yield from write_bundles(writer, part, tries - 1)
    elif error.status in AWAY:
        raise ServerUnavailable(error.message, reason=error.reason, hint="run again later")
    else:
        yield from (Ended(write.item, "sending", error.message) for write in rest)


def _halves(writes: Sequence[Write]) -> list[Sequence[Write]]:
    return list(batched(writes, max(1, (len(writes) + 1) // 2)))
