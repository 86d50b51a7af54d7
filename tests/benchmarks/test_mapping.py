"""The mapping benchmark's own ground: it counts only what became a part of a case, and says what is missed. Nothing is timed."""

import gzip
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from dm_fhir.model.case import Case


@pytest.fixture(scope="module")
def modules(load: Callable[..., SimpleNamespace]) -> SimpleNamespace:
    return load("mapped", "mapping", "population")


@pytest.fixture(scope="module")
def file(modules: SimpleNamespace, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three patients of the population."""
    path: Path = modules.population.write_population(tmp_path_factory.mktemp("population") / "lines.ndjson", 3)
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
    ("cases", "peak_mb", "expected"),
    [(4000.0, 110.0, [True, True, True]), (3999.0, 111.0, [False, False, False])],
)
def test_what_is_wanted_is_met_or_missed(
    modules: SimpleNamespace, cases: float, peak_mb: float, expected: list[bool]
) -> None:
    rate = {"cases": cases, "outcomes": 1.0, "fhir.resources": 100.0, "fhirclient": 160.0}
    found = modules.mapping.ratios({"everything": rate}, {10: 100.0, 100: 500.0, 1000: peak_mb})
    assert [ratio.is_met for ratio in found] == expected
