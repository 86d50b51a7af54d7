"""Compute: as if from nothing every time, and no work where nothing has changed."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dm_fhir.config import Push
from dm_fhir.mappings.site import SiteMapper
from dm_fhir.model.case import Case
from dm_fhir.model.document import decode
from dm_fhir.store import cases, members
from dm_fhir.store.database import transaction
from dm_fhir.store.filing import delete_resource
from dm_fhir.store.pushes import Pushed, put_push
from dm_fhir.sync import compute as module
from dm_fhir.sync.compute import compute_site
from dm_fhir.sync.push.plan import plan

if TYPE_CHECKING:
    from tests.sync.conftest import Records

LATER = "2025-06-02T10:00:00Z"


def of(db: sqlite3.Connection, patient: str) -> tuple[str, Case]:
    """The state and the case of a patient."""
    state, body = db.execute(
        "SELECT state, body FROM case_document WHERE patient = ?", (f"Patient/{patient}",)
    ).fetchone()
    return state, decode(body, Case)


def states(db: sqlite3.Connection) -> dict[str, str]:
    """Every patient's state."""
    rows = db.execute("SELECT patient, state FROM case_document")
    return {patient.removeprefix("Patient/"): state for patient, state in rows}


def content(db: sqlite3.Connection) -> list[Any]:
    """All that compute has made."""
    rows = db.execute("SELECT patient, fingerprint, state, body FROM case_document ORDER BY 1").fetchall()
    rows += db.execute("SELECT * FROM outcome ORDER BY 1, 2, 3, 4").fetchall()
    return rows + db.execute("SELECT * FROM finding ORDER BY 1, 2, 3, 4, 5").fetchall()


def patients_with_outcomes(db: sqlite3.Connection) -> set[str]:
    """The patients who have any."""
    return {row.patient.removeprefix("Patient/") for row in cases.outcomes(db, "leon")}


def test_what_has_not_changed_is_not_even_looked_at(
    db: sqlite3.Connection, records: Records, mapper: SiteMapper
) -> None:
    for name in "ABC":
        records.put(records.patient(name), records.infusion(f"i{name}", name))
    asked: list[str] = []
    assert compute_site(db, "leon", mapper, 1)[:2] == (3, 0)
    db.set_trace_callback(asked.append)
    assert compute_site(db, "leon", mapper, 1)[:2] == (0, 3)
    records.put(records.patient("A"))  # the same again is no change
    asked.clear()
    assert compute_site(db, "leon", mapper, 1)[:2] == (0, 3)
    assert asked
    assert not [statement for statement in asked if "FROM resource" in statement or "INSERT" in statement]
    db.set_trace_callback(None)
    assert states(db) == dict.fromkeys("ABC", "case")


def test_only_whose_records_changed_is_computed_again(
    db: sqlite3.Connection, records: Records, mapper: SiteMapper
) -> None:
    for name in "ABC":
        records.put(records.patient(name), records.infusion(f"i{name}", name))
    compute_site(db, "leon", mapper, 1)
    records.put(records.infusion("i2", "B", "2025-04-03"))
    assert compute_site(db, "leon", mapper, 1)[:2] == (1, 2)
    assert len(of(db, "B")[1].administrations) == 2


def test_other_tables_and_other_medications_compute_everybody(
    db: sqlite3.Connection, records: Records, mapper: SiteMapper
) -> None:
    for name in "AB":
        records.put(records.patient(name), records.infusion(f"i{name}", name))
    compute_site(db, "leon", mapper, 1)
    assert compute_site(db, "leon", mapper._replace(timezone="UTC"), 1)[:2] == (2, 0)
    records.put({"resourceType": "Medication", "id": "m1"})
    assert compute_site(db, "leon", mapper._replace(timezone="UTC"), 1)[:2] == (2, 0)


def test_what_was_deleted_no_longer_counts(db: sqlite3.Connection, records: Records, mapper: SiteMapper) -> None:
    records.put(records.patient("A"), records.infusion("i1", "A"), records.infusion("i2", "A", "2025-04-03"))
    compute_site(db, "leon", mapper, 1)
    found = []
    for reference in ("MedicationAdministration/i1", "MedicationAdministration/i2", "Patient/A"):
        delete_resource(db, "leon", *reference.split("/"), LATER)
        assert compute_site(db, "leon", mapper, 1)[:2] == (1, 0)
        found.append((len(of(db, "A")[1].administrations), of(db, "A")[0], bool(patients_with_outcomes(db))))
    assert found == [
        (1, "case", True),
        (0, "no administration of the study drug", False),
        (0, "no records any more", False),
    ]
    records.put(records.patient("A"), records.infusion("i1", "A"))
    compute_site(db, "leon", mapper, 1)
    assert of(db, "A")[0] == "case"


