"""A push at servers of every sort: written once, by the best way there is, and never over what somebody else has changed."""

import json
import sqlite3
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from dm_fhir.errors import LoginRefused, ServerUnavailable
from dm_fhir.store.facts import facts
from dm_fhir.store.ledger import begin_run, end_run
from dm_fhir.sync.push.repair import repair_site
from dm_fhir.sync.push.verify import verify_site
from dm_fhir.testing import mocked_server
from dm_fhir.testing.server import answered

from .pushing import Json, Mapper, Pushing, body_of, refusing

PATIENT = {"resourceType": "Patient", "id": "p1"}


@pytest.fixture
def pushing(db: sqlite3.Connection) -> Iterator[Pushing]:
    """A study that wants twenty results on a server that knows their patient."""
    with mocked_server([PATIENT]) as server:
        made = Pushing(db, server)
        made.wanted = {f"k{number}": number for number in range(1, 21)}
        yield made


def once(pushing: Pushing) -> bool:
    """Whether the server holds just what is wanted, each once, and the ledger says so."""
    wanted = {name: [value] for name, value in pushing.wanted.items()}
    return pushing.values() == wanted and pushing.states() == {"confirmed": len(wanted)}


def edit(pushing: Pushing, name: str, **elements: Any) -> None:
    """Somebody at the hospital changes a result."""
    pushing.server.put({**pushing.held(name)[0], **elements})


def no_transactions(method: str, path: str, *_: object) -> Any:
    """A server that takes no Bundles."""
    return refusing(405) if (method, path) == ("POST", "") else None


def test_a_push_is_a_first_write_a_bundle_and_a_provenance_of_each(pushing: Pushing) -> None:
    result = pushing.push()
    assert once(pushing)
    assert pushing.writes() == ["POST", "POST Provenance", "POST", "POST Provenance"]
    assert (result.counts, result.written, result.confirmed) == ({"new": 20}, 20, 20)
    assert (result.provenance, result.troubles, result.remarks) == ({"documented": 2}, [], [])


def test_the_second_push_asks_only_for_what_has_changed(pushing: Pushing) -> None:
    pushing.push()
    pushing.server.requests.clear()
    pushing.wanted["k3"] = 33
    pushing.push()
    assert once(pushing)
    assert pushing.writes() == ["POST", "POST Provenance"]
    assert pushing.held("k3")[0]["meta"]["versionId"] == "2"


@pytest.mark.parametrize("way", ["transaction", "conditional-update", "conditional-create", "search"])
def test_every_way_writes_once_changes_and_takes_back(pushing: Pushing, way: str) -> None:
    pushing.settings = {"way": way}
    pushing.push()
    assert once(pushing)
    pushing.wanted |= {"k3": 33, "k21": 21}
    del pushing.wanted["k4"]
    pushing.push()
    assert pushing.values() == {**{name: [value] for name, value in pushing.wanted.items()}, "k4": [4]}
    assert pushing.held("k4")[0]["status"] == "entered-in-error"
    assert pushing.states() == {"confirmed": 20, "retracted": 1}


@pytest.mark.parametrize("status", [400, 404, 405, 412, 422, 501])
def test_a_way_that_is_refused_gives_way_to_the_next_and_is_not_tried_again(pushing: Pushing, status: int) -> None:
    def refuse(method: str, path: str, headers: Mapping[str, str], document: Json) -> Any:
        return refusing(status) if (method, path) in (("POST", ""), ("PUT", "Observation")) else None

    pushing.meddle(refuse)
    pushing.push()
    assert once(pushing)
    known = facts(pushing.db, "leon")
    assert (known["write transaction"], known["write conditional-update"]) == ("refused", "refused")
    assert known["write conditional-create"] == "works"
    pushing.server.requests.clear()
    pushing.wanted["k21"] = 21
    pushing.push()
    assert pushing.writes() == ["POST Observation", "POST Provenance"]


