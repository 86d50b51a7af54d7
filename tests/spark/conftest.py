"""One session with Spark for all tests: it takes seconds to begin. And files with everything in them that may be odd."""

import gzip
import os
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest
from backports import zstd

from dm_fhir.config import load_config
from dm_fhir.fhir.listing import find_sources
from dm_fhir.mappings.site import SiteMapper, site_mapper
from dm_fhir.sync.scan import piece
from dm_fhir.sync.scan.piece import Piece, pieces_of
from dm_fhir.sync.scan.spark_session import session

if TYPE_CHECKING:
    from pyspark import SparkContext

#: Spark's Python leaves some to be closed by themselves.
OPEN_SOCKETS = pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")
ROOT = Path(__file__).parents[2]
CONFIG = """
[study]
title = "One hospital"
drug = "anifrolumab"
timezone = "Europe/Madrid"

[[site]]
name = "leon"
"""


class Spark(NamedTuple):
    """A session, what Spark itself says, and the folder of what it writes of every job for its history."""

    context: "SparkContext"
    log: Path
    history: Path


@pytest.fixture(scope="package")
def spark(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Spark]:
    """Two tasks at a time, each begun again once if it fails; and all that Spark can write of a job is written."""
    folder = tmp_path_factory.mktemp("spark")
    history = folder / "history"
    history.mkdir()
    settings = {
        "spark.eventLog.enabled": "true",
        "spark.eventLog.dir": history.as_uri(),
        "spark.eventLog.compress": "false",
        "spark.eventLog.rolling.enabled": "false",
        "spark.eventLog.buffer.kb": "1",
    }
    submitted = [part for name, value in settings.items() for part in ("--conf", f"{name}={value}")]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYSPARK_SUBMIT_ARGS", shlex.join([*submitted, "pyspark-shell"]))
        patch.setenv("PYTHONPATH", str(ROOT), prepend=os.pathsep)  # the questions of these tests
        with session("local[2,2]", folder / "log") as context:
            yield Spark(context, folder / "log", history)


@pytest.fixture(scope="session")
def mapper(tmp_path_factory: pytest.TempPathFactory) -> SiteMapper:
    """Site leon's, with the tables that are shipped."""
    path = tmp_path_factory.mktemp("config") / "dm-fhir.toml"
    path.write_text(CONFIG)
    config = load_config(path)
    return site_mapper(config, config.site("leon"))


def infusion(number: int, patient: str) -> str:
    """A line: the study drug, given to somebody."""
    coding = '{"system":"http://www.whocc.no/atc","code":"L04AG11"}'
    return (
        f'{{"resourceType":"MedicationAdministration","id":"m{number}","status":"completed",'
        f'"subject":{{"reference":"{patient}"}},"effectiveDateTime":"2025-03-03T10:00:00+01:00",'
        f'"medicationCodeableConcept":{{"coding":[{coding}]}}}}\n'
    )


def observation(number: int, patient: str, text: str = "") -> str:
    """A line: CK."""
    return (
        f'{{"resourceType":"Observation","id":"o{number}","status":"final","subject":{{"reference":"{patient}"}},'
        f'"code":{{"coding":[{{"system":"http://loinc.org","code":"2157-6"}}]}},'
        f'"valueQuantity":{{"value":{100 + number}.0,"code":"U/L"}},"note":[{{"text":"{text}"}}]}}\n'
    )


def fill(folder: Path) -> None:
    """Lines, plain and packed, some faulty; Bundles; a file that is cut off, one that is empty, one that is not FHIR's."""
    folder.mkdir(parents=True, exist_ok=True)
    patients = [f'{{"resourceType":"Patient","id":"p{n}","birthDate":"1960-0{n % 9 + 1}"}}\n' for n in range(20)]
    (folder / "Patient.ndjson").write_text("\ufeff" + "".join(patients), encoding="utf-8")
    given = [infusion(n, f"https://fhir.example.org/Patient/p{n % 3}/_history/2") for n in range(30)]
    (folder / "MedicationAdministration.ndjson").write_text("".join(given))
    many = [observation(n, f"Patient/p{n % 20}", "größer" if n % 7 == 0 else "") for n in range(400)]
    faulty = ["{oops\n", '{"resourceType":"Observation"}\n', "\n", '"text"\n']
    lines = [*many[:100], *faulty, *many[100:], many[0].strip()[:-5]]  # and the last line breaks off
    (folder / "Observation.ndjson").write_text("".join(lines), encoding="utf-8")
    (folder / "Observation.1.ndjson.gz").write_bytes(gzip.compress("".join(many[:50]).encode()))
    (folder / "Observation.2.ndjson.zst").write_bytes(zstd.compress("".join(many[50:90]).encode()))
    whole = gzip.compress("".join(many).encode())
    (folder / "Observation.3.ndjson.gz").write_bytes(whole[: len(whole) // 2])
    entries = ",".join(f'{{"fullUrl":"urn:uuid:{n}","resource":{many[n].strip()}}}' for n in range(5))
    (folder / "bundle.json").write_text(f'{{"resourceType":"Bundle","type":"collection","entry":[{entries}]}}')
    (folder / "Empty.ndjson").write_text("")
    (folder / "readme.txt").write_text("no FHIR")


@pytest.fixture
def pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Piece]:
    """All those files, in many small pieces."""
    monkeypatch.setattr(piece, "PIECE_BYTES", 5000)
    fill(tmp_path / "in")
    return pieces_of(find_sources([str(tmp_path / "in")])[0])
