"""dm-fhir pull --engine spark, as it is typed: the same store, ledger and case series; quiet, finite, and safe to kill."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from dm_fhir.fhir.resource import Resource
from dm_fhir.store.blocks import kept
from dm_fhir.store.filing import put_resources
from dm_fhir.sync.scan import spark as runner

from ..fhir.s3_server import BUCKET, SECRET, running_s3
from ..servers.study import Study
from .conftest import CONFIG, OPEN_SOCKETS, Spark, fill, infusion

pytestmark = [pytest.mark.tool, OPEN_SOCKETS]
PROGRAM = Path(sys.executable).with_name("dm-fhir")
#: What of a store depends on when it was written.
TIMES = {"seen", "watermark", "updated", "started", "ended", "at", "first_seen", "last_seen", "time", "noted", "when"}


@pytest.fixture
def in_session(spark: Spark, monkeypatch: pytest.MonkeyPatch) -> None:
    """The commands of this test share the session of all tests."""

    @contextmanager
    def shared(_: str | None, __: Path) -> Iterator[Any]:
        yield spark.context

    monkeypatch.setattr(runner, "session", shared)


def new_study(folder: Path, spare: str = "") -> Study:
    """A study of site leon in a folder of its own."""
    folder.mkdir(mode=0o700)
    config = folder / "dm-fhir.toml"
    config.write_text(CONFIG + spare)
    return Study(config)


def content(study: Study) -> dict[str, list[Any]]:
    """Every row of the store but for times; of resources the bytes in place of where they lie."""
    found: dict[str, list[Any]] = {}
    with sqlite3.connect(study.config.with_name("dm-fhir.sqlite")) as db:
        tables = [name for (name,) in db.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]
        for table in sorted({*tables} - {"block", "run", "sqlite_sequence"}):
            columns = [row[1] for row in db.execute(f"PRAGMA table_info({table})")]
            told = [f'"{name}"' for name in columns if name not in TIMES | {"block", "start", "length"}]
            rows = db.execute(f"SELECT {', '.join(told)} FROM {table}").fetchall()  # noqa: S608
            if "block" in columns:
                places = db.execute(f"SELECT block, start, length FROM {table}").fetchall()  # noqa: S608
                rows = [(*row, body) for row, body in zip(rows, kept(db, places), strict=True)]
            found[table] = sorted((row for row in rows if "key of unit names" not in row), key=repr)
    return found


def exported(study: Study) -> bytes:
    """The case series as it leaves the hospital, but for the time of writing."""
    assert study.type("compute").code in (0, 3)
    path = study.config.with_name("series.json")
    assert study.type("export", "--identified", "--format", "json", "-o", str(path)).code == 0
    document = json.loads(path.read_bytes())
    return json.dumps({name: value for name, value in document.items() if name not in ("created", "written")}).encode()


@pytest.mark.usefixtures("in_session")
def test_the_store_the_ledger_and_the_case_series_are_those_of_this_machine(tmp_path: Path) -> None:
    fill(tmp_path / "in")
    studies = {name: new_study(tmp_path / name) for name in ("local", "spark")}
    ran = {
        name: study.type("pull", "--from", str(tmp_path / "in"), "--engine", name, "--json")
        for name, study in studies.items()
    }
    assert ran["spark"].code == ran["local"].code == 3
    assert json.loads(ran["spark"].out) == json.loads(ran["local"].out)
    here = content(studies["local"])
    assert {table for table, rows in here.items() if rows} >= {"resource", "unit", "quarantine"}
    assert content(studies["spark"]) == here
    assert exported(studies["spark"]) == exported(studies["local"])
    assert sorted(path.name for path in (tmp_path / "spark").glob("*.spark*")) == []


@pytest.mark.usefixtures("in_session")
def test_a_killed_run_leaves_what_the_engine_has_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(tmp_path / "in")
    study, parcels = new_study(tmp_path / "study"), runner.parcels
    asked: list[tuple[str, object]] = []

    def noted(*given: Any) -> Any:
        asked.append((type(given[2]).__name__, getattr(given[2], "patients", None)))
        return parcels(*given)

    monkeypatch.setattr(runner, "parcels", noted)
    pull = ("pull", "--from", str(tmp_path / "in"), "--engine", "spark")
    with monkeypatch.context() as patch:
        patch.setattr("dm_fhir.sync.file_units.put_resources", _killed)
        assert study.type(*pull).code == 130
    left = study.config.with_name("dm-fhir.sqlite.leon.spark")
    assert left.stat().st_mode & 0o777 == 0o600
    records = asked[-1]
    assert records == ("OfPatients", frozenset({"Patient/p0", "Patient/p1", "Patient/p2"}))
    del asked[:]
    assert study.type(*pull).code == 3
    assert records not in asked
    assert not left.exists()
    del asked[:]
    assert study.type(*pull, "--full").code == 3
    assert records in asked


def _killed(db: sqlite3.Connection, site: str, resources: Sequence[Resource], *more: Any) -> Any:
    if resources:
        raise KeyboardInterrupt
    return put_resources(db, site, resources, *more)


def type_it(study: Study, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """As somebody types it, in a process of its own."""
    command = [str(PROGRAM), "--config", str(study.config), *arguments]
    env = {**os.environ, **environment}
    return subprocess.run(command, env=env, capture_output=True, text=True, check=False, timeout=240)


def test_files_in_object_storage_quietly_and_nothing_is_left_running(tmp_path: Path) -> None:
    fill(tmp_path / "in")
    here, study = new_study(tmp_path / "local"), new_study(tmp_path / "study")
    assert here.type("pull", "--from", str(tmp_path / "in")).code == 3
    with running_s3() as (way, client):
        for path in sorted((tmp_path / "in").rglob("*")):
            if path.is_file():
                client.upload_file(str(path), BUCKET, path.relative_to(tmp_path).as_posix())
        login = {"AWS_ENDPOINT_URL": way.endpoint, "AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": SECRET}
        asked = ("pull", "--from", f"s3a://{BUCKET}/in/", "--engine", "spark", "--master", "local[2]")
        ran = type_it(study, "--log-format", "json", *asked, "--json", **login)
    assert (ran.returncode, json.loads(ran.stdout)["exit_code"]) == (3, 3)
    assert exported(study) == exported(here)
    said = [json.loads(line) for line in ran.stderr.splitlines()]
    progress = [line for line in said if line["event"] == "spark_progress"]
    assert progress[-1]["done"] == progress[-1]["total"] > 0
    assert list(study.config.parent.glob("*.leon.spark")) == []
    log = study.config.with_name("dm-fhir.sqlite.spark.log").read_bytes()
    assert b"WARN" in log
    assert SECRET.encode() not in log + ran.stderr.encode() + ran.stdout.encode()
    assert not _running(tmp_path)


def test_a_signal_ends_it_and_its_java(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "MedicationAdministration.ndjson").write_text("".join(infusion(n, "Patient/p1") for n in range(200_000)))
    study = new_study(tmp_path / "study")
    command = [PROGRAM, "--config", study.config, "pull", "--from", folder, "--engine", "spark", "--master", "local[1]"]
    with subprocess.Popen([*map(str, command)], stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        while "Spark: 0 of" not in process.stderr.readline():
            assert process.poll() is None
        assert _running(tmp_path)
        process.send_signal(signal.SIGTERM)
        began = time.monotonic()
        assert process.wait(60) == 130
        assert time.monotonic() - began < 20
    assert not _running(tmp_path)


def _running(folder: Path) -> list[str]:
    """Javas that know this folder's log."""
    found = []
    for one in Path("/proc").glob("[0-9]*/fd/1"):
        try:
            if str(folder) in os.readlink(one):
                found.append(one.parts[2])
        except OSError:
            continue
    return found


