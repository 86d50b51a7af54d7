"""Somebody else was at our Observations, or the server was not sure: nothing is overwritten, nothing forgotten."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
from requests.structures import CaseInsensitiveDict

from dm_fhir.errors import WriteUnsettled
from dm_fhir.fhir.connection import Connection
from dm_fhir.fhir.transport import Answer

if TYPE_CHECKING:
    from tests.acceptance.conftest import Hospital, HospitalMaker, Json, Study, StudyMaker

AMENDED = "bal-1-dlqi-1"


@pytest.fixture
def hospital(new_hospital: HospitalMaker) -> Hospital:
    """A server with the first patient."""
    return new_hospital()


@pytest.fixture
def study(hospital: Hospital, new_study: StudyMaker) -> Study:
    """Its study, nothing done yet."""
    return new_study(hospital)


def amend(hospital: Hospital, one_patient: list[Json], value: int) -> None:
    """A new DLQI, from which two outcomes follow."""
    original = next(one for one in one_patient if one["id"] == AMENDED)
    hospital.put(original | {"valueQuantity": {**original["valueQuantity"], "value": value}})


def depending(hospital: Hospital) -> Json:
    """One of the outcomes that follow from it."""
    return next(
        one
        for one in hospital.outcomes()
        if one["code"]["coding"][0]["code"] == "dlqi-improvement"
        and any(AMENDED in part["reference"] for part in one["derivedFrom"])
    )


def test_what_somebody_else_edited_is_left_as_it_is(hospital: Hospital, study: Study, one_patient: list[Json]) -> None:
    study.type("sync")
    edited = depending(hospital) | {"note": [{"text": "checked by the ward"}]}
    hospital.put(edited)
    amend(hospital, one_patient, 3)

    ran = study.type("sync")

    assert ran.code == 7
    assert (
        f"conflict: dlqi_improvement of Patient/bal-1: Observation/{edited['id']} was changed by someone else (version 2)"
        in ran.out
    )
    assert ran.last_line.endswith("exit 7 (conflict: look at what is named above)")
    kept = hospital.get(f"Observation/{edited['id']}")
    assert (kept["note"], kept["valueQuantity"]) == (edited["note"], edited["valueQuantity"])
    assert hospital.outcomes()[0]["meta"]["versionId"] == "1"


def test_a_conflict_is_named_again_without_a_write_and_ends_when_ours_is_restored(
    hospital: Hospital, study: Study, one_patient: list[Json]
) -> None:
    study.type("sync")
    ours = depending(hospital)
    hospital.put(ours | {"status": "amended"})
    amend(hospital, one_patient, 3)
    study.type("sync")
    writes = len(hospital.writes())

    again = study.type("sync")

    assert (again.code, len(hospital.writes())) == (7, writes)
    assert "changed by someone else" in again.out
    hospital.put(ours)
    assert study.type("sync").code == 0
    assert depending(hospital)["valueQuantity"]["value"] == 15
    assert study.type("status").code == 0


def test_two_copies_are_a_conflict_and_neither_is_touched(
    hospital: Hospital, study: Study, one_patient: list[Json]
) -> None:
    study.type("sync")
    ours = depending(hospital)
    hospital.post({name: value for name, value in ours.items() if name not in ("id", "meta")})
    amend(hospital, one_patient, 3)

    ran = study.type("sync")

    copies = hospital.outcome(ours["identifier"][0]["value"])
    assert ran.code == 7
    assert (
        "conflict: dlqi_improvement of Patient/bal-1: 2 copies of one result on the server; see push --repair"
        in ran.out
    )
    assert [one["valueQuantity"] for one in copies] == [ours["valueQuantity"]] * 2
    assert {one["meta"]["versionId"] for one in copies} == {"1"}


def test_two_copies_before_the_first_push_are_a_conflict_too(
    hospital: Hospital, study: Study, new_study: StudyMaker
) -> None:
    study.type("sync")
    ours = depending(hospital)
    hospital.post({name: value for name, value in ours.items() if name not in ("id", "meta")})

    ran = new_study(hospital).type("sync")

    assert ran.code == 7
    assert (
        "conflict: dlqi_improvement of Patient/bal-1: 2 copies of one result on the server; see push --repair"
        in ran.out
    )
    assert len(hospital.outcome(ours["identifier"][0]["value"])) == 2


@pytest.fixture
def answering(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Makes every write of an Observation answer this status without being carried out; 0: everything works again."""
    ask, answers = Connection.ask, [0]

    def asked(self: Connection, read: Any, method: str, url: str, **more: Any) -> Any:
        if answers[0] and method in ("PUT", "POST") and not more.get("only_reads"):
            said = b'{"resourceType":"OperationOutcome","issue":[{"diagnostics":"not this"}]}'
            if answers[0] not in more.get("accept", ()):
                raise WriteUnsettled(f"{method} answered {answers[0]}", reason=f"http-{answers[0]}", status=answers[0])
            return read(Answer(answers[0], CaseInsensitiveDict(), said, url))
        return ask(self, read, method, url, **more)

    def answer(status: int) -> None:
        answers[0] = status

    monkeypatch.setattr(Connection, "ask", asked)
    monkeypatch.setattr("dm_fhir.fhir.connection.time.sleep", lambda _: None)  # what `pause` looks up
    return answer


def test_a_server_that_has_no_time_is_asked_again_by_the_next_push(
    hospital: Hospital, study: Study, answering: Callable[[int], None]
) -> None:
    answering(503)
    ran = study.type("sync")
    assert ran.code == 4
    assert re.search(r"0 of \d+ written; run again later: .* answered 503", ran.out + ran.err)

    answering(0)
    assert study.type("sync").code == 0
    assert len(hospital.outcomes()) == len(study.ask("SELECT 1 FROM push WHERE state = 'confirmed'")) > 0


def test_what_the_server_refuses_is_named_and_not_sent_again(
    hospital: Hospital, study: Study, answering: Callable[[int], None]
) -> None:
    answering(422)
    first = study.type("sync")
    asked = len(hospital.requests())
    second = study.type("push")

    assert (first.code, second.code) == (3, 3)
    assert "rejected: cdasi_activity_baseline of Patient/bal-1: answered 422: not this" in first.out
    assert "rejected: cdasi_activity_baseline of Patient/bal-1: answered 422: not this" in second.out
    assert len(hospital.requests()) == asked
    assert hospital.outcomes() == []


def test_a_write_that_was_cut_off_before_the_outcome_changed_again_is_no_conflict(
    hospital: Hospital, study: Study, one_patient: list[Json], monkeypatch: pytest.MonkeyPatch
) -> None:
    study.type("sync")
    ask = Connection.ask

    def cut_off(self: Connection, read: Any, method: str, url: str, **more: Any) -> Any:
        answer = ask(self, read, method, url, **more)
        if method == "POST" and url == self.endpoint:
            raise KeyboardInterrupt
        return answer

    amend(hospital, one_patient, 3)
    with monkeypatch.context() as patch:
        patch.setattr(Connection, "ask", cut_off)
        assert study.type("sync").code == 130
    assert study.ask("SELECT count(*) FROM push WHERE state = 'sending'") == [(3,)]
    amend(hospital, one_patient, 4)

    assert study.type("sync").code == 0
    assert depending(hospital)["valueQuantity"]["value"] == 14
