"""A scan gives what reading line by line gives, however its source is cut into pieces and its pieces into batches.

The oracle is `fhir/files.read_file`, which reads one line at a time and knows nothing of pieces.
"""

import gzip
import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from dm_fhir.fhir import files
from dm_fhir.fhir.files import read_file
from dm_fhir.fhir.listing import find_sources
from dm_fhir.fhir.resource import NO_REFERENCE, Reference, Resource
from dm_fhir.fhir.sources import source_of
from dm_fhir.sync.scan import lines, piece, scanned
from dm_fhir.sync.scan.piece import Piece, pieces_of
from dm_fhir.sync.scan.questions import Head, Question
from dm_fhir.sync.scan.record_questions import OfPatients
from dm_fhir.sync.scan.runners import in_turn
from dm_fhir.sync.scan.scanned import Scanned

OURS = frozenset({"Patient/1", "Patient/2"})


class FakeMapper:
    """Knows as its own what says so."""

    def is_own(self, body: bytes) -> bool:
        return b"written-by-us" in body


class _Whose(Head, frozen=True, gc=False):
    subject: Reference = NO_REFERENCE
    patient: Reference = NO_REFERENCE


class OfOurs(NamedTuple):
    """Keeps what belongs to two patients, and counts what belongs to others: all that it reads is in a PlainHead."""

    @property
    def head(self) -> type[Head]:
        return _Whose

    def suspects(self, heads: Sequence[Any]) -> Sequence[int]:
        return [
            index
            for index, head in enumerate(heads)
            if head.resourceType == "Patient" or head.subject.reference or head.patient.reference
        ]

    def answer(self, resource: Resource, scanned: Scanned) -> None:
        if resource.subject in OURS:
            scanned.keep(resource)
        else:
            scanned.notes["others"] += 1 if resource.subject else 0


class _WithStatus(Head, frozen=True, gc=False):
    status: str = ""


class Finals(NamedTuple):
    """Notes what is final: it reads what no PlainHead has."""

    @property
    def head(self) -> type[Head]:
        return _WithStatus

    def suspects(self, heads: Sequence[_WithStatus]) -> Sequence[int]:
        return [index for index, head in enumerate(heads) if head.status == "final"]

    def answer(self, resource: Resource, scanned: Scanned) -> None:
        if b'"final"' in resource.body:
            scanned.found.append(("final", resource.reference))


QUESTIONS: tuple[Question, ...] = (OfPatients(FakeMapper(), None, None), OfOurs(), Finals())  # type: ignore[arg-type]


class Came(NamedTuple):
    """What came of a file, in whatever parcels: faults by line of the file."""

    lines: int
    types: Counter[str]
    kept: list[tuple[str, bytes, str | None, str]]
    found: list[tuple[str, str]]
    faulty: list[tuple[int | None, str, str, bytes]]
    notes: Counter[str]
    damage: str | None


def put_together(parcels: Sequence[Scanned]) -> Came:
    came = Came(0, Counter(), [], [], [], Counter(), None)
    for parcel in parcels:
        came.types.update(parcel.types)
        came.kept.extend((one.reference, one.body, one.subject, one.hash) for one in parcel.kept)
        came.found.extend(parcel.found)
        came.notes.update(parcel.notes)
        for one in parcel.faulty:
            line = None if one.line is None else came.lines + one.line
            came.faulty.append((line, one.within, one.reason, one.body))
        came = came._replace(lines=came.lines + parcel.lines, damage=came.damage or parcel.damage)
    return came


def read_line_by_line(path: Path, question: Question) -> Came:
    parcel = Scanned(0)
    faulty: list[tuple[int | None, str, str, bytes]] = []
    damage = None
    for item in read_file(str(path)):
        place = item.place.removeprefix(f"{path}:") if item.place != str(path) else ""
        number, _, within = place.partition(":")
        if item.resource is not None:
            parcel.types[item.resource.type] += 1
            question.answer(item.resource, parcel)
        elif item.reason in ("file-cut-off", "file-damaged"):
            damage = item.reason
        else:
            faulty.append((int(number), f":{within}" if within else "", str(item.reason), item.body))
    content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    content = content.removeprefix(files.BYTE_ORDER_MARK)
    count = content.count(b"\n") + (content[-1:] not in (b"", b"\n"))
    kept = [(one.reference, one.body, one.subject, one.hash) for one in parcel.kept]
    return Came(count, parcel.types, kept, parcel.found, faulty, parcel.notes, damage)


def cut(path: Path, size: int) -> list[Piece]:
    """The file in pieces of so many bytes."""
    source = source_of(str(path))
    whole = source.size_bytes or 0
    return [Piece(source, True, start, min(start + size, whole)) for start in range(0, max(whole, 1), size)]