def test_a_way_that_makes_copies_is_left_after_the_first(pushing: Pushing) -> None:
    """An earlier store has written all of it, a search finds that late, and the server does not look at the condition of an update."""
    for name, value in pushing.wanted.items():
        pushing.server.put({**json.loads(body_of(name, value)), "id": f"old-{name}"})

    def create(method: str, path: str, headers: Mapping[str, str], document: Json) -> Any:
        if (method, path) == ("GET", "Observation") and "PUT Observation" not in pushing.writes():
            return answered(200, {"resourceType": "Bundle", "type": "searchset"})
        if (method, path) != ("PUT", "Observation"):
            return None
        made = pushing.server.put({**document, "id": f"new-{len(pushing.server.resources)}"})
        place = f"Observation/{made['id']}/_history/1"
        return 201, {"Location": place, "ETag": 'W/"1"'}, json.dumps(made).encode()

    pushing.settings = {"way": "conditional-update"}
    pushing.meddle(create)
    result = pushing.push()
    assert {name: len(values) for name, values in pushing.values().items() if len(values) > 1} == {"k1": 2}
    assert pushing.states() == {"conflict": 1, "confirmed": 19}
    assert "this server ignores the condition of a conditional-update; switched to conditional-create" in result.remarks
    assert "2 copies of one result" in result.troubles[0]
    assert facts(pushing.db, "leon")["write conditional-update"].startswith("never:")


def test_a_new_one_goes_without_id_and_a_known_one_by_its_id_and_version(pushing: Pushing) -> None:
    seen: list[tuple[str, str, bool, str | None]] = []

    def note(method: str, path: str, headers: Mapping[str, str], document: Json) -> Any:
        if document.get("resourceType") == "Observation":
            seen.append((method, path, "id" in document, headers.get("If-Match")))

    pushing.meddle(note)
    pushing.push()
    assert set(seen) == {("PUT", "Observation", False, None)}
    seen.clear()
    pushing.wanted["k3"] = 33
    pushing.push()
    assert seen == [("PUT", pushing.rows()["k3"].server_id, True, 'W/"1"')]


def test_an_edit_between_look_and_write_is_not_overwritten(pushing: Pushing) -> None:
    pushing.push()
    pushing.wanted["k3"] = 33

    def meanwhile(method: str, path: str, headers: Mapping[str, str], document: Json) -> Any:
        if (method, path) == ("POST", ""):
            pushing.calm()
            edit(pushing, "k3", note=[{"text": "checked"}])

    pushing.meddle(meanwhile)
    result = pushing.push()
    assert pushing.held("k3")[0]["note"] == [{"text": "checked"}]
    assert pushing.rows()["k3"].state == "conflict"
    assert "was changed by someone else (version 2); left as it is" in result.troubles[0]


def test_a_version_that_has_moved_without_a_change_is_written_over(pushing: Pushing) -> None:
    pushing.push()
    pushing.wanted["k3"] = 33

    def meanwhile(method: str, path: str, headers: Mapping[str, str], document: Json) -> Any:
        if (method, path) == ("POST", ""):
            pushing.calm()
            edit(pushing, "k3")

    pushing.meddle(meanwhile)
    pushing.push()
    assert once(pushing)
    assert pushing.held("k3")[0]["meta"]["versionId"] == "3"


def test_a_bundle_that_is_too_large_is_halved_and_that_is_remembered(pushing: Pushing) -> None:
    def cap(method: str, path: str, headers: Mapping[str, str], document: Json) -> Any:
        return refusing(413) if (method, path) == ("POST", "") and len(document["entry"]) > 5 else None

    pushing.meddle(cap)
    pushing.push()
    assert once(pushing)
    assert facts(pushing.db, "leon")["write bundle_size"] == "5"
    assert all(one["meta"]["versionId"] == "1" for one in pushing.server.resources.values())


