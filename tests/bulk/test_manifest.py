"""Manifests as servers write them, and as nobody should."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dm_fhir.errors import AnswerUnusable
from dm_fhir.fhir.bulk_manifest import ManifestFile, read_manifest, together

WHOLE = {
    "transactionTime": "2026-03-01T12:00:00.123+01:00",
    "request": "https://fhir.test/r4/$export",
    "requiresAccessToken": True,
    "output": [{"type": "Patient", "url": "https://fhir.test/1", "count": 5, "extension": {"x": [1]}}],
    "deleted": [{"type": "Bundle", "url": "https://fhir.test/2"}],
    "error": [{"type": "OperationOutcome", "url": "https://fhir.test/3", "count": "7"}],
    "extension": {"https://fhir.test/own": {"deep": [1, 2.5]}},
}


def written(**more: Any) -> bytes:
    """The manifest with other members; None takes one out."""
    return json.dumps({name: one for name, one in {**WHOLE, **more}.items() if one is not None}).encode()


def test_a_whole_one() -> None:
    manifest = read_manifest(written())
    assert manifest.transaction_time == "2026-03-01T12:00:00.123+01:00"
    assert (manifest.request, manifest.requires_access_token) == ("https://fhir.test/r4/$export", True)
    assert manifest.output == (ManifestFile("Patient", "https://fhir.test/1", 5),)
    assert manifest.deleted == (ManifestFile("Bundle", "https://fhir.test/2", None),)
    assert manifest.error == (ManifestFile("OperationOutcome", "https://fhir.test/3", 7),)
    assert manifest.faults == ()


@pytest.mark.parametrize(
    ("name", "written_as", "read_as"),
    [
        ("transaction_time", "2026-03-01", None),
        ("transaction_time", "2026-03-01T12:00:00", None),
        ("transaction_time", 1772362800, None),
        ("transaction_time", "2026-03-01T12:00:00Z&_type=x", None),
        ("transaction_time", "2026-03-01T12:00:00Z", "2026-03-01T12:00:00Z"),
        ("requires_access_token", "false", False),
        ("requires_access_token", 0, None),
        ("requires_access_token", None, None),
        ("request", {}, None),
    ],
)
def test_what_its_head_says(name: str, written_as: Any, read_as: Any) -> None:
    key = {"transaction_time": "transactionTime", "requires_access_token": "requiresAccessToken"}.get(name, name)
    assert getattr(read_manifest(written(**{key: written_as})), name) == read_as


def test_a_bad_file_is_named_and_the_others_stay() -> None:
    output = [7, {"type": "Patient"}, {"type": "Patient", "url": "  "}, {"url": "https://fhir.test/9", "count": -1},
              {"type": "../../etc", "url": "https://fhir.test/8", "count": True}]  # fmt: skip
    manifest = read_manifest(written(output=output, deleted="none", error=None))
    assert manifest.output == ()
    assert manifest.faults == (
        "output[0]: not an object",
        "output[1]: no url",
        "output[2]: no url",
        "output[3]: no type",
        "output[4]: no type",
        "deleted: not a list",
    )


def test_what_of_a_file_is_read_however_it_is_written() -> None:
    output = [
        {"type": "Patient", "url": " https://fhir.test/1\n", "count": True},
        {"type": "Patient", "url": "x", "count": -1},
    ]
    manifest = read_manifest(
        written(output=output, deleted=[{"url": "y"}], error=[{"url": "z", "type": 7, "count": "-7"}])
    )
    assert manifest.output == (ManifestFile("Patient", "https://fhir.test/1"), ManifestFile("Patient", "x"))
    assert (manifest.deleted, manifest.error) == ((ManifestFile("", "y"),), (ManifestFile("", "z"),))
    assert manifest.faults == ()


def test_it_goes_on_at_next_alone() -> None:
    links = [
        7,
        {"relation": "self", "url": "https://fhir.test/m"},
        {"relation": "next", "url": 7},
        {"relation": "next", "url": "https://fhir.test/m2"},
    ]
    assert read_manifest(written(link=links)).next_url == "https://fhir.test/m2"
    assert read_manifest(written(link=links[:2])).next_url is None
    assert read_manifest(written(link="https://fhir.test/m2")).next_url is None


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b"7", b'{"error":"maintenance"}', b"\xff\xfe", b'{"output":['])
def test_what_is_none(body: bytes) -> None:
    with pytest.raises(AnswerUnusable) as raised:
        read_manifest(body)
    assert raised.value.reason == "not-fhir"


def test_pages_are_one_manifest() -> None:
    second = read_manifest(written(transactionTime="2027-01-01T00:00:00Z", output=[7], error=None))
    both = together([read_manifest(written()), second])
    assert both.transaction_time == "2026-03-01T12:00:00.123+01:00"
    assert (len(both.output), len(both.deleted), len(both.error)) == (1, 2, 1)
    assert both.faults == ("output[0]: not an object",)


ODD = st.sampled_from(
    [None, True, 0, 7, -3, 1.5, 10**20, "", " ", "true", "Patient", "http://a/1", "x/y", [], {}, [7], {"url": 1}]
)
FILE = st.dictionaries(st.sampled_from(["type", "url", "count", "relation"]), ODD)
MEMBER = ODD | st.lists(FILE | ODD, max_size=4)
KEYS = (
    "transactionTime",
    "request",
    "requiresAccessToken",
    "output",
    "deleted",
    "error",
    "link",
    "resourceType",
    "extension",
)


@given(st.dictionaries(st.sampled_from(KEYS), MEMBER))
def test_no_file_is_lost_or_invented(document: dict[str, Any]) -> None:
    body = json.dumps(document).encode()
    if "output" not in document:
        with pytest.raises(AnswerUnusable):
            read_manifest(body)
        return
    manifest = read_manifest(body)
    listed = [document.get(name) for name in ("output", "deleted", "error")]
    expected = sum(len(one) if isinstance(one, list) else one is not None for one in listed)
    assert len(manifest.output) + len(manifest.deleted) + len(manifest.error) + len(manifest.faults) == expected
    for file in (*manifest.output, *manifest.deleted, *manifest.error):
        assert file.url
        assert file.count is None or file.count >= 0
        assert not file.type or file.type.isalpha()
