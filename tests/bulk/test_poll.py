"""A job is waited for: what the server says meanwhile, how it ends, and how it does not."""

import json
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from dm_fhir.errors import AnswerUnusable, RequestFailed, ServerUnavailable
from dm_fhir.fhir.bulk import FAILED, GONE, Waiting, awaited, delete_job, poll
from dm_fhir.fhir.bulk_kick_off import RUNNING, Export, kick_off
from dm_fhir.fhir.bulk_manifest import Manifest
from dm_fhir.fhir.connection import Connection

from .conftest import Connect
from .exports import operation_outcome
from .server import BulkServer, Reply

JOB = "GET jobs/1"


def begun(server: BulkServer, connection: Connection) -> str:
    """The address of a job."""
    return kick_off(connection, Export()).url


def outcome(status: int, code: str = "processing", **headers: str) -> Reply:
    """A refusal with an OperationOutcome."""
    return Reply(
        status,
        json.dumps(operation_outcome("it broke", code)).encode(),
        {n.replace("_", "-"): v for n, v in headers.items()},
    )


def test_from_progress_to_manifest(server: BulkServer, connect: Connect) -> None:
    server.manners.retry_after = "7"
    connection = connect()
    job = begun(server, connection)
    assert poll(connection, job) == Waiting(7)
    manifest = poll(connection, job)
    assert isinstance(manifest, Manifest)
    assert manifest.transaction_time == server.jobs[0].transaction_time
    assert {file.type: file.count for file in manifest.output} == {
        "Patient": 2,
        "Observation": 2,
        "Medication": 1,
        "Group": 1,
    }
    assert all(file.url.startswith(f"{server.root}/files/1/") for file in manifest.output)


@pytest.mark.parametrize("how", ["relative", "foreign"])
def test_addresses_of_files_are_absolute(server: BulkServer, connect: Connect, how: str) -> None:
    server.manners.polls, server.manners.file_urls = 0, how
    manifest = poll(connect(), begun(server, connect()))
    assert isinstance(manifest, Manifest)
    root = server.root if how == "relative" else server.store_root
    assert {file.url.partition("/files")[0] for file in manifest.output} == {root}


def test_a_file_store_whose_paths_look_like_ours_is_none_of_ours_once_it_is_named(
    server: BulkServer, connect: Connect
) -> None:
    server.manners.polls = 0
    url = f"{server.store_root}/fhir/Patient.ndjson?sig=1"
    listed = {"output": [{"type": "Patient", "url": url}]}
    server.fail(JOB, Reply(200, json.dumps(listed).encode()), times=2)
    found = {}
    for hosts in ((), (server.store_host,)):
        connection = connect(site={"redirect_hosts": hosts})
        manifest = poll(connection, f"{server.root}/jobs/1")
        assert isinstance(manifest, Manifest)
        found[hosts] = manifest.output[0].url
    assert found == {(): f"{server.endpoint}/Patient.ndjson?sig=1", (server.store_host,): url}


def test_an_address_that_is_none_is_a_fault(server: BulkServer, connect: Connect) -> None:
    listed = [{"type": "Patient", "url": url} for url in ("http://[1", "ftp://x/y", "http://a:b@c/d", "files/9")]
    server.fail(JOB, Reply(200, json.dumps({"output": listed}).encode()))
    manifest = poll(connect(), begun(server, connect()))
    assert isinstance(manifest, Manifest)
    assert [file.url for file in manifest.output] == [f"{server.root}/jobs/files/9"]
    assert manifest.faults == ("output: an unusable address",) * 3


@pytest.mark.parametrize(("text", "percent"), [
    ("50%", 50), ("processed 7.25 % of Patient/12", 7), ("100%", 100), ("0 %", 0), ("101%", None), ("1000%", None),
    ("half of it", None), ("", None), (None, None),
])  # fmt: skip
def test_of_progress_the_percentage_alone_is_taken(
    server: BulkServer, connect: Connect, text: str | None, percent: int | None
) -> None:
    server.manners.progress = text
    assert poll(connect(), begun(server, connect())) == Waiting(0, percent)


@pytest.mark.parametrize("reply", [Reply(503), Reply(502, b"<html>"), Reply(429), Reply(408), Reply(500), Reply(400),
                                   Reply(drop=True), Reply(200, b'{"output":['), Reply(200, b"<html>"), Reply(200, b"{}"),
                                   Reply(200, b'{"output":[]}', cut=5), outcome(500, "transient"), outcome(503)])  # fmt: skip
def test_trouble_on_the_way_passes(server: BulkServer, connect: Connect, reply: Reply) -> None:
    connection = connect()
    job = begun(server, connection)
    server.fail(JOB, reply)
    found = poll(connection, job)
    assert isinstance(found, Waiting)
    assert found.trouble is not None
    assert isinstance(awaited(connection, job, 3600), Manifest)
    assert len(server.lines(JOB)) == 3


@pytest.mark.parametrize(("reply", "reason"), [
    (Reply(404), GONE), (Reply(410), GONE), (outcome(404), GONE), (outcome(500), FAILED), (outcome(400, "not-supported"), FAILED),
    (outcome(200, "exception"), "http-200"), (outcome(200), FAILED), (Reply(403), "refused"),
])  # fmt: skip
def test_how_it_ends(server: BulkServer, connect: Connect, reply: Reply, reason: str) -> None:
    connection = connect(waiting_budget_seconds=10)
    job = begun(server, connection)
    server.fail(JOB, reply, times=99)
    with pytest.raises(RequestFailed) as raised:
        awaited(connection, job, 3600)
    assert raised.value.reason == reason


