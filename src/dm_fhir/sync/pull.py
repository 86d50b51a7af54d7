"""Pull: everything of a site's cohort into the store, every patient x query accounted for in the ledger.

A page and its ledger row are committed together. A unit begins as `partial, interrupted`, so that a killed run leaves
the truth behind, and its watermark moves only when it is complete. Units that were not even begun keep one unit open,
the whole plan.
"""

import sqlite3
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import msgspec
from msgspec.structs import replace

from dm_fhir.config import Site
from dm_fhir.errors import LoginRefused, RequestFailed, ServerUnavailable
from dm_fhir.fhir.capability import Capability, read_capability
from dm_fhir.fhir.connection import Connection
from dm_fhir.fhir.resource import Resource, Unusable, local_reference, read_resource
from dm_fhir.fhir.search import Page, pages, search_url
from dm_fhir.store.database import transaction
from dm_fhir.store.ledger import Unit, get_unit, now, put_unit, units
from dm_fhir.store.resources import clear_set_aside, has_resource, put_resource, resources_of, set_aside
from dm_fhir.sync.mapper import Mapper

#: How far a later pull reaches back behind the last one: server nodes' clocks drift, and indexes lag.
OVERLAP = timedelta(minutes=10)
MOST_FOREIGN = 10
COHORT = "cohort"
#: The unit that is complete when every other one of the site has been tried.
PLAN = "whole plan"
#: Each type of a patient's record with the search parameter that finds the patient's. AdverseEvent has no `patient` in R4.
SEARCHES = (
    ("MedicationAdministration", "patient"),
    ("Observation", "patient"),
    ("Condition", "patient"),
    ("MedicationRequest", "patient"),
    ("MedicationStatement", "patient"),
    ("AdverseEvent", "subject"),
)
_UNSUPPORTED = (400, 404, 405, 501)

Progress = Callable[[str, int, int], None]


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


def pull_site(
    db: sqlite3.Connection,
    site: Site,
    connection: Connection,
    mapper: Mapper,
    run: int,
    *,
    full: bool,
    progress: Progress,
) -> int:
    """Pull the site's cohort and return how many patients it has. The ledger says how complete that is.

    Raises ServerUnavailable or LoginRefused when going on is pointless, ConfigError if the endpoint is no FHIR R4 server;
    units that were not reached keep their rows.
    """
    puller = Puller(db, site, connection, mapper, read_capability(connection), run, full)
    plan = replace(_begun(puller, "", PLAN), message="the last pull did not get through")
    put_unit(db, plan)
    patients = _cohort(puller)
    for index, patient in enumerate(patients):
        progress(site.name, index, len(patients))
        _pull_patient(puller, patient)
    for type_name in site.pull.whole_types:
        _pull_whole(puller, type_name, set(patients))
    progress(site.name, len(patients), len(patients))
    put_unit(db, replace(plan, state="complete", reason=None, message=None, watermark=now()))
    return len(patients)


def is_attention_needed(site: Site, unit: Unit) -> bool:
    """Whether the unit keeps the site from being complete."""
    optional = unit.state == "unsupported" and unit.query.partition("?")[0] in site.pull.optional_types
    return unit.state != "complete" and not optional


def _cohort(puller: Puller) -> list[str]:
    """The patients who were given the study drug, found now or in an earlier pull, in order.

    What comes back is checked: a server that ignores `code` would otherwise hand us the whole hospital. These searches
    always ask for all: a new patient may be given an old Medication, and a killed run forgets whom it had found.
    """
    codes = ",".join(f"{system}|{code}" for system, code in puller.mapper.drug_codes())
    found = _subjects(_search(puller, _administrations(puller, "code", codes, ())))
    # Administrations that only refer to a Medication are not found by code on most servers.
    medications = [resource.reference for resource in _search(puller, _drug_medications(puller, codes))]
    if medications:
        found |= _subjects(_search(puller, _administrations(puller, "medication", ",".join(medications), medications)))
    known = {unit.patient for unit in units(puller.db, puller.site.name) if unit.patient}
    return sorted(found | known)


