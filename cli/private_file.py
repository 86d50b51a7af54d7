"""Files that only their owner may read, whole or not at all."""

import os
import sys
from pathlib import Path

from dm_fhir.errors import ConfigError

STANDARD_OUTPUT = "-"


def write_private(output: str, data: bytes) -> None:
    """Write `data` to the file `output`, mode 0600, or to standard output (`-`). Raises ConfigError if it cannot be written."""
    if output == STANDARD_OUTPUT:
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
        return
    # Beside the target first, so that a run that is killed leaves no half document under its name.
    partial = Path(output).with_name(Path(output).name + ".partial")
    try:
        with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(data)
        partial.replace(output)
    except OSError as error:
        raise ConfigError(f"{output} cannot be written: {error.strerror}") from error
