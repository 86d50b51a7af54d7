"""Reading in several processes: the same parcels in the same order, and an end of all of them however one of them ends."""

import gzip
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from dm_fhir.errors import InternalError, StoreError
from dm_fhir.fhir.listing import find_sources
from dm_fhir.fhir.resource import Resource
from dm_fhir.sync.scan import piece, processes, runners
from dm_fhir.sync.scan.piece import Piece, pieces_of
from dm_fhir.sync.scan.processes import in_processes
from dm_fhir.sync.scan.questions import Head
from dm_fhir.sync.scan.record_questions import OfPatients
from dm_fhir.sync.scan.runners import in_turn, on_this_machine
from dm_fhir.sync.scan.scanned import ENCODER, Scanned

PATIENCE_SECONDS = 30
LONGEST_SECONDS = 2.0


class FakeMapper:
    """Knows as its own what says so."""

    def is_own(self, body: bytes) -> bool:
        return b"written-by-us" in body


EVERYTHING = OfPatients(FakeMapper(), None, None)  # type: ignore[arg-type]


class Breaking(NamedTuple):
    """Makes a mistake when it sees the resource of this id."""

    id: str

    @property
    def head(self) -> type[Head]:
        return Head

    def suspects(self, heads: Sequence[Head]) -> Sequence[int]:
        return [index for index, head in enumerate(heads) if head.id == self.id]

    def answer(self, resource: Resource, scanned: Scanned) -> None:
        raise ValueError(f"the secret of {resource.id}")


def line(number: int, size_bytes: int = 0) -> bytes:
    return b'{"resourceType":"Observation","id":"o%d","x":"%b"}\n' % (number, b"x" * size_bytes)


@pytest.fixture
def export(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Piece]:
    """Some files in many pieces: plain, packed, a document, damaged, with bad lines."""
    monkeypatch.setattr(piece, "PIECE_BYTES", 10_000)
    folder = tmp_path / "export"
    folder.mkdir()
    (folder / "a.ndjson").write_bytes(b"".join(map(line, range(3000))))
    (folder / "b.ndjson.gz").write_bytes(gzip.compress(b"".join(map(line, range(2000))) + b"{oops\n"))
    (folder / "c.ndjson").write_bytes(b"".join(line(n) if n % 7 else b"{oops\n\n" for n in range(500)))
    (folder / "d.json").write_bytes(b'{"resourceType":"Bundle","entry":[{"resource":' + line(1) + b"},{}]}")
    (folder / "e.ndjson.gz").write_bytes(gzip.compress(b"".join(map(line, range(999))))[:-300])
    (folder / "f.ndjson").write_bytes(b"")
    return pieces_of(find_sources([str(folder)])[0])


@pytest.mark.parametrize("many", [2, 3])
def test_the_bytes_are_those_of_one_process(export: list[Piece], many: int) -> None:
    assert len(export) > 20
    expected = [ENCODER.encode(parcel) for parcel in in_turn(export, EVERYTHING)]
    assert [ENCODER.encode(parcel) for parcel in in_processes(export, EVERYTHING, many)] == expected


def test_there_may_be_more_pieces_than_are_laid_out(export: list[Piece], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "_LAID_OUT", 3)
    assert [p.piece for p in in_processes(export, EVERYTHING, 2) if p.is_last] == list(range(len(export)))


def test_small_inputs_are_read_in_this_process_and_large_ones_in_as_many_as_there_are_cores(
    export: list[Piece], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []

    def noted(pieces: Sequence[Piece], question: Any, many: int) -> Iterator[Scanned]:
        asked.append(many)
        return in_turn(pieces, question)

    monkeypatch.setattr(runners, "in_processes", noted)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {1, 2, 5})
    size = sum(map(runners._size_bytes, export))
    for limit in (size + 1, size):
        monkeypatch.setattr(runners, "_WORTH_PROCESSES_BYTES", limit)
        assert sum(p.is_last for p in on_this_machine(None)(export, EVERYTHING)) == len(export)
    list(on_this_machine(1)(export, EVERYTHING))
    list(on_this_machine(2)(export, EVERYTHING))
    list(on_this_machine(8)(export[:1], EVERYTHING))
    assert asked == [3, 2]


def test_a_packed_file_counts_for_more_than_its_bytes(export: list[Piece]) -> None:
    packed = next(p for p in export if p.source.path.endswith("b.ndjson.gz"))
    assert runners._size_bytes(packed) == 10 * (packed.source.size_bytes or 0)
    plain = [p for p in export if p.source.path.endswith("a.ndjson")]
    assert len(plain) > 10
    assert sum(map(runners._size_bytes, plain)) == plain[0].source.size_bytes


