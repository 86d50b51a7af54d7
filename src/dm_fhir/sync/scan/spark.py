"""Pieces read on Apache Spark: by the functions that read them here, into the parcels that they give here.

A task opens its pieces itself, so the cluster needs this package and a way to the files, and nothing of Hadoop. What comes of them stays
on the executors' disks until all is read; from there it is fetched a task at a time, in the order of the pieces.
"""

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import cache, partial
from hashlib import sha256
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec.structs import replace

from dm_fhir import __version__
from dm_fhir.errors import DmFhirError, ServerUnavailable, unexpected
from dm_fhir.fhir.sources import in_any_folder
from dm_fhir.sync.scan.piece import Piece
from dm_fhir.sync.scan.questions import Question
from dm_fhir.sync.scan.runners import Runner
from dm_fhir.sync.scan.scan import scan
from dm_fhir.sync.scan.scanned import DECODER, ENCODER, Scanned
from dm_fhir.sync.scan.spark_failures import HOW, TaskFailed, explained
from dm_fhir.sync.scan.spark_session import check_setup, session

if TYPE_CHECKING:
    from pyspark import Broadcast, SparkContext, StatusTracker

#: So many tasks at most: the driver remembers each, and fetches their parcels one task after the other.
MOST_TASKS = 10_000
#: So long may a cluster leave everything undone before nobody waits any longer.
IDLE_SECONDS = 300.0
#: What of this package an executor must have exactly as it is here.
_SHARED = ("dm_fhir", "dm_fhir.fhir", "dm_fhir.mappings", "dm_fhir.sync.scan")
#: Hears how many tasks are done, and how many there are.
Tell = Callable[[int, int], None]


@contextmanager
def on_spark(master: str | None, log: Path, tell: Tell) -> Iterator[Runner]:
    """A Runner on the cluster at `master`; None: the one that spark-submit has chosen, or else this machine.

    The session begins with the first pieces and ends with the block; what Spark says goes to `log`. What this machine lacks is
    said before anything is begun. Raises ConfigError, ServerUnavailable and DmFhirError; the runner does too.
    """
    check_setup(master)
    with ExitStack() as stack:
        begun: list[SparkContext] = []

        def runner(pieces: Sequence[Piece], question: Question) -> Iterator[Scanned]:
            if pieces:
                if not begun:
                    begun.append(stack.enter_context(session(master, log)))
                yield from parcels(begun[0], pieces, question, log, tell)

        yield runner


def parcels(
    context: "SparkContext", pieces: Sequence[Piece], question: Question, log: Path, tell: Tell
) -> Iterator[Scanned]:
    """What comes of the pieces, read in this session: each parcel once, however often Spark has to begin a task again."""
    from pyspark import StorageLevel

    numbered = [(number, replace(piece, source=in_any_folder(piece.source))) for number, piece in enumerate(pieces)]
    tasks = min(len(numbered), MOST_TASKS)
    with explained(log):
        asked = context.broadcast(question)
        read = context.parallelize(numbered, tasks).mapPartitions(partial(_read, installed(), asked))
        kept = read.persist(StorageLevel.DISK_ONLY)
        _watched(context, kept.count, tasks, tell)
        fetched = kept.toLocalIterator(prefetchPartitions=True)
    while True:
        with explained(log):
            parcel = next(fetched, None)
        if parcel is None:
            break
        yield DECODER.decode(parcel)
    with explained(log):  # where this is not reached the session ends, and they end with it
        kept.unpersist()
        asked.destroy()


def _read(expected: str, asked: "Broadcast[Question]", numbered: Iterable[tuple[int, Piece]]) -> Iterator[bytes]:
    """A task: its pieces for the question. What goes wrong is said without a text or value that may be a patient's."""
    if installed() != expected:
        raise TaskFailed("an executor has another dm-fhir than this machine, or other tables", HOW, is_setup=True)
    question = asked.value
    for number, piece in numbered:
        try:
            for parcel in scan(number, piece, question):
                yield ENCODER.encode(parcel)
        except DmFhirError as error:
            raise TaskFailed(error.message, error.hint) from None
        except Exception as error:  # noqa: BLE001  # its text and values may be a patient's, its place is not
            raise TaskFailed(unexpected(error).message, None) from None


@cache
def installed() -> str:
    """Which dm-fhir this is: its version, and a hash of the code and the tables that a task works with."""
    digest = sha256()
    for package in _SHARED:
        for name, file in sorted(_parts(files(package))):
            digest.update(f"{package}/{name}\0".encode() + file.read_bytes())
    return f"{__version__} {digest.hexdigest()[:16]}"


def _parts(folder: Traversable) -> Iterator[tuple[str, Traversable]]:
    for one in folder.iterdir():
        if one.is_file() and one.name.endswith((".py", ".toml")):
            yield one.name, one
    tables = folder / "tables"
    if tables.is_dir():
        yield from ((f"tables/{one.name}", one) for one in tables.iterdir() if one.name.endswith(".toml"))


def _watched(context: "SparkContext", job: Callable[[], object], tasks: int, tell: Tell) -> None:
    """Carry out the job; tell how far it is, and end it if nobody takes up its tasks.

    It runs in a thread beside: a signal that meets the main one on its way to Java would be told as a failure of Java's.
    """
    over = threading.Event()
    failures: list[Exception] = []
    threading.Thread(target=_carry_out, args=(job, failures, over), daemon=True).start()
    tell(0, tasks)
    tracker, waited, pause = context.statusTracker(), 0.0, min(0.5, IDLE_SECONDS)
    while not over.wait(pause):
        active, done = _at_work(tracker)
        waited = 0.0 if active or done else waited + pause
        tell(done, tasks)
        if waited >= IDLE_SECONDS:
            context.cancelAllJobs()
            raise ServerUnavailable(
                f"no executor took up a task within {IDLE_SECONDS:.0f} s",
                hint="is the cluster full, or is more asked for an executor (memory, cores, image) than it can give?",
            )
    if failures:
        raise failures[0]
    tell(tasks, tasks)


def _carry_out(job: Callable[[], object], failures: list[Exception], over: threading.Event) -> None:
    try:
        job()
    except Exception as error:  # noqa: BLE001  # it is raised again in the thread that waits
        failures.append(error)
    finally:
        over.set()


def _at_work(tracker: "StatusTracker") -> tuple[int, int]:
    """How many tasks of what is at work are running, and how many are done."""
    jobs = [tracker.getJobInfo(job) for job in tracker.getActiveJobsIds()]
    stages = [tracker.getStageInfo(stage) for job in jobs if job for stage in job.stageIds]
    found = [stage for stage in stages if stage]
    return sum(one.numActiveTasks for one in found), sum(one.numCompletedTasks for one in found)
