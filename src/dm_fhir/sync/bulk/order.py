"""What is asked of a site's bulk export, and since when changes suffice."""

import hashlib
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import NamedTuple

from msgspec.structs import replace

from dm_fhir.config import Site
from dm_fhir.fhir.bulk_kick_off import Export
from dm_fhir.fhir.retry_after import instant
from dm_fhir.store.bulk_jobs import BulkJob, not_read_in_full, transaction_times
from dm_fhir.store.ledger import Unit, get_unit, put_units
from dm_fhir.store.members import members
from dm_fhir.sync.mapper import Mapper
from dm_fhir.sync.puller import Puller
from dm_fhir.sync.query import FORMS, PATIENT, SEARCHES, is_recent
from dm_fhir.sync.tally import begun

#: How the query of everything of an export begins.
BULK = "bulk: "
#: What an export says beside its resources: what was deleted, and what could not be exported.
DELETED, ERROR = f"{BULK}deleted", f"{BULK}error"
#: It belongs to no patient: an export of patients need not hold it.
MEDICATION = "Medication"
#: The type by which a cohort is found in the files.
_FOUND_BY = {"medication": "MedicationAdministration", "condition": "Condition", "patients": "Patient"}


class Order(NamedTuple):
    """What a site's export is to hold. `asked` changes with it; `units` are its units' queries, each with what it asks."""

    site: Site
    types: tuple[str, ...]
    asked: str
    units: Mapping[str, str]

    def export(self, since: str | None) -> Export:
        """The order as the server gets it."""
        bulk = self.site.bulk
        level = {"group": bulk.group or "", "patient": "Patient", "system": ""}[bulk.level]
        return Export(level, self.types, since, bulk.type_filters, bulk.elements)

    @property
    def found_by(self) -> str:
        """The type by which the cohort is found in the files."""
        return _FOUND_BY.get(self.site.cohort.by, PATIENT.type)


def unit_of(type_name: str) -> str:
    """The query of the unit that counts a type."""
    return f"{BULK}{type_name}"


def types_of(site: Site, mapper: Mapper) -> tuple[str, ...]:
    """The types that are exported; the plan's others are searched for."""
    forms = (FORMS[0],) if mapper.reads_forms else ()
    every = (PATIENT.type, *(name for name, _ in SEARCHES), *forms, MEDICATION)
    return every if site.bulk.types is None else tuple(name for name in every if name in site.bulk.types)


def order_of(site: Site, mapper: Mapper) -> Order:
    """What this site's export is asked for now."""
    bulk, types = site.bulk, types_of(site, mapper)
    whole = (bulk.level, bulk.group, bulk.elements, site.pull.scope, mapper.scope, site.cohort.by, _list(site))
    filters = {name: [one for one in bulk.type_filters if one.startswith(f"{name}?")] for name in types}
    units = {unit_of(name): _hash((whole, name, filters[name])) for name in types}
    asked = _hash(sorted(units.items()))
    return Order(site, types, asked, {**units, DELETED: _hash(whole), ERROR: _hash(whole)})


def begun_units(puller: Puller, order: Order, job: BulkJob | None) -> dict[str, Unit]:
    """The rows of the order's units as an export begins with them, or this job began; as such they are written down."""
    with puller.writing() as db:
        units = {
            query: begun(get_unit(db, puller.name, "", query), puller.name, "", query, puller.run, asked)
            for query, asked in order.units.items()
        }
        if job is not None:  # its files may have been taken in half
            for query, (watermark, read_in_full) in job.marks.items():
                units[query] = replace(units[query], watermark=watermark, read_in_full=read_in_full)
        put_units(db, list(units.values()))
    return units


def since_of(puller: Puller, order: Order) -> str | None:
    """The transaction time of the last export, in its server's words, if changes since then suffice; None: everything.

    Everything: the first time, when asked to, when another thing is asked for, when it is long ago (deletions show only in full
    exports), when something of the last one is open, and when somebody has joined the cohort: a server leaves out what is
    older than `_since`, also of those whose records nobody has kept yet.
    """
    if puller.full:
        return None
    with puller.reading() as db:
        if not_read_in_full(db, puller.name, members(db, puller.name)):
            return None
        times = transaction_times(db, puller.name)
        units = {query: get_unit(db, puller.name, "", query) for query in order.units}
    marks = []
    for query, unit in units.items():
        was_full = unit is not None and unit.asked == order.units[query] and unit.read_in_full is not None
        if unit is not None and was_full and unit.watermark and is_recent(puller, unit.read_in_full or ""):
            marks.append(unit.watermark)
        elif was_full or not _may_be_absent(order, query, unit):
            return None
    return said_as(min(marks), times) if marks else None


def said_as(mark: str, times: Iterable[str]) -> str | None:
    """The first of these transaction times that has this mark; None: none has. Several exports may fall into one second."""
    return next((text for text in times if moment_of(text) == mark), None)


def may_lack(order: Order, type_name: str) -> bool:
    """Whether an export at this level need not hold the type: then it is read by other means."""
    return type_name == MEDICATION and order.site.bulk.level != "system"


def _may_be_absent(order: Order, query: str, unit: Unit | None) -> bool:
    """Whether the last full export need not have had it."""
    is_optional = unit is not None and unit.state == "unsupported" and unit.asked == order.units[query]
    return is_optional or may_lack(order, query.removeprefix(BULK))


def moment_of(transaction_time: str | None) -> str | None:
    """The time as a watermark, never later than it is; None if it is no time."""
    try:
        moment = datetime.fromisoformat(transaction_time or "")
        return instant(moment) if moment.tzinfo else None
    except (ValueError, OverflowError):
        return None


def _list(site: Site) -> str:
    """Changes with who is on the list: the Patients who are new on it may not be among what has changed."""
    try:
        return hashlib.sha256(site.cohort.patients.read_bytes()).hexdigest() if site.cohort.patients else ""
    except OSError:
        return ""  # whoever reads it says what is wrong with it


def _hash(asked: object) -> str:
    return hashlib.sha256(repr(asked).encode()).hexdigest()[:16]
