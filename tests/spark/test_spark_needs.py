"""What Spark needs and is not there is said in one line, with what to do; no Java is needed to say it."""

import json
import sys
from pathlib import Path

import pytest

from dm_fhir.errors import ConfigError, DmFhirError, ServerUnavailable
from dm_fhir.mappings.site import SiteMapper
from dm_fhir.sync.scan import spark_session
from dm_fhir.sync.scan.piece import Piece
from dm_fhir.sync.scan.record_questions import OfPatients
from dm_fhir.sync.scan.spark import on_spark
from dm_fhir.sync.scan.spark_failures import TaskFailed, explained

from ..servers.study import Study
from .conftest import CONFIG


@pytest.fixture
def study(tmp_path: Path) -> Study:
    folder = tmp_path / "study"
    folder.mkdir(mode=0o700)
    (folder / "dm-fhir.toml").write_text(CONFIG)
    (tmp_path / "a.ndjson").write_text('{"resourceType":"Patient","id":"1"}\n')
    return Study(folder / "dm-fhir.toml")


def pull(study: Study, *more: str) -> tuple[int, str]:
    ran = study.type("pull", "--from", str(study.config.parents[1] / "a.ndjson"), "--engine", "spark", *more)
    return ran.code, ran.err


def a_java(folder: Path, said: str) -> str:
    """A JAVA_HOME whose java says this of itself."""
    (folder / "bin").mkdir(parents=True)
    java = folder / "bin" / "java"
    java.write_text(f"#!/bin/sh\necho '{said}' >&2\n")
    java.chmod(0o755)
    return str(folder)


def test_no_pyspark(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyspark", None)
    code, err = pull(study)
    assert code == 2
    assert "Apache Spark is not installed" in err
    assert 'pip install "dm-fhir[spark]"' in err


def test_what_is_missing_here_opens_nothing(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    path = str(study.config.parents[1] / "a.ndjson")
    assert study.type("pull", "--from", path).code == 0
    before = json.loads(study.type("status", "--json").out)["sites"]
    assert pull(study, "--master", "mesos://127.0.0.1")[0] == 2
    monkeypatch.setitem(sys.modules, "pyspark", None)
    assert pull(study)[0] == 2
    assert json.loads(study.type("status", "--json").out)["sites"] == before


@pytest.mark.parametrize(
    ("said", "found"),
    [
        ('openjdk version "11.0.2" 2019-01-15', "here is Java 11"),
        ('java version "1.8.0_202"', "here is Java 8"),
        ("something else", "no Java that says its version"),
    ],
)
def test_a_java_that_is_too_old(
    study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str, found: str
) -> None:
    monkeypatch.setenv("JAVA_HOME", a_java(tmp_path / "java", said))
    code, err = pull(study)
    assert code == 2
    assert found in err
    assert "17 or newer" in err


def test_no_java(study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "nowhere"))
    code, err = pull(study)
    assert (code, "there is none here" in err) == (2, True)
    monkeypatch.delenv("JAVA_HOME")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert pull(study)[0] == 2


@pytest.mark.parametrize("version", ["17.0.15", "21", "25.0.1"])
def test_a_java_that_is_new_enough(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str) -> None:
    monkeypatch.setenv("JAVA_HOME", a_java(tmp_path / "java", f'openjdk version "{version}" 2025-04-15'))
    spark_session._need_java()


@pytest.mark.parametrize(
    ("master", "code", "said"),
    [
        ("spark://127.0.0.1:1", 4, "no Spark master answers at spark://127.0.0.1:1"),
        ("spark://127.0.0.1:1,127.0.0.1:2", 4, "no Spark master answers"),
        ("k8s://https://127.0.0.1:1", 4, "no Spark master answers"),
        ("yarn", 2, "HADOOP_CONF_DIR"),
        ("mesos://127.0.0.1", 2, "no master of Spark"),
        ("spark://127.0.0.1:x", 4, "no Spark master answers"),
    ],
)
def test_a_master_that_is_none(
    study: Study, monkeypatch: pytest.MonkeyPatch, master: str, code: int, said: str, tmp_path: Path
) -> None:
    monkeypatch.delenv("HADOOP_CONF_DIR", raising=False)
    monkeypatch.delenv("YARN_CONF_DIR", raising=False)
    monkeypatch.setenv("JAVA_HOME", a_java(tmp_path / "java", 'openjdk version "17.0.15"'))
    got, err = pull(study, "--master", master)
    assert (got, said in err) == (code, True)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--engine", "spark"), "--engine reads files"),
        (("--from", "x", "--master", "local[2]"), "add --engine spark"),
    ],
)
def test_options_that_say_nothing_together(study: Study, arguments: tuple[str, ...], said: str) -> None:
    ran = study.type("pull", *arguments)
    assert (ran.code, said in ran.err) == (2, True)


def test_without_pieces_nothing_is_begun(tmp_path: Path, mapper: SiteMapper, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dm_fhir.sync.scan.spark.session", None)
    monkeypatch.setenv("JAVA_HOME", a_java(tmp_path / "java", 'openjdk version "17.0.15"'))
    none: list[Piece] = []
    with on_spark(None, tmp_path / "log", lambda *_: None) as runner:
        assert list(runner(none, OfPatients(mapper, None, None))) == []


@pytest.mark.parametrize(
    ("text", "kind", "said"),
    [
        ("java.lang.OutOfMemoryError: Java heap space", DmFhirError, "out of memory"),
        ("is bigger than spark.driver.maxResultSize (1024.0 MiB)", DmFhirError, "out of memory"),
        ("Container killed by YARN for exceeding memory limits", DmFhirError, "out of memory"),
        ("ExecutorLostFailure (executor 1 exited caused by one of the running tasks) exit code 137", DmFhirError, "out of memory"),
        ("ExecutorLostFailure (executor 1 exited): Remote RPC client disassociated", DmFhirError, "lost a process"),
        ("Python worker exited unexpectedly (crashed)", DmFhirError, "lost a process"),
        ("[PYTHON_VERSION_MISMATCH] Python in worker has different version", ConfigError, "another Python"),
        ("ModuleNotFoundError: No module named 'dm_fhir'", ConfigError, "has no dm-fhir"),
        ("/opt/python3: Error while finding module: No module named 'msgspec'", ConfigError, "has no dm-fhir"),
        ("Anna Beispiel was here", DmFhirError, "Spark failed"),
    ],
)  # fmt: skip
def test_what_spark_says_becomes_what_to_do(tmp_path: Path, text: str, kind: type[DmFhirError], said: str) -> None:
    from py4j.protocol import Py4JError

    with pytest.raises(kind, match=said) as failed, explained(tmp_path / "log"):
        raise Py4JError(text)
    assert type(failed.value) is kind
    assert "Anna" not in str(failed.value)


def test_what_a_task_says_arrives_as_it_was_said(tmp_path: Path) -> None:
    from py4j.protocol import Py4JError

    task = TaskFailed("/a:{b}", 'try "this"\nand that', is_setup=True)
    java = f"Traceback:\ndm_fhir.sync.scan.spark_failures.TaskFailed: {task}\n SQLSTATE: 38000"
    with pytest.raises(ConfigError) as failed, explained(tmp_path / "log"):
        raise Py4JError(java)
    assert (failed.value.message, failed.value.hint) == ("/a:{b}", 'try "this"\nand that')
    with pytest.raises(ServerUnavailable), explained(tmp_path / "log"):
        raise ServerUnavailable("an error of ours stays as it is")
