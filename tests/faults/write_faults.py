"""What servers do to what is written to them: their sorts, each of which forces another way of writing, and the write faults."""

import json
import socket
import struct
from collections.abc import Callable
from dataclasses import replace

from .answers import Ask, Deliver, Reply, nothing, refusal, resource_reply, silence
from .faults import Fault
from .hospital import Json
from .outcomes import corrected, few_records, with_source, withdrawn
from .writing import Answered, Hold, Manners, Shelf, Write, writes_of

SUBJECT_REFUSED = "the resource Patient/p1 does not exist"
#: What somebody at the hospital adds to an outcome.
REMARK = "checked by the ward"
LIMIT = 5


def _server(**manners: object) -> Fault:
    """A server at a hospital where little is known of one patient."""
    return Fault(records=lambda _: few_records(), manners=Manners(**manners), lasts=True)  # type: ignore[arg-type]


_ONE_BY_ONE = {"transaction": 405, "batch": 405}
_NO_UPDATE = {**_ONE_BY_ONE, "conditional_update": 501, "client_ids": False}
_NOTHING = {**_NO_UPDATE, "conditional_create": "ignored"}
#: One for each way of writing once.
SERVERS = {
    "transactions": _server(),
    "batches": _server(transaction="batch"),
    "updates": _server(**_ONE_BY_ONE),
    "creates": _server(**_NO_UPDATE),
    "searches": _server(**_NOTHING),
}
_STATUSES = (400, 404, 405, 412, 501)
_NO_PROVENANCE = (403, 404, 405, 422, 501)
_VARIANTS = {
    "capped": _server(most_entries=LIMIT),
    "capped-400": _server(most_entries=LIMIT, too_many=400),
    "capped-504": _server(most_entries=LIMIT, too_many=504),
    "capped-batches": _server(most_entries=LIMIT, transaction="batch"),
    **{f"wnocond-{status}": _server(**_ONE_BY_ONE, conditional_update=status, claims=True) for status in _STATUSES},
    **{f"wnocond-{status}-in-bundle": _server(conditional_update=status, claims=True) for status in _STATUSES},
    "wnocond-creates": _server(**_ONE_BY_ONE, conditional_update="creates", claims=True),
    "wnocond-creates-in-bundle": _server(conditional_update="creates", claims=True),
    "wstale": _server(delay_seconds=60),
    "wstale-updates": _server(**_ONE_BY_ONE, delay_seconds=60),
    "wstale-creates": _server(**_NO_UPDATE, delay_seconds=60),
    "wstale-searches": _server(**_NOTHING, delay_seconds=60),
    **{f"no-transactions-{status}": _server(transaction=status, batch=status, claims=True) for status in (400, 404, 405, 501)},
    "no-creates": _server(**{**_NO_UPDATE, "conditional_create": 412}, claims=True),
    "no-client-ids": _server(client_ids=False),
    "no-client-ids-updates": _server(**_ONE_BY_ONE, client_ids=False),
    "same-is-same": _server(same_is_new=False),
    "same-is-same-updates": _server(**_ONE_BY_ONE, same_is_new=False),
    "minimal": _server(returns="minimal"),
    "minimal-updates": _server(**_ONE_BY_ONE, returns="minimal"),
    "minimal-creates": _server(**_NO_UPDATE, returns="minimal"),
    "no-location": _server(returns="nothing"),
    "no-location-updates": _server(**_ONE_BY_ONE, returns="nothing"),
    "no-location-searches": _server(**_NOTHING, returns="nothing"),
    "no-versions": _server(versions=False),
    "no-versions-updates": _server(**_ONE_BY_ONE, versions=False),
    "no-versions-creates": _server(**_NO_UPDATE, versions=False),
    "no-versions-searches": _server(**_NOTHING, versions=False),
    "moved-409": _server(moved=409),
    "moved-409-creates": _server(**_NO_UPDATE, moved=409),
    **{f"no-provenance-{status}": _server(provenance=status) for status in _NO_PROVENANCE},
    "no-provenance-updates": _server(**_ONE_BY_ONE, provenance=404, claims=True),
}  # fmt: skip

# --- What becomes of one write ----------------------------------------------------------------------------------------


def _holding(refuse: Callable[[Shelf, Write], Answered | None]) -> Fault:
    return Fault(hold=Hold(refuse=refuse))


def _refusing(key: str, status: int, text: str, times: int = 1_000_000) -> Fault:
    """The first so many writes of an outcome are refused."""

    def refuse(_: Shelf, write: Write) -> Answered | None:
        return Answered(status, text=text) if write.key == key and write.times <= times else None

    return _holding(refuse)


def _meanwhile(then: Callable[[Shelf, Write], Answered | None]) -> Fault:
    """Somebody else gets at k3, if it is there, just before it is first written."""

    def refuse(shelf: Shelf, write: Write) -> Answered | None:
        return then(shelf, write) if write.key == "k3" and write.times == 1 and shelf.of("k3") else None

    return _holding(refuse)


def _saved(shelf: Shelf, _: Write) -> None:
    shelf.edit("k3")


def _edited(shelf: Shelf, _: Write) -> None:
    shelf.edit("k3", note=[{"text": REMARK}])


def _edited_and_refused(shelf: Shelf, _: Write) -> Answered:
    shelf.edit("k3", note=[{"text": REMARK}])
    return Answered(409, text="somebody else is writing it")


def _ours(shelf: Shelf, write: Write) -> None:
    shelf.edit("k3", **{name: value for name, value in write.resource.items() if name not in ("id", "meta")})


