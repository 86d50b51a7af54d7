"""Everything that a pull needs of a site, tried: what works, what degrades, what to ask the hospital for. Nothing is changed.

What a pull would write down of the server goes into a store of its own that is gone afterwards; no record ever gets there.
"""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec
from msgspec.structs import replace

from dm_fhir.config import Site
from dm_fhir.errors import ConfigError, DmFhirError, InternalError, in_a_line, worst_exit_code
from dm_fhir.fhir.budget import Budget
from dm_fhir.fhir.capability import Capability
from dm_fhir.fhir.connection import Connection
from dm_fhir.fhir.login import connect
from dm_fhir.fhir.resource import Resource
from dm_fhir.fhir.vendors import vendor_of
from dm_fhir.store.database import open_store, transaction
from dm_fhir.store.facts import facts, remember
from dm_fhir.store.looking import Fact, Known
from dm_fhir.sync.check import Check
from dm_fhir.sync.check_access import (
    check_certificate,
    check_clocks,
    check_endpoint,
    check_files,
    check_login,
    stopped,
)
from dm_fhir.sync.check_bulk import check_export, is_more_to_ask
from dm_fhir.sync.check_cohort import check_cohort, two_patients
from dm_fhir.sync.check_manners import check_manners
from dm_fhir.sync.check_queries import SAMPLE, check_medications, check_patient, check_queries
from dm_fhir.sync.check_sample import FaultsOf, Sampled, check_sample, sampled
from dm_fhir.sync.check_scopes import check_scopes
from dm_fhir.sync.check_settings import Row, Setting, row_of, settings_in_force
from dm_fhir.sync.check_together import check_together
from dm_fhir.sync.mapper import Mapper
from dm_fhir.sync.pull import opened_puller
from dm_fhir.sync.puller import Puller

#: What does not work is told sooner than a pull would give up.
_MOST_TRIES = 3


class Examination(msgspec.Struct):
    """What was tried at a site, in this order; how its server is asked; what is known of it.

    `facts` is what earlier pulls found out, `found_now` what was found out otherwise now, and is not kept.
    """

    site: str
    checks: list[Check] = []
    server: str | None = None
    vendor: Row | None = None
    settings: list[Setting] = []
    facts: list[Fact] = []
    found_now: dict[str, str] = {}
    sample: dict[str, Sampled] = {}

    @property
    def exit_code(self) -> int:
        """The code with which a pull, or a push where the config wants one, would end."""
        return worst_exit_code(check.exit_code for check in self.checks)


def examine(
    site: Site,
    drug: str,
    mapper: Mapper,
    known: Known,
    faults_of: FaultsOf,
    tell: Callable[[Check], None],
    budget: Budget | None = None,
) -> Examination:
    """Try everything that a pull of the site needs, as far as it goes, and `tell` each check when it is over.

    `known` is what the site's store tells, `budget` what it shares with other sites that are tried meanwhile.
    """
    examination = Examination(site.name, [check_files(site)], facts=list(known.facts))
    if site.endpoint is None:
        said = "none: the records of this site come as files (dm-fhir pull --from)"
        examination.checks.append(Check("endpoint", "works", said))
        return examination
    try:
        vendor_of(Capability(), site.vendor)
        connection = connect(_less_patient(site), budget=budget)
    except ConfigError as error:
        examination.checks.append(misconfigured(error))
        return examination
    with connection, _passing_store(drug, site.name, known) as db:
        _examine_server(examination, db, site, connection, mapper, known, faults_of, tell)
    return examination


def misconfigured(error: ConfigError) -> Check:
    """The check of a config, a table or a secret that cannot be used: nothing more can be tried."""
    return Check(
        "config", "fails", in_a_line(error), "nothing can be pulled", mend=error.hint, exit_code=error.exit_code
    )


def mistaken(error: InternalError) -> Check:
    """The check of a mistake of this program: of the site nothing more was tried."""
    return Check("dm-fhir", "fails", error.message, "nothing more was tried here", exit_code=error.exit_code)


def _examine_server(
    examination: Examination,
    db: sqlite3.Connection,
    site: Site,
    connection: Connection,
    mapper: Mapper,
    known: Known,
    faults_of: FaultsOf,
    tell: Callable[[Check], None],
) -> None:
    try:
        puller = opened_puller(db, site, connection, mapper, run=0)
        examination.server, examination.vendor = puller.capability.name, row_of(puller)
        try:
            for check in _checks(examination, puller, known, faults_of):
                examination.checks.append(check)
                tell(check)
        finally:
            examination.settings = settings_in_force(puller)
            examination.found_now = _found_now(db, site.name, known)
    except DmFhirError as error:
        examination.checks.append(stopped(error, site))


def _checks(examination: Examination, puller: Puller, known: Known, faults_of: FaultsOf) -> Iterator[Check]:
    """One after the other; each goes on from what those before it found."""
    site, connection = puller.site, puller.connection
    yield check_endpoint(puller, next((fact.value for fact in known.facts if fact.name == "server"), None))
    yield check_certificate(site, connection.endpoint)
    yield check_clocks(connection)
    login = check_login(connection, site)
    yield login
    if not login.ok:
        return
    yield from check_scopes(connection, site, reads_forms=puller.mapper.reads_forms)
    if site.pull.mode == "bulk":
        yield from check_export(puller)
        if not is_more_to_ask(puller):
            return
    found = yield from check_cohort(puller, known.members)
    patient = found.patients[0] if found.patients else None
    record = (yield from check_patient(puller, patient)) if patient else None
    asked = yield from check_queries(puller, patient, _names(puller, patient, record))
    medication = yield from check_medications(puller, asked)
    patients = two_patients(puller, found)
    yield from check_together(puller, asked, patients)
    yield from check_manners(puller, asked, patients)
    records = [*filter(None, (record, medication)), *(one for query in asked for one in query.sample)]
    examination.sample = sampled(records, faults_of, SAMPLE)
    yield check_sample(examination.sample)


def _names(puller: Puller, patient: str | None, record: Resource | None) -> set[str]:
    """The references by which the patient goes: a merged one has several."""
    linked = [reference for _, reference in puller.mapper.merges(record.body)] if record else []
    return {*linked, *([patient] if patient else [])}


def _less_patient(site: Site) -> Site:
    return replace(site, pull=replace(site.pull, tries=min(site.pull.tries, _MOST_TRIES)))


def _found_now(db: sqlite3.Connection, site: str, known: Known) -> dict[str, str]:
    before = {fact.name: fact.value for fact in known.facts}
    return {name: value for name, value in facts(db, site).items() if name != "server" and before.get(name) != value}


@contextmanager
def _passing_store(drug: str, site: str, known: Known) -> Iterator[sqlite3.Connection]:
    """A store for as long as this takes, in which the server is known as in the study's own."""
    with (
        TemporaryDirectory(
            prefix="dm-fhir-", ignore_cleanup_errors=True
        ) as folder,  # a thread may be at work at the end
        closing(open_store(Path(folder) / "store.sqlite", drug)) as db,
    ):
        with transaction(db):
            for fact in known.facts:
                remember(db, site, fact.name, fact.value)
        yield db
