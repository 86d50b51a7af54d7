"""A search that breaks off: what came is kept, what is missing is named, and the next pull brings it."""

from __future__ import annotations

import re
import time
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from dm_fhir.errors import RequestFailed
from dm_fhir.fhir.connection import Connection
from dm_fhir.sync import tally

if TYPE_CHECKING:
    from tests.acceptance.conftest import HospitalMaker, StudyMaker


def test_a_search_that_breaks_off_is_asked_again_as_a_whole(
    new_hospital: HospitalMaker, new_study: StudyMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tally, "OVERLAP", timedelta(0))
    study = new_study(new_hospital(), more="page_size = 3", push=False)
    time.sleep(1.1)  # what was loaded is now older than any watermark of this test
    ask = Connection.ask
    broken: list[str] = []

    def breaking(self: Connection, read: Any, method: str, url: str, **more: Any) -> Any:
        if "Observation" in url and ("_offset=3" in url or "&date=" in url):  # nor does it answer piece by piece
            broken.append(url)
            raise RequestFailed(f"{more['place']} answered 500 five times", reason="http-500", status=500)
        return ask(self, read, method, url, **more)

    with monkeypatch.context() as patch:
        patch.setattr(Connection, "ask", breaking)
        ran = study.type("pull")
    row = study.ask(
        "SELECT state, reason, expected, \"unique\", watermark FROM unit WHERE query = 'Observation?patient'"
    )

    assert ran.code == study.type("status").code == 3
    assert "  partial: Patient/bal-1 Observation?patient: page 2 answered 500 five times; 3 of 10 stored" in ran.out
    assert re.search(r"^baltimore: not complete; ", ran.out, re.M)
    assert row == [("partial", "http-500", 10, 3, None)]
    assert ["_count=1" in url for url in broken][:2] == [False, True], "it was not begun again with smaller pages"
    assert all("&date=" in url for url in broken[2:])
    assert broken[2:], "it was not asked for by date"

    again = study.type("pull")

    assert again.code == 0, again.out
    assert study.ask("SELECT count(*) FROM resource WHERE type = 'Observation'") == [(10,)]
