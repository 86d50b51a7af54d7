"""Cases with their outcomes and findings, and what was written to the server."""

import sqlite3

import pytest

from dm_fhir.store import cases, pushes
from dm_fhir.store.cases import CaseRow, FindingRow, OutcomeRow, computed_from, fingerprints, note_computed, put_case
from dm_fhir.store.pushes import Pushed, pushed, put_push


def finding(code: str, severity: str = "warning") -> FindingRow:
    """A finding about Observation/1."""
    return FindingRow(code, severity, "Observation/1", "value", "left out")


def test_a_case_is_replaced_whole(db: sqlite3.Connection) -> None:
    case = CaseRow("Patient/1", "case", b"{}")
    two = [OutcomeRow("Patient/1", name, "week 12", b"{}") for name in ("mmt8", "cdasi")]
    put_case(db, "leon", case, "f1", 1, two, [finding("unit"), finding("range", "error")])
    assert [outcome.variable for outcome in cases.outcomes(db, "leon")] == ["cdasi", "mmt8"]
    assert (cases.finding_counts(db, "leon"), cases.errors(db, "leon")) == (
        {"range": (1, 1), "unit": (1, 1)},
        [("range", "Observation/1", "value")],
    )
    put_case(db, "leon", case._replace(body=b"[]"), "f2", 1, two[:1], [finding("unit")])
    assert (list(cases.cases(db, "leon")), list(cases.outcomes(db, "leon"))) == ([case._replace(body=b"[]")], two[:1])
    assert (cases.finding_counts(db, "leon"), cases.errors(db, "leon")) == ({"unit": (1, 1)}, [])
    assert fingerprints(db, "leon") == {"Patient/1": "f2"}


def test_findings_are_listed_by_code_and_counted_with_their_patients(db: sqlite3.Connection) -> None:
    for patient, some in (("Patient/2", [finding("b"), finding("a")]), ("Patient/1", [finding("b"), finding("b")])):
        put_case(db, "leon", CaseRow(patient, "case", b"{}"), "f", 1, [], some)
    assert cases.findings(db, "leon")[0] == ("Patient/2", "a", "warning", "Observation/1", "value", "left out")
    assert cases.finding_counts(db, "leon") == {"a": (1, 1), "b": (3, 2)}
    assert (cases.findings(db, "madrid"), cases.finding_counts(db, "madrid")) == ([], {})


def test_one_patients_case_leaves_the_others_alone(db: sqlite3.Connection) -> None:
    for site, patient in (("leon", "Patient/2"), ("leon", "Patient/1"), ("madrid", "Patient/1")):
        put_case(
            db, site, CaseRow(patient, "case", b"{}"), "f", 1, [OutcomeRow(patient, "ck", "", b"")], [finding("x")]
        )
    put_case(db, "leon", CaseRow("Patient/1", "no-diagnosis", b""), "g", 1, [], [])
    assert [case.patient for case in cases.cases(db, "leon")] == ["Patient/2"]
    assert cases.counts_by_state(db, "leon") == {"case": 1, "no-diagnosis": 1}
    assert iter(found := cases.outcomes(db, "leon")) is found  # read one by one: a site may have hundreds of thousands
    assert [len(list(cases.outcomes(db, site))) for site in ("leon", "madrid")] == [1, 1]
    assert [cases.finding_counts(db, site) for site in ("leon", "madrid")] == [{"x": (1, 1)}, {"x": (1, 1)}]


def test_a_case_never_made_has_no_fingerprint(db: sqlite3.Connection) -> None:
    put_case(db, "madrid", CaseRow("Patient/1", "case", b"{}"), "f", 1, [], [])
    assert fingerprints(db, "leon") == {}


def test_the_merged_are_counted_together_whoever_remains(db: sqlite3.Connection) -> None:
    for patient, state in (
        ("1", "case"),
        ("2", "merged into Patient/1"),
        ("4", "case"),
        ("3", "merged into Patient/4"),
    ):
        put_case(db, "leon", CaseRow(f"Patient/{patient}", state, b"{}"), "f", 1, [], [])
    assert cases.counts_by_state(db, "leon") == {"case": 2, "merged into another": 2}


def test_the_mark_of_the_last_compute_is_each_sites_own(db: sqlite3.Connection) -> None:
    assert computed_from(db, "leon") is None
    for mark in ("one", "two"):
        note_computed(db, "leon", mark)
    assert (computed_from(db, "leon"), computed_from(db, "madrid")) == ("two", None)


SENDING = Pushed("urn:x|k1", "Patient/1", "cdasi", "week 12", "sending", None, None, "h1", None, b"{}")


def test_a_push_is_remembered_by_its_identifier(db: sqlite3.Connection) -> None:
    put_push(db, "leon", SENDING, 1)
    assert list(pushed(db, "leon")) == [SENDING]
    confirmed = SENDING._replace(state="confirmed", server_id="77", version="1", message="1 differs")
    put_push(db, "leon", confirmed, 1)
    put_push(db, "leon", SENDING._replace(identifier="urn:x|k2"), 1)
    put_push(db, "madrid", SENDING, 1)
    assert next(pushed(db, "leon")) == confirmed
    assert (pushes.counts_by_state(db, "leon"), pushes.counts_by_state(db, "madrid")) == (
        {"confirmed": 1, "sending": 1},
        {"sending": 1},
    )


def test_a_push_belongs_to_a_run_and_has_a_known_state(db: sqlite3.Connection) -> None:
    for wrong, run in ((SENDING, 99), (SENDING._replace(state="sent"), 1)):
        with pytest.raises(sqlite3.IntegrityError):
            put_push(db, "leon", wrong, run)
    assert list(pushed(db, "leon")) == []
