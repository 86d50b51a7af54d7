"""Spark gives the very bytes that this machine gives; and what goes wrong there is said here, without a patient in it."""

import os
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest
from msgspec.structs import replace

from dm_fhir.errors import ConfigError, DmFhirError
from dm_fhir.fhir.listing import find_sources
from dm_fhir.mappings.site import SiteMapper
from dm_fhir.sync.scan import spark as runner
from dm_fhir.sync.scan.cohort_questions import GivenDrug
from dm_fhir.sync.scan.piece import Piece, pieces_of
from dm_fhir.sync.scan.questions import Question
from dm_fhir.sync.scan.record_questions import OfPatients
from dm_fhir.sync.scan.runners import in_processes, in_turn
from dm_fhir.sync.scan.scanned import ENCODER, Scanned

from .conftest import OPEN_SOCKETS, Spark, fill, infusion
from .odd_questions import SENTINEL, Everything, Fails, FailsOnce

pytestmark = [pytest.mark.tool, OPEN_SOCKETS]


def encoded(parcels: Iterable[Scanned]) -> bytes:
    return b"".join(map(ENCODER.encode, parcels))


def on(spark: Spark, pieces: list[Piece], question: Question) -> list[Scanned]:
    return list(runner.parcels(spark.context, pieces, question, spark.log, lambda *_: None))


def test_the_same_bytes_as_on_this_machine(spark: Spark, pieces: list[Piece], mapper: SiteMapper) -> None:
    for question in (OfPatients(mapper, None, None), GivenDrug(mapper)):
        here = encoded(in_turn(pieces, question))
        assert encoded(on(spark, pieces, question)) == here
        assert encoded(in_processes(pieces, question, 2)) == here


