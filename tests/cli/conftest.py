"""A study whose store holds what a test puts there, and commands typed at it."""

import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from dm_fhir.cli import main
from dm_fhir.mappings import site as site_module
from dm_fhir.mappings.codes import Tables, load_tables
from dm_fhir.store.database import open_store
from dm_fhir.store.ledger import Unit, begin_run, end_run, put_unit
from dm_fhir.store.quarantine import set_aside

from ..ran import Ran

CONFIG = """
[study]
title = "Two hospitals"
drug = "anifrolumab"
pseudonym_key = "file:pseudonym.key"

[[site]]
name = "leon"
endpoint = "https://leon.test/r4"

[[site]]
name = "madrid"
"""


class Study(NamedTuple):
    """A study of two sites; nothing answers at the endpoint of leon, and madrid has none."""

    db: sqlite3.Connection
    config: Path
    type: Callable[..., Ran]

    def unit(
        self, query: str, state: str = "complete", patient: str = "Patient/1", site: str = "leon", **more: Any
    ) -> None:
        """Put a row into the ledger."""
        values = {"reason": None if state == "complete" else "http-500", "run": 1} | more
        if state == "complete":
            values = {"watermark": "2025-06-01T10:00:00Z"} | values
        put_unit(self.db, Unit(site, patient, query, state=state, **values))

    def aside(self, *bodies: bytes, site: str = "leon") -> None:
        """Set something aside."""
        for number, body in enumerate(bodies):
            place = f"page 1, entry {number}"
            set_aside(self.db, site, "Patient/1", "Observation?patient", place, "no-id", body, 1)


@pytest.fixture
def study(
    tmp_path: Path, capsysbinary: pytest.CaptureFixture[bytes], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Study]:
    """A study in whose store run 1, a pull, has ended with 3; the config has the name that needs not be typed."""
    config = tmp_path / "dm-fhir.toml"
    config.write_text(CONFIG, encoding="utf-8")
    config.with_name("pseudonym.key").write_text("the key of two hospitals", encoding="utf-8")
    db = open_store(tmp_path / "dm-fhir.sqlite", "anifrolumab")
    end_run(db, begin_run(db, "pull"), 3)
    monkeypatch.chdir(tmp_path)

    def typed(*arguments: str) -> Ran:
        capsysbinary.readouterr()
        code = main.call(list(arguments))
        out, err = capsysbinary.readouterr()
        return Ran(code, out.decode(errors="surrogateescape"), err.decode())

    yield Study(db, config, typed)
    db.close()


@pytest.fixture(scope="session")
def shipped_tables() -> Tables:
    """The shipped tables, read once."""
    return load_tables()


@pytest.fixture(autouse=True)
def tables_as_they_are(shipped_tables: Tables, monkeypatch: pytest.MonkeyPatch) -> None:
    """A site's own tables are read each time, whatever other tests remember of them; the shipped ones alone are the same."""
    monkeypatch.setattr(site_module, "load_tables", lambda paths: load_tables(paths) if paths else shipped_tables)