def scanned_in(path: Path, question: Question, piece_bytes: int | None, batch_bytes: int) -> Came:
    pieces = cut(path, piece_bytes) if piece_bytes else [Piece(source_of(str(path)), True)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lines, "BATCH_BYTES", batch_bytes)
        return put_together(list(in_turn(pieces, question)))


def _one(**more: Any) -> bytes:
    return json.dumps({"resourceType": "Observation", "id": "7", **more}, ensure_ascii=False).encode()


RESOURCES = [
    b'{"resourceType":"Patient","id":"1"}',
    b'{"resourceType":"Patient","id":"9","name":[{"family":"Mu\xc3\xb1oz"}]}',
    _one(id="o1", subject={"reference": "Patient/1"}, status="final"),
    _one(id="o2", subject={"reference": "https://fhir.example/r4/Patient/2/_history/3"}),
    _one(id="o3", subject={"reference": "Patient/9"}, status="final", note=[{"text": "written-by-us"}]),
    _one(id="o4", subject={"display": "somebody"}, patient={"reference": "Patient/2/"}),
    _one(id="o5", subject={"reference": ""}, patient={"reference": "Patient/1"}),
    _one(id="o6", meta={"versionId": "3", "lastUpdated": "2025-06-01T10:00:00Z"}, code={"text": "}\\n{"}),
    _one(id="o7", nested=[{"a": {}}, {}, [], "},{"]),
    _one(id="an id that FHIR would not take", subject={"reference": "Patient/1"}),
]
ODD = [
    b"", b"  ", b"\t\r", b"\x0c", b"7", b"null", b'"text"', b"[]", b"{}", b"{oops", b"{", b"}", b"}{", b'{"', b'"', b",", b"],[", b"]",
    b'{"resourceType":"Patient"}', b'{"id":"1"}', b'{"resourceType":"","id":"1"}', b'{"resourceType":"Patient","id":""}',
    b'{"resourceType":"Patient","id":7}', b'{"resourceType":["Patient"],"id":"1"}', b'{"resourceType":null,"id":"1"}',
    _one(subject="Patient/1"), _one(subject=None), _one(subject={"reference": 7}), _one(subject=["Patient/1"]), _one(meta="x"),
    _one(patient=7, subject={"reference": "Patient/1"}), _one(meta={"versionId": 1}, subject={"reference": "Patient/1"}),
    _one(meta={"versionId": 1}, subject={"reference": "Patient/9"}), _one(status=7), _one(status=7, subject={"reference": "Patient/1"}),
    b'{"resourceType":"Observation","id":"1","x":"\xff"}', b'{"resourceType":"Observation","id":"\xff"}',
    b'{"resourceType":"Observation","id":"1","x":NaN}', b'{"resourceType":"Observation","id":"1","x":"\\ud800"}',
    b'{"resourceType":"Observation","id":"1","x":' + b"[" * 3000 + b"]" * 3000 + b"}",
    b'{"resourceType":"Bundle","id":"b","entry":[{"resource":{"resourceType":"Patient","id":"1"}},{},{"resource":7}]}',
    b'{"resourceType":"Bundle","id":"b","entry":[{"fullUrl":"urn:uuid:p","resource":{"resourceType":"Patient","id":"1"}},'
    b'{"resource":{"resourceType":"Observation","id":"2","subject":{"reference":"urn:uuid:p"}}}]}',
    b'{"resourceType":"Bundle","id":"b","entry":7}', b'{"resourceType":"Bundle"}',
    RESOURCES[0] + RESOURCES[1], RESOURCES[0] + b" " + RESOURCES[1], RESOURCES[0] + b"," + RESOURCES[1],
    RESOURCES[0][:20], RESOURCES[0][20:], RESOURCES[0] + b"\r", b" " + RESOURCES[2] + b" \t", RESOURCES[0] + b"\x0c",
]  # fmt: skip
_broken = st.builds(
    lambda body, at: body[: at % len(body)] + b"\n" + body[at % len(body) :],
    st.sampled_from(RESOURCES),
    st.integers(1, 500),
)
_line = st.one_of(st.sampled_from(RESOURCES), st.sampled_from(RESOURCES), st.sampled_from(ODD), _broken)
_content = st.builds(
    lambda mark, parts, end, last: mark + b"".join(line + end for line in parts) + last,
    st.sampled_from([b"", b"", files.BYTE_ORDER_MARK]),
    st.lists(_line, max_size=12),
    st.sampled_from([b"\n", b"\n", b"\r\n"]),
    st.one_of(st.just(b""), _line),
)