def test_paths_from_the_folder_where_the_command_was_typed(
    spark: Spark, mapper: SiteMapper, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(tmp_path / "in")
    with open(b"%b/in/\xff.ndjson" % os.fsencode(tmp_path), "w") as file:  # a name that is not UTF-8
        file.write(infusion(7, "Patient/p7"))
    monkeypatch.chdir(tmp_path)
    pieces = pieces_of(find_sources(["in"])[0])
    here = encoded(in_turn(pieces, OfPatients(mapper, None, None)))
    assert encoded(on(spark, pieces, OfPatients(mapper, None, None))) == here
    assert b"file-not-readable" not in here


def test_the_input_has_what_may_be_odd(pieces: list[Piece], mapper: SiteMapper) -> None:
    found = list(in_turn(pieces, OfPatients(mapper, None, None)))
    assert len({one.piece for one in found}) == len(pieces) > 20
    reasons = {faulty.reason for one in found for faulty in one.faulty}
    assert {"not-json", "no-id"} < reasons
    assert {one.damage for one in found} == {None, "file-cut-off"}
    assert {"Patient", "Observation", "MedicationAdministration"} == set().union(*(one.types for one in found))
    (patients,) = {frozenset(one.found) for one in in_turn(pieces, GivenDrug(mapper)) if one.found}
    assert len(patients) == 3


def test_several_pieces_to_a_task(
    spark: Spark, pieces: list[Piece], mapper: SiteMapper, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "MOST_TASKS", 3)
    seen: list[tuple[int, int]] = []
    parcels = runner.parcels(
        spark.context, pieces, OfPatients(mapper, None, None), spark.log, lambda *step: seen.append(step)
    )
    assert encoded(parcels) == encoded(in_turn(pieces, OfPatients(mapper, None, None)))
    assert seen[-1] == (3, 3)


def test_a_task_that_is_begun_again_hands_nothing_over_twice(
    spark: Spark, pieces: list[Piece], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "MOST_TASKS", 3)
    mark = tmp_path / "failed-once"
    here = list(in_turn(pieces, Everything()))
    before = min(one.piece for one in here if any(resource.id == "o60" for resource in one.kept))
    assert before % (len(pieces) // 3) > 0, "the task has nothing behind it when it fails"
    assert encoded(on(spark, pieces, FailsOnce(str(mark)))) == encoded(here)
    assert mark.exists()


def test_who_stops_listening_stops_nothing_else(spark: Spark, pieces: list[Piece], mapper: SiteMapper) -> None:
    parcels = runner.parcels(spark.context, pieces, OfPatients(mapper, None, None), spark.log, lambda *_: None)
    next(parcels)
    parcels.close()  # type: ignore[attr-defined]  # it is a generator
    assert len(on(spark, pieces[:2], OfPatients(mapper, None, None))) == 2


def test_a_failure_says_where_and_nothing_of_a_patient(spark: Spark, pieces: list[Piece]) -> None:
    with pytest.raises(DmFhirError) as failed:
        on(spark, pieces, Fails())
    message = failed.value.message
    assert message.startswith("internal error: ValueError at ")
    assert message.endswith("please report it")
    assert str(spark.log) in (failed.value.hint or "")
    written = b"".join(path.read_bytes() for path in (spark.log, *spark.history.rglob("*")) if path.is_file())
    assert b"TaskFailed" in spark.log.read_bytes()
    assert b"TaskFailed" in b"".join(path.read_bytes() for path in spark.history.rglob("*") if path.is_file())
    assert SENTINEL not in str(failed.value)
    assert failed.value.__cause__ is None
    for secret in (SENTINEL.encode(), b"Patient/p", b"valueQuantity", b"birthDate"):
        assert secret not in written


def test_a_file_that_an_executor_cannot_read(spark: Spark, pieces: list[Piece], mapper: SiteMapper) -> None:
    gone = replace(pieces[0], source=replace(pieces[0].source, path="/nowhere/a.ndjson"))
    got = on(spark, [gone, pieces[1]], OfPatients(mapper, None, None))
    assert got[0].damage is not None
    assert encoded(got) == encoded(in_turn([gone, pieces[1]], OfPatients(mapper, None, None)))


def test_an_executor_without_this_package(
    spark: Spark, pieces: list[Piece], mapper: SiteMapper, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spark.context, "pythonExec", bare_python())
    with pytest.raises(ConfigError, match="an executor has no dm-fhir") as failed:
        on(spark, pieces, OfPatients(mapper, None, None))
    assert "docs/spark.md" in (failed.value.hint or "")


def bare_python() -> str:
    """The Python that the environment of these tests was made from, which has none of its packages."""
    return str(Path(sys.base_prefix) / "bin" / f"python{sys.version_info.major}.{sys.version_info.minor}")


def test_an_executor_with_another_version(
    spark: Spark, pieces: list[Piece], mapper: SiteMapper, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "installed", lambda: "0.0.9 0123456789abcdef")
    with pytest.raises(ConfigError, match="another dm-fhir than this machine, or other tables"):
        on(spark, pieces, OfPatients(mapper, None, None))


def test_another_python_there(
    spark: Spark, pieces: list[Piece], mapper: SiteMapper, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spark.context, "pythonVer", "3.8")
    with pytest.raises(ConfigError, match="another Python than this machine"):
        on(spark, pieces, OfPatients(mapper, None, None))


def test_too_little_memory_for_what_comes_back(spark: Spark, pieces: list[Piece], mapper: SiteMapper) -> None:
    settings = spark.context._jsc.sc().conf()
    settings.set("spark.driver.maxResultSize", "1000")
    try:
        with pytest.raises(DmFhirError, match="Spark ran out of memory"):
            on(spark, pieces, OfPatients(mapper, None, None))
    finally:
        settings.set("spark.driver.maxResultSize", "1g")


def test_what_lies_on_disks_is_encrypted_and_nobody_else_is_listened_to(spark: Spark) -> None:
    conf = spark.context.getConf()
    for name in ("spark.io.encryption.enabled", "spark.authenticate", "spark.network.crypto.enabled"):
        assert conf.get(name) == "true"
    assert (conf.get("spark.ui.enabled"), conf.get("spark.driver.bindAddress")) == ("false", "127.0.0.1")
    assert spark.log.stat().st_mode & 0o777 == 0o600
