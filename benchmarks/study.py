"""A study as a user would have it, and its pulls."""

import json
import sys
from pathlib import Path
from typing import NamedTuple

from processes import Run, RunFailed, measured

from dm_fhir.config import Pull

#: How many requests at a time a pull sends unless it is told otherwise.
AT_A_TIME = Pull().concurrency
_CONFIG = """\
[study]
title = "The benchmark's population"
drug = "anifrolumab"
timezone = "Europe/Madrid"

[[site]]
name = "population"
endpoint = "{base}"

[site.cohort]
by = "patients"
patients = "patients.txt"
"""


class Study(NamedTuple):
    """A folder with a config and, after a pull, a store."""

    folder: Path

    @classmethod
    def made(cls, folder: Path, base: str, patients: list[str]) -> "Study":
        """A new study of these patients; all settings but endpoint and cohort are the defaults."""
        folder.mkdir(parents=True)
        (folder / "dm-fhir.toml").write_text(_CONFIG.format(base=base), encoding="utf-8")
        (folder / "patients.txt").write_text("\n".join(patients) + "\n", encoding="utf-8")
        return cls(folder)

    def pulled(self, expected: int, *options: str) -> Run:
        """One `dm-fhir pull` as a whole process. Raises RunFailed unless it is complete and the store holds `expected`."""
        program = Path(sys.executable).with_name("dm-fhir")
        run = measured([program, "pull", "--json", *options], self.folder)
        site = json.loads(run.output)["sites"][0]
        held = sum(site["resources"].values())
        if held != expected:
            raise RunFailed(f"the store holds {held} resources of {expected}")
        return run

    def store_mb(self) -> float:
        """How large the store is on disk."""
        return sum(path.stat().st_size for path in self.folder.glob("dm-fhir.sqlite*")) / 1e6
