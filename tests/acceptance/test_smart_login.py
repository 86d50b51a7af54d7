"""A pull that logs in by SMART Backend Services: with rights to read only, and with tokens that live shorter than it lasts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from dm_fhir.demo import server

if TYPE_CHECKING:
    from pathlib import Path

    from tests.acceptance.conftest import Hospital, HospitalMaker, Json, Study, StudyMaker

READ_ONLY = 'scope = "system/*.read"'
LIFETIME_SECONDS = 2
#: One patient's records one by one, and slowly: so the pull takes several lifetimes.
SLOW = "page_size = 1\nrequests_per_second = 6\nconcurrency = 2\npatients_per_query = 1"


def reading_only(study: Study) -> Study:
    """The same study, which asks for no more than to read."""
    text = study.config.read_text(encoding="utf-8")
    study.config.write_text(text.replace('scope = "system/*.read system/*.write"', READ_ONLY), encoding="utf-8")
    assert READ_ONLY in study.config.read_text(encoding="utf-8")
    return study


def tokens(hospital: Hospital) -> int:
    """How many tokens the server was asked for."""
    return sum("/auth/token" in request for request in hospital.requests())


def pulled(study: Study) -> list[str]:
    return sorted(f"{type_name}/{name}" for type_name, name in study.ask("SELECT type, id FROM resource"))


def all_of(resources: list[Json]) -> list[str]:
    return sorted(f"{one['resourceType']}/{one['id']}" for one in resources)


def test_rights_to_read_are_enough_to_pull_and_not_to_write(
    new_hospital: HospitalMaker, new_study: StudyMaker, one_patient: list[Json]
) -> None:
    hospital = new_hospital()
    study = reading_only(new_study(hospital))
    before = tokens(hospital)
    ran = study.type("pull", "--json")

    assert ran.code == 0, ran.err
    [site] = ran.json["sites"]
    assert set(site["units"]) == {"complete"}
    assert tokens(hospital) - before == 1
    assert pulled(study) == all_of(one_patient)

    assert study.type("compute").code == 0
    writes = hospital.writes()
    pushed = study.type("push")
    assert pushed.code == 5, pushed.out
    assert hospital.outcomes() == []
    assert len(hospital.writes()) > len(writes), "it did not even try: nothing is shown"


@pytest.fixture
def forgetful(monkeypatch: pytest.MonkeyPatch, new_hospital: HospitalMaker) -> Hospital:
    """A server whose tokens are soon over."""
    settings = server._settings

    def shortened(endpoint: str, port: int, folder: Path, public_key: Path) -> dict[str, object]:
        usual = settings(endpoint, port, folder, public_key)
        login = dict(usual["server_auth"])  # type: ignore[call-overload]
        return {**usual, "server_auth": {**login, "token_lifetime": LIFETIME_SECONDS}}

    monkeypatch.setattr(server, "_settings", shortened)
    return new_hospital()


def test_a_pull_outlives_its_tokens(forgetful: Hospital, new_study: StudyMaker, one_patient: list[Json]) -> None:
    study = new_study(forgetful, more=SLOW, push=False)
    before = tokens(forgetful)
    ran = study.type("-v", "pull", "--json")

    assert ran.code == 0, ran.err
    begun, ended = study.ask("SELECT unixepoch(started), unixepoch(ended) FROM run")[0]
    assert ended - begun > 1.5 * LIFETIME_SECONDS, "the pull was over before a token was"
    assert tokens(forgetful) - before > (ended - begun) // LIFETIME_SECONDS
    assert pulled(study) == all_of(one_patient)
    assert {state for (state,) in study.ask("SELECT state FROM unit")} == {"complete"}