def test_started_by_spark_submit(tmp_path: Path) -> None:
    import pyspark

    fill(tmp_path / "in")
    here, there = new_study(tmp_path / "local"), new_study(tmp_path / "spark")
    assert here.type("pull", "--from", str(tmp_path / "in")).code == 3
    script = Path(__file__).parents[2] / "deploy" / "dm-fhir-spark.py"
    submit = Path(pyspark.__file__).parent / "bin" / "spark-submit"
    command = [submit, "--master", "local[2]", script, "--config", there.config, "pull", "--from", tmp_path / "in"]
    env = {**os.environ, "PYSPARK_PYTHON": sys.executable}
    ran = subprocess.run(
        [*map(str, command), "--engine", "spark", "--json"],
        env=env,
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    (result,) = [line for line in ran.stdout.splitlines() if line.startswith("{")]  # our stderr goes there too
    assert (ran.returncode, json.loads(result)["exit_code"]) == (3, 3)
    assert content(there) == content(here)


def test_a_master_without_anybody_to_work_for_it(tmp_path: Path) -> None:
    import pyspark

    home = Path(pyspark.__file__).parent
    fill(tmp_path / "in")
    study = new_study(tmp_path / "study")
    master = subprocess.Popen(
        [str(home / "bin" / "spark-class"), "org.apache.spark.deploy.master.Master", "--host", "127.0.0.1", "--port", "0", "--webui-port", "0"],
        stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, env={**os.environ, "SPARK_HOME": str(home)},
    )  # fmt: skip
    try:
        assert master.stderr is not None
        address = ""
        for line in master.stderr:
            if "Starting Spark master at " in line:
                address = line.split("Starting Spark master at ")[1].strip()
                break
        program = (
            "from dm_fhir.sync.scan import spark; spark.IDLE_SECONDS = 2.0; from dm_fhir.cli.main import run; run()"
        )
        arguments = [
            "--config",
            str(study.config),
            "pull",
            "--from",
            str(tmp_path / "in"),
            "--engine",
            "spark",
            "--master",
            address,
        ]
        ran = subprocess.run(
            [sys.executable, "-c", program, *arguments], capture_output=True, text=True, check=False, timeout=120
        )
    finally:
        master.terminate()
        master.communicate(timeout=30)
    assert ran.returncode == 4
    assert "no executor took up a task within 2 s" in ran.stderr
