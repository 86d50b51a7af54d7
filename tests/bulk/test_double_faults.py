"""A second fault while the first is being mended: what was begun is carried through, or says which of the two it was."""

import errno
import gzip
import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest

from dm_fhir.fhir import download

from ..sync.exporting import Exporting
from ..sync.mocked import cdasi
from .clinic import Undisturbed, clinic_in, content
from .server import Reply
from .test_faults import FILE, JOB, KICK_OFF, TROUBLE, left, log_in


@pytest.fixture
def waits() -> list[float]:
    """The seconds that were slept; none really is."""
    return []


@pytest.fixture
def clinic(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, waits: list[float]) -> Iterator[Exporting]:
    monkeypatch.setattr("time.sleep", waits.append)
    with clinic_in(tmp_path / "study") as made:
        made.configure("tries = 1", "tries = 2")
        yield made


def ends_well(clinic: Exporting, undisturbed: Undisturbed, jobs: int = 1) -> None:
    """The next pull is complete, and all is as if nothing had been."""
    ran = clinic.pull()
    assert ran.code == 0, ran.err
    assert content(clinic) == undisturbed.content
    assert (len(clinic.server.jobs), left(clinic.server)) == (jobs, [])


def test_a_token_expires_while_a_file_is_resumed(clinic: Exporting, undisturbed: Undisturbed) -> None:
    log_in(clinic)
    clinic.server.manners.login = True
    clinic.server.cut(FILE, 300)
    clinic.server.fail(FILE, Reply(401))
    ends_well(clinic, undisturbed)
    asked = [one for one in clinic.server.log if one.line.startswith(FILE)]
    assert [one.status for one in asked] == [200, 401, 206]
    assert asked[1].headers["range"] == asked[2].headers["range"] == "bytes=300-"
    assert asked[1].headers["authorization"] != asked[2].headers["authorization"]


def test_an_address_expires_while_a_file_is_resumed(clinic: Exporting, undisturbed: Undisturbed) -> None:
    clinic.server.manners.signed = "abcdefgh"
    clinic.server.cut(FILE, 300)
    clinic.server.fail(FILE, Reply(403))
    ends_well(clinic, undisturbed)
    asked = [one for one in clinic.server.log if one.line.startswith(FILE)]
    assert [one.status for one in asked] == [200, 403, 206]


def test_a_short_file_has_expired_when_it_is_downloaded_again(clinic: Exporting, undisturbed: Undisturbed) -> None:
    clinic.server.spoil(FILE, lambda reply: replace(reply, body=b"".join(reply.body.splitlines(keepends=True)[:-1])))
    clinic.server.fail(FILE, Reply(410))
    ends_well(clinic, undisturbed)


def test_a_file_expires_and_so_does_the_other_while_both_are_listed_anew(
    clinic: Exporting, undisturbed: Undisturbed
) -> None:
    clinic.server.fail(FILE, Reply(404))
    clinic.server.fail(FILE, Reply(404))
    clinic.server.fail("GET files/1/Patient-1", Reply(404))
    ends_well(clinic, undisturbed)
    assert len(clinic.server.lines(JOB)) == 3 + 1 + 2


def test_too_many_requests_and_then_no_word_of_where_the_job_is(clinic: Exporting, undisturbed: Undisturbed) -> None:
    clinic.server.fail(KICK_OFF, Reply(429, b"", {"Retry-After": "1"}))
    clinic.server.spoil(KICK_OFF, lambda reply: replace(reply, headers={}))
    assert clinic.pull().code == 3
    assert {reason for _, reason in clinic.units().values()} == {"no-job-address"}
    assert clinic.study.ask("SELECT state FROM bulk_job") == [("ended",)]
    clinic.server.jobs.clear()  # whose address nobody knows: the server's matter
    ends_well(clinic, undisturbed)


def test_trouble_with_the_status_and_then_no_such_job(clinic: Exporting, undisturbed: Undisturbed) -> None:
    clinic.server.fail(JOB, Reply(500, TROUBLE))
    clinic.server.fail(JOB, Reply(404))
    ends_well(clinic, undisturbed, jobs=2)


