"""Resources in the store: every version is kept, the newest is current, and what is none is kept apart."""

import sqlite3
from collections.abc import Callable
from typing import Any

import pytest

from dm_fhir.store.ledger import begin_run
from dm_fhir.store.resources import (
    clear_set_aside,
    counts_by_type,
    fingerprint,
    fingerprint_of_type,
    has_resource,
    has_set_aside,
    put_resource,
    quarantined,
    resources_of,
    resources_of_type,
    set_aside,
    subjects,
)

Make = Callable[..., Any]


def history(db: sqlite3.Connection) -> list[bytes]:
    """The bodies that are no longer current, in the order in which they were put away."""
    return [row[0] for row in db.execute("SELECT body FROM resource_version ORDER BY rowid")]


def current(db: sqlite3.Connection) -> list[bytes]:
    """The current bodies of Patient/1."""
    return [stored.body for stored in resources_of(db, "leon", "Patient/1")]


def test_a_resource_is_filed_under_site_type_and_id(db: sqlite3.Connection, incoming: Make) -> None:
    for site, change in (("leon", {}), ("leon", {"id": "o2"}), ("leon", {"type": "Condition"}), ("madrid", {})):
        assert put_resource(db, site, incoming("a", **change), 1) == "new"
    assert (counts_by_type(db, "leon"), counts_by_type(db, "madrid")) == (
        {"Condition": 1, "Observation": 2},
        {"Observation": 1},
    )
    assert [(s.type, s.id) for s in resources_of(db, "leon", "Patient/1")] == [
        ("Condition", "o1"),
        ("Observation", "o1"),
        ("Observation", "o2"),
    ]
    assert [s.id for s in resources_of_type(db, "leon", "Observation")] == ["o1", "o2"]
    assert [has_resource(db, "leon", reference) for reference in ("Observation/o2", "Observation/o3")] == [True, False]


def test_every_version_is_kept(db: sqlite3.Connection, incoming: Make) -> None:
    versions = [
        incoming(text, version=str(n), last_updated=f"2025-06-0{n}T10:00:00Z") for n, text in enumerate("abc", start=1)
    ]
    assert [put_resource(db, "leon", version, 1) for version in versions] == ["new", "changed", "changed"]
    assert (current(db), history(db)) == ([b"c"], [b"a", b"b"])
    (stored,) = resources_of(db, "leon", "Patient/1")
    assert (stored.version, stored.last_updated) == ("3", "2025-06-03T10:00:00Z")


def test_the_same_again_changes_nothing(db: sqlite3.Connection, incoming: Make) -> None:
    one = {"version": "1", "last_updated": "2025-06-01T10:00:00Z"}
    put_resource(db, "leon", incoming("a", **one), 1)
    before = fingerprint(db, "leon", "Patient/1")
    assert put_resource(db, "leon", incoming("a", version="2", last_updated="2025-06-02T10:00:00Z"), 1) == "unchanged"
    assert put_resource(db, "leon", incoming("a, in other words", **one), 1) == "unchanged"
    assert (current(db), history(db), fingerprint(db, "leon", "Patient/1")) == ([b"a"], [], before)


@pytest.mark.parametrize(("version", "updated"), [(None, None), ("1", None), (None, "2025-06-01T10:00:00Z")])
def test_other_bytes_that_do_not_name_both_version_and_time_are_a_change(
    db: sqlite3.Connection, incoming: Make, version: str | None, updated: str | None
) -> None:
    """A server that gives every version the number 1 would otherwise never be heard again."""
    for text in "ab":
        put_resource(db, "leon", incoming(text, version=version, last_updated=updated), 1)
    assert (current(db), history(db)) == ([b"b"], [b"a"])


@pytest.mark.parametrize(
    ("newer", "older"),
    [
        (("1", "2025-06-02T10:00:00Z"), ("2", "2025-06-01T10:00:00Z")),
        ((None, "2025-06-01T09:00:00Z"), (None, "2025-06-01T10:00:00+02:00")),
        ((None, "2025-06-01T10:00:00.5Z"), (None, "2025-06-01T10:00:00Z")),
        ((None, "2025-06-01T10:00:00-05:00"), (None, "2025-06-01T11:00:00")),
        (("10", None), ("9", None)),
        (("2", "2025-06-01T10:00:00Z"), ("1", "2025-06-01T12:00:00+02:00")),
    ],
)
def test_an_older_version_that_arrives_later_goes_to_the_history(
    db: sqlite3.Connection, incoming: Make, newer: tuple[str | None, str], older: tuple[str | None, str]
) -> None:
    put_resource(db, "leon", incoming("new", version=newer[0], last_updated=newer[1]), 1)
    late = incoming("old", version=older[0], last_updated=older[1])
    assert [put_resource(db, "leon", late, 1) for _ in range(2)] == ["older", "older"]
    assert (current(db), history(db)) == ([b"new"], [b"old"])


