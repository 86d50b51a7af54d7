"""Archives: every member comes out once, by its own name, read where it lies; and what is wrong with one is said."""

import gzip
import io
import os
import random
import stat
import tarfile
import tracemalloc
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from backports import zstd

from dm_fhir.fhir import archives
from dm_fhir.fhir.files import read_file
from dm_fhir.fhir.listing import find_sources
from dm_fhir.fhir.packed import BROKEN
from dm_fhir.fhir.sources import Source, opened

Members = list[tuple[str, bytes]]
PATIENTS = b"".join(b'{"resourceType":"Patient","id":"%d"}\n' % n for n in range(300))
BUNDLE = b'{"resourceType":"Bundle","entry":[{"resource":{"resourceType":"Patient","id":"b"}}]}'
EXPORT: Members = [
    ("Patient.000.ndjson", PATIENTS),
    ("deep/er/Condition.ndjson.gz", gzip.compress(b'{"resourceType":"Condition","id":"1"}\n')),
    ("deep/er/Device.ndjson.zst", zstd.compress(b'{"resourceType":"Device","id":"1"}\n')),
    ("one.json", BUNDLE),
    ("package.json", b'{"name":"ig"}'),
    ("readme.txt", b"Dear colleague"),
    ("empty.ndjson", b""),
    ("inner.tar.gz", gzip.compress(b"x")),
    ("inner.zip", b"PK"),
    ("__MACOSX/._Patient.ndjson", b"\0\5\x16\7"),
    (".hidden.ndjson", PATIENTS),
    ("last.ndjson", b'{"resourceType":"Patient","id":"last"}\n'),
]
READ = [
    "Patient.000.ndjson",
    "deep/er/Condition.ndjson.gz",
    "deep/er/Device.ndjson.zst",
    "one.json",
    "empty.ndjson",
    "last.ndjson",
]
NOT_READ = {
    "package.json": "not a FHIR file", "readme.txt": "not a FHIR file", "inner.tar.gz": "an archive inside an archive",
    "inner.zip": "an archive inside an archive", "__MACOSX/._Patient.ndjson": "hidden", ".hidden.ndjson": "hidden",
}  # fmt: skip


def tarred(members: Members, form: int = tarfile.PAX_FORMAT) -> bytes:
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w", format=form) as tar:
        for name, body in members:
            info = tarfile.TarInfo(name)
            info.size = len(body)
            tar.addfile(info, io.BytesIO(body))
    return target.getvalue()


def zipped(members: Members, method: int = zipfile.ZIP_DEFLATED) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", method) as file:
        for name, body in members:
            file.writestr(name, body)
    return target.getvalue()


MAKERS: dict[str, Callable[[Members], bytes]] = {
    "a.zip": zipped,
    "stored.zip": lambda members: zipped(members, zipfile.ZIP_STORED),
    "a.tar": tarred,
    "gnu.tar": lambda members: tarred(members, tarfile.GNU_FORMAT),
    "ustar.tar": lambda members: tarred(members, tarfile.USTAR_FORMAT),
    "a.tar.gz": lambda members: gzip.compress(tarred(members)),
    "a.tgz": lambda members: gzip.compress(tarred(members)[:700]) + gzip.compress(tarred(members)[700:]),
    "a.tar.zst": lambda members: zstd.compress(tarred(members)),
    "of another name": lambda members: gzip.compress(tarred(members)),
    "zip.tar": zipped,
}


@pytest.fixture(params=list(MAKERS))
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[Members], Path]:
    """Writes the members into an archive of one kind."""

    def write(members: Members) -> Path:
        path = tmp_path / str(request.param)
        path.write_bytes(MAKERS[str(request.param)](members))
        return path

    return write


@pytest.fixture(autouse=True)
def nothing_kept() -> Iterator[None]:
    """No archive of another test is open, and none stays so."""
    yield
    archives.close_kept()


