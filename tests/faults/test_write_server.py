"""The writing side of the fault server by itself: what it keeps, counts, and does wrong."""

from typing import Any

import pytest
import requests

from .outcomes import KEYS
from .server import BEARER, FaultServer
from .write_faults import LIMIT, REMARK

SYSTEM = "https://w3id.org/dm-fhir/outcome"
NAMES = {key: identifier for identifier, key in KEYS.items()}
JSON = dict[str, Any]
CONDITION = f"identifier={SYSTEM}|{NAMES['k3']}"


def observation(key: str = "k3", value: float = 61.1, **more: Any) -> JSON:
    return {
        "resourceType": "Observation",
        "identifier": [{"system": SYSTEM, "value": NAMES[key]}],
        "status": "final",
        "valueQuantity": {"value": value},
        **more,
    }


class Client:
    """Sends what it is told, with a credential."""

    def __init__(self, server: FaultServer, faults: str) -> None:
        self.endpoint = server.endpoint(faults)
        self.shelf = server.run(self.endpoint).shelf

    def send(self, method: str, path: str, document: JSON | None = None, **headers: str) -> requests.Response:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        told = {"Authorization": f"Bearer {BEARER}", **named}
        return requests.request(method, f"{self.endpoint}{path}", json=document, headers=told, timeout=20)

    def put(self, document: JSON, **headers: str) -> requests.Response:
        return self.send("PUT", f"/Observation?{CONDITION}", document, **headers)

    def bundle(self, kind: str, *documents: JSON) -> requests.Response:
        entries = [
            {"resource": one, "request": {"method": "PUT", "url": f"Observation?identifier={SYSTEM}|{one['identifier'][0]['value']}"}}
            for one in documents
        ]  # fmt: skip
        return self.send("POST", "", {"resourceType": "Bundle", "type": kind, "entry": entries})


def test_a_conditional_update_makes_one_resource_and_versions_of_it(server: FaultServer) -> None:
    client = Client(server, "updates")
    made, again = client.put(observation()), client.put(observation(value=66.7))
    assert (made.status_code, made.headers["ETag"]) == (201, 'W/"1"')
    assert made.headers["Location"] == f"{client.endpoint}/Observation/w1/_history/1"
    assert (again.status_code, again.json()["meta"]["versionId"]) == (200, "2")
    assert client.shelf.count() == {"k3": 1}
    read = client.send("GET", "/Observation/w1")
    assert (read.json()["valueQuantity"], read.headers["ETag"]) == ({"value": 66.7}, 'W/"2"')
    assert client.send("GET", "/Observation/w1/_history/1").json()["valueQuantity"] == {"value": 61.1}
    assert client.send("GET", f"/Observation?{CONDITION}").json()["total"] == 1
    assert client.send("GET", "/Observation/w2").status_code == 404


def test_a_create_with_a_condition_makes_none_where_there_is_one(server: FaultServer) -> None:
    client = Client(server, "creates")
    statuses = [client.send("POST", "/Observation", observation(), If_None_Exist=CONDITION).status_code for _ in "ab"]
    assert (statuses, client.shelf.count()["k3"]) == ([201, 200], 1)
    assert client.send("POST", "/Observation", observation()).status_code == 201
    assert client.send("POST", "/Observation", observation(), If_None_Exist=CONDITION).status_code == 412
    assert client.shelf.count()["k3"] == 2
    assert client.put(observation()).status_code == 501


@pytest.mark.parametrize(
    ("sort", "status"), [("creates", 412), ("moved-409-creates", 409), ("no-versions-creates", 200)]
)
def test_a_version_that_moved(server: FaultServer, sort: str, status: int) -> None:
    client = Client(server, sort)
    client.send("POST", "/Observation", observation())
    client.shelf.edit("k3")
    stale = client.send("PUT", "/Observation/w1", observation(id="w1"), If_Match='W/"1"')
    assert stale.status_code == status
    assert client.send("PUT", "/Observation/w1", observation(id="w1"), If_Match='W/"2"').status_code == 200
    assert client.send("PUT", "/Observation/new", observation(id="new")).status_code == 405


