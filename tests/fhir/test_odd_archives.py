"""Archives that are written oddly, or damaged where few look: a member's content is whole, or a word says why not."""

import gzip
import io
import tarfile
import zipfile
from functools import partial
from pathlib import Path

import pytest

from dm_fhir.fhir import archives, member
from dm_fhir.fhir.files import read_file
from dm_fhir.fhir.listing import find_sources
from dm_fhir.fhir.sources import Source

from .test_archives import PATIENTS, found, nothing_kept, read, tarred, zipped

__all__ = ["nothing_kept"]


@pytest.mark.parametrize(("tail", "reasons"), [
    (tarred([("b.ndjson", b"")])[:512], ["file-cut-off"]),  # at a member's end, and nothing says that it was the last
    (bytes(100), ["file-cut-off"]), (bytes(10 * 512), []),
])  # fmt: skip
def test_what_follows_the_end_of_a_tar(tmp_path: Path, tail: bytes, reasons: list[str]) -> None:
    (tmp_path / "a.tar").write_bytes(tarred([("a.ndjson", PATIENTS)]) + tail)
    sources, _ = find_sources([str(tmp_path)])
    assert [item.reason for item in read_file(sources[-1])] == reasons


def header(*, kind: bytes = tarfile.REGTYPE, size: bytes = b"0000000\0") -> bytes:
    """The header of a member that is no good, with a checksum that is."""
    head = bytearray(tarfile.TarInfo("b.ndjson").tobuf(tarfile.USTAR_FORMAT))
    head[124 : 124 + len(size)], head[156:157], head[148:156] = size, kind, b" " * 8
    head[148:156] = b"%06o\0 " % sum(head)
    return bytes(head)


