"""What somebody who helps may see of a study: a closed list of counts, states and words, in files of JSON.

Nothing is taken and then cleaned. Every value is a number, a time of the program's own, a word from a closed list
(`public_words`, the schema of the config) or a version. Patients are running numbers that mean nothing elsewhere; the names of sites and
hosts stay out too unless somebody wants them in. Texts, ids, file names and whatever a server said have no way in.
"""

import platform
import re
import secrets
import sqlite3
import sys
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from importlib.metadata import PackageNotFoundError, version
from typing import Any, NamedTuple

import msgspec

from dm_fhir import __version__
from dm_fhir.config import Config, Site
from dm_fhir.fhir.capability import Capability
from dm_fhir.fhir.vendors import vendor_of
from dm_fhir.model.case import FORMAT_VERSION
from dm_fhir.model.findings import KINDS, severity_of
from dm_fhir.store import cases, ledger, pushes, quarantine, resources
from dm_fhir.store.facts import facts
from dm_fhir.store.ledger import Unit
from dm_fhir.store.schema import SCHEMA_VERSION
from dm_fhir.store.stops import Stop, stops
from dm_fhir.store.unit_names import Naming
from dm_fhir.sync.metrics import PUSH_STATES
from dm_fhir.sync.public_words import OTHER, PATIENT_STATES, TYPES, fact_said, note_said, query_said, reason_said, said
from dm_fhir.sync.support_config import config_shown

Json = dict[str, Any]
#: The packages whose versions matter.
PACKAGES = (
    "backports.zstd", "certifi", "click", "cryptography", "fhir.resources", "filelock", "jinja2", "jsonschema", "matplotlib",
    "msgspec", "openpyxl", "pyarrow", "pydantic", "PyJWT", "requests", "scipy", "sekmet-fhir", "tenacity", "tzdata", "urllib3",
)  # fmt: skip
#: The tables of the store, whose rows are counted.
TABLES = (
    "audit", "block", "bulk_file", "bulk_job", "bulk_patient", "case_document", "cohort_member", "finding", "outcome", "push", "quarantine", "query_mark", "resource",
    "resource_version", "run", "server_fact", "setting", "stop", "transmission", "unit",
)  # fmt: skip
COMMANDS = ("pull", "import", "compute", "push", "sync", "demo")
#: A number that a server announced and that is larger counts nothing.
_MOST_COUNTED = 9_999_999
_MOST_RUNS = 500
_VERSION = re.compile(r"[0-9][0-9A-Za-z.+~-]{0,40}")
_TRANSMISSIONS = ("sending", "sent", "documented", "undocumented")


class Shown(NamedTuple):
    """How things are called: each site by `site-1` and so on, or by its own name; the unit names of the log, if there are any."""

    sites: Mapping[str, str]
    hosts: bool
    name_unit: Naming | None


def shown_as(config: Config, *, named: bool, name_unit: Naming | None) -> Shown:
    """How this study's sites are called. `named`: by their own names, and their hosts are shown."""
    names = {site.name: site.name if named else f"site-{number}" for number, site in enumerate(config.sites, 1)}
    return Shown(names, named, name_unit)


def support_files(config: Config, document: Json, db: sqlite3.Connection | None, shown: Shown) -> dict[str, bytes]:
    """The files by name. `document` is the config as it was read. Without a store those of the store are missing."""
    found: dict[str, object] = {"versions.json": _versions(db), "config.json": config_shown(document, shown.sites, hosts=shown.hosts)}  # fmt: skip
    if db is not None:
        found |= {
            "store.json": _store(db),
            "runs.json": _runs(db),
            "ledger.json": [_ledger(db, site, shown) for site in config.sites],
            "findings.json": [_findings(db, site, shown) for site in config.sites],
            "outcomes.json": [_outcomes(db, site, shown) for site in config.sites],
            "servers.json": [_server(db, site, shown) for site in config.sites],
        }
    return {name: _written(value) for name, value in found.items()}


def _written(value: object) -> bytes:
    return msgspec.json.format(msgspec.json.encode(value), indent=2) + b"\n"


def _versions(db: sqlite3.Connection | None) -> Json:
    return {
        "dm_fhir": __version__, "store": db.execute("PRAGMA user_version").fetchone()[0] if db else None,
        "store_of_this_version": SCHEMA_VERSION, "case_series_format": FORMAT_VERSION,
        "python": platform.python_version(), "implementation": sys.implementation.name, "sqlite": sqlite3.sqlite_version,
        "system": said(platform.system(), ("Linux", "Darwin", "Windows", "FreeBSD")), "release": _version(platform.release()),
        "machine": said(platform.machine(), ("x86_64", "aarch64", "arm64", "AMD64", "ppc64le", "s390x", "riscv64")),
        "packages": {name: _package(name) for name in PACKAGES},
    }  # fmt: skip


def _package(name: str) -> str | None:
    try:
        return _version(version(name))
    except PackageNotFoundError:
        return None


def _version(text: str) -> str:
    return text if _VERSION.fullmatch(text) else OTHER


