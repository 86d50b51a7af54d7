"""What a scan holds in memory does not grow with what it reads: each process's peak at a small and at a ten times larger input."""

import gzip
import subprocess
import sys
from pathlib import Path

import pytest

MOST_MB = 100
#: What a peak may differ by for other reasons than the size of the input.
NOISE_MB = 15
BLOCK_BYTES = 8 * 2**20
PROGRAM = """
import os, sys
from pathlib import Path
from dm_fhir.fhir.listing import find_sources
from dm_fhir.sync.scan import piece
from dm_fhir.sync.scan.record_questions import OfPatients
from dm_fhir.sync.scan.runners import on_this_machine
class Mapper:
    def is_own(self, body):
        return False
def peak_mb(process):
    status = Path(f"/proc/{process}/status").read_text(encoding="utf-8")
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024
if __name__ == "__main__":
    path, processes, who = sys.argv[1:]
    patients = None if who == "everybody" else frozenset({"Patient/p7"})
    piece.PIECE_BYTES = 2**20
    pieces = piece.pieces_of(find_sources([path])[0])
    kept, peaks = 0, [0.0]
    for parcel in on_this_machine(int(processes))(pieces, OfPatients(Mapper(), patients, None)):
        kept += len(parcel.kept)
        if parcel.is_last:
            beside = Path(f"/proc/self/task/{os.getpid()}/children").read_text(encoding="utf-8").split()
            peaks = [max(peaks[0], *map(peak_mb, beside))] if beside else [0.0]
    print(kept, peak_mb("self"), *peaks)
"""


def _block() -> bytes:
    lines, size, number = [], 0, 0
    while size < BLOCK_BYTES:
        lines.append(
            b'{"resourceType":"Observation","id":"o%d","subject":{"reference":"Patient/p%d"},"note":[{"text":"%b"}]}\n'
            % (number, number % 1000, b"The quick brown fox jumps over the lazy dog. " * 9)
        )
        size, number = size + len(lines[-1]), number + 1
    return b"".join(lines)


@pytest.mark.parametrize(
    ("files", "processes", "who"),
    [
        (["a.ndjson"], 1, "one"),
        (["a.ndjson"], 2, "everybody"),
        (["a.ndjson.gz"], 1, "everybody"),
        (["a.ndjson.gz", "b.ndjson.gz"], 2, "one"),
        (["a.ndjson.gz", "b.ndjson.gz"], 2, "everybody"),
    ],
)
def test_the_peak_of_each_process_is_flat(tmp_path: Path, files: list[str], processes: int, who: str) -> None:
    (tmp_path / "program.py").write_text(PROGRAM, encoding="utf-8")
    block = _block()
    part = gzip.compress(block, 1) if files[0].endswith(".gz") else block
    peaks = []
    for times in (1, 10):
        folder = tmp_path / str(times)
        folder.mkdir()
        for name in files:
            with (folder / name).open("wb") as file:
                file.writelines([part] * times)
        line = [sys.executable, tmp_path / "program.py", folder, str(processes), who]
        ran = subprocess.run(line, check=True, capture_output=True, text=True, timeout=120)
        kept, ours, theirs = ran.stdout.split()
        assert int(kept) > 10 * times
        peaks.append((float(ours), float(theirs)))
    (ours, theirs), (ours_at_ten, theirs_at_ten) = peaks
    assert max(ours_at_ten, theirs_at_ten) < MOST_MB
    assert ours_at_ten - ours < NOISE_MB
    assert theirs_at_ten - theirs < NOISE_MB
    assert (theirs_at_ten > 0) is (processes > 1)


PULL = """
import sys
from pathlib import Path
from dm_fhir.cli.main import call
code = call(["--config", sys.argv[1], "pull", "--from", sys.argv[2], "--json"])
print(code, int(Path("/proc/self/status").read_text(encoding="utf-8").partition("VmHWM:")[2].split()[0]) / 1024, file=sys.stderr)
"""
CONFIG = """
[study]
title = "Memory"
drug = "anifrolumab"
timezone = "Europe/Madrid"

[[site]]
name = "leon"
endpoint = "http://127.0.0.1:9/fhir"
[site.auth]
method = "none"
[site.cohort]
by = "everybody"
[site.pull]
scope = "all"
"""


def test_the_peak_is_flat_where_everything_is_kept(tmp_path: Path) -> None:
    peaks_mb = []
    for lines in (6_000, 60_000):  # more than a parcel, and ten times as much
        folder = tmp_path / str(lines)
        folder.mkdir()
        (folder / "dm-fhir.toml").write_text(CONFIG, encoding="utf-8")
        (folder / "a.ndjson").write_bytes(
            b"".join(
                b'{"resourceType":"Observation","id":"o%d","subject":{"reference":"Patient/p%d"}}\n' % (n, n % 50)
                for n in range(lines)
            )
        )
        line = [sys.executable, "-c", PULL, folder / "dm-fhir.toml", folder / "a.ndjson"]
        ran = subprocess.run(line, check=True, capture_output=True, text=True, timeout=120)
        assert f'"new":{lines}' in ran.stdout.replace(" ", "")
        code, peak_mb = ran.stderr.splitlines()[-1].split()
        assert code == "0"
        peaks_mb.append(float(peak_mb))
    assert peaks_mb[1] < MOST_MB
    assert peaks_mb[1] - peaks_mb[0] < NOISE_MB
