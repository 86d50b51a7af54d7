"""Searches page by page: what `next` may be, what ends a search, and that every entry is accounted for."""

import json
from typing import TYPE_CHECKING, Any

import pytest

from dm_fhir.errors import AnswerUnusable, RequestFailed
from dm_fhir.fhir.search import Page, pages, read_url, search_url

if TYPE_CHECKING:
    from conftest import Connect, Loopback, Scripted

SEARCH = "Observation?patient=Patient%2F1"


def observation(number: int) -> dict[str, Any]:
    """A resource of its own."""
    return {"resourceType": "Observation", "id": f"o{number}", "subject": {"reference": "Patient/1"}}


def bundle(*resources: object, following: str | None = None, total: int | None = None) -> bytes:
    """A searchset."""
    document: dict[str, Any] = {
        "resourceType": "Bundle",
        "type": "searchset",
        "entry": [{"resource": r} for r in resources],
    }
    if following is not None:
        document["link"] = [{"relation": "self", "url": "x"}, {"relation": "next", "url": following}]
    return json.dumps(document | ({} if total is None else {"total": total})).encode()


@pytest.fixture
def search(loopback: "Loopback", scripted: "type[Scripted]", connect: "Connect") -> Any:
    """Reads all pages of a search whose answers are these, in order; the pages read and what ended it."""

    def run(*bodies: bytes, **headers: str) -> tuple[list[Page], RequestFailed | None]:
        sent = {"Content-Type": headers.get("kind", "application/fhir+json")}
        loopback.answers("Observation", *(scripted(body=body, headers=sent) for body in bodies))
        read: list[Page] = []
        try:
            for page in pages(connect(), SEARCH):
                read.append(page)  # those before a failure are kept
        except RequestFailed as error:
            return read, error
        return read, None

    return run


def ids(read: list[Page]) -> list[str]:
    """The ids of what was read."""
    return [resource.id for page in read for resource in page.resources]


def test_every_page_is_read_in_order(search: Any, loopback: "Loopback") -> None:
    following = [f"{loopback.endpoint}/Observation?page={n}" for n in (2, 3)]
    read, error = search(
        bundle(observation(1), observation(2), following=following[0], total=4),
        bundle(observation(3), following=following[1]),
        bundle(observation(4)),
    )
    assert (error, ids(read), [page.total for page in read]) == (None, ["o1", "o2", "o3", "o4"], [4, None, None])
    assert loopback.paths() == [SEARCH, "Observation?page=2", "Observation?page=3"]
    assert [page.rewritten for page in read] == [False] * 3
    assert json.loads(read[0].resources[0].body) == observation(1)


@pytest.mark.parametrize("following", ["?page=2", "Observation?page=2", "/fhir/Observation?page=2"])
def test_a_relative_next_is_followed(search: Any, loopback: "Loopback", following: str) -> None:
    read, error = search(bundle(observation(1), following=following), bundle(observation(2)))
    assert (error, ids(read), loopback.paths()[1]) == (None, ["o1", "o2"], "Observation?page=2")
    assert read[0].rewritten is False


@pytest.mark.parametrize(
    "following",
    [
        "http://inner.example:8080/fhir/Observation?page=2", "https://{host}/fhir/Observation?page=2",
        "http://{host}:443:443/fhir/Observation?page=2", "//evil.example/fhir/Observation?page=2",
    ],
)  # fmt: skip
def test_a_next_on_an_inner_host_is_brought_back_to_the_endpoint(
    search: Any, loopback: "Loopback", following: str
) -> None:
    read, error = search(bundle(observation(1), following=following.format(host=loopback.host)), bundle(observation(2)))
    assert (error, ids(read), read[0].rewritten) == (None, ["o1", "o2"], True)
    assert loopback.paths() == [SEARCH, "Observation?page=2"]


