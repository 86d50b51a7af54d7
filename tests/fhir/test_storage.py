"""Object storage: what lies in a bucket is found and read as in a folder, whatever the network does; and no login is ever told."""

import gzip
import io
import sqlite3
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest
import s3fs
from tests.fhir.s3_server import BUCKET, PAGE, SECRET, Way, running_s3

from dm_fhir.cli.main import call
from dm_fhir.errors import ConfigError, DmFhirError, LoginRefused, ServerUnavailable
from dm_fhir.fhir import archives, storage
from dm_fhir.fhir.files import read_file
from dm_fhir.fhir.listing import find_sources
from dm_fhir.fhir.sources import Source, opened

PATIENTS = b"".join(b'{"resourceType":"Patient","id":"%d"}\n' % n for n in range(200))
CONFIG = '[study]\ntitle = "T"\ndrug = "anifrolumab"\n[[site]]\nname = "leon"\n[site.cohort]\nby = "everybody"\n[site.pull]\nscope = "all"\n'


@pytest.fixture(scope="module")
def s3() -> Iterator[tuple[Way, Any]]:
    """The server behind its way, and a client that sees no faults."""
    with running_s3() as both:
        yield both


@pytest.fixture
def way(s3: tuple[Way, Any], monkeypatch: pytest.MonkeyPatch) -> Iterator[Way]:
    """The way to an empty bucket, for whoever looks into the environment; nothing waits long."""
    way, client = s3
    for name, value in {
        "AWS_ENDPOINT_URL_S3": way.endpoint, "AWS_ACCESS_KEY_ID": "AKIAEXAMPLE", "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_DEFAULT_REGION": "us-east-1", "AWS_EC2_METADATA_DISABLED": "true",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(storage, "_LONGEST_WAIT_SECONDS", 0)
    monkeypatch.setattr(s3fs.S3FileSystem, "retries", 2)
    quick = {"connect_timeout": 2, "read_timeout": 5, "retries": {"mode": "standard", "max_attempts": 1}}
    monkeypatch.setattr(storage, "_OPTIONS", {"s3": {"config_kwargs": quick}})
    while keys := client.list_objects_v2(Bucket=BUCKET).get("Contents"):
        client.delete_objects(Bucket=BUCKET, Delete={"Objects": [{"Key": one["Key"]} for one in keys]})
    way.goes_wrong("", 0)
    way.asked.clear()
    yield way
    archives.close_kept()
    fsspec.filesystem("s3").clear_instance_cache()


@pytest.fixture
def put(s3: tuple[Way, Any], way: Way) -> Callable[[str, bytes], None]:
    """Puts an object into the bucket."""
    return lambda key, body: s3[1].put_object(Bucket=BUCKET, Key=key, Body=body)


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a study, in which commands are typed."""
    monkeypatch.chdir(tmp_path)
    tmp_path.joinpath("dm-fhir.toml").write_text(CONFIG, encoding="utf-8")
    return tmp_path


def stored(study: Path) -> list[tuple[str, str]]:
    """Every resource of the store."""
    with sqlite3.connect(study / "dm-fhir.sqlite") as db:
        return db.execute("SELECT type, id FROM resource ORDER BY 1, 2").fetchall()


def units(study: Path) -> dict[str, tuple[str, str | None]]:
    """Query, state and reason of every unit."""
    with sqlite3.connect(study / "dm-fhir.sqlite") as db:
        return {
            query: (state, reason)
            for query, state, reason in db.execute("SELECT query, state, reason FROM unit WHERE query LIKE 'file: %'")
        }


def export() -> dict[str, bytes]:
    """Files of every kind, by name."""
    tar, zipped = io.BytesIO(), io.BytesIO()
    with tarfile.open(fileobj=tar, mode="w:gz") as one:
        info = tarfile.TarInfo("Device.ndjson")
        body = PATIENTS.replace(b"Patient", b"Device")
        info.size = len(body)
        one.addfile(info, io.BytesIO(body))
    with zipfile.ZipFile(zipped, "w", zipfile.ZIP_DEFLATED) as two:
        two.writestr("Encounter.ndjson", PATIENTS.replace(b"Patient", b"Encounter"))
        two.writestr("Group.ndjson.gz", gzip.compress(PATIENTS.replace(b"Patient", b"Group")))
    return {
        "Patient.ndjson": PATIENTS,
        "deep/Condition.000.ndjson.gz": gzip.compress(PATIENTS.replace(b"Patient", b"Condition")),
        "Bundle.json": b'{"resourceType":"Bundle","entry":[{"resource":{"resourceType":"Patient","id":"b"}}]}',
        "manifest.json": b'{"output":[]}',
        "devices.tgz": tar.getvalue(),
        "rest.zip": zipped.getvalue(),
        "_SUCCESS": b"",
        "readme.txt": b"x",
    }


def names(found: tuple[list[Source], list[Any]], folder: str) -> tuple[list[str], dict[str, str]]:
    """Sources and what was passed over, without the folder."""
    sources, passed_over = found
    return [one.path.removeprefix(folder) for one in sources], {
        one.path.removeprefix(folder): one.why for one in passed_over
    }


def test_a_bucket_gives_the_same_as_a_folder(
    put: Callable[[str, bytes], None], study: Path, way: Way, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, body in export().items():
        (study / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        (study / "in" / name).write_bytes(body)
        put(f"export/{name}", body)
    put("export/folder/", b"")  # what consoles make of a folder
    put("export2/Patient.ndjson", b"{}")
    here, there = (names(find_sources([folder]), folder) for folder in ("in/", "s3://bucket/export/"))
    assert here == there
    assert call(["pull", "--from", "in"]) == 0
    local, local_units = stored(study), units(study)
    (study / "dm-fhir.sqlite").unlink()
    assert call(["pull", "--from", "s3://bucket/export/"]) == 0
    assert len(local) == 1001
    assert stored(study) == local
    assert {query.replace("s3://bucket/export", "in"): row for query, row in units(study).items()} == local_units
    assert SECRET not in "".join(capsys.readouterr())
    assert not [line for line in way.asked if "PUT" in line or "DELETE" in line]


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("s3://bucket/a", ["a/x.ndjson", "a/y.ndjson"]),
        ("s3a://bucket/a/", ["a/x.ndjson", "a/y.ndjson"]),
        ("S3://bucket/a/x.ndjson", ["a/x.ndjson"]),
        ("s3://bucket/*/x.ndjson", ["a/x.ndjson", "ab/x.ndjson"]),
        ("s3://bucket/a/[y-z].ndjson", ["a/y.ndjson"]),
        ("s3://bucket", ["a/x.ndjson", "a/y.ndjson", "ab/x.ndjson"]),
        ("s3://bucket/part-*", ["part-0"]),
    ],
)
def test_addresses(put: Callable[[str, bytes], None], address: str, expected: list[str]) -> None:
    for key in ("a/x.ndjson", "a/y.ndjson", "ab/x.ndjson", "part-0"):
        put(key, PATIENTS)
    sources, _ = find_sources([address])
    assert [one.path.removeprefix("s3://bucket/") for one in sources] == expected
    assert sum(1 for one in sources for _ in read_file(one)) == 200 * len(expected)


@pytest.mark.parametrize("address", ["s3://nobucket/x/", "s3://bucket/nothing/", "s3://bucket/*.nothing"])
def test_what_is_not_there_is_a_mistake_of_the_address(way: Way, address: str) -> None:
    with pytest.raises(ConfigError, match="does not exist: no such bucket, or nothing in it by that name"):
        find_sources([address])


def test_a_pattern_that_is_none() -> None:
    with pytest.raises(ConfigError, match="is no pattern"):
        find_sources(["memory://box/**.ndjson"])


def test_a_listing_of_many_pages_asks_for_no_object(put: Callable[[str, bytes], None], way: Way) -> None:
    for number in range(2 * PAGE + 10):
        put(f"many/{number:05}.ndjson", b"{}")
    sources, _ = find_sources(["s3://bucket/many/"])
    assert [one.path[-12:] for one in sources] == [f"{number:05}.ndjson" for number in range(2 * PAGE + 10)]
    assert len(way.asked) == 3
    assert all("list-type=2" in line for line in way.asked)


@pytest.mark.parametrize(("info", "is_other"), [
    ({"size": 5, "ETag": '"a"'}, False), ({"size": 5}, False), ({"size": 5, "ETag": "b"}, True), ({"size": 6, "ETag": "a"}, True), ({"size": 6}, True),
])  # fmt: skip
def test_some_stores_say_less_of_an_object_that_is_opened(info: dict[str, Any], is_other: bool) -> None:
    assert storage._is_other(storage._version({"size": 5, "ETag": '"a"', "mtime": 7}), info) == is_other


def test_what_has_come_since_the_last_listing_is_seen(put: Callable[[str, bytes], None]) -> None:
    for name in ("a", "b"):
        put(f"x/{name}.ndjson", PATIENTS)
        assert find_sources(["s3://bucket/x/"])[0][-1].path == f"s3://bucket/x/{name}.ndjson"


def test_a_large_object_is_read_in_ranges_from_any_place(
    put: Callable[[str, bytes], None], way: Way, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = b"".join(b"%09d\n" % n for n in range(1_700_000))
    put("large.ndjson", body)
    (source,), _ = find_sources(["s3://bucket/"])
    assert (source.is_packed, source.size_bytes) == (False, len(body))
    way.asked.clear()
    with opened(source) as file:
        file.seek(10_000_000)
        assert file.read(2**20) == body[10_000_000 : 10_000_000 + 2**20]
    (ranged,) = [line for line in way.asked if "bytes=" in line]
    begin, end = map(int, ranged.rpartition("=")[2].split("-"))
    assert begin == 10_000_000
    assert end - begin < 6 * 2**20


def test_nobody_reads_without_a_login(
    way: Way, study: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(study))
    assert call(["pull", "--from", "s3://bucket/"]) == 5
    assert "no login was found for s3://bucket" in capsys.readouterr().err


def test_a_login_that_may_not_list(way: Way, study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    way.goes_wrong("denied")
    assert call(["pull", "--from", "s3://bucket/"]) == 5
    out, err = capsys.readouterr()
    assert "s3://bucket refuses the login" in err
    assert SECRET not in out + err


@pytest.mark.parametrize("fault", ["slow", "dead"])
def test_a_store_that_is_not_there_ends_the_run_for_now(
    way: Way, study: Path, capsys: pytest.CaptureFixture[str], fault: str
) -> None:
    way.goes_wrong(fault)
    assert call(["pull", "--from", "s3://bucket/"]) == 4
    out, err = capsys.readouterr()
    assert {"slow": "s3://bucket asks to be asked less", "dead": "s3://bucket does not answer"}[fault] in err
    assert SECRET not in out + err


@pytest.mark.parametrize("fault", ["slow", "cut", "dead"])
def test_a_read_that_breaks_off_goes_on_where_it_stood(put: Callable[[str, bytes], None], way: Way, fault: str) -> None:
    body = b"".join(b"%09d\n" % n for n in range(600_000))
    put("a.ndjson", body)
    (source,), _ = find_sources(["s3://bucket/"])
    way.goes_wrong(fault, 2, "bytes=")
    with opened(source) as file:
        read = b""
        while chunk := file.read(2**20):
            read += chunk
    assert read == body
    assert way.left == 0


@pytest.mark.parametrize("fault", ["slow", "dead"])
def test_a_store_that_dies_in_the_middle_keeps_what_was_read(
    put: Callable[[str, bytes], None], way: Way, study: Path, fault: str
) -> None:
    for name in "abc":
        put(f"{name}.ndjson", PATIENTS.replace(b'id":"', b'id":"%b' % name.encode()))
    way.goes_wrong(fault, where="/b.ndjson")
    assert call(["pull", "--from", "s3://bucket/"]) == 4
    assert len(stored(study)) == 200
    assert {query: state for query, (state, _) in units(study).items()} == {
        "file: s3://bucket/a.ndjson": "complete", "file: s3://bucket/b.ndjson": "partial", "file: s3://bucket/c.ndjson": "partial",
    }  # fmt: skip
    way.goes_wrong("", 0)
    assert call(["pull", "--from", "s3://bucket/"]) == 0
    assert len(stored(study)) == 600


def test_one_object_that_is_refused_spares_the_others(put: Callable[[str, bytes], None], way: Way, study: Path) -> None:
    put("a.ndjson", PATIENTS)
    put("b.ndjson", PATIENTS)
    way.goes_wrong("denied", where="/a.ndjson")
    assert call(["pull", "--from", "s3://bucket/"]) == 3
    assert units(study) == {
        "file: s3://bucket/a.ndjson": ("partial", "file-not-readable"), "file: s3://bucket/b.ndjson": ("complete", None),
    }  # fmt: skip


def test_an_object_that_was_replaced_is_not_mixed_with_the_one_before(
    put: Callable[[str, bytes], None], s3: tuple[Way, Any]
) -> None:
    body = b"".join(b"%09d\n" % n for n in range(900_000))
    for key in ("a.ndjson", "b.ndjson"):
        put(key, body)
    (before, during), _ = find_sources(["s3://bucket/"])
    put("a.ndjson", body[::-1])
    assert [one.reason for one in read_file(before)] == ["file-changed"]
    with opened(during) as file:
        file.read(1000)
        put("b.ndjson", body[::-1])
        file.seek(7_000_000)
        with pytest.raises(storage.Unreadable, match="file-changed"):
            file.read(1000)
    s3[1].delete_object(Bucket=BUCKET, Key="a.ndjson")
    assert [one.reason for one in read_file(before)] == ["file-not-readable"]


@pytest.mark.parametrize(
    "address",
    [f"s3://key:{SECRET}@bucket/x", f"s3://{SECRET}@bucket/x", f"abfs://box@account.dfs.core.windows.net/x?sv=1&sig={SECRET}",
     f"abfs://box:{SECRET}@account/x", f"s3://bucket/x?X-Amz-Signature={SECRET}", f"s3://bucket/x?aws_secret_access_key={SECRET}",
     f"s3://key:with/{SECRET}@bucket/x", f"s3a://AKIAEXAMPLE:{SECRET}", f"gs://bucket/x?X-Goog-Signature={SECRET}",
     f"hdfs://user:{SECRET}@name:8020/x"],
)  # fmt: skip
def test_an_address_with_a_login_is_refused_and_not_repeated(
    study: Path, capsys: pytest.CaptureFixture[str], address: str
) -> None:
    assert call(["pull", "--from", address]) == 2
    out, err = capsys.readouterr()
    assert "holds a login" in err
    assert SECRET not in out + err
    with sqlite3.connect(study / "dm-fhir.sqlite") as db:
        assert SECRET not in "\n".join(db.iterdump())


@pytest.mark.parametrize(
    "address",
    ["abfss://box@account.dfs.core.windows.net/x", "hdfs://name:8020/x", "s3://arn:aws:s3:us-east-1:1:accesspoint/name/x", "s3://b/a@b:c"],
)  # fmt: skip
def test_what_is_no_login(address: str) -> None:
    assert storage.address_of(address) == address


@pytest.mark.parametrize(
    ("address", "same"), [("s3a", "s3"), ("s3n", "s3"), ("gcs", "gs"), ("GS", "gs"), ("hdfs", "hdfs")]
)
def test_other_names_of_the_same_store(address: str, same: str) -> None:
    assert storage.address_of(f"{address}://box/X") == f"{same}://box/X"


@pytest.mark.parametrize(
    ("address", "message"), [("https://x/y.ndjson", 'mode = "bulk"'), ("ftp://x/y", "s3://, gs://")]
)
def test_addresses_that_nobody_here_reads(address: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        find_sources([address])


@pytest.mark.parametrize(
    ("address", "what"),
    [
        ("s3://b/x", "'dm-fhir[storage]'"),
        ("gs://b/x", "'dm-fhir[storage]' gcsfs"),
        ("az://b/x", "'dm-fhir[storage]' adlfs"),
    ],
)
def test_a_package_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch, address: str, what: str) -> None:
    def missing(*_: object, **__: object) -> None:
        raise ImportError

    monkeypatch.setattr("fsspec.core.url_to_fs", missing)
    with pytest.raises(ConfigError) as caught:
        find_sources([address])
    assert caught.value.hint == f"pip install {what}"


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (FileNotFoundError(SECRET), ConfigError), (PermissionError(SECRET), LoginRefused), (ConnectionResetError(SECRET), ServerUnavailable),
        (TimeoutError(SECRET), ServerUnavailable), (OSError(5, SECRET), ServerUnavailable), (ValueError(SECRET), ServerUnavailable),
        (type("DefaultCredentialsError", (Exception,), {})(SECRET), LoginRefused), (type("PermanentRedirect", (Exception,), {})(SECRET), ConfigError),
    ],
)  # fmt: skip
def test_whatever_a_store_says_is_told_in_our_words(
    monkeypatch: pytest.MonkeyPatch, error: Exception, kind: type[DmFhirError]
) -> None:
    def fails(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("fsspec.core.url_to_fs", fails)
    with pytest.raises(kind) as caught:
        find_sources(["s3://bucket/x"])
    assert SECRET not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__
    assert caught.value.hint


def test_other_stores_are_read_through_the_same_interface() -> None:
    store = fsspec.filesystem("memory")
    store.pipe({"/box/export/a.ndjson": PATIENTS, "/box/export/_SUCCESS": b"", "/box/b.ndjson": PATIENTS})
    try:
        assert names(find_sources(["memory://box/export"]), "memory://box/") == (
            ["export/a.ndjson"],
            {"export/_SUCCESS": "hidden"},
        )
        assert names(find_sources(["memory://box/export/*"]), "memory://box/") == (["export/a.ndjson"], {})
        assert names(find_sources(["memory://box/export/_SUCCESS"]), "memory://box/")[0] == ["export/_SUCCESS"]
        sources, _ = find_sources(["memory://box/**/*.ndjson"])
        assert sum(1 for one in sources for _ in read_file(one)) == 400
        store.pipe("/box/b.ndjson", PATIENTS)
        assert [next(item.reason for item in read_file(one)) for one in sources] == ["file-changed", None]
    finally:
        store.rm("/box", recursive=True)