@pytest.mark.parametrize("kind", [tarfile.REGTYPE, tarfile.GNUTYPE_LONGNAME])
def test_a_member_of_less_than_nothing_is_damage(tmp_path: Path, kind: bytes) -> None:
    whole = tarred([("a.ndjson", PATIENTS)])
    member_alone = whole[: 512 - -len(PATIENTS) // 512 * 512]
    (tmp_path / "a.tar").write_bytes(member_alone + header(kind=kind, size=b"\xff" * 12) + whole)
    sources, _ = find_sources([str(tmp_path)])
    assert [item.reason for item in read_file(sources[-1])] == ["file-damaged"]


@pytest.mark.parametrize(
    "record", [b"2 17 path=x.ndjson\n", b"1 17 path=x.ndjson\n", b"x path=x\n", b"\xb2 path=x\n", b"17"]
)
def test_what_is_said_of_a_member_must_be_readable(tmp_path: Path, record: bytes) -> None:
    about = header(kind=tarfile.XHDTYPE, size=b"%011o\0" % len(record)) + record.ljust(512, b"\0")
    (tmp_path / "a.tar").write_bytes(about + tarred([("a.ndjson", PATIENTS)]))
    sources, _ = find_sources([str(tmp_path / "a.tar")])
    assert [item.reason for item in read_file(sources[-1])] == ["file-damaged"]


def test_the_size_of_a_member_may_stand_before_it(tmp_path: Path) -> None:
    info = tarfile.TarInfo("a.ndjson")
    info.pax_headers = {"size": str(len(PATIENTS))}
    padding = bytes(-len(PATIENTS) % 512)
    (tmp_path / "a.tar").write_bytes(
        info.tobuf(tarfile.PAX_FORMAT) + PATIENTS + padding + tarred([("b.ndjson", PATIENTS)])
    )
    sources, _ = find_sources([str(tmp_path)])
    assert [one.size_bytes for one in sources[:2]] == [len(PATIENTS)] * 2
    assert [sum(item.resource is not None for item in read_file(one)) for one in sources] == [300, 300, 0]


def test_an_archive_that_was_left_open_is_read_on_in_its_own_version_only() -> None:
    for version, id_ in (("1", b"one"), ("2", b"two")):
        body = tarred([("a.ndjson", PATIENTS), ("b.ndjson", id_)])
        opening = partial(lambda body: io.BufferedReader(io.BytesIO(body)), body)
        with archives.opened_member("a.tar", version, "b.ndjson", opening) as content:
            assert content.read() == id_
    archives.close_kept()


def test_a_member_that_is_cut_off_says_so_itself(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    path.write_bytes(tarred([("a.ndjson", PATIENTS)])[: 512 + 36 * 100])
    sources, _ = found(path)
    assert [read([one])[-1] for one in sources] == ["!file-cut-off", "!file-cut-off"]
    assert len(read(sources[:1])) > 90


@pytest.mark.parametrize("form", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
def test_cut_off_in_what_is_said_of_a_member(tmp_path: Path, form: int) -> None:
    path = tmp_path / "a.tar"
    for cut in (600, 1024 + 100):
        path.write_bytes(tarred([("x" * 600 + ".ndjson", PATIENTS)], form)[:cut])
        assert read(found(path)[0]) == ["!file-cut-off"], cut


def test_a_folders_long_name_is_not_the_next_members(tmp_path: Path) -> None:
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w", format=tarfile.GNU_FORMAT) as tar:
        folder = tarfile.TarInfo("d" * 150)
        folder.type = tarfile.DIRTYPE
        tar.addfile(folder)
    path = tmp_path / "a.tar"
    path.write_bytes(target.getvalue()[:1536] + tarred([("a.ndjson", PATIENTS)]))
    assert [one.path.rpartition("!/")[2] for one in found(path)[0]] == ["a.ndjson", str(path)]


def test_a_folder_as_the_oldest_tars_write_it(tmp_path: Path) -> None:
    info = tarfile.TarInfo("a.ndjson/")
    info.type = tarfile.AREGTYPE
    path = tmp_path / "a.tar"
    path.write_bytes(info.tobuf(tarfile.USTAR_FORMAT) + tarred([("b.ndjson", PATIENTS)]))
    assert [one.path.rpartition("!/")[2] for one in found(path)[0]] == ["b.ndjson", str(path)]


def test_a_member_before_damage_is_read_whatever_was_read_first(tmp_path: Path) -> None:
    path = tmp_path / "a.tar.gz"
    path.write_bytes(
        gzip.compress(
            tarred([("a.ndjson", PATIENTS), ("b.ndjson", PATIENTS), ("c.ndjson", PATIENTS)])[: -tarfile.RECORDSIZE]
        )
    )
    sources, _ = found(path)
    assert [read([one])[-1] for one in (sources[1], sources[0])] == ["Patient/299", "Patient/299"]


def test_holes_as_newer_tars_write_them(tmp_path: Path) -> None:
    info = tarfile.TarInfo("a.ndjson")
    info.pax_headers = {"GNU.sparse.major": "1", "GNU.sparse.name": "a.ndjson"}
    path = tmp_path / "a.tar"
    path.write_bytes(info.tobuf(tarfile.PAX_FORMAT) + tarred([("b.ndjson", PATIENTS)]))
    assert found(path)[1] == {"a.ndjson": "a file with holes"}


@pytest.mark.parametrize("where", ["list", "member"])
def test_a_name_in_a_zip_that_is_not_what_it_says(tmp_path: Path, where: str) -> None:
    body = bytearray(zipped([("\u00e4.ndjson", PATIENTS), ("b.ndjson", PATIENTS)]))
    mark, name = (b"PK\x01\x02", 46) if where == "list" else (b"PK\x03\x04", 30)
    body[body.find(mark) + name] = 0xFF
    path = tmp_path / "a.zip"
    path.write_bytes(body)
    last = [read([one])[-1:] for one in found(path)[0]]
    assert last == ([["!file-damaged"]] if where == "list" else [["!file-damaged"], ["Patient/299"], []])


def test_what_looks_like_a_link_where_there_are_none(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as file:
        info = zipfile.ZipInfo("a.ndjson")
        info.create_system, info.external_attr = 0, 0o120777 << 16
        file.writestr(info, PATIENTS)
    sources, passed_over = found(path)
    assert (len(read(sources)), passed_over) == (300, {})


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("kind", ["a.tar", "a.zip"])
def test_many_members_of_one_name(tmp_path: Path, kind: str) -> None:
    members = [("a.ndjson", PATIENTS)] * 3 + [("(2)/a.ndjson", PATIENTS)]
    path = tmp_path / kind
    path.write_bytes(tarred(members) if kind == "a.tar" else zipped(members))
    names = [one.path.rpartition("!/")[2] for one in found(path)[0][:4]]
    assert names == ["a.ndjson", "(2)/a.ndjson", "(3)/a.ndjson", "(2)/(2)/a.ndjson"]
    assert len(read([Source(f"{path}!/{name}", is_packed=True) for name in names])) == 1200


@pytest.mark.parametrize("kind", ["a.tar", "a.zip"])
def test_as_many_members_as_may_be_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    monkeypatch.setattr(member, "_MOST_MEMBERS", 3)
    make = tarred if kind == "a.tar" else zipped
    path = tmp_path / kind
    for count, last in ((3, []), (4, ["!file-too-large"])):
        path.write_bytes(make([(f"{number}.ndjson", PATIENTS) for number in range(count)]))
        assert read(found(path)[0][-1:]) == last
