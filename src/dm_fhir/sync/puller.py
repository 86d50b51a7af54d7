"""What the parts of one site's pull share: the store and its lock, the server and what is known of it, the way to stop."""

import sqlite3
from collections import Counter
from collections.abc import Sequence
from urllib.parse import urlsplit

from dm_fhir.config import Site
from dm_fhir.errors import ServerUnavailable
from dm_fhir.fhir.capability import Capability
from dm_fhir.fhir.connection import Connection
from dm_fhir.fhir.resource import Resource
from dm_fhir.fhir.vendors import Settings, Vendor, settings_for
from dm_fhir.store.facts import facts, forget_all, forget_what_may_be_mended, remember
from dm_fhir.store.quarantine import have_set_aside
from dm_fhir.sync.mapper import Mapper
from dm_fhir.sync.shared_store import SharedStore

#: So many units in a row that found nobody at the other end: the server is gone.
_MOST_UNREACHABLE = 3


class Puller(SharedStore):
    """One site's pull at work, used by all its threads. `full` asks for everything again, whatever the watermarks say.

    `settings` say how the server is asked, as far as is known now. `linked` has, by patient, the others that the hospital
    calls the same person. `exported` are the types that come by a bulk export, not by searches. `answered` has, by query and whether all was asked for, how many patients have been asked for
    together and how many resources came.
    """

    def __init__(
        self,
        db: sqlite3.Connection,
        site: Site,
        connection: Connection,
        mapper: Mapper,
        capability: Capability,
        vendor: Vendor | None,
        run: int,
        full: bool,
    ) -> None:
        super().__init__(db)
        self.site, self.connection, self.mapper = site, connection, mapper
        self.capability, self.vendor, self.run, self.full = capability, vendor, run, full
        self.linked: dict[str, set[str]] = {}
        self.exported: frozenset[str] = frozenset()
        self.hopeless: dict[str, tuple[str, str]] = {}
        self.refusals: Counter[str] = Counter()
        self.probed: set[str] = set()
        self.answered: dict[tuple[str, bool], tuple[int, int]] = {}
        self._aside = have_set_aside(db, site.name)
        self._unreachable = 0
        self._last_unreachable: ServerUnavailable | None = None
        self._facts = facts(db, site.name)
        is_another = self._facts.get("server", capability.name) != capability.name
        if self._facts and (full or is_another):  # what was refused may be mended
            with self.writing():
                (forget_all if is_another else forget_what_may_be_mended)(db, site.name)
            self._facts = facts(db, site.name)
        self.settings: Settings = settings_for(site.pull, vendor, self._facts)
        self.remember("server", capability.name)

    @property
    def name(self) -> str:
        """The site's name."""
        return self.site.name

    def fact(self, name: str) -> str | None:
        """What was found out about the server under this name; None if nothing was."""
        return self._facts.get(name)

    def remember(self, name: str, value: str) -> None:
        """Keep what was found out about the server."""
        if self._facts.get(name) != value:
            with self.writing():
                remember(self.db, self.name, name, value)
            self._facts[name] = value
            self.settings = settings_for(self.site.pull, self.vendor, self._facts)

    def learn_of_times(self, resources: Sequence[Resource]) -> None:
        """Where nothing on a page says when it changed, nothing does: all must be asked for again each time."""
        if resources and all(one.last_updated is None for one in resources):
            self.remember("last_updated", "no")

    def has_aside(self, patient: str, query: str) -> bool:
        """Whether something of this unit was set aside before this run."""
        return (patient, query) in self._aside

    def has_any_aside(self, query: str) -> bool:
        """Whether something of this query was set aside before this run, of whichever patient."""
        return any(name == query for _, name in self._aside)

    def takes_post(self, type_name: str) -> bool:
        """Whether a search of this type may go by POST; assumed until the server has refused it."""
        return self.settings.post_search is not False and self.fact(f"post {type_name}") != "no"

    def reached(self) -> None:
        """The server has answered."""
        self._unreachable, self._last_unreachable = 0, None

    def not_reached(self, error: ServerUnavailable) -> None:
        """A unit found nobody there. Raises the error if that has become the rule, or if it holds for the whole run."""
        self._unreachable += 1
        self._last_unreachable = error
        if error.reason != "unreachable":
            raise error
        if self._unreachable >= _MOST_UNREACHABLE:
            raise self._gone(error)

    def check_reachable(self) -> None:
        """Raises ServerUnavailable if the server was gone when the plan came to its end."""
        if self._last_unreachable is not None:
            raise self._gone(self._last_unreachable)

    def _gone(self, error: ServerUnavailable) -> ServerUnavailable:
        host = urlsplit(self.connection.endpoint).netloc
        return ServerUnavailable(f"{host} stopped answering", hint=f"run again later; the last was: {error.message}")
