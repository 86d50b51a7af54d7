"""An export is begun: what is asked, what is left out where the server does not take it, and where the job is."""

import json
from collections import Counter
from dataclasses import replace

import pytest

from dm_fhir.errors import LoginRefused, RequestFailed, ServerUnavailable
from dm_fhir.fhir.bulk_kick_off import RUNNING, Export, Job, kick_off

from .conftest import Connect
from .exports import operation_outcome
from .server import BulkServer, Reply

EXPORT = Export(
    "", ("Patient", "Observation"), "2026-01-01T00:00:00Z", ("Observation?code=x,y", "Observation?code=z"), ("id",)
)


def refusal(status: int, text: str = "", **headers: str) -> Reply:
    """A refusal with an OperationOutcome."""
    return Reply(
        status, json.dumps(operation_outcome(text)).encode(), {n.replace("_", "-"): v for n, v in headers.items()}
    )


def test_what_is_asked(server: BulkServer, connect: Connect) -> None:
    assert kick_off(connect(), EXPORT) == Job(f"{server.root}/jobs/1")
    (asked,) = server.log
    assert (asked.line, asked.headers["prefer"]) == ("GET fhir/$export", "respond-async, handling=lenient")
    assert asked.headers["accept"] == "application/fhir+json"
    assert dict(asked.asked) == {
        "_outputFormat": "application/fhir+ndjson", "_type": "Patient,Observation", "_since": "2026-01-01T00:00:00Z",
        "_typeFilter": "Observation?code=x%2Cy,Observation?code=z", "_elements": "id",
    }  # fmt: skip
    assert len(asked.asked) == 5


@pytest.mark.parametrize(
    ("level", "path"), [("", "$export"), ("Patient", "Patient/$export"), ("Group/g", "Group/g/$export")]
)
def test_the_three_levels(server: BulkServer, connect: Connect, level: str, path: str) -> None:
    kick_off(connect(), Export(level))
    assert server.lines() == [f"GET fhir/{path}"]
    assert server.jobs[0].level == level


def test_a_group_is_a_text_that_somebody_chose(server: BulkServer, connect: Connect) -> None:
    with pytest.raises(RequestFailed, match=r"\(404\)") as raised:
        kick_off(connect(), Export("Group/../x?y"))
    assert raised.value.reason == "http-404"
    assert set(server.lines()) == {"GET fhir/Group/..%2Fx%3Fy/$export", "POST fhir/Group/..%2Fx%3Fy/$export"}


def test_a_long_address_goes_by_post_and_one_that_get_refuses_too(server: BulkServer, connect: Connect) -> None:
    many = Export("", ("Observation",), None, tuple(f"Observation?code=http://loinc.org|{n}-7" for n in range(100)))
    kick_off(connect(), many)
    server.manners.takes = ("POST",)
    kick_off(connect(), EXPORT)
    assert server.lines() == ["POST fhir/$export", "GET fhir/$export", "POST fhir/$export"]
    assert [dict(job.asked) for job in server.jobs] == [dict(many.parameters()), dict(EXPORT.parameters())]
    server.manners.takes = ("GET",)
    kick_off(connect(), many)
    assert server.lines()[3:] == ["POST fhir/$export", "GET fhir/$export"]


@pytest.mark.parametrize("names_it", [True, False])
@pytest.mark.parametrize("refused", ["_typeFilter", "_elements", "_since", "_outputFormat"])
def test_what_the_server_does_not_take_is_left_out_and_noted(
    server: BulkServer, connect: Connect, refused: str, names_it: bool
) -> None:
    server.manners.refuses, server.manners.names_the_refused = (refused,), names_it
    notes: Counter[str] = Counter()
    job = kick_off(connect(), EXPORT, notes)
    expected = (refused,) if names_it else ("_typeFilter", "_elements", "_since", "_outputFormat")
    assert job.left_out == expected
    assert {name for name, count in notes.items() if count} == {f"export_without:{name}" for name in expected}
    assert not {name for name, _ in server.jobs[0].asked} & set(expected)


def test_one_after_the_other_is_left_out(server: BulkServer, connect: Connect) -> None:
    server.fail("GET", refusal(400, "unknown parameter _elements"))
    server.fail("GET", refusal(422, "type not supported: Observation"))
    job = kick_off(connect(), EXPORT)
    assert job.left_out == ("_elements", "Observation")
    assert dict(server.jobs[0].asked) == {
        "_outputFormat": "application/fhir+ndjson", "_type": "Patient", "_since": "2026-01-01T00:00:00Z",
    }  # fmt: skip


def test_a_refusal_that_nothing_helps(server: BulkServer, connect: Connect) -> None:
    server.fail("GET", refusal(400, "no, Zwetschke 19611123"), times=9)
    with pytest.raises(RequestFailed, match=r"\(400\): no, Zwetschke …") as raised:
        kick_off(connect(), EXPORT)
    assert raised.value.reason == "http-400"
    assert len(server.log) == 2  # as it is, and without all that it could do without


