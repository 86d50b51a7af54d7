"""One page: where its `next` may lead, what in it is a resource, a message or unusable, and what is no page at all."""

import json
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
import requests

from dm_fhir.config import Auth, Pull, Site
from dm_fhir.errors import AnswerUnusable, RequestFailed
from dm_fhir.fhir.connection import Connection
from dm_fhir.fhir.page import Page, read_page
from dm_fhir.fhir.transport import Answer

from .bundles import bundle, observation

ENDPOINT = "https://fhir.leon.example/r4"
#: A page's own address, from which relative links are resolved.
OWN = f"{ENDPOINT}/Observation?patient=1"
Read = Callable[..., Page]


@pytest.fixture
def read() -> Read:
    """Reads these bytes as the page that `OWN` was answered with; the site has these rewrite rules."""

    def as_page(
        body: bytes,
        kind: str = "application/fhir+json",
        rewrite: dict[str, str] | None = None,
        *,
        exactly: bool = True,
    ) -> Page:
        site = Site("leon", ENDPOINT, "UTC", (), {}, Auth(), Pull(), False, rewrite=rewrite or {})
        headers = requests.structures.CaseInsensitiveDict({"Content-Type": kind})
        with Connection(ENDPOINT, site.pull, site=site) as connection:
            return read_page(Answer(200, headers, body, OWN), connection, "page 3", exactly=exactly)

    return as_page


def noted(page: Page) -> Counter[str]:
    """What was odd, without zeros."""
    return +page.notes


@pytest.mark.parametrize(
    ("following", "address"),
    [
        ("?page=2", "/Observation?page=2"),
        ("Observation?page=2", "/Observation?page=2"),
        ("/r4/Observation?page=2", "/Observation?page=2"),
        (f"{ENDPOINT}/Observation?page=2", "/Observation?page=2"),
        (f"{ENDPOINT}?_getpages=7f3", "?_getpages=7f3"),
        ("?date=ge2025-01-01T00:00:00+01:00", "/Observation?date=ge2025-01-01T00:00:00%2B01:00"),
        ("?a=1#part", "/Observation?a=1"),
    ],
)
def test_a_next_on_the_endpoint(read: Read, following: str, address: str) -> None:
    page = read(bundle(observation(1), following=following))
    assert (page.next_url, noted(page)) == (ENDPOINT + address, {})


@pytest.mark.parametrize(
    ("following", "notes"),
    [
        ("https://inner.example:8080/r4/Observation?page=2", {"next_rewritten": 1}),
        ("http://inner.example:8080/r4/Observation?page=2", {"next_rewritten": 1, "plain_http_links": 1}),
        ("http://fhir.leon.example/r4/Observation?page=2", {"next_rewritten": 1, "plain_http_links": 1}),
        ("https://fhir.leon.example:443:443/r4/Observation?page=2", {"next_rewritten": 1}),
    ],
)
def test_a_next_on_an_inner_host_is_brought_back_to_the_endpoint(
    read: Read, following: str, notes: dict[str, int]
) -> None:
    page = read(bundle(observation(1), following=following))
    assert (page.next_url, noted(page)) == (f"{ENDPOINT}/Observation?page=2", notes)


@pytest.mark.parametrize(
    ("following", "reason"),
    [
        ("https://evil.example/x", "foreign-next"),
        ("https://evil.example/r4x/Observation", "foreign-next"),
        ("/other/Observation?page=2", "foreign-next"),
        ("/r4x/Observation?page=2", "foreign-next"),
        (f"{ENDPOINT}/../admin", "foreign-next"),
        ("https://inner.example/r4/../admin", "foreign-next"),
        ("//evil.example/r4/Observation?page=2", "bad-next"),
        ("file:///etc/passwd", "bad-next"),
        ("ftp://fhir.leon.example/r4/Observation", "bad-next"),
        ("https://fhir.leon.example@evil.example/r4/x", "bad-next"),
        ("https://user:5ecret@fhir.leon.example/r4/x", "bad-next"),
        ("https://[::1/r4/x", "bad-next"),
        ("https://fhir.leon.example:port/r4/x", "bad-next"),
        ("javascript:alert(1)", "bad-next"),
    ],
)
def test_a_next_that_leads_away_is_not_followed(read: Read, following: str, reason: str) -> None:
    page = read(bundle(observation(1), following=following))
    assert page.next_failure is not None
    assert (page.next_failure.reason, page.next_url) == (reason, None)
    assert "5ecret" not in str(page.next_failure)
    assert [r.id for r in page.resources] == ["o1"], "the page itself is good"