@settings(deadline=None)
@given(_content, st.integers(0, len(QUESTIONS) - 1), st.one_of(st.none(), st.integers(1, 400)), st.integers(1, 900))
@example(
    b'{"resourceType":"A","id":"1"},{"resourceType":"A","id":"2"}\n{"resourceType":"A","id":"x\ny"}\n', 0, None, 900
)
@example(b'{"resourceType":"A","id":"1"}{"resourceType":"A","id":"2"}\n{"resourceType":"A",\n"id":"3"}\n', 0, None, 900)
@example(b"\xef\xbb\xbf\n" + RESOURCES[0], 0, 1, 1)
def test_any_cut_gives_what_reading_line_by_line_gives(
    content: bytes, question: int, piece_bytes: int | None, batch_bytes: int
) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "a.ndjson"
        path.write_bytes(content)
        expected = read_line_by_line(path, QUESTIONS[question])
        assert scanned_in(path, QUESTIONS[question], piece_bytes, batch_bytes) == expected._replace(
            **_not_looked_at(expected, QUESTIONS[question])
        )


def _not_looked_at(expected: Came, question: Question) -> dict[str, Any]:
    """A scan does not look into the `meta` of what nobody asks for: such lines are counted there, and faulty to the oracle."""
    if isinstance(question, OfPatients):
        return {}
    decoder = msgspec.json.Decoder(question.head)
    types, faulty = Counter(expected.types), []
    for one in expected.faulty:
        try:
            head = decoder.decode(one[3])
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            head = None
        is_passed = one[1:3] == ("", "unreadable") and head and head.resourceType != "Bundle"
        if is_passed and not question.suspects([head]):
            types[head.resourceType] += 1
        else:
            faulty.append(one)
    return {"types": types, "faulty": faulty}


@settings(deadline=None)
@given(
    st.lists(st.integers(0, 130), max_size=8),
    st.sampled_from([b"\n", b"\r\n"]),
    st.booleans(),
    st.one_of(st.none(), st.integers(1, 300)),
    st.integers(1, 100),
)
def test_a_line_beyond_the_limit_is_passed_over_and_the_rest_goes_on(
    sizes: list[int], end: bytes, is_ended: bool, piece_bytes: int | None, batch_bytes: int
) -> None:
    each = [b'{"resourceType":"Patient","id":"%d","x":"%b"}' % (at, b"x" * size) for at, size in enumerate(sizes)]
    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        path = Path(folder) / "a.ndjson"
        path.write_bytes(end.join(each) + (end if is_ended and each else b""))
        for module in (files, lines):
            patch.setattr(module, "LARGEST_BYTES", 100)
        expected = read_line_by_line(path, QUESTIONS[0])
        assert scanned_in(path, QUESTIONS[0], piece_bytes, batch_bytes) == expected
    assert [one[2] for one in expected.faulty] == ["too-large"] * len(expected.faulty)


def test_a_parcel_comes_now_and_then_also_where_nothing_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scanned, "PARCEL_LINES", 100)
    monkeypatch.setattr(lines, "BATCH_BYTES", 1000)
    path = tmp_path / "a.ndjson"
    path.write_bytes(b"".join(b'{"resourceType":"Device","id":"%d"}\n' % number for number in range(1000)))
    parcels = list(in_turn([Piece(source_of(str(path)), True)], OfOurs()))
    assert [parcel.is_last for parcel in parcels] == [False] * (len(parcels) - 1) + [True]
    assert len(parcels) > 5
    assert max(parcel.lines for parcel in parcels) < 150
    assert sum(parcel.lines for parcel in parcels) == 1000


def test_facts_and_faults_fill_a_parcel_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scanned, "PARCEL_RESOURCES", 10)
    monkeypatch.setattr(lines, "BATCH_BYTES", 100)
    path = tmp_path / "a.ndjson"
    path.write_bytes(b"".join(_one(id=f"o{number}", status="final") + b"\n{oops\n" for number in range(100)))
    parcels = list(in_turn([Piece(source_of(str(path)), True)], Finals()))
    assert max(len(parcel.found) + len(parcel.faulty) for parcel in parcels) < 20
    assert put_together(parcels).lines == 200


def test_there_are_never_more_pieces_than_so_many(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in "ab":
        (tmp_path / f"{name}.ndjson").write_bytes((RESOURCES[0] + b"\n") * 100)
    sources = find_sources([str(tmp_path)])[0]
    monkeypatch.setattr(piece, "PIECE_BYTES", 10)
    monkeypatch.setattr(piece, "MOST_PIECES", 20)
    pieces = pieces_of(sources)
    assert 20 <= len(pieces) <= 22
    assert put_together(list(in_turn(pieces, QUESTIONS[0]))).types == {"Patient": 200}
