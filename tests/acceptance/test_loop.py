"""pull, compute, push, status and a second sync on the sample cohort, against a real server."""

from __future__ import annotations

import json
import re
from collections import Counter
from typing import TYPE_CHECKING, Any

from dm_fhir.cli.report import said_of
from dm_fhir.cli.study import opened_study
from dm_fhir.cli.voice import Voice
from dm_fhir.sync.lock import locked
from dm_fhir.sync.query import SEARCHES

if TYPE_CHECKING:
    from tests.acceptance.conftest import HospitalMaker, Loop, StudyMaker

    from dm_fhir.demo.cohorts import SampleSite

PATIENTS = 4
#: Of each patient: the Patient and every search but AdverseEvent. Nobody's: the plan, two of the cohort, all AdverseEvents.
UNITS = PATIENTS * len(SEARCHES) + 4


def test_every_step_ends_complete(loop: Loop) -> None:
    steps = (loop.pull, loop.compute, loop.push, loop.status, loop.again)

    assert [step.code for step in steps] == [0] * len(steps), [step.out + step.err for step in steps]


def test_the_closing_line_is_the_last_of_stdout(loop: Loop) -> None:
    assert loop.pull.last_line == f"pull: units: {UNITS} complete; exit 0 (complete)"
    assert loop.compute.last_line == f"compute: units: {UNITS} complete; exit 0 (complete)"
    assert loop.push.last_line == f"push: units: {UNITS} complete; exit 0 (complete)"


def test_the_lines_before_it_say_what_came_of_it(loop: Loop) -> None:
    assert loop.pull.out.startswith("baltimore: 4 patients in the cohort\n")
    assert loop.compute.out.startswith("baltimore: 4 patients computed, 0 unchanged\n")
    assert re.match(r"baltimore: outcomes: \d+ new, \d+ blocked\n", loop.push.out)
    assert re.search(r"^baltimore: complete until \S+; \d+ resources$", loop.pull.out, re.M)
    assert re.search(
        r"^baltimore: complete until .*; 4 cases; 1 finding; outcomes on the server: \d+ confirmed$",
        loop.push.out,
        re.M,
    )


def test_the_store_holds_what_was_loaded(loop: Loop, sample: SampleSite) -> None:
    loaded = Counter(one["resourceType"] for one in sample.resources)

    assert loop.status.json["sites"][0]["resources"] == dict(loaded)


def test_the_ledger_is_complete_and_accounts_for_every_resource(loop: Loop, sample: SampleSite) -> None:
    site = loop.status.json["sites"][0]
    rows = loop.study.ask(
        "SELECT expected, \"unique\", state FROM unit WHERE query NOT LIKE 'cohort%' AND query <> 'whole plan'"
    )

    assert site["units"] == {"complete": UNITS}
    assert site["complete_until"] is not None
    assert all(expected == unique for expected, unique, _ in rows), rows
    assert sum(unique for _, unique, _ in rows) >= len(sample.resources)


def test_all_outcomes_are_confirmed_on_the_server(loop: Loop) -> None:
    confirmed = {row[0] for row in loop.study.ask("SELECT identifier FROM push WHERE state = 'confirmed'")}
    held = Counter(one["identifier"][0]["value"] for one in loop.hospital.outcomes())

    assert len(confirmed) > 10 * PATIENTS
    assert held == Counter(confirmed)


def test_the_second_sync_writes_nothing(loop: Loop) -> None:
    writes = [one for one in loop.asked_again if not one.startswith("GET ") and "/auth/" not in one]

    assert writes == []
    assert loop.asked_again, "the server saw no request at all"
    assert re.search(r"baltimore: \d+ requests, 0 of them writing, 0 repeated", loop.again.err)


def test_the_second_sync_asks_only_for_what_changed(loop: Loop) -> None:
    of_patients = [one for one in loop.asked_again if re.search(r"\?(patient|subject|_id)=", one)]

    assert all("_lastUpdated=ge" in one for one in of_patients), of_patients
    asked = [re.findall(r"^GET /fhir/(\w+)\?\w+=([^&]*)", one)[0] for one in of_patients]
    everybody = ",".join(sorted(f"bal-{n}" for n in range(1, PATIENTS + 1)))
    types = ["Patient", *(name for name, _ in SEARCHES if name != "AdverseEvent")]
    assert sorted(asked) == sorted((name, everybody) for name in types)


