"""Addresses that a server hands out: its own in other words, its inner ones, and others'."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dm_fhir.fhir.addresses import is_this_machine, own_address, same_origin, secrets_of, unsigned

ENDPOINT = "https://ehr.test:8443/r4"
JOB = f"{ENDPOINT}/status/7?a=b"
RULES = {"http://inner:9/x": "https://ehr.test:8443/y"}


@pytest.mark.parametrize(
    ("link", "found", "noted"),
    [
        ("/files/1", "https://ehr.test:8443/files/1", ()),
        ("files/1?k=v%20w", f"{ENDPOINT}/status/files/1?k=v%20w", ()),
        ("//ehr.test:8443/files/1", "https://ehr.test:8443/files/1", ()),
        ("https://ehr.test:8443/files/1", "https://ehr.test:8443/files/1", ()),
        ("https://ehr.test:8443:8443/files/1", "https://ehr.test:8443/files/1", ()),
        ("http://ehr.test/files/1?k=v", "https://ehr.test:8443/files/1?k=v", ("next_rewritten", "plain_http_links")),
        ("http://ehr.test:80/files/1", "https://ehr.test:8443/files/1", ("next_rewritten", "plain_http_links")),
        ("http://10.0.0.1:8080/r4/files/1", f"{ENDPOINT}/files/1", ("next_rewritten", "plain_http_links")),
        ("https://10.0.0.1/r4/files/1", f"{ENDPOINT}/files/1", ("next_rewritten",)),
        ("http://inner:9/x/1", "https://ehr.test:8443/y/1", ()),
        ("https://10.0.0.1/r4/../etc", "https://10.0.0.1/r4/../etc", ()),
        ("https://store.test/r4x/1?sig=a%2Fb", "https://store.test/r4x/1?sig=a%2Fb", ()),
        ("http://ehr.test:81/files/1", "http://ehr.test:81/files/1", ()),
        ("ftp://ehr.test/1", None, ()),
        ("file:///etc/passwd", None, ()),
        ("https://user:word@ehr.test:8443/1", None, ()),
        ("https://[1", None, ()),
        ("https://ehr.test:x/1", None, ()),
        ("https:///1", "https://ehr.test:8443/1", ()),
    ],
)
def test_whose_it_is(link: str, found: str | None, noted: tuple[str, ...]) -> None:
    notes: Counter[str] = Counter()
    assert own_address(ENDPOINT, RULES, JOB, link, notes) == found
    assert {name for name, count in notes.items() if count} == set(noted)


def test_an_endpoint_without_a_path_has_no_inner_addresses() -> None:
    notes: Counter[str] = Counter()
    assert (
        own_address("https://ehr.test", {}, "https://ehr.test/1", "https://other.test/1", notes)
        == "https://other.test/1"
    )


@given(st.text() | st.from_regex(r"(https?:)?//[a-z0-9@:.\[\]%]{0,12}/[a-z./?%#]{0,9}", fullmatch=True))
def test_no_link_breaks_it_and_none_pretends_to_be_ours(link: str) -> None:
    found = own_address(ENDPOINT, {}, JOB, link, Counter())
    assert found is None or found.startswith(("https://", "http://"))
    if found and found.startswith("https://ehr.test:8443/"):
        assert same_origin(found, ENDPOINT)


@pytest.mark.parametrize(
    ("url", "secrets"),
    [
        ("https://h/j?X-Amz-Signature=abcdefgh&page=12345678", {"abcdefgh"}),
        ("https://h/j?sv=2&sig=ab%2Fcdefg%3D", {"ab%2Fcdefg%3D", "ab/cdefg="}),
        ("https://h/j?access_token=abcdefgh#x", {"abcdefgh"}),
        ("https://h/j?token=short", set()),
        ("https://h/Patient?identifier=abcdefgh", set()),
        ("https://h/j", set()),
    ],
)
def test_what_of_an_address_lets_in(url: str, secrets: set[str]) -> None:
    assert set(secrets_of(url)) == secrets


@pytest.mark.parametrize(("url", "same"), [
    ("https://h/f?id=1&X-Amz-Date=2&X-Amz-Signature=a", "https://h/f?X-Amz-Date=3&id=1&X-Amz-Signature=b"),
    ("https://h/f", "https://h/f?token=a"),
])  # fmt: skip
def test_an_address_that_is_signed_anew_is_the_same(url: str, same: str) -> None:
    assert unsigned(url) == unsigned(same) != unsigned(url.replace("/f", "/g"))


@pytest.mark.parametrize(("host", "is_this"), [
    ("localhost", True), ("127.0.0.1", True), ("127.8.0.2", True), ("::1", True), ("10.0.0.1", False), ("localhost.example", False),
    ("files.example", False), ("", False), (None, False),
])  # fmt: skip
def test_what_stays_on_this_machine(host: str | None, is_this: bool) -> None:
    assert is_this_machine(host) == is_this
