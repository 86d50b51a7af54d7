"""The first write at a server, by the best way that it takes: one resource, then looked for, so that a way that makes copies is known
before it has made many."""

from dm_fhir.sync.push.request import Write, token
from dm_fhir.sync.push.resolve import find, is_retired
from dm_fhir.sync.push.single import Ended, Writer, several, write_one
from dm_fhir.sync.push.ways import Way


def write_first(writer: Writer, write: Write) -> Ended:
    """What became of the item. By the way that it was written the others may be, if it is there exactly once.

    Where every way is refused it is the content that is refused: nothing is found out then. Raises what `write_one` raises.
    """
    ways = writer.ways
    way = ways.way
    if way is None:
        return Ended(write.item, "blocked", "this server has no way to write something once")
    first_refusal: Ended | None = None
    for tried in (way, *ways.after(way)):
        ended = write_one(writer, write, tried)
        if ended.may_be_the_way:
            first_refusal = first_refusal or ended
            continue
        if ended.server_id is None:  # not taken, or taken by whom nobody knows
            return ended
        for failed in ways.before(tried, way):
            ways.is_refused(failed)
        return _looked_for(writer, ended, tried)
    return first_refusal or Ended(write.item, "sending", "not written")


def _looked_for(writer: Writer, ended: Ended, way: Way) -> Ended:
    """How it has ended, after a look at how many there are."""
    name = token(ended.item)
    copies = [copy for copy in find(writer.connection, [name])[name] if not is_retired(copy)]
    if len(copies) > 1:
        writer.ways.makes_copies(way)
        return ended._replace(state="conflict", message=several(copies))
    if ended.state in ("confirmed", "rejected"):
        writer.ways.found_written(at_once=bool(copies))
        writer.ways.works(way)
    return ended
