"""FHIR files of every kind: each line and entry comes out once, as a resource or with the reason why not."""

import gzip
import io
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from dm_fhir.errors import ConfigError
from dm_fhir.fhir.files import read_file
from dm_fhir.fhir.listing import find_sources

ONE, TWO = b'{"resourceType":"Patient","id":"1"}', b'{"resourceType":"Observation","id":"2"}'
PRETTY = b'{\n  "resourceType": "Patient",\n  "id": "1"\n}\n'
BUNDLE = b'{"resourceType":"Bundle","entry":[{"resource":' + ONE + b'},{},{"resource":' + TWO + b"}]}"
MARK = b"\xef\xbb\xbf"


def _found(paths: list[str]) -> tuple[list[str], list[str]]:
    """The paths of the sources, and what was passed over."""
    sources, passed_over = find_sources(paths)
    return [source.path for source in sources], [one.path for one in passed_over]


def read(path: Path) -> list[tuple[str, str]]:
    """Place (without the folder) and what stands there."""
    items = read_file(str(path))
    return [
        (i.place.removeprefix(f"{path.parent}/"), i.resource.reference if i.resource else f"!{i.reason}") for i in items
    ]


@pytest.mark.parametrize(
    ("name", "body", "expected"),
    [
        ("a.ndjson", ONE + b"\n" + TWO + b"\n", ["a.ndjson:1 Patient/1", "a.ndjson:2 Observation/2"]),
        ("a.ndjson", ONE + b"\r\n" + TWO, ["a.ndjson:1 Patient/1", "a.ndjson:2 Observation/2"]),
        ("a.jsonl", b"\n\n" + ONE + b"\n  \n" + TWO, ["a.jsonl:3 Patient/1", "a.jsonl:5 Observation/2"]),
        ("a.ndjson", MARK + ONE + b"\n" + TWO, ["a.ndjson:1 Patient/1", "a.ndjson:2 Observation/2"]),
        ("a.ndjson", b"{oops\n" + TWO, ["a.ndjson:1 !not-json", "a.ndjson:2 Observation/2"]),
        ("a.ndjson", ONE + b"\n" + TWO[:-9], ["a.ndjson:1 Patient/1", "a.ndjson:2 !not-json"]),
        ("a.ndjson", ONE, ["a.ndjson:1 Patient/1"]),
        ("a.ndjson", BUNDLE + b"\n" + ONE,
         ["a.ndjson:1:entry[0] Patient/1", "a.ndjson:1:entry[1] !no-resource", "a.ndjson:1:entry[2] Observation/2",
          "a.ndjson:2 Patient/1"]),
        ("a.ndjson", b'{"a":1}\nnull\n7', ["a.ndjson:1 !no-type", "a.ndjson:2 !no-resource", "a.ndjson:3 !unreadable"]),
        ("a.ndjson", b"", []),
        ("a.json", b"", []),
        ("a.json", b" \n\n", []),
        ("a.json", ONE + b"\n" + TWO, ["a.json:1 Patient/1", "a.json:2 Observation/2"]),
        ("a.json", ONE + b"\n\n" + TWO + b"\n", ["a.json:1 Patient/1", "a.json:3 Observation/2"]),
        ("a.json", b"\n".join((ONE, TWO, ONE)), ["a.json:1 Patient/1", "a.json:2 Observation/2", "a.json:3 Patient/1"]),
        ("a.json", MARK + ONE + b"\n" + TWO, ["a.json:1 Patient/1", "a.json:2 Observation/2"]),
        ("a.json", ONE, ["a.json Patient/1"]),
        ("a.json", PRETTY, ["a.json Patient/1"]),
        ("a.json", MARK + PRETTY.replace(b"\n", b"\r\n"), ["a.json Patient/1"]),
        ("a.json", BUNDLE, ["a.json:entry[0] Patient/1", "a.json:entry[1] !no-resource", "a.json:entry[2] Observation/2"]),
        ("a.json", BUNDLE.replace(b"{", b"{\n"),
         ["a.json:entry[0] Patient/1", "a.json:entry[1] !no-resource", "a.json:entry[2] Observation/2"]),
        ("a.json", b'{"resourceType":"Bundle","id":"b","entry":7}', ["a.json !unreadable"]),
        ("a.json", BUNDLE[:-9], ["a.json !not-json"]),
        ("a.json", b'{"x":' + b"[" * 100_000, ["a.json !too-deep"]),
        ("a.json", b"{}", ["a.json !no-type"]),
        ("letter.txt", b"Dear colleague,\nplease", ["letter.txt !not-json"]),
    ],
)  # fmt: skip
@pytest.mark.parametrize("zipped", [False, True])
def test_each_kind_of_file(tmp_path: Path, name: str, body: bytes, expected: list[str], zipped: bool) -> None:
    path = tmp_path / (f"{name}.gz" if zipped else name)
    path.write_bytes(gzip.compress(body) if zipped else body)
    assert [f"{place.replace('.gz', '')} {what}" for place, what in read(path)] == expected


