"""The file of metrics: read by Prometheus' own parser, true to the store, whole at any moment, free of patients."""

from __future__ import annotations

import os
import re
import stat
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from dm_fhir.config import Pull, Site
from dm_fhir.model.findings import KINDS
from dm_fhir.store.audit import who
from dm_fhir.store.cases import CaseRow, FindingRow, put_case
from dm_fhir.store.ledger import begin_run, end_run, read_until
from dm_fhir.store.pushes import Pushed, put_push
from dm_fhir.sync.lock import locked
from dm_fhir.sync.metrics import PUSH_STATES, LastRun, metrics_text

if TYPE_CHECKING:
    import sqlite3

    from tests.cli.conftest import Study

ROOT = Path(__file__).parents[2]
Found = dict[tuple[str, frozenset[tuple[str, str]]], float]


def read(text: str) -> Found:
    """Every sample, as Prometheus reads it; each metric must have its help and type."""
    families = list(text_string_to_metric_families(text))
    assert all(family.documentation and family.type == "gauge" for family in families)
    assert text.endswith("\n")
    samples = [sample for family in families for sample in family.samples]
    found = {(one.name.removeprefix("dm_fhir_"), frozenset(one.labels.items())): one.value for one in samples}
    assert len(found) == len(samples), "a series stands there twice"
    return found


def at(found: Found, name: str, **labels: str) -> float | None:
    """The value of one series; None if there is none."""
    return found.get((name, frozenset(labels.items())))


@pytest.fixture
def file(study: Study) -> Path:
    """Where the study's metrics are to be."""
    text = study.config.read_text(encoding="utf-8")
    study.config.write_text(f'{text}\n[metrics]\nfile = "out/dm-fhir.prom"\n', encoding="utf-8")
    path = study.config.with_name("out") / "dm-fhir.prom"
    path.parent.mkdir()
    return path


