"""What a push remembers of a server, and what its proof makes of what is not there as it was sent."""

import json
import sqlite3
import time
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from dm_fhir.sync.push.repair import repair_site
from dm_fhir.sync.push.verify import verify_site
from dm_fhir.testing import mocked_server

from .pushing import Json, Mapper, Pushing, body_of, refusing


@pytest.fixture
def pushing(db: sqlite3.Connection) -> Iterator[Pushing]:
    """A study that wants twenty results on a server that knows their patient."""
    with mocked_server([{"resourceType": "Patient", "id": "p1"}]) as server:
        made = Pushing(db, server)
        made.wanted = {f"k{number}": number for number in range(1, 21)}
        yield made


@pytest.mark.parametrize("configured", [None, 7])
def test_how_large_a_bundle_may_be_is_known_to_the_next_push_unless_the_config_says_it(
    pushing: Pushing, configured: int | None
) -> None:
    sizes: list[int] = []

    def cap(method: str, path: str, headers: Mapping[str, str], document: Json) -> Any:
        if (method, path) != ("POST", ""):
            return None
        sizes.append(len(document["entry"]))
        return refusing(413) if sizes[-1] > 5 else None

    pushing.meddle(cap)
    pushing.push()
    sizes.clear()
    pushing.settings = {"bundle_size": configured} if configured else {}
    pushing.wanted |= {f"k{number}": number for number in range(21, 41)}
    pushing.push()
    assert max(sizes) == (configured or 5)
    assert pushing.states() == {"confirmed": 40}


def test_what_cannot_be_read_back_is_unknown(pushing: Pushing) -> None:
    pushing.push()
    pushing.meddle(lambda method, path, *_: refusing(403) if path.startswith("Observation") else None)
    seen = verify_site(pushing.db, pushing.site, pushing.connection(), None)
    assert seen.counts == {"unknown": 20}
    assert "cannot be read" in seen.troubles[0]


def test_a_search_that_is_late_is_not_believed_by_a_proof(pushing: Pushing) -> None:
    pushing.push()
    old = pushing.held("k3")[0]
    pushing.wanted["k3"] = 33
    pushing.push()
    page = {"resourceType": "Bundle", "type": "searchset", "entry": [{"resource": old}]}
    late = (200, {"Content-Type": "application/fhir+json"}, json.dumps(page).encode())
    pushing.meddle(lambda method, path, *_: late if (method, path) == ("GET", "Observation") else None)
    seen = verify_site(pushing.db, pushing.site, pushing.connection(), None)
    assert seen.counts == {"same": 20}


def test_a_copy_that_comes_after_the_write_is_a_conflict_by_the_sample(pushing: Pushing) -> None:
    def copied(method: str, path: str, headers: Mapping[str, str], document: Json) -> Any:
        if (method, path) == ("POST", "Provenance") and pushing.held("k3") and len(pushing.held("k3")) == 1:
            pushing.server.put({**pushing.held("k3")[0], "id": "a-copy"})
        return None

    pushing.meddle(copied)
    result = pushing.push()
    assert pushing.rows()["k3"].state == "conflict"
    assert "2 copies of one result" in result.troubles[0]


def test_a_retired_copy_beside_the_first_write_is_none(pushing: Pushing) -> None:
    """Of ours a repair has left one; the server takes it for none of its condition's."""
    retired = {**json.loads(body_of("k1", 1, status="entered-in-error")), "id": "retired"}
    pushing.settings = {"way": "search"}

    def beside(method: str, path: str, headers: Mapping[str, str], document: Json) -> Any:
        if method == "POST" and path == "Observation" and "Observation/retired" not in pushing.server.resources:
            pushing.server.put(retired)
        return None

    pushing.meddle(beside)
    pushing.push()
    assert pushing.states() == {"confirmed": 20}


def test_a_repair_keeps_what_we_wrote_else_the_oldest_and_guards_its_writes(pushing: Pushing) -> None:
    pushing.wanted = {"k1": 1, "k2": 2}
    for name, values in {"k1": (7, 1), "k2": (8, 9)}.items():
        for place, value in zip("zy", values, strict=True):  # z is the older one
            pushing.server.put({**json.loads(body_of(name, value)), "id": f"{place}-{name}"})
            time.sleep(0.002)
    pushing.push()
    assert pushing.states() == {"conflict": 2}
    guards: list[str | None] = []

    def note(method: str, path: str, headers: Mapping[str, str], document: Json) -> Any:
        return guards.append(headers.get("If-Match")) if method == "PUT" else None

    pushing.meddle(note)
    repair_site(pushing.db, pushing.site, pushing.connection(), Mapper(), 1, pushing.items())  # type: ignore[arg-type]
    stands = {one["id"] for name in ("k1", "k2") for one in pushing.held(name) if one["status"] == "final"}
    assert stands == {"y-k1", "z-k2"}
    assert guards == ['W/"1"', 'W/"1"']