def test_a_foreign_next_names_the_host_and_the_setting(read: Read) -> None:
    failure = read(bundle(following="https://gateway.example:9443/fhir/Observation?page=2")).next_failure
    assert failure is not None
    assert "another host gateway.example:9443; if it is yours add rewrite" in failure.message
    assert f'rewrite = {{ "https://gateway.example:9443/…" = "{ENDPOINT}" }}' in (failure.hint or "")


def test_the_sites_own_rule_brings_a_next_home(read: Read) -> None:
    rule = {"https://gateway.example:9443/fhir": ENDPOINT}
    page = read(bundle(following="https://gateway.example:9443/fhir/Observation?page=2"), rewrite=rule)
    assert (page.next_url, noted(page)) == (f"{ENDPOINT}/Observation?page=2", {})


def test_a_rule_holds_for_whole_path_parts_only(read: Read) -> None:
    rule = {"https://gateway.example/fhir": ENDPOINT}
    failure = read(bundle(following="https://gateway.example/fhirx/y"), rewrite=rule).next_failure
    assert failure is not None
    assert failure.reason == "foreign-next"


WARNING = {"resourceType": "OperationOutcome", "issue": [{"severity": "warning", "diagnostics": "may not be all"}]}


@pytest.mark.parametrize("extra", [{}, {"id": "w1"}])
def test_a_warning_inside_a_page_is_kept_as_a_message(read: Read, extra: dict[str, str]) -> None:
    page = read(bundle(observation(1), WARNING | extra))
    assert ([r.id for r in page.resources], page.messages, page.rejected) == (["o1"], ("may not be all",), ())


def test_a_warning_that_something_is_left_out_is_counted(read: Read) -> None:
    text = "4119: This response may not contain the entire record"
    outcome = {"resourceType": "OperationOutcome", "issue": [{"severity": "warning", "details": {"text": text}}]}
    assert noted(read(bundle(observation(1), outcome))) == {"authorised_view_only": 1}


@pytest.mark.parametrize("severity", ["error", "fatal"])
@pytest.mark.parametrize("extra", [{}, {"id": "w1"}])
def test_an_error_inside_a_page_fails_the_search(read: Read, severity: str, extra: dict[str, str]) -> None:
    issue = {"severity": severity, "details": {"text": "index broken"}}
    with pytest.raises(RequestFailed) as caught:
        read(bundle(observation(1), {"resourceType": "OperationOutcome", "issue": [issue], **extra}))
    assert (caught.value.reason, str(caught.value)) == ("outcome-error", "page 3: server answers: index broken")


def test_an_operation_outcome_of_odd_shape_is_a_message(read: Read) -> None:
    page = read(bundle(observation(1), {"resourceType": "OperationOutcome", "issue": "none"}))
    assert page.messages == ("an OperationOutcome without text",)


def test_an_operation_outcome_instead_of_a_page(read: Read) -> None:
    failed = {"resourceType": "OperationOutcome", "issue": [{"severity": "error", "details": {"text": "index broken"}}]}
    with pytest.raises(RequestFailed) as caught:
        read(json.dumps(failed).encode())
    assert (caught.value.reason, str(caught.value)) == ("outcome-fatal", "page 3: server answers: index broken")


@pytest.mark.parametrize(
    ("body", "kind", "reason", "text"),
    [
        (b"<html>Proxy maintenance</html>", "text/html", "not-fhir", "page 3 is HTML, not FHIR"),
        (b"  <!doctype html>", "application/fhir+json", "not-fhir", "page 3 is HTML, not FHIR"),
        (b'{"error":"maintenance"}', "application/json", "not-fhir", "page 3 is JSON but not FHIR"),
        (b'{"resourceType":"Patient","id":"1"}', "application/json", "not-fhir", "page 3 is JSON but not FHIR"),
        (b'{"resourceType":"Bundle","entry":7}', "application/json", "not-fhir", "page 3 is JSON but not FHIR"),
        (b'{"resourceType":"Bundle","total":"many"}', "application/json", "not-fhir", "page 3 is JSON but not FHIR"),
        (b"[1]", "application/json", "not-fhir", "page 3 is JSON but not FHIR"),
        (b"", "application/json", "not-fhir", "readable JSON"),
        (b"gone fishing", "text/plain", "not-fhir", "readable JSON"),
        (b'{"resourceType":"Bundle","total":NaN}', "application/json", "not-fhir", "readable JSON"),
        (b'{"resourceType":"Bund\xff\xfe"}', "application/json", "not-fhir", "readable JSON"),
        (b'{"resourceType":"Bundle","entry":[{"resou', "application/json", "body-incomplete", "for page 3 is cut off"),
        (b'{"resourceType":"Bundle","entry":[{"resource":{"x":' + b"[" * 100_000, "application/json", "too-deep", "page 3"),
    ],
)  # fmt: skip
def test_an_answer_that_is_no_page(read: Read, body: bytes, kind: str, reason: str, text: str) -> None:
    with pytest.raises(AnswerUnusable) as caught:
        read(body, kind)
    assert caught.value.reason == reason
    assert text in str(caught.value)


