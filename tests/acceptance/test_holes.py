"""A search that breaks off: what came is kept, what is missing is named, and the next pull brings it."""

from __future__ import annotations

import re
import time
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from dm_fhir.errors import RequestFailed
from dm_fhir.fhir.connection import Connection
from dm_fhir.sync import unit

if TYPE_CHECKING:
    from tests.acceptance.conftest import HospitalMaker, StudyMaker


def test_a_search_that_breaks_off_is_asked_again_as_a_whole(
    new_hospital: HospitalMaker, new_study: StudyMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unit, "OVERLAP", timedelta(0))
    study = new_study(new_hospital(), more="page_size = 3", push=False)
    time.sleep(1.1)  # what was loaded is now older than any watermark of this test
    request = Connection.request

    def breaking(self: Connection, method: str, url: str, **more: Any) -> Any:
        if "Observation" in url and "_offset=3" in url:
            raise RequestFailed("GET Observation answered 500", reason="http-500", status=500)
        return request(self, method, url, **more)

    with monkeypatch.context() as patch:
        patch.setattr(Connection, "request", breaking)
        ran = study.type("pull")
    row = study.ask(
        "SELECT state, reason, expected, \"unique\", watermark FROM unit WHERE query = 'Observation?patient'"
    )

    assert ran.code == study.type("status").code == 3
    assert "  partial: Patient/bal-1 Observation?patient: page 2: GET Observation answered 500" in ran.out
    assert re.search(r"^baltimore: not complete; ", ran.out, re.M)
    assert row == [("partial", "http-500", 10, 3, None)]

    again = study.type("pull")

    assert again.code == 0, again.out
    assert study.ask("SELECT count(*) FROM resource WHERE type = 'Observation'") == [(10,)]
