"""One run at a time per store. The operating system holds the lock and frees it when the process dies.

It is flock, or what Windows has for it: it belongs to the open file, not to what stands in a file, so nothing is left of it by
a process that was killed. Who holds it is written beside it, for people only. On NFS Linux makes it a lock of the server's,
which holds between machines too; a file system that has no such lock is refused.
"""

import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec

from dm_fhir.errors import Locked, StoreError
from dm_fhir.store.ledger import now

_NOBODY_SAYS = "a run that has just begun or ended"


class _Holder(msgspec.Struct, frozen=True):
    """Who holds the lock: `what` is `run 7`, or the command while the run has no number yet."""

    what: str
    process: int
    host: str
    since: str


@contextmanager
def locked(store_path: Path, command: str) -> Iterator[Callable[[int], None]]:
    """Hold the store's lock. What it gives is told the run's number as soon as there is one, for others to read.

    Raises Locked at once, naming the holder, if another run has it; StoreError where there cannot be a lock.
    """
    from filelock import FileLock, Timeout

    beside = store_path.with_name(store_path.name + ".holder")
    lock = FileLock(store_path.with_name(store_path.name + ".lock"), timeout=0, mode=0o600, fallback_to_soft=False)
    try:
        lock.acquire()
    except Timeout:
        raise Locked(
            f"{_who(beside)} holds the lock of {store_path.name}",
            hint="wait for it to end; the lock is free as soon as its process is",
        ) from None
    except OSError as error:
        raise StoreError(
            f"the lock of {store_path} cannot be had: {error.strerror or error}",
            hint="the store's folder must be one that you may write, on a file system that has locks: a local disk",
        ) from error
    holder = _Holder(f"dm-fhir {command}", os.getpid(), socket.gethostname(), now())
    try:
        _write(beside, holder)
        yield lambda run: _write(beside, msgspec.structs.replace(holder, what=f"run {run}"))
    finally:
        with suppress(OSError):
            beside.unlink(missing_ok=True)
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


def _who(beside: Path) -> str:
    """The holder in words. What a killed run has left is no answer: whoever holds the lock now has only just got it."""
    try:
        holder = msgspec.json.decode(beside.read_bytes(), type=_Holder)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError):
        holder = None
    if holder is None:
        return _NOBODY_SAYS
    is_here = holder.host == socket.gethostname()
    if is_here and not is_alive(holder.process):
        return _NOBODY_SAYS
    where = "" if is_here else f" on {holder.host}"
    return f"{holder.what} (process {holder.process}{where}, since {holder.since})"


def _write(beside: Path, holder: _Holder) -> None:
    """In one step: whoever reads it finds the old text or the new one. A full disk has nothing to say here."""
    fresh = beside.with_name(beside.name + ".new")
    with suppress(OSError):
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(msgspec.json.encode(holder))
        fresh.replace(beside)
