"""Folders as they are found: only ordinary files are opened, whatever is not read is named with its reason."""

import gzip
import os
import socket
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

import pytest
from backports import zstd

from dm_fhir.errors import ConfigError
from dm_fhir.fhir import listing, packed
from dm_fhir.fhir.files import read_file
from dm_fhir.fhir.listing import find_sources
from dm_fhir.fhir.packed import BROKEN
from dm_fhir.fhir.sources import Source, opened, printable, source_of
from dm_fhir.sync.scan.piece import pieces_of
from dm_fhir.sync.scan.record_questions import OfPatients
from dm_fhir.sync.scan.scan import scan

LINE = b'{"resourceType":"Patient","id":"1"}\n'


def found(*paths: object) -> tuple[list[str], dict[str, str]]:
    """The sources' paths, and what was passed over with the reason."""
    sources, passed_over = find_sources([str(path) for path in paths])
    return [one.path for one in sources], {one.path: one.why for one in passed_over}


def test_nothing_but_ordinary_files_is_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("in/deep").mkdir(parents=True)
    Path("in/good.ndjson").write_bytes(LINE)
    Path("elsewhere").mkdir()
    Path("elsewhere/secret.ndjson").write_bytes(LINE)
    os.mkfifo("in/pipe.ndjson")  # whoever opened it would wait for ever
    Path("in/link.ndjson").symlink_to(tmp_path / "elsewhere" / "secret.ndjson")
    Path("in/folder.ndjson").symlink_to(tmp_path / "elsewhere")
    Path("in/deep/round").symlink_to(tmp_path / "in")
    Path("in/nowhere.ndjson").symlink_to(tmp_path / "nothing")
    with socket.socket(socket.AF_UNIX) as one:
        one.bind("in/socket.ndjson")
        assert found("in") == (
            ["in/good.ndjson"],
            {"in/pipe.ndjson": "a pipe", "in/link.ndjson": "a link", "in/folder.ndjson": "a link", "in/deep/round": "a link",
             "in/nowhere.ndjson": "a link", "in/socket.ndjson": "a socket"},
        )  # fmt: skip


def test_a_link_that_is_named_is_followed(tmp_path: Path) -> None:
    (tmp_path / "a.ndjson").write_bytes(LINE)
    (tmp_path / "link").symlink_to(tmp_path / "a.ndjson")
    (tmp_path / "folder").mkdir()
    (tmp_path / "way").symlink_to(tmp_path / "folder")
    (tmp_path / "folder" / "b.ndjson").write_bytes(LINE)
    assert found(tmp_path / "link", tmp_path / "way")[0] == [f"{tmp_path}/link", f"{tmp_path}/way/b.ndjson"]


@pytest.mark.parametrize("kind", ["a pipe", "a device"])
def test_what_can_be_read_only_once_goes_to_standard_input(tmp_path: Path, kind: str) -> None:
    path = "/dev/null" if kind == "a device" else str(tmp_path / "pipe")
    if kind == "a pipe":
        os.mkfifo(path)
    with pytest.raises(ConfigError, match=f"is no file but {kind}\n.*--from -"):
        found(path)


def test_what_programs_leave_behind_is_named_and_not_read(tmp_path: Path) -> None:
    names = (
        "_SUCCESS",
        ".part-0.json.crc",
        ".Patient.ndjson.Xa3f",
        "_temporary/0/part-0.json",
        "part-0.json",
        "_committed_1.json",
    )
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(LINE)
    sources, passed_over = found(tmp_path)
    assert sources == [f"{tmp_path}/part-0.json"]
    hidden = {"_SUCCESS", ".part-0.json.crc", ".Patient.ndjson.Xa3f", "_temporary", "_committed_1.json"}
    assert passed_over == {f"{tmp_path}/{name}": "hidden" for name in hidden}


def test_the_manifest_beside_an_export_is_no_fhir(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_bytes(
        b'{"transactionTime":"2025-01-01","output":[{"type":"Patient","url":"x"}]}'
    )
    (tmp_path / "Patient.ndjson").write_bytes(LINE)
    assert found(tmp_path) == ([f"{tmp_path}/Patient.ndjson"], {f"{tmp_path}/manifest.json": "not a FHIR file"})


def test_names_that_are_no_utf8_are_read(tmp_path: Path) -> None:
    path = os.fsencode(tmp_path) + b"/caf\xe9.ndjson"
    with open(path, "wb") as file:
        file.write(LINE)
    with open(path + b".txt", "wb"):
        pass
    (name,), passed_over = found(tmp_path)
    assert passed_over == {f"{tmp_path}/caf\ufffd.ndjson.txt": "not a FHIR file"}
    assert os.fsencode(name) == path
    assert [item.resource and item.resource.id for item in read_file(name)] == ["1"]


def test_patterns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("a1.ndjson", "a2.ndjson", "b.ndjson", "c/a3.ndjson", "c/notes.txt", "part-0", "_SUCCESS"):
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).write_bytes(LINE)
    assert found("a*.ndjson")[0] == ["a1.ndjson", "a2.ndjson"]
    assert found("**/a*.ndjson")[0] == ["a1.ndjson", "a2.ndjson", "c/a3.ndjson"]
    assert found("[bc]*") == (["b.ndjson", "c/a3.ndjson"], {"c/notes.txt": "not a FHIR file"})
    assert found("part-*", "_*")[0] == ["part-0"]
    with pytest.raises(ConfigError, match=r"d\*.ndjson does not exist"):
        found("d*.ndjson")


