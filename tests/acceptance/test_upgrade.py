"""A store as the release before left it: opened, and what it wrote is written anew once, as the same resources."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from dm_fhir.store.schema import SCHEMA_VERSION
from dm_fhir.sync.push.content import fingerprint

if TYPE_CHECKING:
    from tests.acceptance.conftest import Hospital, HospitalMaker, Json, Study, StudyMaker

#: What the release before did not write into an Observation.
SINCE = ("contained", "device")
VERSION_3 = Path(__file__).parents[1] / "store" / "versions" / "version_3.sql"


def by_identifier(hospital: Hospital) -> dict[str, Json]:
    found = hospital.outcomes()
    written = {one["identifier"][0]["value"]: one for one in found}
    assert len(written) == len(found) > 0  # none is there twice
    return written


def as_before(hospital: Hospital, study: Study) -> dict[str, Json]:
    """Put server and store back to what the release before leaves; what the server then holds, by identifier."""
    for resource in hospital.outcomes():
        hospital.put({name: value for name, value in resource.items() if name not in SINCE})
    held = by_identifier(hospital)
    rows = []
    for identifier, body in study.ask("SELECT identifier, body FROM push"):
        sent = json.dumps({name: value for name, value in json.loads(body).items() if name not in SINCE}).encode()
        rows.append((sent, fingerprint(sent), held[identifier]["meta"]["versionId"], identifier))
    newer = study.store.with_name("newer.sqlite")
    study.store.rename(newer)
    with closing(sqlite3.connect(study.store)) as db, db:
        db.executescript(VERSION_3.read_text(encoding="utf-8"))
        db.execute("PRAGMA foreign_keys = OFF")
        db.execute("ATTACH ? AS newer", (str(newer),))
        names = [name for (name,) in db.execute("SELECT name FROM main.sqlite_master WHERE type = 'table'")]
        for name in names:
            columns = ", ".join(f'"{row[1]}"' for row in db.execute(f"PRAGMA main.table_info({name})"))
            db.execute(f"DELETE FROM main.{name}")  # noqa: S608
            db.execute(f"INSERT INTO main.{name} ({columns}) SELECT {columns} FROM newer.{name}")  # noqa: S608
        db.executemany("UPDATE push SET body = ?, hash = ?, version = ? WHERE identifier = ?", rows)
    study.store.chmod(0o600)
    newer.unlink()
    return held


@pytest.fixture
def upgraded(new_hospital: HospitalMaker, new_study: StudyMaker) -> tuple[Hospital, Study, dict[str, Json]]:
    """A site and its study, with server and store as the release before left them, and what it wrote."""
    hospital = new_hospital()
    study = new_study(hospital)
    assert study.type("sync").code == 0
    return hospital, study, as_before(hospital, study)


def version_of(resource: Json) -> int:
    return int(resource["meta"]["versionId"])


def test_what_it_wrote_is_written_anew_once(upgraded: tuple[Hospital, Study, dict[str, Json]]) -> None:
    hospital, study, before = upgraded
    first = study.type("sync", "--json")
    after, written = by_identifier(hospital), hospital.writes()
    second = study.type("sync", "--json")

    assert (first.code, second.code) == (0, 0), first.out + second.out
    assert study.ask("PRAGMA user_version") == [(SCHEMA_VERSION,)]
    assert study.store.with_name("dm-fhir.sqlite.version-3.backup").exists()
    assert {name: (one["id"], version_of(one) - 1) for name, one in after.items()} == {
        name: (one["id"], version_of(one)) for name, one in before.items()
    }
    assert all(set(SINCE) <= one.keys() for one in after.values())
    assert (hospital.writes(), by_identifier(hospital)) == (written, after)  # the second writes nothing
    assert study.type("push", "--verify").code == 0

    # Begun again from the backup it finds there what it would write.
    assert study.type("restore", str(study.store.with_name("dm-fhir.sqlite.version-3.backup"))).code == 0
    assert (study.type("sync").code, by_identifier(hospital)) == (0, after)


def test_what_somebody_has_changed_before_the_upgrade_is_left(
    upgraded: tuple[Hospital, Study, dict[str, Json]],
) -> None:
    hospital, study, before = upgraded
    name, theirs = next(iter(before.items()))
    hospital.put({**theirs, "note": [{"text": "looked at again"}]})

    assert study.type("sync").code == 7

    after = by_identifier(hospital)
    assert after[name]["note"] == [{"text": "looked at again"}]
    assert [one for one, resource in after.items() if "device" not in resource] == [name]


def test_a_kill_in_the_first_push_after_it_leaves_nothing_twice(
    upgraded: tuple[Hospital, Study, dict[str, Json]],
) -> None:
    hospital, study, before = upgraded
    killed = study.start_disturbed("dm_fhir.store.pushes:put_pushes", 2, "before", "sync")
    killed.communicate(timeout=120)

    again = study.type("sync")

    assert (killed.returncode, again.code) == (-9, 0), again.out
    assert {name: version_of(one) - 1 for name, one in by_identifier(hospital).items()} == {
        name: version_of(one) for name, one in before.items()
    }
