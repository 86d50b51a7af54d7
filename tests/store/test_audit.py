"""The audit log: once per run and patient for what is read, once per resource for what is written, and never taken back."""

import os
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.store.conftest import Incoming

from dm_fhir.store import audit
from dm_fhir.store.audit import Entry, entries, note_looked, note_read, note_written, who
from dm_fhir.store.database import open_store, transaction
from dm_fhir.store.filing import put_resources
from dm_fhir.store.ledger import begin_run


def told(db: sqlite3.Connection, **which: object) -> list[tuple[object, ...]]:
    """Run, action, patient and reference of each row."""
    return [(one.run, one.action, one.patient, one.reference) for one in entries(db, **which)]  # type: ignore[arg-type]


def test_whose_records_arrive_is_noted_once_per_run(db: sqlite3.Connection, incoming: Callable[..., Incoming]) -> None:
    page = [
        incoming(id="o1"),
        incoming(id="o2"),
        incoming(id="o3", subject="Patient/2"),
        incoming(type="Medication", id="m1", subject=None),
        incoming(type="Device", id="d1", subject="Group/7"),
    ]
    for _ in range(3):
        put_resources(db, "leon", page, 1)
    put_resources(db, "madrid", page[:1], 1)
    put_resources(db, "leon", page[:1], begin_run(db, "sync"))
    assert [(one.site, one.run, one.patient) for one in entries(db)] == [
        ("leon", 1, "Patient/1"),
        ("leon", 1, "Patient/2"),
        ("madrid", 1, "Patient/1"),
        ("leon", 2, "Patient/1"),
    ]
    assert {one.action for one in entries(db)} == {"read"}


def test_nothing_received_is_nothing_noted(db: sqlite3.Connection) -> None:
    put_resources(db, "leon", [], 1)
    note_read(db, 1, "leon", [])
    note_written(db, 1, "leon", "write", [])
    assert told(db) == []


def test_more_patients_than_a_statement_takes(db: sqlite3.Connection) -> None:
    note_read(db, 1, "leon", [f"Patient/{number}" for number in range(7001)])
    note_written(db, 1, "leon", "write", [(f"Patient/{n}", f"Observation/{n}") for n in range(7001)])
    assert len({one.patient for one in entries(db) if one.action == "read"}) == 7001
    assert len({one.reference for one in entries(db) if one.action == "write"}) == 7001


def test_a_page_that_is_rolled_back_was_not_read(db: sqlite3.Connection, incoming: Callable[..., Incoming]) -> None:
    def page() -> None:
        with transaction(db):
            put_resources(db, "leon", [incoming()], 1)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        page()
    assert told(db) == []


def test_every_write_is_noted_also_of_the_same_resource(db: sqlite3.Connection) -> None:
    for _ in range(2):
        note_written(db, 1, "leon", "write", [("Patient/1", "Observation/7"), ("Patient/2", "Observation/8")])
    note_written(db, 1, "leon", "retract", [("Patient/1", "Observation/7")])
    assert told(db) == [
        *[(1, "write", "Patient/1", "Observation/7"), (1, "write", "Patient/2", "Observation/8")] * 2,
        (1, "retract", "Patient/1", "Observation/7"),
    ]


def test_it_is_asked_by_time_patient_and_run(db: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter(["2026-01-01T00:00:00Z", "2026-02-01T00:00:00Z", "2026-03-01T00:00:00Z", "2026-04-01T00:00:00Z"])
    monkeypatch.setattr(audit, "now", lambda: next(times))
    note_read(db, 1, "leon", ["Patient/1"])
    note_read(db, 1, "leon", ["Patient/2"])
    note_written(db, begin_run(db, "push"), "leon", "write", [("Patient/1", "Observation/7")])
    note_looked(db, "export", ["leon"], reference="series.json")
    first, second = (1, "read", "Patient/1", ""), (1, "read", "Patient/2", "")
    third, fourth = (2, "write", "Patient/1", "Observation/7"), (None, "export", "", "series.json")
    assert told(db) == [first, second, third, fourth]
    assert told(db, since="2026-02-01") == [second, third, fourth]
    assert told(db, patient="Patient/1") == [first, third, fourth]  # an export of all is one of this patient too
    assert told(db, run=2) == [third]
    assert told(db, run=2, patient="Patient/2") == []


def test_a_row_says_who_and_by_what(db: sqlite3.Connection) -> None:
    note_read(db, begin_run(db, "sync", "anna"), "leon", ["Patient/1"])
    note_looked(db, "explain", ["leon"], "Patient/1")
    ran, looked = entries(db)
    assert isinstance(ran, Entry)
    assert (ran.user, ran.command, ran.run, ran.action) == ("anna", "sync", 2, "read")
    assert (looked.user, looked.command, looked.run, looked.action) == (who(), "explain", None, "explain")


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit SET patient = 'Patient/2'",
        "DELETE FROM audit",
        "INSERT OR REPLACE INTO audit SELECT number, '', run, user, command, site, 'write', patient, reference FROM audit",
        "DELETE FROM run WHERE id = 1",
        "UPDATE run SET user = 'somebody else' WHERE id = 1",
        "UPDATE run SET started = '2020-01-01' WHERE id = 1",
        "INSERT OR REPLACE INTO run SELECT id, 'status', started, ended, exit_code, pid, 'somebody' FROM run",
    ],
)
def test_nothing_is_changed_or_taken_out(path: Path, db: sqlite3.Connection, statement: str) -> None:
    note_written(db, 1, "leon", "write", [("Patient/1", "Observation/7")])
    before = [*entries(db)], db.execute("SELECT * FROM run").fetchall()
    for connection in (db, open_store(path, "anifrolumab"), sqlite3.connect(path)):
        with pytest.raises(sqlite3.IntegrityError, match=r"append-only|who ran what"):
            connection.execute(statement)
        connection.rollback()
    assert ([*entries(db)], db.execute("SELECT * FROM run").fetchall()) == before


def test_a_read_is_not_replaced_by_a_later_one(path: Path, db: sqlite3.Connection) -> None:
    note_read(db, 1, "leon", ["Patient/1"])
    before = [*entries(db)]
    with sqlite3.connect(path) as other:
        other.execute("INSERT OR REPLACE INTO audit VALUES (NULL, 'x', 1, '', '', 'leon', 'read', 'Patient/1', 'x')")
    assert [*entries(db)] == before


def test_who_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SUDO_USER", raising=False)
    for name in ("USER", "LOGNAME"):
        monkeypatch.setenv(name, "somebody else")  # what anybody can set is not asked
    name = who()
    assert "somebody else" not in name
    monkeypatch.setenv("SUDO_USER", "anna")
    assert who() == f"{name} (sudo by anna)"
    monkeypatch.setenv("SUDO_USER", "anna\nroot")
    assert who() == f"{name} (sudo by a name that is none)"
    monkeypatch.setenv("SUDO_USER", name)
    assert who() == name
    monkeypatch.delenv("SUDO_USER")
    monkeypatch.setattr(os, "getuid", lambda: 3_999_999)
    assert who() == "uid 3999999"
