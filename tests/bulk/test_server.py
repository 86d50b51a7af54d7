"""The bulk server of the tests does what the specification says, and what it is told to do wrong."""

import gzip
import json
from typing import Any

import pytest
import requests

from .conftest import resource
from .exports import Asked
from .server import BulkServer, Reply

ASYNC = {"Prefer": "respond-async", "Accept": "application/fhir+json"}


def export(server: BulkServer, level: str = "", asked: Asked | None = None) -> dict[str, Any]:
    """Kick off, poll until it is done, and the manifest."""
    path = f"{level}/$export" if level else "$export"
    begun = requests.get(f"{server.endpoint}/{path}", params=asked, headers=ASYNC, timeout=5)
    assert begun.status_code == 202, begun.text
    while (polled := requests.get(begun.headers["Content-Location"], timeout=5)).status_code == 202:
        assert polled.headers["Retry-After"] == "0"
    manifest: dict[str, Any] = polled.json()
    return manifest


def ids(manifest: dict[str, Any], kind: str = "output") -> set[str]:
    """What is in the files: `Observation/a`."""
    texts = [requests.get(file["url"], timeout=5).text for file in manifest[kind]]
    lines = [json.loads(line) for text in texts for line in text.splitlines()]
    assert len(lines) == sum(file["count"] for file in manifest[kind])
    return {f"{line['resourceType']}/{line.get('id')}" for line in lines}


def test_three_levels(server: BulkServer) -> None:
    of_patients = {"Patient/1", "Patient/2", "Observation/a", "Observation/b"}
    assert ids(export(server)) == {*of_patients, "Medication/m", "Group/g"}
    assert ids(export(server, "Patient")) == of_patients
    assert ids(export(server, "Group/g")) == {"Patient/2", "Observation/b"}


def test_types_filters_and_since(server: BulkServer) -> None:
    assert ids(export(server, asked=[("_type", "Patient,Medication")])) == {"Patient/1", "Patient/2", "Medication/m"}
    assert ids(export(server, asked=[("_type", "Observation"), ("_typeFilter", "Observation?code=z%2Cy")])) == {
        "Observation/b"
    }
    since = export(server)["transactionTime"]
    server.held.put(resource("Observation", "c", "1"))
    server.delete("Observation/a")
    manifest = export(server, asked=[("_since", since)])
    assert ids(manifest) == {"Observation/c"}
    (bundle,) = [json.loads(requests.get(file["url"], timeout=5).text) for file in manifest["deleted"]]
    assert bundle["entry"] == [{"request": {"method": "DELETE", "url": "Observation/a"}}]


def test_a_job_is_one_until_it_is_deleted(server: BulkServer) -> None:
    server.manners.one_job = True
    export(server)
    assert requests.get(f"{server.endpoint}/$export", headers=ASYNC, timeout=5).status_code == 429
    assert requests.delete(f"{server.root}/jobs/1", timeout=5).status_code == 202
    assert requests.get(f"{server.root}/jobs/1", timeout=5).status_code == 404
    export(server)
    assert [job.state for job in server.jobs] == ["deleted", "running"]


def test_files_in_three_ways_and_in_parts(server: BulkServer) -> None:
    for how in ("plain", "encoded", "gz"):
        server.manners.files = how
        (file,) = export(server, asked=[("_type", "Medication")])["output"]
        whole = requests.get(file["url"], timeout=5, stream=True)
        raw = whole.raw.read(decode_content=False)
        assert b'"Medication"' in (raw if how == "plain" else gzip.decompress(raw))
        part = requests.get(
            file["url"], headers={"Range": "bytes=7-", "If-Range": whole.headers["ETag"]}, timeout=5, stream=True
        )
        assert (part.status_code, part.raw.read(decode_content=False)) == (206, raw[7:])


def test_login_and_its_end(server: BulkServer) -> None:
    server.manners.login, server.manners.token_requests = True, 2
    token = requests.post(f"{server.root}/token", timeout=5).json()["access_token"]
    asks = [
        requests.get(f"{server.endpoint}/Patient/1", headers={"Authorization": f"Bearer {token}"}, timeout=5)
        for _ in range(3)
    ]
    assert [answer.status_code for answer in asks] == [200, 200, 401]


def test_what_goes_wrong_does_so_as_often_as_told(server: BulkServer) -> None:
    server.fail("GET fhir/Patient/1", Reply(503), times=2)
    asks = [requests.get(f"{server.endpoint}/Patient/1", timeout=5).status_code for _ in range(3)]
    assert asks == [503, 503, 200]
    server.cut("GET fhir/Patient/1", at=10)
    with pytest.raises(requests.RequestException):
        requests.get(f"{server.endpoint}/Patient/1", timeout=5)
    server.restart()
    assert server.lines("GET fhir/Patient") == ["GET fhir/Patient/1"] * 4
