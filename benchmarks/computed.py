"""A study whose outcomes are computed and wait to be pushed, made by the program's own commands."""

import json
import shutil
import sys
from pathlib import Path
from typing import Any, NamedTuple

from population import write_population
from processes import Run, measured

_PROGRAM = Path(sys.executable).with_name("dm-fhir")
_CONFIG = """\
[study]
pseudonym_key = "file:key"
title = "The benchmark's population"
drug = "anifrolumab"
timezone = "Europe/Madrid"

[[site]]
name = "population"
endpoint = "{base}"

[site.push]
enabled = true
unattended = true
"""


class Computed(NamedTuple):
    """A folder with a config and a store."""

    folder: Path

    @classmethod
    def empty(cls, folder: Path, base: str) -> "Computed":
        """A new study without a store; all that its files hold is kept."""
        folder.mkdir(mode=0o700, parents=True)
        (folder / "dm-fhir.toml").write_text(_CONFIG.format(base=base), encoding="utf-8")
        (folder / "key").touch(mode=0o600)
        (folder / "key").write_text("of the benchmark, which has no patients\n", encoding="utf-8")
        return cls(folder)

    @classmethod
    def made(cls, folder: Path, base: str, patients: int) -> "Computed":
        """A new study of so many patients, read from a file and computed."""
        study = cls.empty(folder, base)
        write_population(folder / "population.ndjson", patients)
        for command in (("pull", "--from", "population.ndjson"), ("compute",)):
            measured([_PROGRAM, *command], folder)
        return study

    def copied(self, folder: Path) -> "Computed":
        """The same study once more, as it is now."""
        shutil.copytree(self.folder, folder)
        return Computed(folder)

    def pushed(self) -> tuple[Run, dict[str, Any]]:
        """One `dm-fhir push` as a whole process, and what it says. Raises RunFailed unless everything is written."""
        run = measured([_PROGRAM, "push", "--json"], self.folder)
        return run, json.loads(run.output)
