"""One unit of the ledger while it is being pulled: every page checked, stored and counted, in one transaction."""

from collections import Counter
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from msgspec.structs import replace

from dm_fhir.errors import LoginRefused, RequestFailed, ServerUnavailable
from dm_fhir.fhir.page import Page
from dm_fhir.fhir.resource import Resource
from dm_fhir.fhir.retry_after import instant
from dm_fhir.store.audit import note_read
from dm_fhir.store.filing import delete_resource, put_resources
from dm_fhir.store.ledger import Unit, now, put_unit
from dm_fhir.store.quarantine import clear_set_aside, set_aside
from dm_fhir.sync.puller import Puller

#: How far a later pull reaches back behind the last one: server nodes' clocks drift, and indexes lag.
OVERLAP = timedelta(minutes=10)
MOST_FOREIGN = 10
#: What an entry without any resource is called: nothing has arrived for it.
NO_RESOURCE = "no-resource"
_UNSUPPORTED = (400, 404, 405, 501)


class Check(NamedTuple):
    """What is to become of a resource. `surplus`: a note's name where it is not what was asked for; then it is not counted."""

    keep: bool
    surplus: str | None = None
    note: str | None = None


class Tally:
    """Counts every page of one unit into its row, in the page's own transaction.

    `judge` says of each resource what is to become of it; `within` is called with what is kept, in the same transaction.
    `incomparable` are resources that came in two contents of which nobody can say which is the later.
    `in_full`: all of it is asked for, not only what changed.
    """

    def __init__(
        self,
        puller: Puller,
        unit: Unit,
        judge: Callable[[Resource], Check],
        within: Callable[[Sequence[Resource]], None] = lambda _: None,
        *,
        in_full: bool = True,
    ) -> None:
        self.puller, self.unit, self.notes = puller, unit, Counter[str]()
        self.seen: set[str] = set()
        self.has_more = False
        self.incomparable: set[str] = set()
        self.pages = 0
        self.in_full = in_full
        self._judge, self._within = judge, within
        self._surplus: set[str] = set()
        self._hashes: dict[str, str] = {}
        self._received = 0
        self._rejected: dict[bytes, str] = {}
        self._started: datetime | None = None
        with puller.writing() as db:
            put_unit(db, unit)

    @property
    def missing(self) -> int:
        """How many of the announced resources have not arrived; 0 where nothing was announced."""
        if self.unit.expected is None:
            return 0
        return max(0, self.unit.expected - self._arrived)

    @property
    def _arrived(self) -> int:
        return len(self.seen) + sum(reason != NO_RESOURCE for reason in self._rejected.values())

    def take(self, page: Page, *, announces: bool = True) -> None:
        """Store a page and what it changes in the ledger. `announces`: its total is that of the whole unit.

        Raises RequestFailed when the server sends what nobody asked for.
        """
        self.puller.reached()
        self.puller.learn_of_times(page.resources)
        self.pages += 1
        self._started = self._started or page.answer.date or datetime.now(UTC)
        self.has_more = page.next_url is not None
        if announces and page.total is not None:
            self.unit = replace(self.unit, expected=max(page.total, 0))
        self.notes.update(page.notes)
        self.notes["server_message"] += len(page.messages)
        if page.messages and not self.unit.message:
            self.unit = replace(self.unit, message=f"server: {page.messages[0]}")
        checked = [(resource, self._checked(resource)) for resource in map(self._owned, page.resources)]
        kept = [resource for resource, check in checked if check.keep and check.surplus is None]
        stored = [resource for resource, check in checked if check.keep]
        if self.notes["foreign_subject"] > MOST_FOREIGN:
            raise RequestFailed(_foreign(self.notes["foreign_subject"]), reason="foreign-subject")
        only_read = [resource.subject for resource, check in checked if not check.keep]
        if page.rejected:
            only_read.append(self.unit.patient)
        with self.puller.writing() as db:
            note_read(db, self.unit.run, self.unit.site, only_read)
            self.notes.update(put_resources(db, self.unit.site, stored, self.unit.run))
            self._within(kept)
            self._set_aside(page, again=not announces)
            self.write()
        if page.resources and all(check.surplus and not check.keep for _, check in checked):
            # A server that ignores the search would have us page through the whole hospital.
            raise RequestFailed(
                "the server sends what was not asked for: it ignores this search", reason="filter-ignored"
            )

    def gone(self, reference: str) -> None:
        """Count a resource that the server no longer has; one that we hold gets its tombstone."""
        self.puller.reached()
        self.notes["gone"] += 1
        self.seen.add(reference)
        type_name, _, id_ = reference.partition("/")
        with self.puller.writing() as db:
            self.notes["deleted"] += delete_resource(db, self.unit.site, type_name, id_, now())

    def complete(self) -> None:
        """The last page is in: complete, or partial with the reason."""
        foreign, missing = self.notes["foreign_subject"], self.missing
        if foreign:
            self.fail("partial", "foreign-subject", _foreign(foreign))
        elif missing and not self.puller.settings.totals_are_estimates:
            self.fail("partial", "short", f"{self._arrived} of {self.unit.expected} announced, no further page")
        else:
            self.notes["total_low"] += self.unit.expected is not None and self._arrived > self.unit.expected
            self.notes["total_high"] += bool(missing)
            full = now() if self.in_full else self.unit.read_in_full
            self._close(state="complete", reason=None, watermark=watermark(self._started), read_in_full=full)

    def fail(self, state: str, reason: str, message: str) -> None:
        """Not complete: the watermark stays."""
        self._close(state=state, reason=reason, message=message)

    def judge_failure(self, error: RequestFailed) -> None:
        """A request of the unit failed for good."""
        if error.reason == "not-listed":
            state = "unsupported"
        elif error.status in (401, 403) and not self.pages:
            state = "refused"
        elif error.status in _UNSUPPORTED and not self.pages:
            state = "unsupported"
        else:
            state = "partial" if self.pages else "failed"
        self.fail(state, error.reason, self._so_far(str(error).replace("\n ", ";")))

    def judge_stop(self, error: LoginRefused | ServerUnavailable) -> None:
        """The run cannot go on, or the server did not answer."""
        if isinstance(error, LoginRefused):
            lost = self.pages > 0
            self.fail("partial" if lost else "failed", "auth-lost" if lost else "auth", error.message)
        else:
            self.unit = replace(self.unit, not_before=error.not_before)
            reason = "auth-lost" if error.reason == "token-endpoint" else error.reason
            self.fail("partial", reason, self._so_far(error.message))

    def write(self) -> None:
        """The row as it stands. Call it in a transaction."""
        put_unit(self.puller.db, self._row())

    def _row(self) -> Unit:
        notes = {name: count for name, count in sorted(self.notes.items()) if count and name != "retries"}
        if "waited_milliseconds" in notes:
            notes["waited_seconds"] = round(notes.pop("waited_milliseconds") / 1000)
        return replace(
            self.unit,
            received=self._received + len(self._rejected),
            unique=len(self.seen - self._surplus),
            pages=self.pages,
            retries=self.notes["retries"],
            notes=notes,
        )

    def _owned(self, resource: Resource) -> Resource:
        """It came as the patient's, by whatever the server knows it is; without a subject nobody would ever see it."""
        if resource.subject is not None or not self.unit.patient or not self.unit.query.startswith(f"{resource.type}?"):
            return resource
        self.notes["subject_assumed"] += 1
        return replace(resource, subject=self.unit.patient)

    def _checked(self, resource: Resource) -> Check:
        check = self._judge(resource)
        self._received += 1
        self.notes["duplicate"] += resource.reference in self.seen
        if self._hashes.get(resource.reference, resource.hash) != resource.hash:
            self.notes["superseded"] += 1
            if resource.version is None and resource.last_updated is None:
                self.incomparable.add(resource.reference)
        self._hashes[resource.reference] = resource.hash
        self.notes["no_last_updated"] += resource.last_updated is None
        if check.surplus:
            self.notes[check.surplus] += 1
            self._surplus.add(resource.reference)
        if check.note:
            self.notes[check.note] += 1
        self.seen.add(resource.reference)
        return check

    def _set_aside(self, page: Page, *, again: bool) -> None:
        unit = self.unit
        for index, (reason, body) in enumerate(page.rejected):
            if again and body in self._rejected:
                continue
            place = f"page {self.pages}, entry {index}"
            set_aside(self.puller.db, unit.site, unit.patient, unit.query, place, reason, body, unit.run)
            self._rejected[body] = reason
        self.notes["set_aside"] = len(self._rejected)

    def _close(self, **values: object) -> None:
        self.unit = replace(self.unit, **values)
        with self.puller.writing() as db:
            if self.unit.state == "complete":
                clear_set_aside(db, self.unit.site, self.unit.query, self.unit.patient, self.unit.run)
            self.write()

    def _so_far(self, message: str) -> str:
        """The message with how much there is."""
        if self.notes["foreign_subject"]:
            return message
        if self.unit.expected is None:
            return f"{message}; {len(self.seen)} stored" if self.pages else message
        return f"{message}; {len(self.seen)} of {self.unit.expected} stored"


def watermark(started: datetime | None) -> str:
    """How far a query that began at this time of the server's clock has been read completely."""
    return instant((started or datetime.now(UTC)) - OVERLAP)


def begun(unit: Unit | None, site: str, patient: str, query: str, run: int, asked: str) -> Unit:
    """A unit's row as a pull begins with it. Its watermark stays, unless it was for another question."""
    if unit is None or unit.asked != asked:
        return Unit(site, patient, query, run=run, asked=asked)
    return Unit(
        site,
        patient,
        query,
        watermark=unit.watermark,
        run=run,
        asked=asked,
        read_in_full=unit.read_in_full,
    )


def _foreign(count: int) -> str:
    return f"{count} resources of another patient in the answer; not stored"