@pytest.mark.parametrize("by", ["text", "expression", "nothing"])
def test_one_bad_entry_costs_the_others_nothing(pushing: Pushing, by: str) -> None:
    bad = "k7"

    def refuse(method: str, path: str, headers: Mapping[str, str], document: Json) -> Any:
        names = [one["resource"]["code"]["text"] for one in document.get("entry", [])]
        if bad not in names:
            return None
        where = f"Bundle.entry[{names.index(bad)}]"
        if by == "expression":
            issue = {"severity": "error", "expression": [f"{where}.resource.valueQuantity"], "diagnostics": "no unit"}
            return 422, {}, json.dumps({"resourceType": "OperationOutcome", "issue": [issue]}).encode()
        return refusing(422, f"{where if by == 'text' else 'one'}: no unit")

    pushing.meddle(refuse)
    result = pushing.push()
    assert pushing.states() == {"confirmed": 19, "rejected": 1}
    assert len(pushing.values()) == 19
    assert "1 of 20 rejected" in result.remarks
    assert "no unit" in str(pushing.rows()[bad].message)
    pushing.server.requests.clear()
    pushing.push()
    assert pushing.writes() == []


@pytest.mark.parametrize("way", ["transaction", "conditional-update", "conditional-create", "search"])
@pytest.mark.parametrize("start", ["new", "changed"])
def test_a_lost_answer_is_looked_up_and_nothing_is_sent_twice(pushing: Pushing, way: str, start: str) -> None:
    pushing.settings = {"way": way}
    if start == "changed":
        pushing.push()
        pushing.wanted = {name: f"{value}0" for name, value in pushing.wanted.items()}
    pushing.loses = b'"k3"'
    pushing.push()
    assert not pushing.loses
    assert once(pushing)
    observations = [one for one in pushing.server.resources.values() if one["resourceType"] == "Observation"]
    assert {one["meta"]["versionId"] for one in observations} == {"2" if start == "changed" else "1"}


def test_a_store_that_was_put_back_finds_what_it_had_written_and_writes_only_the_rest(pushing: Pushing) -> None:
    pushing.push()
    pushing.db.execute("DELETE FROM push WHERE identifier <> 'k1'")  # as the copy knew it
    end_run(pushing.db, begin_run(pushing.db, "restore", "somebody"), 0)
    pushing.wanted |= {"k3": 33, "k21": 21}
    pushing.push()
    assert once(pushing)
    versions = {name: pushing.held(name)[0]["meta"]["versionId"] for name in pushing.wanted}
    assert versions == {name: "2" if name == "k3" else "1" for name in pushing.wanted}


def test_what_a_search_finds_late_is_waited_for_before_it_is_sent_again(pushing: Pushing) -> None:
    """The index is half a minute behind, and the answer to a Bundle is lost."""
    pushing.settings = {"way": "conditional-create"}
    lost = []

    def late(method: str, path: str, headers: Mapping[str, str], document: Json) -> Any:
        if (method, path) == ("GET", "Observation") and sum(pushing.waits) < 30:
            return 200, {}, b'{"resourceType":"Bundle","type":"searchset","total":0}'
        if (method, path) == ("POST", "Observation") and document["code"]["text"] == "k5" and not lost:
            lost.append(pushing.server.put({**document, "id": "w5"}))
            return refusing(504)
        return None

    pushing.meddle(late)
    pushing.push()
    assert lost
    assert once(pushing)
    assert 30 <= sum(pushing.waits) <= 60


def test_nothing_is_sent_of_a_patient_who_is_not_there(pushing: Pushing) -> None:
    pushing.patients = {"k7": "Patient/p9"}
    result = pushing.push()
    assert pushing.states() == {"confirmed": 19, "blocked": 1}
    assert "1 patient is not on the target server" in result.remarks
    pushing.server.put({"resourceType": "Patient", "id": "p9"})
    pushing.push()
    assert once(pushing)


def test_who_has_something_on_the_server_is_not_asked_for_again(pushing: Pushing) -> None:
    pushing.push()
    pushing.server.requests.clear()
    pushing.wanted["k21"] = 21
    pushing.push()
    assert not [one for one in pushing.server.requests if "Patient" in one]