def test_a_transaction_is_done_as_a_whole(server: FaultServer) -> None:
    client = Client(server, "transactions+w422")
    assert client.bundle("transaction", observation("k1"), observation()).status_code == 422
    assert client.shelf.count() == {}
    assert client.bundle("transaction", observation("k1"), observation("k2")).status_code == 200
    assert client.shelf.count() == {"k1": 1, "k2": 1}


def test_what_others_do_meanwhile_is_not_taken_back(server: FaultServer) -> None:
    client = Client(server, "transactions+w409-edited")
    client.shelf.add(observation())
    assert client.bundle("transaction", observation("k1"), observation(value=66.7)).status_code == 409
    assert client.shelf.count() == {"k3": 1}
    assert [one.get("note") for one in client.shelf.versions_of("k3")] == [None, [{"text": REMARK}]]


def test_a_batch_is_done_one_by_one(server: FaultServer) -> None:
    client = Client(server, "batches+w422")
    answer = client.bundle("transaction", observation("k1"), observation()).json()
    assert [one["response"]["status"] for one in answer["entry"]] == ["201", "422"]
    assert answer["entry"][0]["response"]["location"] == "Observation/w1/_history/1"
    assert client.shelf.count() == {"k1": 1}


def test_a_bundle_can_be_too_large(server: FaultServer) -> None:
    client = Client(server, "capped")
    many = [observation(f"k{number}") for number in range(1, LIMIT + 2)]
    assert client.bundle("transaction", *many).status_code == 413
    assert client.bundle("transaction", *many[:-1]).status_code == 200


def test_what_is_lost_is_stored(server: FaultServer) -> None:
    client = Client(server, "updates+wlost")
    with pytest.raises(requests.ConnectionError):
        client.put(observation())
    assert client.shelf.count() == {"k3": 1}
    assert client.put(observation()).status_code == 200


def test_a_late_index_finds_nothing_and_a_read_does(server: FaultServer) -> None:
    client = Client(server, "wstale-updates")
    assert [client.put(observation()).status_code for _ in "ab"] == [201, 201]
    assert client.send("GET", f"/Observation?{CONDITION}").json()["total"] == 0
    assert client.send("GET", "/Observation/w1").status_code == 200
    assert client.shelf.count() == {"k3": 2}


def test_provenance_is_kept_and_found(server: FaultServer) -> None:
    client = Client(server, "updates")
    target, recorded = "Observation/w1", "2026-01-01T10:00:00.123Z"
    document = {"resourceType": "Provenance", "target": [{"reference": f"{target}/_history/1"}], "recorded": recorded}
    condition = f"target={target}&recorded={recorded}"
    statuses = [client.send("POST", "/Provenance", document, If_None_Exist=condition).status_code for _ in "ab"]
    assert (statuses, len(client.shelf.current("Provenance"))) == ([201, 200], 1)
    assert client.send("GET", f"/Provenance?{condition}").json()["total"] == 1
    assert client.send("GET", f"/Provenance?target={target}&recorded=2026-01-01T10:00:00.124Z").json()["total"] == 0


def test_the_statement_says_what_the_server_can(server: FaultServer) -> None:
    def told(sort: str) -> tuple[bool, bool, list[str]]:
        rest = Client(server, sort).send("GET", "/metadata").json()["rest"][0]
        (one,) = [one for one in rest["resource"] if one["type"] == "Observation"]
        return one["conditionalUpdate"], one["conditionalCreate"], [code["code"] for code in rest["interaction"]]

    assert told("transactions") == (True, True, ["transaction", "batch"])
    assert told("creates") == (False, True, [])
    assert told("searches") == (False, False, [])
    assert told("wnocond-501") == (True, True, ["transaction", "batch"]), "it claims what it cannot do"


def test_a_server_that_takes_no_writes_says_so(server: FaultServer) -> None:
    client = Client(server, "ok")
    assert client.put(observation()).status_code == 404
    assert "interaction" not in client.send("GET", "/metadata").json()["rest"][0]