def test_whoever_left_the_cohort_has_no_outcomes_until_they_are_back(
    db: sqlite3.Connection, records: Records, mapper: SiteMapper
) -> None:
    broken = records.ck("o1", "A", "2025-03-01", 1) | {"status": 5}
    for name in "AB":
        records.put(records.patient(name), records.infusion(f"i{name}", name))
    records.put(broken)
    members.join(db, "leon", ["Patient/A", "Patient/B"], 1)
    compute_site(db, "leon", mapper, 1)
    before = content(db)
    assert len(cases.errors(db, "leon")) == 1
    members.leave(db, "leon", ["Patient/A"])
    assert compute_site(db, "leon", mapper, 1)[:2] == (1, 1)
    assert states(db) == {"A": "left the cohort", "B": "case"}
    assert (patients_with_outcomes(db), cases.errors(db, "leon")) == ({"B"}, [])
    assert compute_site(db, "leon", mapper, 1)[:2] == (0, 2)
    members.join(db, "leon", ["Patient/A"], 1)
    assert compute_site(db, "leon", mapper, 1)[:2] == (1, 1)
    assert content(db) == before


def merged(records: Records, *links: tuple[str, str]) -> None:
    """Two patients: the infusions are Patient/A's, the laboratory is Patient/B's; these links are A's."""
    records.put(
        records.patient("A", *links, birthDate="1970"), records.patient("B", birthDate="1980"),
        records.infusion("i1", "A"), records.infusion("i2", "B", "2025-04-07"),
        records.ck("o1", "A", "2025-03-01", 900), records.ck("o2", "B", "2025-06-01", 100),
    )  # fmt: skip


def test_merged_patients_are_one_case_under_the_one_that_remains(
    db: sqlite3.Connection, records: Records, mapper: SiteMapper
) -> None:
    merged(records, ("replaced-by", "B"))
    assert compute_site(db, "leon", mapper, 1)[:2] == (2, 0)
    assert states(db) == {"A": "merged into Patient/B", "B": "case"}
    case = of(db, "B")[1]
    assert [len(part) for part in (case.administrations, case.assessments)] == [2, 2]
    assert case.subject is not None
    assert (case.subject.source.reference, case.subject.birth_date) == ("Patient/B", "1980")
    assert case.left_out == {"Patient: merged into this one": 1}
    assert [(one.code, one.reference) for one in case.findings if "merge" in one.code] == [("merged", "Patient/A")]
    assert patients_with_outcomes(db) == {"B"}
    alone = of(db, "A")[1]
    assert (alone.administrations, alone.outcomes, alone.findings) == ((), (), ())


@pytest.mark.parametrize("changed", ["A", "B"])
def test_a_change_of_any_of_the_merged_is_a_change_of_the_case(
    db: sqlite3.Connection, records: Records, mapper: SiteMapper, changed: str
) -> None:
    merged(records, ("replaced-by", "B"))
    compute_site(db, "leon", mapper, 1)
    records.put(records.infusion("i3", changed, "2025-05-05"))
    assert compute_site(db, "leon", mapper, 1)[:2] == (1, 1)
    assert len(of(db, "B")[1].administrations) == 3


def test_outcomes_of_a_merged_patient_are_taken_back_and_come_again_when_they_are_apart(
    db: sqlite3.Connection, records: Records, mapper: SiteMapper
) -> None:
    def planned() -> set[tuple[str, str]]:
        items = [item for item in plan(db, "leon", mapper, Push()) if item.action != "blocked"]
        return {(item.action, item.patient.removeprefix("Patient/")) for item in items}

    merged(records)
    compute_site(db, "leon", mapper, 1)
    apart = content(db)
    for item in list(plan(db, "leon", mapper, Push())):
        if item.action == "new":
            digest = module_fingerprint(item.body)
            row = (item.identifier, item.patient, item.variable, item.about, "confirmed", "Observation/1", "1", digest)
            put_push(db, "leon", Pushed(*row, None, item.body), 1)
    assert planned() == {("unchanged", "A"), ("unchanged", "B")}
    records.put(records.patient("A", ("replaced-by", "B"), birthDate="1970"))
    compute_site(db, "leon", mapper, 1)
    assert {one for one in planned() if one[1] == "A"} == {("retract", "A")}
    records.put(records.patient("A", birthDate="1970"))
    assert compute_site(db, "leon", mapper, 1)[:2] == (2, 0)
    assert planned() == {("unchanged", "A"), ("unchanged", "B")}
    assert content(db) == apart


def module_fingerprint(body: bytes) -> str:
    """How push knows what it has sent."""
    from dm_fhir.sync.push.content import fingerprint

    return fingerprint(body)


def test_links_that_contradict_each_other_are_a_finding_of_the_case(
    db: sqlite3.Connection, records: Records, mapper: SiteMapper
) -> None:
    merged(records, ("replaced-by", "B"), ("replaces", "B"))
    compute_site(db, "leon", mapper, 1)
    assert states(db) == {"A": "case", "B": "merged into Patient/A"}
    assert cases.finding_counts(db, "leon")["merge_unclear"] == (1, 1)
    assert not [finding for finding in of(db, "A")[1].findings if "Patient/" in finding.done]


