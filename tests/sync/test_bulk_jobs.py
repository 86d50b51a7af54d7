"""A job outlives its run: killed, interrupted, out of time, forgotten by the server; there is never a second one beside it."""

from __future__ import annotations

import json
import re
import signal
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from ..bulk.server import Reply
from .exporting import exporting, two_and_a_stranger
from .mocked import cdasi, infusion

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator
    from pathlib import Path

    from .exporting import Exporting

#: Two seconds, and what a busy machine adds; the server asks for two minutes.
SOON_SECONDS = 5


@pytest.fixture
def clinic(tmp_path: Path) -> Iterator[Exporting]:
    with exporting(tmp_path / "study", two_and_a_stranger()) as made:
        yield made


def killed_at(clinic: Exporting, request: str, number: int = 1, how: int = signal.SIGKILL) -> float:
    """Pull in a process of its own that gets a signal when it sends the request for the n-th time; how long it then lived."""
    process: list[subprocess.Popen[str]] = []
    seen = 0
    sent = 0.0

    def kill(line: str) -> None:
        nonlocal seen, sent
        seen += line.startswith(request)
        if line.startswith(request) and seen == number:
            sent = time.monotonic()
            process[0].send_signal(how)

    clinic.server.on_request = kill
    process.append(clinic.study.start("pull"))
    process[0].communicate(timeout=30)
    clinic.server.on_request = lambda _: None
    assert seen >= number
    assert process[0].returncode in (-how, 128 + how, 130)
    return time.monotonic() - sent


def test_killed_before_the_first_poll_it_goes_on_with_the_same_job(clinic: Exporting) -> None:
    killed_at(clinic, "GET jobs/1")
    assert clinic.study.ask("SELECT state FROM bulk_job") == [("preparing",)]
    assert clinic.pull().code == 0
    assert clinic.server.lines("GET fhir/Patient/$export") == []
    assert (len(clinic.server.jobs), clinic.server.alive) == (1, [])
    assert clinic.members() == ["a", "b"]
    assert clinic.units() == {}


@pytest.mark.parametrize("request_line", ["GET files/1/Observation-1", "GET fhir/Condition", "DELETE jobs/1"])
def test_killed_anywhere_the_next_run_goes_on(clinic: Exporting, request_line: str) -> None:
    killed_at(clinic, request_line)
    ran = clinic.pull()
    assert ran.code == 0, ran.err
    done = request_line.startswith("DELETE")  # everything was in the store: what follows is a job of changes
    assert (len(clinic.server.jobs), clinic.server.alive) == (2 if done else 1, [])
    assert clinic.since() == (["", clinic.server.jobs[0].transaction_time] if done else [""])
    assert clinic.units() == {}
    assert len(clinic.held()) == 8
    assert clinic.spool() == []


def test_a_killed_export_of_changes_stays_one_of_changes(clinic: Exporting) -> None:
    clinic.pull()
    clinic.server.held.put(cdasi("a-later", "a", "2026-05-05", 8))
    killed_at(clinic, "DELETE jobs/2")
    clinic.server.held.put(cdasi("a-last", "a", "2026-06-05", 8))
    assert clinic.pull().code == 0
    assert [bool(since) for since in clinic.since()] == [False, True, True]
    assert {"Observation/a-later", "Observation/a-last"} <= clinic.held()


def test_killed_while_changes_are_taken_in_the_marks_stay(clinic: Exporting) -> None:
    clinic.pull()
    clinic.server.held.put(cdasi("a-later", "a", "2026-05-05", 8))
    killed_at(clinic, "GET fhir/Condition")  # what there is of Observation is in the store, and not yet judged
    assert clinic.pull().code == 0
    assert clinic.units() == {}
    clinic.pull()
    assert [bool(since) for since in clinic.since()] == [False, True, True]


def test_whoever_came_by_a_file_is_held_back_until_an_export_brought_the_rest(clinic: Exporting) -> None:
    clinic.pull()
    extra = clinic.study.config.with_name("extra.ndjson")
    extra.write_text(json.dumps(infusion("stranger-i", "stranger", "2026-05-05")) + "\n", encoding="utf-8")
    clinic.pull("--from", str(extra))
    assert clinic.members() == ["a", "b", "stranger"]
    clinic.study.type("compute")
    assert ("Patient/stranger",) not in clinic.study.ask("SELECT patient FROM case_document")
    assert clinic.pull().code == 0
    clinic.study.type("compute")
    assert ("Patient/stranger",) in clinic.study.ask("SELECT patient FROM case_document")


