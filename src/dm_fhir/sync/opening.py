"""The first page of a search from a server that may not like how it is asked: other ways are tried, what works is remembered."""

from collections import Counter
from collections.abc import Iterator

from dm_fhir.errors import RequestFailed
from dm_fhir.fhir.page import Page
from dm_fhir.fhir.search import Search, pages
from dm_fhir.sync.puller import Puller

#: Statuses by which a server says that it does not want to be asked this way.
NOT_THIS_WAY = (400, 404, 405, 406, 412, 413, 414, 415, 422, 501)
_SMALL_PAGE = 100


class NeedsCategory(Exception):
    """The server wants Observations to be asked for by category; `refusal` is what it said."""

    def __init__(self, refusal: RequestFailed) -> None:
        super().__init__(refusal.message)
        self.refusal = refusal


def opened(puller: Puller, type_name: str, search: Search, notes: Counter[str]) -> Iterator[Page]:
    """The pages of the search, asked for in the first way that the server takes.

    Raises what `pages` raises; the first refusal if no way is taken; NeedsCategory where that is what the server wants.
    """
    refusal: RequestFailed | None = None
    for way, facts in _ways(puller, type_name, search):
        begun = False
        try:
            for page in pages(puller.connection, way, notes):
                if not begun:
                    begun = True
                    for name, value in facts.items():
                        puller.remember(name, value)
                yield page
        except RequestFailed as error:
            if begun or error.status not in NOT_THIS_WAY or "foreign" in error.reason:
                raise
            if type_name == "Observation" and _wants_category(error, search):
                raise NeedsCategory(error) from None
            refusal = refusal or error
        else:
            return
    if refusal is not None:
        raise refusal


def _ways(puller: Puller, type_name: str, search: Search) -> Iterator[tuple[Search, dict[str, str]]]:
    """Ever plainer ways of asking the same, each with what is then known of the server."""
    yield search, {}
    facts: dict[str, str] = {}
    if search.by_post:
        facts[f"post {type_name}"] = "no"
        search = search._replace(by_post=False)
        yield search, dict(facts)
    if search.strict:
        facts[f"strict {type_name}"] = "no"
        search = search._replace(strict=False)
        yield search, dict(facts)
    if search.page_size and search.page_size > _SMALL_PAGE and puller.site.pull.page_size is None:
        facts["page_size"] = str(_SMALL_PAGE)
        yield search._replace(page_size=_SMALL_PAGE), dict(facts)


def _wants_category(error: RequestFailed, search: Search) -> bool:
    asked = any(name == "category" for name, _ in search.parameters)
    return error.status == 400 and not asked and "category" in error.message.lower()
