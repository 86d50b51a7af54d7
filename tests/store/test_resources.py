"""Resources in the store: every version is kept, the newest is current, and what is none is kept apart."""

import sqlite3
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dm_fhir.store.blocks import kept
from dm_fhir.store.database import transaction
from dm_fhir.store.filing import Filed, Origin, changes, delete_resource, put_resources
from dm_fhir.store.ledger import begin_run
from dm_fhir.store.quarantine import (
    acknowledge,
    clear_set_aside,
    have_set_aside,
    quarantined,
    quarantined_body,
    set_aside,
)
from dm_fhir.store.resources import (
    counts_by_type,
    deleted_by_type,
    fingerprint,
    fingerprint_of_type,
    has_resource,
    ids_from_server,
    resources_of,
    resources_of_type,
    subjects,
    without_patient,
)

Make = Callable[..., Any]
EARLIER, LATER = "2025-06-01T10:00:00Z", "2025-06-02T10:00:00Z"


def put(db: sqlite3.Connection, site: str, resource: Any, run: int, origin: Origin = "server") -> Filed:
    """File one resource."""
    (filed,) = put_resources(db, site, [resource], run, origin)
    return filed


def history(db: sqlite3.Connection) -> list[bytes]:
    """The bodies that are no longer current, in the order in which they were put away."""
    places = db.execute("SELECT block, start, length FROM resource_version ORDER BY rowid").fetchall()
    return list(kept(db, places))


def current(db: sqlite3.Connection) -> list[bytes]:
    """The current bodies of Patient/1."""
    return [stored.body for stored in resources_of(db, "leon", "Patient/1")]


def test_a_resource_is_filed_under_site_type_and_id(db: sqlite3.Connection, incoming: Make) -> None:
    for site, change in (("leon", {}), ("leon", {"id": "o2"}), ("leon", {"type": "Condition"}), ("madrid", {})):
        assert put(db, site, incoming("a", **change), 1) == "new"
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
    assert [put(db, "leon", version, 1) for version in versions] == ["new", "changed", "changed"]
    assert (current(db), history(db)) == ([b'"c"'], [b'"a"', b'"b"'])
    (stored,) = resources_of(db, "leon", "Patient/1")
    assert (stored.version, stored.last_updated) == ("3", "2025-06-03T10:00:00Z")


def test_the_same_again_changes_nothing(db: sqlite3.Connection, incoming: Make) -> None:
    one = {"version": "1", "last_updated": "2025-06-01T10:00:00Z"}
    put(db, "leon", incoming("a", **one), 1)
    before = fingerprint(db, "leon", "Patient/1")
    assert put(db, "leon", incoming("a", version="2", last_updated="2025-06-02T10:00:00Z"), 1) == "unchanged"
    assert put(db, "leon", incoming("a, in other words", **one), 1) == "unchanged"
    assert (current(db), history(db), fingerprint(db, "leon", "Patient/1")) == ([b'"a"'], [], before)


@pytest.mark.parametrize(("version", "updated"), [(None, None), ("1", None), (None, "2025-06-01T10:00:00Z")])
def test_other_bytes_that_do_not_name_both_version_and_time_are_a_change(
    db: sqlite3.Connection, incoming: Make, version: str | None, updated: str | None
) -> None:
    """A server that gives every version the number 1 would otherwise never be heard again."""
    for text in "ab":
        put(db, "leon", incoming(text, version=version, last_updated=updated), 1)
    assert (current(db), history(db)) == ([b'"b"'], [b'"a"'])


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
    put(db, "leon", incoming("new", version=newer[0], last_updated=newer[1]), 1)
    late = incoming("old", version=older[0], last_updated=older[1])
    assert [put(db, "leon", late, 1) for _ in range(2)] == ["older", "older"]
    assert (current(db), history(db)) == ([b'"new"'], [b'"old"'])


@pytest.mark.parametrize("updated", ["yesterday", "", None, "2025"])
def test_where_no_order_is_known_the_last_to_arrive_is_current(
    db: sqlite3.Connection, incoming: Make, updated: str | None
) -> None:
    put(db, "leon", incoming("a", version="zz", last_updated="2025-06-01T10:00:00Z"), 1)
    assert put(db, "leon", incoming("b", version="aa", last_updated=updated), 1) == "changed"
    assert (current(db), history(db)) == ([b'"b"'], [b'"a"'])


def test_a_resource_may_come_back_to_what_it_was(db: sqlite3.Connection, incoming: Make) -> None:
    assert [put(db, "leon", incoming(text), 1) for text in "aba"] == ["new", "changed", "changed"]
    assert (current(db), sorted(history(db))) == ([b'"a"'], [b'"a"', b'"b"'])