def test_a_mistake_in_a_process_is_told_with_its_place_and_without_its_text(export: list[Piece]) -> None:
    with pytest.raises(InternalError, match="ValueError at ") as caught:
        list(in_processes(export, Breaking("o1500"), 2))
    assert "secret" not in str(caught.value) + "".join(caught.value.frames)
    assert any("answer" in frame for frame in caught.value.frames)


def _children() -> set[int]:
    """Those that read: they are begun by a process that itself was begun for that."""
    servers = [pid for pid in _begun_by(os.getpid()) if b"forkserver" in Path(f"/proc/{pid}/cmdline").read_bytes()]
    return {pid for server in servers for pid in _begun_by(server)}


def _begun_by(process: int) -> list[int]:
    return [int(pid) for pid in Path(f"/proc/{process}/task/{process}/children").read_text(encoding="utf-8").split()]


@pytest.mark.parametrize("after", [0, 5])
def test_a_killed_process_is_an_error_that_says_what_to_do_and_ends_all(export: list[Piece], after: int) -> None:
    before = _children()
    parcels = in_processes(export, EVERYTHING, 2)
    got = list(islice(parcels, 1 + after))
    started = _children() - before
    assert (len(started), len(got)) == (2, 1 + after)
    os.kill(min(started), signal.SIGKILL)
    with pytest.raises(StoreError, match=r"ended from outside \(SIGKILL\)\n  run again"):
        list(parcels)
    assert _children() == before


def test_whoever_stops_listening_leaves_no_process_behind(export: list[Piece]) -> None:
    before = _children()
    parcels = in_processes(export, EVERYTHING, 2)
    next(parcels)
    assert len(_children() - before) == 2
    parcels.close()  # type: ignore[attr-defined]  # it is a generator
    assert _children() == before


PARENT = """
import signal, sys
from pathlib import Path
from dm_fhir.fhir.sources import source_of
from dm_fhir.sync.scan.piece import Piece
from dm_fhir.sync.scan.processes import in_processes
from dm_fhir.sync.scan.record_questions import OfPatients
class Mapper:
    def is_own(self, body):
        return False
def interrupted(*_):
    raise KeyboardInterrupt
if __name__ == "__main__":
    signal.signal(signal.SIGTERM, interrupted)
    path, ready = sys.argv[1], Path(sys.argv[2])
    try:
        for number, parcel in enumerate(in_processes([Piece(source_of(path), True)] * 400, OfPatients(Mapper(), None, None), 2)):
            if number == 3:
                ready.touch()
    except KeyboardInterrupt:
        sys.exit(130)
"""


@pytest.fixture
def parent(tmp_path: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """A program that reads for long in two processes, and is in the middle of it; in a group of its own, as in a terminal."""
    path, ready, program = tmp_path / "a.ndjson", tmp_path / "ready", tmp_path / "parent.py"
    path.write_bytes(b"".join(line(n, 500) for n in range(20_000)))
    program.write_text(PARENT, encoding="utf-8")
    with subprocess.Popen(
        [sys.executable, str(program), str(path), str(ready)], start_new_session=True, stderr=subprocess.PIPE
    ) as process:
        _wait(ready.exists)
        yield process
        if process.poll() is None:
            process.kill()


def _wait(is_so: Any) -> float:
    began = time.monotonic()
    while not is_so():
        assert time.monotonic() - began < PATIENCE_SECONDS
        time.sleep(0.01)
    return time.monotonic() - began


def _group(leader: int) -> list[int]:
    """Whoever is in the group and not yet gone."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text(encoding="utf-8").rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[2]) == leader and fields[0] not in "ZX":
            found.append(int(stat.parent.name))
    return found


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("to_all", [True, False])
def test_an_interrupt_ends_all_within_two_seconds_and_quietly(
    parent: "subprocess.Popen[bytes]", number: signal.Signals, to_all: bool
) -> None:
    (os.killpg if to_all else os.kill)(parent.pid, number)
    assert _wait(lambda: parent.poll() is not None) < LONGEST_SECONDS
    assert (parent.returncode, parent.stderr and parent.stderr.read()) == (130, b"")
    assert _wait(lambda: not _group(parent.pid)) < LONGEST_SECONDS


def test_kill_9_leaves_no_process_behind(parent: "subprocess.Popen[bytes]") -> None:
    assert len(_group(parent.pid)) >= 3
    parent.kill()
    parent.wait()
    assert _wait(lambda: not _group(parent.pid)) < LONGEST_SECONDS
    assert parent.stderr
    assert parent.stderr.read() == b""
