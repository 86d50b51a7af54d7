"""export, merge and report --from as they are typed: every format, whole or not at all, and nothing of the patient in any byte."""

import csv
import json
import re
import sqlite3
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet
import pytest
from msgspec.structs import replace
from tests.cli.conftest import Study
from tests.report.full_case import BORN, SECRET, full_case

from dm_fhir.model.case import Administration, Case, Identifier, Outcome, Source, Subject
from dm_fhir.model.document import encode, read_document
from dm_fhir.report.pseudonym import pseudonym
from dm_fhir.store.cases import CaseRow, put_case

FORMATS = {"json": "x.json", "csv": "x", "xlsx": "x.xlsx", "parquet": "x", "fhir": "x.json", "ndjson": "x.ndjson"}
KEY = b"the key of two hospitals"


def put(db: sqlite3.Connection, case: Case) -> None:
    put_case(db, case.site, CaseRow(case.id, "case", encode(case)), "f", 1, (), ())


def patient(site: str, name: str, number: str) -> Case:
    source = Source(site, f"MedicationAdministration/{name}")
    given = Administration(source, status="completed", when="2024-03-05T10:00:00+01:00")
    subject = Subject(Source(site, f"Patient/{name}"), identifiers=(Identifier("urn:nat", number),), birth_date=BORN)
    outcome = Outcome("first_exposure", "R-EXP", "1", date="2024-03-05", when="2024-03-05")
    return Case(f"Patient/{name}", site, "Europe/Madrid", subject, administrations=(given,), outcomes=(outcome,))


@pytest.fixture
def two(study: Study) -> Study:
    """One person at both hospitals, and somebody else at one of them."""
    for case in (patient("leon", "1", "12345Z"), patient("leon", "2", "7"), patient("madrid", "9", "12345z")):
        put(study.db, case)
    setting(study, 'person_identifier = "urn:nat"')
    return study


def setting(study: Study, line: str) -> None:
    text = study.config.read_text(encoding="utf-8")
    study.config.write_text(text.replace("[study]", f"[study]\n{line}", 1), encoding="utf-8")


def everything(path: Path) -> str:
    """All that is in a file or folder: its bytes, what is packed in it, and what a reader gets out of it."""
    found = []
    for file in [path, *path.rglob("*")] if path.is_dir() else [path]:
        if not file.is_file():
            continue
        found.append(file.read_bytes().decode("latin-1"))
        if file.suffix == ".xlsx":
            with zipfile.ZipFile(file) as packed:
                found += [packed.read(name).decode("utf-8") for name in packed.namelist()]
        if file.suffix == ".parquet":
            found.append(str(pyarrow.parquet.read_table(file).to_pylist()))
    return "\n".join(found)


@pytest.mark.parametrize("dates", ["kept", "shifted", "days"])
@pytest.mark.parametrize("form", FORMATS)
def test_nothing_of_the_patient_is_in_any_byte(form: str, dates: str, study: Study, tmp_path: Path) -> None:
    put(study.db, replace(full_case(), site="leon"))
    setting(study, f'dates = "{dates}"')
    target = tmp_path / FORMATS[form]

    ran = study.type("export", "--format", form, "-o", str(target))

    assert ran.code == 0
    text = everything(target) + ran.out + ran.err
    for word in (SECRET, SECRET.split(",")[0], "Eulalia", BORN, BORN[:7]):
        assert word not in text
    assert ("2024-03-05" in text) == (dates == "kept")
    identified = study.type("export", "--format", form, "-o", str(target), "--identified")
    assert identified.code == 0
    if form in ("fhir", "ndjson"):  # FHIR cannot name a patient so: nothing of them is written, and it says so
        assert "Observation: an outcome of which FHIR cannot say what it rests on" in identified.out + identified.err
    else:
        assert SECRET in everything(target)


@pytest.mark.parametrize("form", FORMATS)
def test_every_format_is_written_privately_and_said_to_be(form: str, two: Study, tmp_path: Path) -> None:
    target = tmp_path / "out" / FORMATS[form]
    target.parent.mkdir()
    ran = two.type("export", "--format", form, "-o", str(target), "--json")

    assert ran.code == 0
    told = ran.json
    assert (told["command"], told["state"], told["format"], told["output"], told["dates"]) == (
        "export",
        "complete",
        form,
        str(target),
        "kept",
    )
    assert [(one["site"], one["cases"]) for one in told["sites"]] == [("leon", 2), ("madrid", 1)]
    assert told["written"]["Patient" if form in ("fhir", "ndjson") else "cases"] == 3
    files = [path for path in target.parent.rglob("*") if path.is_file()]
    assert {path.stat().st_mode & 0o777 for path in files} == {0o600}
    assert [path.name for path in target.parent.iterdir()] == [target.name]
    if target.is_dir():
        assert target.stat().st_mode & 0o777 == 0o700
    again = two.type("export", "--format", form, "-o", str(target))
    assert (again.code, again.out) == (0, "")
    assert re.match(rf"exported 3 cases to {re.escape(str(target))}", again.err)