@pytest.mark.parametrize(
    ("following", "reason"),
    [
        ("http://evil.example/x", "foreign-next"),
        ("//evil.example/x", "foreign-next"),
        ("/other/Observation?page=2", "foreign-next"),
        ("/fhirx/Observation?page=2", "foreign-next"),
        ("http://{host}/fhir/../admin", "foreign-next"),
        ("file:///etc/passwd", "bad-next"),
        ("ftp://{host}/fhir/Observation", "bad-next"),
        ("http://{host}@evil.example/fhir/x", "bad-next"),
        ("http://[::1/fhir/x", "bad-next"),
        ("javascript:alert(1)", "bad-next"),
    ],
)
def test_a_next_that_leads_away_is_not_followed(search: Any, loopback: "Loopback", following: str, reason: str) -> None:
    _, error = search(bundle(observation(1), following=following.format(host=loopback.host)))
    assert (error.reason, loopback.paths()) == (reason, [SEARCH])


def test_a_plus_in_next_stays_a_plus(search: Any, loopback: "Loopback") -> None:
    following = f"{loopback.endpoint}/Observation?_lastUpdated=ge2025-01-01T00:00:00+01:00&page=2"
    assert search(bundle(observation(1), following=following), bundle())[1] is None
    assert loopback.paths()[1] == "Observation?_lastUpdated=ge2025-01-01T00:00:00%2B01:00&page=2"


def test_a_page_that_names_itself_is_a_loop(search: Any, loopback: "Loopback") -> None:
    read, error = search(bundle(observation(1), following=f"{loopback.endpoint}/{SEARCH}"))
    assert (error.reason, len(read), len(loopback.asked)) == ("paging-loop", 1, 1)


def test_a_loop_over_two_pages(search: Any, loopback: "Loopback") -> None:
    two, three = (f"{loopback.endpoint}/Observation?page={n}" for n in (2, 3))
    bodies = [bundle(observation(n), following=f) for n, f in ((1, two), (2, three), (3, two))]
    read, error = search(*bodies)
    assert (error.reason, ids(read)) == ("paging-loop", ["o1", "o2", "o3"])


def test_pages_without_news_end_the_search(search: Any, loopback: "Loopback") -> None:
    bodies = [bundle(observation(min(n, 2)), following=f"?page={n}") for n in range(1, 9)]
    read, error = search(*bodies)
    assert (error.reason, len(read)) == ("no-new-ids", 4)


def test_a_search_that_ends_by_itself_with_repeated_pages_is_complete(search: Any) -> None:
    bodies = [bundle(observation(1), following=f) for f in ("?page=2", "?page=3", None)]
    read, error = search(*bodies)
    assert (error, len(read)) == (None, 3)


def test_empty_pages_in_between_are_passed_through(search: Any) -> None:
    bodies = [bundle(following=f"?page={n}") for n in range(9)] + [bundle(observation(1))]
    read, error = search(*bodies)
    assert (error, ids(read)) == (None, ["o1"])


def test_ten_empty_pages_in_a_row_end_the_search(search: Any, loopback: "Loopback") -> None:
    _, error = search(*(bundle(following=f"?page={n}") for n in range(20)))
    assert (error.reason, len(loopback.asked)) == ("no-new-ids", 10)