def test_killed_between_changes_and_everything_the_new_patient_is_held_back(clinic: Exporting) -> None:
    clinic.pull()
    clinic.server.held.put(infusion("stranger-i", "stranger", "2026-05-05"))
    killed_at(clinic, "GET fhir/Patient/$export", number=2)
    clinic.study.type("compute")
    computed = clinic.study.ask("SELECT patient FROM case_document ORDER BY patient")
    assert ("Patient/stranger",) not in computed
    assert clinic.pull().code == 0
    clinic.study.type("compute")
    assert ("Patient/stranger",) in clinic.study.ask("SELECT patient FROM case_document")
    assert "Observation/stranger-1" in clinic.held()


def test_killed_between_changes_that_are_the_first_of_a_type_and_everything_the_type_is_open(clinic: Exporting) -> None:
    clinic.server.fail("GET fhir/AdverseEvent", Reply(404), times=100)
    clinic.configure('mode = "bulk"', 'mode = "bulk"\noptional_types = ["AdverseEvent"]')
    clinic.pull()
    event = {"resourceType": "AdverseEvent", "id": "e", "actuality": "actual", "subject": {"reference": "Patient/a"}}
    clinic.server.held.put(event | {"event": {"coding": [{"system": "http://snomed.info/sct", "code": "4740000"}]}})
    killed_at(clinic, "DELETE jobs/2")
    assert clinic.units()["bulk: AdverseEvent"] == ("partial", "changes-only")
    assert clinic.pull().code == 0
    assert [bool(since) for since in clinic.since()] == [False, True, False]


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_while_waiting_ends_the_run_soon_and_leaves_the_job(clinic: Exporting, how: int) -> None:
    clinic.server.manners.polls, clinic.server.manners.retry_after = 1, "120"
    assert killed_at(clinic, "GET jobs/1", how=how) < SOON_SECONDS
    clinic.server.manners.retry_after = "0"
    assert clinic.pull().code == 0
    assert (len(clinic.server.jobs), clinic.server.alive) == (1, [])


def test_what_is_not_ready_ends_the_run_and_the_next_one_goes_on(clinic: Exporting) -> None:
    clinic.server.manners.polls, clinic.server.manners.retry_after = 3, "7200"
    ran = clinic.pull()
    assert ran.code == 4
    assert "still preparing the export: not before" in ran.out
    assert clinic.server.lines("DELETE") == []
    assert {state for state, _ in clinic.units().values()} == {"partial"}
    assert {reason for _, reason in clinic.units().values()} == {"export-running", "interrupted"}
    (not_before,) = clinic.study.ask("SELECT DISTINCT not_before FROM unit WHERE query = 'bulk: Patient'")
    assert not_before[0] > "2026"
    assert "not before" in clinic.study.type("failed").out

    clinic.server.manners.retry_after = "0"
    assert clinic.pull().code == 0
    assert (len(clinic.server.jobs), clinic.server.alive) == (1, [])


def test_a_run_waits_no_longer_than_it_may(clinic: Exporting) -> None:
    clinic.server.manners.polls, clinic.server.manners.retry_after = 1000, "1"
    clinic.configure('mode = "bulk"', 'mode = "bulk"\nwaiting_budget_seconds = 0.5')
    begun = time.monotonic()
    assert clinic.pull().code == 4
    assert time.monotonic() - begun < 5


@pytest.mark.parametrize(
    ("progress", "said"),
    [("30% of it", "the server prepares the export: 30 of 100 %"), ("soon", "waiting for the export: 0 of 1800 s")],
)
def test_how_far_the_server_is_is_told(clinic: Exporting, progress: str, said: str) -> None:
    clinic.server.manners.progress = progress
    assert said in clinic.pull().err


def test_a_job_that_takes_too_long_is_given_up(clinic: Exporting) -> None:
    clinic.server.manners.polls, clinic.server.manners.retry_after = 1000, "7200"
    clinic.pull()
    clinic.configure("enabled = false\n", "enabled = false\n[site.bulk]\nlongest_days = 0.000001\n")
    ran = clinic.pull()
    assert ran.code == 3
    assert {reason for _, reason in clinic.units().values()} == {"export-too-long"}
    assert clinic.server.lines("DELETE") == ["DELETE jobs/1"]
    clinic.configure("longest_days = 0.000001", "longest_days = 1")
    clinic.server.manners.polls = 0
    assert clinic.pull().code == 0
    assert clinic.server.alive == []


def test_a_job_that_the_server_has_forgotten_is_begun_anew(clinic: Exporting) -> None:
    clinic.server.manners.polls, clinic.server.manners.retry_after = 1, "7200"
    clinic.pull()
    clinic.server.restart()
    clinic.server.manners.polls = 0
    ran = clinic.pull()
    assert ran.code == 0
    assert "it was asked for anew" in ran.err
    assert len(clinic.server.jobs) == 2