def test_a_resource_may_become_another_patients(db: sqlite3.Connection, incoming: Make) -> None:
    put(db, "leon", incoming("a"), 1)
    put(db, "leon", incoming("b", subject="Patient/2"), 1)
    assert (current(db), subjects(db, "leon")) == ([], ["Patient/2"])


def test_only_patients_are_subjects(db: sqlite3.Connection, incoming: Make) -> None:
    for number, subject in enumerate(("Patient/2", None, "Group/1", "Patient/1", "Patient/2")):
        put(db, "leon", incoming("a", id=f"o{number}", subject=subject), 1)
    assert subjects(db, "leon") == ["Patient/1", "Patient/2"]


def test_a_fingerprint_moves_with_its_own_resources_only(db: sqlite3.Connection, incoming: Make) -> None:
    put(db, "leon", incoming("a"), 1)
    before = fingerprint(db, "leon", "Patient/1"), fingerprint_of_type(db, "leon", "Observation")
    put(db, "madrid", incoming("b"), 1)
    put(db, "leon", incoming("b", type="Condition", subject="Patient/2"), 1)
    assert (fingerprint(db, "leon", "Patient/1"), fingerprint_of_type(db, "leon", "Observation")) == before
    put(db, "leon", incoming("c"), 1)
    after = fingerprint(db, "leon", "Patient/1"), fingerprint_of_type(db, "leon", "Observation")
    assert after[0] != before[0]
    assert after[1] != before[1]


def test_the_same_content_in_other_words_is_no_change_where_a_server_has_no_versions(
    db: sqlite3.Connection, incoming: Make
) -> None:
    first, again, other = b'{"a":1,"b":[1.10,null]}', b'{ "b": [1.10, null],\n"a":1 }', b'{"a":1,"b":[1.1,null]}'
    found = [put(db, "leon", incoming(str(n), body=body), 1) for n, body in enumerate((first, again, again, other))]
    assert (found, current(db), history(db)) == (["new", "unchanged", "unchanged", "changed"], [other], [first])


def test_what_is_deleted_is_kept_and_not_used(db: sqlite3.Connection, incoming: Make) -> None:
    for name in ("o1", "o2"):
        put(db, "leon", incoming("a", id=name), 1)
    before = fingerprint(db, "leon", "Patient/1"), fingerprint_of_type(db, "leon", "Observation")
    assert [delete_resource(db, "leon", "Observation", name, LATER) for name in ("o1", "o1", "o9")] == [
        True,
        False,
        False,
    ]
    assert [one.id for one in resources_of(db, "leon", "Patient/1")] == ["o2"]
    assert [one.id for one in resources_of_type(db, "leon", "Observation")] == ["o2"]
    assert (counts_by_type(db, "leon"), deleted_by_type(db, "leon")) == ({"Observation": 1}, {"Observation": 1})
    assert list(ids_from_server(db, "leon", "Observation", ["Patient/1"])) == [("Patient/1", "o2")]
    assert fingerprint(db, "leon", "Patient/1") != before[0]
    assert fingerprint_of_type(db, "leon", "Observation") != before[1]
    *place, when = db.execute("SELECT block, start, length, deleted FROM resource WHERE id = 'o1'").fetchone()
    assert (list(kept(db, [tuple(place)])), when) == ([b'"a"'], LATER)
    assert delete_resource(db, "leon", "Observation", "o2", LATER)
    assert (subjects(db, "leon"), counts_by_type(db, "leon")) == ([], {})


@pytest.mark.parametrize("number", ["0", "1", "2"])
def test_what_was_deleted_and_is_sent_again_is_back(db: sqlite3.Connection, incoming: Make, number: str) -> None:
    """Also an older version: a server that was put back to its back-up has nothing newer."""
    put(db, "leon", incoming("1", version="1"), 1)
    delete_resource(db, "leon", "Observation", "o1", LATER)
    later = begin_run(db, "pull")
    back = incoming(number, version=number)
    assert put_resources(db, "leon", [back, back], later) == ["changed", "unchanged"]
    assert (current(db), deleted_by_type(db, "leon")) == ([f'"{number}"'.encode()], {})
    assert db.execute("SELECT run FROM resource").fetchone() == (later,)
    assert history(db) == ([] if number == "1" else [b'"1"'])


def test_an_old_file_does_not_bring_back_what_the_server_has_deleted(db: sqlite3.Connection, incoming: Make) -> None:
    put(db, "leon", incoming("1", version="1"), 1)
    delete_resource(db, "leon", "Observation", "o1", LATER)
    old = [put(db, "leon", incoming(number, version=number), 1, "file") for number in "01"]
    assert (old, current(db)) == (["older", "unchanged"], [])
    assert put(db, "leon", incoming("2", version="2"), 1, "file") == "changed"
    assert current(db) == [b'"2"']