def test_observations_are_asked_for_by_the_codes_that_the_tables_know(loop: Loop, sample: SampleSite) -> None:
    searched = next(one for one in loop.hospital.requests() if "Observation?patient=" in one)
    codes = set(re.findall(r"[?&](?:combo-)?code=([^&]*)", searched)[0].split(","))
    observed = [one for one in sample.resources if one["resourceType"] == "Observation"]

    assert all(codes & {coding["code"] for coding in one["code"]["coding"]} for one in observed)


def test_the_second_sync_computes_nothing(loop: Loop) -> None:
    told: dict[str, Any] = loop.again.json

    assert told["computed"] == {"baltimore": {"mapped": 0, "unchanged": PATIENTS, "changed": {}, "held": 0}}
    assert set(told["pushed"]["baltimore"]) == {"unchanged", "blocked"}


def test_the_sentence_of_the_published_case_series(loop: Loop) -> None:
    with opened_study(loop.study.config, Voice(quiet=True)) as study:
        texts = [sentence.text for sentence in said_of(study)[0]]

    assert any("CDASI-A reduction of 12 points or 49.4 % (5–21; 26.9 %–77.8 %)" in text for text in texts), texts  # noqa: RUF001  # the paper's dashes


def test_a_dry_run_asks_the_server_nothing_and_does_not_wait_for_the_lock(loop: Loop) -> None:
    before, runs = len(loop.hospital.requests()), loop.study.ask("SELECT count(*) FROM run")
    with locked(loop.study.store, "test"):
        ran = loop.study.type("push", "--dry-run")

    assert ran.code == 0
    assert ran.out.endswith("dry run: nothing was sent\npush: exit 0 (complete)\n")
    assert len(loop.hospital.requests()) == before
    assert loop.study.ask("SELECT count(*) FROM run") == runs


def test_a_dry_run_names_what_it_would_write(new_hospital: HospitalMaker, new_study: StudyMaker) -> None:
    hospital = new_hospital()
    study = new_study(hospital, push=False)
    study.type("pull")
    study.type("compute")
    before = hospital.writes()

    ran = study.type("push", "--dry-run")
    told = study.type("push", "--dry-run", "--json").json

    assert re.search(r"^  new: cdasi_activity_baseline of Patient/bal-1$", ran.out, re.M)
    assert told["dry_run"] is True
    assert told["planned"]["baltimore"]["new"] == ran.out.count("  new: ") > 0
    assert hospital.writes() == before


def test_files_are_private(loop: Loop) -> None:
    beside = [path for path in loop.study.config.parent.iterdir() if path != loop.study.config]

    assert {path.name for path in beside} >= {"dm-fhir.sqlite", "dm-fhir.sqlite.lock"}
    assert {path.name: oct(path.stat().st_mode & 0o777) for path in beside} == {path.name: "0o600" for path in beside}


def test_the_stores_companions_are_private_while_it_is_open(loop: Loop) -> None:
    with opened_study(loop.study.config, Voice(quiet=True)) as study:
        study.db.execute("SELECT count(*) FROM unit").fetchall()
        companions = list(loop.study.config.parent.glob("dm-fhir.sqlite-*"))

        assert {path.suffix for path in companions} == {".sqlite-wal", ".sqlite-shm"}
        assert all(path.stat().st_mode & 0o077 == 0 for path in companions)


def test_quiet_says_nothing_on_stderr(loop: Loop) -> None:
    ran = loop.study.type("--quiet", "sync")

    assert (ran.code, ran.err) == (0, "")
    told = rf"sync: units: {UNITS} complete; outcomes: \d+ unchanged, \d+ blocked; \d+\.\d s; exit 0 \(complete\)\n"
    assert re.fullmatch(told, ran.out)


def test_json_on_stderr_is_a_line_each(loop: Loop) -> None:
    ran = loop.study.type("-v", "--log-format", "json", "pull")

    assert {"info", "debug"} == {json.loads(line)["level"] for line in ran.err.splitlines()}


def test_doctor_finds_each_search_working_and_makes_no_store(loop: Loop, new_study: StudyMaker) -> None:
    study = new_study(loop.hospital)

    ran = study.type("doctor")
    told = study.type("doctor", "--json").json

    assert ran.code == 0, ran.out
    assert re.fullmatch(r"doctor: \d+ work, 0 degrade, 0 fail; exit 0 \(complete\)", ran.last_line)
    checks = {check["what"]: check["state"] for check in told["sites"][0]["checks"]}
    searches = {f"{name}?{parameter}" for name, parameter in SEARCHES if name != "AdverseEvent"}
    assert checks.keys() >= {"login", "cohort: MedicationAdministration by code", "AdverseEvent, whole", *searches}
    assert set(checks.values()) == {"works"}
    assert not study.store.exists()
