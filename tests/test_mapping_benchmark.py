"""The mapping benchmark's own ground: it counts only what became a part of a case, and says what is missed. Nothing is timed."""

import gzip
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from dm_fhir.model.case import Case

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture(scope="module")
def modules() -> Iterator[SimpleNamespace]:
    """The benchmark's modules, which are scripts beside each other and no package."""
    sys.path.insert(0, str(BENCHMARKS))
    before = set(sys.modules)
    yield SimpleNamespace(mapped=import_module("mapped"), mapping=import_module("mapping"))
    sys.path.remove(str(BENCHMARKS))
    for name in set(sys.modules) - before:
        if str(BENCHMARKS) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


@pytest.fixture(scope="module")
def file(modules: SimpleNamespace, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three patients of the population."""
    path: Path = modules.mapping._written(tmp_path_factory.mktemp("population") / "lines.ndjson", 3)
    return path


def test_every_resource_becomes_a_part_of_a_case(
    modules: SimpleNamespace, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    modules.mapped.main("stream", "3")
    assert capsys.readouterr().out == "78\n"
    assert len(file.read_bytes().splitlines()) == 78
    for how in ("cases", "outcomes"):
        modules.mapped.main(how, str(file))
        seconds, used = capsys.readouterr().out.split()
        assert float(seconds) > 0
        assert used == "78"


def test_what_is_left_out_and_what_cannot_be_read_is_not_used(
    modules: SimpleNamespace, file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spoilt = tmp_path / "spoilt.ndjson"
    spoilt.write_bytes(
        file.read_bytes().replace(b'"L04AG11"', b'"0"', 1).replace(b'"status":"final"', b'"status":5', 1)
    )
    modules.mapped.main("cases", str(spoilt))

    assert (
        capsys.readouterr().out.split()[1] == "76"
    )  # one of the two that cannot be read is also the one that nobody knows


def test_a_resource_that_disappears_ends_it(modules: SimpleNamespace) -> None:
    case = Case("Patient/1", "north", "UTC", left_out={"Observation: no code that the tables know": 2})

    assert modules.mapped._used(case, 2) == 0
    with pytest.raises(SystemExit, match="2 of 3 resources were used, left out or a finding"):
        modules.mapped._used(case, 3)


def test_a_hospitals_records_are_those_that_a_pull_asks_for(modules: SimpleNamespace, tmp_path: Path) -> None:
    for name in ("MimicObservationED", "MimicPatient", "MimicMedicationRequest", "MimicEncounter", "MimicLocation"):
        (tmp_path / f"{name}.ndjson.gz").write_bytes(gzip.compress(b'{"in": "%s"}\n' % name.encode()))

    assert list(modules.mapping._real_records(tmp_path)) == [
        b'{"in": "%s"}\n' % name for name in (b"MimicMedicationRequest", b"MimicObservationED", b"MimicPatient")
    ]


@pytest.mark.parametrize(
    ("rate", "peak_mb", "expected"),
    [
        ({"cases": 4000.0, "fhir.resources": 100.0, "fhirclient": 160.0}, 110, ["met", "met", "met"]),
        ({"cases": 3999.0, "fhir.resources": 100.0, "fhirclient": 160.0}, 111, ["**missed**", "**missed**", "**missed**"]),
    ],
)  # fmt: skip
def test_what_is_wanted_is_said_to_be_met_or_missed(
    modules: SimpleNamespace, rate: dict[str, float], peak_mb: int, expected: list[str]
) -> None:
    def run(megabytes: int) -> Any:
        return SimpleNamespace(peak_mb=megabytes)

    table = modules.mapping._targets({"everything": rate}, {10: run(100), 1000: run(peak_mb)})

    assert [line.split(" | ")[-1].removesuffix(" |") for line in table.splitlines()[2:]] == expected