def test_what_the_server_has_sent_is_the_servers_whoever_had_it_first(db: sqlite3.Connection, incoming: Make) -> None:
    def from_server() -> list[str]:
        return [id_ for _, id_ in ids_from_server(db, "leon", "Observation", ["Patient/1", "Patient/2"])]

    put(db, "leon", incoming("a"), 1, "file")
    assert from_server() == []
    assert put(db, "leon", incoming("a"), 1) == "unchanged"
    assert put(db, "leon", incoming("b"), 1, "file") == "changed"
    assert from_server() == ["o1"]


def test_changes_are_counted_and_nothing_else(db: sqlite3.Connection, incoming: Make) -> None:
    def grew(act: Callable[[], object]) -> bool:
        before = changes(db, "leon")
        act()
        return changes(db, "leon") > before

    one, two = incoming("1", version="1"), incoming("2", version="2")
    assert changes(db, "leon") == 0
    assert [grew(lambda r=r: put(db, "leon", r, 1)) for r in (one, one, two, two, one)] == [
        True,
        False,
        True,
        False,
        False,
    ]
    delete: list[Callable[[], object]] = [lambda: delete_resource(db, "leon", "Observation", "o1", LATER)] * 2
    assert [grew(act) for act in (*delete, lambda: put(db, "leon", two, 1))] == [True, False, True]
    assert not grew(lambda: put(db, "madrid", one, 1))
    assert not grew(lambda: put_resources(db, "leon", [], 1))


def test_a_change_that_is_rolled_back_is_none(db: sqlite3.Connection, incoming: Make) -> None:
    def put_and_fail() -> None:
        with transaction(db):
            put_resources(db, "leon", [incoming("a"), incoming("b", id="o2")], 1)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        put_and_fail()
    assert db.execute("SELECT count(*) FROM block").fetchone() == (0,)
    assert (changes(db, "leon"), counts_by_type(db, "leon")) == (0, {})


class Incoming(NamedTuple):
    """A resource on its way in."""

    type: str
    id: str
    version: str | None
    last_updated: str | None
    subject: str | None
    body: bytes

    @property
    def hash(self) -> str:
        return f"hash of {self.body!r}"


RESOURCES = st.builds(
    Incoming,
    type=st.sampled_from(["Observation", "Condition"]),
    id=st.sampled_from(["o1", "o2", "o3"]),
    version=st.sampled_from([None, "1", "2", "x"]),
    last_updated=st.sampled_from([None, EARLIER, LATER]),
    subject=st.sampled_from([None, "Patient/1", "Patient/2"]),
    body=st.sampled_from([b'{"a":1,"b":2}', b'{"b":2,"a":1}', b'{"a":1.0,"b":2}', b"[]"]),
)
NUMBERS = iter(range(1_000_000))


@given(batches=st.lists(st.tuples(st.lists(RESOURCES, max_size=8), st.sampled_from(["server", "file"])), max_size=4))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=150)
def test_many_at_once_are_filed_as_one_by_one(db: sqlite3.Connection, batches: list[tuple[list[Any], Origin]]) -> None:
    number = next(NUMBERS)
    together, alone = f"together-{number}", f"alone-{number}"
    with transaction(db):
        for batch, origin in batches:
            at_once = put_resources(db, together, batch, 1, origin)
            assert at_once == [put(db, alone, resource, 1, origin) for resource in batch]
            assert content(db, together) == content(db, alone)
            for site in (together, alone):
                delete_resource(db, site, "Observation", "o1", LATER)
                delete_resource(db, site, "Condition", "o2", LATER)


def content(db: sqlite3.Connection, site: str) -> list[Any]:
    """All of a site's versions and all that is said of them."""
    columns = "type, id, version, last_updated, hash, subject, origin, deleted, block, start, length"
    current = db.execute(f"SELECT {columns} FROM resource WHERE site = ? ORDER BY type, id", (site,))  # noqa: S608
    past = db.execute(
        "SELECT type, id, version, hash, block, start, length FROM resource_version WHERE site = ? ORDER BY rowid",
        (site,),
    )
    return [(*row[:-3], *kept(db, [row[-3:]])) for row in [*current.fetchall(), *past.fetchall()]]


def test_more_than_one_statement_holds(db: sqlite3.Connection, incoming: Make) -> None:
    many = [incoming("a", id=f"o{number}") for number in range(1000)]
    assert set(put_resources(db, "leon", [*many, many[0]], 1)) == {"new", "unchanged"}
    assert counts_by_type(db, "leon") == {"Observation": 1000}
    assert set(put_resources(db, "leon", many, 1)) == {"unchanged"}


def steps(db: sqlite3.Connection, ask: Callable[[], object]) -> int:
    """How much work the database has with it, in its own small steps."""
    counted = [0]

    def step() -> int:
        counted[0] += 1
        return 0

    db.set_progress_handler(step, 1)
    ask()
    db.set_progress_handler(None, 1)
    return counted[0]