def spoiled(mark: bytes) -> bytes:
    """A page of three of which the second holds these bytes as a value."""
    return bundle(observation(1), observation(2) | {"x": "here"}, observation(3), total=3).replace(b'"here"', mark)


DAMAGED = [
    (b"NaN", "not-json-number"),
    (b"-Infinity", "not-json-number"),
    (b"1.2.3", "not-json"),
    (b"tru", "not-json"),
    (b'"a\x01b"', "not-json"),
    (b'"Gro\xdf"', "invalid-utf-8"),
]
TWICE = [(b'"1", "x": "2"', "ambiguous-json"), (b'"1", "\\u0078": "2"', "ambiguous-json")]


@pytest.mark.parametrize(
    ("mark", "reason", "exactly"),
    [*((*one, True) for one in DAMAGED + TWICE), *((*one, False) for one in DAMAGED)],
)
def test_one_damaged_entry_costs_itself_only(read: Read, mark: bytes, reason: str, exactly: bool) -> None:
    page = read(spoiled(mark), exactly=exactly)
    assert ([r.id for r in page.resources], page.total) == (["o1", "o3"], 3)
    assert [(one.reason, mark in one.body) for one in page.rejected] == [(reason, True)]


def test_half_a_character_is_kept_as_sent_and_counted(read: Read) -> None:
    page = read(spoiled(b'"torn \\ud83d emoji"'))
    assert [r.id for r in page.resources] == ["o1", "o2", "o3"]
    assert b"torn \\ud83d emoji" in page.resources[1].body
    assert noted(page) == {"text_repaired": 1}


def test_a_whole_pair_is_no_repair(read: Read) -> None:
    page = read(spoiled(b'"smile \\ud83d\\ude00"'))
    assert (len(page.resources), noted(page)) == (3, {})


def test_every_unusable_entry_is_set_apart_with_its_reason(read: Read) -> None:
    body = bundle(
        observation(1), None, {"resourceType": "Observation"}, {"id": "x"}, {"resourceType": "Observation", "id": 7}
    ).replace(b'"entry": [', b'"entry": [{"fullUrl": "urn:x"}, ')
    page = read(body)
    reasons = [rejected.reason for rejected in page.rejected]
    assert reasons == ["no-resource", "no-resource", "no-id", "no-type", "unreadable"]
    assert json.loads(page.rejected[3].body) == {"id": "x"}
    assert [r.id for r in page.resources] == ["o1"]


@pytest.mark.parametrize(
    ("kind", "count"),
    [
        ("application/fhir+json; charset=utf-8", 0),
        ("application/json", 0),
        ("", 0),
        ("text/plain", 1),
        ("text/html", 1),
    ],
)
def test_an_odd_media_type_is_counted_and_the_page_read(read: Read, kind: str, count: int) -> None:
    page = read(bundle(observation(1)), kind)
    assert (len(page.resources), page.notes["media_type"]) == (1, count)


@pytest.mark.parametrize(("id_", "count"), [("a.B-9", 0), ("a_b", 1), ("ä", 1), ("1/2", 1)])
def test_an_id_that_fhir_does_not_allow_is_counted_and_kept(read: Read, id_: str, count: int) -> None:
    page = read(bundle(observation(1) | {"id": id_}))
    assert ([r.id for r in page.resources], page.notes["odd_id"]) == ([id_], count)


@pytest.mark.parametrize(
    ("link", "asked"),
    [
        ({"relation": "self", "url": f"{OWN}&code:exact=a&_count="}, {"patient", "code", "_count"}),
        ({"relation": "self", "url": "http://[::1"}, None),
        ({"relation": "next", "url": "?page=2"}, None),
    ],
)
def test_what_the_server_says_it_has_applied(read: Read, link: dict[str, str], asked: set[str] | None) -> None:
    document: dict[str, Any] = {"resourceType": "Bundle", "link": [link]}
    assert read(json.dumps(document).encode()).asked == asked
