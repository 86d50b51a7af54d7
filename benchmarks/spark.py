"""Files read on Spark beside the same files read on this machine, and what that says of a cluster.

python benchmarks/spark.py                       400,000, 1,600,000 and 5,000,000 lines, a quarter of an hour
python benchmarks/spark.py 100000 400000         other sizes
python benchmarks/spark.py --sizing 2.5 3.5      the sizing table alone, from core-seconds per GB: this machine's, Spark's
"""

import argparse
import os
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

from scan_export import Export, written

from dm_fhir.config import load_config
from dm_fhir.fhir.listing import find_sources
from dm_fhir.fhir.sources import Source
from dm_fhir.mappings.site import site_mapper
from dm_fhir.sync.scan.cohort_questions import PATIENT, GivenDrug
from dm_fhir.sync.scan.piece import PIECE_BYTES, Piece, pieces_of
from dm_fhir.sync.scan.record_questions import OfPatients
from dm_fhir.sync.scan.runners import Runner, in_processes
from dm_fhir.sync.scan.scanned import ENCODER
from dm_fhir.sync.scan.spark import on_spark

SIZES = (400_000, 1_600_000, 5_000_000)
COHORT_SHARE = 10_000  # one patient in so many
CORES = os.cpu_count() or 1
CONFIG = '[study]\ntitle = "b"\ndrug = "anifrolumab"\ntimezone = "UTC"\n[[site]]\nname = "a"\n'
#: The sizing table: how many resources, and on what they are read.
RESOURCES = (10**7, 10**8, 10**9, 10**10)
CLUSTERS = (4, 16, 64, 256)
LINK_GB_PER_SECOND = 1.25  # 10 Gbit/s from the storage, all machines together
GB = 10**9


class Took(NamedTuple):
    """Of one way: seconds of the clock, of all processors, and bytes of what came back."""

    seconds: float
    core_seconds: float
    result_bytes: int


def two_passes(folder: Path, runner: Runner) -> int:
    """Whoever was given the drug, then all of theirs; how many bytes the parcels have."""
    config = folder / "dm-fhir.toml"
    config.write_text(CONFIG)
    loaded = load_config(config)
    mapper = site_mapper(loaded, loaded.site("a"))
    sources = find_sources([str(folder / "export")])[0]
    showing = [source for source in sources if "MedicationAdministration" in source.path]
    patients: set[str] = set()
    size = 0
    for parcel in runner(pieces_of(showing), GivenDrug(mapper)):
        patients |= {found for kind, found in parcel.found if kind == PATIENT}
        size += len(ENCODER.encode(parcel))
    for parcel in runner(pieces_of(sources), OfPatients(mapper, frozenset(patients), None)):
        size += len(ENCODER.encode(parcel))
    return size


def on_this_machine(folder: Path) -> tuple[int, float]:
    """In as many processes as there are cores; the bytes, and the core-seconds of all processes."""
    size = two_passes(folder, partial(in_processes, processes=CORES))
    return size, sum(_core_seconds(os.getpid()))


def on_local_spark(folder: Path) -> tuple[int, float]:
    """In a session of Spark's on this machine, with as many tasks at a time as there are cores."""
    with on_spark(f"local[{CORES}]", folder / "spark.log", lambda *_: None) as runner:
        size = two_passes(folder, runner)
        return size, sum(_core_seconds(os.getpid()))


