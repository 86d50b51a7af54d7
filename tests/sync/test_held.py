"""Whose records are not complete, and what follows for their cases and outcomes."""

import json
import sqlite3
from collections.abc import Callable
from typing import Any

import pytest
from msgspec.structs import replace

from dm_fhir.config import Auth, Partial, Pull, Site, Sync
from dm_fhir.mappings.patient import merges
from dm_fhir.store import ledger
from dm_fhir.store.cases import case_row, outcomes
from dm_fhir.store.ledger import Unit, put_unit
from dm_fhir.store.members import join, leave
from dm_fhir.sync.compute import compute_site
from dm_fhir.sync.held import held
from dm_fhir.sync.pull import PLAN

from ..servers.hospital import Ask, Hospital, Reply, refusal
from ..servers.records import ck, population
from ..servers.study import Study
from .conftest import PATIENTS, Records

StudyOf = Callable[..., Study]
LEON = Site("leon", "https://fhir.test/r4", "UTC", (), {}, Auth(), Pull(optional_types=("AdverseEvent",)))
QUERIES = ("Patient", "Observation?patient", "AdverseEvent?subject")


def asked(db: sqlite3.Connection, *patients: str, run: int = 1, **states: str) -> None:
    """Each patient is in the cohort and was asked for everything; `states` by type where it is not complete."""
    join(db, "leon", [f"Patient/{name}" for name in patients], run)
    ledger.note_plan(db, "leon", QUERIES)
    for name in patients:
        for query in QUERIES:
            state = states.get(query.partition("?")[0], "complete")
            reason = None if state == "complete" else "http-500"
            put_unit(
                db,
                Unit("leon", f"Patient/{name}", query, state, reason=reason, watermark="2026-01-01T00:00:00Z", run=run),
            )


def whole_plan(db: sqlite3.Connection, state: str = "complete", run: int = 1) -> None:
    put_unit(db, Unit("leon", "", PLAN, state, run=run))


def back(db: sqlite3.Connection, partial: Partial = "patients", site: Site = LEON) -> dict[str, str]:
    return held(db, replace(site, sync=Sync(partial)), merges)


@pytest.fixture
def _runs(db: sqlite3.Connection) -> None:
    ledger.begin_run(db, "sync")


def test_nobody_is_held_back_where_everything_is_complete(db: sqlite3.Connection, records: Records) -> None:
    records.put(records.patient("a"), records.patient("b"))
    asked(db, "a", "b")
    whole_plan(db)
    assert [back(db, one) for one in ("patients", "nothing", "everything")] == [{}, {}, {}]


@pytest.mark.parametrize("state", ["partial", "failed", "refused", "unsupported"])
def test_whoever_has_a_unit_that_is_not_complete_is_held_back(
    db: sqlite3.Connection, records: Records, state: str
) -> None:
    records.put(records.patient("a"), records.patient("b"))
    asked(db, "a")
    asked(db, "b", Observation=state)
    whole_plan(db)
    assert back(db) == {"Patient/b": f"Observation?patient is {state} (http-500)"}
    assert back(db, "nothing").keys() == {"Patient/a", "Patient/b"}
    assert back(db, "everything") == {}


def test_a_type_that_the_hospital_need_not_offer_holds_nobody_back(db: sqlite3.Connection) -> None:
    asked(db, "a", AdverseEvent="unsupported")
    whole_plan(db)
    assert back(db) == back(db, "nothing") == {}
    assert back(db, site=replace(LEON, pull=Pull())).keys() == {"Patient/a"}
    asked(db, "a", AdverseEvent="refused")
    assert back(db).keys() == {"Patient/a"}


def test_whoever_was_not_asked_for_everything_is_held_back(db: sqlite3.Connection) -> None:
    asked(db, "a", "b", "c")
    join(db, "leon", ["Patient/new"], 1)
    ledger.forget_units(db, "leon", "Patient/b", ["Observation?patient"])
    assert back(db) == dict.fromkeys(("Patient/b", "Patient/new"), "not everything was asked for")
    leave(db, "leon", ["Patient/b", "Patient/new"])
    assert back(db) == {}


def test_observations_by_category_stand_for_those_of_the_patient(db: sqlite3.Connection) -> None:
    asked(db, "a")
    ledger.forget_units(db, "leon", "Patient/a", ["Observation?patient"])
    put_unit(db, Unit("leon", "Patient/a", "Observation?patient&category=laboratory", "complete", run=1))
    assert back(db) == {}
    ledger.forget_units(db, "leon", "Patient/a", ["AdverseEvent?subject"])
    assert back(db).keys() == {"Patient/a"}


