"""The support bundle: only words from closed lists are in it, so nothing of a patient can be, and nothing of one is.

Two proofs. Each word of a bundle is one that the program itself knows, or a number, a version, a time of a run. And the
bundles of three studies (both sample cohorts, a clinic whose server says too much, a store made hostile in every column) are
searched for everything that stands in a record: each text of four letters or more, names and identifiers of any length, dates
in each way of writing them, ids, and numbers of four characters or more; but for what is in the bundle of an empty
study of the same config too, which cannot be theirs.
"""

from __future__ import annotations

import io
import json
import os
import re
import stat
import zipfile
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dm_fhir.cli.main import COMMANDS as EVERY_COMMAND
from dm_fhir.demo.cohorts import four_patients, twenty_four_patients
from dm_fhir.fhir.resource import read_resource
from dm_fhir.fhir.vendors import CATEGORIES, vendors
from dm_fhir.model.findings import KINDS, SEVERITIES
from dm_fhir.store.cases import CaseRow, FindingRow, OutcomeRow, put_case
from dm_fhir.store.database import open_store
from dm_fhir.store.facts import remember
from dm_fhir.store.filing import put_resources
from dm_fhir.store.ledger import STATES, Unit, begin_run, now, put_unit
from dm_fhir.store.pushes import Pushed, put_push
from dm_fhir.store.quarantine import set_aside
from dm_fhir.store.stops import note_stop
from dm_fhir.sync import public_words as words
from dm_fhir.sync.metrics import PUSH_STATES
from dm_fhir.sync.support import PACKAGES, TABLES
from dm_fhir.validation import schema_text

from ..sync.clinic import SENTINELS, Clinic, refusing, serving

if TYPE_CHECKING:
    from tests.cli.conftest import Study

Json = dict[str, Any]
_NUMBERS = msgspec.json.Encoder(decimal_format="number")
#: Elements whose text is a person's, however short it is.
PERSONAL = ("family", "given", "birthDate", "value", "id", "text", "display", "line", "city")


def bundle(study: Study, *options: str) -> dict[str, str]:
    """The files of a study's bundle by name."""
    target = study.config.with_name("bundle.zip")
    ran = study.type("support-bundle", "-o", str(target), *options)
    assert ran.code == 0, ran.err
    return unpacked(target.read_bytes())


def unpacked(data: bytes) -> dict[str, str]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert all(info.date_time == (1980, 1, 1, 0, 0, 0) for info in archive.infolist())
        return {name.removeprefix("dm-fhir-support/"): archive.read(name).decode() for name in archive.namelist()}


def vocabulary() -> set[str]:
    """Every word that may be in a bundle, but for those of its own keys."""
    config: set[str] = set()

    def choices(part: object) -> None:
        if isinstance(part, dict):
            config.update(one for one in part.get("enum", []) if isinstance(one, str))
            config.update(part.get("properties", {}))
            for one in part.values():
                choices(one)
        elif isinstance(part, list):
            for one in part:
                choices(one)

    choices(json.loads(schema_text("site-config")))
    return {
        *config, *words.TYPES, *words.REASONS, *words.NOTES, *words.PATIENT_STATES, *words.FACTS, *CATEGORIES, *vendors(),
        *STATES, *PUSH_STATES, *KINDS, *SEVERITIES, *TABLES, *PACKAGES, *EVERY_COMMAND, words.OTHER, "set", "env:…", "file:…",
        "entries", "documented", "undocumented", "sent", "yes", "no", "works", "whole plan", "cohort: list of patients",
        "cohort: Group", "file", "import", *words._FACT_REASONS, "Linux", "x86_64", "aarch64", "cpython", "Europe/Madrid",
    }  # fmt: skip


