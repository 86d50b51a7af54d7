"""One query of a pull as one unit of the ledger: asked, checked, stored, counted, judged."""

import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from msgspec.structs import replace

from dm_fhir.config import Site
from dm_fhir.errors import LoginRefused, RequestFailed, ServerUnavailable
from dm_fhir.fhir.capability import Capability
from dm_fhir.fhir.connection import Connection
from dm_fhir.fhir.resource import Resource, Unusable, read_resource
from dm_fhir.fhir.search import Page, pages, read_url, search_url
from dm_fhir.store.database import transaction
from dm_fhir.store.ledger import Unit, get_unit, put_unit
from dm_fhir.store.resources import clear_set_aside, has_set_aside, put_resource, set_aside
from dm_fhir.sync.mapper import Mapper

#: How far a later pull reaches back behind the last one: server nodes' clocks drift, and indexes lag.
OVERLAP = timedelta(minutes=10)
MOST_FOREIGN = 10
_UNSUPPORTED = (400, 404, 405, 501)


class Puller(NamedTuple):
    """What one site's pull works with. `full` asks for everything again, whatever the watermarks say."""

    db: sqlite3.Connection
    site: Site
    connection: Connection
    mapper: Mapper
    capability: Capability
    run: int
    full: bool = False


Keep = Callable[[Resource], bool]


class Query(NamedTuple):
    """One search of the plan: whose it is ("" for nobody's), its name in the ledger, and which answers are to be kept.

    `surplus` is what the others are called. `incremental` is False where what changed would not be enough.
    """

    patient: str
    name: str
    type: str
    parameters: tuple[tuple[str, str], ...]
    keep: Keep
    surplus: str = "filter_ignored"
    incremental: bool = True


def search(puller: Puller, query: Query) -> Iterator[Resource]:
    """Run one search as one unit of the ledger and give what is kept, page by page."""
    unit = begun(puller, query.patient, query.name)
    parameters = [("_count", str(puller.site.pull.page_size))]
    if query.incremental and _changes_suffice(puller, unit, query):
        parameters.append(("_lastUpdated", f"ge{unit.watermark}"))
    tally = _Tally(puller, unit, query)
    with tally.judged():
        for page in pages(puller.connection, _address(puller, query, parameters)):
            yield from tally.take(page)
        tally.check_proof()


def _changes_suffice(puller: Puller, unit: Unit, query: Query) -> bool:
    """Whether only what changed need be asked for. Not while something is set aside: it would be forgotten unmended."""
    listed = puller.capability.searches(query.type, "_lastUpdated")
    whole = puller.full or has_set_aside(puller.db, unit.site, unit.query, unit.patient)
    return unit.watermark is not None and listed and not whole


def begun(puller: Puller, patient: str, query: str) -> Unit:
    """The unit's new row. Its watermark stays where the last complete try left it."""
    before = get_unit(puller.db, puller.site.name, patient, query)
    return Unit(puller.site.name, patient, query, watermark=before.watermark if before else None, run=puller.run)


def _address(puller: Puller, query: Query, parameters: list[tuple[str, str]]) -> str:
    if query.patient:
        return patient_search(puller.capability, query.type, query.parameters[0][0], query.patient, parameters)
    return search_url(query.type, [*query.parameters, *parameters])


def patient_search(
    capability: Capability, type_name: str, parameter: str, patient: str, more: Sequence[tuple[str, str]]
) -> str:
    """The address that finds a patient's resources of one type.

    Where the server does not list the parameter it goes by the patient's compartment: an unknown parameter is ignored
    by many servers, and the answer is everybody's.
    """
    if capability.searches(type_name, parameter):
        return search_url(type_name, [(parameter, patient), *more])
    return search_url(f"{read_url(patient)}/{type_name}", more)


def read(puller: Puller, patient: str, query: str, references: list[str]) -> None:
    """Read single resources as one unit. One that is gone is counted, not an error: hospitals delete old Medications."""
    unit = replace(begun(puller, patient, query), expected=len(references))
    tally = _Tally(puller, unit, Query(patient, query, query, (), lambda r: r.reference in references))
    with tally.judged():
        for reference in references:
            answer = puller.connection.get(read_url(reference), accept=(404, 410))
            if answer.status in (404, 410):
                tally.gone(reference)
                continue
            try:
                resource = read_resource(answer.body)
            except Unusable as error:
                raise RequestFailed(f"{reference} is unusable: {error.message}", reason=error.reason) from None
            tally.take(Page((resource,), (), (), None, None, answer))


