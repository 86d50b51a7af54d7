"""Nothing that is said aloud tells of a patient: no name, date of birth, identifier or value, and no secret."""

from __future__ import annotations

import re
import sqlite3
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from dm_fhir.fhir.access_token import AccessToken
from dm_fhir.fhir.connection import Connection
from dm_fhir.sync import compute

if TYPE_CHECKING:
    from pathlib import Path

    from tests.acceptance.conftest import HospitalMaker, Json, Ran, Study, StudyMaker

NAME, GIVEN, BORN, NUMBER = "Zwetschkenbaum", "Eulalia", "1961-11-23", "MRN-7719350"
VALUE, TEXT, BAD_VALUE = 418.25, "patient reports burning shawl area", "unmeasurable-9911"
WORDS = (NAME, GIVEN, BORN, NUMBER, str(VALUE), TEXT, BAD_VALUE, "19611123")


@pytest.fixture(scope="module")
def telling(one_patient: list[Json]) -> list[Json]:
    """The first patient's records with contents that are found again wherever they turn up; one cannot be read."""
    changes: dict[str, Json] = {
        "bal-1": {"name": [{"family": NAME, "given": [GIVEN]}], "birthDate": BORN, "identifier": [{"system": "urn:mrn", "value": NUMBER}]},
        "bal-1-ck-1": {"valueQuantity": {"value": VALUE, "unit": "U/L", "system": "http://unitsofmeasure.org", "code": "U/L"}},
        "bal-1-cdasi-1": {"note": [{"text": TEXT}]},
    }  # fmt: skip
    return [one | changes.get(one["id"], {}) for one in one_patient]


@pytest.fixture
def study(new_hospital: HospitalMaker, new_study: StudyMaker, telling: list[Json]) -> Study:
    """A study of the telling patient."""
    return new_study(new_hospital(telling))


def secrets(study: Study, private_key: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every token that is used from now on, and the lines of the key."""
    found = [line for line in private_key.read_text(encoding="utf-8").splitlines() if "-----" not in line]
    headers = AccessToken.headers

    def noted(self: Any) -> dict[str, str]:
        given = headers(self)
        found.append(given["Authorization"].removeprefix("Bearer "))
        return given

    monkeypatch.setattr(AccessToken, "headers", noted)
    return found


def check(ran: Ran, private: list[str]) -> None:
    said = ran.out + ran.err
    assert [word for word in (*WORDS, *private) if word in said] == []


def test_the_loop_and_its_errors_say_nothing_of_the_patient(
    study: Study, telling: list[Json], private_key: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    private = secrets(study, private_key, monkeypatch)
    broken = next(one for one in telling if one["id"] == "bal-1-ck-2") | {"valueQuantity": {"value": BAD_VALUE}}
    no_id = {name: value for name, value in telling[0].items() if name != "id"}
    file = tmp_path / "more.ndjson"
    lines = msgspec.json.Encoder(decimal_format="number").encode_lines([broken, no_id])
    file.write_bytes(lines + f"{{{NAME}\n".encode())
    commands = [
        "doctor", "doctor --json", "sync", "sync --json", "push", "push --dry-run", "pull --bogus", "pull --site nobody",
        f"pull --full --from {file}", f"pull --full --json --from {file}", "compute", "push --json", "status", "status --json",
    ]  # fmt: skip

    for form in ("text", "json"):
        for words in commands:
            check(study.type("-v", "--log-format", form, *words.split()), private)

    assert len(private) > 50, "no token was seen"
    told = study.type("status").out
    assert "  unreadable: Observation/bal-1-ck-2" in told
    assert f"set aside: {file}:2 (no-id)" in told
    assert f"set aside: {file}:3 (not-json)" in told


def test_what_a_server_refuses_is_named_by_reference_only(
    study: Study, private_key: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    private = secrets(study, private_key, monkeypatch)
    ask = Connection.ask

    def spoiled(self: Connection, read: Any, method: str, url: str, *, body: bytes | None = None, **more: Any) -> Any:
        return ask(self, read, method, url, body=body and body.replace(b'"code":{', b'"kode":{'), **more)

    monkeypatch.setattr(Connection, "ask", spoiled)
    ran = study.type("-v", "sync")

    assert ran.code == 3
    assert "rejected: ck_improvement of Patient/bal-1: answered 4" in ran.out
    check(ran, private)


def test_an_internal_error_shows_its_place_and_not_its_words(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(*_: object, **__: object) -> None:
        raise ValueError(f"cannot read {NAME}, born {BORN}")

    monkeypatch.setattr(compute, "put_case", failing)
    brief, long = study.type("sync"), study.type("-v", "sync", "--json")

    line = r"  stopped: internal error: ValueError at dm_fhir/sync/compute\.py:\d+; please report it \(compute, [-:\dTZ]+\)"
    assert (brief.code, long.code) == (1, 1)
    assert re.search(f"^{line}$", brief.out, re.MULTILINE)
    assert re.search(r"baltimore: dm_fhir/sync/passes\.py:\d+: one$", long.err, re.MULTILINE)
    assert "Traceback" not in brief.err + long.err
    assert long.json == long.json | {"command": "sync", "state": "failed", "exit_code": 1}
    check(brief, [])
    check(long, [])
    assert study.ask("SELECT exit_code FROM run") == [(1,), (1,)]


def test_an_error_of_the_store_is_told_as_one(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(*_: object, **__: object) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(compute, "put_case", failing)
    ran = study.type("sync")

    assert ran.code == 1
    assert re.search(r"^  stopped: no space left in .*; at least \d+ MB needed;", ran.out, re.MULTILINE)
    assert "internal error" not in ran.err