def test_a_page_of_the_manifest_is_gone_and_then_the_server_restarts(
    clinic: Exporting, undisturbed: Undisturbed
) -> None:
    clinic.server.manners.polls, clinic.server.manners.pages = 0, 2
    polls = 0

    def restart(line: str) -> None:
        nonlocal polls
        polls += line.startswith(JOB)
        if polls == 2:
            clinic.server.restart()

    clinic.server.on_request = restart
    ends_well(clinic, undisturbed, jobs=2)


def test_the_disk_is_full_and_the_next_run_goes_on_with_what_had_come(
    clinic: Exporting, undisturbed: Undisturbed, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    clinic.configure("concurrency = 2", "concurrency = 1")
    clinic.server.cut(FILE, 300)
    with monkeypatch.context() as patch:
        patch.setattr(download.os, "fsync", full)
        ran = clinic.pull()
    assert ran.code == 1
    assert "no space left in" in ran.out
    assert any(path.name.endswith(".part") for path in clinic.spool())
    ends_well(clinic, undisturbed)


def test_a_list_of_deletions_breaks_off_and_another_file_has_expired(clinic: Exporting) -> None:
    assert clinic.pull().code == 0
    clinic.server.manners.polls = 0
    marks = clinic.watermarks()
    clinic.server.held.put(cdasi("a-later", "a", "2026-05-05", 8))
    clinic.server.delete("Observation/a-after")
    clinic.server.fail("GET files/2/Observation-1", Reply(404))
    clinic.server.spoil("GET files/2/deleted-1", lambda reply: replace(reply, body=gzip.compress(reply.body)[:-8]), 99)
    assert clinic.pull().code == 3
    assert clinic.units() == {"bulk: deleted": ("partial", "body-incomplete")}
    assert clinic.held() >= {"Observation/a-later", "Observation/a-after"}
    assert clinic.watermarks()["bulk: deleted"] == marks["bulk: deleted"]
    clinic.server._faults.clear()
    assert clinic.pull().code == 0
    assert "Observation/a-after" not in clinic.held()
    assert clinic.since()[-1] == clinic.since()[-2]


@pytest.mark.parametrize("hours", [-26, 26])
def test_the_servers_clock_is_another_and_it_asks_to_wait_until_a_time_of_its_own(
    clinic: Exporting, undisturbed: Undisturbed, waits: list[float], hours: int
) -> None:
    server, really = clinic.server, clinic.server._honest

    def by_its_clock(*asked: Any) -> Reply:
        now = datetime.now(UTC) + timedelta(hours=hours)
        reply = really(*asked)
        until = {"Retry-After": format_datetime(now + timedelta(seconds=7), usegmt=True)}
        return replace(
            reply,
            headers={
                **reply.headers,
                "Date": format_datetime(now, usegmt=True),
                **(until if reply.status == 202 else {}),
            },
        )

    server._honest = by_its_clock  # type: ignore[method-assign]
    server.fail("GET files/1/Patient-1", Reply(404))
    ends_well(clinic, undisturbed)
    assert 5 <= max(waits) <= 8


def test_the_manifest_loses_a_file_when_it_is_asked_for_again(clinic: Exporting) -> None:
    """It is the server's word for what there is; that a type is nowhere any more is not."""
    clinic.server.manners.polls = 0
    clinic.server.fail("GET files/1/Patient-1", Reply(404))

    def fewer(reply: Reply) -> Reply:
        document = json.loads(reply.body)
        document["output"] = [one for one in document["output"] if one["type"] != "Observation"]
        return replace(reply, body=json.dumps(document).encode())

    clinic.server.spoil(JOB, lambda reply: reply)
    clinic.server.spoil(JOB, fewer)
    assert clinic.pull().code == 3
    assert clinic.units() == {"bulk: Observation": ("failed", "not-delivered")}
    assert {one.partition("/")[0] for one in clinic.held()} == {"Patient", "MedicationAdministration"}
    assert clinic.spool() == []
