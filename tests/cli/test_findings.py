"""dm-fhir findings: each record with its finding, for people, for machines and as a table; status counts them."""

from __future__ import annotations

import csv
import stat
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from dm_fhir.model.findings import KINDS, finding
from dm_fhir.store.cases import CaseRow, FindingRow, put_case

if TYPE_CHECKING:
    from tests.cli.conftest import Study


def found(study: Study, patient: str, *codes: str, site: str = "leon") -> None:
    """Put a case with findings into the store, about Observation/0, /1, …"""
    made = [finding(code, f"Observation/{number}", "value") for number, code in enumerate(codes)]
    rows = [FindingRow(f.code, f.severity, f.reference, f.path, f.done) for f in made]
    put_case(study.db, site, CaseRow(patient, "case", b"{}"), "f", 1, [], rows)


def test_people_see_the_gravest_first_with_what_it_means_and_what_mends_it(study: Study) -> None:
    found(study, "Patient/1", *["unit_missing"] * 4, "zone_assumed")
    found(study, "Patient/2", "unit_missing", "unreadable")
    ran = study.type("findings", "--site", "leon")
    kind = KINDS["unit_missing"]
    assert ran.code == 3
    assert ran.lines[0] == "leon: 7 findings in 2 patients"
    assert ran.lines[1] == f"  error: unreadable, 1 in 1 patient: {KINDS['unreadable'].meaning}"
    assert ran.lines[4:10] == [
        f"  warning: unit_missing, 5 in 2 patients: {kind.meaning}",
        *(f"    Observation/{number} (value): the value is not used" for number in (0, 0, 1)),
        "    … and 2 more; all of them: dm-fhir findings --site leon --code unit_missing --csv unit_missing.csv",
        f"    to mend: {kind.mend}",
    ]
    assert ran.lines[-1].startswith("findings: exit 3")


def test_a_site_without_cases_is_not_one_without_findings(study: Study) -> None:
    found(study, "Patient/1")
    ran = study.type("findings")
    assert ran.code == 0
    assert ran.lines[:2] == [
        "leon: 0 findings in 0 patients",
        "madrid: nothing computed yet; dm-fhir compute --site madrid",
    ]


def test_machines_get_every_finding_and_what_the_codes_mean(study: Study) -> None:
    found(study, "Patient/1", *["unit_missing"] * 9)
    found(study, "Patient/2", "unit_missing", "zone_assumed")
    answer = study.type("findings", "--site", "leon", "--json").json
    (site,) = answer["sites"]
    assert (answer["exit_code"], site["findings"]) == (0, {"unit_missing": 10, "zone_assumed": 1})
    assert site["finding_patients"] == {"unit_missing": 2, "zone_assumed": 1}
    assert len(site["listed"]) == 11
    assert site["listed"][0] == {
        "patient": "Patient/1", "code": "unit_missing", "severity": "warning", "reference": "Observation/0",
        "path": "value", "done": "the value is not used",
    }  # fmt: skip
    assert answer["kinds"]["zone_assumed"]["severity"] == "information"


def test_a_table_has_every_finding_of_the_codes_and_is_private(study: Study, tmp_path: Path) -> None:
    found(study, "Patient/1", "unit_missing", "zone_assumed", "unreadable")
    found(study, "Patient/9", "zone_assumed", site="madrid")
    file = tmp_path / "findings.csv"
    ran = study.type("findings", "--code", "zone_assumed", "--csv", str(file))
    with file.open(newline="") as text:
        rows = list(csv.reader(text))
    assert rows == [
        ["site", "patient", "code", "severity", "reference", "path", "done"],
        ["leon", "Patient/1", "zone_assumed", "information", "Observation/1", "value", KINDS["zone_assumed"].done],
        ["madrid", "Patient/9", "zone_assumed", "information", "Observation/0", "value", KINDS["zone_assumed"].done],
    ]
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert (ran.code, ran.err) == (0, f"2 findings to {file}\n")


def test_a_table_on_standard_output_is_alone_there(study: Study) -> None:
    found(study, "Patient/1", "unit_missing")
    assert [line.split(",")[0] for line in study.type("findings", "--csv", "-").lines] == ["site", "leon"]
    assert study.type("findings", "--csv", "-", "--json").code == 2


def test_a_file_that_cannot_be_written_is_named(study: Study) -> None:
    ran = study.type("findings", "--csv", "nowhere/findings.csv")
    assert (ran.code, ran.err) == (2, "dm-fhir: nowhere/findings.csv cannot be written: No such file or directory\n")


@pytest.mark.parametrize("options", [("--code", "unit_mising"), ("--site", "lion")])
def test_a_name_that_nothing_has_is_refused(study: Study, options: tuple[str, str]) -> None:
    assert study.type("findings", *options).code == 2


def test_status_counts_them_by_code_with_their_meaning(study: Study) -> None:
    study.unit("q")
    found(study, "Patient/1", "zone_assumed", "unit_missing", "unit_missing", "unreadable")
    found(study, "Patient/2", "unit_missing")
    lines = study.type("status", "--site", "leon").lines
    assert "; 5 findings" in lines[1]
    assert lines[2].startswith("  unreadable: Observation/3 (value)")
    assert lines[3:-1] == [
        f"  warning: 3 unit_missing in 2 patients: {KINDS['unit_missing'].meaning}",
        f"  information: 1 zone_assumed in 1 patient: {KINDS['zone_assumed'].meaning}",
        "  which records: dm-fhir findings --site leon",
    ]
    site = study.type("status", "--json").json["sites"][0]
    assert site["findings"] == {"unit_missing": 3, "unreadable": 1, "zone_assumed": 1}
    assert site["finding_patients"] == {"unit_missing": 2, "unreadable": 1, "zone_assumed": 1}


def test_codes_of_another_version_are_shown_as_they_are(study: Study) -> None:
    row = FindingRow("of_tomorrow", "warning", "Observation/1", None, "nothing yet")
    put_case(study.db, "leon", CaseRow("Patient/1", "case", b"{}"), "f", 1, [], [row])
    assert study.type("findings", "--site", "leon").lines[1:3] == [
        "  warning: of_tomorrow, 1 in 1 patient: of tomorrow",
        "    Observation/1: nothing yet",
    ]