def _altering(key: str, alter: Callable[[Json], Json]) -> Fault:
    """An outcome ("": each of them) is stored otherwise than it was sent."""

    def store(write: Write) -> Json:
        return alter(write.resource) if write.key and key in ("", write.key) else write.resource

    return Fault(hold=Hold(store=store))


def _rounded(resource: Json) -> Json:
    quantity = resource["valueQuantity"]
    return {**resource, "valueQuantity": {**quantity, "value": round(quantity["value"])}}


# --- What becomes of a request ----------------------------------------------------------------------------------------


def _keys(ask: Ask) -> set[str]:
    return {one.key for one in writes_of(ask)}


def _writes_outcomes(ask: Ask) -> bool:
    return any(_keys(ask))


def _answering(when: Callable[[Ask], bool], reply: Reply) -> Fault:
    """The request is not carried out, but answered with this."""
    return Fault(refuse=lambda ask, before: reply if before is None and when(ask) else before)


def _first(key: str) -> Callable[[Ask], bool]:
    """Whether it is the first request of a run that would write this outcome."""
    seen: set[str] = set()

    def is_first(ask: Ask) -> bool:
        if key not in _keys(ask) or ask.base in seen:
            return False
        seen.add(ask.base)
        return True

    return is_first


def _lost(*, deliver: Deliver | None = None, status: int = 0) -> Fault:
    """The first write of k3 is carried out, and its answer never arrives."""
    is_first = _first("k3")

    def reply(ask: Ask, honest: Reply) -> Reply:
        if not is_first(ask):
            return honest
        return refusal(status, "no answer in time") if status else replace(honest, deliver=deliver)

    return Fault(reply=reply)


def _reset(connection: socket.socket, head: bytes, body: bytes) -> bool:
    """Half of the answer, then a reset."""
    connection.sendall(head + body[: len(body) // 2])
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()
    return False


def _answers_otherwise(change: Callable[[list[Json]], list[Json]]) -> Fault:
    """The answer to the first Bundle with k3 does not list what became of its entries as it should."""
    is_first = _first("k3")

    def reply(ask: Ask, honest: Reply) -> Reply:
        if ask.path or honest.status >= 300 or not is_first(ask):
            return honest
        bundle = json.loads(honest.body)
        return resource_reply({**bundle, "entry": change(bundle["entry"])})

    return Fault(reply=reply)


def _down_after(count: int) -> Fault:
    """After so many outcomes nothing more is written."""

    def refuse(ask: Ask, before: Reply | None) -> Reply | None:
        if not _writes_outcomes(ask):
            return before
        written[ask.base] = written.get(ask.base, 0) + 1
        return refusal(503, "down") if written[ask.base] > count else before

    written: dict[str, int] = {}
    return Fault(refuse=refuse)


def _without_subject(status: int) -> Fault:
    """The patient is not there, and what names it is refused."""

    def refuse(ask: Ask, before: Reply | None) -> Reply | None:
        if ask.path == "Patient/p1":
            return refusal(404, "not known")
        return refusal(status, SUBJECT_REFUSED) if _writes_outcomes(ask) else before

    return Fault(refuse=refuse, bundle=lambda ask, bundle: _empty(bundle) if ask.type == "Patient" else bundle)


def _empty(bundle: Json) -> Json:
    return {**bundle, "total": 0, "entry": []}


WRITE_FAULTS: dict[str, Fault] = {
    **SERVERS,
    **_VARIANTS,
    "w409-once": _refusing("k3", 409, "busy", times=1),
    "w409": _refusing("k3", 409, "somebody else is writing it"),
    "w409-edited": _meanwhile(_edited_and_refused),
    "w412-moved": _meanwhile(_saved),
    "w412-edited": _meanwhile(_edited),
    "w412-ours": _meanwhile(_ours),
    "w412many": Fault(),
    "w422": _refusing("k3", 422, "the unit is not known here"),
    "w400": _refusing("k3", 400, "the unit is not known here"),
    "w413": _answering(lambda ask: "k3" in _keys(ask), refusal(413, "too large")),
    "w422-503": Fault(
        hold=Hold(
            refuse=lambda _, write: (
                Answered(422, text="the unit is not known here")
                if write.key == "k3"
                else Answered(503, text="busy")
                if write.key == "k7" and write.times == 1
                else None
            )
        )
    ),
    "wpartial-19": _answers_otherwise(lambda entries: entries[:-1]),
    "wpartial-order": _answers_otherwise(lambda entries: entries[::-1]),
    "wlost": _lost(deliver=nothing),
    "wlost-504": _lost(status=504),
    "wlost-silence": _lost(deliver=silence),
    "wlost-reset": _lost(deliver=_reset),
    "wchanged-identifier": _altering("", lambda one: {name: part for name, part in one.items() if name != "identifier"}),
    "wchanged-value": _altering("k3", _rounded),
    "wchanged-status": _altering("k3", lambda one: {**one, "status": "preliminary"}),
    "wnosubject-422": _without_subject(422),
    "wnosubject-409": _without_subject(409),
    "wthrottle-429": _answering(_first("k7"), refusal(429, "slow down", Retry_After="3")),
    "wthrottle-401": _answering(
        lambda ask: "k7" in _keys(ask) and ask.token == 1, refusal(401, "the token has expired")
    ),
    "wthrottle-503": _down_after(6),
    "wthrottle-down": _down_after(0),
    "wgone-edited": Fault(),
    "corrected": Fault(records=with_source(corrected), lasts=True),
    "withdrawn": Fault(records=with_source(withdrawn), lasts=True),
}  # fmt: skip
