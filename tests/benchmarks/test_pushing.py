"""The push benchmark's own ground: its server keeps each resource once and tells the truth. Nothing is timed."""

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import requests

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
NAME = "Observation?identifier=urn:x|{}"


@pytest.fixture(scope="module")
def modules(load: Callable[..., SimpleNamespace]) -> SimpleNamespace:
    return load("served", "pushing", "processes")


@pytest.fixture(scope="module")
def running(modules: SimpleNamespace) -> Iterator[Any]:
    with modules.served.served(2, "write_server.py") as server:
        yield server


@pytest.fixture
def server(running: Any) -> Any:
    running.told("/_empty")
    running.delayed(0)
    return running


def observation(name: str, **more: Any) -> dict[str, Any]:
    return {"resourceType": "Observation", "identifier": [{"system": "urn:x", "value": name}], **more}


def put(server: Any, name: str, headers: dict[str, str] | None = None, **more: Any) -> requests.Response:
    return requests.put(
        f"{server.base}/{NAME.format(name)}", json=observation(name, **more), headers=headers, timeout=10
    )


def transaction(server: Any, *entries: dict[str, Any], kind: str = "transaction") -> requests.Response:
    bundle = {"resourceType": "Bundle", "type": kind, "entry": list(entries)}
    return requests.post(server.base, json=bundle, timeout=10)


def entry(name: str, **request: str) -> dict[str, Any]:
    return {"request": {"method": "PUT", "url": NAME.format(name), **request}, "resource": observation(name)}


def test_a_resource_is_there_once_and_its_versions_are_counted(server: Any) -> None:
    first, second, other = put(server, "a", note="1"), put(server, "a", note="2"), put(server, "b")

    assert [one.status_code for one in (first, second, other)] == [201, 200, 201]
    assert second.headers["ETag"] == 'W/"2"'
    assert server.told("/_kept") == {"resources": {"Observation": 2}, "identifiers": 2, "versions": {"2": 1, "1": 1}}
    found = requests.get(f"{server.base}/{NAME.format('a')}", timeout=10).json()
    assert (found["total"], found["entry"][0]["resource"]["note"]) == (1, "2")
    assert found["entry"][0]["resource"]["meta"]["versionId"] == "2"
    totals = [
        requests.get(f"{server.base}/{NAME.format(name)}", timeout=10).json()["total"] for name in ("", "a,urn:x|b")
    ]
    assert totals == [2, 2]  # any of the system, and several


def test_another_version_than_the_current_one_is_not_written_over(server: Any) -> None:
    place = put(server, "a").headers["Location"].removeprefix("/fhir/").partition("/_history")[0]
    put(server, "a")

    assert put(server, "a", {"If-Match": 'W/"1"'}).status_code == 412
    address = f"{server.base}/{place}"
    assert requests.put(address, json=observation("a"), headers={"If-Match": 'W/"2"'}, timeout=10).status_code == 200
    assert requests.put(f"{server.base}/Observation/none", json=observation("a"), timeout=10).status_code == 404


def test_a_transaction_is_done_whole_or_not_at_all_and_a_batch_one_by_one(server: Any) -> None:
    assert transaction(server, entry("a"), entry("b", ifMatch='W/"1"')).status_code == 412
    assert transaction(server, entry("a"), entry("a")).status_code == 400
    assert server.told("/_kept")["resources"] == {}

    answer = transaction(server, entry("a"), entry("b")).json()
    assert [one["response"]["status"] for one in answer["entry"]] == ["201 Created", "201 Created"]
    assert [one["response"]["etag"] for one in answer["entry"]] == ['W/"1"', 'W/"1"']
    batch = transaction(server, entry("a", ifMatch='W/"7"'), entry("b"), kind="batch").json()
    assert [one["response"]["status"][:3] for one in batch["entry"]] == ["412", "200"]
    assert server.told("/_kept")["versions"] == {"1": 1, "2": 1}


def test_a_provenance_is_created_once_for_its_first_target_and_time(server: Any) -> None:
    document = {"resourceType": "Provenance", "recorded": "2026-01-01T10:00:00.123Z"}
    document["target"] = [{"reference": f"Observation/{id_}/_history/1"} for id_ in (7, 8)]
    condition = {"If-None-Exist": f"target=Observation/7&recorded={document['recorded']}"}
    sent = [requests.post(f"{server.base}/Provenance", json=document, headers=condition, timeout=10) for _ in range(2)]

    assert [one.status_code for one in sent] == [201, 200]
    later = {"If-None-Exist": "target=Observation/7&recorded=2026-01-01T10:00:00.124Z"}
    assert requests.post(f"{server.base}/Provenance", json=document, headers=later, timeout=10).status_code == 201
    assert server.told("/_kept")["resources"] == {"Provenance": 2}


def test_patients_can_be_asked_for_and_what_is_not_known_is_refused(server: Any) -> None:
    found = requests.get(f"{server.base}/Patient?_id=p00001,p00002,nobody", timeout=10).json()
    assert found["total"] == 2
    assert requests.get(f"{server.base}/Patient/nobody", timeout=10).status_code == 404
    assert requests.get(f"{server.base}/Observation?code=1", timeout=10).status_code == 400
    assert requests.delete(f"{server.base}/Observation/1", timeout=10).status_code == 405
    assert [(one.method, one.status) for one in server.requests()] == [
        ("GET", 200), ("GET", 404), ("GET", 400), ("DELETE", 405),
    ]  # fmt: skip


def test_what_is_wanted_is_met_or_missed(modules: SimpleNamespace) -> None:
    pushing = modules.pushing

    def met(peer_seconds: float, second_seconds: float, second_requests: int) -> list[bool]:
        first, second = SimpleNamespace(wall_seconds=2.0), SimpleNamespace(wall_seconds=second_seconds)
        pushed = pushing.Pushed(1000, first, second, 7, second_requests)
        rounds = {0: [(pushed, pushing.PeerRun(SimpleNamespace(wall_seconds=peer_seconds), 100))]}
        return [ratio.is_met for ratio in pushing.ratios(rounds)]

    assert met(2.0, 2.0, 0) == [True, True, True]
    assert met(1.99, 2.01, 1) == [False, False, False]


def test_a_second_copy_or_a_second_version_ends_it(modules: SimpleNamespace, server: Any) -> None:
    put(server, "a")
    modules.pushing._once_each(server, 1)
    for spoil in ("b", "a"):
        put(server, spoil)
        with pytest.raises(modules.processes.RunFailed, match="the server has"):
            modules.pushing._once_each(server, 1 if spoil == "b" else 2)


def test_the_peer_puts_ready_resources(modules: SimpleNamespace, server: Any, tmp_path: Path) -> None:
    (tmp_path / "bodies.json").write_text(json.dumps([observation(name) for name in "abc"]), encoding="utf-8")
    command = [sys.executable, BENCHMARKS / "put_one_by_one.py", server.base, "bodies.json", "2"]

    assert modules.processes.measured(command, tmp_path).output == "2\n"
    assert server.told("/_kept")["identifiers"] == 2
