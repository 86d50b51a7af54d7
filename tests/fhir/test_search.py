"""Searches page by page: what ends a search, what is begun again, and that nothing goes round in circles."""

import json
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from dm_fhir.errors import RequestFailed
from dm_fhir.fhir.page import Page
from dm_fhir.fhir.search import Search, pages, read_url, search_url

from .bundles import bundle, observation

if TYPE_CHECKING:
    from conftest import Connect, Loopback, Scripted

Ended = tuple[list[Page], RequestFailed | None]
SEARCH = Search("Observation", (("patient", "1"),))


class Searched:
    """Reads all pages of a search whose answers are these, in order. `notes` are those of the last search."""

    def __init__(self, loopback: "Loopback", scripted: "type[Scripted]", connect: "Connect") -> None:
        self.notes: Counter[str] = Counter()
        self._loopback, self._scripted, self._connect = loopback, scripted, connect

    def __call__(self, *answers: "bytes | Scripted", search: Search = SEARCH, **limits: object) -> Ended:
        """The pages read and what ended it."""
        script = [self._scripted(body=answer) if isinstance(answer, bytes) else answer for answer in answers]
        self._loopback.answers("Observation", *script)
        self.notes.clear()
        read: list[Page] = []
        try:
            for page in pages(self._connect(**limits), search, self.notes):
                read.append(page)  # those before a failure are kept
        except RequestFailed as error:
            return read, error
        return read, None


@pytest.fixture
def search(loopback: "Loopback", scripted: "type[Scripted]", connect: "Connect") -> Searched:
    """Searches the server."""
    return Searched(loopback, scripted, connect)


def ids(read: list[Page]) -> list[str]:
    """The ids of what was read."""
    return [resource.id for page in read for resource in page.resources]


def test_every_page_is_read_in_order(search: Searched, loopback: "Loopback") -> None:
    following = [f"{loopback.endpoint}/Observation?page={n}" for n in (2, 3)]
    read, error = search(
        bundle(observation(1), observation(2), following=following[0], total=4),
        bundle(observation(3), following=following[1]),
        bundle(observation(4)),
    )
    assert (error, ids(read), [page.total for page in read]) == (None, ["o1", "o2", "o3", "o4"], [4, None, None])
    assert loopback.paths() == [SEARCH.url, "Observation?page=2", "Observation?page=3"]
    assert search.notes["next_rewritten"] == 0
    assert json.loads(read[0].resources[0].body) == observation(1)


def test_a_page_that_names_itself_is_a_loop(search: Searched, loopback: "Loopback") -> None:
    read, error = search(bundle(observation(1), following=f"{loopback.endpoint}/{SEARCH.url}"))
    assert error is not None
    assert (error.reason, len(read), len(loopback.asked)) == ("paging-loop", 1, 1)


def test_a_loop_over_two_pages(search: Searched, loopback: "Loopback") -> None:
    two, three = (f"{loopback.endpoint}/Observation?page={n}" for n in (2, 3))
    bodies = [bundle(observation(n), following=f) for n, f in ((1, two), (2, three), (3, two))]
    read, error = search(*bodies)
    assert error is not None
    assert (error.reason, ids(read)) == ("paging-loop", ["o1", "o2", "o3"])


def test_pages_without_news_end_the_search(search: Searched, loopback: "Loopback") -> None:
    bodies = [bundle(observation(min(n, 2)), following=f"?page={n}") for n in range(1, 9)]
    read, error = search(*bodies)
    assert error is not None
    assert (error.reason, len(read)) == ("no-new-ids", 4)


def test_a_search_that_ends_by_itself_with_repeated_pages_is_complete(search: Searched) -> None:
    bodies = [bundle(observation(1), following=f) for f in ("?page=2", "?page=3", None)]
    read, error = search(*bodies)
    assert (error, len(read)) == (None, 3)


def test_empty_pages_in_between_are_passed_through(search: Searched) -> None:
    bodies = [bundle(following=f"?page={n}") for n in range(9)] + [bundle(observation(1))]
    read, error = search(*bodies)
    assert (error, ids(read)) == (None, ["o1"])


def test_ten_empty_pages_in_a_row_end_the_search(search: Searched, loopback: "Loopback") -> None:
    _, error = search(*(bundle(following=f"?page={n}") for n in range(20)))
    assert error is not None
    assert (error.reason, len(loopback.asked)) == ("no-new-ids", 10)


def test_the_page_budget(search: Searched, loopback: "Loopback", monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dm_fhir.fhir.search.PAGE_BUDGET", 3)
    _, error = search(*(bundle(observation(n), following=f"?page={n}") for n in range(9)))
    assert error is not None
    assert (error.reason, len(loopback.asked)) == ("page-budget", 3)


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
