"""dm-fhir backup and restore, as they are typed."""

from __future__ import annotations

import re
import sqlite3
import time
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from dm_fhir.sync.lock import locked

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.conftest import Study


def queries(path: Path) -> list[str]:
    """The queries in the ledger of the store at `path`."""
    with closing(sqlite3.connect(path)) as db:
        return [row[0] for row in db.execute("SELECT query FROM unit")]


def test_a_copy_by_name_is_made_and_put_back(study: Study, tmp_path: Path) -> None:
    study.unit("before")
    made = study.type("backup", "copy.sqlite")
    assert (made.code, made.lines[-1]) == (0, "backup: exit 0 (complete)")
    assert re.match(
        r"copy.sqlite: a store of anifrolumab, version \d, with 1 run, the newest begun 2\S+Z; 0\.\d MB$", made.lines[0]
    )
    assert re.match(r"copy: (\d+) of \1\n", made.err)
    study.unit("after")
    study.db.close()

    back = study.type("restore", "copy.sqlite")
    assert (back.code, back.lines[-1]) == (0, "restore: exit 0 (complete)")
    assert queries(tmp_path / "dm-fhir.sqlite") == ["before"]
    [kept] = tmp_path.glob("dm-fhir.sqlite.before-*")
    assert queries(kept) == ["after", "before"]
    assert f"the store that was there is kept as {kept}" in back.lines
    assert study.type("runs").lines[0].startswith("run 2: restore")


def test_in_a_folder_a_copy_has_a_name_with_the_time(study: Study, tmp_path: Path) -> None:
    (tmp_path / "copies").mkdir()
    made = study.type("backup", "copies", "--json").json
    [copy] = (tmp_path / "copies").iterdir()
    assert re.fullmatch(r"dm-fhir-\d{4}-\d\d-\d\dT\d{6}Z\.sqlite", copy.name)
    assert (made["command"], made["state"], made["exit_code"], made["sites"]) == ("backup", "complete", 0, [])
    assert (made["file"], made["bytes"]) == (f"copies/{copy.name}", copy.stat().st_size)
    assert (made["drug"], made["runs"]) == ("anifrolumab", 1)


def test_a_name_without_an_ending_is_a_folder_that_is_made(study: Study, tmp_path: Path) -> None:
    for _ in range(2):
        assert study.type("backup", "backups/dm-fhir", "--json").code == 0
        time.sleep(1.1)  # names are of whole seconds
    assert len(list((tmp_path / "backups" / "dm-fhir").iterdir())) == 2
    assert (tmp_path / "backups" / "dm-fhir").stat().st_mode & 0o777 == 0o700


def test_a_folder_that_cannot_be_made_is_said(study: Study, tmp_path: Path) -> None:
    (tmp_path / "letter").write_text("Dear colleague", encoding="utf-8")
    refused = study.type("backup", "letter/copies")
    assert refused.code == 2
    assert "the folder letter/copies cannot be made" in refused.err


def test_a_file_is_replaced_only_when_asked(study: Study, tmp_path: Path) -> None:
    (tmp_path / "letter").write_text("Dear colleague", encoding="utf-8")
    refused = study.type("backup", "letter")
    assert (refused.code, (tmp_path / "letter").read_text(encoding="utf-8")) == (2, "Dear colleague")
    assert "letter exists already" in refused.err
    assert "--replace" in refused.err
    assert study.type("backup", "letter", "--replace").code == 0
    assert queries(tmp_path / "letter") == []


@pytest.mark.parametrize("words", [["backup", "dm-fhir.sqlite", "--replace"], ["restore", "dm-fhir.sqlite"]])
def test_the_store_itself_is_no_copy(study: Study, words: list[str]) -> None:
    study.unit("before")
    assert study.type(*words).code == 2
    assert study.db.execute("SELECT count(*) FROM unit").fetchone() == (1,)


def test_without_a_store_there_is_nothing_to_copy(study: Study, tmp_path: Path) -> None:
    (tmp_path / "dm-fhir.sqlite").rename(tmp_path / "elsewhere.sqlite")
    refused = study.type("backup", "copy.sqlite")
    assert refused.code == 2
    assert f"there is no store at {tmp_path / 'dm-fhir.sqlite'} yet" in refused.err
    assert not (tmp_path / "dm-fhir.sqlite").exists()


def test_where_there_is_no_store_one_is_put_also_in_a_new_folder(
    study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study.unit("before")
    study.type("backup", "copy.sqlite")
    monkeypatch.setenv("DM_FHIR_STORE", "new/place.sqlite")
    back = study.type("restore", "copy.sqlite", "--json")
    assert (back.code, back.json["kept_as"], back.json["store"]) == (0, None, str(tmp_path / "new" / "place.sqlite"))
    assert (queries(tmp_path / "new" / "place.sqlite"), (tmp_path / "new").stat().st_mode & 0o777) == (
        ["before"],
        0o700,
    )


def test_while_a_run_is_at_work_a_copy_is_made_and_none_is_put_back(study: Study, tmp_path: Path) -> None:
    with locked(tmp_path / "dm-fhir.sqlite", "sync"):
        assert study.type("backup", "copy.sqlite").code == 0
        refused = study.type("restore", "copy.sqlite", "--json")
    assert (refused.code, refused.json["exit_code"]) == (11, 11)
    assert "dm-fhir sync (process" in refused.err
    assert list(tmp_path.glob("*.before-*")) == []


def test_what_is_no_store_is_refused(study: Study, tmp_path: Path) -> None:
    (tmp_path / "letter").write_text("Dear colleague" * 100, encoding="utf-8")
    refused = study.type("restore", "letter")
    assert (refused.code, "letter cannot be read as a store: file is not a database" in refused.err) == (1, True)
    assert study.type("restore", "nothing").code == 2


def test_a_store_of_an_earlier_version_is_put_back_and_renewed(study: Study, tmp_path: Path) -> None:
    from tests.store.test_migration import old_store

    old_store(tmp_path / "copy.sqlite", 3)
    study.db.close()
    back = study.type("restore", "copy.sqlite", "--json")
    assert (back.code, back.json["store_version"] > 3) == (0, True)
    assert "it is kept as" in back.err
    assert queries(tmp_path / "dm-fhir.sqlite.version-3.backup") == queries(tmp_path / "dm-fhir.sqlite")