@pytest.mark.usefixtures("_runs")
def test_a_pull_that_was_cut_off_holds_back_those_whose_records_are_of_two_times(db: sqlite3.Connection) -> None:
    asked(db, "before", "between", "through", "advanced")
    asked(db, "through", run=2)
    for name, queries in {"between": QUERIES[:1], "advanced": QUERIES[:2]}.items():
        for query in queries:
            put_unit(db, Unit("leon", f"Patient/{name}", query, "complete", watermark="2026-01-01T00:00:00Z", run=2))
    whole_plan(db, "partial", run=2)
    cut_off = "the last pull did not get through"
    assert back(db) == dict.fromkeys(("Patient/advanced", "Patient/between"), cut_off)
    ledger.advance(
        db, "leon", {"AdverseEvent?subject": "2026-01-02T00:00:00Z"}, 2
    )  # nothing has changed of it, for anybody
    assert back(db) == {"Patient/between": cut_off}
    whole_plan(db, run=2)
    assert back(db) == {}


@pytest.mark.parametrize(
    ("query", "everybody"),
    [("AdverseEvent, whole", True), ("file: export/a.ndjson", True), ("cohort: Medication by code", False),
     ("Observation/_history", False), ("import: a.csv by a.toml", False)],
)  # fmt: skip
def test_what_is_nobodys_own_holds_everybody_back_or_nobody(
    db: sqlite3.Connection, records: Records, query: str, *, everybody: bool
) -> None:
    records.put(records.patient("a"), records.infusion("i", "of-a-file"))
    asked(db, "a")
    whole_plan(db)
    put_unit(db, Unit("leon", "", query, "partial", run=1))
    assert back(db).keys() == ({"Patient/a", "Patient/of-a-file"} if everybody else set())
    assert back(db, "nothing").keys() == {"Patient/a", "Patient/of-a-file"}


def test_a_medication_that_could_not_be_read_holds_back_whose_records_name_it(
    db: sqlite3.Connection, records: Records
) -> None:
    def given(name: str, patient: str, reference: str) -> dict[str, Any]:
        return {**records.infusion(name, patient), "medicationReference": {"reference": reference}}

    records.put(
        *map(records.patient, "abcd"), {"resourceType": "Medication", "id": "here"},
        given("1", "a", "Medication/here"), given("2", "b", "Medication/lost"), given("3", "c", "#contained"),
        given("4", "d", "https://elsewhere.test/Medication/lost"),
    )  # fmt: skip
    asked(db, *"abcd")
    whole_plan(db)
    assert back(db) == {}, "it is gone at the hospital, and that is known"
    put_unit(db, Unit("leon", "", "Medication by reference", "partial", run=1))
    assert back(db) == {"Patient/b": "a Medication that the records name was not read"}
    put_unit(db, Unit("leon", "", "Medication by reference", "complete", run=1))
    whole_plan(db, "partial")
    assert back(db).keys() == {"Patient/b"}, "the pull did not come so far"


def test_a_medication_that_is_named_by_an_inner_address_of_the_server_is_one_of_the_server(
    db: sqlite3.Connection, records: Records
) -> None:
    addresses = {"a": "https://fhir.test/r4", "b": "http://inner:8080/fhir", "c": "https://elsewhere.test/r4"}
    for name, address in addresses.items():
        reference = {"reference": f"{address}/Medication/lost"}
        records.put(records.patient(name), {**records.infusion(name, name), "medicationReference": reference})
    asked(db, *addresses)
    whole_plan(db)
    put_unit(db, Unit("leon", "", "Medication by reference", "partial", run=1))
    assert back(db).keys() == {"Patient/a"}
    assert back(db, site=replace(LEON, rewrite={"http://inner:8080/fhir": "https://fhir.test/r4"})).keys() == {
        "Patient/a", "Patient/b",
    }  # fmt: skip


def test_the_same_person_is_held_back_with_whoever_is(db: sqlite3.Connection, records: Records) -> None:
    records.put(
        records.patient("stays", ("replaces", "old")), records.patient("old"),
        records.patient("new", ("replaces", "coming")), records.patient("other"),
    )  # fmt: skip
    asked(db, "stays", "new", "other")
    asked(db, "old", Observation="failed")
    join(db, "leon", ["Patient/coming"], 1)
    whole_plan(db)
    assert back(db) == {
        "Patient/coming": "not everything was asked for",
        "Patient/new": "the same person as Patient/coming",
        "Patient/old": "Observation?patient is failed (http-500)",
        "Patient/stays": "the same person as Patient/old",
    }


