"""Fifty times kill -9 at a random moment of a pull, each followed by another pull: every store ends as an undisturbed one."""

from __future__ import annotations

import json
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, NamedTuple

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.acceptance.conftest import Hospital, HospitalMaker, Study, StudyMaker

    from dm_fhir.demo.cohorts import SampleSite

KILLS = 50
#: Small pages and several threads: there is much that can be under way.
MANY_PAGES = "page_size = 3\nconcurrency = 3"
#: A process that has everything imported: for each line [seconds, arguments] a child of it types the arguments, and is killed
#: after so many seconds, if it has not ended by then. Out comes [wait status, seconds that it took].
_FORKING = """
import json, os, select, signal, sys, time
from datetime import timedelta
from dm_fhir.cli import pull
from dm_fhir.cli.main import run
from dm_fhir.mappings import site
from dm_fhir.sync import tally
from functools import cache
site.load_tables = cache(site.load_tables)
site.load_tables(())
tally.OVERLAP = timedelta(0)  # it would hide what a killed run forgot
for line in sys.stdin:
    seconds, arguments = json.loads(line)
    started = time.monotonic()
    child = os.fork()
    if child == 0:
        quiet = os.open(os.devnull, os.O_WRONLY)
        os.dup2(quiet, 1)
        os.dup2(quiet, 2)
        sys.argv = ["dm-fhir", *arguments]
        run()
    ending = os.pidfd_open(child)
    if seconds is not None and not select.select([ending], [], [], seconds)[0]:
        os.kill(child, signal.SIGKILL)
    status = os.waitpid(child, 0)[1]
    os.close(ending)
    print(json.dumps([status, time.monotonic() - started]), flush=True)
"""


class Forking(NamedTuple):
    """Pulls in processes of their own that need not import anything first."""

    process: subprocess.Popen[str]

    def pull(self, study: Study, kill_after_seconds: float | None = None) -> tuple[int, float]:
        """The exit code (negative: the signal that ended it), and how many seconds it took."""
        assert self.process.stdin
        assert self.process.stdout
        told = [kill_after_seconds, ["--config", str(study.config), "pull"]]
        self.process.stdin.write(json.dumps(told) + "\n")
        self.process.stdin.flush()
        status, seconds = json.loads(self.process.stdout.readline())
        return (-(status & 0x7F) if status & 0x7F else status >> 8), seconds


@contextmanager
def forking() -> Iterator[Forking]:
    command = [sys.executable, "-c", _FORKING]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield Forking(process)
        assert process.stdin
        process.stdin.close()


@pytest.fixture
def hospital(new_hospital: HospitalMaker, sample: SampleSite) -> Hospital:
    """A server with two patients, who are asked for together."""
    return new_hospital([one for one in sample.resources if one["id"].startswith(("bal-1", "bal-2"))])


def stored(study: Study, folder: Path) -> int:
    """How many resources the killed pull has left. Looked at in a copy: whoever opens a store mends it."""
    for name in ("dm-fhir.sqlite", "dm-fhir.sqlite-wal"):
        (folder / name).unlink(missing_ok=True)
        if study.config.with_name(name).exists():
            shutil.copy(study.config.with_name(name), folder / name)
    with closing(sqlite3.connect(folder / "dm-fhir.sqlite")) as db:
        if not db.execute("SELECT 1 FROM sqlite_master WHERE name = 'resource'").fetchone():
            return 0  # it did not come so far
        return int(db.execute("SELECT count(*) FROM resource").fetchone()[0])


def test_fifty_kills_leave_no_trace(hospital: Hospital, new_study: StudyMaker, tmp_path: Path) -> None:
    chance = random.Random(20_261_122)  # noqa: S311
    with forking() as forked:
        undisturbed = new_study(hospital, more=MANY_PAGES, push=False)
        code, _ = forked.pull(undisturbed)
        assert code == 0
        wanted = undisturbed.content()
        assert len(wanted["resources"]) > 20
        kills, states = 0, set()
        seconds = forked.pull(new_study(hospital, more=MANY_PAGES, push=False))[1]
        while kills < KILLS:
            study = new_study(hospital, more=MANY_PAGES, push=False)
            moment = chance.uniform(0.0, seconds)
            code, _ = forked.pull(study, moment)
            if code == 0:
                continue
            assert code == -signal.SIGKILL, f"after {moment:.3f} s"
            kills += 1
            states.add(stored(study, tmp_path))
            code, _ = forked.pull(study)
            assert code == 0, f"after {moment:.3f} s"
            assert study.content() == wanted, f"after {moment:.3f} s"
            assert study.ask("PRAGMA integrity_check") == [("ok",)]
    assert len(states) > 3, "the kills all fell into the same moment"
