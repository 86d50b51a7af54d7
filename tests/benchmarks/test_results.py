"""What the benchmarks find: written, read, shown, compared. Nothing is timed."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jsonschema
import msgspec
import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def modules(load: Callable[..., SimpleNamespace]) -> SimpleNamespace:
    return load(
        "results", "page", "bench", "compare", "machine", "given", "processes", "growing", "starting", "storing", "stored", "reading"
    )  # fmt: skip


def ratio(modules: SimpleNamespace, value: float, **more: Any) -> Any:
    return modules.results.Ratio(**{"what": "size", "value": value, "unit": "times", "better": "more", **more})


def found(modules: SimpleNamespace, *ratios: Any) -> Any:
    table = modules.results.Table("Rates:", ("", "a second", "MB"), (("ours", 12345.6, None),))
    return modules.results.Found("Some resources.", ratios, (table,))


def part(modules: SimpleNamespace, name: str, *ratios: Any, is_quick: bool = False) -> Any:
    return modules.results.Part(name, "2026-01-31 10:00", "abc1234", 0.5, 12.3, is_quick, found(modules, *ratios))


def results(modules: SimpleNamespace, *parts: Any, cores: int = 2) -> Any:
    machine = modules.results.Machine("Linux 6", "a processor", cores, 24.0, "ext4 on sda", "3.11.7", {"msgspec": "1"})
    return modules.results.Results(machine, parts)


@pytest.mark.parametrize(
    ("better", "target", "value", "expected"),
    [
        ("more", 10, 10, True), ("more", 10, 9.99, False), ("less", 10, 10, True), ("less", 10, 10.01, False),
        ("more", None, 1, None), ("less", 0, 0, True),
    ],
)  # fmt: skip
def test_a_wish_is_met_at_its_edge(
    modules: SimpleNamespace, better: str, target: float | None, value: float, expected: bool | None
) -> None:
    assert ratio(modules, value, better=better, target=target).is_met is expected


def test_results_are_read_as_they_were_written_and_as_the_schema_says(modules: SimpleNamespace, tmp_path: Path) -> None:
    written = results(modules, part(modules, "store", ratio(modules, 0.4, unit="share", target=0.5)))
    modules.results.write_results(tmp_path / "new" / "file.json", written)

    assert modules.results.read_results(tmp_path / "new" / "file.json") == written
    schema = json.loads((ROOT / "benchmarks" / "results.schema.json").read_bytes())
    document = json.loads((tmp_path / "new" / "file.json").read_bytes())
    jsonschema.validate(document, schema)
    document["parts"][0]["found"]["ratios"][0]["unit"] = "apples"
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(document, schema)
    (tmp_path / "bad.json").write_text("[]")
    with pytest.raises(msgspec.ValidationError):
        modules.results.read_results(tmp_path / "bad.json")


def test_the_schema_is_of_these_results(modules: SimpleNamespace) -> None:
    assert (ROOT / "benchmarks" / "results.schema.json").read_bytes() == modules.results.schema()


def test_a_fresh_part_takes_the_place_of_the_one_before(modules: SimpleNamespace) -> None:
    order = ("a", "b", "c")
    before = results(modules, part(modules, "c"), part(modules, "b", ratio(modules, 1)))
    fresh = [part(modules, "b", ratio(modules, 2)), part(modules, "a")]

    kept = modules.results.merged(before, before.machine, fresh, order)
    assert [one.name for one in kept.parts] == ["a", "b", "c"]
    assert kept.part("b") is fresh[0]
    assert kept.part("d") is None
    elsewhere = results(modules, cores=64).machine
    assert modules.results.merged(before, elsewhere, fresh, order).parts == (fresh[1], fresh[0])


def test_the_page_says_what_was_wanted_and_what_was_not_measured(modules: SimpleNamespace) -> None:
    ratios = (
        ratio(modules, 0.2, what="share", unit="share", target=0.4),
        ratio(modules, 2, what="requests", unit="requests", better="less", target=3),
        ratio(modules, 1234, what="no wish", unit="MB"),
    )
    text = modules.page.page(results(modules, part(modules, "store", *ratios, is_quick=True)))

    for line in (
        "### Store",
        "2026-01-31 10:00 at abc1234, load 0.5 when it began, 12 s, a quick run.",
        "| share | at least 40.0% | 20.0% | **missed** |",
        "| requests | at most 3 requests | 2 requests | met |",
        "| no wish |  | 1,234 MB |  |",
        "| ours | 12,346 | not measured |",
    ):
        assert line in text.splitlines()


@pytest.mark.parametrize(
    ("value", "expected"),
    [(0, "0"), (0.0, "0.00"), (7, "7"), (12345, "12,345"), (1234.5, "1,234"), (99.96, "100.0"), (12.34, "12.3"), (1.0, "1.00"),
     (0.123, "0.12"), (0.0123, "0.012")],
)  # fmt: skip
def test_numbers_have_the_digits_that_mean_something(modules: SimpleNamespace, value: float, expected: str) -> None:
    assert modules.page.number(value) == expected


def test_parts_are_run_one_by_one_and_one_that_fails_does_not_hold_the_others(
    modules: SimpleNamespace, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bench = modules.bench
    folders = []

    def measured(given: Any) -> Any:
        assert list(given.folder.iterdir()) == []
        (given.folder / "store").touch()
        folders.append(given.folder)
        given.say("half of it")
        return found(modules, ratio(modules, 1.5))

    def failing(given: Any) -> Any:
        raise modules.processes.RunFailed("the server has 3 of 4")

    modules_of = {"reading": measured, "storing": failing, "mapping": measured}
    monkeypatch.setattr(bench, "import_module", lambda name: SimpleNamespace(measure=modules_of[name]))
    for name, file in (("LATEST", "latest.json"), ("PUBLISHED", "published.json"), ("_DOCS", "page.md")):
        monkeypatch.setattr(bench, name, tmp_path / file)
    monkeypatch.setattr(bench, "_WORK", tmp_path / "build")
    (tmp_path / "build").mkdir()
    (tmp_path / "build" / "of a run that was killed").touch()
    (tmp_path / "page.md").write_text(f"# Kept\n\n{bench.LAST_RUN}\nold\n")

    assert bench.main(["reading", "store", "mapping", "--quick", "--save"]) == 1

    told = capsys.readouterr()
    assert "store could not be run: the server has 3 of 4" in told.err
    assert "half of it" in told.err
    assert told.err.splitlines()[-1].endswith("done; not run: store")
    latest = modules.results.read_results(tmp_path / "latest.json")
    assert [(one.name, one.is_quick) for one in latest.parts] == [("reading", True), ("mapping", True)]
    assert modules.results.read_results(tmp_path / "published.json") == latest
    assert (tmp_path / "page.md").read_text() == f"# Kept\n\n{bench.LAST_RUN}\n{told.out}"
    assert not any(folder.exists() for folder in folders)

    assert bench.main(["mapping"]) == 0  # the others stay
    again = modules.results.read_results(tmp_path / "latest.json")
    assert [(one.name, one.is_quick) for one in again.parts] == [("reading", True), ("mapping", False)]


def test_a_part_that_is_not_there_is_named(modules: SimpleNamespace, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        modules.bench.main(["reading", "cooking"])
    assert "there is no cooking; there are reading, pulling" in capsys.readouterr().err


def test_every_part_has_a_module_and_a_chapter(modules: SimpleNamespace, load: Callable[..., SimpleNamespace]) -> None:
    text = (ROOT / "docs" / "performance.md").read_text(encoding="utf-8")
    for name, module in modules.bench.PARTS.items():
        assert callable(getattr(load(module), module).measure)
        assert f"\n## {name.capitalize()}\n" in text


def test_what_is_published_is_what_the_page_shows(modules: SimpleNamespace) -> None:
    text = (ROOT / "docs" / "performance.md").read_text(encoding="utf-8")
    shown = text.partition(modules.bench.LAST_RUN)[2]
    assert shown == "\n" + modules.page.page(modules.results.read_results(modules.bench.PUBLISHED))


def test_only_what_became_worse_by_enough_is_said(
    modules: SimpleNamespace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def ratios(rate: float, size: float, *more: Any) -> tuple[Any, ...]:
        return (
            ratio(modules, rate, what="rate"),
            ratio(modules, size, what="size", better="less", unit="MB"),
            ratio(modules, 0.0 if rate == 10 else 1.0, what="requests", better="less", unit="requests"),
            *more,
        )

    gone = ratio(modules, 3, what="gone")
    before = results(modules, part(modules, "store", *ratios(10, 100, gone)), part(modules, "quick", is_quick=True))
    files = tmp_path / "before.json", tmp_path / "after.json"
    modules.results.write_results(files[0], before)
    after = results(modules, part(modules, "new"), part(modules, "quick"), part(modules, "store", *ratios(8.9, 111)))
    modules.results.write_results(files[1], after)

    assert modules.compare.main([*map(str, files)]) == 1
    assert capsys.readouterr().out.splitlines() == [
        "quick: one was a quick run and one was not: not compared",
        "store: rate: was 10.0 times, is 8.90 times",
        "store: size: was 100 MB, is 111 MB",
        "store: requests: was 0.00 requests, is 1.00 requests",
        "store: gone: was 3.00 times, is not there any more",
    ]
    modules.results.write_results(files[1], results(modules, part(modules, "store", *ratios(10, 109), gone)))
    assert modules.compare.main([*map(str, files)]) == 0
    assert capsys.readouterr().out == "nothing became worse\n"
    assert modules.compare.main([*map(str, files), "--more-than", "0.05"]) == 1


@pytest.mark.parametrize("power", [0.5, 1.0, 2.0])
def test_the_exponent_is_that_of_what_is_beyond_the_start(modules: SimpleNamespace, power: float) -> None:
    by_size = {1: 3.0, **{size: 3 + 0.01 * (size - 1) ** power for size in (50, 500, 5000)}}
    assert modules.growing.exponent(by_size, 0.001) == pytest.approx(power)


def test_what_does_not_grow_has_no_exponent(modules: SimpleNamespace) -> None:
    assert modules.growing.exponent({1: 3.0, 50: 3.01, 500: 2.9, 5000: 3.2}, 0.05) is None
    assert modules.growing.slope([(0, 0), (1, 1), (2, 4)]) == pytest.approx(2)
    assert modules.growing.exponent({1: 1.0, 50: 1.04, 500: 1.1, 5000: 2.0}, 0.05) == pytest.approx(1, abs=0.01)


def test_what_grows_too_fast_is_a_missed_wish(modules: SimpleNamespace) -> None:
    def run(seconds: float, peak_mb: float) -> Any:
        return modules.processes.Run(seconds, seconds, peak_mb, 0, "")

    runs = {
        "quick": {1: run(1, 50), 50: run(1.49, 50), 500: run(5.99, 50)},
        "slow": {1: run(1, 50), 50: run(2, 59.8), 500: run(101, 149.8)},
    }
    told = [(one.what, round(one.value, 2), one.is_met) for one in modules.growing.ratios("patients", runs)]
    assert told == [
        ("patients: quick: time", 1.0, True),
        ("patients: slow: time", 1.98, False),
        ("patients: slow: memory", 1.0, True),
    ]


def test_imports_are_added_up_by_package(modules: SimpleNamespace) -> None:
    told = (
        "import time: self [us] | cumulative | imported package\n"
        "import time:      1500 |       1500 |     urllib3.util\n"
        "import time:       500 |       2000 |   urllib3\n"
        "import time:       250 |       2250 | click\n"
    )
    assert modules.starting.largest(told) == {"urllib3": 2.0, "click": 0.25}


def test_every_way_of_the_store_keeps_everything(
    modules: SimpleNamespace, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(modules.stored, "PER_COMMIT", 60)
    rounds: dict[str, dict[str, float]] = {}
    for way in modules.stored.WAYS:
        (tmp_path / way).mkdir(mode=0o700)
        monkeypatch.chdir(tmp_path / way)
        modules.stored.main(way, "5")  # 130 resources, and each patient's are counted
        rounds[way] = json.loads(capsys.readouterr().out)
    assert all(rates["put"] > 0 and rates["mb"] > 0.1 for rates in rounds.values())
    assert {"of_patient", "one"} <= rounds["own"].keys() & rounds["bare"].keys()
    shares = [one.value for one in modules.storing.ratios([rounds])]
    assert len(shares) == 5
    assert all(share > 0 for share in shares)


def test_the_peers_environment_is_made_once_for_what_is_wanted(
    load: Callable[..., SimpleNamespace],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    environment = load("peers.environment").peers_environment
    ran: list[list[str]] = []

    def run(command: list[str], **_: Any) -> None:
        ran.append(command)
        (tmp_path / "venv").mkdir(exist_ok=True)

    monkeypatch.setattr(environment, "subprocess", SimpleNamespace(run=run))
    monkeypatch.setattr(environment, "_FOLDER", tmp_path / "venv")
    monkeypatch.setattr(environment, "_REQUIREMENTS", tmp_path / "requirements.txt")
    (tmp_path / "requirements.txt").write_text("orjson==3\npyspark==4\n")

    assert environment.program("python") == tmp_path / "venv" / "bin" / "python"
    assert [command[1:4] for command in ran] == [["-m", "venv", "--clear"], ["-m", "pip", "install"]]
    assert "environment is made, once" in capsys.readouterr().err
    environment.program("smart-fetch")
    assert len(ran) == 2
    (tmp_path / "requirements.txt").write_text("orjson==4\npyspark==4\n")
    environment.program("python")
    assert len(ran) == 4
    assert environment.versions() == {"orjson": "4", "pyspark": "4"}


def test_the_machine_names_no_folder(modules: SimpleNamespace) -> None:
    machine = modules.machine.this_machine(ROOT)
    assert machine.cores >= 1
    assert machine.memory_gb > 0
    assert "/" not in f"{machine.disk} {machine.system} {machine.processor.replace('w/', '')}"


def test_a_process_is_not_charged_with_the_memory_of_who_measures_it(modules: SimpleNamespace, tmp_path: Path) -> None:
    held = bytearray(200_000_000)
    run = modules.processes.measured([sys.executable, "-c", "print(len(bytearray(40_000_000)))"], tmp_path)

    assert len(held) == 200_000_000
    assert run.output == "40000000\n"
    assert run.exit_code == 0
    assert 38 < run.peak_mb < 80
    assert run.wall_seconds > 0
    assert run.cpu_seconds > 0


def test_a_program_that_fails_or_is_not_there_is_told_with_what_it_said(
    modules: SimpleNamespace, tmp_path: Path
) -> None:
    failing = [sys.executable, "-c", "import sys; print('half'); sys.exit('no more')"]
    with pytest.raises(modules.processes.RunFailed, match=r"(?s)ended with 1:.*half.*no more"):
        modules.processes.measured(failing, tmp_path)
    assert modules.processes.measured(failing, tmp_path, accept=(1,)).exit_code == 1
    with pytest.raises(modules.processes.RunFailed, match=r"no-such-program could not be started: FileNotFoundError"):
        modules.processes.measured(["no-such-program"], tmp_path)


def test_our_own_ways_to_read_an_observation_read_every_line(
    load: Callable[..., SimpleNamespace],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    own = load("read_own", "peers.parse_observation", "population")
    monkeypatch.setattr(own.peers_parse_observation, "_SECONDS", 0.01)
    bodies = [row.body for row in own.population.rows("Observation", "p00001")]
    (tmp_path / "lines.ndjson").write_bytes(b"\n".join(bodies))

    for way in ("view", "filed", "bare"):
        own.read_own.main(way, str(tmp_path / "lines.ndjson"))
        assert float(capsys.readouterr().out) > 100
    assert [resource.id for resource in own.read_own._filed(bodies)] == [f"p00001-o{n // 4}{n % 4}" for n in range(16)]
