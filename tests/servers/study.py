"""A study of one hospital: its config, commands typed in it, and what its store then holds."""

import io
import sqlite3
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import NamedTuple
from unittest import mock

from dm_fhir.cli import main
from dm_fhir.store import facts
from dm_fhir.store.filing import changes
from dm_fhir.store.ledger import Unit, units
from dm_fhir.store.resources import deleted_by_type, resources_of_type

SITE = "north"


class Ran(NamedTuple):
    """What a command came to, and how long it wanted to wait."""

    code: int
    out: str
    err: str
    waits: tuple[float, ...]

    @property
    def text(self) -> str:
        """All that it said."""
        return f"{self.out}\n{self.err}"


class Study(NamedTuple):
    """A study's folder with its config."""

    config: Path

    def type(self, *arguments: str) -> Ran:
        """Type `dm-fhir` with these arguments, in this process; nobody waits."""
        out, err = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8") for _ in range(2))
        with redirect_stdout(out), redirect_stderr(err), _not_waiting() as waits:
            code = main.call(["--config", str(self.config), *arguments])
        texts = []
        for stream in (out, err):
            stream.flush()
            texts.append(stream.buffer.getvalue().decode())  # type: ignore[attr-defined]
        return Ran(code, *texts, tuple(waits))

    def units(self) -> dict[tuple[str, str], Unit]:
        """The ledger by patient and query."""
        with self._db() as db:
            return {(unit.patient, unit.query): unit for unit in units(db, SITE)}

    def unit(self, query: str, patient: str = "p1") -> Unit:
        """One row of the ledger; `patient` "" for a query that is nobody's."""
        return self.units()[f"Patient/{patient}" if patient else "", query]

    def bodies(self, type_name: str) -> dict[str, bytes]:
        """The current resources of a type, by id."""
        with self._db() as db:
            return {one.id: one.body for one in resources_of_type(db, SITE, type_name)}

    def facts(self) -> dict[str, str]:
        """What was found out about the server."""
        with self._db() as db:
            return facts.facts(db, SITE)

    def deleted(self) -> dict[str, int]:
        """How many resources of each type the hospital has deleted."""
        with self._db() as db:
            return deleted_by_type(db, SITE)

    def changes(self) -> int:
        """Grows whenever what is current changes."""
        with self._db() as db:
            return changes(db, SITE)

    def change(self, statement: str) -> None:
        """Change the store behind the back of dm-fhir: time goes by, for one thing."""
        with closing(sqlite3.connect(self._store)) as db, db:
            db.execute(statement)

    @property
    def _store(self) -> Path:
        return self.config.with_name("dm-fhir.sqlite")

    @contextmanager
    def _db(self) -> Iterator[sqlite3.Connection]:
        with closing(sqlite3.connect(f"file:{self._store}?mode=ro", uri=True)) as db:
            yield db


def new_study(
    folder: Path,
    endpoint: str,
    *,
    patients: Sequence[str] = ("p1",),
    cohort: str = 'by = "patients"\npatients = "patients.txt"',
    pull: Mapping[str, str] | None = None,
    site: str = "",
) -> Study:
    """Write the config of a study whose cohort is these patients. `pull` are lines of [site.pull], `site` of the site."""
    (folder / "patients.txt").write_text("".join(f"{patient}\n" for patient in patients), encoding="utf-8")
    config = folder / "dm-fhir.toml"
    lines = [
        '[study]\ntitle = "Servers"\ndrug = "anifrolumab"\ntimezone = "UTC"\npseudonym_key = "file:pseudonym.key"\n',
        f'[[site]]\nname = "{SITE}"\nendpoint = "{endpoint}"\n{site}\n',
        '[site.auth]\nmethod = "none"\n',
        f"[site.cohort]\n{cohort}\n",
        "[site.pull]\n" + "".join(f"{name} = {value}\n" for name, value in (pull or {}).items()),
    ]
    config.write_text("".join(lines), encoding="utf-8")
    config.with_name("pseudonym.key").write_text("the key of the servers", encoding="utf-8")
    return Study(config)


@contextmanager
def _not_waiting() -> Iterator[list[float]]:
    waits: list[float] = []
    with mock.patch.object(time, "sleep", waits.append):
        yield waits