def test_no_bulk_here(server: BulkServer, connect: Connect) -> None:
    server.manners.takes = ()
    with pytest.raises(RequestFailed) as raised:
        kick_off(connect(), EXPORT)
    assert (raised.value.reason, raised.value.hint) == (
        "http-405", 'the server offers no bulk export at this level; or pull with mode = "search"',
    )  # fmt: skip


@pytest.mark.parametrize("location", ["absolute", "relative"])
def test_where_the_job_is(server: BulkServer, connect: Connect, location: str) -> None:
    server.manners.location = location
    assert kick_off(connect(), EXPORT).url == f"{server.root}/jobs/1"


def test_an_inner_address_of_the_server_is_its_own(server: BulkServer, connect: Connect) -> None:
    notes: Counter[str] = Counter()
    server.spoil(
        "GET", lambda reply: replace(reply, headers={"Content-Location": "http://10.1.1.1:8080/fhir/status/7"})
    )
    assert kick_off(connect(), EXPORT, notes).url == f"{server.root}/fhir/status/7"
    assert notes["next_rewritten"] == 1
    server.spoil("GET", lambda reply: replace(reply, headers={"Content-Location": "http://inner/x/7?a=b"}))
    connection = connect(site={"rewrite": {"http://inner/x": f"{server.root}/y"}})
    assert kick_off(connection, EXPORT).url == f"{server.root}/y/7?a=b"


@pytest.mark.parametrize(
    "address", ["https://elsewhere.test/jobs/1", "http://u@127.0.0.1/fhir/1", "//evil.test/x", "http://[1"]
)
def test_a_job_anywhere_else_is_refused(server: BulkServer, connect: Connect, address: str) -> None:
    server.spoil("GET", lambda reply: replace(reply, headers={"Content-Location": address}))
    with pytest.raises(RequestFailed) as raised:
        kick_off(connect(), EXPORT)
    assert raised.value.reason == "foreign-address"


def test_a_job_nowhere(server: BulkServer, connect: Connect) -> None:
    server.manners.location = "none"
    with pytest.raises(RequestFailed, match="does not say where") as raised:
        kick_off(connect(), EXPORT)
    assert raised.value.reason == "no-job-address"
    server.fail("GET", Reply(200, b'{"resourceType":"Bundle"}'))
    with pytest.raises(RequestFailed, match="at once") as raised:
        kick_off(connect(), EXPORT)
    assert raised.value.reason == "not-asynchronous"


def test_one_export_at_a_time(server: BulkServer, connect: Connect, waits: list[float]) -> None:
    server.manners.one_job = True
    kick_off(connect(), EXPORT)
    with pytest.raises(ServerUnavailable, match="already in progress; not before 20") as raised:
        kick_off(connect(), EXPORT)
    assert (raised.value.reason, raised.value.exit_code) == (RUNNING, 4)
    assert raised.value.not_before
    assert (waits, len(server.log)) == ([], 2)


@pytest.mark.parametrize("status", [400, 409])
def test_one_export_at_a_time_in_other_words(server: BulkServer, connect: Connect, status: int) -> None:
    server.fail("GET", refusal(status, "Only one bulk data request may be active at a time"))
    with pytest.raises(ServerUnavailable) as raised:
        kick_off(connect(), Export(""))
    assert raised.value.reason == RUNNING


def test_the_first_refusal_is_told(server: BulkServer, connect: Connect) -> None:
    server.fail("GET", refusal(404, "no such group"))
    server.fail("POST", refusal(501, "no such thing"))
    with pytest.raises(RequestFailed, match="no such group"):
        kick_off(connect(), EXPORT)


def test_too_many_requests_are_sat_out(server: BulkServer, connect: Connect, waits: list[float]) -> None:
    server.fail("GET", refusal(429, "slow down", Retry_After="3"), times=2)
    connection = connect()
    assert kick_off(connection, EXPORT).url
    assert (waits, connection.pace.allowed) == ([3, 3], 1)
    server.fail("GET", refusal(429, "slow down", Retry_After="5000"))
    with pytest.raises(ServerUnavailable, match="not before"):
        kick_off(connection, EXPORT)
    server.fail("GET", refusal(429, "slow down"), times=5)
    with pytest.raises(ServerUnavailable):
        kick_off(connection, EXPORT)
    assert waits[2:] == [1, 2, 4, 8]


def test_what_may_pass_is_tried_again(server: BulkServer, connect: Connect) -> None:
    server.fail("GET", Reply(503), times=2)
    server.fail("GET", Reply(drop=True))
    assert kick_off(connect(), EXPORT).url == f"{server.root}/jobs/1"
    assert len(server.jobs) == 1


def test_who_is_not_let_in(server: BulkServer, connect: Connect) -> None:
    server.manners.login = True
    with pytest.raises(LoginRefused):
        kick_off(connect(), EXPORT)