def test_an_expired_file_is_asked_for_again(clinic: Exporting) -> None:
    clinic.server.manners.file_lives = 0
    lived = clinic.server.on_answer

    def extend(line: str) -> None:
        if line.startswith("GET files"):
            clinic.server.manners.file_lives = 1

    clinic.server.on_answer = extend
    assert clinic.pull().code == 0
    clinic.server.on_answer = lived
    assert len(clinic.server.jobs) == 1
    assert clinic.units() == {}


def test_files_that_are_listed_in_another_order_are_not_mistaken_for_each_other(clinic: Exporting) -> None:
    clinic.server.manners.lines_per_file, clinic.server.manners.counts = 2, False
    clinic.server.fail("GET files/1/Observation-2", Reply(404))
    listed = 0

    def turned(reply: Reply) -> Reply:
        nonlocal listed
        listed += reply.status == 200
        if reply.status != 200 or listed == 1:
            return reply
        document = json.loads(reply.body)
        first, second = (n for n, one in enumerate(document["output"]) if re.search("Observation-[12]", one["url"]))
        document["output"][first], document["output"][second] = document["output"][second], document["output"][first]
        return replace(reply, body=json.dumps(document).encode())

    clinic.server.spoil("GET jobs/1", turned, times=10)
    assert clinic.pull().code == 0
    assert (listed, len(clinic.held())) == (2, 8)


def test_a_file_of_no_type_leaves_the_export_open(clinic: Exporting) -> None:
    def untyped(reply: Reply) -> Reply:
        return replace(reply, body=reply.body.replace(b'"type": "Observation"', b'"type": "observation/v1"'))

    clinic.pull()
    clinic.server.held.put(cdasi("a-later", "a", "2026-05-05", 8))
    clinic.server.spoil("GET jobs/2", untyped, times=10)
    assert clinic.pull().code == 3
    assert clinic.units()["bulk: error"] == ("partial", "unusable-entries")
    assert clinic.pull().code == 0
    assert "Observation/a-later" in clinic.held()


def test_what_was_noted_on_the_way_is_in_the_ledger(clinic: Exporting) -> None:
    clinic.server.manners.requires_access_token = False
    clinic.server.manners.refuses = ("_outputFormat",)
    clinic.server.fail("GET files/1/Observation-1", Reply(401))
    assert clinic.pull().code == 0
    rows = clinic.study.ask("SELECT query, notes FROM unit WHERE query LIKE 'bulk: %' ORDER BY query")
    found = {query: json.loads(notes) for query, notes in rows}
    assert found["bulk: error"] == {"export_without:_outputFormat": 1}
    assert found["bulk: Observation"]["login_after_all"] == 1