@pytest.mark.parametrize(("said", "waited"), [
    ("4", 4), ("18000", 300), ("-1", 1), (None, 1), ("2 minutes", 120), ("0", 0.1),
    ("1600000000000", 0.1), ("9999999999", 300),
])  # fmt: skip
def test_the_wait_is_the_servers_and_has_a_limit(
    server: BulkServer, connect: Connect, waits: list[float], said: str | None, waited: float
) -> None:
    server.manners.retry_after = said
    connection = connect()
    awaited(connection, begun(server, connection), 10**10)
    assert waits == [waited]


def test_who_is_asked_for_more_than_there_is_patience_does_not_wait_at_all(
    server: BulkServer, connect: Connect, waits: list[float]
) -> None:
    server.manners.retry_after = "3601"
    connection = connect()
    with pytest.raises(ServerUnavailable, match="not before") as raised:
        awaited(connection, begun(server, connection), 3600)
    assert raised.value.not_before is not None
    assert 3500 < (datetime.fromisoformat(raised.value.not_before) - datetime.now(UTC)).total_seconds() <= 3601
    assert waits == []


def test_a_wait_beyond_every_calendar_is_told_as_one_of_years(server: BulkServer, connect: Connect) -> None:
    server.manners.retry_after = "99999999999999999"
    connection = connect()
    with pytest.raises(ServerUnavailable, match=r"not before 20[0-9][0-9]-"):
        awaited(connection, begun(server, connection), 3600)


def test_days_of_202(server: BulkServer, connect: Connect, waits: list[float]) -> None:
    server.manners.polls, server.manners.retry_after = 1000, "300"
    told: list[Waiting] = []
    connection = connect(waiting_budget_seconds=60)
    awaited(connection, begun(server, connection), 10**6, told.append)
    assert (sum(waits), len(told)) == (300_000, 1000)
    assert connection.pace.waited_seconds == 0


def test_patience_ends_and_the_job_stays(server: BulkServer, connect: Connect, waits: list[float]) -> None:
    server.manners.polls, server.manners.retry_after = 50, None
    connection = connect()
    job = begun(server, connection)
    with pytest.raises(ServerUnavailable, match="still preparing") as raised:
        awaited(connection, job, 100)
    assert (raised.value.reason, raised.value.exit_code) == (RUNNING, 4)
    assert waits == [1, 2, 4, 8, 16, 32]
    assert isinstance(awaited(connection, job, 10_000), Manifest)


def test_trouble_does_not_last_for_ever(server: BulkServer, connect: Connect, waits: list[float]) -> None:
    connection = connect(waiting_budget_seconds=100)
    job = begun(server, connection)
    server.manners.polls = 20
    answers = iter([True, False] * 10)

    def now_and_then(reply: Reply) -> Reply:
        return replace(reply, status=503, headers={"Retry-After": "60"}) if next(answers) else reply

    server.spoil(JOB, now_and_then, times=20)
    awaited(connection, job, 3600)
    assert sum(waits) == pytest.approx(10 * 60 + 10 * 0.1)  # a moment of trouble now and then is not added up
    server.fail(JOB, Reply(503, b"", {"Retry-After": "60"}), times=9)
    with pytest.raises(RequestFailed) as raised:
        awaited(connection, job, 3600)
    assert raised.value.reason == "http-503"
    server.die()
    with pytest.raises(ServerUnavailable) as gone:
        awaited(connection, job, 3600)
    assert gone.value.reason == "unreachable"


def test_a_manifest_in_pages(server: BulkServer, connect: Connect) -> None:
    server.manners.pages, server.manners.polls = 3, 0
    connection = connect()
    manifest = awaited(connection, begun(server, connection), 10)
    assert sorted(file.type for file in manifest.output) == ["Group", "Medication", "Observation", "Patient"]
    assert len(server.lines(JOB)) == 3


@pytest.mark.parametrize("url", ["http://127.0.0.2/more", "/jobs/1"])
def test_a_manifest_that_goes_on_elsewhere_or_in_a_circle(server: BulkServer, connect: Connect, url: str) -> None:
    document: dict[str, Any] = {"output": [], "link": [{"relation": "next", "url": url}]}
    server.fail(JOB, Reply(200, json.dumps(document).encode()), times=99)
    connection = connect(waiting_budget_seconds=3)
    with pytest.raises(AnswerUnusable) as raised:
        awaited(connection, begun(server, connection), 3600)
    assert raised.value.reason == "paging-loop"


@pytest.mark.parametrize(("status", "word"), [
    (202, "deleted"), (204, "deleted"), (200, "deleted"), (404, "gone"), (410, "gone"), (405, "not-offered"), (501, "not-offered"),
    (403, "refused"), (400, "refused"),
])  # fmt: skip
def test_the_deletion(server: BulkServer, connect: Connect, status: int, word: str) -> None:
    server.manners.delete_status = status
    connection = connect()
    job = begun(server, connection)
    assert delete_job(connection, job, Counter()) == word
    assert server.lines("DELETE") == ["DELETE jobs/1"]
    assert (server.alive == []) == (status < 300 or status == 404)


def test_a_deletion_is_tried_again(server: BulkServer, connect: Connect) -> None:
    connection = connect()
    job = begun(server, connection)
    server.fail("DELETE", Reply(503))
    server.spoil("DELETE", lambda reply: replace(reply, drop=True))
    assert delete_job(connection, job) == "gone"  # the second was carried out, and its answer lost
    server.die()
    with pytest.raises(ServerUnavailable):
        delete_job(connection, job)
