"""One run at a time: the second is told who holds the lock, and a dead holder holds none."""

import errno
import fcntl
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from dm_fhir.errors import Locked, StoreError
from dm_fhir.sync.lock import is_alive, locked

HOLDER = """
import sys
from pathlib import Path
from dm_fhir.sync.lock import locked
with locked(Path(sys.argv[1]), "sync"):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """A store's path."""
    return tmp_path / "study.sqlite"


def refused(store: Path) -> str:
    """What a second run is told."""
    with pytest.raises(Locked) as caught, locked(store, "pull"):
        pass
    assert caught.value.exit_code == 11
    return str(caught.value)


def test_a_second_run_is_told_who_holds_the_lock(store: Path) -> None:
    with locked(store, "sync"):
        assert re.match(
            rf"dm-fhir sync \(process {os.getpid()}, since 2\d{{3}}-\d\d-\d\dT\d\d:\d\d:\d\dZ\) holds the lock of study.sqlite\n",
            refused(store),
        )


def test_once_the_run_has_a_number_it_is_told_by_it_and_at_once(store: Path) -> None:
    with locked(store, "sync") as tell:
        first = refused(store)
        tell(7)
        began = time.monotonic()
        said = refused(store)
        assert time.monotonic() - began < 1
    assert re.match(rf"run 7 \(process {os.getpid()}, since \S+Z\) holds the lock", said)
    assert first.partition(" (")[2] == said.partition(" (")[2]
    assert sorted(path.name for path in store.parent.iterdir()) == ["study.sqlite.lock"]


def test_a_process_is_alive_until_it_ends() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        assert is_alive(process.pid)
    assert not is_alive(process.pid)
    assert is_alive(1)  # nobody here may send it a signal, and it is there


def test_the_lock_is_free_when_its_run_ends_however_it_ends(store: Path) -> None:
    for error in (ValueError, KeyboardInterrupt):
        with pytest.raises(error), locked(store, "sync"):
            raise error
        assert not store.with_name("study.sqlite.holder").exists()
    with locked(store, "pull"):
        assert "dm-fhir pull" in refused(store)


def test_another_store_has_another_lock(store: Path, tmp_path: Path) -> None:
    with locked(store, "sync"), locked(tmp_path / "other.sqlite", "sync"):
        assert "holds the lock of other.sqlite\n" in refused(tmp_path / "other.sqlite")


def test_who_holds_and_what_is_locked_is_private(store: Path) -> None:
    with locked(store, "sync"):
        modes = {path.name: path.stat().st_mode & 0o777 for path in store.parent.iterdir()}
    assert modes == {"study.sqlite.lock": 0o600, "study.sqlite.holder": 0o600}


@pytest.mark.parametrize("text", [None, ""])
def test_a_holder_that_has_not_yet_said_who_it_is(store: Path, text: str | None) -> None:
    with locked(store, "sync"):
        holder = store.with_name("study.sqlite.holder")
        holder.unlink() if text is None else holder.write_text(text)
        assert "a run that has just begun or ended" in refused(store)


def test_a_process_holds_the_lock_until_it_is_killed(store: Path) -> None:
    command = [sys.executable, "-c", HOLDER, str(store)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        assert f"dm-fhir sync (process {process.pid}, since" in refused(store)
        process.send_signal(signal.SIGKILL)
        process.wait(10)
    assert store.with_name("study.sqlite.holder").exists()
    with locked(store, "pull"):
        assert f"dm-fhir pull (process {os.getpid()}, since" in refused(store)


def test_what_a_killed_run_left_names_nobody_while_another_holds_the_lock(store: Path) -> None:
    """The next holder has the lock already, and has not yet said who it is."""
    command = [sys.executable, "-c", HOLDER, str(store)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.kill()
    left = store.with_name("study.sqlite.holder").read_bytes()
    with locked(store, "sync"):
        store.with_name("study.sqlite.holder").write_bytes(left)
        assert refused(store).startswith("a run that has just begun or ended holds the lock")


def test_a_holder_on_another_machine_is_named_with_it(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with locked(store, "sync") as tell:
        tell(7)
        monkeypatch.setattr("socket.gethostname", lambda: "elsewhere")
        monkeypatch.setattr("dm_fhir.sync.lock.is_alive", lambda _: False)
        assert re.match(rf"run 7 \(process {os.getpid()} on \S+, since \S+Z\) holds the lock", refused(store))


def test_a_file_that_only_says_that_it_is_a_lock_is_none(store: Path) -> None:
    for name in ("study.sqlite.lock", "study.sqlite.holder"):
        store.with_name(name).write_text('{"what": "run 1", "process": 1, "host": "here", "since": "now"}')
    with locked(store, "pull"):
        pass


@pytest.mark.parametrize(
    ("error", "said"), [(errno.ENOSYS, "Function not implemented"), (errno.ENOLCK, "No locks available")]
)
def test_a_file_system_without_locks_is_refused(
    store: Path, monkeypatch: pytest.MonkeyPatch, error: int, said: str
) -> None:
    def flock(*_: object) -> None:
        raise OSError(error, os.strerror(error))

    monkeypatch.setattr(fcntl, "flock", flock)
    with pytest.raises(StoreError, match=said) as caught, locked(store, "sync"):
        pytest.fail("it has no lock")
    assert "on a file system that has locks: a local disk" in str(caught.value)


def test_a_full_disk_keeps_nobody_from_the_lock(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def replace(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "replace", replace)
    with locked(store, "sync") as tell:
        tell(7)
        assert "a run that has just begun or ended" in refused(store)
