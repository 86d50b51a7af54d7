"""The scanning benchmark's own ground: every way finds what is there and nothing else. Nothing is timed."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest


@pytest.fixture(scope="module")
def modules(load: Callable[..., SimpleNamespace]) -> SimpleNamespace:
    return load("scanning", "scan_export", "bare_store", "peers.scan", "processes")


@pytest.fixture
def export(modules: SimpleNamespace, tmp_path: Path) -> Any:
    return modules.scan_export.written(tmp_path / "export", 1000, 3)


def test_an_export_holds_as_much_as_it_says(export: Any) -> None:
    lines = [json.loads(line) for path in export.files for line in path.read_bytes().splitlines()]
    drugs = [one for one in lines if "L04AG11" in json.dumps(one)]

    assert len(lines) == export.lines == 1000
    assert sum(path.stat().st_size for path in export.files) == export.size_bytes
    assert len({(one["resourceType"], one["id"]) for one in lines}) == 1000
    assert len({one["subject"]["reference"] for one in drugs}) == export.cohort == 3
    assert export.kept == 75


def test_the_fastest_loop_finds_the_cohorts_lines_and_no_others(
    modules: SimpleNamespace, export: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(modules.peers_scan, "_LINES_TOGETHER", 1500)  # ends within a line
    assert modules.peers_scan.with_msgspec(export.folder) == export.kept
    found = [json.loads(line) for line in (tmp_path / "found.ndjson").read_bytes().splitlines()]
    whose = {one["subject"]["reference"] if "subject" in one else f"Patient/{one['id']}" for one in found}
    assert (len(found), len(whose)) == (75, 3)


def test_the_bare_store_takes_every_line(
    modules: SimpleNamespace,
    export: Any,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(modules.bare_store, "_PER_COMMIT", 300)
    modules.bare_store.main(str(export.folder))
    assert capsys.readouterr().out == "1000\n"


def test_dm_fhir_finds_them_in_one_process_and_in_two(modules: SimpleNamespace, export: Any, tmp_path: Path) -> None:
    scanning = modules.scanning
    for processes in ("1", "2"):
        run = scanning._run(scanning.Way("dm-fhir", scanning._own("--processes", processes)), export, tmp_path / "work")
        assert json.loads(run.output)["state"] == "complete"
    assert not (tmp_path / "work").exists()


def test_a_way_that_misses_a_line_ends_it(modules: SimpleNamespace, export: Any, tmp_path: Path) -> None:
    way = modules.scanning.Way("careless", lambda *_: ["sh", "-c", "echo 74"])
    with pytest.raises(modules.processes.RunFailed, match="careless found 74 of 75 lines"):
        modules.scanning._run(way, export, tmp_path / "work")


def test_what_a_process_beside_it_took_is_its_own(modules: SimpleNamespace, export: Any, tmp_path: Path) -> None:
    told = modules.peers_scan._so_far(os.getpid())
    assert told["peak_mb"] > 10
    assert told["cpu_seconds"] > 0.1
    assert modules.peers_scan._so_far(2**31) == {}
    way = modules.scanning.Way(
        "two", lambda *_: ["sh", "-c", """echo '{"peak_mb": 768, "cpu_seconds": 100}' > beside.json; echo 75"""]
    )
    run = modules.scanning._run(way, export, tmp_path / "work")
    assert run.peak_mb == 768
    assert 100 < run.cpu_seconds < 101


def test_without_java_spark_is_left_out_and_that_is_said(
    modules: SimpleNamespace, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    scanning, said = modules.scanning, []
    given = scanning.Bench(tmp_path, True, said.append)
    monkeypatch.setenv("JAVA_HOME", "/java")
    assert [way.name for way in scanning._ways(given) if not way.every_round] == ["pyspark", scanning._SPARK]
    assert said == []
    monkeypatch.delenv("JAVA_HOME")
    monkeypatch.setenv("PATH", str(tmp_path))
    ways = scanning._ways(given)
    assert all(way.every_round for way in ways)
    assert "Spark is left out" in said[0]
    runs = {way.name: [modules.processes.Run(1, 1, 1, 0, "")] for way in ways}
    taken = dict.fromkeys((scanning._ONE, scanning._ALL, scanning._BARE), runs[scanning._ONE])
    assert not any("Spark" in one.what for one in scanning.ratios(runs, 1, taken))


def test_what_is_wanted_is_met_or_missed(modules: SimpleNamespace) -> None:
    scanning = modules.scanning

    def met(ours: float, peak_mb: float, all_cores: float) -> list[bool | None]:
        def run(seconds: float, peak_mb: float = 1) -> Any:
            return modules.processes.Run(seconds, seconds, peak_mb, 0, "")

        runs = {
            scanning._CAT: [run(0.1), run(0.1)],
            "orjson": [run(8), run(80)],
            "msgspec": [run(3), run(3)],
            "pyspark": [run(10)],
            scanning._ONE: [run(ours, peak_mb), run(10 * ours)],
            scanning._ALL: [run(all_cores), run(10 * all_cores)],
        }
        taken = {scanning._BARE: [run(0.4 * ours)], scanning._ONE: [run(ours, peak_mb)], scanning._ALL: [run(ours)]}
        return [one.is_met for one in scanning.ratios(runs, 100 / 1.1, taken)]

    assert met(4, 100, 2) == [True, True, True, None, None, True, True, True, True]
    assert met(4.1, 101, 2.8)[:3] == [False, False, False if scanning._CORES > 1 else None]
    assert met(4.1, 101, 2.8)[5:] == [False, False, True, False]
