"""What the world outside hears when a run has ended, however it ended: the file of metrics, and whoever is to be told.

Nothing here changes how a run ended. What cannot be written or sent is a warning.
"""

import os
import sqlite3
from pathlib import Path

from dm_fhir.cli.voice import Voice
from dm_fhir.config import Config, Metrics
from dm_fhir.sync.metrics import LastRun, metrics_text

_MODES = {"owner": 0o600, "group": 0o640, "all": 0o644}
#: Another run is at work, and the file is that run's to write.
_LOCKED = 11


def tell_outside(config: Config, voice: Voice, db: sqlite3.Connection | None, last: LastRun) -> None:
    """Write the metrics. Without a store, which may be what is wrong, they are of the run alone."""
    if config.metrics is not None and last.exit_code != _LOCKED:
        _write_metrics(config, config.metrics, voice, db, last)


def _write_metrics(
    config: Config, metrics: Metrics, voice: Voice, db: sqlite3.Connection | None, last: LastRun
) -> None:
    try:
        text = metrics_text(db, config.sites, last)
    except (sqlite3.Error, ValueError) as error:
        voice.warn(f"the store cannot be read for the metrics: {type(error).__name__}", "metrics_failed")
        text = metrics_text(None, (), last)
    try:
        _write(metrics.file, text.encode(), _MODES[metrics.readable_by])
    except OSError as error:
        voice.warn(f"{metrics.file} cannot be written: {error.strerror}", "metrics_failed")


def _write(path: Path, data: bytes, mode: int) -> None:
    """In one step: whoever reads it finds the old file or the new one, and may read it whatever the umask is."""
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            os.fchmod(file.fileno(), mode)
            file.write(data)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