def test_one_patients_records_cost_the_same_however_many_others_there_are(
    db: sqlite3.Connection, incoming: Make
) -> None:
    asked: list[Callable[[], object]] = [
        lambda: list(resources_of(db, "leon", "Patient/7")),
        lambda: fingerprint(db, "leon", "Patient/7"),
        lambda: list(ids_from_server(db, "leon", "Observation", ["Patient/7"])),
        lambda: without_patient(db, "leon", ["Observation"]),
    ]
    many = [incoming("a", id=f"o{number}", subject=f"Patient/{number}") for number in range(2000)]
    put_resources(db, "leon", many[:20], 1)
    few = [steps(db, ask) for ask in asked]
    put_resources(db, "leon", many, 1)
    assert [steps(db, ask) for ask in asked] == few


def test_records_of_no_patient_are_counted_where_they_should_be_somebodys(
    db: sqlite3.Connection, incoming: Make
) -> None:
    for number, subject in enumerate((None, "Group/1", "Patient/1", "Patient0/1", "Patients/1", "Patien/1", None)):
        put(db, "leon", incoming("a", id=f"o{number}", subject=subject), 1)
    put(db, "leon", incoming("a", type="Medication", subject=None), 1)
    delete_resource(db, "leon", "Observation", "o6", LATER)
    assert without_patient(db, "leon", ["Observation", "Condition"]) == {"Observation": 5}


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
    assert [one[1:3] for one in quarantined(db, "leon")] == [
        (place, "no-id") for place in (condition, of_1, of_2, "a.ndjson:3")
    ]
    assert ("Patient/1", "Observation?patient") in have_set_aside(db, "leon")
    set_aside(db, "leon", "Patient/2", "Observation?patient", "page 1, entry 0", "no-id", b"null", later)
    for patient in ("Patient/1", "Patient/2"):
        clear_set_aside(db, "leon", "Observation?patient", patient, later)
    clear_set_aside(db, "leon", "file: a.ndjson", "", later)
    clear_set_aside(db, "madrid", "Condition?patient", "Patient/1", later)
    assert [one.place for one in quarantined(db, "leon")] == [condition, of_2]
    assert have_set_aside(db, "leon") == {("Patient/1", "Condition?patient"), ("Patient/2", "Observation?patient")}


def aside(db: sqlite3.Connection, run: int, *bodies: bytes, first: int = 0) -> None:
    """A pull of Patient/1's Observations that sets these aside and comes to its end."""
    for number, body in enumerate(bodies, start=first):
        set_aside(db, "leon", "Patient/1", "Observation?patient", f"page 1, entry {number}", "no-id", body, run)
    clear_set_aside(db, "leon", "Observation?patient", "Patient/1", run)


def test_what_somebody_acknowledged_stays_so_while_the_same_bytes_come(db: sqlite3.Connection) -> None:
    aside(db, 1, b"one", b"two")
    first, second = (one.number for one in quarantined(db, "leon"))
    assert acknowledge(db, "leon", first, EARLIER)
    for shift in (0, 3):
        aside(db, begin_run(db, "pull"), b"one", b"two", first=shift)
        assert [(one.number, one.acknowledged) for one in quarantined(db, "leon")] == [(first, EARLIER), (second, None)]
    assert have_set_aside(db, "leon") == {("Patient/1", "Observation?patient")}
    aside(db, begin_run(db, "pull"), b"one, changed", b"two")
    assert [(one.number, one.acknowledged) for one in quarantined(db, "leon")] == [(second + 1, None), (second, None)]


def test_an_acknowledgement_is_of_one_thing_of_one_site_and_keeps_its_time(db: sqlite3.Connection) -> None:
    aside(db, 1, b"one")
    (only,) = quarantined(db, "leon")
    assert only == (only.number, "Patient/1 Observation?patient, page 1, entry 0", "no-id", 3, None)
    assert quarantined_body(db, "leon", only.number) == b"one"
    assert [acknowledge(db, *wrong, EARLIER) for wrong in (("madrid", only.number), ("leon", 99))] == [False, False]
    assert [quarantined_body(db, *wrong) for wrong in (("madrid", only.number), ("leon", 99))] == [None, None]
    assert [acknowledge(db, "leon", only.number, when) for when in (EARLIER, LATER)] == [True, True]
    assert [one.acknowledged for one in quarantined(db, "leon")] == [EARLIER]


def test_a_number_is_never_given_twice(db: sqlite3.Connection) -> None:
    aside(db, 1, b"one")
    (before,) = quarantined(db, "leon")
    aside(db, begin_run(db, "pull"))
    assert quarantined(db, "leon") == []
    aside(db, begin_run(db, "pull"), b"another")
    assert [one.number > before.number for one in quarantined(db, "leon")] == [True]