def test_a_file_whose_name_looks_like_a_pattern_is_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a[1].ndjson").write_bytes(LINE)
    Path("a1.ndjson").write_bytes(LINE)
    assert found("a[1].ndjson")[0] == ["a[1].ndjson"]


def test_file_addresses(tmp_path: Path) -> None:
    (tmp_path / "a.ndjson").write_bytes(LINE)
    assert found(f"file://{tmp_path}")[0] == [f"{tmp_path}/a.ndjson"]


@pytest.fixture
def somebody() -> Iterator[Path]:
    """A folder to which everybody may go, and a user who is not root, to whom permissions mean something."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o777)
        before = os.geteuid()
        os.seteuid(before or 65_534)
        try:
            yield Path(folder)
        finally:
            os.seteuid(before)


def test_a_file_that_may_not_be_read_is_a_unit_of_its_own(somebody: Path) -> None:
    for name in ("a.ndjson", "b.json", "c.ndjson"):
        (somebody / name).write_bytes(LINE)
    (somebody / "a.ndjson").chmod(0)
    (somebody / "b.json").chmod(0)
    sources, _ = find_sources([str(somebody)])
    assert [next(read_file(one)).reason for one in sources] == ["file-not-readable", "file-not-readable", None]
    with pytest.raises(ConfigError, match=r"a\.ndjson cannot be read: Permission denied"):
        found(somebody / "a.ndjson")


def test_what_a_pattern_matches_and_cannot_be_read_spares_the_others(somebody: Path) -> None:
    for name in ("a.ndjson", "b.ndjson"):
        (somebody / name).write_bytes(LINE)
    (somebody / "a.ndjson").chmod(0)
    os.mkfifo(somebody / "c.ndjson")
    (somebody / "d.ndjson").symlink_to(somebody / "nothing")
    sources, passed_over = find_sources([f"{somebody}/*.ndjson"])
    assert [next(read_file(one)).reason for one in sources] == ["file-not-readable", None, "file-not-readable"]
    assert [(one.path, one.why) for one in passed_over] == [(f"{somebody}/c.ndjson", "a pipe")]


def test_what_is_named_besides_its_folder_is_read_and_not_passed_over(tmp_path: Path) -> None:
    for name in ("a.ndjson", "notes.txt"):
        (tmp_path / name).write_bytes(LINE)
    notes = f"{tmp_path}/notes.txt"
    assert sorted(found(tmp_path, notes, notes)[0]) == [f"{tmp_path}/a.ndjson", notes]
    assert found(tmp_path, notes)[1] == found(notes, tmp_path)[1] == {}


def test_a_document_too_large_to_look_through_is_named_and_not_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listing, "LARGEST_BYTES", 2**16)
    for size in (2**16 - 2, 2**18):
        (tmp_path / f"{size}.json").write_bytes(b'"%b"' % (b"x" * size))
    assert found(tmp_path) == ([f"{tmp_path}/{2**18}.json"], {f"{tmp_path}/{2**16 - 2}.json": "not a FHIR file"})


def test_a_name_steers_no_terminal(tmp_path: Path) -> None:
    name = "\x1b[2Ja\nb\u202e\xa0é.ndjson"
    (tmp_path / name).write_bytes(LINE)
    (tmp_path / f"{name}.txt").write_bytes(LINE)
    (path,), passed_over = found(tmp_path)
    assert path == f"{tmp_path}/{name}"
    shown = f"{tmp_path}/\ufffd[2Ja\ufffdb\ufffd\xa0é.ndjson"
    assert (printable(path), passed_over) == (shown, {f"{shown}.txt": "not a FHIR file"})


def test_a_folder_that_may_not_be_read_stops_everything_before_it_begins(somebody: Path) -> None:
    closed = somebody / "smith john"
    closed.mkdir()
    closed.chmod(0)
    with pytest.raises(ConfigError, match=r"a folder in .* cannot be read: Permission denied") as inside:
        found(somebody)
    assert "smith" not in f"{inside.value}{inside.value.__cause__}", "it goes into the log"
    assert f"find {somebody} > /dev/null" in (inside.value.hint or "")
    with pytest.raises(ConfigError, match="smith john cannot be read: Permission denied"):
        found(closed)
    closed.chmod(0o700)


def test_many_files_are_told_of_while_they_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listing, "_FILES_BETWEEN_TELLING", 1000)
    for number in range(2500):
        (tmp_path / f"{number}.ndjson").touch()
    told: list[int] = []
    sources, _ = find_sources([str(tmp_path)], told.append)
    assert (len(sources), told) == (2500, [1000, 2000])


def test_a_source_that_was_written_to_since_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "a.ndjson"
    path.write_bytes(LINE)
    (source,), _ = find_sources([str(path)])
    path.write_bytes(LINE * 2)
    assert [item.reason for item in read_file(source)] == ["file-changed"]
    assert len(list(read_file(str(path)))) == 2


def test_a_zst_whose_window_is_larger_than_allowed(tmp_path: Path) -> None:
    level = zstd.CompressionParameter
    path = tmp_path / "a.ndjson.zst"
    packer = zstd.ZstdCompressor(options={level.window_log: 28, level.compression_level: 1})
    path.write_bytes(packer.compress(LINE) + packer.flush())
    assert [item.reason for item in read_file(str(path))] == ["file-too-large"]


@pytest.mark.parametrize(
    ("tail", "reason"),
    [(b"", None), (b"twice", None), (b"skippable", None), (b"junk", "file-damaged"), (b"cut", "file-cut-off")],
)
def test_frames_of_zst(tmp_path: Path, tail: bytes, reason: str | None) -> None:
    frame = zstd.compress(LINE * 500)
    tails = {b"twice": frame, b"skippable": b"\x50\x2a\x4d\x18\3\0\0\0abc" + frame, b"cut": frame[:-2]}
    path = tmp_path / "a.ndjson.zst"
    path.write_bytes(frame + tails.get(tail, tail))
    assert list(read_file(str(path)))[-1].reason == reason


@pytest.mark.parametrize("pack", [gzip.compress, zstd.compress], ids=["gzip", "zstd"])
def test_what_could_be_unpacked_before_the_break_is_read(tmp_path: Path, pack: Callable[[bytes], bytes]) -> None:
    path = tmp_path / "a.ndjson.gz"
    path.write_bytes(pack(LINE * 500) + pack(LINE * 500)[:-2])
    parcels = list(scan(0, pieces_of([source_of(str(path))])[0], OfPatients(None, None, None)))  # type: ignore[arg-type]  # no mapper is asked
    assert [parcel.damage for parcel in parcels] == ["file-cut-off"]
    assert len(parcels[0].kept) >= 500
    assert not parcels[0].faulty


def flipped(content: bytes) -> bytes:
    """As gzip, with a bit that is another."""
    packed_content = bytearray(gzip.compress(content + os.urandom(300_000)))
    packed_content[2000] ^= 1
    return bytes(packed_content)


def drain(file: BinaryIO) -> None:
    while file.read(50_000):
        pass


@pytest.mark.parametrize("damaged", [flipped, lambda content: zstd.compress(content) + b"junk"], ids=["gzip", "zstd"])
def test_damage_is_no_end_however_often_more_is_asked_for(tmp_path: Path, damaged: Callable[[bytes], bytes]) -> None:
    path = tmp_path / "a.ndjson.gz"
    path.write_bytes(damaged(LINE * 20_000))
    with opened(Source(str(path), is_packed=True)) as file:
        for _ in range(4):
            with pytest.raises(BROKEN):
                drain(file)


@pytest.mark.parametrize("chunk", [1, 7, 2**16])
def test_between_two_gzips_may_stand_zeros(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chunk: int) -> None:
    monkeypatch.setattr(packed, "_CHUNK_BYTES", chunk)
    path = tmp_path / "a.ndjson.gz"
    for zeros in range(9):
        path.write_bytes(gzip.compress(LINE) + bytes(zeros) + gzip.compress(LINE) + bytes(zeros))
        assert [item.resource and item.resource.id for item in read_file(str(path))] == ["1", "1"]


def test_what_stands_before_damage_in_the_first_bytes_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.ndjson.gz"
    path.write_bytes(gzip.compress(LINE) + b"junk that is no gzip")
    (source,), _ = find_sources([str(path)])
    found = [(item.resource and item.resource.id, item.reason) for item in read_file(source)]
    assert found == [("1", None), (None, "file-damaged")]


def test_a_source_can_be_read_by_several_at_once(tmp_path: Path) -> None:
    path = tmp_path / "a.ndjson"
    path.write_bytes(b"".join(b"%06d\n" % n for n in range(50_000)))
    sums: list[int] = []

    def read() -> None:
        with opened(Source(str(path))) as file:
            file.seek(7 * 100)
            sums.append(sum(map(int, file)))

    threads = [threading.Thread(target=read) for _ in range(4)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert sums == [sum(range(100, 50_000))] * 4


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="nothing cannot be read: No such file"):
        source_of(str(tmp_path / "nothing"))
