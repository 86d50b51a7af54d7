"""What counts as a FHIR R4 server, and what its CapabilityStatement is read for."""

import json
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from dm_fhir.errors import ConfigError, LoginRefused, RequestFailed
from dm_fhir.fhir.capability import Capability, read_capability

if TYPE_CHECKING:
    from conftest import Connect, Loopback, Scripted

STATEMENT: dict[str, Any] = {
    "resourceType": "CapabilityStatement",
    "fhirVersion": "4.0.1",
    "software": {"name": "HAPI", "version": "7.2"},
    "rest": [
        {"mode": "client", "resource": [{"type": "Condition", "searchParam": [{"name": "patient"}]}]},
        {"mode": "server", "resource": [
            {"type": "Observation", "searchParam": [{"name": "patient"}], "conditionalUpdate": True}, {"type": "Patient"},
        ]},
    ],
}  # fmt: skip


def test_what_a_server_says_it_can_do(loopback: "Loopback", scripted: "type[Scripted]", connect: "Connect") -> None:
    loopback.answers("metadata", scripted(body=b"\xef\xbb\xbf" + json.dumps(STATEMENT).encode()))
    capability = read_capability(connect())
    assert capability.name == "HAPI 7.2"
    assert capability.searches("Observation", "patient")
    assert not capability.searches("Observation", "subject")
    assert not capability.searches("Condition", "patient")
    assert capability.updates_conditionally("Observation")
    assert not capability.updates_conditionally("Patient")


@pytest.mark.parametrize(
    ("software", "name"),
    [(None, "unnamed server"), ({"name": "Aidbox"}, "Aidbox"), ({"version": "2"}, "unnamed server 2")],
)
def test_a_server_has_a_name(software: dict[str, str] | None, name: str) -> None:
    assert msgspec.convert({"software": software}, Capability).name == name


@pytest.mark.parametrize(
    ("status", "body", "text"),
    [
        (200, b"<html>", "its /metadata is not a FHIR resource"),
        (404, b"", "its /metadata is not a FHIR resource"),
        (200, b"[" * 100_000, "its /metadata is not a FHIR resource"),
        (200, b'{"resourceType":"Patient"}', "is not a CapabilityStatement"),
        (404, b'{"resourceType":"OperationOutcome"}', "is not a CapabilityStatement"),
        (200, b'{"resourceType":"CapabilityStatement","fhirVersion":"5.0.0"}', "speaks FHIR 5.0.0, dm-fhir reads R4"),
        (200, b'{"resourceType":"CapabilityStatement","fhirVersion":"3.0.2"}', "speaks FHIR 3.0.2"),
        (200, b'{"resourceType":"CapabilityStatement"}', "of an unknown version"),
    ],
)
def test_a_wrong_endpoint_is_a_config_error(
    loopback: "Loopback", scripted: "type[Scripted]", connect: "Connect", status: int, body: bytes, text: str
) -> None:
    loopback.answers("metadata", scripted(status, body))
    with pytest.raises(ConfigError, match=loopback.endpoint) as caught:
        read_capability(connect())
    assert text in str(caught.value)
    assert caught.value.hint


@pytest.mark.parametrize(("status", "error"), [(401, LoginRefused), (403, RequestFailed), (500, RequestFailed)])
def test_a_refusal_says_nothing_about_the_endpoint(
    loopback: "Loopback", scripted: "type[Scripted]", connect: "Connect", status: int, error: type[Exception]
) -> None:
    loopback.answers("metadata", scripted(status, b""))
    with pytest.raises(error):
        read_capability(connect())


class Wanted:
    """A login whose token endpoint refuses us, unless it is told not to."""

    clock_offset_seconds: float | None = None
    granted_scope: str | None = None
    renewals = retries = 0

    def __init__(self, *, refused: bool) -> None:
        self.refused = refused

    def headers(self) -> dict[str, str]:
        if self.refused:
            raise LoginRefused("the token endpoint refused the login")
        return {"Authorization": "Bearer t"}

    def renew(self, failed: dict[str, str]) -> bool:
        return False


def test_a_wrong_endpoint_is_told_before_any_login(
    loopback: "Loopback", scripted: "type[Scripted]", connect: "Connect"
) -> None:
    loopback.answers("metadata", scripted(body=b"<html>"))
    with pytest.raises(ConfigError, match="is not a FHIR server"):
        read_capability(connect(login=Wanted(refused=True)))


def test_a_server_that_shows_its_statement_to_those_it_knows_only(
    loopback: "Loopback", scripted: "type[Scripted]", connect: "Connect"
) -> None:
    loopback.answers("metadata", scripted(401, b""), scripted(body=json.dumps(STATEMENT).encode()))
    assert read_capability(connect(login=Wanted(refused=False))).name == "HAPI 7.2"
    assert [asked.headers.get("Authorization") for asked in loopback.asked] == [None, "Bearer t"]
