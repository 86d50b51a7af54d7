"""The records of everybody who was given a drug, out of the files of a bulk export. Prints how many lines there are.

python scan.py WAY FOLDER

Two passes, as dm-fhir does them: who was given the drug, then every line of theirs, written to a file.
"""

import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

SYSTEM, CODE = "http://www.whocc.no/atc", "L04AG11"
_GIVEN = "MedicationAdministration.ndjson"
_LINES_TOGETHER = 256 * 1024


def with_orjson(folder: Path) -> int:
    """A loop that decodes every line to a dictionary."""
    import orjson

    with (folder / _GIVEN).open("rb") as file:
        cohort = {one["subject"]["reference"] for one in map(orjson.loads, file) if _is_drug(one)}
    found = 0
    with Path("found.ndjson").open("wb") as out:
        for path in sorted(folder.glob("*.ndjson")):
            with path.open("rb") as file:
                for line in file:
                    one = orjson.loads(line)
                    subject = one.get("subject")
                    whose = subject["reference"] if subject else f"{one['resourceType']}/{one['id']}"
                    if whose in cohort:
                        found += out.write(line) > 0
    return found


def _is_drug(one: dict[str, dict[str, list[dict[str, str]]]]) -> bool:
    codings = one["medicationCodeableConcept"]["coding"]
    return any(coding.get("system") == SYSTEM and coding.get("code") == CODE for coding in codings)


def with_msgspec(folder: Path) -> int:
    """The fastest that Python does: typed, the elements that are asked for alone, many lines at a time."""
    import msgspec

    class Reference(msgspec.Struct, gc=False):
        reference: str = ""

    class Coding(msgspec.Struct, gc=False):
        system: str = ""
        code: str = ""

    class Concept(msgspec.Struct, gc=False):
        coding: tuple[Coding, ...] = ()

    class Given(msgspec.Struct, gc=False):
        subject: Reference
        medicationCodeableConcept: Concept

    class Head(msgspec.Struct, gc=False):
        resourceType: str
        id: str
        subject: Reference | None = None

    given, head = msgspec.json.Decoder(Given), msgspec.json.Decoder(Head)
    cohort = {
        one.subject.reference
        for lines in _batches(folder / _GIVEN)
        for one in given.decode_lines(lines)
        if any(coding.code == CODE and coding.system == SYSTEM for coding in one.medicationCodeableConcept.coding)
    }
    found = 0
    with Path("found.ndjson").open("wb") as out:
        for path in sorted(folder.glob("*.ndjson")):
            for lines in _batches(path):
                heads = head.decode_lines(lines)
                wanted = [
                    number
                    for number, one in enumerate(heads)
                    if (one.subject.reference if one.subject else f"{one.resourceType}/{one.id}") in cohort
                ]
                if wanted:
                    each = lines.splitlines(keepends=True)
                    out.writelines(each[number] for number in wanted)
                    found += len(wanted)
    return found


def _batches(path: Path) -> Iterator[bytes]:
    """The file in runs of whole lines."""
    with path.open("rb") as file:
        while lines := file.read(_LINES_TOGETHER):
            yield lines + (b"" if lines.endswith(b"\n") else file.readline())


def with_pyspark(folder: Path) -> int:
    """PySpark on every core of this machine, with what its JVM can do alone: no line goes through Python."""
    from pyspark.sql import SparkSession
    from pyspark.sql import functions as of

    settings = {"spark.ui.enabled": "false", "spark.driver.memory": "2g", "spark.driver.bindAddress": "127.0.0.1"}
    builder = SparkSession.builder.master("local[*]").appName("scan").config(map=settings)
    spark = builder.config("spark.driver.host", "127.0.0.1").getOrCreate()
    spark.sparkContext.setLogLevel("ERROR")
    shape = "subject struct<reference: string>, medicationCodeableConcept struct<coding: array<struct<system: string, code: string>>>"
    given = spark.read.schema(shape).json(str(folder / _GIVEN))
    is_drug = of.exists(
        "medicationCodeableConcept.coding", lambda one: (one["code"] == CODE) & (one["system"] == SYSTEM)
    )
    cohort = [row[0] for row in given.where(is_drug).select("subject.reference").distinct().collect()]
    lines = spark.read.text([str(path) for path in sorted(folder.glob("*.ndjson"))])
    shape = "resourceType string, id string, subject struct<reference: string>"
    head = of.from_json("value", shape)
    whose = of.coalesce(head["subject"]["reference"], of.concat_ws("/", head["resourceType"], head["id"]))
    lines.where(whose.isin(cohort)).write.text("found")
    Path("beside.json").write_text(json.dumps(_so_far(spark.sparkContext._gateway.proc.pid)), encoding="ascii")
    spark.stop()
    return sum(_lines(path) for path in Path("found").glob("part-*"))


def _so_far(process: int) -> dict[str, float]:
    """What a process has taken until now, where the system says so; the JVM is not our child when it ends."""
    try:
        said = Path(f"/proc/{process}/status").read_text(encoding="ascii").splitlines()
        ticks = Path(f"/proc/{process}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[11:13]
    except OSError:
        return {}
    peak_kib = next((int(line.split()[1]) for line in said if line.startswith("VmHWM")), 0)
    return {"peak_mb": peak_kib / 1024, "cpu_seconds": sum(map(int, ticks)) / os.sysconf("SC_CLK_TCK")}


def _lines(path: Path) -> int:
    return path.read_bytes().count(b"\n")


WAYS: dict[str, Callable[[Path], int]] = {"orjson": with_orjson, "msgspec": with_msgspec, "pyspark": with_pyspark}


def main(arguments: Iterable[str]) -> None:
    """Scan this way."""
    way, folder = arguments
    sys.stdout.write(f"{WAYS[way](Path(folder))}\n")


if __name__ == "__main__":
    main(sys.argv[1:])
