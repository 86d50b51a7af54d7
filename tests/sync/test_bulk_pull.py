"""A pull by a bulk export: whose records are kept, what is asked of the server, what later pulls ask."""

from __future__ import annotations

import json
import sqlite3
import stat
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from dm_fhir.fhir.retry_after import instant

from ..bulk.server import Reply
from .exporting import STRANGER, exporting, two_and_a_stranger
from .mocked import cdasi, infusion, person, treated

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from .exporting import Exporting

OF_A_AND_B = {
    f"{kind}/{name}{ending}"
    for name in "ab"
    for kind, ending in (
        ("Patient", ""),
        ("MedicationAdministration", "-i"),
        ("Observation", "-before"),
        ("Observation", "-after"),
    )
}


@pytest.fixture
def clinic(tmp_path: Path) -> Iterator[Exporting]:
    with exporting(tmp_path / "study", two_and_a_stranger()) as made:
        yield made


def test_the_cohorts_records_are_kept_and_nobody_elses(clinic: Exporting) -> None:
    ran = clinic.pull("--json")

    assert ran.code == 0, ran.err
    assert ran.json["cohort"] == {"leon": 2}
    assert clinic.members() == ["a", "b"]
    assert clinic.held() == OF_A_AND_B
    assert clinic.units() == {}
    assert clinic.study.ask("SELECT DISTINCT origin FROM resource") == [("server",)]


def test_one_job_is_begun_read_and_deleted(clinic: Exporting) -> None:
    clinic.pull()

    assert [(job.level, dict(job.asked)["_outputFormat"]) for job in clinic.server.jobs] == [
        ("Patient", "application/fhir+ndjson")
    ]
    assert clinic.server.lines("DELETE") == ["DELETE jobs/1"]
    assert clinic.server.alive == []
    assert clinic.spool() == []
    assert not clinic.study.config.with_name("dm-fhir.sqlite.bulk").exists()


def test_who_was_read_is_in_the_audit_log(clinic: Exporting) -> None:
    clinic.pull()
    rows = clinic.study.ask("SELECT patient FROM audit WHERE action = 'read' ORDER BY patient")
    assert [patient for (patient,) in rows] == ["Patient/a", "Patient/b"]


def test_downloaded_files_are_private_and_stay_if_that_is_wanted(clinic: Exporting) -> None:
    clinic.configure("enabled = false\n", "enabled = false\n[site.bulk]\nkeep_files = true\n")
    clinic.pull()

    modes = {path.name.partition("-")[0]: stat.S_IMODE(path.stat().st_mode) for path in clinic.spool()}
    assert modes["Observation"] == 0o600
    assert modes["leon"] == 0o700
    assert stat.S_IMODE(clinic.study.config.with_name("dm-fhir.sqlite.bulk").stat().st_mode) == 0o700
    assert clinic.server.alive == []


def test_the_next_pull_asks_for_changes_by_the_servers_own_time(clinic: Exporting) -> None:
    clinic.pull()
    clinic.server.held.put(cdasi("a-after", "a", "2026-04-05", 10))
    clinic.server.held.put(cdasi("a-later", "a", "2026-05-05", 8))
    clinic.server.held.put(cdasi("stranger-2", "stranger", "2026-05-05", 8))
    assert clinic.pull().code == 0

    assert clinic.since() == ["", clinic.server.jobs[0].transaction_time]
    assert clinic.held() == {*OF_A_AND_B, "Observation/a-later"}
    assert clinic.study.ask("SELECT version FROM resource WHERE id = 'a-after'") == [("2",)]


def test_what_changes_leave_out_is_not_asked_for(clinic: Exporting) -> None:
    clinic.pull()
    clinic.server.held.put(cdasi("a-after", "a", "2026-04-05", 10))
    assert clinic.pull().code == 0
    assert len(clinic.server.lines("GET files/2/Observation")) == 1
    assert clinic.server.lines("GET fhir/Observation/") == []


def test_where_nothing_has_changed_nothing_is_downloaded_and_all_is_complete(clinic: Exporting) -> None:
    clinic.pull()
    before = clinic.watermarks()
    assert clinic.pull().code == 0

    assert clinic.server.lines("GET files") == []
    assert clinic.units() == {}
    assert clinic.held() == OF_A_AND_B
    assert {query: mark > (before[query] or "") for query, mark in clinic.watermarks().items() if mark} or before


def test_what_was_deleted_is_deleted(clinic: Exporting) -> None:
    clinic.pull()
    clinic.server.delete("Observation/a-after")
    assert clinic.pull().code == 0

    assert clinic.held() == OF_A_AND_B - {"Observation/a-after"}
    assert clinic.study.ask("SELECT notes FROM unit WHERE query = 'bulk: deleted'") == [('{"deleted":1}',)]


