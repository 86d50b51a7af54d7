"""What the ledger says of an export that is not what it should be, and that the next one mends it."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from dm_fhir.sync.bulk import pull
from dm_fhir.sync.bulk.job import spool_of
from dm_fhir.sync.bulk.taking import take_in
from dm_fhir.sync.public_words import OTHER, query_said

from ..bulk.exports import operation_outcome
from ..bulk.server import Reply
from .exporting import exporting, two_and_a_stranger
from .mocked import cdasi, infusion, person

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from dm_fhir.store.bulk_jobs import BulkJob
    from dm_fhir.sync.bulk.order import Order
    from dm_fhir.sync.puller import Puller

    from .exporting import Exporting

ZOSTER = {"system": "http://snomed.info/sct", "code": "4740000"}


@pytest.fixture
def clinic(tmp_path: Path) -> Iterator[Exporting]:
    with exporting(tmp_path / "study", two_and_a_stranger()) as made:
        yield made


def mended(clinic: Exporting) -> None:
    """The next pull leaves nothing open, and has everything."""
    ran = clinic.pull()
    assert ran.code == 0, ran.err
    assert clinic.units() == {}
    assert len(clinic.held()) == 8


def test_a_type_that_does_not_come_is_open_unless_the_server_counts_none(clinic: Exporting) -> None:
    clinic.server.manners.silent_about = ("Observation",)
    ran = clinic.pull()

    assert ran.code == 3
    assert clinic.units() == {"bulk: Observation": ("failed", "not-delivered")}
    (message,) = clinic.study.ask("SELECT message FROM unit WHERE query = 'bulk: Observation'")
    assert message == ("the export has no Observation, and the server counts 4",)
    assert clinic.watermarks()["bulk: Observation"] is None
    assert clinic.study.type("compute").code == 3
    assert clinic.study.ask("SELECT count(*) FROM case_document") == [(0,)]  # everybody is held back

    clinic.server.manners.silent_about = ()
    mended(clinic)
    assert clinic.since() == ["", ""]


def test_where_administrations_do_not_come_nobody_is_called_untreated(clinic: Exporting) -> None:
    clinic.server.manners.silent_about = ("MedicationAdministration",)
    assert clinic.pull().code == 3
    assert clinic.units() == {"bulk: MedicationAdministration": ("failed", "not-delivered")}


def test_a_type_that_no_longer_comes_is_noticed_in_an_export_of_changes(clinic: Exporting) -> None:
    clinic.pull()
    clinic.server.held.put(infusion("stranger-i", "stranger", "2026-05-05"))
    clinic.server.manners.silent_about = ("MedicationAdministration",)
    before = clinic.watermarks()["bulk: MedicationAdministration"]
    clinic.pull()
    assert clinic.units() == {"bulk: MedicationAdministration": ("failed", "not-delivered")}
    assert clinic.watermarks()["bulk: MedicationAdministration"] == before
    clinic.server.manners.silent_about = ()
    assert clinic.pull().code == 0
    assert clinic.members() == ["a", "b", "stranger"]


def test_a_type_that_nobody_can_count_is_open(clinic: Exporting) -> None:
    clinic.server.fail("GET fhir/AdverseEvent", Reply(404), times=100)
    assert clinic.pull().code == 3
    assert clinic.units() == {"bulk: AdverseEvent": ("failed", "not-delivered")}
    clinic.configure('mode = "bulk"', 'mode = "bulk"\noptional_types = ["AdverseEvent"]')
    assert clinic.pull().code == 0
    assert clinic.units() == {"bulk: AdverseEvent": ("unsupported", "not-delivered")}
    clinic.pull()
    assert clinic.since()[-1] != ""


def test_what_everybody_has_is_no_count_of_a_group(tmp_path: Path) -> None:
    group = {"resourceType": "Group", "id": "g", "member": [{"entity": {"reference": "Patient/a"}}]}
    more = '[site.cohort]\nby = "group"\ngroup = "Group/g"\n'

    def unsearchable(reply: Reply) -> Reply:
        document = json.loads(reply.body)
        (of,) = (one for one in document["rest"][0]["resource"] if one["type"] == "Observation")
        of["searchParam"] = [one for one in of["searchParam"] if one["name"] not in ("patient", "subject")]
        return replace(reply, body=json.dumps(document).encode())

    with exporting(tmp_path / "study", [*two_and_a_stranger(), group], more=more) as clinic:
        clinic.server.manners.silent_about = ("Observation",)
        clinic.server.spoil("GET fhir/metadata", unsearchable)
        assert clinic.pull().code == 3
        (row,) = clinic.study.ask("SELECT expected, message FROM unit WHERE query = 'bulk: Observation'")
        assert row == (None, "the export has no Observation, and the server does not say how many it has")


def test_a_type_that_may_lack_and_is_counted_is_missing_all_the_same(clinic: Exporting) -> None:
    clinic.configure('mode = "bulk"', 'mode = "bulk"\noptional_types = ["AdverseEvent"]')
    event = {"resourceType": "AdverseEvent", "id": "e", "actuality": "actual", "subject": {"reference": "Patient/a"}}
    clinic.server.held.put(event | {"event": {"coding": [ZOSTER]}})
    clinic.server.manners.silent_about = ("AdverseEvent",)
    assert clinic.pull().code == 3
    assert clinic.units() == {"bulk: AdverseEvent": ("failed", "not-delivered")}


def test_a_type_that_changes_alone_bring_first_is_read_in_full(clinic: Exporting) -> None:
    clinic.server.fail("GET fhir/AdverseEvent", Reply(404), times=100)
    clinic.configure('mode = "bulk"', 'mode = "bulk"\noptional_types = ["AdverseEvent"]')
    clinic.pull()
    event = {"resourceType": "AdverseEvent", "actuality": "actual", "subject": {"reference": "Patient/a"}}
    clinic.server.manners.silent_about = ("AdverseEvent",)
    clinic.server.held.put(event | {"id": "old", "event": {"coding": [ZOSTER]}})
    clinic.pull()
    clinic.server.manners.silent_about = ()
    clinic.server.held.put(event | {"id": "new", "event": {"coding": [ZOSTER]}})
    assert clinic.pull().code == 0
    assert [bool(since) for since in clinic.since()] == [False, True, True, False]
    assert {"AdverseEvent/old", "AdverseEvent/new"} <= clinic.held()


def test_fewer_lines_than_announced(clinic: Exporting) -> None:
    clinic.server.manners.count_error = 1
    assert clinic.pull().code == 3
    assert set(clinic.units().values()) == {("partial", "short")}
    clinic.server.manners.count_error = 0
    mended(clinic)


def test_a_file_that_was_cut_at_the_end_of_a_line_is_downloaded_once_more(clinic: Exporting) -> None:
    def cut(reply: Reply) -> Reply:
        return replace(reply, body=reply.body[: reply.body.index(b"\n") + 1])

    clinic.server.spoil("GET files/1/Observation-1", cut)
    assert clinic.pull().code == 0
    assert len(clinic.held()) == 8


def test_what_is_open_of_everybodys_holds_back_also_who_was_complete(clinic: Exporting) -> None:
    clinic.pull()
    clinic.study.type("compute")
    before = clinic.study.ask("SELECT patient, fingerprint FROM case_document ORDER BY patient")
    clinic.server.held.put(cdasi("a-later", "a", "2026-05-05", 8))
    clinic.server.held.put(infusion("a-i2", "a", "2026-05-06"))
    clinic.server.manners.silent_about = ("MedicationAdministration",)
    clinic.pull()
    assert "Observation/a-later" in clinic.held()
    assert clinic.study.type("compute").code == 3
    assert clinic.study.ask("SELECT patient, fingerprint FROM case_document ORDER BY patient") == before


def test_another_type_than_announced(clinic: Exporting) -> None:
    extra = json.dumps(person("z")).encode() + b"\n"
    clinic.server.spoil("GET files/1/Observation-1", lambda reply: replace(reply, body=reply.body + extra))
    assert clinic.pull().code == 3
    assert clinic.units() == {"bulk: Observation": ("partial", "wrong-type")}
    (message,) = clinic.study.ask("SELECT message FROM unit WHERE query = 'bulk: Observation'")
    assert message == ("its files hold other types: Patient",)
    mended(clinic)


def test_a_line_that_is_no_resource_is_set_aside(clinic: Exporting) -> None:
    clinic.server.spoil("GET files/1/Observation-1", lambda reply: replace(reply, body=reply.body + b"{oops\n"))
    assert clinic.pull().code == 3
    assert clinic.units() == {}
    assert clinic.study.ask("SELECT query, reason FROM quarantine") == [("bulk: Observation", "not-json")]
    clinic.server.held.put(cdasi("a-after", "a", "2026-04-05", 11))
    assert clinic.pull().code == 3, "an export of changes says nothing of it"
    assert clinic.pull("--full").code == 0


def test_what_could_not_be_exported_makes_the_run_partial(clinic: Exporting) -> None:
    clinic.server.problems = [
        operation_outcome("12 records could not be read"),
        operation_outcome("odd", severity="warning"),
    ]
    ran = clinic.pull()
    assert ran.code == 3
    assert clinic.units() == {"bulk: error": ("partial", "export-errors")}
    assert clinic.study.ask("SELECT message FROM unit WHERE query = 'bulk: error'") == [
        ("server: 12 records could not be read",)
    ]
    clinic.server.problems = []
    mended(clinic)
    assert clinic.since() == ["", ""], "what was missing may be older than the last export"


def test_a_warning_is_only_shown(clinic: Exporting) -> None:
    clinic.server.problems = [operation_outcome("a parameter was ignored", severity="warning")]
    assert clinic.pull("--json").code == 0
    assert clinic.study.ask("SELECT message FROM unit WHERE query = 'bulk: error'") == [
        ("server: a parameter was ignored",)
    ]


def test_a_manifest_with_entries_that_cannot_be_used(clinic: Exporting) -> None:
    def spoilt(reply: Reply) -> Reply:
        document = json.loads(reply.body) if reply.status == 200 else None
        if document is None:
            return reply
        document["output"].append({"type": "Observation"})
        return replace(reply, body=json.dumps(document).encode())

    clinic.server.spoil("GET jobs/1", spoilt, times=2)
    assert clinic.pull().code == 3
    assert clinic.units() == {"bulk: error": ("partial", "unusable-entries")}
    mended(clinic)


def as_of_2031(reply: Reply) -> Reply:
    """A manifest that is as of another time."""
    document = json.loads(reply.body) if reply.status == 200 else {}
    changed = json.dumps(document | {"transactionTime": "2031-01-01T00:00:00Z"}).encode()
    return replace(reply, body=changed) if document else reply


def test_a_mark_moves_with_a_whole_type_only(clinic: Exporting) -> None:
    clinic.server.manners.lines_per_file, clinic.server.manners.counts = 1, False
    clinic.pull()
    marks = clinic.watermarks()
    for number in range(2):
        clinic.server.held.put(cdasi(f"a-{number}", "a", f"2026-05-0{number + 1}", 8))
    clinic.server.fail("GET files/2/Observation-2", Reply(406), times=9)
    clinic.server.spoil("GET jobs/2", as_of_2031, 9)
    assert clinic.pull().code == 3
    assert clinic.watermarks()["bulk: Observation"] == marks["bulk: Observation"]
    assert (clinic.watermarks()["bulk: error"] or "").startswith("2031")
    clinic.pull()
    assert {"Observation/a-0", "Observation/a-1"} <= clinic.held()


def test_medications_that_came_once_are_not_forgotten_where_none_has_changed(clinic: Exporting) -> None:
    clinic.server.held.put({"resourceType": "Medication", "id": "m", "subject": {"reference": "Patient/a"}})
    clinic.server.spoil("GET jobs/1", as_of_2031, 9)
    assert clinic.pull().code == 0
    assert clinic.pull().code == 0
    assert clinic.since() == ["", "2031-01-01T00:00:00Z"]
    assert clinic.units(all_of_them=True)["bulk: Medication"] == ("complete", None)


def test_how_many_there_should_be_is_known_if_every_file_says_it(clinic: Exporting) -> None:
    clinic.server.manners.lines_per_file = 4

    def half(reply: Reply) -> Reply:
        if reply.status != 200:
            return reply
        document = json.loads(reply.body)
        del next(one for one in document["output"] if one["type"] == "Observation")["count"]
        return replace(reply, body=json.dumps(document).encode())

    clinic.server.spoil("GET jobs/1", half, times=9)
    assert clinic.pull().code == 0
    rows = clinic.study.ask(
        "SELECT query, expected, received FROM unit WHERE query IN ('bulk: Observation', 'bulk: Patient')"
    )
    assert sorted(rows) == [("bulk: Observation", None, 5), ("bulk: Patient", 3, 3)]


def test_of_what_could_not_be_exported_the_words_of_the_first_error_are_told(clinic: Exporting) -> None:
    said = [("a remark", "warning"), ("the first", "error"), ("the second", "error")]
    clinic.server.problems = [operation_outcome(text, severity=how) for text, how in said]
    assert clinic.pull().code == 3
    assert clinic.study.ask("SELECT message, received FROM unit WHERE query = 'bulk: error'") == [
        ("server: the first", 3)
    ]


@pytest.mark.parametrize("body", [b"{oops\n", b'{"resourceType":"Patient"}\n', b"{}\n" * 2])
def test_what_could_not_be_exported_and_cannot_be_read_is_open(clinic: Exporting, body: bytes) -> None:
    clinic.server.problems = [operation_outcome("a remark", severity="information")]
    clinic.server.manners.counts = False
    clinic.server.spoil("GET files/1/error-1", lambda reply: replace(reply, body=reply.body + body))
    assert clinic.pull().code == 3
    assert clinic.units() == {"bulk: error": ("partial", "unreadable")}
    (message,) = clinic.study.ask("SELECT message FROM unit WHERE query = 'bulk: error'")
    assert message == (f"{body.count(b'{')} lines of what could not be exported are not readable",)


def test_one_file_that_fails_costs_its_type_alone(clinic: Exporting) -> None:
    clinic.server.fail("GET files/1/Observation-1", Reply(500), times=100)
    assert clinic.pull().code == 3
    assert clinic.units() == {"bulk: Observation": ("partial", "http-500")}
    assert "Patient/a" in clinic.held()
    mended(clinic)


def test_a_server_that_exports_nothing(clinic: Exporting) -> None:
    clinic.server.fail("GET fhir/Patient/$export", Reply(403), times=100)
    ran = clinic.pull()
    assert ran.code == 5
    assert {state for state, _ in clinic.units().values()} == {"refused"}
    clinic.server.fail("GET fhir/Patient/$export", Reply(404), times=100)
    clinic.server.fail("POST fhir/Patient/$export", Reply(404), times=100)


def test_a_level_that_is_not_there(clinic: Exporting) -> None:
    clinic.server.fail("GET fhir/Patient/$export", Reply(404), times=100)
    clinic.server.fail("POST fhir/Patient/$export", Reply(404), times=100)
    assert clinic.pull().code == 3
    assert {reason for _, reason in clinic.units().values()} == {"http-404"}
    assert 'mode = "search"' in clinic.study.type("failed").out


def test_an_export_that_the_server_gives_up(clinic: Exporting) -> None:
    body = json.dumps(operation_outcome("out of memory", code="processing")).encode()
    clinic.server.fail("GET jobs/1", Reply(500, body, {"Content-Type": "application/fhir+json"}), times=1)
    assert clinic.pull().code == 3
    assert {reason for _, reason in clinic.units().values()} == {"export-failed"}
    assert clinic.server.lines("DELETE") == ["DELETE jobs/1"]
    mended(clinic)


def test_a_manifest_without_a_time_gives_no_watermark(clinic: Exporting) -> None:
    def timeless(reply: Reply) -> Reply:
        document = json.loads(reply.body) if reply.status == 200 else {}
        document.pop("transactionTime", None)
        return replace(reply, body=json.dumps(document).encode()) if reply.status == 200 else reply

    clinic.server.spoil("GET jobs/1", timeless, times=2)
    clinic.pull()
    assert set(clinic.watermarks().values()) == {None}
    clinic.pull()
    assert clinic.since() == ["", ""]


def test_names_of_units_may_be_said() -> None:
    for query in ("bulk: Observation", "bulk: deleted", "bulk: error", "cohort: bulk: Patient"):
        assert query_said(query) == query
    for query in ("bulk: Eulalia", "bulk: ", "Eulalia bulk: Patient"):
        assert query_said(query) == OTHER


def test_a_list_of_deletions_that_is_not_readable_is_set_aside(clinic: Exporting) -> None:
    clinic.pull()
    clinic.server.delete("Observation/a-after")
    clinic.server.spoil(
        "GET files/2/deleted-1", lambda reply: replace(reply, body=b'{"resourceType":"Patient"}\n' + reply.body)
    )
    clinic.server.manners.counts = False
    assert clinic.pull().code == 3
    assert "Observation/a-after" not in clinic.held()
    assert clinic.study.ask("SELECT query, reason FROM quarantine") == [("bulk: deleted", "unreadable")]
    assert clinic.pull("--full").code == 0


@pytest.mark.parametrize("entry", [
    {"method": "PUT", "url": "Observation/a-before"}, {"method": "DELETE", "url": "Patient?identifier=7"}, {"method": "DELETE"}, {"method": "DELETE", "url": "/a-before"}, {},
])  # fmt: skip
def test_what_is_no_deletion_of_one_resource_is_set_aside_and_the_others_count(
    clinic: Exporting, entry: dict[str, str]
) -> None:
    clinic.pull()
    clinic.server.delete("Observation/a-after")

    def mixed(reply: Reply) -> Reply:
        document = json.loads(reply.body)
        document["entry"].insert(0, {"request": entry})
        return replace(reply, body=json.dumps(document).encode() + b"\n")

    clinic.server.spoil("GET files/2/deleted-1", mixed)
    assert clinic.pull().code == 3
    assert clinic.held() >= {"Observation/a-before", "Patient/a"}
    assert "Observation/a-after" not in clinic.held()
    assert clinic.study.ask("SELECT query, place, reason FROM quarantine") == [
        ("bulk: deleted", "deleted-1.ndjson:1", "unreadable")
    ]


@pytest.mark.parametrize(("kind", "reason"), [("deleted", "file-damaged"), ("error", "unreadable")])
def test_what_an_export_says_beside_its_records_is_damaged_on_the_disk(
    clinic: Exporting, monkeypatch: pytest.MonkeyPatch, kind: str, reason: str
) -> None:
    clinic.pull()
    marks = clinic.watermarks()
    clinic.server.delete("Observation/a-after")
    clinic.server.problems = [operation_outcome("a remark", severity="information")]
    clinic.server.manners.files = "gz"

    def damaged(puller: Puller, order: Order, job: BulkJob, *more: Any) -> None:
        path = spool_of(puller, job) / f"{kind}-1.ndjson"
        path.write_bytes(path.read_bytes()[:-6])
        take_in(puller, order, job, *more)

    with monkeypatch.context() as patch:
        patch.setattr(pull, "take_in", damaged)
        assert clinic.pull().code == 3
    assert clinic.units() == {f"bulk: {kind}": ("partial", reason)}
    assert clinic.watermarks()[f"bulk: {kind}"] == marks[f"bulk: {kind}"]
    assert clinic.pull().code == 0
    assert "Observation/a-after" not in clinic.held()


def test_a_list_of_deletions_that_does_not_come_keeps_the_mark(clinic: Exporting) -> None:
    clinic.pull()
    clinic.server.delete("Observation/a-after")
    clinic.server.fail("GET files/2/deleted-1", Reply(500), times=100)
    assert clinic.pull().code == 3
    assert clinic.units() == {"bulk: deleted": ("partial", "http-500")}
    assert clinic.pull().code == 0
    assert "Observation/a-after" not in clinic.held()
    assert [bool(since) for since in clinic.since()] == [False, True, True]