def _store(db: sqlite3.Connection) -> Json:
    """How large it is, how many rows each table has, and whether SQLite finds it sound."""
    there = {row[0] for row in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    pages, page = (int(db.execute(f"PRAGMA {name}").fetchone()[0]) for name in ("page_count", "page_size"))
    rows = {table: db.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in TABLES if table in there}  # noqa: S608  # names of our own
    is_sound = db.execute("PRAGMA quick_check(1)").fetchone()[0] == "ok"
    others = len(there - {*TABLES, "sqlite_sequence", "sqlite_stat1"})
    return {"bytes": pages * page, "rows": rows, "other_tables": others, "is_sound": is_sound}


def _runs(db: sqlite3.Connection) -> list[Json]:
    times = _Times(db)
    return [
        {"run": run.id, "command": said(run.command, COMMANDS), "started": times.shown(run.started),
         "ended": times.shown(run.ended), "exit_code": run.exit_code}
        for run in ledger.runs(db, _MOST_RUNS)
    ]  # fmt: skip


class _Times:
    """Times that lie where a run's can; one that is elsewhere may be anything's."""

    def __init__(self, db: sqlite3.Connection) -> None:
        first = db.execute("SELECT min(started) FROM run").fetchone()[0]
        moment = _moment(first)
        self._from = moment - timedelta(days=1) if moment else None
        self._until = datetime.now(UTC) + timedelta(days=2)

    def shown(self, text: str | None) -> str | None:
        if text is None:
            return None
        moment = _moment(text)
        is_ours = moment is not None and self._from is not None and self._from <= moment <= self._until
        return moment.strftime("%Y-%m-%dT%H:%M:%SZ") if moment is not None and is_ours else OTHER


def _moment(text: str | None) -> datetime | None:
    try:
        moment = datetime.fromisoformat(text or "")
    except ValueError:
        return None
    return moment.astimezone(UTC) if moment.tzinfo else None


def _ledger(db: sqlite3.Connection, site: Site, shown: Shown) -> Json:
    """Each unit, its patient by a number that is drawn anew each time; what is set aside and what is in the store, by count."""
    units, times = ledger.units(db, site.name), _Times(db)
    patients = sorted({unit.patient for unit in units if unit.patient})
    secrets.SystemRandom().shuffle(patients)
    numbers = {patient: number for number, patient in enumerate(patients, 1)}
    aside = quarantine.quarantined(db, site.name)
    return {
        "site": shown.sites[site.name],
        "all_read_until": times.shown(ledger.read_until(db, site.name, site.pull.optional_types)),
        "patients": _counted(cases.counts_by_state(db, site.name), PATIENT_STATES),
        "resources": _counted(resources.counts_by_type(db, site.name), TYPES),
        "set_aside": _reasons(one.reason for one in aside if one.acknowledged is None),
        "set_aside_and_acknowledged": _reasons(one.reason for one in aside if one.acknowledged is not None),
        "stopped": [_stop(stop, times) for stop in stops(db, site.name)],
        "units": [_unit(unit, numbers, times, shown) for unit in units],
    }


def _stop(stop: Stop, times: _Times) -> Json:
    return {
        "step": stop.step, "exit_code": stop.exit_code, "reason": reason_said(stop.reason), "since": times.shown(stop.since),
        "tried": times.shown(stop.tried), "run": stop.run,
    }  # fmt: skip


def _unit(unit: Unit, numbers: Mapping[str, int], times: _Times, shown: Shown) -> Json:
    notes: Counter[str] = Counter()
    for name, count in unit.notes.items():
        notes[note_said(name)] += count
    return {
        "unit": shown.name_unit(unit.site, unit.patient, unit.query) if shown.name_unit else None,
        "patient": numbers.get(unit.patient), "query": query_said(unit.query), "state": said(unit.state, ledger.STATES),
        "reason": reason_said(unit.reason), "has_message": unit.message is not None, "expected": _count(unit.expected),
        "received": unit.received, "unique": unit.unique, "pages": unit.pages, "retries": unit.retries,
        "notes": dict(sorted(notes.items())), "run": unit.run, "ended": times.shown(unit.ended),
        "watermark": times.shown(unit.watermark), "read_in_full": times.shown(unit.read_in_full),
        "not_before": times.shown(unit.not_before),
    }  # fmt: skip


def _count(number: int | None) -> int | str | None:
    return number if number is None or 0 <= number <= _MOST_COUNTED else OTHER


def _findings(db: sqlite3.Connection, site: Site, shown: Shown) -> Json:
    rows: dict[str, list[int]] = {}
    for code, count in cases.finding_counts(db, site.name).items():
        row = rows.setdefault(said(code, KINDS) or OTHER, [0, 0])
        row[0] += count.findings
        row[1] += count.patients
    found = [
        {"code": code, "severity": severity_of(code) if code in KINDS else OTHER, "findings": n, "patients": patients}
        for code, (n, patients) in rows.items()
    ]
    return {"site": shown.sites[site.name], "findings": found}


def _outcomes(db: sqlite3.Connection, site: Site, shown: Shown) -> Json:
    sent = dict(
        db.execute("SELECT state, count(*) FROM transmission WHERE site = ? GROUP BY state", (site.name,)).fetchall()
    )
    return {
        "site": shown.sites[site.name],
        "written": _counted(pushes.counts_by_state(db, site.name), PUSH_STATES),
        "transmissions": _counted(sent, _TRANSMISSIONS),
    }


def _server(db: sqlite3.Connection, site: Site, shown: Shown) -> Json:
    """What was found out about the server; of its name only the vendor whose row it is."""
    known = facts(db, site.name)
    vendor = vendor_of(Capability(publisher=known.pop("server", "")), None)
    told = sorted(fact_said(name, value) for name, value in known.items())
    return {
        "site": shown.sites[site.name],
        "vendor": vendor.name if vendor else None,
        "facts": [{"fact": name, "value": value} for name, value in told],
    }


def _counted(counts: Mapping[str, int], words: Collection[str]) -> dict[str, int]:
    found: Counter[str] = Counter()
    for word, count in counts.items():
        found[said(word, words) or OTHER] += count
    return dict(found)


def _reasons(reasons: Iterable[str]) -> dict[str, int]:
    return dict(sorted(Counter(reason_said(reason) or OTHER for reason in reasons).items()))