@pytest.mark.parametrize("form", ["json", "fhir", "ndjson"])
def test_standard_output_has_the_same(form: str, two: Study, tmp_path: Path) -> None:
    two.type("export", "--format", form, "-o", str(tmp_path / "file"))
    assert two.type("--quiet", "export", "--format", form).out == (tmp_path / "file").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("--format", "csv"), "--format csv writes a folder: name it with --output PATH"),
        (("--format", "xlsx"), "--format xlsx writes a file: name it with --output PATH"),
        (("--json",), "name --output PATH"),
        (("--from", "x.json", "--identified"), "without --site and --identified"),
        (("--from", "x.json", "--site", "leon"), "without --site and --identified"),
    ],
)
def test_what_cannot_be_meant_is_a_fault_of_usage(words: tuple[str, ...], why: str, two: Study) -> None:
    ran = two.type("export", *words)
    assert ran.code == 2
    assert why in ran.err


@pytest.mark.parametrize("form", ["json", "csv"])
def test_an_export_that_fails_leaves_what_was_there(
    form: str, two: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "out"
    two.type("export", "--format", form, "-o", str(target))
    before = everything(target)

    def failing(*_: object) -> Iterator[Any]:
        yield patient("leon", "1", "1")
        raise KeyboardInterrupt

    monkeypatch.setattr("dm_fhir.report.series.each_case", lambda *_, **__: failing())
    ran = two.type("export", "--format", form, "-o", str(target))

    assert ran.code == 130
    assert everything(target) == before
    assert [path.name for path in tmp_path.glob("*.partial")] == []


def test_a_folder_with_other_things_in_it_is_left_alone(two: Study, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.odt").write_text("years of work", encoding="utf-8")
    ran = two.type("export", "--format", "csv", "-o", str(tmp_path / "mine"))
    assert ran.code == 2
    assert "holds other things (thesis.odt); it is left as it is" in ran.err
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["thesis.odt"]
    file = two.type("export", "--format", "parquet", "-o", str(tmp_path / "mine" / "thesis.odt"))
    assert (file.code, "is a file; it is left as it is" in file.err) == (2, True)
    nowhere = two.type("export", "--format", "csv", "-o", str(tmp_path / "no" / "where"))
    assert (nowhere.code, "cannot be written: No such file or directory" in nowhere.err) == (2, True)


def test_the_document_says_how_dates_were_treated_and_explain_still_knows_it(two: Study) -> None:
    setting(two, 'dates = "shifted"')
    series = read_document(two.type("--quiet", "export").out.encode(), "x")
    assert series.dates == "shifted"
    assert [case.administrations[0].when != "2024-03-05T10:00:00+01:00" for case in series.cases] == [True] * 3
    ran = two.type("explain", f"leon:{series.cases[0].id}", "--json")
    assert ran.json["sites"][0]["case"] == "Patient/1"
    identified = read_document(two.type("--quiet", "export", "--identified").out.encode(), "x")
    assert (identified.dates, identified.cases[0].administrations[0].when) == ("kept", "2024-03-05T10:00:00+01:00")


def test_the_order_of_the_cases_tells_nothing_of_the_hospitals_ids(study: Study) -> None:
    for number in range(1, 10):
        put(study.db, patient("leon", str(number), str(number)))
    left, identified = (
        [case.id for case in read_document(study.type("--quiet", "export", *words).out.encode(), "x").cases]
        for words in ((), ("--identified",))
    )
    assert identified == [f"Patient/{number}" for number in range(1, 10)]
    assert left == sorted(pseudonym(KEY, "leon", name) for name in identified)


def test_the_report_of_the_store_shows_the_dates_as_they_are(two: Study, tmp_path: Path) -> None:
    def page() -> str:
        two.type("report", "-o", str(tmp_path / "r.html"))
        return re.sub(r"\d\d:\d\d:\d\d", "", (tmp_path / "r.html").read_text(encoding="utf-8"))

    kept = page()
    setting(two, 'dates = "shifted"')
    assert page() == kept
    assert "2024-03-05" in kept
    assert BORN not in kept


# merge, and what is made of merged documents


@pytest.fixture
def documents(two: Study) -> tuple[Study, str, str]:
    """The document of each hospital."""
    for site in ("leon", "madrid"):
        two.type("export", "--site", site, "-o", f"{site}.json")
    return two, "leon.json", "madrid.json"


def test_two_sites_in_one_and_the_person_at_both_named(documents: tuple[Study, str, str], tmp_path: Path) -> None:
    study, leon, madrid = documents
    ran = study.type("merge", leon, madrid, "-o", "all.json", "--title", "Both", "--json")

    assert ran.code == 0
    one, other = (pseudonym(KEY, site, f"Patient/{name}") for site, name in (("leon", "1"), ("madrid", "9")))
    [person] = ran.json["persons"]
    assert person["cases"] == [f"leon:{one}", f"madrid:{other}"]
    assert (ran.json["cases"], ran.json["repeated"], ran.json["without_person"], ran.json["differences"]) == (
        3,
        0,
        0,
        [],
    )
    assert [(one["file"], one["cases"], one["sites"]) for one in ran.json["files"]] == [
        (leon, 2, ["leon"]),
        (madrid, 1, ["madrid"]),
    ]
    assert (tmp_path / "all.json").stat().st_mode & 0o777 == 0o600
    series = read_document((tmp_path / "all.json").read_bytes(), "all.json")
    assert (series.title, len(series.cases)) == ("Both", 3)
    text = study.type("merge", leon, madrid, leon, "-o", "again.json").err
    assert f"one person, several cases, all kept: leon:{one} and madrid:{other}" in text
    assert text.splitlines()[-1] == "merged 3 cases of 2 sites to again.json"
    assert study.type("validate", "all.json").code == 0


def test_a_merge_needs_no_config_and_what_does_not_go_together_writes_nothing(
    documents: tuple[Study, str, str], tmp_path: Path
) -> None:
    study, leon, madrid = documents
    study.config.unlink()
    assert study.type("merge", leon, madrid, "-o", "all.json").code == 0
    other = json.loads((tmp_path / madrid).read_text(encoding="utf-8"))
    other["definitions"]["cdasi_19"] = "mild"
    (tmp_path / madrid).write_text(json.dumps(other), encoding="utf-8")
    (tmp_path / "all.json").unlink()

    refused = study.type("merge", leon, madrid, "-o", "all.json", "--json")
    assert (refused.code, refused.json["state"], (tmp_path / "all.json").exists()) == (2, "failed", False)
    assert "madrid.json: definitions.cdasi_19 is not that of leon.json" in refused.err
    allowed = study.type("merge", leon, madrid, "-o", "all.json", "--allow-differences", "--json")
    assert allowed.json["differences"] == ["madrid.json: definitions.cdasi_19 is not that of leon.json"]
    study.type("report", "--from", "all.json", "-o", "r.html")
    assert "madrid.json: definitions.cdasi_19 is not that of leon.json" in (tmp_path / "r.html").read_text(
        encoding="utf-8"
    )


def test_the_report_runs_on_documents_without_a_config(documents: tuple[Study, str, str], tmp_path: Path) -> None:
    study, leon, madrid = documents
    study.type("merge", leon, madrid, "-o", "all.json")
    study.config.unlink()

    merged, files = (
        study.type("report", *words, "-o", "r.html")
        for words in (("--from", "all.json"), ("--from", leon, "--from", madrid))
    )

    assert (merged.code, files.code, merged.out) == (0, 0, "r.html\n")
    page = (tmp_path / "r.html").read_text(encoding="utf-8")
    assert (tmp_path / "r.html").stat().st_mode & 0o777 == 0o600
    assert "3 patients with at least one completed infusion of anifrolumab at 2 sites were analysed." in page
    assert "1 person has several of these cases and is counted in each, so these are 2 persons" in page
    assert "Age at the first infusion of anifrolumab: 62.0 ± 0.0 years" in page
    assert study.type("report", "--from", "all.json", "--identified").code == 2
    missing = study.type("report", "--from", "nix.json")
    assert (missing.code, "nix.json cannot be read: No such file or directory" in missing.err) == (2, True)


def test_a_merged_document_becomes_tables(documents: tuple[Study, str, str], tmp_path: Path) -> None:
    study, leon, madrid = documents
    study.type("merge", leon, madrid, "-o", "all.json")
    assert study.type("export", "--from", "all.json", "--format", "csv", "-o", "tables").code == 0
    with (tmp_path / "tables" / "cases.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["site"] for row in rows] == ["leon", "leon", "madrid"]
    assert len({row["person"] for row in rows}) == 2
    study.type("export", "--from", "all.json", "-o", "again.json")
    assert (tmp_path / "again.json").read_bytes() == (tmp_path / "all.json").read_bytes()


def test_a_site_without_cases_is_exported_and_reported_too(study: Study, tmp_path: Path) -> None:
    for form, name in FORMATS.items():
        target = tmp_path / form / name
        target.parent.mkdir()
        assert study.type("export", "--format", form, "-o", str(target)).code == 0
    assert json.loads((tmp_path / "json" / "x.json").read_text(encoding="utf-8"))["cases"] == []
    assert study.type("merge", "json/x.json", "-o", "all.json").code == 0
    assert study.type("report", "--from", "all.json", "-o", "r.html").code == 0
