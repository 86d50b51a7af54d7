"""A store with one run, and resources to put into it."""

import os
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from dm_fhir.store.database import open_store
from dm_fhir.store.ledger import begin_run


class Incoming(NamedTuple):
    """A resource on its way in."""

    type: str
    id: str
    version: str | None
    last_updated: str | None
    subject: str | None
    body: bytes
    hash: str


@pytest.fixture(autouse=True)
def only_mine() -> Iterator[None]:
    """What a test makes by hand is as private as the program would have made it."""
    before = os.umask(0o077)
    yield
    os.umask(before)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the store is."""
    return tmp_path / "data" / "study.sqlite"


@pytest.fixture
def db(path: Path) -> Iterator[sqlite3.Connection]:
    """An open store in which run 1 has begun."""
    store = open_store(path, "anifrolumab")
    assert begin_run(store, "pull") == 1
    yield store
    store.close()


@pytest.fixture
def incoming() -> Callable[..., Incoming]:
    """Makes `Observation/o1` of Patient/1, with what is given being different."""

    def make(content: str = "a", **given: str | None) -> Incoming:
        body = f'"{content}"'.encode()
        first = Incoming("Observation", "o1", None, None, "Patient/1", body, f"hash of {content}")
        return first._replace(**given)  # type: ignore[arg-type]

    return make