@pytest.mark.parametrize("updated", ["yesterday", "", None, "2025"])
def test_where_no_order_is_known_the_last_to_arrive_is_current(
    db: sqlite3.Connection, incoming: Make, updated: str | None
) -> None:
    put_resource(db, "leon", incoming("a", version="zz", last_updated="2025-06-01T10:00:00Z"), 1)
    assert put_resource(db, "leon", incoming("b", version="aa", last_updated=updated), 1) == "changed"
    assert (current(db), history(db)) == ([b"b"], [b"a"])


def test_a_resource_may_come_back_to_what_it_was(db: sqlite3.Connection, incoming: Make) -> None:
    assert [put_resource(db, "leon", incoming(text), 1) for text in "aba"] == ["new", "changed", "changed"]
    assert (current(db), sorted(history(db))) == ([b"a"], [b"a", b"b"])


def test_a_resource_may_become_another_patients(db: sqlite3.Connection, incoming: Make) -> None:
    put_resource(db, "leon", incoming("a"), 1)
    put_resource(db, "leon", incoming("b", subject="Patient/2"), 1)
    assert (current(db), subjects(db, "leon")) == ([], ["Patient/2"])


def test_only_patients_are_subjects(db: sqlite3.Connection, incoming: Make) -> None:
    for number, subject in enumerate(("Patient/2", None, "Group/1", "Patient/1", "Patient/2")):
        put_resource(db, "leon", incoming("a", id=f"o{number}", subject=subject), 1)
    assert subjects(db, "leon") == ["Patient/1", "Patient/2"]


def test_a_fingerprint_moves_with_its_own_resources_only(db: sqlite3.Connection, incoming: Make) -> None:
    put_resource(db, "leon", incoming("a"), 1)
    before = fingerprint(db, "leon", "Patient/1"), fingerprint_of_type(db, "leon", "Observation")
    put_resource(db, "madrid", incoming("b"), 1)
    put_resource(db, "leon", incoming("b", type="Condition", subject="Patient/2"), 1)
    assert (fingerprint(db, "leon", "Patient/1"), fingerprint_of_type(db, "leon", "Observation")) == before
    put_resource(db, "leon", incoming("c"), 1)
    after = fingerprint(db, "leon", "Patient/1"), fingerprint_of_type(db, "leon", "Observation")
    assert after[0] != before[0]
    assert after[1] != before[1]


def test_what_is_set_aside_is_named_until_a_later_run_has_read_its_query_without_it(db: sqlite3.Connection) -> None:
    later = begin_run(db, "pull")
    for patient, query, place in (
        ("Patient/1", "Observation?patient", "page 1, entry 0"),
        ("Patient/2", "Observation?patient", "page 1, entry 0"),
        ("Patient/1", "Condition?patient", "page 1, entry 0"),
        ("", "file: a.ndjson", "a.ndjson:3"),
    ):
        for _ in range(2):
            set_aside(db, "leon", patient, query, place, "no-id", b"null", 1)
    of_1, of_2 = (f"Patient/{number} Observation?patient, page 1, entry 0" for number in (1, 2))
    condition = "Patient/1 Condition?patient, page 1, entry 0"
    assert quarantined(db, "leon") == [(place, "no-id") for place in (condition, of_1, of_2, "a.ndjson:3")]
    assert has_set_aside(db, "leon", "Observation?patient", "Patient/1")
    set_aside(db, "leon", "Patient/2", "Observation?patient", "page 1, entry 0", "no-id", b"null", later)
    for patient in ("Patient/1", "Patient/2"):
        clear_set_aside(db, "leon", "Observation?patient", patient, later)
    clear_set_aside(db, "leon", "file: a.ndjson", "", later)
    clear_set_aside(db, "madrid", "Condition?patient", "Patient/1", later)
    assert [place for place, _ in quarantined(db, "leon")] == [condition, of_2]
    assert not has_set_aside(db, "leon", "Observation?patient", "Patient/1")
