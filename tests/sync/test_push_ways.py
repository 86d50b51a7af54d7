"""What is found out about how a server is written to, and who of the patients is there."""

import msgspec
import pytest

from dm_fhir.config import Auth, Pull, Push, Site
from dm_fhir.fhir.capability import Capability
from dm_fhir.fhir.connection import Connection
from dm_fhir.sync.push.subjects import missing_patients
from dm_fhir.sync.push.ways import Way, Ways
from dm_fhir.testing import mocked_server

PATIENTS = [{"resourceType": "Patient", "id": f"p{number}"} for number in range(1, 61)]


@pytest.mark.parametrize(("status", "is_missing"), [(404, True), (410, True), (403, False), (500, False)])
def test_a_patient_is_missing_only_where_a_read_says_so(status: int, is_missing: bool) -> None:
    with mocked_server([]) as server:
        server.fail("GET Patient/p1", status, times=99)
        connection = Connection(server.endpoint, Pull(), sleep=lambda _: None)
        assert missing_patients(connection, {"Patient/p1"}) == ({"Patient/p1"} if is_missing else set())


def test_whom_a_search_finds_is_not_read_and_fifty_are_asked_for_together() -> None:
    with mocked_server(PATIENTS) as server:
        connection = Connection(server.endpoint, Pull(), sleep=lambda _: None)
        assert missing_patients(connection, {f"Patient/p{number}" for number in range(1, 62)}) == {"Patient/p61"}
        assert [one.partition("?")[0] for one in server.requests] == ["GET Patient", "GET Patient", "GET Patient/p61"]


def test_where_patients_are_not_searched_each_is_read() -> None:
    with mocked_server(PATIENTS[:2]) as server:
        server.fail("GET Patient?", 400, times=9)
        connection = Connection(server.endpoint, Pull(), sleep=lambda _: None)
        assert missing_patients(connection, {"Patient/p1", "Patient/p3"}) == {"Patient/p3"}


def ways(
    learnt: list[tuple[str, str]], *, transaction: bool = True, updates: bool = True, creates: bool = True, **push: int
) -> Ways:
    """What holds for a server that lists this much and of which nothing is known; `learnt` gathers what is found out."""
    observation = {"type": "Observation", "conditionalUpdate": updates, "conditionalCreate": creates}
    rest = {"resource": [observation], "interaction": [{"code": "transaction"}] if transaction else []}
    capability = msgspec.convert({"rest": [rest]}, Capability)
    site = Site("leon", "https://leon.test/r4", "UTC", (), {}, Auth(), Pull(), push=Push(**push))  # type: ignore[arg-type]
    return Ways(site, capability, None, {}, lambda name, value: learnt.append((name, value)))


@pytest.mark.parametrize(
    ("transaction", "updates", "creates", "best"),
    [
        (True, True, True, "transaction"),
        (False, True, True, "conditional-update"),
        (True, False, True, "conditional-create"),
        (True, False, False, "search"),
    ],
)
def test_the_best_way_is_the_first_that_is_listed(transaction: bool, updates: bool, creates: bool, best: Way) -> None:
    assert ways([], transaction=transaction, updates=updates, creates=creates).way == best


def test_what_is_found_out_is_kept_once_and_said_once() -> None:
    learnt: list[tuple[str, str]] = []
    server = ways(learnt)
    for _ in range(2):
        server.works("transaction")
        server.loses_identifiers()
    assert len(learnt) == 2
    assert len(server.remarks) == 1


def test_one_resource_that_is_too_large_makes_no_bundle_smaller() -> None:
    learnt: list[tuple[str, str]] = []
    server = ways(learnt, bundle_size=40)
    sizes = []
    for entries in (40, 20):
        server.too_large(entries)
        sizes.append(server.bundle_size)
    server.is_not_the_size()
    assert ([*sizes, server.bundle_size], learnt[-1][1]) == ([20, 10, 40], "40")