def test_what_a_full_export_lacks_is_asked_for_by_id(clinic: Exporting) -> None:
    clinic.pull()
    clinic.server.held.delete("Observation/a-after")  # no word of it in the manifest
    clinic.pull()
    assert "Observation/a-after" in clinic.held()
    assert clinic.pull("--full").code == 0

    assert clinic.since()[-1] == ""
    assert clinic.held() == OF_A_AND_B - {"Observation/a-after"}
    assert clinic.server.lines("GET fhir/Observation/") == ["GET fhir/Observation/a-after"]


def test_whoever_joins_the_cohort_is_read_in_full_in_the_same_run(clinic: Exporting) -> None:
    clinic.pull()
    clinic.server.held.put(infusion("stranger-i", "stranger", "2026-05-05"))
    ran = clinic.pull()

    assert ran.code == 0, ran.err
    assert clinic.since() == ["", clinic.server.jobs[0].transaction_time, ""]
    assert clinic.members() == ["a", "b", "stranger"]
    assert {"Observation/stranger-1", "Patient/stranger"} <= clinic.held()
    assert "1 patients are new in the cohort" in ran.err
    clinic.pull()
    assert clinic.since()[-1] != ""


def test_deletions_show_every_so_many_days(clinic: Exporting) -> None:
    clinic.pull()
    clinic.configure('mode = "bulk"', 'mode = "bulk"\nfull_every_days = 0.000001')
    clinic.pull()
    assert clinic.since() == ["", ""]


def test_changes_do_not_put_off_when_everything_is_asked_for_again(clinic: Exporting) -> None:
    clinic.pull()
    before = instant(datetime.now(UTC) - timedelta(days=2))
    with closing(sqlite3.connect(clinic.study.config.with_name("dm-fhir.sqlite"))) as db, db:
        db.execute("UPDATE unit SET read_in_full = ? WHERE query LIKE 'bulk: %'", (before,))
    clinic.server.held.put(cdasi("a-later", "a", "2026-05-05", 8))
    assert clinic.pull().code == 0
    assert clinic.since()[-1] != ""
    assert clinic.study.ask("SELECT DISTINCT read_in_full FROM unit WHERE query LIKE 'bulk: %'") == [(before,)]


def test_where_nothing_can_be_read_by_id_not_everything_is_tried(clinic: Exporting) -> None:
    for number in range(8):
        clinic.server.held.put(cdasi(f"a-{number}", "a", "2026-05-05", 8))
    clinic.pull()
    clinic.server.spoil("GET files/2/Observation-1", lambda reply: replace(reply, body=b""))
    clinic.server.manners.counts = False
    clinic.server.fail("GET fhir/Observation/", Reply(500), 99)
    assert clinic.pull("--full").code == 0
    assert len(clinic.server.lines("GET fhir/Observation/")) == 5
    (notes,) = clinic.study.ask("SELECT notes FROM unit WHERE query = 'bulk: Observation'")
    assert json.loads(notes[0])["missing_not_readable"] == 12
    assert len(clinic.held()) == 16


def test_what_the_tables_know_no_more_is_not_missing(clinic: Exporting) -> None:
    table = '[[measurement]]\nvariable = "cdasi_activity"\ncodes = [{ system = "urn:x", code = "own", display = "own", source = "here" }]\n'
    clinic.study.config.with_name("own.toml").write_text(table, encoding="utf-8")
    own = cdasi("own", "a", "2026-05-05", 8)
    own["code"]["coding"] = [{"system": "urn:x", "code": "own"}]
    clinic.server.held.put(own)
    clinic.configure('name = "leon"\n', 'name = "leon"\ntables = ["own.toml"]\n')
    clinic.pull()
    assert "Observation/own" in clinic.held()
    clinic.configure('tables = ["own.toml"]\n', "")
    assert clinic.pull("--full").code == 0
    assert clinic.server.lines("GET fhir/Observation/") == []


def test_what_a_filter_leaves_out_is_not_missing(clinic: Exporting) -> None:
    clinic.pull()
    clinic.configure("enabled = false\n", 'enabled = false\n[site.bulk]\ntype_filters = ["Observation?code=another"]\n')
    clinic.server.held.put(
        {
            "resourceType": "Observation",
            "id": "other",
            "code": {"coding": [{"code": "another"}]},
            "subject": {"reference": "Patient/a"},
        }
    )
    assert clinic.pull().code == 0
    assert len(clinic.server.lines("GET files/2/Observation")) == 1
    assert clinic.server.lines("GET fhir/Observation/") == []
    assert clinic.held() == OF_A_AND_B


