"""One damaged resource costs nobody else anything: whatever the others hold, they come out byte for byte, and it is named."""

import json
from collections.abc import Callable
from typing import Any

import pytest
import requests
from hypothesis import example, given, settings
from hypothesis import strategies as st

from dm_fhir.config import Pull
from dm_fhir.errors import AnswerUnusable
from dm_fhir.fhir.connection import Connection
from dm_fhir.fhir.isolate import Isolated, isolated, why_unreadable
from dm_fhir.fhir.page import Page, read_page
from dm_fhir.fhir.transport import Answer

ENDPOINT = "https://fhir.leon.example/r4"
#: What stands in a resource where it is damaged, and what that is called.
DAMAGES = {
    b'"caf\xe9 \xff"': "invalid-utf-8",
    b'"cut off \xe2\x82"': "invalid-utf-8",
    b'"\xed\xa0\x80"': "invalid-utf-8",
    b"NaN": "not-json-number",
    b"[1, -Infinity]": "not-json-number",
    b'{"value":Infinity}': "not-json-number",
    b"01": "not-json",
    b"1.": "not-json",
    b"tru": "not-json",
    b"'single'": "not-json",
    b'"a line\nbreak"': "not-json",
    b'"\\x41"': "not-json",
    b'{"a":1,"b":2,"a":3}': "ambiguous-json",
    b'[{"x" : {"a":1, "a" :1}}]': "ambiguous-json",
}
_NAMES = st.sampled_from(["entry", "resource", "fullUrl", "link", "a", "é", 'quo"te', "back\\slash", "{", "]", ",:"])
_TEXTS = st.text(st.characters(exclude_categories=("Cs",)), max_size=12) | _NAMES
_LEAVES = (
    st.none() | st.booleans() | st.integers(-(2**40), 2**40) | st.floats(allow_nan=False, allow_infinity=False) | _TEXTS
)
_VALUES = st.recursive(
    _LEAVES, lambda below: st.lists(below, max_size=3) | st.dictionaries(_NAMES, below, max_size=3), max_leaves=8
)


def written(document: Any, spaced: bool, ascii_only: bool) -> bytes:
    """The document as JSON, one way or another."""
    separators = (" ,\n", "\t: ") if spaced else (",", ":")
    return json.dumps(document, separators=separators, ensure_ascii=ascii_only).encode()


@st.composite
def resources(draw: st.DrawFn) -> list[bytes]:
    """Resources as bytes, each in its own manner."""
    found = []
    for number in range(draw(st.integers(0, 4))):
        more = draw(st.dictionaries(_NAMES, _VALUES, max_size=4))
        document = {"resourceType": "Observation", **more, "id": f"o{number}"}
        found.append(written(document, draw(st.booleans()), draw(st.booleans())))
    return found


@st.composite
def entries(draw: st.DrawFn, resource: bytes) -> bytes:
    """An entry around the resource."""
    members = [b'"resource" : ' + resource]
    if draw(st.booleans()):
        members.append(b'"fullUrl":"https://x/{\\"resource\\":1}"')
    if draw(st.booleans()):
        members.append(b'"search":{"mode":"match","resource":{}}')
    return b"{" + b", ".join(draw(st.permutations(members))) + b"}"


@st.composite
def bundles(draw: st.DrawFn, all_resources: list[bytes]) -> bytes:
    """A searchset around them, its members in any order."""
    inner = b",\n".join([draw(entries(one)) for one in all_resources])
    members = [
        b'"resourceType":"Bundle"',
        b'"total":7',
        b'"_entry":[null, {"resource":1}]',
        b'"entry" : [' + inner + b" ]",
        b'"link":[{"relation":"next","url":"?page=2"}]',
    ]
    return b" {" + b" ,".join(draw(st.permutations(members))) + b"}\n"


def page_of(body: bytes) -> Page:
    headers = requests.structures.CaseInsensitiveDict({"Content-Type": "application/fhir+json"})
    with Connection(ENDPOINT, Pull()) as connection:
        return read_page(Answer(200, headers, body, f"{ENDPOINT}/Observation"), connection)


def damaged(damage: bytes) -> bytes:
    return b'{"resourceType":"Observation","id":"damaged","note":' + damage + b"}"


