"""What is found out about how a server is written to, and who of the patients is there."""

import pytest

from dm_fhir.config import Pull
from dm_fhir.fhir.connection import Connection
from dm_fhir.sync.push.subjects import missing_patients
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
