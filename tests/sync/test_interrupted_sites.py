"""A run that is interrupted while several sites are at work: no other thread uses the store any more."""

import threading
import time
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from dm_fhir.config import Auth, Pull, Site
from dm_fhir.store.database import open_store, transaction
from dm_fhir.store.ledger import begin_run
from dm_fhir.store.turns import Stopped
from dm_fhir.sync import passes
from dm_fhir.sync.passes import Pass


def _site(name: str) -> Site:
    return Site(name, "https://fhir.test", "UTC", (), {}, Auth(), Pull())


def test_when_a_pull_is_interrupted_its_threads_can_write_no_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    db = open_store(tmp_path / "store.sqlite", "anifrolumab")
    db.execute("CREATE TABLE written (number INTEGER)")
    is_writing, is_interrupted, heard = threading.Event(), threading.Event(), threading.Event()

    def pulled(_: Any, site: Site, *__: Any) -> None:
        if site.name == "b":
            is_writing.wait(10)
            raise KeyboardInterrupt
        with transaction(db):
            db.execute("INSERT INTO written VALUES (1)")
        is_writing.set()
        is_interrupted.wait(10)
        try:
            with transaction(db):
                db.execute("INSERT INTO written VALUES (2)")
        except Stopped:
            heard.set()
            raise

    monkeypatch.setattr(passes, "pull_site", pulled)
    work = Pass(db, begin_run(db, "pull"), {"a": None, "b": None}, lambda _: nullcontext(), lambda *_: lambda *__: None, {}, {}, 2,
                lambda _: time.monotonic())  # type: ignore[arg-type, return-value, dict-item]  # fmt: skip
    with pytest.raises(KeyboardInterrupt):
        passes.pull(work, [_site("a"), _site("b")])
    is_interrupted.set()
    assert heard.wait(10)
    assert db.execute("SELECT number FROM written").fetchall() == [(1,)]
    db.close()