def test_a_patient_that_should_remain_and_is_not_there_is_a_finding(
    db: sqlite3.Connection, records: Records, mapper: SiteMapper
) -> None:
    merged(records, ("replaced-by", "X"), ("seealso", "B"))
    compute_site(db, "leon", mapper, 1)
    assert states(db) == {"A": "case", "B": "case"}
    found = [(one.code, one.reference) for one in of(db, "A")[1].findings if "merge" in one.code]
    assert found == [("merge_incomplete", "Patient/X")]
    records.put(records.patient("X"))
    compute_site(db, "leon", mapper, 1)
    assert states(db) == {"A": "merged into Patient/X", "B": "case", "X": "case"}
    assert "merge_incomplete" not in cases.finding_counts(db, "leon")


def test_the_merged_have_left_only_if_nobody_of_them_is_in_the_cohort(
    db: sqlite3.Connection, records: Records, mapper: SiteMapper
) -> None:
    merged(records, ("replaced-by", "B"))
    found = []
    members.join(db, "leon", ["Patient/A", "Patient/B"], 1)
    for patient in "AB":
        members.leave(db, "leon", [f"Patient/{patient}"])
        compute_site(db, "leon", mapper, 1)
        found.append(of(db, "B")[0])
    assert found == ["case", "left the cohort"]


def test_a_merged_patient_who_joins_the_cohort_brings_the_case_back(
    db: sqlite3.Connection, records: Records, mapper: SiteMapper
) -> None:
    merged(records, ("replaced-by", "B"))
    members.join(db, "leon", ["Patient/A"], 1)
    members.leave(db, "leon", ["Patient/A"])
    compute_site(db, "leon", mapper, 1)
    assert of(db, "B")[0] == "left the cohort"
    members.join(db, "leon", ["Patient/B"], 1)
    assert compute_site(db, "leon", mapper, 1)[:2] == (1, 1)
    assert of(db, "B")[0] == "case"


def test_what_changes_while_it_computes_is_not_taken_for_computed(
    db: sqlite3.Connection, records: Records, mapper: SiteMapper, monkeypatch: pytest.MonkeyPatch
) -> None:
    records.put(records.patient("A"), records.infusion("i1", "A"))
    original = module.batched

    def meanwhile(*arguments: Any) -> Any:
        yield from original(*arguments)
        monkeypatch.setattr(module, "batched", original)
        records.put(records.infusion("i2", "A", "2025-04-03"))

    monkeypatch.setattr(module, "batched", meanwhile)
    assert [compute_site(db, "leon", mapper, 1)[:2] for _ in range(3)] == [(1, 0), (1, 0), (0, 1)]


@pytest.mark.parametrize("size", [1, 2, 100])
def test_a_compute_that_is_cut_off_is_finished_by_the_next(
    db: sqlite3.Connection, records: Records, mapper: SiteMapper, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    for name in "ABCDE":
        records.put(records.patient(name), records.infusion(f"i{name}", name))
    monkeypatch.setattr(module, "PATIENTS_PER_COMMIT", size)
    original, calls = module.put_case, iter(range(10))

    def cut_off(*arguments: Any) -> None:
        if next(calls) == 3:
            raise KeyboardInterrupt
        original(*arguments)

    monkeypatch.setattr(module, "put_case", cut_off)
    with pytest.raises(KeyboardInterrupt):
        compute_site(db, "leon", mapper, 1)
    done = 3 // size * size
    assert compute_site(db, "leon", mapper, 1)[:2] == (5 - done, done)
    assert compute_site(db, "leon", mapper, 1)[:2] == (0, 5)


NAMES = st.sampled_from("ABC")
STEPS = st.one_of(
    st.tuples(st.just("put"), NAMES, NAMES),
    st.tuples(st.just("delete"), NAMES, st.sampled_from(["Patient", "MedicationAdministration"])),
    st.tuples(st.just("replaced-by"), NAMES, NAMES),
    st.tuples(st.just("join"), NAMES, NAMES),
    st.tuples(st.just("leave"), NAMES, NAMES),
)
SITES = iter(range(1_000_000))


@given(steps=st.lists(STEPS, max_size=8))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=120)
def test_whatever_happens_it_is_as_if_computed_from_nothing(
    db: sqlite3.Connection, records: Records, mapper: SiteMapper, steps: list[tuple[str, str, str]]
) -> None:
    for table in ("resource", "resource_version", "case_document", "finding", "outcome", "cohort_member"):
        db.execute(f"DELETE FROM {table}")  # noqa: S608
    for what, one, other in steps:
        match what:
            case "put":
                records.put(records.infusion(f"i{one}", other))
            case "delete":
                delete_resource(db, "leon", other, one if other == "Patient" else f"i{one}", LATER)
            case "join":
                members.join(db, "leon", [f"Patient/{one}"], 1)
            case "leave":
                members.leave(db, "leon", [f"Patient/{one}"])
            case _:
                records.put(records.patient(one, *([] if one == other else [(what, other)])))
        compute_site(db, "leon", mapper, 1)
    step_by_step = content(db)
    with transaction(db):
        db.execute("UPDATE case_document SET fingerprint = ''")
        db.execute("DELETE FROM setting WHERE name LIKE 'computed %'")
    compute_site(db, "leon", mapper, 1)
    assert content(db) == step_by_step
