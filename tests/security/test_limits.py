"""Files that would fill the memory, the disk or the stack: each is named, and everything else goes on."""

import gzip
import json
import sqlite3
import time
import tracemalloc
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.security.conftest import CONFIG

from dm_fhir.cli.main import call
from dm_fhir.errors import ConfigError
from dm_fhir.fhir import files
from dm_fhir.mappings import sheet
from dm_fhir.model import read_file

MIB = 2**20
#: Ten thousand levels, which no reader of JSON or TOML gets down to.
DEEP = b"[" * 10_000 + b"]" * 10_000


@contextmanager
def little_memory(most_mib: int) -> Iterator[None]:
    """What is done here never holds more than this."""
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < most_mib * MIB
    finally:
        tracemalloc.stop()


def patient(number: int) -> bytes:
    return json.dumps({"resourceType": "Patient", "id": str(number)}).encode()


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """A line or a document of 1 MiB is the largest."""
    monkeypatch.setattr(files, "LARGEST_BYTES", MIB)


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Path:
    """The folder of a study, in which commands are typed."""
    (tmp_path / "dm-fhir.toml").write_text(f'{CONFIG}[site.cohort]\nby = "everybody"\n', encoding="utf-8")
    (tmp_path / "keys").mkdir()
    (tmp_path / "keys" / "pseudonym.key").write_text("a key", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("name", ["bomb.ndjson.gz", "bomb.json.gz", "bomb.json", "bomb.ndjson"])
@pytest.mark.usefixtures("small")
def test_a_file_that_unpacks_to_far_more_is_stopped_at_the_limit(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    content = b'{"resourceType":"Patient","id":"1","x":"' + b" " * 64 * MIB + b'"}'
    path.write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    del content
    with little_memory(8):
        (item,) = files.read_file(str(path))
    assert item.resource is None
    assert item.reason == ("too-large" if "ndjson" in name else "file-too-large")


@pytest.mark.usefixtures("small")
def test_the_lines_beside_one_that_is_too_long_are_read(tmp_path: Path) -> None:
    path = tmp_path / "some.ndjson"
    long = b'{"resourceType":"Patient","id":"long","x":"' + b"x" * 5 * MIB + b'"}'
    path.write_bytes(b"\n".join([patient(1), long, patient(2), b"", long, long, patient(3)]) + b"\n")
    found = list(files.read_file(str(path)))
    assert [(one.place.rpartition(":")[2], one.resource and one.resource.id, one.reason) for one in found] == [
        ("1", "1", None), ("2", None, "too-large"), ("3", "2", None), ("5", None, "too-large"), ("6", None, "too-large"), ("7", "3", None),
    ]  # fmt: skip


@pytest.mark.parametrize("more", [0, 1])
def test_just_what_is_allowed_is_read_and_a_byte_more_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, more: int
) -> None:
    monkeypatch.setattr(files, "LARGEST_BYTES", 100)
    body = b'{"resourceType":"Patient","id":"1","x":"' + b"x" * (58 + more) + b'"}'
    for name, reason in (("a.json", "file-too-large"), ("a.ndjson", "too-large")):
        (tmp_path / name).write_bytes(body)
        (item,) = files.read_file(str(tmp_path / name))
        assert item.reason == (reason if more else None)


@pytest.mark.usefixtures("small")
def test_a_huge_file_is_one_unit_that_stays_open_with_what_mends_it(
    study: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (study / "in").mkdir()
    (study / "in" / "huge.json.gz").write_bytes(gzip.compress(b" " * 32 * MIB))
    (study / "in" / "good.ndjson").write_bytes(patient(1))
    assert call(["pull", "--from", "in"]) == 3
    assert call(["failed"]) == 3
    out = capsys.readouterr().out
    assert "file-too-large" in out
    assert "cut the file up" in out
    with sqlite3.connect("dm-fhir.sqlite") as db:
        assert db.execute("SELECT id FROM resource").fetchall() == [("1",)]


def test_nesting_without_end_in_files_that_are_pulled(study: Path) -> None:
    deep = b'{"resourceType":"Patient","id":"2","x":' + DEEP + b"}"
    (study / "a.ndjson").write_bytes(b"\n".join([patient(1), deep, patient(3)]))
    (study / "b.json").write_bytes(deep)
    (study / "c.json").write_bytes(b'{"resourceType":"Bundle","entry":' + DEEP + b"}")
    assert call(["pull", "--from", "a.ndjson", "--from", "b.json", "--from", "c.json"]) == 3
    with sqlite3.connect("dm-fhir.sqlite") as db:
        assert db.execute("SELECT id FROM resource ORDER BY id").fetchall() == [("1",), ("3",)]
        assert db.execute("SELECT count(*) FROM quarantine").fetchone() == (3,)


@pytest.mark.parametrize("command", ["merge", "report", "export", "validate"])
@pytest.mark.parametrize(
    "content", [DEEP, b'{"format":"dm-fhir case series","cases":' + DEEP + b"}"], ids=["bare", "cases"]
)
def test_a_case_series_nested_without_end(
    study: Path, capsys: pytest.CaptureFixture[str], command: str, content: bytes
) -> None:
    (study / "deep.json").write_bytes(content)
    how = {"merge": ["deep.json", "deep.json", "-o", "x.json"], "validate": ["deep.json"]}
    code = call([command, *how.get(command, ["--from", "deep.json", "-o", "x.json"])])
    out, err = capsys.readouterr()
    assert code in (1, 2, 3), err
    assert "deep.json" in out + err
    assert "internal error" not in err


@pytest.mark.parametrize("command", ["merge", "report", "export", "validate"])
def test_a_case_series_that_is_too_large(
    study: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    for module in ("dm_fhir.report.documents", "dm_fhir.cli.file_faults"):
        monkeypatch.setattr(f"{module}.LARGEST_DOCUMENT_BYTES", MIB)
    (study / "large.json").write_bytes(b'{"format":"dm-fhir case series","x":"' + b" " * 4 * MIB + b'"}')
    (study / "large.json.gz").write_bytes(gzip.compress(b" " * 64 * MIB))
    names = ["large.json", "large.json.gz"] if command == "validate" else ["large.json"]
    how = {"merge": [*names, "-o", "x.json"], "validate": names}
    with little_memory(16):
        assert call([command, *how.get(command, ["--from", *names, "-o", "x.json"])]) in (1, 2, 3)
    said = "".join(capsys.readouterr())
    assert said.count("larger than 1 MiB") == len(names)


@pytest.mark.parametrize("what", ["config", "table", "column map", "validate"])
@pytest.mark.parametrize("why", ["nested too deeply", "larger than 32 MiB"])
def test_toml_without_end(study: Path, capsys: pytest.CaptureFixture[str], what: str, why: str) -> None:
    text = "x = " + DEEP.decode() if why.startswith("nested") else "# " + "x" * (read_file.LARGEST_TEXT_BYTES + 1)
    (study / "bad.toml").write_text(text, encoding="utf-8")
    config = study / "dm-fhir.toml"
    lines = {"table": 'tables = ["bad.toml"]\n', "column map": '[site.import]\nmap = "bad.toml"\n'}
    config.write_text(CONFIG + lines.get(what, ""), encoding="utf-8")
    (study / "scores.csv").write_text("a,b\n", encoding="utf-8")
    words = {
        "config": ["--config", "bad.toml", "status"],
        "table": ["map", "check"],
        "validate": ["validate", "bad.toml"],
    }
    code = call(words.get(what, ["import", "scores.csv"]))
    out, err = capsys.readouterr()
    assert code in (1, 2, 3), (code, out, err)
    assert why in out + err
    assert "internal error" not in err


def test_a_csv_that_is_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sheet, "_LARGEST_BYTES", MIB)
    (tmp_path / "a.csv").write_bytes(b"a,b\n" + b"1,2\n" * MIB)
    with little_memory(8), pytest.raises(ConfigError, match=r"cannot be read: it is larger than 1 MiB"):
        sheet.read_sheet(tmp_path / "a.csv", ["a"])


SHEET = '<worksheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main">{dimension}<sheetData>{rows}</sheetData></worksheet>'
ROW = '<row r="{n}"><c r="{column}{n}" t="inlineStr"><is><t>{text}</t></is></c></row>'


def workbook(path: Path, part: str) -> Path:
    """A workbook whose only sheet is this XML."""
    from openpyxl import Workbook

    Workbook().save(path)
    with zipfile.ZipFile(path) as old:
        parts = {name: old.read(name) for name in old.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as new:
        for name, content in parts.items():
            new.writestr(name, part.encode() if name == "xl/worksheets/sheet1.xml" else content)
    return path


def test_a_workbook_that_unpacks_to_far_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sheet, "_LARGEST_BYTES", 16 * MIB)
    rows = ROW.format(n=1, column="A", text="a") + " " * 17 * MIB
    path = workbook(tmp_path / "bomb.xlsx", SHEET.format(dimension="", rows=rows))
    del rows
    assert path.stat().st_size < MIB
    with little_memory(16), pytest.raises(ConfigError, match="cannot be read: it is larger than 16 MiB"):
        sheet.read_sheet(path, ["a"])


def test_a_workbook_that_says_it_is_endless(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sheet, "_MOST_CELLS", 2_000_000)
    rows = ROW.format(n=1, column="A", text="a") + ROW.format(n=1_048_576, column="XFD", text="b")
    path = workbook(tmp_path / "endless.xlsx", SHEET.format(dimension='<dimension ref="A1:XFD1048576"/>', rows=rows))
    started = time.monotonic()
    with little_memory(64), pytest.raises(ConfigError, match="more than 2,000,000 cells, empty ones included"):
        sheet.read_sheet(path, ["a"])
    assert time.monotonic() - started < 60


def test_entities_of_a_workbook_do_not_multiply(tmp_path: Path) -> None:
    levels = "".join(f'<!ENTITY e{n} "{f"&e{n - 1};" * 10}">' for n in range(1, 12))
    head = f'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY e0 "ha">{levels}]>'
    rows = ROW.format(n=1, column="A", text="a") + ROW.format(n=2, column="A", text="&e11;")
    path = workbook(tmp_path / "laughs.xlsx", head + SHEET.format(dimension="", rows=rows))
    with little_memory(200), pytest.raises(ConfigError, match="is no XLSX file"):
        sheet.read_sheet(path, ["a"])


def test_a_file_that_an_entity_names_is_not_read(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("a secret", encoding="utf-8")
    head = f'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY e SYSTEM "{secret.as_uri()}">]>'
    rows = ROW.format(n=1, column="A", text="a") + ROW.format(n=2, column="A", text="b &e;")
    path = workbook(tmp_path / "entity.xlsx", head + SHEET.format(dimension="", rows=rows))
    try:
        told = str(sheet.read_sheet(path, ["a"]))
    except ConfigError as error:
        told = str(error)
    assert "a secret" not in told