#: The keys that the bundle itself has.
KEYS = {
    "dm_fhir",
    "store",
    "store_of_this_version",
    "case_series_format",
    "python",
    "implementation",
    "sqlite",
    "system",
    "release",
    "machine",
    "packages",
    "bytes",
    "rows",
    "other_tables",
    "is_sound",
    "run",
    "command",
    "started",
    "ended",
    "exit_code",
    "site",
    "all_read_until",
    "patients",
    "resources",
    "set_aside",
    "set_aside_and_acknowledged",
    "stopped",
    "step",
    "since",
    "tried",
    "units",
    "unit",
    "patient",
    "query",
    "state",
    "reason",
    "has_message",
    "expected",
    "received",
    "unique",
    "pages",
    "retries",
    "notes",
    "watermark",
    "read_in_full",
    "not_before",
    "findings",
    "code",
    "severity",
    "written",
    "transmissions",
    "vendor",
    "facts",
    "fact",
    "value",
    "name",
}
_TIME = re.compile(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ")
_UNIT = re.compile(r"[0-9a-f]{10}")
_SITE = re.compile(r"site-\d+")
_VERSION = re.compile(r"\d[0-9A-Za-z.+~-]*")
_QUERY = re.compile(r"(cohort: )?([A-Za-z]+)(( by |\?)([a-z_-]+)(&category=([a-z-]+))?|, whole|/_history)?")
_REASON = re.compile(r"(http|refused-on-page)-\d{1,5}")
_FACT = re.compile(r"([a-z_]+) (\S+)")


def unknown(files: dict[str, str]) -> list[str]:
    """What is in the bundle and in no list."""
    known = vocabulary()
    found: list[str] = []

    def is_known(text: str, key: str) -> bool:
        if text in known:
            return True
        query, fact = _QUERY.fullmatch(text), _FACT.fullmatch(text)
        if key == "query" and query:
            parts = (query[2] in words.TYPES, (query[5] or "code") in words._PARAMETERS, (query[7] or "other") in (*CATEGORIES, "other"))  # fmt: skip
            return all(parts)
        if key == "fact" and fact:
            return fact[1] in words.FACTS and fact[2] in {*words.TYPES, *CATEGORIES, *words._WRITES}
        patterns = {
            "unit": _UNIT, "site": _SITE, "name": _SITE, "reason": _REASON, "value": re.compile(r"\d{1,5}"), "python": _VERSION,
            "dm_fhir": _VERSION, "sqlite": _VERSION, "release": _VERSION, **dict.fromkeys(PACKAGES, _VERSION),
            **dict.fromkeys(("started", "ended", "watermark", "read_in_full", "not_before", "all_read_until", "since", "tried"), _TIME),
        }  # fmt: skip
        return key in patterns and patterns[key].fullmatch(text) is not None

    def walk(value: object, key: str) -> None:
        if isinstance(value, dict):
            found.extend(name for name in value if name not in KEYS | known and not _REASON.fullmatch(name))
            for name, one in value.items():
                walk(one, name)
        elif isinstance(value, list):
            for one in value:
                walk(one, key)
        elif (isinstance(value, str) and not is_known(value, key)) or (
            isinstance(value, int) and not isinstance(value, bool) and value > 9_999_999 and key != "bytes"
        ):
            found.append(f"{key}: {value}")

    for name, text in files.items():
        if name.endswith(".json"):
            walk(json.loads(text), "")
    return found


def needles(resources: list[Json]) -> set[str]:
    """Everything of these records that is searched for."""
    found: set[str] = set()

    def walk(value: object, key: str) -> None:
        if isinstance(value, dict):
            for name, one in value.items():
                walk(one, name)
        elif isinstance(value, list):
            for one in value:
                walk(one, key)
        elif isinstance(value, str):
            day = re.match(r"\d{4}-\d\d-\d\d", value)
            parts = [value, *re.split(r"[\s/|,;()]+", value), *([day[0], day[0].replace("-", "")] if day else [])]
            # A short number, be it a part of a name ("Patient 09"), is also the minute of some run.
            found.update(part for part in parts if len(part) >= (2 if key in PERSONAL and not part.isdigit() else 4))
        elif isinstance(value, int | Decimal | float) and not isinstance(value, bool) and len(str(value)) >= 4:
            found.add(str(value))

    for one in resources:
        walk(one, "")
    return found


def found_in(files: dict[str, str], searched: set[str], empty: dict[str, str]) -> list[str]:
    """Which of them stand in the bundle as words of their own, in upper or lower case, and not in the empty study's too."""
    text, other = ("\n".join(some.values()).lower() for some in (files, empty))
    tokens = set(re.findall(r"[\w.-]+", text)) | set(re.findall(r"\w+", text))
    common = set(re.findall(r"[\w.-]+", other)) | set(re.findall(r"\w+", other)) | {one.lower() for one in vocabulary()}
    return [
        one
        for one in sorted(searched)
        if one.lower() not in common
        and not all(part in common for part in re.findall(r"\w+", one.lower()))
        and (one.lower() in tokens if re.fullmatch(r"[\w.-]+", one) and len(one) < 6 else one.lower() in text)
    ]


def empty_bundle(study: Study, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The bundle of the same config with an empty store."""
    with monkeypatch.context() as patch:
        path = study.config.with_name("empty.sqlite")
        open_store(path, "anifrolumab").close()
        patch.setenv("DM_FHIR_STORE", str(path))
        return bundle(study)


def read(resources: list[Json]) -> list[Any]:
    return [read_resource(_NUMBERS.encode(one)) for one in resources]


def fill(study: Study, resources: list[Json]) -> None:
    """Put records of site leon into the store, with a unit for each patient, and compute them."""
    put_resources(study.db, "leon", read(resources), 1)
    patients = {f"Patient/{one['id']}": one for one in resources if one["resourceType"] == "Patient"}
    for reference in patients:
        for query in ("Patient", "Observation?patient", "MedicationAdministration?patient"):
            study.unit(query, patient=reference, watermark=now(), read_in_full=now())
    study.type("compute")
    for reference, one in patients.items():
        said = json.dumps(one, default=str)
        study.unit("Condition?patient", "refused", patient=reference, reason="refused", message=said)
    for number, row in enumerate(study.db.execute("SELECT patient, variable, about, body FROM outcome").fetchall()):
        state = PUSH_STATES[number % len(PUSH_STATES)]
        put_push(
            study.db, "leon", Pushed(f"k{number}", row[0], row[1], row[2], state, "o7", "1", "h", str(row), row[3]), 1
        )


@pytest.mark.parametrize("cohort", ["four", "twenty-four"])
def test_nothing_of_the_sample_cohorts_is_in_it(study: Study, monkeypatch: pytest.MonkeyPatch, cohort: str) -> None:
    sites = four_patients() if cohort == "four" else twenty_four_patients()
    resources = [one for site in sites for one in site.resources]
    fill(study, resources)
    files = bundle(study)
    searched = needles(resources)
    assert len(searched) > 300
    assert found_in(files, searched, empty_bundle(study, monkeypatch)) == []
    assert unknown(files) == []
    outcomes = json.loads(files["outcomes.json"])[0]["written"]
    assert min(outcomes.values()) > 5, "the outcomes were not computed"


def test_nothing_of_a_clinic_whose_server_says_too_much_is_in_it(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(Clinic(spoil=[refusing("Condition"), refusing("MedicationStatement", 500)])) as clinic:
        text = study.config.read_text().replace("https://leon.test/r4", clinic.endpoint)
        study.config.write_text(text.replace('\n[[site]]\nname = "madrid"', '[site.pull]\ntries = 1\n\n[[site]]\nname = "madrid"'), encoding="utf-8")  # fmt: skip
        ran = study.type("sync", "--site", "leon")
        held = clinic.held
    assert ran.code == 3
    assert "Eulalia" in ran.out, "the clinic said nothing"
    files = bundle(study)
    assert found_in(files, {*needles(held), *SENTINELS}, empty_bundle(study, monkeypatch)) == []
    assert unknown(files) == []
    units = json.loads(files["ledger.json"])[0]["units"]
    reasons = {(unit["query"], unit["reason"]) for unit in units if unit["state"] != "complete"}
    assert ("Condition?patient", "refused") in reasons


NAME, BORN = "Eulalia Zwetschkenbaum", "1961-11-23"


@pytest.fixture
def hostile(study: Study) -> Study:
    """A store with a name in every column that takes a text, and dates of birth where times are."""
    db = study.db
    begin_run(db, NAME, NAME)
    db.execute("UPDATE run SET ended = ?", (f"{BORN}T00:00:00Z",))
    patient = f"Patient/{NAME}"
    for number, query in enumerate((f"file: {NAME}.json", f"cohort: Group/{NAME}", NAME, f"Observation?patient&category={NAME}",
                                    f"import: {NAME}.csv by {NAME}.toml", f"Observation?{NAME}", f"{NAME}?patient")):  # fmt: skip
        put_unit(db, Unit(
            "leon", f"{patient}-{number}", query, reason=NAME, message=NAME, notes={NAME: 1, f"filter_ignored:{NAME}": 2},
            watermark=f"{BORN}T00:00:00Z", run=1, asked=NAME, read_in_full=BORN, not_before=NAME, expected=19611123,
        ))  # fmt: skip
    note_stop(db, "leon", "pull", 5, NAME, NAME, 1)
    db.execute("UPDATE stop SET since = ?", (f"{BORN}T00:00:00Z",))
    set_aside(db, "leon", patient, f"file: {NAME}", f"{NAME}.json:1", NAME, NAME.encode(), 1)
    put_case(
        db, "leon", CaseRow(patient, NAME, NAME.encode()), NAME, 1, [OutcomeRow(patient, NAME, BORN, NAME.encode())],
        [FindingRow(NAME, NAME, NAME, NAME, NAME)],
    )  # fmt: skip
    put_push(db, "leon", Pushed(NAME, patient, NAME, BORN, "conflict", NAME, NAME, NAME, NAME, NAME.encode(), NAME), 1)
    for name, value in ((NAME, NAME), ("server", f"{NAME} 4.18"), ("codes Observation", NAME), (f"category {NAME}", "no"),
                        ("page_size", "19611123"), ("write transaction", f"{NAME}: it drops the identifier")):  # fmt: skip
        remember(db, "leon", name, value)
    body = json.dumps({"resourceType": "Zwetschkenbaum", "id": NAME}).encode()
    put_resources(db, "leon", [read_resource(body)], 1)
    db.execute(f'CREATE TABLE "{NAME}" (x)')
    db.execute("INSERT INTO setting VALUES (?, ?)", (NAME, NAME))
    study.config.write_text(
        f"""
[study]
title = "{NAME}"
drug = "anifrolumab"
timezone = "Europe/Madrid"
pseudonym_key = "file:{NAME}.key"
person_identifier = "urn:zwetschkenbaum"
[[study.visit]]
name = "zwetschkenbaum"
day = 7
first_day = 5
last_day = 9
[study.definitions]
prednisone_factors = {{ zwetschkenbaum = "25/3" }}
[notify]
command = ["{NAME}"]
webhook = "https://chat.test/{NAME.split()[1]}"
[metrics]
file = "{NAME}.prom"
[[site]]
name = "leon"
endpoint = "https://zwetschkenbaum.test/r4"
vendor = "{NAME}"
tables = ["{NAME}.toml"]
headers = {{ "X-Zwetschkenbaum" = "{NAME}" }}
rewrite = {{ "http://zwetschkenbaum.test" = "https://zwetschkenbaum.test/r4" }}
redirect_hosts = ["zwetschkenbaum.test"]
[site.auth]
method = "basic"
username = "{NAME}"
password = "env:ZWETSCHKENBAUM"
[site.cohort]
by = "group"
group = "Group/Zwetschkenbaum"
[site.pull]
categories = ["zwetschkenbaum", "laboratory"]
tries = 7
[site.push]
outcomes = ["zwetschkenbaum*"]
""",
        encoding="utf-8",
    )
    return study


def test_nothing_of_a_hostile_store_is_in_it(hostile: Study) -> None:
    files = bundle(hostile)
    text = "\n".join(files.values()).lower()
    assert [one for one in ("zwetschke", "eulalia", "1961", BORN, "19611123") if one in text] == []
    assert unknown(files) == []
    (stop,) = json.loads(files["ledger.json"])[0]["stopped"]
    assert (stop["step"], stop["exit_code"], stop["reason"], stop["since"]) == ("pull", 5, "other", "other")
    (unit, *_) = json.loads(files["ledger.json"])[0]["units"]
    assert (unit["reason"], unit["watermark"], unit["expected"], unit["notes"]) == ("other", "other", "other", {"filter_ignored": 2, "other": 1})  # fmt: skip
    assert [(one["fact"], one["value"]) for one in json.loads(files["servers.json"])[0]["facts"]] == [
        ("codes Observation", "other"), ("other", "no"), ("other", "other"), ("page_size", "other"),
        ("write transaction", "it drops the identifier"),
    ]  # fmt: skip
    assert json.loads(files["store.json"])["other_tables"] == 1


def test_of_a_config_the_switches_and_numbers_are_shown(hostile: Study) -> None:
    (site,) = json.loads(bundle(hostile)["config.json"])["site"]
    assert site["pull"] == {"categories": ["other", "laboratory"], "tries": 7}
    assert site["auth"] == {"method": "basic", "username": "set", "password": "env:…"}
    assert (site["headers"], site["name"], site["endpoint"]) == ({"entries": 1}, "site-1", "set")


def test_sites_and_hosts_are_named_on_request_only(study: Study) -> None:
    study.unit("Observation?patient")
    without, named = bundle(study), bundle(study, "--with-sites")
    assert not re.search(r"leon|madrid\b(?<!Europe/Madrid)", "".join(without.values()).replace("Europe/Madrid", ""))
    assert [site["name"] for site in json.loads(named["config.json"])["site"]] == ["leon", "madrid"]
    assert json.loads(named["config.json"])["site"][0]["endpoint"] == "https://leon.test/…"
    assert json.loads(named["ledger.json"])[0]["site"] == "leon"
    assert "by their names" in named["README.txt"]


def test_the_patients_numbers_hang_together_and_the_units_have_the_names_of_the_log(study: Study) -> None:
    for number in range(12):
        for query in ("Observation?patient", "Condition?patient"):
            study.unit(query, "partial", f"Patient/{number:02}", expected=number)
    assert {unit["unit"] for unit in json.loads(bundle(study)["ledger.json"])[0]["units"]} == {None}
    names = {one["unit"] for one in study.type("failed", "--json").json["sites"][0]["failed"]}
    units = json.loads(bundle(study)["ledger.json"])[0]["units"]
    assert {unit["unit"] for unit in units} == names
    assert len({(unit["patient"], unit["expected"]) for unit in units}) == 12
    orders = {tuple(unit["patient"] for unit in json.loads(bundle(study)["ledger.json"])[0]["units"]) for _ in range(4)}
    assert len(orders) > 1, "the numbers follow the ids"


def test_it_is_its_owners_alone_and_changes_nothing(study: Study) -> None:
    study.unit("Observation?patient")
    study.db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    store = study.config.with_name("dm-fhir.sqlite")
    before = store.read_bytes()
    bundle(study)
    assert stat.S_IMODE(study.config.with_name("bundle.zip").stat().st_mode) == 0o600
    assert store.read_bytes() == before


def test_a_store_that_is_none_is_left_out(study: Study, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DM_FHIR_STORE", str(tmp_path / "nowhere.sqlite"))
    assert bundle(study).keys() == {"README.txt", "versions.json", "config.json"}
    assert not (tmp_path / "nowhere.sqlite").exists()
    (tmp_path / "nowhere.sqlite").write_bytes(b"Zwetschkenbaum" * 100)
    ran = study.type("--log-format", "json", "support-bundle", "-o", str(tmp_path / "b.zip"))
    assert ran.code == 0
    assert "the store is left out: it cannot be read (DatabaseError)" in ran.err
    assert "Zwetschkenbaum" not in ran.err


def test_a_store_of_another_version_is_left_out(study: Study, tmp_path: Path) -> None:
    study.db.execute("PRAGMA user_version = 3")
    ran = study.type("support-bundle", "-o", str(tmp_path / "b.zip"))
    assert ran.code == 0
    assert "the store is left out: it is of version 3" in ran.err
    assert unpacked((tmp_path / "b.zip").read_bytes()).keys() == {"README.txt", "versions.json", "config.json"}


def test_it_can_be_piped_and_told_to_machines(study: Study, capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    from dm_fhir.cli import main

    capsysbinary.readouterr()
    assert main.call(["support-bundle", "-o", "-"]) == 0
    assert "ledger.json" in unpacked(capsysbinary.readouterr().out)
    ran = study.type("support-bundle", "--json")
    assert (ran.json["command"], ran.json["output"], "ledger.json" in ran.json["files"]) == ("support-bundle", "dm-fhir-support.zip", True)  # fmt: skip
    assert study.type("support-bundle", "--json", "-o", "-").code == 2
    nowhere = study.type("support-bundle", "-o", "nowhere/b.zip")
    assert (nowhere.code, "cannot be written" in nowhere.err) == (2, True)
    assert not os.path.exists("nowhere")


@given(st.text() | st.from_regex(r"(cohort: )?[A-Z][a-z]+(\?| by )[a-z]+(&category=\S+)?", fullmatch=True))
def test_whatever_a_column_holds_only_known_words_are_said(text: str) -> None:
    known = {*vocabulary(), *words._PARAMETERS, "category", "by", "cohort", "list", "of", "_history"}
    for told in (
        words.query_said(text),
        words.reason_said(text) or "",
        words.note_said(text),
        *words.fact_said(text, text),
    ):
        if told not in known:
            parts = re.findall(r"[A-Za-z_]+(?:-[A-Za-z_]+)*", told)
            assert all(part in known | {"http", "refused-on-page"} for part in parts) or told.endswith(
                words._FACT_REASONS
            )