def test_whoever_is_held_back_keeps_case_and_outcomes_until_it_is_over(
    db: sqlite3.Connection, records: Records, mapper: Any
) -> None:
    for name in "ab":
        records.put(
            records.patient(name), records.infusion(f"i-{name}", name), records.ck(f"c-{name}", name, "2025-03-01", 900)
        )
    assert compute_site(db, "leon", mapper, 1) == (2, 0, {"new": 2}, 0)
    before = case_row(db, "leon", "Patient/a"), list(outcomes(db, "leon"))

    records.put(
        records.ck("c2-a", "a", "2025-06-01", 200), records.ck("c2-b", "b", "2025-06-01", 200), records.patient("n")
    )
    back = ["Patient/a", "Patient/n"]
    assert compute_site(db, "leon", mapper, 1, back) == (1, 0, {"records changed": 1}, 2)
    assert compute_site(db, "leon", mapper, 1, back) == (0, 1, {}, 2)
    assert case_row(db, "leon", "Patient/a") == before[0]
    assert [one for one in outcomes(db, "leon") if one.patient == "Patient/a"] == [
        one for one in before[1] if one.patient == "Patient/a"
    ]
    assert case_row(db, "leon", "Patient/n") is None
    assert compute_site(db, "leon", mapper, 1) == (2, 1, {"records changed": 1}, 0)
    assert case_row(db, "leon", "Patient/a") != before[0]


def test_a_hole_in_one_patients_records_leaves_the_others_alone(hospital: Hospital, study_of: StudyOf) -> None:
    """p2 was complete and keeps the case; new was never complete and has none."""
    study = study_of(patients=(*PATIENTS, "new"), pull={"concurrency": "1", "patients_per_query": "1"})
    study.config.with_name("patients.txt").write_text("p1\np2\np3\n", encoding="utf-8")
    assert [study.type(one).code for one in ("pull", "compute")] == [0, 0]

    hospital.put(*population("new"), ck("late", "p2", 900), ck("later", "p3", 900))
    study.config.with_name("patients.txt").write_text("p1\np2\np3\nnew\n", encoding="utf-8")

    def spoil(ask: Ask) -> Reply | None:
        is_theirs = "p2" in ask.parameter("patient") or "new" in ask.parameter("patient")
        return refusal(500) if ask.type == "Observation" and is_theirs else None

    hospital.refuse.append(spoil)
    assert study.type("pull", "--full").code == 3
    computed = study.type("compute")
    assert computed.code == 3
    assert "north: 1 patients computed, 1 unchanged, 2 held back: their records are not complete" in computed.out
    named = "held back until their records are complete, with what they had: 2 patients: Patient/new, Patient/p2"
    for ran in (computed, study.type("status")):
        assert named in ran.out
        assert "of these still without a case: 1 patient: Patient/new" in ran.out
    (site,) = json.loads(study.type("status", "--json").out)["sites"]
    assert site["held"].keys() == {"Patient/new", "Patient/p2"}
    assert (site["without_case"], site["patients"]) == (["Patient/new"], {"case": 3})
    assert study.type("explain", "Patient/p2").code == 0

    hospital.refuse.clear()
    assert [study.type(one).code for one in ("pull", "compute", "status")] == [0, 0, 0]
    assert "held back" not in study.type("status").text


@pytest.mark.parametrize(("partial", "computed"), [("nothing", 0), ("everything", 2)])
def test_a_site_says_how_strict_it_is(hospital: Hospital, study_of: StudyOf, partial: str, computed: int) -> None:
    study = study_of(patients=("p1", "p2"), pull={"concurrency": "1", "patients_per_query": "1"})
    with study.config.open("a", encoding="utf-8") as file:
        file.write(f'[site.sync]\npartial = "{partial}"\n')
    hospital.refuse.append(
        lambda ask: refusal(500) if ask.type == "Condition" and "p2" in ask.parameter("patient") else None
    )
    assert study.type("pull").code == 3
    assert f"north: {computed} patients computed" in study.type("compute").out
    assert study.type("status").out.count("held back") == (partial == "nothing")