def test_each_transmission_has_one_provenance_of_the_versions_that_it_wrote(pushing: Pushing) -> None:
    pushing.push()
    pushing.wanted["k3"] = 33
    del pushing.wanted["k4"]
    pushing.push()
    said = [(one["activity"]["coding"][0]["code"], len(one["target"])) for one in pushing.provenances()]
    assert sorted(said) == [("CREATE", 1), ("CREATE", 19), ("NULLIFY", 1), ("UPDATE", 1)]
    targets = [part["reference"] for one in pushing.provenances() for part in one["target"]]
    assert len(set(targets)) == len(targets) == 22
    assert f"{pushing.rows()['k3'].server_id}/_history/2" in targets


@pytest.mark.parametrize("status", [400, 403, 404, 405, 422, 501])
def test_a_server_without_provenance_is_told_of_once_and_not_asked_again(pushing: Pushing, status: int) -> None:
    pushing.meddle(lambda method, path, *_: refusing(status) if (method, path) == ("POST", "Provenance") else None)
    result = pushing.push()
    assert once(pushing)
    assert [one for one in result.remarks if "takes no Provenance" in one] == result.remarks
    pushing.server.requests.clear()
    pushing.wanted["k3"] = 33
    assert pushing.push().remarks == []
    assert "POST Provenance" not in pushing.writes()


def test_a_provenance_that_an_earlier_run_was_cut_off_in_is_not_written_twice(pushing: Pushing) -> None:
    """It was created, and the run was killed before it knew."""
    pushing.push()
    pushing.db.execute("UPDATE transmission SET state = 'sent', provenance = NULL")
    result = pushing.push()
    assert len(pushing.provenances()) == 2
    assert result.provenance == {"documented": 2}


def test_a_provenance_that_the_server_had_no_time_for_is_written_by_the_next_push(pushing: Pushing) -> None:
    pushing.meddle(lambda method, path, *_: refusing(500) if (method, path) == ("POST", "Provenance") else None)
    assert pushing.push().provenance == {"sent": 2}
    pushing.calm()
    assert pushing.push().provenance == {"documented": 2}
    assert len(pushing.provenances()) == 2


@pytest.mark.parametrize("how", ["answers 200", "refuses the condition"])
def test_a_provenance_of_something_else_is_not_taken_for_ours(pushing: Pushing, how: str) -> None:
    """The server does not know the parameters that it is searched by: it finds whatever is there."""
    other = {
        "resourceType": "Provenance",
        "id": "other",
        "target": [{"reference": "Observation/x"}],
        "recorded": "2026-01-01",
    }
    found = {"resourceType": "Bundle", "type": "searchset", "entry": [{"resource": other}]}

    def ignore(method: str, path: str, headers: Mapping[str, str], document: Json) -> Any:
        if (method, path) == ("GET", "Provenance"):
            return answered(200, found)
        if (method, path) == ("POST", "Provenance") and "If-None-Exist" in headers:
            return answered(200, other) if how == "answers 200" else refusing(412)
        return None

    pushing.meddle(ignore)
    assert pushing.push().provenance == {"documented": 2}
    assert len(pushing.provenances()) == 2
    pushing.db.execute("UPDATE transmission SET state = 'sent', provenance = NULL")
    assert pushing.push().provenance == {"documented": 2}
    assert len(pushing.provenances()) == 4, "those of before were not found by the search"


@pytest.mark.parametrize("lacks", ["instant", "target"])
def test_a_provenance_is_known_again_by_instant_and_target(pushing: Pushing, lacks: str) -> None:
    pushing.push()
    for one in pushing.provenances():
        changed = (
            {"recorded": "2026-01-01T00:00:00Z"} if lacks == "instant" else {"target": [{"reference": "Observation/x"}]}
        )
        pushing.server.put({**one, **changed})
    found = {"resourceType": "Bundle", "entry": [{"resource": one} for one in pushing.provenances()]}
    pushing.meddle(lambda method, path, *_: answered(200, found) if (method, path) == ("GET", "Provenance") else None)
    pushing.db.execute("UPDATE transmission SET state = 'sent', provenance = NULL")
    pushing.push()
    assert len(pushing.provenances()) == 4


