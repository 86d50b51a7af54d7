"""One run at a time per store. The operating system holds the lock and frees it when the process dies."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from dm_fhir.errors import Locked
from dm_fhir.store.ledger import now


@contextmanager
def locked(store_path: Path, command: str) -> Iterator[Callable[[int], None]]:
    """Hold the store's lock. What it gives is told the run's number as soon as there is one, for others to read.

    Raises Locked at once, naming the holder, if another run has it.
    """
    from filelock import FileLock, Timeout

    holder = store_path.with_name(store_path.name + ".holder")
    lock = FileLock(store_path.with_name(store_path.name + ".lock"), timeout=0, mode=0o600)
    try:
        lock.acquire()
    except Timeout:
        raise Locked(
            f"{_read(holder)} holds the lock of {store_path.name}",
            hint="wait for it to end; the lock is free as soon as its process is",
        ) from None
    who = f"(process {os.getpid()}, since {now()})"
    try:
        _write(holder, f"dm-fhir {command} {who}")
        yield lambda run: _write(holder, f"run {run} {who}")
    finally:
        holder.unlink(missing_ok=True)
        lock.release()


def is_alive(pid: int) -> bool:
    """Whether there is a process of this number, be it ours or another program's."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _read(holder: Path) -> str:
    try:
        text = holder.read_text(encoding="utf-8")
    except OSError:
        text = ""
    return text or "a run that has just begun or ended"


def _write(holder: Path, text: str) -> None:
    """In one step: whoever reads it finds the old text or the new one."""
    fresh = holder.with_name(holder.name + ".new")
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
        file.write(text)
    fresh.replace(holder)
