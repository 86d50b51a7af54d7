"""The mocked server by itself: what a search finds, how a write is guarded, what a Bundle does, and each fault."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from dm_fhir import testing
from dm_fhir.testing import MockedServer, mocked_server


def observation(
    name: str, when: str | dict[str, str], *, patient: str = "7", system: str = "urn:a", **more: Any
) -> dict[str, Any]:
    """An invented result."""
    effective = {"effectivePeriod": when} if isinstance(when, dict) else {"effectiveDateTime": when}
    return {
        "resourceType": "Observation", "id": name, "status": "final", "subject": {"reference": f"Patient/{patient}"},
        "code": {"coding": [{"system": system, "code": "CK"}]}, **effective, **more,
    }  # fmt: skip


RESOURCES = [
    {"resourceType": "Patient", "id": "7", "birthDate": "1961-11", "identifier": [{"system": "urn:mrn", "value": "1"}]},
    observation("a", "2025-03-01", identifier=[{"system": "urn:x", "value": "1"}]),
    observation("b", "2025-03-01T23:30:00-02:00", system="urn:b", category=[{"coding": [{"code": "laboratory"}]}]),
    observation("c", {"start": "2025-04-01"}, patient="70", component=[{"code": {"coding": [{"code": "MMT8"}]}}]),
    observation("d", "2025", status="amended"),
]


@pytest.fixture
def server() -> Iterator[MockedServer]:
    with mocked_server(RESOURCES) as server:
        yield server


def ids(answer: requests.Response) -> list[str]:
    return [entry["resource"]["id"] for entry in answer.json().get("entry", [])]


def search(server: MockedServer, query: str) -> list[str]:
    return ids(requests.get(f"{server.endpoint}/{query}", timeout=1))


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("Observation", "abcd"),
        ("Observation?patient=7", "abd"), ("Observation?patient=Patient/7", "abd"), ("Observation?subject=Patient/70", "c"),
        ("Observation?patient=https://fhir.test/r4/Patient/70", "c"), ("Observation?patient=7,70", "abcd"), ("Observation?patient=0", ""),
        ("Patient/70/Observation", "c"), ("Patient/7/Observation?code=urn:b|CK", "b"),
        ("Observation?code=CK", "abcd"), ("Observation?code=urn:b|CK", "b"), ("Observation?code=urn:b|", "b"), ("Observation?code=|CK", ""),
        ("Observation?code=MMT8", ""), ("Observation?combo-code=MMT8", "c"), ("Observation?combo-code=|MMT8", "c"),
        ("Observation?category=laboratory", "b"), ("Observation?status=amended", "d"), ("Observation?identifier=urn:x|1", "a"),
        ("Observation?identifier=urn:x|2", ""), ("Observation?_id=a,d", "ad"), ("Observation?_id=a&patient=70", ""),
        ("Observation?date=2025-03-01", "a"), ("Observation?date=2025", "abd"), ("Observation?date=ge2025-03-02", "bcd"),
        ("Observation?date=lt2025-03-01", "d"), ("Observation?date=gt2025-03-01&date=lt2025-03-03", "bd"), ("Observation?date=sa2025-03-01", "bc"),
        ("Observation?date=eb2025-04-01", "ab"), ("Observation?date=sa2025-03-31", "c"), ("Observation?date=le2025-03-02T01:30:00Z", "abd"), ("Observation?date=ne2025", "c"),
        ("Observation?date=nonsense", ""), ("Observation?_lastUpdated=gt2026-01-01T00:00:04Z", "d"), ("Observation?_lastUpdated=ge2026-01-01T00:00:04Z", "cd"),
        ("Patient?birthdate=ge1961", "7"), ("Patient?identifier=urn:mrn|1", "7"), ("Observation?nonsense=1", "abcd"),
    ],
)  # fmt: skip
def test_what_a_search_finds(server: MockedServer, query: str, expected: str) -> None:
    assert "".join(search(server, query)) == expected


def test_pages_counts_and_searches_by_post(server: MockedServer) -> None:
    page = requests.post(f"{server.endpoint}/Observation/_search", data={"code": "CK", "_count": "3"}, timeout=1)
    assert ids(page) == ["a", "b", "c"]
    assert ids(requests.get(page.json()["link"][0]["url"], timeout=1)) == ["d"]
    counted = requests.get(f"{server.endpoint}/Observation?code=CK&_summary=count", timeout=1).json()
    assert (counted["total"], "entry" in counted) == (4, False)


def test_an_unknown_parameter_is_refused_where_that_is_asked(server: MockedServer) -> None:
    strict = {"Prefer": "handling=strict"}
    answer = requests.get(f"{server.endpoint}/Observation?nonsense=1&_count=2", headers=strict, timeout=1)
    assert (answer.status_code, answer.json()["issue"][0]["diagnostics"]) == (400, "unknown search parameter: nonsense")


def test_a_write_is_guarded_by_the_version(server: MockedServer) -> None:
    place = f"{server.endpoint}/Observation/a"
    first = requests.get(place, timeout=1)
    assert first.headers["ETag"] == 'W/"1"'
    guard = {"If-Match": 'W/"1"'}
    written = requests.put(place, json=observation("a", "2025-03-02"), headers=guard, timeout=1)
    assert (written.status_code, written.headers["ETag"]) == (200, 'W/"2"')
    assert requests.put(place, json=observation("a", "2025-03-03"), headers=guard, timeout=1).status_code == 412
    assert server.resources["Observation/a"]["effectiveDateTime"] == "2025-03-02"
    assert requests.get(f"{place}/_history/1", timeout=1).json()["effectiveDateTime"] == "2025-03-01"


def test_conditional_writes_make_once_and_refuse_two(server: MockedServer) -> None:
    new = observation("", "2025-06-01", identifier=[{"system": "urn:x", "value": "9"}])
    where = f"{server.endpoint}/Observation"
    criteria = {"If-None-Exist": "identifier=urn:x|9", "Prefer": "return=minimal"}
    answers = [requests.post(where, json=new, headers=criteria, timeout=1) for _ in range(2)]
    assert [(one.status_code, one.content) for one in answers] == [(201, b""), (200, b"")]
    assert answers[0].headers["Location"] == answers[1].headers["Location"]
    assert requests.put(f"{where}?identifier=urn:x|9", json=new, timeout=1).json()["meta"]["versionId"] == "2"
    assert requests.put(f"{where}?identifier=urn:x|10", json=new, timeout=1).status_code == 201
    assert requests.put(f"{where}?status=final", json=new, timeout=1).status_code == 412
    assert requests.post(where, json=new, headers={"If-None-Exist": "status=final"}, timeout=1).status_code == 412


def test_what_is_deleted_is_gone_until_it_comes_back(server: MockedServer) -> None:
    place = f"{server.endpoint}/Observation/a"
    assert requests.delete(place, timeout=1).status_code == 204
    assert requests.get(place, timeout=1).status_code == 410
    assert "a" not in search(server, "Observation")
    server.put(observation("a", "2025-03-01"))
    assert requests.get(place, timeout=1).json()["meta"]["versionId"] == "2"
    assert requests.get(f"{server.endpoint}/Observation/none", timeout=1).status_code == 404
    assert requests.get(f"{server.endpoint}/Nonsense", timeout=1).status_code == 404


@pytest.mark.parametrize("body", [b"{", b"[]", b'{"resourceType": "Patient"}'])
def test_what_is_no_resource_of_the_type_is_refused(server: MockedServer, body: bytes) -> None:
    assert requests.put(f"{server.endpoint}/Observation/a", data=body, timeout=1).status_code == 400


def entry(
    method: str, url: str, resource: dict[str, Any] | None = None, full_url: str = "", **request: str
) -> dict[str, Any]:
    what = {"resource": resource} if resource else {}
    return {**({"fullUrl": full_url} if full_url else {}), **what, "request": {"method": method, "url": url, **request}}


def bundle(server: MockedServer, kind: str, *entries: dict[str, Any]) -> requests.Response:
    return requests.post(server.endpoint, json={"resourceType": "Bundle", "type": kind, "entry": entries}, timeout=1)


def test_a_transaction_is_done_in_its_order_and_resolves_what_it_makes(server: MockedServer) -> None:
    answer = bundle(
        server, "transaction",
        entry("GET", "Observation?code=urn:new|CK"),
        entry("POST", "Observation", observation("x", "2025-07-01", system="urn:new", subject={"reference": "urn:uuid:1"})),
        entry("POST", "Patient", {"resourceType": "Patient", "id": "x"}, "urn:uuid:1", ifNoneExist="identifier=urn:mrn|1"),
        entry("DELETE", "Observation/a"),
    )  # fmt: skip
    statuses = [one["response"]["status"] for one in answer.json()["entry"]]
    assert statuses == ["200", "201", "200", "204"]
    assert answer.json()["entry"][0]["resource"]["total"] == 1
    assert "Observation/a" not in server.resources


def test_references_to_what_a_transaction_makes_are_resolved(server: MockedServer) -> None:
    bundle(
        server, "transaction",
        entry("POST", "Patient", {"resourceType": "Patient", "id": "x"}, "urn:uuid:1"),
        entry("POST", "Observation", observation("x", "2025-07-01", system="urn:new", subject={"reference": "urn:uuid:1"})),
    )  # fmt: skip
    (made,) = [
        one
        for one in server.resources.values()
        if one["resourceType"] == "Observation" and one["id"].startswith("made")
    ]
    assert made["subject"]["reference"] in server.resources


def test_a_transaction_is_done_whole_or_not_at_all_and_a_batch_entry_by_entry(server: MockedServer) -> None:
    before = dict(server.resources)
    entries = [
        entry("DELETE", "Observation/b"),
        entry("PUT", "Observation/a", observation("a", "2020"), ifMatch='W/"9"'),
    ]
    assert bundle(server, "transaction", *entries).status_code == 412
    assert server.resources == before
    statuses = [one["response"]["status"] for one in bundle(server, "batch", *entries).json()["entry"]]
    assert statuses == ["204", "412"]
    assert "Observation/b" not in server.resources
    assert bundle(server, "document").status_code == 400


def test_a_server_that_answers_otherwise_or_not_at_all(server: MockedServer) -> None:
    url = f"{server.endpoint}/Observation"
    server.fail("GET Observation", 503, b"later", times=2, retry_after=7)
    server.fail("GET Observation", "timeout")
    server.fail("GET Observation", "connection")
    server.fail("GET Patient", 500)
    busy = [requests.get(url, timeout=1) for _ in range(2)]
    assert [(one.status_code, one.headers["Retry-After"], one.content) for one in busy] == [(503, "7", b"later")] * 2
    with pytest.raises(requests.ReadTimeout):
        requests.get(url, timeout=1)
    with pytest.raises(requests.ConnectionError):
        requests.get(url, timeout=1)
    assert requests.get(url, timeout=1).status_code == 200
    assert len(server.requests) == 5


def test_an_answer_that_is_not_whole(server: MockedServer) -> None:
    url = f"{server.endpoint}/Observation?_count=2"
    for kind in ("truncated", "bad-resource", "duplicated-page"):
        server.fail("GET Observation", kind)  # type: ignore[arg-type]
    with pytest.raises(json.JSONDecodeError):
        json.loads(requests.get(url, timeout=1).text)
    first = requests.get(url, timeout=1).json()
    assert [entry["resource"].get("id") for entry in first["entry"]] == [None, "b"]
    assert ids(requests.get(first["link"][0]["url"], timeout=1)) == ["a", "b"]  # instead of c and d
    assert ids(requests.get(first["link"][0]["url"], timeout=1)) == ["c", "d"]
    assert server.resources["Observation/a"]["id"] == "a"


def test_the_public_names_are_these() -> None:
    assert testing.__all__ == ["MockedServer", "cases", "mocked_server"]
    assert all(getattr(testing, name).__doc__ for name in testing.__all__)