def test_a_provenance_whose_instant_the_server_writes_otherwise_is_known_again(pushing: Pushing) -> None:
    pushing.push()
    for one in pushing.provenances():
        pushing.server.put({**one, "recorded": one["recorded"].replace("Z", "+00:00")})
    pushing.db.execute("UPDATE transmission SET state = 'sent', provenance = NULL")
    pushing.push()
    assert len(pushing.provenances()) == 2


def test_a_login_that_is_repeated_in_an_entry_is_blotted_out(pushing: Pushing) -> None:
    said = {"resourceType": "OperationOutcome", "issue": [{"diagnostics": "refused for Bearer open-sesame"}]}

    def refuse(method: str, path: str, headers: Mapping[str, str], document: Json) -> Any:
        if document.get("resourceType") != "Bundle" or len(document["entry"]) < 2:
            return None
        entries = [{"response": {"status": "422", "outcome": said}} for _ in document["entry"]]
        return answered(200, {"resourceType": "Bundle", "type": "transaction-response", "entry": entries})

    pushing.meddle(refuse)
    pushing.headers = {"Authorization": "Bearer open-sesame"}
    result = pushing.push()
    assert pushing.states()["rejected"] == 19
    assert "refused for Bearer …" in result.troubles[0]
    assert "open-sesame" not in str(result) + str(pushing.rows())


def test_a_server_that_goes_away_keeps_what_it_has_and_the_next_push_goes_on(pushing: Pushing) -> None:
    pushing.settings = {"way": "conditional-update"}

    def leave(method: str, path: str, headers: Mapping[str, str], document: Json) -> Any:
        there = len(pushing.values())
        return refusing(503) if document.get("resourceType") == "Observation" and there >= 6 else None

    pushing.meddle(leave)
    with pytest.raises(ServerUnavailable, match=r"^6 of 20 written; run again later"):
        pushing.push()
    assert pushing.states() == {"confirmed": 6, "sending": 1}
    pushing.calm()
    result = pushing.push()
    assert once(pushing)
    assert "1 unfinished write checked" in result.remarks
    assert sum(len(one["target"]) for one in pushing.provenances()) == 20


def test_a_login_that_may_not_write_ends_the_push_and_leaves_no_trace(pushing: Pushing) -> None:
    pushing.meddle(lambda method, *_: refusing(403, "scope") if method in ("POST", "PUT") else None)
    with pytest.raises(LoginRefused, match=r"lets us write nothing \(403\): scope"):
        pushing.push()
    assert pushing.rows() == {}


def test_a_server_that_drops_the_identifier_gets_no_second_one(pushing: Pushing) -> None:
    def drop(method: str, path: str, headers: Mapping[str, str], document: Json) -> Any:
        if (method, path) != ("PUT", "Observation"):
            return None
        made = pushing.server.put({**{k: v for k, v in document.items() if k != "identifier"}, "id": "lost"})
        return 201, {"Location": "Observation/lost/_history/1"}, json.dumps(made).encode()

    pushing.meddle(drop)
    result = pushing.push()
    assert pushing.states() == {"conflict": 1, "blocked": 19}
    assert any("drops identifiers" in one for one in result.remarks)
    assert pushing.writes().count("POST") == 1


@pytest.mark.parametrize("broken", [{"identifier": None}, {"identifier": [{"value": 7}]}, {"identifier": "lost"}])
def test_an_identifier_that_cannot_be_read_is_none_of_ours(pushing: Pushing, broken: Json) -> None:
    def spoil(method: str, path: str, headers: Mapping[str, str], document: Json) -> Any:
        if (method, path) != ("PUT", "Observation"):
            return None
        made = pushing.server.put({**{k: v for k, v in document.items() if k != "identifier"}, "id": "lost"})
        return 201, {"Location": "Observation/lost/_history/1"}, json.dumps({**made, **broken}).encode()

    pushing.meddle(spoil)
    result = pushing.push()
    assert pushing.states() == {"conflict": 1, "blocked": 19}
    assert any("drops identifiers" in one for one in result.remarks)


