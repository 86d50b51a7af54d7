"""The store is lost, or an older copy of it was put back: what the server holds is told apart by the Provenance that is there."""

import sqlite3
from collections.abc import Iterator
from typing import Any

import pytest

from dm_fhir.store.pushes import put_pushes
from dm_fhir.sync.push.content import status_of
from dm_fhir.testing import mocked_server

from .pushing import Pushing, body_of, refusing


@pytest.fixture
def pushing(db: sqlite3.Connection) -> Iterator[Pushing]:
    """Twenty results that are on the server, of which the store knows nothing any more."""
    with mocked_server([{"resourceType": "Patient", "id": "p1"}]) as server:
        made = Pushing(db, server)
        made.wanted = {f"k{number}": number for number in range(1, 21)}
        made.push()
        lose(made)
        yield made


def lose(pushing: Pushing) -> None:
    """A new store."""
    pushing.db.execute("DELETE FROM push")
    pushing.db.execute("DELETE FROM transmission")
    pushing.db.execute("DELETE FROM server_fact")


def edit(pushing: Pushing, name: str, **elements: Any) -> None:
    """Somebody at the hospital changes a result."""
    pushing.server.put({**pushing.held(name)[0], **elements})


def test_what_is_there_as_it_should_be_is_known_again_without_a_write(pushing: Pushing) -> None:
    writes = len(pushing.writes())
    pushing.push()
    assert pushing.states() == {"confirmed": 20}
    assert len(pushing.writes()) == writes
    assert {one["meta"]["versionId"] for one in pushing.server.resources.values()} == {"1"}


@pytest.mark.parametrize("way", ["transaction", "conditional-update", "conditional-create", "search"])
@pytest.mark.parametrize("name", ["k1", "k3"])
def test_what_somebody_has_edited_is_not_overwritten(pushing: Pushing, way: str, name: str) -> None:
    pushing.settings = {"way": way}
    edit(pushing, name, valueQuantity={"value": 99, "unit": "1"})
    for _ in range(2):
        result = pushing.push()
        assert pushing.held(name)[0]["valueQuantity"]["value"] == 99
        assert pushing.rows()[name].state == "conflict"
        assert pushing.states() == {"confirmed": 19, "conflict": 1}
        assert "was changed by someone else (version 2); left as it is" in result.troubles[0]


@pytest.mark.parametrize("way", ["transaction", "conditional-update", "conditional-create", "search"])
def test_what_we_have_written_last_is_brought_up_to_date(pushing: Pushing, way: str) -> None:
    pushing.settings = {"way": way}
    pushing.wanted |= {"k1": 11, "k3": 33, "k21": 21}
    pushing.push()
    assert pushing.states() == {"confirmed": 21}
    assert pushing.values() == {name: [value] for name, value in pushing.wanted.items()}
    assert pushing.held("k3")[0]["meta"]["versionId"] == "2"


def test_without_provenance_what_differs_is_a_conflict(pushing: Pushing) -> None:
    for name in [one for one in pushing.server.resources if one.startswith("Provenance/")]:
        pushing.server.delete(name)
    pushing.wanted["k3"] = 33
    pushing.push()
    assert pushing.states() == {"confirmed": 19, "conflict": 1}
    assert pushing.held("k3")[0]["valueQuantity"]["value"] == 3


def test_a_provenance_of_somebody_else_makes_it_not_ours(pushing: Pushing) -> None:
    edit(pushing, "k3", valueQuantity={"value": 99, "unit": "1"})
    target = [{"reference": f"Observation/{pushing.held('k3')[0]['id']}/_history/2"}]
    agent = [{"who": {"reference": "Practitioner/1"}}]
    theirs = {"resourceType": "Provenance", "id": "theirs", "target": target, "recorded": "2026-01-01", "agent": agent}
    pushing.server.put(theirs)
    pushing.push()
    assert pushing.rows()["k3"].state == "conflict"
    assert pushing.held("k3")[0]["valueQuantity"]["value"] == 99


def test_what_differs_in_its_status_alone_stays_as_it_is(pushing: Pushing) -> None:
    """It was amended before the store was lost; what is computed now is the same and would be final."""
    lose(pushing)
    observation = pushing.held("k3")[0]
    target = [{"reference": f"https://fhir.test/r4/Observation/{observation['id']}/_history/2"}]
    agent = [{"who": {"reference": "#dm-fhir"}}]
    pushing.server.put({**observation, "status": "amended"})
    pushing.server.put(
        {"resourceType": "Provenance", "id": "ours", "target": target, "recorded": "2026-01-01", "agent": agent}
    )
    pushing.push()
    assert (pushing.rows()["k3"].state, pushing.held("k3")[0]["meta"]["versionId"]) == ("confirmed", "2")
    assert b'"amended"' in pushing.rows()["k3"].body


def test_an_older_ledger_knows_what_was_written_after_it(pushing: Pushing) -> None:
    pushing.push()
    older = pushing.rows().values()
    pushing.wanted["k3"] = 33
    pushing.push()
    put_pushes(pushing.db, "leon", older, 1)
    pushing.wanted["k3"] = 34
    pushing.push()
    assert pushing.states() == {"confirmed": 20}
    assert [one["valueQuantity"]["value"] for one in pushing.held("k3")] == [34]


def test_nothing_is_looked_up_that_is_certainly_not_there(db: sqlite3.Connection) -> None:
    """At a server that is shown to hold nothing of ours one search by the system is enough for all."""
    with mocked_server([{"resourceType": "Patient", "id": "p1"}]) as server:
        pushing = Pushing(db, server)
        pushing.wanted = {f"k{number}": number for number in range(1, 201)}
        pushing.push()
        searches = [one for one in server.requests if one.startswith("GET Observation?")]
        assert len(searches) < 8
        assert pushing.states() == {"confirmed": 200}


@pytest.mark.parametrize("how", ["refuses", "finds-nothing"])
def test_a_server_that_does_not_search_by_the_system_is_asked_for_each(pushing: Pushing, how: str) -> None:
    def meddle(method: str, path: str, *_: object) -> Any:
        asked = pushing.server.requests[-1]
        if method != "GET" or path != "Observation" or "%7C&_count=2" not in asked:
            return None
        return refusing(400) if how == "refuses" else (200, {}, b'{"resourceType": "Bundle", "type": "searchset"}')

    pushing.wanted = {"k0": 0, **pushing.wanted}
    edit(pushing, "k3", valueQuantity={"value": 99, "unit": "1"})
    pushing.meddle(meddle)
    pushing.push()
    assert pushing.held("k3")[0]["valueQuantity"]["value"] == 99
    assert pushing.states() == {"confirmed": 20, "conflict": 1}


def test_a_retraction_that_the_server_never_had_is_no_change(db: sqlite3.Connection) -> None:
    """It was cut off, the outcome holds again and is planned as corrected; the server has it as it was."""
    with mocked_server([{"resourceType": "Patient", "id": "p1"}]) as server:
        pushing = Pushing(db, server)
        pushing.wanted = {"k1": 1}
        pushing.push()
        row = pushing.rows()["k1"]
        put_pushes(db, "leon", [row._replace(state="sending", hash="of the retraction")], 1)
        (item,) = pushing.items()
        item = item._replace(action="changed", body=body_of("k1", 1, status="corrected"))
        pushing.items = lambda: [item]  # type: ignore[method-assign]
        pushing.push()
        assert (pushing.held("k1")[0]["status"], pushing.held("k1")[0]["meta"]["versionId"]) == ("final", "1")
        assert pushing.rows()["k1"].state == "confirmed"
        assert status_of(pushing.rows()["k1"].body) == "final"