def unix(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def test_a_run_leaves_what_the_store_says(study: Study, file: Path) -> None:
    study.unit("Observation?patient", patient="Patient/1", watermark="2025-06-01T10:00:00Z")
    study.unit("Observation?patient", "partial", patient="Patient/2", watermark="2025-05-01T10:00:00Z")
    study.aside(b"{}", b"[]")
    for number, state in enumerate(("confirmed", "confirmed", "conflict")):
        put_push(study.db, "leon", Pushed(f"k{number}", "Patient/1", "ck", "", state, None, None, "h", None, b"{}"), 1)

    end_run(study.db, begin_run(study.db, "import"), 0)

    ran = study.type("compute")
    found = read(file.read_text(encoding="utf-8"))

    assert ran.code == 3, "the patient whose records are not complete is held back"
    assert at(found, "run_exit_code", command="compute") == 3
    assert at(found, "run_number", command="compute") == 3
    assert at(found, "run_exit_code", command="pull") == 3
    assert at(found, "run_succeeded_timestamp_seconds", command="pull") is None
    assert at(found, "run_succeeded_timestamp_seconds", command="import") == at(
        found, "run_ended_timestamp_seconds", command="import"
    )
    assert at(found, "run_step_seconds", command="compute", step="compute") is not None
    assert abs((at(found, "run_ended_timestamp_seconds", command="compute") or 0) - datetime.now(UTC).timestamp()) < 120
    assert [at(found, "units", site="leon", state=state) for state in ("complete", "partial", "failed")] == [1, 1, 0]
    assert at(found, "site_complete", site="leon") == 0
    assert at(found, "site_complete_until_timestamp_seconds", site="leon") == unix("2025-05-01T10:00:00Z")
    assert at(found, "site_complete_until_timestamp_seconds", site="madrid") is None
    assert {s: at(found, "outcomes", site="leon", state=s) for s in PUSH_STATES} == dict.fromkeys(PUSH_STATES, 0) | {
        "confirmed": 2, "conflict": 1,
    }  # fmt: skip
    assert at(found, "set_aside", site="leon", acknowledged="no") == 2


def test_a_run_of_one_site_leaves_the_other_as_it_is(study: Study, file: Path) -> None:
    study.unit("Observation?patient", site="madrid")
    assert study.type("compute", "--site", "leon").code == 0
    assert at(read(file.read_text(encoding="utf-8")), "units", site="madrid", state="complete") == 1


def test_a_site_is_complete_again_when_nothing_is_open(study: Study, file: Path) -> None:
    study.unit("Observation?patient")
    study.type("compute")
    assert at(read(file.read_text(encoding="utf-8")), "site_complete", site="leon") == 1


def test_until_when_all_was_read_stands_still_while_something_is_open(study: Study) -> None:
    def until(*optional: str) -> str | None:
        return read_until(study.db, "leon", optional)

    assert until() is None
    study.unit("Observation?patient", watermark="2025-06-02T10:00:00Z")
    study.unit("Condition?patient", "failed", watermark="2025-06-01T10:00:00Z")
    assert until() == "2025-06-01T10:00:00Z"
    study.unit("AdverseEvent?subject", "unsupported")
    assert (until(), until("AdverseEvent")) == (None, "2025-06-01T10:00:00Z")


def test_only_what_is_known_is_in_a_label(study: Study) -> None:
    findings = [FindingRow(code, "warning", "Patient/1", None, "x") for code in ("zwetschke", "duplicate", "duplicate")]
    put_case(study.db, "leon", CaseRow("Patient/1", "Zwetschkenbaum has no records", b""), "f", 1, [], findings)
    study.db.execute(
        "INSERT INTO resource (site, type, id, hash, run, block, start, length) VALUES ('leon', 'Zwetschke', '1', 'h', 1, 1, 0, 1)"
    )
    text = metrics_text(
        study.db, [site("leon")], LastRun("sync", 1, "2025-06-01T10:00:00Z", "2025-06-01T10:00:00Z", 0, {})
    )
    found = read(text)
    assert "wetschke" not in text
    assert at(found, "findings", site="leon", code="duplicate", severity=KINDS["duplicate"].severity) == 2
    assert at(found, "findings", site="leon", code="other", severity="other") == 1
    assert at(found, "patients", site="leon", state="other") == 1
    assert at(found, "resources", site="leon", type="other") == 1


def site(name: str) -> Site:
    return Site(name, None, "UTC", (), {}, None, Pull())  # type: ignore[arg-type]


def test_labels_are_escaped(study: Study) -> None:
    odd = 'a "quoted" \\ name\nof two lines'
    text = metrics_text(
        study.db, [site(odd)], LastRun("sync", 1, "2025-06-01T10:00:00Z", "2025-06-01T10:00:00Z", 3, {})
    )
    assert at(read(text), "site_complete", site=odd) == 0


@pytest.mark.parametrize(("readable_by", "mode"), [("owner", 0o600), ("group", 0o640), ("all", 0o644), (None, 0o644)])
def test_who_may_read_it_is_chosen_whatever_the_umask(
    study: Study, file: Path, readable_by: str | None, mode: int
) -> None:
    if readable_by:
        study.config.write_text(f'{study.config.read_text()}readable_by = "{readable_by}"\n', encoding="utf-8")
    before = os.umask(0o077 if mode == 0o644 else 0)
    try:
        study.type("compute")
    finally:
        os.umask(before)
    assert stat.S_IMODE(file.stat().st_mode) == mode
    assert [path.name for path in file.parent.iterdir()] == ["dm-fhir.prom"]


def test_a_run_that_finds_the_lock_taken_leaves_the_holders_metrics(study: Study, file: Path) -> None:
    study.type("compute")
    before = file.read_bytes()
    with locked(study.config.with_name("dm-fhir.sqlite"), "sync") as held:
        held(begin_run(study.db, "sync", who()))
        assert study.type("compute").code == 11
    assert file.read_bytes() == before


def test_a_run_that_cannot_begin_says_so(study: Study, file: Path) -> None:
    study.unit("Observation?patient")
    assert study.type("compute", "--site", "nobody").code == 2
    found = read(file.read_text(encoding="utf-8"))
    assert at(found, "run_exit_code", command="compute") == 2
    assert at(found, "run_number", command="compute") is None


def test_a_run_whose_only_site_was_stopped_says_so(study: Study, file: Path) -> None:
    study.unit("Observation?patient")
    study.config.with_name("bad.toml").write_text("[[measurement]]\nvariable = 'x'\n", encoding="utf-8")
    text = study.config.read_text().replace('name = "leon"', 'name = "leon"\ntables = ["bad.toml"]')
    study.config.write_text(text, encoding="utf-8")
    assert study.type("compute").code == 2
    found = read(file.read_text(encoding="utf-8"))
    assert at(found, "run_exit_code", command="compute") == 2
    assert at(found, "run_number", command="compute") == 2
    assert at(found, "site_stopped", site="leon") == 2
    assert at(found, "units", site="leon", state="complete") == 1


def test_a_store_that_cannot_be_opened_leaves_the_exit_code(study: Study, file: Path) -> None:
    study.config.write_text(study.config.read_text().replace("anifrolumab", "rituximab"), encoding="utf-8")
    assert study.type("compute").code == 1
    found = read(file.read_text(encoding="utf-8"))
    assert at(found, "run_exit_code", command="compute") == 1
    assert [name for name, _ in found if name == "units"] == []
    file.unlink()
    assert study.type("status").code == 1
    assert not file.exists(), "only a run writes metrics"


def test_an_interrupted_run_and_one_that_broke_say_how_they_ended(
    study: Study, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for error, code in ((KeyboardInterrupt(), 130), (ValueError("Zwetschkenbaum"), 1)):

        def failing(*_: object, error: BaseException = error) -> None:
            raise error

        monkeypatch.setattr("dm_fhir.sync.passes.compute", failing)
        assert study.type("compute").code == code
        assert at(read(file.read_text(encoding="utf-8")), "run_exit_code", command="compute") == code


def test_a_file_that_cannot_be_written_is_a_warning(study: Study, file: Path) -> None:
    file.parent.rmdir()
    ran = study.type("--log-format", "json", "compute")
    assert ran.code == 0
    assert '"event":"metrics_failed"' in ran.err
    assert "cannot be written: No such file or directory" in ran.err


def test_without_the_key_nothing_is_written(study: Study) -> None:
    before = set(study.config.parent.iterdir())
    study.type("compute")
    assert {path.name for path in set(study.config.parent.iterdir()) - before} <= {"dm-fhir.sqlite.lock"}


def docs() -> str:
    return (ROOT / "docs/monitoring.md").read_text(encoding="utf-8")


def exposed(db: sqlite3.Connection) -> set[str]:
    """The names of all metrics, with a finding and a run that succeeded in the store."""
    put_case(
        db,
        "leon",
        CaseRow("Patient/1", "case", b""),
        "f",
        1,
        [],
        [FindingRow("duplicate", "information", "x", None, "x")],
    )
    db.execute(
        "INSERT INTO resource (site, type, id, hash, run, block, start, length) VALUES ('leon', 'Patient', '1', 'h', 1, 1, 0, 1)"
    )
    db.execute("UPDATE unit SET watermark = '2025-06-01T10:00:00Z'")
    end_run(db, begin_run(db, "sync"), 0)
    last = LastRun("sync", 2, "2025-06-01T10:00:00Z", "2025-06-01T10:00:00Z", 0, {"pull": 1.5})
    return {family.name for family in text_string_to_metric_families(metrics_text(db, [site("leon")], last))}


def test_every_metric_is_in_the_docs_and_the_docs_know_no_other(study: Study) -> None:
    study.unit("Observation?patient")
    section = docs().split("\n## Metrics")[1].split("\n## ")[0]
    documented = set(re.findall(r"^\| `(dm_fhir_[a-z_]+)`", section, re.M))
    assert documented == exposed(study.db)


def test_the_alert_rules_of_the_docs_are_rules_on_metrics_that_exist(study: Study) -> None:
    study.unit("Observation?patient")
    (text,) = re.findall(r"```yaml\n(groups:.*?)```", docs(), re.S)
    names = exposed(study.db)
    rules = [rule for group in yaml.safe_load(text)["groups"] for rule in group["rules"]]
    assert len(rules) >= 4
    for rule in rules:
        assert rule.keys() == {"alert", "expr", "for", "labels", "annotations"}
        assert set(re.findall(r"dm_fhir_[a-z_]+", rule["expr"])) <= names
        assert re.fullmatch(r"\d+[mhd]", rule["for"])
        assert rule["expr"].count("(") == rule["expr"].count(")")
