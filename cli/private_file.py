"""Files that only their owner may read, whole or not at all."""

import os
import secrets
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from dm_fhir.errors import ConfigError

STANDARD_OUTPUT = "-"
#: Where a study's pseudonym key is, from the folder of its config.
PSEUDONYM_KEY = Path("keys", "pseudonym.key")


def write_private(output: str, data: bytes) -> None:
    """Write `data` to the file `output`, mode 0600, or to standard output (`-`). Raises ConfigError if it cannot be written."""
    with private_file(output) as file:
        file.write(data)


@contextmanager
def private_file(output: str) -> Iterator[BinaryIO]:
    """A file to be written piece by piece, mode 0600, or standard output (`-`).

    It has its name only once all of it is written; another file of that name, whoever could read it, is no more. Raises
    ConfigError if it cannot be written.
    """
    if output == STANDARD_OUTPUT:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    with _replacing(Path(output)) as partial:
        _remove(partial)  # of a run that was killed; or a link that somebody laid there
        with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            yield file
        partial.replace(output)


@contextmanager
def private_folder(output: Path, own: frozenset[str]) -> Iterator[Path]:
    """A folder to put files in, mode 0700, which has its name only once all of them are written.

    A folder of that name is replaced where it holds nothing but files of the names `own`. Raises ConfigError where it
    holds anything else, or cannot be written.
    """
    others = sorted(path.name for path in output.iterdir() if path.name not in own) if output.is_dir() else []
    if others or (output.exists() and not output.is_dir()):
        what = f"holds other things ({others[0]})" if others else "is a file"
        raise ConfigError(f"{output} {what}; it is left as it is", hint="name a folder of its own: -o DIR")
    with _replacing(output) as partial:
        _remove(partial)
        partial.mkdir(mode=0o700)
        yield partial
        for path in partial.iterdir():
            path.chmod(0o600)
        if output.is_dir():
            shutil.rmtree(output)
        partial.rename(output)


@contextmanager
def _replacing(output: Path) -> Iterator[Path]:
    """Beside the target first, so that a run that is killed or fails leaves nothing half under its name."""
    partial = output.with_name(f"{output.name}.partial")
    try:
        yield partial
    except OSError as error:
        _remove(partial)
        raise ConfigError(f"{output} cannot be written: {error.strerror or error}") from error
    except BaseException:
        _remove(partial)
        raise


def _remove(path: Path) -> None:
    """As far as that goes: what stays is told by whatever is written in its place."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):
            path.unlink()


def make_pseudonym_key(path: Path) -> bool:
    """Write a new key of pseudonyms, mode 0600; False where the file is there already. Raises ConfigError if it cannot be written."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
            file.write(f"{secrets.token_hex(32)}\n")
    except FileExistsError:
        return False
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {error.strerror}") from error
    return True