def test_the_page_budget(search: Any, loopback: "Loopback", monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dm_fhir.fhir.search.PAGE_BUDGET", 3)
    _, error = search(*(bundle(observation(n), following=f"?page={n}") for n in range(9)))
    assert (error.reason, len(loopback.asked)) == ("page-budget", 3)


WARNING = {"resourceType": "OperationOutcome", "issue": [{"severity": "warning", "diagnostics": "may not be all"}]}
FAILED = {"resourceType": "OperationOutcome", "issue": [{"severity": "error", "details": {"text": "index broken"}}]}


@pytest.mark.parametrize("extra", [{}, {"id": "w1"}])
def test_a_warning_inside_a_page_is_kept_as_a_message(search: Any, extra: dict[str, str]) -> None:
    read, error = search(bundle(observation(1), WARNING | extra))
    assert (error, ids(read), read[0].messages, read[0].rejected) == (None, ["o1"], ("may not be all",), ())


@pytest.mark.parametrize("severity", ["error", "fatal"])
def test_an_error_inside_a_page_fails_the_search(search: Any, severity: str) -> None:
    failed = {
        "resourceType": "OperationOutcome",
        "issue": [{"severity": severity, "details": {"text": "index broken"}}],
    }
    read, error = search(bundle(failed))
    assert (error.reason, read, str(error)) == ("outcome-error", [], "the server answers: index broken")


def test_an_operation_outcome_of_odd_shape_is_a_message(search: Any) -> None:
    read, error = search(bundle(observation(1), {"resourceType": "OperationOutcome", "issue": "none"}))
    assert (error, read[0].messages) == (None, ("an OperationOutcome without text",))


def test_an_operation_outcome_instead_of_a_page(search: Any) -> None:
    _, error = search(json.dumps(FAILED).encode())
    assert (error.reason, str(error)) == ("outcome-fatal", "the server answers: index broken")


@pytest.mark.parametrize(
    ("body", "kind", "text"),
    [
        (b"<html>Proxy maintenance</html>", "text/html", "HTML, not FHIR"),
        (b"  <!doctype html>", "application/fhir+json", "HTML, not FHIR"),
        (b'{"error":"maintenance"}', "application/json", "JSON but not a FHIR Bundle"),
        (b'{"resourceType":"Patient","id":"1"}', "application/json", "JSON but not a FHIR Bundle"),
        (b'{"resourceType":"Bundle","entry":7}', "application/json", "JSON but not a FHIR Bundle"),
        (b"[1]", "application/json", "JSON but not a FHIR Bundle"),
        (b"", "application/json", "not readable JSON"),
        (b'{"resourceType":"Bundle","entry":[{"resou', "application/json", "not readable JSON"),
        (b'{"resourceType":"Bundle","total":NaN}', "application/json", "not readable JSON"),
        (b'{"resourceType":"Bund\xff\xfe"}', "application/json", "not readable JSON"),
    ],
)
def test_an_answer_that_is_no_page(search: Any, body: bytes, kind: str, text: str) -> None:
    read, error = search(body, kind=kind)
    assert isinstance(error, AnswerUnusable)
    assert (error.reason, read) == ("not-fhir", [])
    assert text in str(error)


def test_nan_in_a_resource_spoils_its_page(search: Any) -> None:
    body = bundle(observation(1), observation(2) | {"valueQuantity": {"value": "here"}}).replace(b'"here"', b"NaN")
    _, error = search(body)
    assert (type(error), error.reason) == (AnswerUnusable, "not-fhir")


def test_an_answer_nested_beyond_the_stack(search: Any) -> None:
    _, error = search(b'{"resourceType":"Bundle","entry":[{"resource":{"x":' + b"[" * 100_000)
    assert (type(error), error.reason) == (AnswerUnusable, "too-deep")


def test_a_byte_order_mark_does_no_harm(search: Any) -> None:
    read, error = search(b"\xef\xbb\xbf" + bundle(observation(1)))
    assert (error, ids(read)) == (None, ["o1"])


def test_every_unusable_entry_is_set_apart_with_its_reason(search: Any) -> None:
    body = bundle(
        observation(1), None, {"resourceType": "Observation"}, {"id": "x"}, {"resourceType": "Observation", "id": 7}
    ).replace(b'"entry": [', b'"entry": [{"fullUrl": "urn:x"}, ')
    (page,), error = search(body)
    assert error is None
    assert [rejected.reason for rejected in page.rejected] == [
        "no-resource",
        "no-resource",
        "no-id",
        "no-type",
        "unreadable",
    ]
    assert json.loads(page.rejected[3].body) == {"id": "x"}
    assert ids([page]) == ["o1"]


def test_a_search_is_encoded() -> None:
    url = search_url(
        "Observation", [("code", "http://loinc.org|2157-6"), ("_lastUpdated", "ge2025-01-01T00:00:00+01:00")]
    )
    assert url == "Observation?code=http%3A%2F%2Floinc.org%7C2157-6&_lastUpdated=ge2025-01-01T00%3A00%3A00%2B01%3A00"


@pytest.mark.parametrize(
    ("reference", "path"),
    [
        ("Patient/p1", "Patient/p1"),
        ("Medication/a?b#c", "Medication/a%3Fb%23c"),
        ("Medication/x%2F..%2Fy", "Medication/x%252F..%252Fy"),
    ],
)
def test_an_id_is_encoded_in_a_path(reference: str, path: str) -> None:
    assert read_url(reference) == path
