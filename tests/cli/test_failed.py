"""dm-fhir failed: every unit that needs attention, why, and the command that mends it."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from dm_fhir.cli.main import main

if TYPE_CHECKING:
    from tests.cli.conftest import Study


def test_nothing_to_mend(study: Study) -> None:
    study.unit("Observation?patient")
    ran = study.type("failed", "--site", "leon")
    assert (ran.code, ran.lines) == (
        0,
        ["leon: nothing needs attention", "failed: units: 1 complete; exit 0 (complete)"],
    )


def test_a_site_that_was_never_pulled_says_how_to_begin(study: Study) -> None:
    ran = study.type("failed")
    assert ran.code == 3
    assert ran.lines[:2] == [
        "leon: never pulled; dm-fhir pull --site leon",
        "madrid: never pulled; dm-fhir pull --site madrid --from PATH",
    ]


def test_a_unit_is_told_with_its_reason_its_holes_and_what_to_type(study: Study) -> None:
    study.unit(
        "Observation?patient", "partial", "Patient/7", reason="http-500", message="page 6 answered 500\nfive times",
        expected=1000, unique=500, watermark="2025-05-01T00:00:00Z",
    )  # fmt: skip
    ran = study.type("failed", "--site", "leon")
    assert ran.code == 3
    assert ran.lines == [
        "leon: 1 units need attention",
        "  partial: Observation?patient (http-500), 1 units",
        "    Patient/7: page 6 answered 500; five times; 500 of 1000 read; last complete until 2025-05-01T00:00:00Z",
        "    if it stays so, show the hospital the message",
        "    then: dm-fhir pull --site leon --patient Patient/7",
        "failed: units: 1 partial; exit 3 (partial: what is named above; the next pull asks again for what is open)",
    ]


def test_what_is_alike_is_mended_together(study: Study) -> None:
    for number in range(5):
        study.unit("Observation?patient", "partial", f"Patient/{number}", reason="interrupted")
    study.unit("Condition?patient", "refused", reason="refused")
    lines = study.type("failed", "--site", "leon").lines
    assert lines[0] == "leon: 6 units need attention"
    assert "  partial: Observation?patient (interrupted), 5 units" in lines
    assert lines[lines.index("    … and 2 more") + 1] == "    dm-fhir pull --site leon --retry-failed"
    assert [line for line in lines if line.startswith("    then: ")] == [
        "    then: dm-fhir pull --site leon --patient Patient/1"
    ]


def test_when_the_server_wants_to_be_asked_again(study: Study) -> None:
    until = "2025-06-01T15:00:00Z"
    study.unit("Observation?patient", "partial", reason="retry-after-too-long", not_before=until)
    lines = study.type("failed", "--site", "leon").lines
    assert lines[2].endswith(f"never complete; not before {until}")
    assert lines[3] == f"    the server asks to be left alone until {until}"


def test_json_has_every_unit_whole(study: Study) -> None:
    for number in range(40):
        study.unit("Observation?patient", "partial", f"Patient/{number:02}", expected=9, unique=number)
    study.unit("Condition?patient", "complete")
    ran = study.type("failed", "--json")
    leon, madrid = ran.json["sites"]
    assert (ran.code, ran.json["command"], ran.json["state"]) == (3, "failed", "partial")
    assert (leon["units"], len(leon["failed"]), madrid["failed"]) == ({"complete": 1, "partial": 40}, 40, [])
    names = {one.pop("unit") for one in leon["failed"]}
    assert (len(names), {len(name) for name in names}) == (40, {10})
    assert leon["failed"][7] == {
        "patient": "Patient/07", "query": "Observation?patient", "state": "partial", "reason": "http-500", "message": None,
        "expected": 9, "unique": 7, "watermark": None, "not_before": None,
        "advice": "if it stays so, show the hospital the message",
        "command": "dm-fhir pull --site leon --patient Patient/07",
    }  # fmt: skip


def test_what_is_set_aside_is_pointed_at(study: Study) -> None:
    study.unit("Observation?patient")
    study.aside(b"{}")
    ran = study.type("failed", "--site", "leon")
    assert ran.code == 3
    assert ran.lines[:2] == ["leon: nothing needs attention", "  set aside: 1; dm-fhir quarantine --site leon"]


def test_everything_refused_is_exit_5(study: Study) -> None:
    study.unit("Observation?patient", "refused", reason="refused")
    assert study.type("failed", "--site", "leon").code == 5


def test_what_is_to_be_typed_can_be_typed(study: Study) -> None:
    """Each command is one that this program has, with options that it knows, and with the config that was given."""
    for state, reason in (
        ("partial", "http-500"),
        ("failed", "auth"),
        ("refused", "refused"),
        ("unsupported", "http-404"),
    ):
        study.unit("Observation?patient", state, reason=reason, patient=f"Patient/{state}")
    study.unit("whole plan", "partial", "", reason="interrupted")
    study.unit("file: my export.ndjson", "partial", "", "madrid", reason="file-cut-off")
    elsewhere = study.config.rename(study.config.with_name("my study.toml"))
    ran = study.type("--config", str(elsewhere), "failed", "--json")
    commands = [unit["command"] for site in ran.json["sites"] for unit in site["failed"]]
    assert len(commands) == 6
    for command in commands:
        program, option, config, name, *arguments = shlex.split(command)
        assert (program, option, config) == ("dm-fhir", "--config", str(elsewhere))
        found = main.get_command(main.make_context("dm-fhir", [name]), name)
        assert found is not None
        found.make_context(name, arguments)


def test_a_unit_is_found_by_the_name_that_the_log_calls_it(study: Study) -> None:
    for number in range(3):
        study.unit("Observation?patient", "partial", f"Patient/{number}", reason="http-500")
    study.aside(b"{}")
    names = {one["patient"]: one["unit"] for one in study.type("failed", "--json").json["sites"][0]["failed"]}
    ran = study.type("failed", "--unit", names["Patient/1"])
    assert ran.code == 3
    assert [line for line in ran.lines if "Patient/" in line] == [
        "    Patient/1: http-500; never complete",
        "    then: dm-fhir pull --site leon --patient Patient/1",
    ]
    unknown = study.type("failed", "--unit", "0123456789")
    assert (unknown.code, "no unit called '0123456789' needs attention" in unknown.err) == (2, True)


def test_the_parts_of_an_export_are_told_together(study: Study) -> None:
    parts = ("Condition", "Medication", "Observation", "Patient", "deleted")
    for part in parts:
        study.unit(
            f"bulk: {part}", "partial", "", reason="export-running", message="it is preparing", not_before="2025-06-01T15:00:00Z"
        )  # fmt: skip
    study.unit("bulk: AdverseEvent", "failed", "", reason="not-delivered")
    study.unit("bulk: MedicationStatement", "failed", "", reason="not-delivered")
    lines = study.type("failed", "--site", "leon").lines
    assert lines[0] == "leon: 7 units need attention"
    running = lines.index("  partial: bulk: Condition, Medication, Observation and 2 more (export-running), 5 units")
    assert lines[running + 1 : running + 4] == [
        "    the site: it is preparing; never complete; not before 2025-06-01T15:00:00Z",
        "    nothing is wrong: the server is preparing the export, and is asked again from 2025-06-01T15:00:00Z on",
        "    then: dm-fhir pull --site leon",
    ]
    assert "  failed: bulk: AdverseEvent (not-delivered), 1 units" in lines  # each asks the hospital for another type
    assert (
        "  partial: bulk: Condition, Medication, Observation and 2 more: it is preparing" in study.type("status").lines
    )


def test_an_export_that_is_not_allowed(study: Study) -> None:
    for query, reason in (("bulk: Patient", "refused"), ("bulk: Condition", "http-501"), ("bulk: deleted", "http-404")):
        study.unit(query, "refused" if reason == "refused" else "failed", "", reason=reason, message=reason)
    advice = [line for line in study.type("failed", "--site", "leon").lines if "whether this client may export" in line]
    assert len(advice) == 3


def test_of_many_sites_those_that_are_well_are_counted(study: Study) -> None:
    more = "".join(f'[[site]]\nname = "more-{number}"\n' for number in range(10))
    study.config.write_text(study.config.read_text(encoding="utf-8") + more, encoding="utf-8")
    study.unit("Observation?patient", "partial", "Patient/7")
    for number in range(9):
        study.unit("Observation?patient", site=f"more-{number}")
    lines = study.type("failed").lines
    assert [line.partition(":")[0] for line in lines if not line.startswith(" ")] == [
        "leon", "madrid", "more-9", "at 9 sites nothing needs attention", "failed",
    ]  # fmt: skip
