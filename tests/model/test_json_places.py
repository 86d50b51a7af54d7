"""Where in a JSON text something stands, also in text that JSON parsers refuse."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dm_fhir.model.json_places import Odd, Path, broken_line, lines_of, oddities

TEXT = b"""{
 "resourceType": "Observation",
 "code": {"coding": [
   {"system": "a\\"}]{"},
   {"code": "x\\\\", "code": "y"}]},
 "component": [
  {"valueQuantity": {"value": NaN}},
  {"valueQuantity":
     {"value": -3.5e2,
      "unit": "q"}}],
 "valueString": "b", "value": -Infinity
}"""


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ((), 1),
        (("resourceType",), 2),
        (("code", "coding"), 3),
        (("code", "coding", 1), 5),
        (("code", "coding", 1, "code"), 5),
        (("component", 1, "valueQuantity"), 8),
        (("component", 1, "valueQuantity", "unit"), 10),
        (("component", 1, "value"), 8),
        (("component", 1, "value", "unit"), 10),
        (("component", 1, "dataAbsentReason", "coding"), 8),
        (("component", 5), 6),
        (("value",), 11),
        (("nothing", "here"), 1),
    ],
)
def test_a_path_has_its_line_or_that_of_what_is_around_it(path: Path, line: int) -> None:
    assert lines_of(TEXT, [path]) == {path: line}


def test_a_choice_is_found_by_both_its_names_at_once() -> None:
    short, long = ("component", 1, "value", "value"), ("component", 1, "valueQuantity", "value")
    assert lines_of(TEXT, [long, short]) == {long: 9, short: 9}


def test_what_json_does_not_have_is_named_with_its_line() -> None:
    number = "NaN or Infinity, which JSON does not have"
    assert oddities(TEXT) == [Odd(5, "a key twice in one object"), Odd(7, number), Odd(11, number)]
    assert oddities(b'{"a": "NaN", "b": {"a": 1}, "c": [{"a": 1}, {"a": 1}]}') == []


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (b'{\n"a": 1,\n}', 3),
        (b'{"a":\n\n"\xff"}', 3),
        (b"{}", None),
        (b'{"a": NaN}', None),
        (b"[" * 99999, None),
        (b"", 1),
    ],
)
def test_where_a_text_breaks_off(text: bytes, line: int | None) -> None:
    assert broken_line(text) == line


def test_text_that_is_no_json_ends_somewhere() -> None:
    for text in (b"}}]]", b'{"a" "b" : [,,', b'{"a": [1, {', b'"unended', b"\xff\xfe"):
        oddities(text)
        assert lines_of(text, [("a", 0)]) is not None


NAMES = st.text('ab"\\\n{}[]:, \N{GRINNING FACE}', max_size=4)
TREES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8"), max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=15,
)


def paths(tree: Any, above: Path = ()) -> list[Path]:
    """Every element of the tree."""
    inner = enumerate(tree) if isinstance(tree, list) else tree.items() if isinstance(tree, dict) else ()
    return [above, *(path for key, one in inner for path in paths(one, (*above, key)))]


@settings(max_examples=150, deadline=None)
@given(tree=TREES)
def test_every_element_is_found_once_a_line(tree: Any) -> None:
    """Written with one element a line, the lines of the elements are the order in which they stand."""
    text = json.dumps(tree, indent=1, ensure_ascii=False).encode()
    for path, line in lines_of(text, paths(tree)).items():
        written = text.split(b"\n")[line - 1].strip()
        if path and isinstance(path[-1], str):
            assert written.startswith(json.dumps(path[-1], ensure_ascii=False).encode())
    numbered = list(lines_of(text, paths(tree)).values())
    assert numbered == sorted(set(numbered))
    assert oddities(text) == []
