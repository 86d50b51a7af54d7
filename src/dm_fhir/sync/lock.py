"""One run at a time per store. The operating system holds the lock and frees it when the process dies."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dm_fhir.errors import Locked
from dm_fhir.store.ledger import now


@contextmanager
def locked(store_path: Path, command: str) -> Iterator[None]:
    """Hold the store's lock. Raises Locked at once, naming the holder, if another run has it."""
    from filelock import FileLock, Timeout

    holder = store_path.with_name(store_path.name + ".holder")
    lock = FileLock(store_path.with_name(store_path.name + ".lock"), timeout=0, mode=0o600)
    try:
        lock.acquire()
    except Timeout:
        raise Locked(
            f"another run holds the lock of {store_path.name}: {_read(holder)}",
            hint="wait for it to end; the lock is free as soon as its process is",
        ) from None
    try:
        _write(holder, f"dm-fhir {command}, process {os.getpid()}, since {now()}")
        yield
    finally:
        holder.unlink(missing_ok=True)
        lock.release()


def _read(holder: Path) -> str:
    try:
        text = holder.read_text(encoding="utf-8")
    except OSError:
        text = ""
    return text or "a run that has just begun or ended"


def _write(holder: Path, text: str) -> None:
    with os.fdopen(os.open(holder, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
        file.write(text)