class _Tally:
    """One unit while it is being pulled: counts every page into its ledger row, in the page's own transaction."""

    def __init__(self, puller: Puller, unit: Unit, query: Query) -> None:
        self._puller, self._unit, self._query = puller, unit, query
        self._seen: set[str] = set()
        self._notes: Counter[str] = Counter()
        self._received = self._rejected = self._pages = 0
        self._retries_before = puller.connection.retries
        self._started: datetime | None = None
        put_unit(puller.db, unit)

    def take(self, page: Page) -> list[Resource]:
        """Store a page and what it changes in the ledger, in one transaction; and what of the page is kept."""
        self._pages += 1
        self._started = self._started or page.answer.date or datetime.now(UTC)
        self._unit = replace(self._unit, expected=page.total if page.total is not None else self._unit.expected)
        with transaction(self._puller.db):
            kept = [resource for resource in page.resources if self._file(resource)]
            self._set_aside(page)
            self._notes["server_message"] += len(page.messages)
            self._notes["next_rewritten"] += page.rewritten
            self._write()
        if self._notes["foreign_subject"] > MOST_FOREIGN:
            raise RequestFailed("the server sends other patients' records", reason="foreign-subject")
        if self._notes["filter_ignored"] and not kept:
            # A server that ignores the search would have us page through the whole hospital.
            raise RequestFailed(
                "the server sends what was not asked for: it ignores this search", reason="filter-ignored"
            )
        return kept

    def check_proof(self) -> None:
        """An empty answer to a search that the server does not list proves nothing. Raises RequestFailed for that."""
        asked_unlisted = self._unit.patient and not self._puller.capability.searches(
            self._query.type, self._query.parameters[0][0]
        )
        if asked_unlisted and not self._seen and not self._unit.watermark:
            message = (
                f"the server lists no search of {self._query.type} by patient, and an empty answer to it proves nothing"
            )
            raise RequestFailed(message, reason="not-listed", hint="name the type in whole_types or optional_types")

    def gone(self, reference: str) -> None:
        """Count a resource that the server no longer has."""
        self._notes["gone"] += 1
        self._seen.add(reference)

    def judged(self) -> "_Judged":
        """The block in which the unit's requests run; how it ends is the unit's state."""
        return _Judged(self)

    def complete(self) -> None:
        """The last page is in: complete, or partial with the reason."""
        expected, unique = self._unit.expected, len(self._seen) + self._rejected
        if self._notes["foreign_subject"]:
            self.fail(
                "partial",
                "foreign-subject",
                f"{self._notes['foreign_subject']} resources of another patient in the answer; not stored",
            )
        elif expected is not None and unique < expected:
            self.fail("partial", "short", f"{unique} of {expected} announced, no further page")
        else:
            mark = ((self._started or datetime.now(UTC)) - OVERLAP).isoformat(timespec="seconds").replace("+00:00", "Z")
            self._close(state="complete", reason=None, message=None, watermark=mark)

    def fail(self, state: str, reason: str, message: str) -> None:
        """Not complete: the watermark stays."""
        self._close(state=state, reason=reason, message=message)

    def failed_with(self, error: RequestFailed) -> None:
        """A request of the unit failed for good."""
        if error.reason == "not-listed":
            state = "unsupported"
        elif error.status == 403 and not self._pages:
            state = "refused"
        elif error.status in _UNSUPPORTED and not self._pages:
            state = "unsupported"
        else:
            state = "partial" if self._pages else "failed"
        page = f"page {self._pages + 1}: " if self._pages and state != "unsupported" else ""
        self.fail(state, error.reason, page + str(error).replace("\n", ";"))

    def _file(self, resource: Resource) -> bool:
        """Store one resource unless it is not what was asked for; whether it was."""
        self._received += 1
        if resource.subject is None and self._unit.patient and self._query.type != "Medication":
            # It came as the patient's, by whatever the server knows it is; without a subject nobody would ever see it.
            resource = resource._replace(subject=self._unit.patient)
            self._notes["subject_assumed"] += 1
        self._notes["duplicate"] += resource.reference in self._seen
        self._seen.add(resource.reference)
        if not self._query.keep(resource):
            self._notes[self._query.surplus] += 1
            return False
        if resource.type == "Observation" and self._puller.mapper.is_own(resource.body):
            self._notes["own_outcome"] += 1
            return False
        self._notes["other_type"] += resource.type != self._query.type
        self._notes[put_resource(self._puller.db, self._unit.site, resource, self._unit.run)] += 1
        return True

    def _set_aside(self, page: Page) -> None:
        unit = self._unit
        for index, (reason, body) in enumerate(page.rejected):
            place = f"page {self._pages}, entry {index}"
            set_aside(self._puller.db, unit.site, unit.patient, unit.query, place, reason, body, unit.run)
        self._rejected += len(page.rejected)

    def _close(self, **values: object) -> None:
        self._unit = replace(self._unit, **values)
        with transaction(self._puller.db):
            if self._unit.state == "complete":
                clear_set_aside(self._puller.db, self._unit.site, self._unit.query, self._unit.patient, self._unit.run)
            self._write()

    def _write(self) -> None:
        notes = {name: count for name, count in sorted(self._notes.items()) if count}
        retries = self._puller.connection.retries - self._retries_before
        unit = replace(
            self._unit,
            received=self._received + self._rejected,
            unique=len(self._seen),
            pages=self._pages,
            retries=retries,
            notes=notes,
        )
        put_unit(self._puller.db, unit)


class _Judged:
    """Turns how a unit's requests ended into the unit's state. What concerns the whole site goes on upwards."""

    def __init__(self, tally: _Tally) -> None:
        self._tally = tally

    def __enter__(self) -> None:
        return

    def __exit__(self, _: object, error: BaseException | None, __: object) -> bool:
        if error is None:
            self._tally.complete()
        elif isinstance(error, RequestFailed):
            self._tally.failed_with(error)
            return True
        elif isinstance(error, LoginRefused):
            self._tally.fail("failed", "auth", error.message)
        elif isinstance(error, ServerUnavailable):
            self._tally.fail("partial", "unreachable", error.message)
        return False