def test_another_scope_is_another_export(clinic: Exporting) -> None:
    clinic.pull()
    clinic.configure('mode = "bulk"', 'mode = "bulk"\nscope = "all"')
    clinic.pull()
    assert clinic.since() == ["", ""]


def test_a_merged_patients_other_records_are_the_cohorts(tmp_path: Path) -> None:
    resources = [*treated("a"), person("a2", "a"), cdasi("a2-1", "a2", "2026-06-04", 5), *STRANGER]
    with exporting(tmp_path / "study", resources) as clinic:
        assert clinic.pull().code == 0
        assert clinic.members() == ["a", "a2"]
        assert "Observation/a2-1" in clinic.held()


def test_a_group_is_exported_and_its_members_are_the_cohort(tmp_path: Path) -> None:
    group = {"resourceType": "Group", "id": "g", "member": [{"entity": {"reference": "Patient/stranger"}}]}
    more = '[site.cohort]\nby = "group"\ngroup = "Group/g"\n'
    with exporting(tmp_path / "study", [*two_and_a_stranger(), group], more=more) as clinic:
        assert clinic.pull().code == 0
        assert [job.level for job in clinic.server.jobs] == ["Group/g"]
        assert clinic.members() == ["stranger"]
        assert clinic.held() == {"Patient/stranger", "Observation/stranger-1"}


def test_whoever_joins_the_group_is_read_in_full(tmp_path: Path) -> None:
    group = {"resourceType": "Group", "id": "g", "member": [{"entity": {"reference": "Patient/a"}}]}
    more = '[site.cohort]\nby = "group"\ngroup = "Group/g"\n'
    with exporting(tmp_path / "study", [*two_and_a_stranger(), group], more=more) as clinic:
        clinic.pull()
        clinic.server.held.put(group | {"member": [{"entity": {"reference": "Patient/b"}}]})
        assert clinic.pull().code == 0
        assert clinic.members() == ["b"]
        assert clinic.since() == ["", ""]
        assert "Observation/b-before" in clinic.held()


def test_a_larger_group_is_searched_through_for_the_cohort(tmp_path: Path) -> None:
    members = [{"entity": {"reference": f"Patient/{name}"}} for name in ("a", "stranger")]
    group = {"resourceType": "Group", "id": "clinic", "member": members}
    more = '[site.bulk]\ngroup = "Group/clinic"\n'
    with exporting(tmp_path / "study", [*two_and_a_stranger(), group], more=more) as clinic:
        assert clinic.pull().code == 0
        assert [job.level for job in clinic.server.jobs] == ["Group/clinic"]
        assert clinic.members() == ["a"]


def test_a_list_of_identifiers(tmp_path: Path) -> None:
    listed = person("a") | {"identifier": [{"system": "urn:mrn", "value": "7"}]}
    more = '[site.cohort]\nby = "patients"\npatients = "list.txt"\n'
    resources = [one for one in two_and_a_stranger() if one["id"] != "a"]
    with exporting(tmp_path / "study", [*resources, listed], more=more) as clinic:
        names = clinic.study.config.with_name("list.txt")
        names.write_text("urn:mrn|7\n", encoding="utf-8")
        assert clinic.pull().code == 0
        assert clinic.members() == ["a"]
        names.write_text("urn:mrn|7\nb\n", encoding="utf-8")
        assert clinic.pull().code == 0
        assert clinic.members() == ["a", "b"]
        assert clinic.since() == ["", ""]
        assert "Observation/b-before" in clinic.held()


def test_the_whole_server_and_its_medications(tmp_path: Path) -> None:
    drug = {"coding": [{"system": "http://www.whocc.no/atc", "code": "L04AG11"}]}
    medication = {"resourceType": "Medication", "id": "vial", "code": drug}
    given = infusion("c-i", "c", "2026-01-05") | {"medicationReference": {"reference": "Medication/vial"}}
    del given["medicationCodeableConcept"]
    resources = [*two_and_a_stranger(), medication, person("c"), given]
    for level in ("system", "patient"):  # at the level of patients nobody's Medication is exported
        with exporting(tmp_path / level, resources, more=f'[site.bulk]\nlevel = "{level}"\n') as clinic:
            ran = clinic.pull()
            assert ran.code == 0, ran.err
            assert clinic.members() == ["a", "b", "c"]
            assert "Medication/vial" in clinic.held()
            assert ("GET fhir/Medication" in clinic.server.lines()) == (level == "patient")
            clinic.server.held.put(medication | {"status": "inactive"})
            assert clinic.pull().code == 0
            versions = clinic.study.ask("SELECT version FROM resource WHERE id = 'vial'")
            assert versions == [("2",)], "what a Medication says now is read, as by a search"


