"""dm-fhir status: a few lines for people, all of it for machines, and quick with many units."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from dm_fhir.cli import reporter
from dm_fhir.store.cases import CaseRow, put_case
from dm_fhir.store.filing import delete_resource, put_resources

if TYPE_CHECKING:
    from tests.cli.conftest import Study


def remarks(study: Study) -> list[str]:
    """What is said below the first line of site leon."""
    return study.type("status", "--site", "leon").lines[2:-1]


def test_what_a_server_says_along_is_one_line(study: Study) -> None:
    said = "server: the answer may not contain the entire record"
    for query in "ab":
        study.unit(query, notes={"server_message": 2}, message=said)
    assert remarks(study) == ["  server: the answer may not contain the entire record (2 units)"]
    study.unit("c", message="another")
    study.unit("d", "failed", message="500")
    (line,) = [line for line in remarks(study) if line.startswith("  server: ")]
    assert line == (
        "  server: the answer may not contain the entire record (2 units); and 1 other messages: dm-fhir status --json"
    )
    assert study.type("status", "--json").json["sites"][0]["server_messages"] == {said: 2, "another": 1}


@pytest.mark.parametrize(
    ("notes", "line"),
    [
        ({"authorised_view_only": 3, "server_message": 3}, "  server: what it sends may not contain the entire record (3 answers)"),
        ({"server_message": 3}, "  server: 3 remarks with its answers"),
        ({"filter_ignored:code": 4, "filter_ignored:_id": 1}, "  server ignored _id, code; filtered here"),
        ({"next_rewritten": 2}, "  the server hands out http links"),
        ({"plain_http_links": 2}, "  the server hands out http links"),
    ],
)  # fmt: skip
def test_what_is_worth_knowing_keeps_nothing_open(study: Study, notes: dict[str, int], line: str) -> None:
    study.unit("q", notes=notes)
    assert remarks(study) == [line]
    ran = study.type("status", "--site", "leon", "--json")
    assert (ran.code, ran.json["sites"][0]["notes"]) == (0, notes)


def test_what_happens_every_day_is_not_remarked_on(study: Study) -> None:
    study.unit("q", notes={"new": 3, "unchanged": 4, "duplicate": 1, "throttled": 2, "own_outcome": 1})
    assert remarks(study) == []


def test_deleted_resources_are_counted(study: Study) -> None:
    from dm_fhir.fhir.resource import read_resource

    study.unit("q")
    body = b'{"resourceType": "Condition", "id": "c%d", "subject": {"reference": "Patient/1"}}'
    put_resources(study.db, "leon", [read_resource(body % number) for number in range(3)], 1)
    for name in ("c0", "c1"):
        delete_resource(study.db, "leon", "Condition", name, "2025-06-01T10:00:00Z")
    assert remarks(study) == ["  deleted on the server, kept here and not used: 2 Condition"]
    site = study.type("status", "--json").json["sites"][0]
    assert (site["deleted_by_type"], site["resources"]) == ({"Condition": 2}, {"Condition": 1})


def test_patients_that_are_no_case_any_more_are_counted(study: Study) -> None:
    study.unit("q")
    states = ("case", "case", "merged into Patient/1", "merged into Patient/2", "left the cohort", "test patient")
    for number, state in enumerate(states):
        put_case(study.db, "leon", CaseRow(f"Patient/{number}", state, b""), "f", 1, [], [])
    assert "; 2 cases, 2 merged into another, 1 left the cohort" in study.type("status", "--site", "leon").lines[1]
    assert study.type("status", "--json").json["sites"][0]["patients"] == {
        "case": 2, "left the cohort": 1, "merged into another": 2, "test patient": 1,
    }  # fmt: skip


def test_only_what_is_shown_is_put_into_words(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(200):
        study.unit("q", "failed", f"Patient/{number:03}", message="500")
    worded = []
    original = reporter._attention
    monkeypatch.setattr(reporter, "_attention", lambda one: worded.append(one) or original(one))
    lines = remarks(study)
    assert (len(worded), len(lines)) == (10, 13)
    assert lines[0] == "  failed: Patient/000 q: 500"
    assert lines[10] == "  … and 190 more units that need attention; all of them: dm-fhir failed"
    names = ", ".join(f"Patient/{number:03}" for number in range(10))
    assert lines[11:] == [
        f"  held back until their records are complete, with what they had: 200 patients: {names} and 190 more: dm-fhir status --json",
        f"  of these still without a case: 200 patients: {names} and 190 more: dm-fhir status --json",
    ]
    assert len(study.type("status", "--json").json["sites"][0]["attention"]) == 200