def _core_seconds(process: int) -> Iterator[float]:
    """Of a process and all that it has begun and that is still there: nobody waits for Spark's Python, nor for what begins our readers."""
    ticks = os.sysconf("SC_CLK_TCK")
    fields = Path(f"/proc/{process}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    yield sum(map(int, fields[11:15])) / ticks
    for thread in Path(f"/proc/{process}/task").iterdir():
        for child in (thread / "children").read_text(encoding="ascii").split():
            yield from _core_seconds(int(child))


def took(way: Callable[[Path], tuple[int, float]], folder: Path) -> Took:
    """The way in a process of its own."""
    reading, writing = os.pipe()
    began = time.monotonic()
    child = os.fork()
    if not child:
        size, core_seconds = way(folder)
        os.write(writing, f"{size} {core_seconds}".encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        told = pipe.read().split()
    os.waitpid(child, 0)
    if not told:
        raise SystemExit(f"{way.__name__} failed")
    return Took(time.monotonic() - began, float(told[1]), int(told[0]))


def compared(sizes: Sequence[int], folder: Path) -> Iterator[tuple[Export, Took, Took]]:
    """Each size on this machine and on Spark."""
    for lines in sizes:
        place = folder / str(lines)
        export = written(place / "export", lines, max(1, lines // 25 // COHORT_SHARE))
        took(on_this_machine, place)  # brings the files into the machine's memory
        yield export, took(on_this_machine, place), took(on_local_spark, place)


def per_gb(found: Sequence[tuple[Export, Took]]) -> float:
    """Core-seconds per GB of export: what the largest costs more than the smallest, so that no start is in it."""
    (small, at_first), (large, at_last) = found[0], found[-1]
    return (at_last.core_seconds - at_first.core_seconds) / ((large.size_bytes - small.size_bytes) / GB)


def piece_bytes() -> float:
    """What the driver remembers of one piece."""
    many = 20_000
    tracemalloc.start()
    source = Source("s3a://export/Observation.ndjson", many * PIECE_BYTES, "etag")
    pieces = [Piece(source, True, n * PIECE_BYTES, (n + 1) * PIECE_BYTES) for n in range(many)]
    encoded = [ENCODER.encode(piece) for piece in pieces]
    size = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    return size / len(encoded)


def sizing(here: float, there: float, line_bytes: float, share: float, kept_bytes: float) -> Iterator[str]:
    """The table: `here` and `there` are core-seconds per GB, `share` of the bytes is read twice."""
    yield (
        f"Worked out from: {here:.2f} core-seconds per GB on one machine, {there:.2f} on Spark (both passes); {line_bytes:.0f} bytes "
        f"a resource; {share:.0%} of the bytes read twice; one patient in {COHORT_SHARE:,}; {kept_bytes:.0f} bytes of result "
        f"for each resource kept; {piece_bytes():.0f} bytes of the driver for each of the pieces of {PIECE_BYTES >> 20} MB."
    )
    yield ""
    clusters = " | ".join(f"{cores} cores" for cores in CLUSTERS)
    yield f"| resources | bytes | read | one machine, {CORES} cores | Spark, core-hours | {clusters} | the link alone | kept | result | driver, beside its Java |"
    yield "|" + "---|" * (9 + len(CLUSTERS))
    for resources in RESOURCES:
        size = resources * line_bytes
        read = size * (1 + share)
        core_seconds = size / GB * there
        link = read / GB / LINK_GB_PER_SECOND
        kept = resources / COHORT_SHARE
        memory = 80e6 + size / PIECE_BYTES * piece_bytes()
        by_cores = " | ".join(_time(max(core_seconds / cores, link)) for cores in CLUSTERS)
        yield (
            f"| {resources:,} | {_size(size)} | {_size(read)} | {_time(max(size / GB * here / CORES, link))} | {core_seconds / 3600:.1f} "
            f"| {by_cores} | {_time(link)} | {kept:,.0f} | {_size(kept * kept_bytes)} | {_size(memory)} |"
        )


def _size(size: float) -> str:
    for unit, name in ((10**12, "TB"), (10**9, "GB"), (10**6, "MB")):
        if size >= unit:
            return f"{size / unit:.3g} {name}"
    return f"{size / 1000:.3g} kB"


def _time(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 90 * 60 else f"{seconds / 3600:.1f} h"


def main() -> None:
    """Measure, and print both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("lines", nargs="*", type=int)
    parser.add_argument("--sizing", nargs=2, type=float, metavar=("HERE", "SPARK"))
    given = parser.parse_args()
    if given.sizing:
        _say(*sizing(*given.sizing, 583, 0.24, 961))
        return
    with tempfile.TemporaryDirectory(prefix="dm-fhir-spark-") as folder:
        found = []
        _say("| lines | bytes | this machine: seconds | core-seconds | Spark: seconds | core-seconds |")
        _say("|---|---|---|---|---|---|")
        for export, here, there in compared(given.lines or SIZES, Path(folder)):
            found.append((export, here, there))
            _say(
                f"| {export.lines:,} | {_size(export.size_bytes)} | {here.seconds:.1f} | {here.core_seconds:.1f} "
                f"| {there.seconds:.1f} | {there.core_seconds:.1f} |"
            )
            if here.result_bytes != there.result_bytes:
                sys.exit("Spark and this machine have not read the same")
        export, here, _ = found[-1]
        showing = sum(path.stat().st_size for path in export.files if path.stem == "MedicationAdministration")
        costs = per_gb([one[:2] for one in found]), per_gb([(one[0], one[2]) for one in found])
        table = sizing(
            *costs, export.size_bytes / export.lines, showing / export.size_bytes, here.result_bytes / export.kept
        )
        _say("", *table)


def _say(*lines: str) -> None:
    sys.stdout.write("\n".join(lines) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