def test_addresses_that_live_shorter_than_all_downloads_take_are_asked_for_as_often_as_files_come(
    clinic: Exporting,
) -> None:
    clinic.configure("concurrency = 2", "concurrency = 1")
    clinic.server.manners.polls, clinic.server.manners.lines_per_file = 0, 2
    served = 0

    def expire(line: str) -> None:
        """Each list of files is good for two of them."""
        nonlocal served
        served = 0 if line.startswith("GET jobs/1") else served + line.startswith("GET files/")
        clinic.server.manners.file_lives = None if served <= 2 else 0

    clinic.server.on_request = expire
    ran = clinic.pull()
    assert (ran.code, len(clinic.server.jobs)) == (0, 1), ran.err
    files = len(clinic.server.jobs[0].files)
    assert files > 4
    assert len(clinic.server.lines("GET jobs/1")) == -(-files // 2)
    assert len(clinic.held()) == 8


def test_an_export_that_is_as_of_another_moment_when_its_files_are_listed_again_is_downloaded_whole(
    clinic: Exporting,
) -> None:
    """Patient was downloaded as of the first moment; what came after it would be missing, and the mark beyond it."""
    clinic.configure("concurrency = 2", "concurrency = 1")
    clinic.server.manners.polls = 0
    clinic.server.fail("GET files/1/Observation-1", Reply(404))

    def later(reply: Reply) -> Reply:
        document = json.loads(reply.body)
        document["transactionTime"] = "2031-01-01T00:00:00Z"
        return replace(reply, body=json.dumps(document).encode())

    clinic.server.spoil("GET jobs/1", lambda reply: reply)
    clinic.server.spoil("GET jobs/1", later)
    assert clinic.pull().code == 0
    assert len(clinic.server.lines("GET files/1/Patient-1")) == 2
    assert set(clinic.watermarks().values()) == {"2031-01-01T00:00:00Z"}


def test_what_a_server_says_of_a_job_that_is_gone_is_not_in_the_log(clinic: Exporting) -> None:
    said = json.dumps({"resourceType": "OperationOutcome", "issue": [{"diagnostics": "Eulalia's export is gone"}]})
    clinic.server.fail("GET jobs/1", Reply(410, said.encode()))
    ran = clinic.pull()
    assert ran.code == 0
    assert "the server knows no such export any more; it was asked for anew" in ran.err
    assert "Eulalia" not in ran.err


@pytest.mark.parametrize(("how", "code"), [("given-up", 3), ("gone", 3), ("done", 0), ("too-long", 3)])
def test_a_deletion_that_does_not_get_through_is_tried_once_more_and_hides_no_reason(
    clinic: Exporting, how: str, code: int
) -> None:
    broken = json.dumps({"resourceType": "OperationOutcome", "issue": [{"code": "not-supported"}]}).encode()
    reason = {"given-up": "export-failed", "gone": "export-gone", "done": None, "too-long": "export-too-long"}[how]
    if how == "too-long":
        clinic.server.manners.polls, clinic.server.manners.retry_after = 1000, "7200"
        clinic.pull()
        clinic.configure("enabled = false\n", "enabled = false\n[site.bulk]\nlongest_days = 0.000001\n")
    elif how != "done":
        clinic.server.fail("GET jobs/1", Reply(500, broken) if how == "given-up" else Reply(404))
    clinic.server.fail("DELETE", Reply(drop=True), times=2)
    ran = clinic.pull()
    assert ran.code == code, ran.err
    assert {why for _, why in clinic.units().values()} == ({reason} if reason else set())
    assert "the next run does" in ran.err
    assert clinic.spool() == [], "nobody needs the files of everybody any more"
    if how == "too-long":
        clinic.configure("longest_days = 0.000001", "longest_days = 1")
        clinic.server.manners.polls = 0
    ran = clinic.pull()
    assert (ran.code, len(clinic.server.jobs)) == (0, 2)
    assert "again the server could not be told" in ran.err
    assert clinic.server.lines("DELETE") == ["DELETE jobs/1", "DELETE jobs/2"]


def test_where_files_stay_expired_another_job_is_begun_once(clinic: Exporting) -> None:
    clinic.server.manners.file_lives = 0
    ran = clinic.pull()
    assert ran.code == 3
    assert len(clinic.server.jobs) == 2
    assert clinic.server.alive == []
    assert {reason for _, reason in clinic.units().values()} == {"file-expired"}
    clinic.server.manners.file_lives = None
    assert clinic.pull().code == 0


def test_full_gives_up_an_export_of_changes(clinic: Exporting) -> None:
    clinic.pull()
    clinic.server.manners.polls, clinic.server.manners.retry_after = 1, "7200"
    clinic.pull()
    clinic.server.manners.polls = 0
    ran = clinic.pull("--full")
    assert ran.code == 0
    assert "it is deleted" in ran.err
    assert clinic.server.lines("DELETE") == ["DELETE jobs/2", "DELETE jobs/3"]
    assert clinic.since()[-1] == ""


def test_a_job_of_another_plan_is_given_up(clinic: Exporting) -> None:
    clinic.server.manners.polls, clinic.server.manners.retry_after = 1, "7200"
    clinic.pull()
    clinic.server.manners.polls = 0
    clinic.configure("enabled = false\n", 'enabled = false\n[site.bulk]\nlevel = "system"\n')
    assert clinic.pull().code == 0
    assert [job.level for job in clinic.server.jobs] == ["Patient", ""]
    assert clinic.server.alive == []


def test_one_export_at_a_time_is_exit_4(clinic: Exporting) -> None:
    clinic.server.manners.one_job = True
    clinic.server.manners.polls, clinic.server.manners.retry_after = 1, "7200"
    clinic.pull()
    assert clinic.study.config.with_name("dm-fhir.sqlite").exists()
    for path in clinic.study.config.parent.glob("dm-fhir.sqlite*"):
        path.unlink()
    ran = clinic.pull()  # somebody else's export, as far as this store knows
    assert ran.code == 4
    assert len(clinic.server.jobs) == 1


def test_files_of_a_job_are_not_downloaded_twice(clinic: Exporting) -> None:
    killed_at(clinic, "GET fhir/Condition")
    clinic.pull()
    assert clinic.server.lines("GET files") == []


def test_a_mode_without_exports_deletes_the_job_under_way(clinic: Exporting) -> None:
    clinic.server.manners.polls, clinic.server.manners.retry_after = 1, "7200"
    clinic.pull()
    clinic.configure('mode = "bulk"', 'mode = "search"')
    assert clinic.pull().code == 0
    assert clinic.server.alive == []
