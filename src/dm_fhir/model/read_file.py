"""Files from elsewhere, read whole: only so much of them, so that none can fill the memory or end the program."""

import errno
import tomllib
from pathlib import Path
from typing import Any

#: No table, config, column map or list of patients is nearly so large.
LARGEST_TEXT_BYTES = 32 * 2**20
#: A case series of fifty thousand patients.
LARGEST_DOCUMENT_BYTES = 2**30


def read_bytes(path: Path, most_bytes: int) -> bytes:
    """What is in the file. Raises OSError, with a sentence for `strerror`, if that is more than `most_bytes`."""
    with path.open("rb") as file:
        content = file.read(most_bytes + 1)
    if len(content) > most_bytes:
        raise too_large(most_bytes)
    return content


def read_text(path: Path, encoding: str = "utf-8") -> str:
    """The text in the file, its line ends as one newline. Raises OSError as `read_bytes` does, UnicodeDecodeError."""
    text = read_bytes(path, LARGEST_TEXT_BYTES).decode(encoding)
    return text.replace("\r\n", "\n").replace("\r", "\n")


def too_large(most_bytes: int) -> OSError:
    """The error of a file that is larger than that."""
    return OSError(errno.EFBIG, f"it is larger than {most_bytes // 2**20} MiB")


def read_toml(text: str) -> dict[str, Any]:
    """What TOML makes of the text. Raises tomllib.TOMLDecodeError, also for what is nested beyond all measure."""
    try:
        return tomllib.loads(text)
    except RecursionError:
        raise tomllib.TOMLDecodeError("it is nested too deeply") from None