@settings(max_examples=150, deadline=None)
@given(good=resources(), damage=st.sampled_from(sorted(DAMAGES)), data=st.data())
def test_every_other_resource_comes_out_byte_for_byte_and_the_damaged_one_is_named(
    good: list[bytes], damage: bytes, data: st.DataObject
) -> None:
    place = data.draw(st.integers(0, len(good)))
    bad = damaged(damage)
    page = page_of(data.draw(bundles([*good[:place], bad, *good[place:]])))

    assert [resource.body for resource in page.resources] == good
    assert [(one.reason, one.body) for one in page.rejected] == [(DAMAGES[damage], bad)]
    assert (page.total, page.next_url) == (7, f"{ENDPOINT}/Observation?page=2")


@settings(max_examples=60, deadline=None)
@given(good=resources(), text=st.sampled_from([r"\ud800", r"a\udc00b", r"\ud83d\ude00\ud83d"]), data=st.data())
def test_half_a_character_costs_nothing_at_all(good: list[bytes], text: str, data: st.DataObject) -> None:
    half = damaged(f'"{text}"'.encode())
    page = page_of(data.draw(bundles([*good, half])))

    assert [resource.body for resource in page.resources] == [*good, half]
    assert page.rejected == ()
    assert page.notes["text_repaired"] == 1


@settings(max_examples=60, deadline=None)
@given(good=resources(), data=st.data())
def test_what_is_whole_comes_apart_like_the_page_itself(good: list[bytes], data: st.DataObject) -> None:
    body = data.draw(bundles(good))
    parts = isolated(body)

    assert parts.resources == tuple(good)
    assert json.loads(parts.envelope) == {**json.loads(body), "entry": []}


@settings(max_examples=60, deadline=None)
@given(good=resources(), data=st.data())
@example(good=[], data=None)
def test_what_is_cut_off_anywhere_is_never_taken_for_whole(good: list[bytes], data: st.DataObject | None) -> None:
    body = data.draw(bundles(good)).strip() if data else b'{"entry":[]}'
    end = data.draw(st.integers(1, len(body) - 1)) if data else 5

    with pytest.raises(AnswerUnusable) as caught:
        isolated(body[:end])
    assert caught.value.reason == "body-incomplete"


@pytest.mark.parametrize(
    ("entry", "resource"),
    [
        (b'{"resource":{"id":"a"}}', b'{"id":"a"}'),
        (b'{"fullUrl":"x"}', b"null"),
        (b'{"resource":null}', b"null"),
        (b"null", b"null"),
        (b'"a text"', b"null"),
        (b'{"search":{"resource":{"id":"not this"}}}', b"null"),
        (b'{"\\u0072esource":{}}', b"null"),
        (b'{"resource":NaN}', b"NaN"),
    ],
)
def test_an_entry_has_the_resource_that_is_its_own_member(entry: bytes, resource: bytes) -> None:
    assert isolated(b'{"entry":[' + entry + b"]}") == Isolated(b'{"entry":[]}', (resource,))


@pytest.mark.parametrize("body", [b"", b"[]", b'"text"', b"<html>", b"null"])
def test_what_is_no_object_is_no_page(body: bytes) -> None:
    with pytest.raises(AnswerUnusable) as caught:
        isolated(body)
    assert caught.value.reason == "not-fhir"


@pytest.mark.parametrize("nested", [lambda n: b"[" * n + b"]" * n, lambda n: b'{"a":' * n + b"1" + b"}" * n])
def test_two_hundred_levels_are_taken_and_no_more(nested: Callable[[int], bytes]) -> None:
    levels = 200 - 4  # the Bundle, its entries, the entry and the resource are levels too
    assert len(isolated(b'{"entry":[{"resource":{"a":' + nested(levels) + b"}}]}").resources) == 1
    with pytest.raises(AnswerUnusable) as caught:
        isolated(b'{"entry":[{"resource":{"a":' + nested(levels + 1) + b"}}]}")
    assert caught.value.reason == "too-deep"


@pytest.mark.parametrize("damage", sorted(DAMAGES))
def test_what_is_wrong_in_one_word(damage: bytes) -> None:
    expected = DAMAGES[damage] if DAMAGES[damage] != "ambiguous-json" else None
    assert why_unreadable(damaged(damage)) == expected


@pytest.mark.parametrize("body", [b'{"note":"NaN, he said: Infinity"}', rb'{"note":"\ud800"}', b"{}"])
def test_nothing_is_wrong_with_what_can_be_read(body: bytes) -> None:
    assert why_unreadable(body) is None
