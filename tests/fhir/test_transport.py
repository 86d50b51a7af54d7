"""One exchange: how long it may take, how large it may be, and that a body that did not come whole is never taken for one."""

import gzip
import hashlib
import time
import zlib
from typing import TYPE_CHECKING, Any

import pytest

from dm_fhir.errors import AnswerUnusable, RequestFailed
from dm_fhir.fhir import transport as module

if TYPE_CHECKING:
    from conftest import Connect, Loopback, Scripted

#: 2,048 bytes that do not compress.
NOISE = b"".join(hashlib.sha256(bytes([n])).digest() for n in range(64))
ZIPPED = {"Content-Type": "application/fhir+json", "Content-Encoding": "gzip"}


def test_a_server_that_never_answers(loopback: "Loopback", scripted: "type[Scripted]", connect: "Connect") -> None:
    loopback.answers("Observation", scripted(body=b"x" * 10, pause=0.2))
    with pytest.raises(RequestFailed, match="was not answered in time") as caught:
        connect(tries=1, read_timeout_seconds=0.05).get("Observation")
    assert caught.value.reason == "read-timeout"


def test_a_body_shorter_than_announced_is_cut_off(
    loopback: "Loopback", scripted: "type[Scripted]", connect: "Connect"
) -> None:
    loopback.answers("Observation", scripted(length=5000))
    with pytest.raises(AnswerUnusable, match="the answer for GET Observation is cut off") as caught:
        connect().get("Observation")
    assert (caught.value.reason, len(loopback.asked)) == ("body-incomplete", 5)


def test_a_body_shorter_than_announced_once_does_no_harm(
    loopback: "Loopback", scripted: "type[Scripted]", connect: "Connect"
) -> None:
    loopback.answers("Observation", scripted(length=5000), scripted())
    assert connect().get("Observation").body == b'{"resourceType":"Bundle"}'


def test_what_follows_a_body_longer_than_announced_does_not_reach_the_next_answer(
    loopback: "Loopback", scripted: "type[Scripted]", connect: "Connect"
) -> None:
    loopback.answers("Observation", scripted(body=b'{"a":1}HTTP/1.1 200 OK\r\n\r\npoison', length=7))
    loopback.answers("Condition", scripted(body=b'{"b":2}'))
    connection = connect()
    assert [connection.get(path).body for path in ("Observation", "Condition")] == [b'{"a":1}', b'{"b":2}']


def test_a_gzipped_answer_is_unpacked(loopback: "Loopback", scripted: "type[Scripted]", connect: "Connect") -> None:
    body = b'{"resourceType":"Bundle","x":"' + b"y" * 3_000_000 + b'"}'
    loopback.answers("Observation", scripted(body=gzip.compress(body), headers=ZIPPED))
    assert connect().get("Observation").body == body
    assert loopback.asked[0].headers["Accept-Encoding"] == "gzip"


def test_an_empty_answer_called_gzip_is_empty(
    loopback: "Loopback", scripted: "type[Scripted]", connect: "Connect"
) -> None:
    loopback.answers("Observation", scripted(body=b"", headers=ZIPPED))
    assert connect().get("Observation").body == b""


@pytest.mark.parametrize("kept", [12, 40, 900])
def test_half_a_gzip_stream_with_a_matching_length_is_cut_off(
    loopback: "Loopback", scripted: "type[Scripted]", connect: "Connect", kept: int
) -> None:
    packed = gzip.compress(NOISE)
    loopback.answers("Observation", scripted(body=packed[:kept], headers=ZIPPED))
    with pytest.raises(AnswerUnusable, match="is cut off") as caught:
        connect().get("Observation")
    assert (caught.value.reason, len(loopback.asked)) == ("body-incomplete", 5)


def test_a_damaged_gzip_stream(loopback: "Loopback", scripted: "type[Scripted]", connect: "Connect") -> None:
    packed = bytearray(gzip.compress(NOISE))
    packed[-8:-4] = b"\0\0\0\0"  # the checksum
    loopback.answers("Observation", scripted(body=bytes(packed), headers=ZIPPED))
    with pytest.raises(AnswerUnusable, match="is damaged") as caught:
        connect().get("Observation")
    assert (caught.value.reason, len(loopback.asked)) == ("body-corrupt", 5)


def test_a_gzip_bomb_is_stopped_at_the_limit(
    loopback: "Loopback", scripted: "type[Scripted]", connect: "Connect", monkeypatch: pytest.MonkeyPatch
) -> None:
    """16 MiB in 16 KiB; no more than a piece beyond the limit is ever unpacked."""
    unpacked: list[int] = []
    bomb = gzip.compress(b" " * 2**24)

    def counting(inflate: "zlib._Decompress", chunk: bytes, place: str) -> Any:
        for piece in inflated(inflate, chunk, place):
            unpacked.append(len(piece))
            yield piece

    inflated = module._inflated
    monkeypatch.setattr(module, "LARGEST_ANSWER_BYTES", 2 * 2**20)
    monkeypatch.setattr(module, "_inflated", counting)
    loopback.answers("Observation", scripted(body=bomb, headers=ZIPPED))
    with pytest.raises(AnswerUnusable, match="larger than 2 MiB") as caught:
        connect(tries=1).get("Observation")
    assert (caught.value.reason, len(loopback.asked)) == ("too-large", 1)
    assert max(unpacked) <= 2**20
    assert sum(unpacked) <= 3 * 2**20


def test_a_large_plain_answer_is_stopped_too(
    loopback: "Loopback", scripted: "type[Scripted]", connect: "Connect", monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LARGEST_ANSWER_BYTES", 1000)
    loopback.answers("Observation", scripted(body=b"x" * 1001))
    with pytest.raises(AnswerUnusable) as caught:
        connect().get("Observation")
    assert caught.value.reason == "too-large"


def test_a_dripping_answer_ends_at_the_deadline(
    loopback: "Loopback", scripted: "type[Scripted]", connect: "Connect"
) -> None:
    """Every byte comes within the read timeout; the whole would take 10 s."""
    loopback.answers("Observation", scripted(body=b"x" * 1000, pause=0.01))
    began = time.monotonic()
    with pytest.raises(AnswerUnusable, match="did not arrive within 0 s") as caught:
        connect(tries=1, total_timeout_seconds=0.05).get("Observation")
    assert caught.value.reason == "too-slow"
    assert time.monotonic() - began < 1