def test_what_the_server_has_made_of_a_value_is_named_and_can_be_written_over(pushing: Pushing) -> None:
    pushing.settings = {"way": "conditional-update"}

    def rounded(method: str, path: str, headers: Mapping[str, str], document: Json) -> Any:
        if document.get("code") == {"text": "k3"} and document["valueQuantity"]["value"] == 3.3:
            made = pushing.server.put({**document, "id": "k3", "valueQuantity": {"value": 3, "unit": "1"}})
            return 201, {"Location": "Observation/k3/_history/1"}, json.dumps(made).encode()
        return None

    pushing.wanted["k3"] = 3.3
    pushing.meddle(rounded)
    result = pushing.push()
    assert pushing.states() == {"confirmed": 19, "rejected": 1}
    assert "the server changed valueQuantity" in result.troubles[0]
    pushing.wanted["k3"] = 5
    pushing.push()
    assert once(pushing)


@pytest.mark.parametrize("before", ["nothing", "a push"])
def test_a_repair_keeps_the_copy_that_the_ledger_knows(pushing: Pushing, before: str) -> None:
    if before == "a push":
        pushing.push()
        known = pushing.held("k3")[0]
        pushing.server.put({**known, "id": "a-copy"})
        pushing.wanted["k3"] = 33
    else:
        for name in ("a-copy", "b-copy"):
            pushing.server.put({**json.loads(body_of("k3", 3)), "id": name})
    result = pushing.push()
    assert pushing.rows()["k3"].state == "conflict"
    assert "2 copies of one result on the server; see push --repair: " in result.troubles[0]

    done = repair_site(pushing.db, pushing.site, pushing.connection(), Mapper(), 1, pushing.items())  # type: ignore[arg-type]
    assert (done.counts, done.troubles) == ({"repaired": 1}, [])
    statuses = {one["id"]: one["status"] for one in pushing.held("k3")}
    assert statuses.pop("a-copy" if before == "a push" else "b-copy") == "entered-in-error"
    assert list(statuses.values()) == ["final"]
    pushing.push()
    assert pushing.states() == {"confirmed": 20}
    assert [one["valueQuantity"]["value"] for one in pushing.held("k3") if one["status"] == "final"] == [
        pushing.wanted["k3"]
    ]
    assert [one["activity"]["coding"][0]["code"] for one in pushing.provenances()].count("NULLIFY") == 1


def test_a_repair_touches_nothing_where_there_are_no_copies(pushing: Pushing) -> None:
    pushing.push()
    writes = len(pushing.writes())
    done = repair_site(pushing.db, pushing.site, pushing.connection(), Mapper(), 1, pushing.items())  # type: ignore[arg-type]
    assert (done.counts, len(pushing.writes())) == ({"repaired": 0}, writes)


def test_verifying_says_what_is_the_same_changed_gone_and_there_twice(pushing: Pushing) -> None:
    pushing.push()
    edit(pushing, "k3", status="amended")
    pushing.server.delete(f"Observation/{pushing.held('k4')[0]['id']}")
    pushing.server.put({**pushing.held("k5")[0], "id": "a-copy"})
    seen = verify_site(pushing.db, pushing.site, pushing.connection(), None)
    assert seen.counts == {"same": 17, "differs": 1, "gone": 1, "twice": 1}
    assert len(seen.troubles) == 3
    assert any(" was changed since it was written: status" in one for one in seen.troubles)


def test_what_is_in_conflict_is_no_more_the_same_than_before(pushing: Pushing) -> None:
    pushing.push()
    edit(pushing, "k3", status="amended")
    pushing.wanted["k3"] = 33
    pushing.push()
    assert pushing.rows()["k3"].state == "conflict"
    assert verify_site(pushing.db, pushing.site, pushing.connection(), None).counts == {"same": 19, "differs": 1}


def test_a_sample_is_spread_over_all(pushing: Pushing) -> None:
    pushing.push()
    assert sum(verify_site(pushing.db, pushing.site, pushing.connection(), 5).counts.values()) == 5
