"""One thing that doctor has tried: whether it works, what was said, what it means for a pull, and what would mend it."""

from collections import Counter
from typing import Literal

import msgspec

from dm_fhir.config import Site
from dm_fhir.errors import DmFhirError, LoginRefused, RequestFailed, in_a_line
from dm_fhir.fhir.page import Page
from dm_fhir.fhir.search import Search
from dm_fhir.sync.mending import mend
from dm_fhir.sync.opening import opened
from dm_fhir.sync.puller import Puller
from dm_fhir.sync.summary import Attention

State = Literal["works", "degrades", "fails"]
_UNSUPPORTED = (400, 404, 405, 501)
#: Parameters whose values are ours, and nobody's.
_PLAIN = ("_count", "_summary", "_sort", "_total", "category")


class Check(msgspec.Struct, frozen=True):
    """One thing tried. `degrades`: a pull gets along, at a price. `fails`: a pull would end with `exit_code`.

    `said` is what came of it, in the server's own words where it had any. `consequence` is what that means for a pull,
    `ask` what to ask the hospital for, `mend` what can be done about it on this side; None where there is nothing to say.
    `request` and `answer` say what was tried and what came of it without a word of the server's and of any patient: they,
    `consequence` and `ask` are what the hospital gets to read. Without `answer` it is none of the hospital's business.
    """

    what: str
    state: State
    said: str
    consequence: str | None = None
    ask: str | None = None
    mend: str | None = None
    request: str | None = None
    answer: str | None = None
    exit_code: int = 0

    @property
    def ok(self) -> bool:
        """Whether a pull gets along with it."""
        return self.state != "fails"


def first_page(puller: Puller, type_name: str, search: Search) -> Page:
    """The search's first page, asked for as a pull would. Raises what `opened` raises, and why there would be no second page."""
    page = next(opened(puller, type_name, search, Counter()))
    if page.next_failure:
        raise page.next_failure
    return page


def how_many(page: Page) -> str:
    """What the page says of how many there are."""
    if page.total is not None:
        return f"{page.total} found" if page.total else "none found"
    return "found, without a total" if page.resources or page.rejected else "none found"


def shown(search: Search) -> str:
    """The search as it may be shown to anybody: `GET Observation?patient={id}&_count=1`."""
    parts = search.path.split("/")
    path = search.path if len(parts) == 1 else "/".join([parts[0], "{id}", *parts[2:]])
    size = (("_count", str(search.page_size)),) if search.page_size else ()
    named = (
        f"{name}={value if name in _PLAIN else _placeholder(name, value)}"
        for name, value in (*search.parameters, *size)
    )
    return f"GET {'?'.join(part for part in (path, '&'.join(named)) if part)}"


def answer_of(error: DmFhirError) -> str:
    """What the server answered, by status and reason alone."""
    if isinstance(error, LoginRefused):
        return "login refused"
    reason = str(getattr(error, "reason", "")) or "not usable"
    status = getattr(error, "status", None)
    if status is None:
        return reason
    return f"{status}" if reason == f"http-{status}" else f"{status}, {reason}"


def failed(error: RequestFailed, query: str, type_name: str, site: Site, request: str) -> Check:
    """The check of a planned query that was refused, or broke: in the state in which a pull would leave its units."""
    state = "refused" if error.status in (401, 403) else "unsupported" if is_unsupported(error) else "failed"
    advice = mend(Attention("", query, state, error.reason, error.message, None, 0), site).advice or ""
    is_optional = state == "unsupported" and query.partition("?")[0] in site.pull.optional_types
    return Check(
        query,
        "degrades" if is_optional else "fails",
        in_a_line(error),
        f"there will be no {type_name} of this hospital, as optional_types allows" if is_optional else _without(query),
        None if is_optional else _wish(error, type_name, request),
        # What only the hospital can do is in `ask`.
        None if is_optional or state == "refused" or "the hospital the message" in advice else advice,
        request,
        answer_of(error),
        0 if is_optional else RequestFailed.exit_code,
    )


def is_unsupported(error: RequestFailed) -> bool:
    """Whether the server says that it does not do this at all."""
    return error.status in _UNSUPPORTED or error.reason == "not-listed"


def _placeholder(name: str, value: str) -> str:
    if name in ("patient", "subject", "_id"):
        return "{id}" if "," not in value else "{ids}"
    count = value.count(",") + 1
    return f"{{{count} values}}" if count > 1 else "{value}"


def _without(query: str) -> str:
    return f"no pull is complete without {query}: it ends with exit code {RequestFailed.exit_code}"


def _wish(error: RequestFailed, type_name: str, request: str) -> str:
    """What the hospital could do, by what went wrong."""
    if error.status in (401, 403):
        return f"let this client read {type_name}, for example by the scope system/{type_name}.read"
    if is_unsupported(error):
        return f"offer the search `{request}`, or tell us how {type_name} is found on this server"
    return _WISHES.get(error.reason, "see in the server's log what went wrong with `{request}`").format(request=request)


_SLOW = "see why `{request}` takes so long: for one patient it should take a second"
_PROXY = "see what answers `{request}`: it was no whole FHIR Bundle; is there a proxy or a login page in between?"
_WISHES = {
    "read-timeout": _SLOW,
    "too-slow": _SLOW,
    "not-fhir": _PROXY,
    "body-incomplete": _PROXY,
    "body-corrupt": _PROXY,
    "foreign-next": "let the links in Bundle.link begin with the endpoint's own address (the server's base URL setting)",
    "bad-next": "let the links in Bundle.link begin with the endpoint's own address (the server's base URL setting)",
    "foreign-redirect": "tell us whether the host that `{request}` redirects to is yours",
    "foreign-subject": "see why `{request}` brings other patients' records: the server ignores the parameter",
    "filter-ignored": "see why `{request}` brings what was not asked for: the server ignores the parameter",
}
