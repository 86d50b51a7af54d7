"""Where the store lies: a file that nobody but its owner can read, in a folder in which nobody else can put another."""

import os
import shlex
from collections.abc import Iterable
from pathlib import Path

from dm_fhir.errors import ConfigError, StoreError

_OF_OTHERS = 0o077
_WRITABLE_BY_OTHERS = 0o022
#: Files that SQLite keeps beside a database; what is in them is in the database.
_BESIDE = ("-wal", "-shm")


def create_private(path: Path) -> None:
    """An empty file, mode 0600, unless there is one. Raises StoreError if it cannot be made."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    except FileExistsError:
        return
    except OSError as error:
        raise StoreError(
            f"{path} cannot be made: {error.strerror}", hint="set [store] path to a folder you may write"
        ) from error


def check_private(path: Path) -> None:
    """Raises ConfigError where others than the owner can read the store, or could lay another file in its place.

    A folder that others can only look into is none of that: the file's own mode keeps them out.
    """
    path = path.resolve()
    files = [path, *(path.with_name(path.name + end) for end in _BESIDE)] if path.is_file() else []
    readable = {one: mode for one in files if (mode := mode_of(one)) & _OF_OTHERS}
    if readable:
        first, mode = next(iter(readable.items()))
        raise _refused(f"{first} can be read by others", mode, f"chmod 600 {_names(readable)}")
    mode = mode_of(path.parent)
    if mode & _WRITABLE_BY_OTHERS:
        what = f"others can put files into {path.parent}, where the store is"
        raise _refused(what, mode, f"chmod go-w {_names([path.parent])}")


def mode_of(path: Path) -> int:
    """The permissions of a file or folder; 0 where there is nothing: what SQLite keeps beside a database comes and goes."""
    try:
        return path.stat().st_mode & 0o7777
    except OSError:
        return 0


def _refused(what: str, mode: int, command: str) -> ConfigError:
    hint = f"mend it: {command}; or, if that is meant: [store] shared = true"
    return ConfigError(f"{what} (mode {mode:04o})", hint=hint)


def _names(paths: Iterable[Path]) -> str:
    return " ".join(shlex.quote(str(path)) for path in paths)
