"""Lines are counted as they go by, however the bytes are cut, and a packed file is not whole before its end."""

import gzip

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dm_fhir.errors import AnswerUnusable
from dm_fhir.fhir.lines import Lines


def counted(content: bytes, size: int = 7) -> Lines:
    """What is counted of these bytes, `size` at a time."""
    lines = Lines("file x")
    for start in range(0, len(content), size):
        lines.feed(content[start : start + size])
    lines.finish()
    return lines


LINE = st.sampled_from([b"{}", b'{"a":1}', b"", b" ", b"\r", b'{"text":"' + b"x" * 90 + b'"}', b"{\xff}"])


@given(st.lists(LINE), st.booleans(), st.integers(1, 40), st.integers(0, 3))
def test_every_way_to_send_the_same(lines: list[bytes], ends: bool, size: int, gzips: int) -> None:
    content = b"\n".join(lines) + (b"\n" if ends else b"")
    filled = sum(bool(line.strip()) for line in lines)
    middle = len(content) // 2
    packed = {0: content, 1: gzip.compress(content), 2: gzip.compress(content[:middle]) + gzip.compress(content[middle:]),
              3: gzip.compress(content) + b"\0" * 64}[gzips]  # fmt: skip
    found = counted(packed, size)
    assert (found.count, found.unpacked_bytes) == (filled, len(content))
    assert not content or found.ends_in_newline == content.endswith(b"\n")


@given(st.integers(1, 10_000))
def test_a_packed_file_without_its_end(cut: int) -> None:
    packed = gzip.compress(b'{"resourceType":"Patient"}\n' * 200)
    with pytest.raises(AnswerUnusable) as raised:
        counted(packed[: -min(cut, len(packed) - 3)])
    assert raised.value.reason == "body-incomplete"


def test_a_damaged_one() -> None:
    packed = bytearray(gzip.compress(b"".join(b'{"id":"%d"}\n' % number for number in range(5000))))
    packed[len(packed) // 2 : len(packed) // 2 + 40] = bytes(40)
    with pytest.raises(AnswerUnusable) as raised:
        counted(bytes(packed), 4096)
    assert raised.value.reason == "body-corrupt"


@pytest.mark.parametrize(
    "content",
    [
        b"<html>",
        b"\n\n <!doctype html>",
        b"error",
        b"[{}]",
        b"\xef\xbb\xbf<x/>",
        gzip.compress(gzip.compress(b"{}\n", mtime=0), mtime=0),
    ],
)
def test_what_is_no_ndjson(content: bytes) -> None:
    with pytest.raises(AnswerUnusable) as raised:
        counted(content)
    assert raised.value.reason == "not-fhir"


def test_a_byte_order_mark_and_a_file_of_nothing() -> None:
    assert counted(b"\xef\xbb\xbf{}\n{}").count == 2
    assert [counted(content).count for content in (b"", b"\n", b"{")] == [0, 0, 1]


def test_a_bomb_takes_no_memory() -> None:
    import tracemalloc

    bomb = gzip.compress(b"{" + b" " * 50_000_000 + b"}\n", 9)
    tracemalloc.start()
    found = counted(bomb, 2**16)
    assert found.count == 1
    assert tracemalloc.get_traced_memory()[1] < 10_000_000
    tracemalloc.stop()