def test_types_that_are_not_exported_are_searched_for(tmp_path: Path) -> None:
    more = '[site.bulk]\ntypes = ["Patient", "Observation"]\n'
    with exporting(tmp_path / "study", two_and_a_stranger(), more=more) as clinic:
        ran = clinic.pull()
        assert ran.code == 0, ran.err
        assert clinic.members() == ["a", "b"]
        assert clinic.held() == OF_A_AND_B
        assert dict(clinic.server.jobs[0].asked)["_type"] == "Patient,Observation"
        queries = clinic.units(all_of_them=True)
        assert "Condition?patient" in queries
        assert "Observation?patient" not in queries
        assert clinic.study.type("compute").code == 0
        assert clinic.study.ask("SELECT count(*) FROM case_document") == [(2,)]


def test_single_patients_cannot_be_exported(clinic: Exporting) -> None:
    ran = clinic.pull("--patient", "Patient/stranger")
    assert ran.code == 2
    assert "is pulled by a bulk export, which is of everybody" in ran.out
    assert clinic.server.jobs == []


def test_a_retry_where_nothing_is_open_begins_nothing(clinic: Exporting) -> None:
    clinic.pull()
    assert clinic.pull("--retry-failed").code == 0
    assert len(clinic.server.jobs) == 1


def test_a_site_that_is_searched_again_forgets_its_exports(clinic: Exporting) -> None:
    clinic.pull()
    clinic.configure('mode = "bulk"', 'mode = "search"')
    assert clinic.pull().code == 0
    assert not [query for query in clinic.units(all_of_them=True) if query.startswith(("bulk: ", "cohort: bulk: "))]
    assert clinic.held() == OF_A_AND_B
    clinic.configure('mode = "search"', 'mode = "bulk"')
    assert clinic.pull().code == 0
    assert clinic.since() == ["", ""]
    assert not [query for query in clinic.units(all_of_them=True) if "?patient" in query]


def test_what_the_export_does_not_take_is_left_out_and_said(clinic: Exporting) -> None:
    clinic.server.manners.refuses = ("_typeFilter", "_since")
    clinic.configure(
        "enabled = false\n", 'enabled = false\n[site.bulk]\ntype_filters = ["Observation?category=exam,survey"]\n'
    )
    ran = clinic.pull()
    assert ran.code == 0
    assert "the server's export does not take _typeFilter" in ran.err
    clinic.pull()
    assert clinic.since() == ["", ""]
    assert clinic.units() == {}


def test_doctor_says_whether_an_export_is_listed(clinic: Exporting) -> None:
    ran = clinic.study.type("doctor")
    assert "bulk export: not listed at level patient" in ran.out
    assert clinic.server.jobs == []


@pytest.mark.parametrize("how", ["encoded", "gz"])
def test_packed_files_are_taken_in_as_they_are(clinic: Exporting, how: str) -> None:
    clinic.server.manners.files = how
    clinic.server.manners.lines_per_file = 2
    assert clinic.pull().code == 0
    assert clinic.held() == OF_A_AND_B
    assert len(clinic.server.lines("GET files")) == 6


def test_files_at_another_host_come_without_a_credential_where_the_site_allows_it(clinic: Exporting) -> None:
    clinic.server.manners.file_urls = "foreign"
    assert clinic.pull().code == 3
    assert {reason for _, reason in clinic.units().values()} == {"foreign-address"}
    host = clinic.server.store_host
    clinic.configure("[site.auth]", f'redirect_hosts = ["{host}"]\n[site.auth]')
    assert clinic.pull().code == 0
    assert clinic.held() == OF_A_AND_B


def test_everybody_in_the_export_may_be_the_cohort(tmp_path: Path) -> None:
    with exporting(tmp_path / "study", two_and_a_stranger(), more='[site.cohort]\nby = "everybody"\n') as clinic:
        assert clinic.pull().code == 0
        assert clinic.members() == ["a", "b", "stranger"]
        clinic.server.held.put(person("late"))
        assert clinic.pull().code == 0
        assert clinic.members() == ["a", "b", "late", "stranger"]
        assert [bool(since) for since in clinic.since()] == [False, True, False]


def test_an_export_that_is_refused_says_nothing_of_the_drugs_codes(clinic: Exporting) -> None:
    for method in ("GET", "POST"):
        clinic.server.fail(f"{method} fhir/Patient/$export", Reply(403), times=9)
    ran = clinic.pull()

    assert ran.code == 5
    assert "0 patients in the cohort" in ran.out
    assert "nobody was given" not in ran.err
