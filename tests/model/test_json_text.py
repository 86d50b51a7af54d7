"""Objects that say a key twice are told from those that do not, however they are written."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dm_fhir.model.json_text import is_ambiguous, repaired


class _Pairs(list[tuple[str, Any]]):
    """An object as it is written."""


#: With those that have one shape, before and after `true` and `false` get their letters back.
KEYS = st.sampled_from(["a", "b", "7", ":", '"', "ü", "a:", "true", "tru1", "x", "\b", "\\"])
TEXTS = st.sampled_from(["", ":", '":', "\\u003a", "\ud800", "\\", "ü: ü", "tru5", "false", "\b"])
VALUES = st.recursive(
    st.one_of(TEXTS, st.none(), st.booleans(), st.integers(), st.sampled_from([1.5, 1e300])),
    lambda below: st.one_of(st.lists(below, max_size=3), st.lists(st.tuples(KEYS, below), max_size=3).map(_Pairs)),
    max_leaves=12,
)
OBJECTS = st.lists(st.tuples(KEYS, VALUES), max_size=4).map(_Pairs)


def written(value: Any, *, ascii_only: bool, blank: str) -> str:
    if isinstance(value, _Pairs):
        pairs = (
            f"{json.dumps(key, ensure_ascii=ascii_only)}{blank}:{blank}{written(one, ascii_only=ascii_only, blank=blank)}"
            for key, one in value
        )
        return f"{{{','.join(pairs)}}}"
    if isinstance(value, list):
        return f"[{','.join(written(one, ascii_only=ascii_only, blank=blank) for one in value)}]"
    return json.dumps(value, ensure_ascii=ascii_only or (isinstance(value, str) and not value.isprintable()))


def has_key_twice(value: Any) -> bool:
    if isinstance(value, _Pairs):
        keys = [key for key, _ in value]
        return len(keys) != len(set(keys)) or any(has_key_twice(one) for _, one in value)
    return isinstance(value, list) and any(map(has_key_twice, value))


@settings(max_examples=300)
@given(OBJECTS, st.booleans(), st.sampled_from(["", " ", "\n  "]))
def test_a_key_twice_is_seen_at_any_depth_and_nothing_else_is(value: Any, ascii_only: bool, blank: str) -> None:
    body = written(value, ascii_only=ascii_only, blank=blank).encode()

    assert is_ambiguous(body) == has_key_twice(value)


@pytest.mark.parametrize(
    ("single", "twice"),
    [
        (b'{"a": 1, "b": 2}', b'{"b": 1, "b": 2}'),
        (b'{"id1": true, "id2": false}', b'{"id2": true, "id2": false}'),
        (rb'{"\b": 1, "c": 2}', rb'{"\b": 1, "\b": 2}'),
        (rb'{"\u0061": 1, "\u0062": 2}', rb'{"\u0062": 1, "\u0062": 2}'),
        (rb'{"/": 1, "\/x": 2}', rb'{"/": 1, "\/": 2}'),
        (rb'{"x": "\\b", "y": ""}', rb'{"x": "\\b", "x": ""}'),
    ],
)
def test_what_was_said_of_one_is_not_said_of_another_that_looks_like_it(single: bytes, twice: bytes) -> None:
    assert [is_ambiguous(body) for body in (single, twice, single)] == [False, True, False]


@given(st.lists(st.sampled_from(["x1", "x2", "x", "1", "a", "status", "5tatu5"]), min_size=2, max_size=4))
def test_a_shape_that_is_known_hides_no_second_key(keys: list[str]) -> None:
    for names in (dict.fromkeys(keys), keys):  # the first has each once
        body = "{" + ",".join(f'"{name}":12' for name in names) + "}"

        assert is_ambiguous(body.encode()) == (len(set(names)) < len(names))


def test_a_long_body_is_looked_at_as_it_is() -> None:
    text = "x" * 20_000

    assert not is_ambiguous(f'{{"x": "{text}"}}'.encode())
    assert is_ambiguous(f'{{"x": "{text}", "x": 1}}'.encode())


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (rb'{"\u0061": 1, "a": 2}', True),
        # What is lost with the second key and what comes back for the escape weigh the same.
        (rb'{"a": 1, "a": 2, "b": "\u003a"}', True),
        (rb'{"a": 1, "a": 2, "b": "\u003A"}', True),
        (rb'{"a": "\u003a", "b": "\u003A"}', False),
        (rb'{"a": "\ud800", "a": 1}', True),
        (b'{"a": NaN, "a": 1}', True),
        (b'{"a": 1, "a": 2', False),  # no JSON: whoever reads it says so
        (b'{"a": "\xff", "a": 1}', False),
    ],
)
def test_what_is_written_oddly(body: bytes, expected: bool) -> None:
    assert is_ambiguous(body) == expected


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (rb'"\ud800x"', rb'"\ufffdx"'),
        (rb'"\uD83D\uDE00"', rb'"\uD83D\uDE00"'),
        (rb'"\udc00\ud800"', rb'"\ufffd\ufffd"'),
        (rb'"\u00fc \n"', rb'"\u00fc \n"'),
    ],
)
def test_half_a_character_is_replaced(body: bytes, expected: bytes) -> None:
    assert repaired(body) == expected