def test_a_set_aside_line_keeps_its_bytes(tmp_path: Path) -> None:
    (tmp_path / "a.ndjson").write_bytes(ONE + b"\n{oops \xff\n")
    assert [item.body for item in read_file(str(tmp_path / "a.ndjson"))] == [ONE, b"{oops \xff"]


def test_a_cut_off_gzip_gives_what_it_holds_and_says_so(tmp_path: Path) -> None:
    lines = b"".join(b'{"resourceType":"Patient","id":"%d"}\n' % n for n in range(3000))
    packed = gzip.compress(lines)
    path = tmp_path / "a.ndjson.gz"
    path.write_bytes(packed[: len(packed) // 2])
    found = read(path)
    assert found[0] == ("a.ndjson.gz:1", "Patient/0")
    assert found[-1] == ("a.ndjson.gz", "!file-cut-off")
    assert 100 < len(found) < 3000


def test_a_damaged_gzip(tmp_path: Path) -> None:
    packed = bytearray(gzip.compress(ONE + b"\n"))
    packed[-8:-4] = b"\0\0\0\0"
    (tmp_path / "a.ndjson.gz").write_bytes(packed)
    assert read(tmp_path / "a.ndjson.gz")[-1] == ("a.ndjson.gz", "!file-damaged")


def test_gzip_is_known_by_content_not_by_name(tmp_path: Path) -> None:
    (tmp_path / "a.ndjson").write_bytes(gzip.compress(ONE))
    (tmp_path / "b.ndjson.gz").write_bytes(TWO)
    assert read(tmp_path / "a.ndjson") == [("a.ndjson:1", "Patient/1")]
    assert read(tmp_path / "b.ndjson.gz") == [("b.ndjson.gz:1", "Observation/2")]


@pytest.mark.parametrize("body", [ONE + b"\n" + TWO, gzip.compress(ONE + b"\n" + TWO)], ids=["plain", "gzipped"])
def test_standard_input_is_read_and_stays_open(monkeypatch: pytest.MonkeyPatch, body: bytes) -> None:
    stream = io.BufferedReader(io.BytesIO(body))  # type: ignore[arg-type]
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=stream))
    assert _found(["-"]) == (["-"], [])
    assert [(item.place, item.resource and item.resource.id) for item in read_file("-")] == [("-:1", "1"), ("-:2", "2")]
    assert not stream.closed


def test_a_folder_is_searched_through_in_order_and_says_what_it_passed_over(tmp_path: Path) -> None:
    bodies = {
        "b/two.ndjson.gz": gzip.compress(TWO), "a/one.json": PRETTY, "a/package.json": b'{"name":"ig"}', "c/notes.txt": ONE,
        "c/empty.json": b"", "c/cut.json.gz": gzip.compress(b'{"name":"ig"}')[:-3], "c/lines.jsonl": b'{"name":"ig"}',
        "c/far.json": b" " * (2**16 - 8) + ONE,
    }  # fmt: skip
    for name, body in bodies.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(body)
    found, passed_over = _found([str(tmp_path)])
    names = ["a/one.json", "b/two.ndjson.gz", "c/cut.json.gz", "c/empty.json", "c/far.json", "c/lines.jsonl"]
    assert [path.removeprefix(f"{tmp_path}/") for path in found] == names
    assert [path.removeprefix(f"{tmp_path}/") for path in passed_over] == ["a/package.json", "c/notes.txt"]


def test_a_file_named_by_itself_is_never_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "package.json"
    path.write_bytes(b'{"name":"ig"}')
    assert _found([str(path)]) == ([str(path)], [])
    assert read(path) == [("package.json", "!no-type")]


def test_a_file_named_twice_is_read_once(tmp_path: Path) -> None:
    path = tmp_path / "a.ndjson"
    path.write_bytes(ONE)
    assert _found([str(tmp_path), str(path), str(path)]) == ([str(path)], [])


def test_a_path_that_does_not_exist(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="nowhere does not exist") as caught:
        _found([str(tmp_path / "nowhere")])
    assert caught.value.exit_code == 2


def test_a_file_that_vanishes_before_it_is_read(tmp_path: Path) -> None:
    assert read(tmp_path / "gone.ndjson") == [("gone.ndjson", "!file-not-readable")]


def test_inside_a_bundle_a_patient_may_be_called_by_the_full_url(tmp_path: Path) -> None:
    patient = b'{"fullUrl":"urn:uuid:77","resource":{"resourceType":"Patient","id":"1"}}'
    theirs = b'{"resource":{"resourceType":"Observation","id":"2","subject":{"reference":"urn:uuid:77"}}}'
    strange = b'{"resource":{"resourceType":"Observation","id":"3","subject":{"reference":"urn:uuid:88"}}}'
    path = tmp_path / "a.json"
    path.write_bytes(b'{"resourceType":"Bundle","entry":[' + b",".join((theirs, strange, patient)) + b"]}")
    subjects = [item.resource.subject for item in read_file(str(path)) if item.resource]
    assert subjects == ["Patient/1", "urn:uuid:88", "Patient/1"]
