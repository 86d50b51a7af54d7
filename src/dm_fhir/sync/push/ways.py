"""How a resource is written once at this server: the best of four ways that it takes, and what was found out about it.

    transaction         Bundles of conditional updates
    conditional-update  PUT Observation?identifier=…, one by one
    conditional-create  POST with If-None-Exist, one by one
    search              searched for, then POST

What the server is known to hold already is by every way a PUT of its id with If-Match. What is found out is kept in the
store as `server_fact`, each beginning with "write".
"""

import threading
from collections.abc import Callable
from typing import Literal

from dm_fhir.config import Site
from dm_fhir.fhir.capability import Capability
from dm_fhir.fhir.vendors import Vendor
from dm_fhir.store.facts import FOR_GOOD

Way = Literal["transaction", "conditional-update", "conditional-create", "search"]
WAYS: tuple[Way, ...] = ("transaction", "conditional-update", "conditional-create", "search")
#: Entries of a Bundle where nobody says otherwise. Servers' own time-outs are half a minute.
_BUNDLE_SIZE = 200
_SIZE, _INDEX, _PROVENANCE, _CREATE = "write bundle_size", "write index", "write provenance", "write create"
_WORKS, _REFUSED = "works", "refused"
_MAKES_COPIES = f"{FOR_GOOD} it does not look at the condition"
_LOSES_IDENTIFIERS = f"{FOR_GOOD} it drops the identifier"


class Ways:
    """What holds for one server, and what this push finds out. Used by all threads of a push.

    `remember` keeps a fact. `has_written` is whether the server has carried out any write of this push.
    """

    def __init__(
        self,
        site: Site,
        capability: Capability,
        vendor: Vendor | None,
        facts: dict[str, str],
        remember: Callable[[str, str], None],
    ) -> None:
        self._facts, self._remember, self._lock = dict(facts), remember, threading.Lock()
        self._ways = _listed(site.push.way or (vendor.way if vendor else None), capability)
        size = site.push.bundle_size or (vendor.bundle_size if vendor else None) or _BUNDLE_SIZE
        learnt = None if site.push.bundle_size else self._facts.get(_SIZE)
        self.bundle_size = self._usual_size = min(size, int(learnt)) if learnt else size
        self.guards_updates = capability.guards_updates("Observation")
        self.has_written = False
        self.remarks: list[str] = []

    @property
    def way(self) -> Way | None:
        """The best way that is not known to fail; None: there is none."""
        return next((way for way in self._ways if self._facts.get(f"write {way}", _WORKS) == _WORKS), None)

    @property
    def is_tried(self) -> bool:
        """Whether the way has written something once, and exactly once."""
        return self._facts.get(f"write {self.way}") == _WORKS

    def after(self, way: Way) -> list[Way]:
        """The ways that are left when this one fails."""
        rest = self._ways[self._ways.index(way) + 1 :]
        return [one for one in rest if self._facts.get(f"write {one}", _WORKS) == _WORKS]

    def before(self, way: Way, first: Way) -> list[Way]:
        """The ways from the first on that come before this one."""
        return self._ways[self._ways.index(first) : self._ways.index(way)]

    def works(self, way: Way) -> None:
        """It has written something, and the server holds exactly one."""
        self._learn(f"write {way}", _WORKS)

    def is_refused(self, way: Way) -> None:
        """The server does not do it."""
        self._learn(f"write {way}", _REFUSED)

    def makes_copies(self, way: Way) -> None:
        """The server does not look at the condition: this way is not gone again."""
        self._learn(f"write {way}", _MAKES_COPIES)
        self.remark(f"this server ignores the condition of a {way}; switched to {self.way or 'none: no other is left'}")

    @property
    def may_create(self) -> bool:
        """Whether what is created here can be found again."""
        return self._facts.get(_CREATE) != _LOSES_IDENTIFIERS

    def loses_identifiers(self) -> None:
        """The server dropped an identifier: whatever is created could not be found again."""
        self._learn(_CREATE, _LOSES_IDENTIFIERS)
        self.remark(
            "this server drops identifiers: nothing new is written there, as it could not be found again; "
            "when that is mended: dm-fhir push --relearn"
        )

    @property
    def is_immediate(self) -> bool:
        """Whether a search found at once what had just been written."""
        return self._facts.get(_INDEX) == "immediate"

    def found_written(self, *, at_once: bool) -> None:
        """How soon a search found what had just been written."""
        self._learn(_INDEX, "immediate" if at_once else "late")

    @property
    def takes_provenance(self) -> bool:
        """Whether Provenance has not been refused yet."""
        return self._facts.get(_PROVENANCE) != _REFUSED

    def refuses_provenance(self) -> None:
        """Provenance is not taken: it is not sent again until something has changed at the server."""
        self._learn(_PROVENANCE, _REFUSED)

    def too_large(self, entries: int) -> None:
        """A Bundle of so many entries was too much: half as many from now on."""
        with self._lock:
            self.bundle_size = min(
                self.bundle_size, max(1, (entries + 1) // 2)
            )  # half of 119 is 60: two Bundles, not three
        self._learn(_SIZE, str(self.bundle_size))

    def is_not_the_size(self) -> None:
        """One resource by itself was too large: the Bundles that it was in were not."""
        with self._lock:
            self.bundle_size = self._usual_size
        self._learn(_SIZE, str(self.bundle_size))

    def remark(self, text: str) -> None:
        """Say something about this server, once."""
        with self._lock:
            if text not in self.remarks:
                self.remarks.append(text)

    def _learn(self, name: str, value: str) -> None:
        if self._facts.get(name) != value:
            self._facts[name] = value
            self._remember(name, value)


def _listed(first: Way | None, capability: Capability) -> list[Way]:
    """The ways to be tried, best first: from the one that was asked for on, and of the others those that the server lists."""
    lists: dict[Way, bool] = {
        "transaction": capability.does("transaction") and capability.updates_conditionally("Observation"),
        "conditional-update": capability.updates_conditionally("Observation"),
        "conditional-create": capability.creates_conditionally("Observation"),
        "search": True,
    }
    return [way for way in WAYS[WAYS.index(first or WAYS[0]) :] if lists[way] or way == first]