def found(path: Path) -> tuple[list[Source], dict[str, str]]:
    """The sources, and what was passed over with the reason, by name in the archive."""
    sources, passed_over = find_sources([str(path)])
    return sources, {one.path.removeprefix(f"{path}!/"): one.why for one in passed_over}


def read(sources: list[Source]) -> list[str]:
    """What is in them: references, or the reason why there is none."""
    return [item.resource.reference if item.resource else f"!{item.reason}" for s in sources for item in read_file(s)]


def test_every_member_is_a_source_of_its_own(make: Callable[[Members], Path]) -> None:
    path = make(EXPORT)
    sources, passed_over = found(path)
    assert [one.path for one in sources] == [*(f"{path}!/{name}" for name in READ), str(path)]
    assert passed_over == NOT_READ
    expected = [f"Patient/{n}" for n in range(300)] + ["Condition/1", "Device/1", "Patient/b", "Patient/last"]
    assert read(sources) == expected
    assert read(sources[::-1]) == ["Patient/last", "Patient/b", "Device/1", "Condition/1", *expected[:300]]
    assert len({one.version for one in sources}) == 1


def test_members_of_a_plain_tar_are_read_from_any_place(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    path.write_bytes(tarred(EXPORT))
    sources, _ = found(path)
    is_packed = {one.path.removeprefix(f"{path}!/"): one.is_packed for one in sources}
    assert is_packed == dict.fromkeys(READ, False) | {
        "deep/er/Condition.ndjson.gz": True, "deep/er/Device.ndjson.zst": True, str(path): True,
    }  # fmt: skip
    with opened(sources[0]) as file, opened(sources[-2]) as last:
        assert last.readline() == b'{"resourceType":"Patient","id":"last"}\n'
        file.seek(1000)
        assert file.read(500) == PATIENTS[1000:1500]
        file.seek(-10, os.SEEK_END)
        assert file.read() == PATIENTS[-10:]
        assert file.read() == b""


@pytest.mark.parametrize("name", ["a.tar.gz", "a.tar.zst", "a.zip"])
def test_whoever_reads_in_order_goes_through_the_archive_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    members = [(f"{n}.ndjson", os.urandom(20_000)) for n in range(40)]
    path = tmp_path / name
    path.write_bytes(MAKERS[name](members))
    sources, _ = found(path)
    opened_how_often = 0
    archive = archives._archive

    def counted(*given: Any) -> Any:
        nonlocal opened_how_often
        opened_how_often += 1
        return archive(*given)

    monkeypatch.setattr(archives, "_archive", counted)
    for _ in range(3):
        for source in sources[::2]:
            with opened(source) as file:
                file.read(100)
    assert opened_how_often <= 3


def test_two_readers_do_not_disturb_each_other(make: Callable[[Members], Path]) -> None:
    sources, _ = found(make([("a.ndjson", PATIENTS), ("b.ndjson", PATIENTS[::-1])]))
    with opened(sources[0]) as one, opened(sources[1]) as two, opened(sources[0]) as three:
        first = [(one.read(1000), two.read(1000), three.read(1000)) for _ in range(5)]
    assert b"".join(part[0] for part in first) == PATIENTS[:5000]
    assert b"".join(part[1] for part in first) == PATIENTS[::-1][:5000]
    assert b"".join(part[2] for part in first) == PATIENTS[:5000]


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_members_of_the_same_name_are_all_read(make: Callable[[Members], Path]) -> None:
    path = make(
        [
            ("a.ndjson", b'{"resourceType":"Patient","id":"1"}'),
            ("a.ndjson", b'{"resourceType":"Patient","id":"2"}'),
            ("b.json", BUNDLE),
        ]
    )
    sources, _ = found(path)
    assert [one.path.rpartition("!/")[2] for one in sources[:3]] == ["a.ndjson", "(2)/a.ndjson", "b.json"]
    assert read(sources) == ["Patient/1", "Patient/2", "Patient/b"]


@pytest.mark.parametrize(
    "name",
    [
        "../../../etc/cron.d/x.ndjson",
        "/root/x.ndjson",
        "a\\..\\x.ndjson",
        "ä\n\x1b[2J.ndjson",
        "x" * 3000 + ".ndjson",
        "b!/c.ndjson",
    ],
)
@pytest.mark.parametrize("kind", ["a.zip", "a.tar", "a.tar.gz"])
def test_a_members_name_is_a_name_and_no_path(tmp_path: Path, kind: str, name: str) -> None:
    path = tmp_path / "in" / kind
    path.parent.mkdir()
    path.write_bytes(MAKERS[kind]([(name, PATIENTS)]))
    sources, _ = found(path)
    assert len(read(sources)) == 300
    assert [one.name for one in tmp_path.rglob("*")] == ["in", kind]


def test_links_devices_and_folders_in_a_tar_are_never_followed(tmp_path: Path) -> None:
    (tmp_path / "secret.ndjson").write_bytes(PATIENTS)
    target = io.BytesIO()
    kinds = {
        "link": tarfile.SYMTYPE,
        "hard": tarfile.LNKTYPE,
        "pipe": tarfile.FIFOTYPE,
        "disk": tarfile.BLKTYPE,
        "folder": tarfile.DIRTYPE,
    }
    with tarfile.open(fileobj=target, mode="w") as tar:
        for name, kind in kinds.items():
            info = tarfile.TarInfo(f"{name}.ndjson")
            info.type, info.linkname = kind, str(tmp_path / "secret.ndjson")
            tar.addfile(info)
        info = tarfile.TarInfo("good.ndjson")
        info.size = len(PATIENTS)
        tar.addfile(info, io.BytesIO(PATIENTS))
    path = tmp_path / "a.tar"
    path.write_bytes(target.getvalue())
    sources, passed_over = found(path)
    assert [one.path for one in sources] == [f"{path}!/good.ndjson", str(path)]
    assert passed_over == {
        "link.ndjson": "a link",
        "hard.ndjson": "a link",
        "pipe.ndjson": "no ordinary file",
        "disk.ndjson": "no ordinary file",
    }


def test_a_link_in_a_zip_is_not_followed(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as file:
        info = zipfile.ZipInfo("link.ndjson")
        info.create_system, info.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
        file.writestr(info, "/etc/passwd")
        file.mkdir("folder.ndjson")
    assert found(path)[1] == {"link.ndjson": "a link"}


def test_an_encrypted_member_is_said_and_the_others_are_read(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    body = bytearray(zipped([("a.ndjson", PATIENTS), ("b.json", BUNDLE), ("c.ndjson", PATIENTS)]))
    for mark, at in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        first = body.find(mark)
        for place in (first, body.find(mark, first + 1)):
            body[place + at] |= 1
    path.write_bytes(body)
    sources, passed_over = found(path)
    assert [one.path.rpartition("!/")[2] for one in sources[:3]] == ["a.ndjson", "b.json", "c.ndjson"]
    assert (read(sources)[:2], len(read(sources)), passed_over) == (["!file-encrypted", "!file-encrypted"], 302, {})


def test_a_method_that_nobody_here_knows(tmp_path: Path) -> None:
    body = bytearray(zipped([("a.ndjson", PATIENTS), ("b.ndjson", PATIENTS)]))
    body[8] = body[body.find(b"PK\x01\x02") + 10] = 97
    (tmp_path / "a.zip").write_bytes(body)
    sources, _ = found(tmp_path / "a.zip")
    assert (read(sources)[0], len(read(sources))) == ("!file-not-readable", 301)


def test_a_damaged_member_of_a_zip_spares_the_others(tmp_path: Path) -> None:
    body = bytearray(zipped([("a.ndjson", PATIENTS), ("b.ndjson", PATIENTS)], zipfile.ZIP_STORED))
    body[100] ^= 1
    (tmp_path / "a.zip").write_bytes(body)
    sources, _ = found(tmp_path / "a.zip")
    assert [read([one])[-1] for one in sources[:2]] == ["!file-damaged", "Patient/299"]


@pytest.mark.parametrize("name", ["a.tar", "a.tar.gz", "a.tar.zst"])
def test_a_tar_that_is_cut_off_says_so_wherever_it_was_cut(tmp_path: Path, name: str) -> None:
    members = [(f"{n}.ndjson", PATIENTS[:700]) for n in range(4)]
    whole = tarred(members)
    pack = {"a.tar": bytes, "a.tar.gz": gzip.compress, "a.tar.zst": zstd.compress}[name]
    path = tmp_path / name
    end = len(members) * (512 + 1024)
    for cut in range(512, end + 1, 256):
        path.write_bytes(pack(whole[:cut]))  # type: ignore[operator]
        sources, _ = found(path)
        reasons = {one.path: read([one])[-1:] for one in sources}
        assert reasons[str(path)] == ["!file-cut-off"], cut
        read_whole = (cut - 512 + 1024 - 700) // 1536
        assert (
            sum(
                reasons[f"{path}!/{n}.ndjson"] == ["!file-cut-off"]
                for n in range(4)
                if f"{path}!/{n}.ndjson" in reasons
            )
            <= 1
        )
        assert len(sources) - 1 >= min(read_whole, 4), cut


def test_a_packed_tar_that_is_cut_off_in_its_packing(tmp_path: Path) -> None:
    path = tmp_path / "a.tar.gz"
    packed = gzip.compress(tarred([("a.ndjson", PATIENTS), ("b.ndjson", os.urandom(9000))]))
    path.write_bytes(packed[:-4000])
    sources, _ = found(path)
    assert [read([one])[-1] for one in sources] == ["Patient/299", "!file-cut-off", "!file-cut-off"]


def test_a_damaged_header_in_the_middle_is_said(tmp_path: Path) -> None:
    whole = bytearray(tarred([("a.ndjson", PATIENTS), ("b.ndjson", PATIENTS)]))
    second = 512 + -(-len(PATIENTS) // 512) * 512
    whole[second + 3] ^= 0xFF
    (tmp_path / "a.tar").write_bytes(whole)
    sources, _ = found(tmp_path / "a.tar")
    assert [read([one])[-1] for one in sources] == ["Patient/299", "!file-damaged"]


def test_tars_one_behind_the_other_are_all_read(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    path.write_bytes(tarred([("a.ndjson", PATIENTS)]) + tarred([("b.json", BUNDLE)]))
    assert read(found(path)[0])[-2:] == ["Patient/299", "Patient/b"]


@pytest.mark.parametrize(
    "body",
    [b"PK\x03\x04" + b"x" * 100, zipped(EXPORT)[:-30], zipped(EXPORT)[:500], b"PK\x05\x06" + b"\xff" * 40],
    ids=["head", "no end", "half", "end"],
)
def test_a_zip_without_its_list_is_one_damaged_file(tmp_path: Path, body: bytes) -> None:
    path = tmp_path / "a.zip"
    path.write_bytes(body)
    sources, passed_over = found(path)
    assert ([one.path for one in sources], passed_over) == ([str(path)], {})
    assert read(sources) == ["!file-damaged"]


@pytest.mark.parametrize("body", [zipped([]), tarred([]), gzip.compress(tarred([]))], ids=["zip", "tar", "tgz"])
def test_an_archive_of_nothing(tmp_path: Path, body: bytes) -> None:
    path = tmp_path / ("a.zip" if body.startswith(b"PK") else "a.tar")
    path.write_bytes(body)
    sources, _ = found(path)
    assert (len(sources), read(sources)) == (1, [])


def test_a_file_of_zeros_is_no_archive(tmp_path: Path) -> None:
    path = tmp_path / "Patient.ndjson"
    path.write_bytes(b"\0" * 10_240)
    assert read(found(path)[0]) == ["!not-json"]


@pytest.mark.parametrize("kind", ["a.zip", "a.tar.gz", "a.tar.zst"])
def test_a_bomb_takes_no_memory(tmp_path: Path, kind: str) -> None:
    path = tmp_path / kind
    path.write_bytes(
        MAKERS[kind](
            [
                ("bomb.txt", b" " * 60 * 2**20),
                ("bomb.ndjson", (b" " * 100 + b"\n") * 400_000),
                ("good.ndjson", PATIENTS),
            ]
        )
    )
    tracemalloc.start()
    try:
        sources, _ = found(path)
        for source in sources:
            with opened(source) as file:
                while file.read(2**16):
                    pass
        assert tracemalloc.get_traced_memory()[1] < 12 * 2**20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("size", [2**21, 2**40])
def test_a_name_without_end_takes_no_memory(tmp_path: Path, size: int) -> None:
    for kind in (tarfile.GNUTYPE_LONGNAME, tarfile.XHDTYPE):
        info = tarfile.TarInfo("x")
        info.type, info.size = kind, size
        path = tmp_path / "a.tar.gz"
        path.write_bytes(
            gzip.compress(tarred([("a.ndjson", PATIENTS)])[:10_752] + info.tobuf(tarfile.GNU_FORMAT) + b"x" * 2**21)
        )
        tracemalloc.start()
        try:
            assert read(found(path)[0])[-1] in ("!file-damaged", "!file-cut-off")
            assert tracemalloc.get_traced_memory()[1] < 8 * 2**20
        finally:
            tracemalloc.stop()


def test_a_list_without_end_takes_no_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.zip"
    path.write_bytes(zipped([(f"{n:050}.ndjson", b"") for n in range(200)]))
    monkeypatch.setattr("dm_fhir.fhir.zip._LARGEST_LIST_BYTES", 2**14)
    assert read(found(path)[0]) == ["!file-too-large"]


@pytest.mark.parametrize("kind", ["a.zip", "a.tar.gz"])
def test_members_without_end_are_cut_at_a_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    path = tmp_path / kind
    path.write_bytes(MAKERS[kind]([(f"{n}.ndjson", PATIENTS[:38]) for n in range(30)]))
    monkeypatch.setattr("dm_fhir.fhir.member._MOST_MEMBERS", 20)
    assert read(found(path)[0])[-1] == "!file-too-large"


@pytest.mark.parametrize("kind", ["a.zip", "stored.zip", "a.tar", "a.tar.gz", "gnu.tar", "a.tar.zst"])
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_whatever_is_broken_in_an_archive_ends_with_a_word_for_it(tmp_path: Path, kind: str) -> None:
    whole = MAKERS[kind]([(name, body[:600]) for name, body in EXPORT])
    path = tmp_path / kind
    for seed in range(250):
        chance = random.Random(seed)  # noqa: S311
        body = bytearray(whole)
        for _ in range(chance.choice((1, 1, 3, 20))):
            body[chance.randrange(len(body))] = chance.randrange(256)
        if chance.random() < 0.3:
            del body[chance.randrange(len(body)) :]
        path.write_bytes(body)
        for source in found(path)[0]:
            try:
                with opened(source) as file:
                    while file.read(2**16):
                        pass
            except BROKEN:
                pass


def test_a_folders_name_may_end_with_an_exclamation_mark(tmp_path: Path) -> None:
    (tmp_path / "new!" / "more!").mkdir(parents=True)
    (tmp_path / "new!" / "more!" / "a.zip").write_bytes(zipped([("b!/c.ndjson", PATIENTS)]))
    (tmp_path / "new!" / "d.ndjson").write_bytes(PATIENTS)
    sources, _ = found(tmp_path)
    assert len(read(sources)) == 600


def test_an_archive_that_was_replaced_is_noticed(make: Callable[[Members], Path]) -> None:
    path = make(EXPORT)
    sources, _ = found(path)
    path.unlink()
    make([(name, body) for name, body in EXPORT if name != "one.json"])
    os.utime(path, ns=(1, 1))
    assert set(read(sources)) == {"!file-changed"}


def test_a_member_that_is_not_there_any_more(make: Callable[[Members], Path]) -> None:
    path = make(EXPORT)
    assert read([Source(f"{path}!/nothing.ndjson", is_packed=True)]) == ["!file-not-readable"]