def _drug_medications(puller: Puller, codes: str) -> Query:
    name = f"{COHORT}: Medication by code"
    return Query("", name, "Medication", (("code", codes),), lambda r: puller.mapper.is_drug(r.body), incremental=False)


def _administrations(puller: Puller, parameter: str, value: str, medications: Collection[str]) -> Query:
    name = f"{COHORT}: MedicationAdministration by {parameter}"
    type_name, asked = "MedicationAdministration", ((parameter, value),)
    return Query("", name, type_name, asked, lambda r: puller.mapper.gives_drug(r.body, medications), incremental=False)


def _subjects(resources: Iterable[Resource]) -> set[str]:
    return {resource.subject for resource in resources if resource.subject and resource.subject.startswith("Patient/")}


def _pull_patient(puller: Puller, patient: str) -> None:
    _read(puller, patient, "Patient", [patient])
    for type_name, parameter in SEARCHES:
        if type_name not in puller.site.pull.whole_types:
            _drain(_search(puller, _of_patient(type_name, parameter, patient)))
    missing = [m for m in _medication_references(puller, patient) if not has_resource(puller.db, puller.site.name, m)]
    if missing:
        _read(puller, patient, "Medication", missing)


def _of_patient(type_name: str, parameter: str, patient: str) -> Query:
    name = f"{type_name}?{parameter}"
    return Query(
        patient, name, type_name, ((parameter, patient),), lambda r: r.subject in (None, patient), "foreign_subject"
    )


def _pull_whole(puller: Puller, type_name: str, patients: Collection[str]) -> None:
    """A type that cannot be searched by patient. Always all of it: a new patient's old records must come too."""
    name = f"{type_name}, whole"
    query = Query("", name, type_name, (), lambda r: r.subject in patients, "not_in_cohort", incremental=False)
    _drain(_search(puller, query))


def _drain(resources: Iterator[Resource]) -> None:
    for _ in resources:
        pass


def _search(puller: Puller, query: Query) -> Iterator[Resource]:
    """Run one search as one unit of the ledger and give what is kept, page by page."""
    unit = _begun(puller, query.patient, query.name)
    parameters = [("_count", str(puller.site.pull.page_size))]
    listed = puller.capability.searches(query.type, "_lastUpdated")
    if unit.watermark is not None and query.incremental and listed and not puller.full:
        parameters.append(("_lastUpdated", f"ge{unit.watermark}"))
    tally = _Tally(puller, unit, query)
    with tally.judged():
        for page in pages(puller.connection, _address(puller, query, parameters)):
            yield from tally.take(page)
        tally.check_proof()


def _begun(puller: Puller, patient: str, query: str) -> Unit:
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
    return search_url(f"{patient}/{type_name}", more)


def _read(puller: Puller, patient: str, query: str, references: list[str]) -> None:
    """Read single resources as one unit. One that is gone is counted, not an error: hospitals delete old Medications."""
    unit = replace(_begun(puller, patient, query), expected=len(references))
    tally = _Tally(puller, unit, Query(patient, query, query, (), lambda r: r.reference in references))
    with tally.judged():
        for reference in references:
            answer = puller.connection.get(reference, accept=(404, 410))
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
        with transaction(puller.db):
            clear_set_aside(puller.db, unit.site, unit.query, unit.patient)
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


class _References(msgspec.Struct, frozen=True):
    medicationReference: msgspec.Raw = msgspec.Raw()


class _Reference(msgspec.Struct, frozen=True):
    reference: str | None = None


def _medication_references(puller: Puller, patient: str) -> list[str]:
    """The Medications that the patient's stored records refer to, outside themselves."""
    found = set()
    for stored in resources_of(puller.db, puller.site.name, patient):
        if stored.type not in ("MedicationAdministration", "MedicationRequest", "MedicationStatement"):
            continue
        try:
            raw = msgspec.json.decode(stored.body, type=_References).medicationReference
            reference = msgspec.json.decode(raw, type=_Reference).reference if bytes(raw) else None
        except msgspec.DecodeError:
            continue  # the mapping reports it as unreadable, with its path
        if reference and not reference.startswith(("#", "urn:")):
            found.add(local_reference(reference))
    return sorted(reference for reference in found if reference.startswith("Medication/"))
