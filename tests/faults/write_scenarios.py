"""What dm-fhir must come to under every write fault, a row for each fault and each variant of it.

What a row does not say is as without a fault: each of the twenty outcomes is on the server once, as we compute it, confirmed in the
ledger, exit 0; and a second push to the healthy server sends nothing and ends with the same.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from .scenarios import Login
from .write_faults import LIMIT

Start = Literal["new", "changed", "gone"]
#: Whose content an outcome on the server has: as computed now, as we wrote it before, or as somebody else left it.
Whose = Literal["ours", "before", "theirs", "altered"]
EVERYWHERE = ("transactions", "batches", "updates", "creates", "searches")
ONE_BY_ONE = ("updates", "creates", "searches")


@dataclass(frozen=True, kw_only=True)
class WriteScenario:
    """One fault or variant, at the sorts of servers where it is tried.

    `stored` and `states` say which outcomes differ from one, and from confirmed; `*` stands for all, -1 for any number. `versions` is how often
    something of an outcome was stored in the end. `says` are regular expressions, each of which something printed must match;
    `ledger` the same for the ledger's message of an outcome. `tries` is how many requests may have written k3, `resources` how many Observations there are of whatever identifier. `again` are the exit
    codes that the second push may end with; where it ends with another than 0, `stored`, `states` and `whose` hold still.
    """

    t: int
    fault: str
    does: str
    servers: tuple[str, ...] = EVERYWHERE
    start: Start = "new"
    exit: int = 0
    stored: Mapping[str, int] = field(default_factory=dict)
    states: Mapping[str, str] = field(default_factory=dict)
    whose: Mapping[str, Whose] = field(default_factory=dict)
    versions: Mapping[str, int] = field(default_factory=dict)
    says: tuple[str, ...] = ()
    ledger: Mapping[str, str] = field(default_factory=dict)
    waits: tuple[float, float] | None = None
    tries: int | None = None
    resources: int | None = None
    writes_nothing: bool = False
    again: tuple[int, ...] = (0,)
    login: Login = "bearer"
    pull: Mapping[str, str | None] = field(default_factory=dict)

    @property
    def id(self) -> str:
        """Its name in the table."""
        start = "" if self.start == "new" else self.start
        where = self.servers[0] if self.servers and self.servers != EVERYWHERE else ""
        return "-".join(filter(None, (f"T{self.t}", self.fault, start, where)))


_K3 = "dlqi_percent_improvement of Patient/p1"
_SOMEBODY = "changed by some(one|body) else"
_CONFLICT = {"states": {"k3": "conflict"}, "exit": 7, "says": (f"conflict: {_K3}",)}
_THEIRS = {**_CONFLICT, "whose": {"k3": "theirs"}, "again": (7,), "ledger": {"k3": _SOMEBODY}, "says": (_SOMEBODY,)}


def _row(t: int, fault: str, does: str, **more: object) -> WriteScenario:
    return WriteScenario(t=t, fault=fault, does=does, **more)  # type: ignore[arg-type]


_BUSY = "409 on a write of k3"
_MOVED = (
    _row(64, "w409-once", f"{_BUSY}, once", versions={"k3": 1}),
    _row(64, "w409-once", f"{_BUSY}, once", start="changed", versions={"k3": 2}),
    _row(64, "w409", f"{_BUSY}, always", start="changed", **_CONFLICT, whose={"k3": "before"}, versions={"k3": 1}, tries=5),
    _row(64, "w409", f"{_BUSY}, always; it is new", **_CONFLICT, stored={"k3": 0}, tries=5, servers=("updates", "searches")),
    _row(64, "w409-edited", "409 on a write of k3, which somebody else has changed", start="changed", **_THEIRS),
    _row(65, "w412-moved", "the version of k3 moves just before it is written; its content does not", start="changed"),
    _row(65, "w412-moved", "the same, answered with 409", start="changed", servers=("moved-409", "moved-409-creates")),
    _row(65, "w412-edited", "somebody else changes k3 just before it is written", start="changed", **_THEIRS, versions={"k3": 2}),
    _row(65, "w412-edited", "the same, answered with 409", start="changed", **_THEIRS, versions={"k3": 2}, servers=("moved-409",)),
    _row(65, "w412-ours", "just before k3 is written somebody else writes the same", start="changed", versions={"k3": 2}),
    _row(
        66, "w412many", "two copies of k3 are there", exit=7, states={"k3": "conflict"}, stored={"k3": 2}, whose={"k3": "altered"},
        versions={"k3": 2}, says=("2 copies of",), ledger={"k3": r"Observation/w1\b.*Observation/w2\b"}, again=(7,),
    ),
    _row(
        66, "w412many", "a second copy of k3 is there when it has changed", start="changed", exit=7, states={"k3": "conflict"},
        stored={"k3": 2}, whose={"k3": "before"}, versions={"k3": 2}, says=("2 copies of",), again=(7,),
    ),
)  # fmt: skip

_REJECTED = {"exit": 3, "states": {"k3": "rejected"}, "stored": {"k3": 0}}
_UNIT = "the unit is not known here"
_REFUSED = (
    _row(67, "w422", "422 for k3, always", **_REJECTED, says=("1 of 20 rejected", _UNIT), again=(3,)),
    _row(67, "w400", "400 for k3, always", **_REJECTED, says=("1 of 20 rejected", _UNIT), again=(3,)),
    _row(67, "w422", "422 for k3 as it has changed, always", start="changed", exit=3, states={"k3": "rejected"}, whose={"k3": "before"}, again=(3,)),
    _row(68, "", f"413 for Bundles of more than {LIMIT} entries", servers=("capped", "capped-batches"), versions={"*": 1}),
    _row(68, "", "the same with 400", servers=("capped-400",), versions={"*": 1}),
    _row(68, "", "the same with 504", servers=("capped-504",), versions={"*": 1}),
    _row(68, "w413", "413 for whatever holds k3", **_REJECTED, again=(3,)),
    _row(
        69, "w422-503", "a batch whose entries k3 and k7 are refused with 422 and, once, 503", **_REJECTED, says=("1 of 20 rejected", _UNIT),
        servers=("batches",), versions={"k7": 1}, again=(3,),
    ),
    _row(69, "wpartial-19", "the answer to a Bundle of 20 has 19 entries", servers=("batches", "transactions"), versions={"*": 1}),
    _row(69, "wpartial-order", "the answer to a Bundle has its entries in another order", servers=("batches", "transactions"), versions={"*": 1}),
)  # fmt: skip

_LOST = "stores k3, then closes the connection without an answer"
_AMBIGUOUS = (
    _row(70, "wlost", _LOST, versions={"*": 1}),
    _row(70, "wlost", _LOST, start="changed", versions={"k3": 2, "k7": 2}),
    _row(70, "wlost-504", "stores k3, then answers 504", versions={"*": 1}),
    _row(
        70, "wlost-silence", "stores k3, then is silent", servers=("transactions", "creates"), versions={"*": 1},
        pull={"read_timeout_seconds": "1", "total_timeout_seconds": "1"},
    ),
    _row(70, "wlost-reset", "stores k3, then resets the connection in its answer", servers=("batches", "updates"), versions={"*": 1}),
    _row(
        70, "wlost", f"{_LOST}; a search finds it after a minute", versions={"*": 1},
        servers=("wstale", "wstale-updates", "wstale-creates", "wstale-searches"),
    ),
)  # fmt: skip

_STATUSES = (400, 404, 405, 412, 501)
_SORTS = (
    _row(
        71, "", "refuses an update with a query (400, 404, 405, 412 or 501), and claims that it can",
        servers=tuple(f"wnocond-{status}{where}" for status in _STATUSES for where in ("", "-in-bundle")),
    ),
    _row(71, "", "every update with a query makes a new resource", servers=("wnocond-creates", "wnocond-creates-in-bundle"), versions={"*": 1}),
    _row(71, "", "the same, and something has changed", start="changed", servers=("wnocond-creates",), versions={"k3": 2, "k7": 2}),
    _row(71, "wlost", f"the same; {_LOST}", servers=("wnocond-creates", "wnocond-creates-in-bundle"), versions={"*": 1}),
    _row(71, "", "refuses Bundles", servers=tuple(f"no-transactions-{status}" for status in (400, 404, 405, 501))),
    _row(71, "", "refuses creates with a condition (412)", servers=("no-creates",)),
    _row(71, "", "gives ids itself", start="changed", servers=("no-client-ids", "no-client-ids-updates")),
    _row(71, "", "gives equal content no new version", start="changed", servers=("same-is-same", "same-is-same-updates")),
    _row(71, "", "never answers with the resource", start="changed", servers=("minimal", "minimal-updates", "minimal-creates")),
    _row(
        71, "", "does not say where it put it", start="changed", servers=("no-location", "no-location-updates", "no-location-searches"),
    ),
    _row(
        71, "", "has no versions", start="changed",
        servers=("no-versions", "no-versions-updates", "no-versions-creates", "no-versions-searches"),
    ),
    _row(71, "wlost", f"has no versions; {_LOST}", start="changed", servers=("no-versions-updates", "no-versions-searches")),
    _row(
        71, "", "takes no Provenance", servers=(*(f"no-provenance-{status}" for status in (403, 404, 405, 422, 501)), "no-provenance-updates"),
    ),
    _row(
        72, "", "a search finds what was written a minute before", versions={"*": 1},
        servers=("wstale", "wstale-updates", "wstale-creates", "wstale-searches"),
    ),
    _row(
        72, "", "the same, and something has changed", start="changed", versions={"k3": 2, "k7": 2},
        servers=("wstale", "wstale-updates", "wstale-creates", "wstale-searches"),
    ),
)  # fmt: skip

_CONTENT = (
    _row(
        73, "wchanged-identifier", "stores without the identifier", exit=7, stored={"*": -1}, states={"*": ""}, resources=1,
        says=("identifier",), again=(3, 7), servers=("transactions", "updates", "searches"),
    ),
    _row(
        73, "wchanged-value", "rounds the value of k3", exit=3, states={"k3": "rejected"}, whose={"k3": "altered"},
        says=("the server changed valueQuantity(.value)? of ",), again=(0, 3), servers=("transactions", "updates", "searches"),
    ),
    _row(
        73, "wchanged-status", "changes the status of k3", exit=3, states={"k3": "rejected"}, whose={"k3": "altered"},
        says=("the server changed status of ",), again=(0, 3), servers=("transactions", "creates"),
    ),
    *(
        _row(
            74, f"wnosubject-{status}", f"the patient is not there: 404, and {status} for what names it", exit=3,
            states={"*": "blocked"}, stored={"*": 0}, says=("1 patient is not on the target server",), writes_nothing=True,
            servers=("transactions", "updates") if status == 422 else ("batches", "creates"),
        )
        for status in (422, 409)
    ),
)  # fmt: skip

_THROTTLED = (
    _row(75, "wthrottle-429", "429 with Retry-After 3 for what holds k7, once", versions={"*": 1}, waits=(3, 3.9)),
    _row(
        75, "wthrottle-401", "401 for what holds k7; a new token works", versions={"*": 1}, login="client-secret",
        servers=("transactions", "updates", "searches"),
    ),
    _row(
        75, "wthrottle-503", "takes six writes, then 503 for good", exit=4, stored={"*": 6}, states={"*": ""}, versions={"*": 1},
        says=("6 of 20 written; run again later",), servers=ONE_BY_ONE,
    ),
    _row(
        75, "wthrottle-down", "503 for every write", exit=4, stored={"*": 0}, states={"*": ""}, says=("0 of 20 written; run again later",),
        servers=("transactions", "batches"),
    ),
)  # fmt: skip

_RETRACTED = {"k3": "retracted", "k7": "retracted"}
_TAKEN_BACK = (
    _row(77, "", "k3 and k7 can no longer be computed", start="gone", states=_RETRACTED),
    _row(
        77, "wgone-edited", "the same, and somebody has changed k3", start="gone", exit=7, states={"k3": "conflict", "k7": "retracted"},
        whose={"k3": "theirs"}, says=("1 result was edited on the server and not retracted",), again=(7,),
    ),
    _row(77, "wlost", f"the same; {_LOST}", start="gone", states=_RETRACTED, versions={"k3": 2, "k7": 2}, servers=("transactions", "creates")),
)  # fmt: skip

#: Tried in processes of their own.
_KILLED = (
    _row(76, "wkill9", "`kill -9` of dm-fhir when k3 is stored, at every commit, at fifty random requests", servers=()),
)

WRITE_SCENARIOS = (*_MOVED, *_REFUSED, *_AMBIGUOUS, *_SORTS, *_CONTENT, *_THROTTLED, *_KILLED, *_TAKEN_BACK)
#: Each at each of its servers.
AT_SERVERS = [(one, server) for one in WRITE_SCENARIOS for server in one.servers]
