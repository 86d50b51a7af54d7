"""What dm-fhir must come to under every fault, a row for each fault and each variant of it.

What a row does not say is as without a fault: 1000 rows, exit 0, the unit `Observation?patient` complete with 1000
expected, the unit of Conditions complete with 10, and after a second pull from the healthy server 1000 rows and exit 0.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

#: A note that must be there, however often.
SOME = -1
#: Not looked at.
ANY = -2
Login = Literal["bearer", "client-secret", "smart-backend"]


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """One fault or variant: what the server does, what must come of it, and the settings of the site.

    `state` None: the unit must not be complete, and nothing of it may be there. `says` are regular expressions, each of
    which something printed must match. `asked` is how often the server may have been asked for a page, at most; `most_pages`
    how often for any page of Observations, in searches that are not split by date.
    """

    t: int
    fault: str
    does: str
    rows: int = 1000
    exit: int = 0
    state: str | None = "complete"
    reason: tuple[str, ...] = ()
    expected: int | None = 1000
    unique: int | None = None
    received: int = ANY
    pages: int = ANY
    retries: int = ANY
    notes: Mapping[str, int] = field(default_factory=dict)
    quarantined: tuple[str, ...] = ()
    says: tuple[str, ...] = ()
    waits: tuple[float, float] | None = None
    asked: Mapping[int, int] = field(default_factory=dict)
    most_pages: int | None = None
    has_conditions: bool | None = True
    query: str = "Observation?patient"
    login: Login = "bearer"
    tls: str = ""
    pull: Mapping[str, str | None] = field(default_factory=dict)
    site: str = ""
    again: tuple[str, ...] = ("pull",)
    rows_again: int = 1000
    variant: str = ""

    @property
    def id(self) -> str:
        """Its name in the table and on the command line of pytest."""
        return "-".join(filter(None, (f"T{self.t}", self.fault, self.variant)))


def _partial(*reason: str) -> dict[str, object]:
    return {"exit": 3, "state": "partial", "reason": reason}


def _passes(t: int, fault: str, does: str, **more: object) -> Scenario:
    """The same fault once: nothing remains of it but a retry."""
    return Scenario(t=t, fault=f"{fault}-once", does=f"{does}, once", **{"retries": 1, **more})  # type: ignore[arg-type]


_BY_CATEGORY = {"observations_by": '"categories"', "categories": '["laboratory"]'}
_CATEGORY = "Observation?patient&category=laboratory"
_SHORT_TIMES = {"read_timeout_seconds": "1", "total_timeout_seconds": "1"}

STATUS = (
    Scenario(t=1, fault="ok", does="nothing wrong", pages=10, received=1000, retries=0),
    Scenario(
        t=2, fault="r503", does="503 with Retry-After 3 on page 4, once", retries=1, notes={"waited_seconds": 3}, waits=(3, 3.9),
        says=("waited 3 s as asked",),
    ),
    Scenario(t=3, fault="r429", does="429 with Retry-After 3 on page 4, once", retries=1, notes={"throttled": 1}, waits=(3, 3.9)),
    Scenario(
        t=4, fault="r429date", does="429 with a date 4 s ahead by the server's clock, which is an hour slow, once",
        retries=1, waits=(3, 5),
    ),
    Scenario(t=5, fault="r503no", does="503 without Retry-After on page 4, once", retries=1, waits=(0, 5)),
    Scenario(
        t=6, fault="ra5h", does="503 with Retry-After 18000 on page 4", rows=300, exit=4, state="partial",
        reason=("retry-after-too-long",), waits=(0, 0.5), has_conditions=None,
        says=("server asks to wait 5 h, until .*; 300 of 1000 stored",),
    ),
    Scenario(
        t=7, fault="e500", does="500 on page 6, always", rows=500, **_partial("http-500"), notes={"half_count_tried": 1},
        says=("page 6 answered 500 five times.*; 500 of 1000",),
    ),
    _passes(7, "e500", "500 on page 6"),
    Scenario(
        t=8, fault="e410-once", does="410 on page 6, once", notes={"restarts": 1, "duplicate": 500}, retries=ANY,
    ),
    Scenario(
        t=8, fault="e410", does="410 on page 6, always", rows=500, **_partial("search-expired"), notes={"restarts": 2},
        says=("search expired on the server three times",),
    ),
    Scenario(
        t=9, fault="e403", does="403 on page 6, always", rows=500, **_partial("refused-on-page-6"), asked={6: 1}, waits=(0, 0),
        says=(r"page 6 refused \(403\)",),
    ),
    Scenario(
        t=10, fault="e404", does="404 for every Observation search", rows=0, exit=3, state="unsupported", reason=("http-404",),
        expected=None, says=("Observation search is not supported by this server",),
    ),
    Scenario(
        t=10, fault="e404-statements", does="404 for every MedicationStatement search, and the type is optional here",
        query="MedicationStatement?patient", state="unsupported", reason=("http-404",), expected=None, unique=0,
        pull={"optional_types": '["MedicationStatement"]'},
    ),
    Scenario(
        t=10, fault="e404-category", does="400 without category", query=_CATEGORY, pull={"observations_by": None},
    ),
)  # fmt: skip

LOGIN = (
    Scenario(
        t=12, fault="tok", does="from page 5 on the first token gets 401, a new one works", login="client-secret",
        notes={"token_renewed": 1},
    ),
    Scenario(t=13, fault="a401", does="one 401 on page 5 for static credentials", retries=1, notes={"auth_flake": 1}),
    Scenario(
        t=14, fault="e401", does="401 for everything but metadata", rows=0, exit=5, state=None, has_conditions=False,
        says=(r"the server does not accept the credentials \(401",),
    ),
    Scenario(
        t=14, fault="e401-metadata", does="401 for everything", rows=0, exit=5, state=None, has_conditions=False,
        says=(r"the server does not accept the credentials \(401",),
    ),
    Scenario(
        t=14, fault="e401-observation", does="401 for Observation only", rows=0, exit=3, state="refused",
        reason=("refused", "http-401"), expected=None, says=("not authorised for Observation",),
    ),
    Scenario(
        t=15, fault="tokflake", does="token endpoint: 503 on the first request", login="client-secret", waits=(0, 10),
        notes={"token_retry": SOME},
    ),
    Scenario(
        t=15, fault="tokflake-later", does="token endpoint: bare 400 on a re-authorisation, then fine", login="client-secret",
        waits=(0, 10), notes={"token_retry": SOME},
    ),
    Scenario(
        t=16, fault="tokdead", does="no token from page 5 on: 400 invalid_client", login="client-secret", rows=400, exit=5,
        state="partial", reason=("auth-lost",), has_conditions=None, says=("could not renew the login",),
    ),
    Scenario(
        t=16, fault="tokdead-503", does="no token from page 5 on: 503", login="client-secret", rows=400, exit=4,
        state="partial", reason=("auth-lost",), has_conditions=None, says=("token endpoint unavailable",),
    ),
    Scenario(
        t=17, fault="skew", does="its clock is 7 min behind, a JWT valid for longer than 300 s by it is refused",
        login="smart-backend", says=("local clock is 7 min ahead of the server",),
    ),
)  # fmt: skip

_CUT_OFF = "answer for page 5 is cut off"
TRANSPORT = (
    Scenario(t=18, fault="drop", does="closes the connection without an answer on page 5, once", retries=1, waits=(0, 5)),
    Scenario(t=19, fault="trunc", does="page 5 once: Content-Length 5,000 too large, then closes", retries=1),
    Scenario(
        t=20, fault="clshort", does="page 5: Content-Length 500 too small", rows=400, **_partial("body-incomplete"),
        says=(_CUT_OFF,),
    ),
    _passes(20, "clshort", "page 5: Content-Length 500 too small"),
    Scenario(t=21, fault="stall", does="page 5 once: never answers", retries=1, pull=_SHORT_TIMES),
    Scenario(t=22, fault="drip", does="page 5 once: in 80 pieces, slowly", pull={"read_timeout_seconds": "1"}, retries=0),
    Scenario(
        t=22, fault="drip-forever", does="page 5: a byte now and then for ever", rows=400, **_partial("too-slow"),
        pull={**_SHORT_TIMES, "tries": "2"}, notes={"half_count_tried": 1}, says=("page 5 did not arrive within 1 s",),
    ),
    _passes(22, "drip-forever", "page 5: a byte now and then for ever", pull=_SHORT_TIMES),
    Scenario(
        t=23, fault="gzbad", does="page 5: 40 bytes flipped inside the gzip stream", rows=400, **_partial("body-corrupt"),
        says=(r"answer for page 5 is damaged \(gzip\)",),
    ),
    _passes(23, "gzbad", "page 5: 40 bytes flipped inside the gzip stream"),
    Scenario(
        t=23, fault="gzbad-checksum", does="page 5: gzip with a wrong checksum", rows=400, **_partial("body-corrupt"),
        says=(r"answer for page 5 is damaged \(gzip\)",),
    ),
    _passes(23, "gzbad-checksum", "page 5: gzip with a wrong checksum"),
    Scenario(
        t=24, fault="gztrunc", does="page 5: half of the gzip stream, Content-Length matching", rows=400,
        **_partial("body-incomplete"), says=(_CUT_OFF,),
    ),
    _passes(24, "gztrunc", "page 5: half of the gzip stream, Content-Length matching"),
    Scenario(
        t=26, fault="html", does="page 3: 200 text/html", rows=200, **_partial("not-fhir"),
        says=(r"page 3 is HTML, not FHIR: a proxy or a login page\?",),
    ),
    _passes(26, "html", "page 3: 200 text/html"),
    Scenario(
        t=27, fault="nonfhir", does='page 5: 200 {"error": "maintenance"}', rows=400, **_partial("not-fhir"),
        says=("page 5 is JSON but not FHIR",),
    ),
    _passes(27, "nonfhir", 'page 5: 200 {"error": "maintenance"}'),
    *(
        Scenario(
            t=28, fault=fault, does=f"page 5: {what} in one resource", rows=999, exit=3, quarantined=("invalid-utf-8",),
            says=("1 resource is not valid UTF-8 and was set aside",),
        )
        for fault, what in (("utf8", "the bytes FF FE"), ("utf8-latin1", "a Latin-1 µ"))
    ),
    Scenario(t=29, fault="bom", does="page 5 starts with a byte-order mark", notes={"bom": 1}),
    Scenario(t=29, fault="bom-mediatype", does="page 5 is application/json+fhir", notes={"media_type": 1}),
    *(
        Scenario(
            t=30, fault=fault, does=f"page 5: a value is {what}", rows=999, exit=3, quarantined=("not-json-number",),
            says=("1 resource holds NaN or Infinity and was set aside",),
        )
        for fault, what in (("nan", "NaN"), ("nan-infinity", "-Infinity"))
    ),
    Scenario(t=30, fault="nan-1e400", does="page 5: a value is 1e400"),
    Scenario(t=34, fault="surr", does=r"page 5: \ud800 in a unit", notes={"text_repaired": 1}),
    Scenario(t=34, fault="surr-nul", does=r"page 5: \u0000 in a unit"),
    Scenario(
        t=34, fault="surr-twice", does="page 5: the key `value` twice", rows=999, exit=3, quarantined=("ambiguous-json",),
        says=("ambiguous JSON",),
    ),
)  # fmt: skip

_BAD_NEXT = {"rows": 500, **_partial("bad-next"), "asked": {5: 1}, "waits": (0, 0)}
PAGING = (
    Scenario(
        t=36, fault="loop", does="`next` of page 3 is page 3", rows=300, **_partial("paging-loop"), most_pages=4,
        says=("the server repeats page 3",),
    ),
    Scenario(
        t=37, fault="fresh", does="from page 4 on fresh addresses with the ids of page 3", rows=300, **_partial("no-new-ids"),
        most_pages=6, says=("2 pages in a row brought nothing new; 300 of 1000",),
    ),
    Scenario(t=38, fault="dup", does="every page repeats the last 10 of the one before", received=1090, notes={"duplicate": 90}),
    Scenario(
        t=39, fault="vers", does="page 6 repeats 10 ids as version 2", received=1010, notes={"duplicate": 10, "superseded": 10},
    ),
    Scenario(t=39, fault="vers-reversed", does="page 6 repeats 10 ids as they were before", notes={"duplicate": 10}),
    Scenario(
        t=39, fault="vers-incomparable", does="the same, and they do not say when they changed", again=("pull", "--full"),
    ),
    Scenario(
        t=40, fault="emptymid-900", does="page 5 is empty and has `next`; total 900", rows=900, expected=900,
        notes={"empty_pages": 1}, again=("pull", "--full"),
    ),
    Scenario(
        t=40, fault="emptymid-1000", does="the same; total 1000", rows=900, **_partial("short"), notes={"repeated_query": 1},
        says=("900 of 1000 announced",),
    ),
    Scenario(
        t=41, fault="emptyfirst", does="page 1 is empty and has `next`; total 900", rows=900, expected=900,
        notes={"empty_pages": 1}, again=("pull", "--full"),
    ),
    Scenario(
        t=42, fault="short", does="no `next` after page 7; total 1000", rows=700, **_partial("short"),
        notes={"repeated_query": 1, "offset_tried": 1}, says=("700 of 1000 announced, no further page",),
    ),
    Scenario(
        t=42, fault="short-offset", does="the same on a server that knows `_offset`", notes={"offset_tried": 1},
    ),
    Scenario(t=43, fault="less", does="all delivered; total 900", expected=ANY, notes={"total_low": SOME}),
    Scenario(
        t=43, fault="more", does="all delivered; total 1100", **_partial("short"), expected=1100, notes={"count_checked": 1},
        says=("1000 of 1100 announced",),
    ),
    Scenario(
        t=43, fault="more", variant="estimates", does="the same where totals are estimates", expected=ANY,
        pull={"totals_are_estimates": "true"},
    ),
    Scenario(
        t=43, fault="more-recounted", does="all delivered; total 1100, but `_summary=count` says 1000", expected=ANY,
        notes={"count_checked": 1},
    ),
    Scenario(t=44, fault="rel", does="`next` is a path"),
    Scenario(t=44, fault="rel-query", does="`next` is `?page=2`"),
    Scenario(t=45, fault="host", does="`next` names another host, the same path", notes={"next_rewritten": 9}),
    Scenario(
        t=45, fault="host-outside", does="`next` names another host, another path", rows=100, **_partial("foreign-next"),
        says=("the server points to another host 127.0.0.2.*; if it is yours add rewrite",),
    ),
    Scenario(
        t=45, fault="host-outside", variant="rewrite", does="the same with a `rewrite`",
        site='rewrite = {{ "{other_host}/elsewhere{path}" = "{endpoint}" }}',
    ),
    Scenario(
        t=46, fault="downgrade", does="TLS; `next` from page 5 on is http", tls="valid",
        notes={"next_rewritten": SOME, "plain_http_links": SOME}, says=("the server hands out http links",),
    ),
    Scenario(
        t=47, fault="file", does="`next` of page 5 is `file:///etc/passwd`", **_BAD_NEXT,
        says=(r"page 6 has an unusable address \(file:\)",),
    ),
    Scenario(t=47, fault="file-ftp", does="the same with `ftp:`", **_BAD_NEXT, says=(r"page 6 has an unusable address \(ftp:\)",)),
    Scenario(
        t=47, fault="file-noscheme", does="the same with `//evil.example/x`",
        **{**_BAD_NEXT, "reason": ("bad-next", "foreign-next")}, says=("evil.example|unusable address",),
    ),
    Scenario(
        t=47, fault="file-user", does="the same with `http://host@evil.example/x`",
        **{**_BAD_NEXT, "reason": ("bad-next", "foreign-next")}, says=("page 6 has an unusable address|evil.example",),
    ),
    Scenario(t=47, fault="file-port", does="the same with a port twice (`443:443`)"),
    Scenario(
        t=48, fault="redir", does="page 5 answers 307 to another host", rows=400, **_partial("foreign-redirect"), asked={5: 1},
        says=("page 5 redirects to 127.0.0.2",),
    ),
    Scenario(
        t=48, fault="redir", variant="allowed", does="the same where `redirect_hosts` has that host",
        site='redirect_hosts = ["{other_netloc}"]',
    ),
    Scenario(t=48, fault="redir-path", does="page 5 answers 301 to another path of the same origin"),
    Scenario(
        t=49, fault="cap", does="12,000 matches; 400 beyond offset 10,000", rows=12_000, expected=ANY, notes={"date_windows": SOME},
        rows_again=12_000,
    ),
    Scenario(
        t=49, fault="cap-nodate", does="the same without a search by date", rows=10_000, **_partial("server-cap"),
        expected=12_000, rows_again=12_000, says=("the server stops at 10,000 results",),
    ),
)  # fmt: skip

CONTENT = (
    Scenario(
        t=50, fault="foreign", does="10 resources on page 5 are another patient's", rows=990, **_partial("foreign-subject"),
        notes={"foreign_subject": 10}, unique=ANY, says=("10 resources of another patient in the answer; not stored",),
    ),
    Scenario(
        t=50, fault="foreign-mixed", does="the filter by patient is ignored", rows=0, **_partial("foreign-subject"), unique=ANY,
        most_pages=1, notes={"foreign_subject": SOME}, says=("of another patient in the answer; not stored",),
    ),
    Scenario(
        t=51, fault="ignored", does="category=laboratory is ignored: half are vital signs; the self link is without it",
        query=_CATEGORY, pull=_BY_CATEGORY, unique=ANY, notes={"filter_ignored:category": 500},
        says=("server ignored category; filtered here",),
    ),
    Scenario(
        t=52, fault="liar", does="the same, and the self link repeats the category", query=_CATEGORY, pull=_BY_CATEGORY,
        unique=ANY, notes={"filter_ignored:category": 500, "self_link_wrong": SOME},
        says=("server ignored category; filtered here",),
    ),
    Scenario(
        t=53, fault="oo", does="every page ends with an OperationOutcome 4119", notes={"server_message": 10, "authorised_view_only": SOME},
        says=("server: .*may not contain the entire record",),
    ),
    Scenario(
        t=54, fault="oofatal", does="page 5 is a fatal OperationOutcome with 200", rows=400, **_partial("outcome-fatal"),
        says=("The database is being moved to another cabinet",),
    ),
    _passes(54, "oofatal", "page 5 is a fatal OperationOutcome with 200"),
    Scenario(
        t=54, fault="oofatal-only", does="the only entry is an OperationOutcome of severity error", rows=0, exit=3, state="failed",
        reason=("outcome-error",), expected=ANY, says=("The search could not be run",),
    ),
    Scenario(
        t=55, fault="noid", does="one resource on page 5 has no id", rows=999, exit=3, quarantined=("no-id",),
        notes={"set_aside": 1}, says=("1 resource without id was set aside",),
    ),
    Scenario(t=56, fault="longid", does="one id of 88 characters"),
    Scenario(t=57, fault="pathid", does="ids `../../etc/passwd`, `a/b?c#d`, `x%2F..%2Fy`", notes={"odd_id": 3}),
    Scenario(
        t=58, fault="null", does="page 5: one entry is null", rows=999, **_partial("short"), quarantined=("no-resource",), notes={"repeated_query": 1},
        says=("1 unusable entry was set aside",),
    ),
    Scenario(
        t=58, fault="null-notype", does="page 5: one resource without resourceType", rows=999, exit=3, quarantined=("no-type",),
        says=("1 unusable entry was set aside",),
    ),
)  # fmt: skip

#: Run as processes of their own, for how much memory they take.
LARGE = (
    Scenario(
        t=25, fault="gzbomb", does="page 5: 0.4 MB gzip that expands to 400 MB", rows=400, **_partial("too-large"),
        says=("answer for page 5 is larger than 256 MiB",),
    ),
    _passes(25, "gzbomb", "page 5: 0.4 MB gzip that expands to 400 MB"),
    Scenario(
        t=31, fault="deep", does="page 5: 100,000 nested arrays, no `next`", rows=400, **_partial("too-deep"),
        says=("answer for page 5 is nested deeper than 200 levels",),
    ),
    Scenario(t=32, fault="big", does="page 5: one resource of 10 MB"),
    Scenario(t=33, fault="bundle100", does="page 5: a Bundle of 100 MB"),
)  # fmt: skip
MOST_MIB = {31: 1024, 32: 1024, 33: 600}
#: Beyond what a pull without a fault takes.
MOST_MIB_MORE = {25: 100}

#: Each with a test of its own: what happens to the machine or the process.
_NOTHING = {"rows": 0, "state": None, "has_conditions": False}
PROCESSES = (
    Scenario(
        t=11, fault="down", does="nothing listens", exit=4, **_NOTHING,
        says=(r"cannot connect to 127\.0\.0\.1:\d+: connection refused; nothing was pulled",),
    ),
    Scenario(
        t=35, fault="tls-expired", does="the certificate is expired", exit=4, tls="expired", **_NOTHING,
        says=(r"certificate of 127\.0\.0\.1:\d+ expired on 2024-01-31",),
    ),
    Scenario(
        t=35, fault="tls-issuer", does="the certificate's issuer is unknown", exit=2, tls="valid", **_NOTHING,
        says=("unknown issuer .*; set ca_bundle",),
    ),
    Scenario(t=35, fault="tls-name", does="the certificate is another host's", exit=2, tls="other-name", **_NOTHING, says=("certificate",)),
    Scenario(
        t=59, fault="killserver", does="the server dies in the middle of page 6 and stays down", rows=500, exit=4, state="partial",
        reason=("unreachable",), has_conditions=None, says=(r"127\.0\.0\.1:\d+ stopped answering; run again later",),
    ),
    Scenario(
        t=60, fault="kill9", does="`kill -9` of dm-fhir, at every commit in turn; same command again",
        says=("previous run was interrupted; continuing",),
    ),
    Scenario(
        t=61, fault="two", does="a second pull starts while the first waits in page 5", exit=11,
        says=(r"run \d+ \(process \d+, since .*\) holds the lock",),
    ),
    Scenario(
        t=62, fault="full", does="the disk has 60 kB left", rows=ANY, exit=1, state="partial", reason=("interrupted", "disk-full"),
        has_conditions=None, says=("no space left in .*; at least .* MB needed",),
    ),
    Scenario(
        t=62, fault="full", variant="soon", does="the disk has room for less than three times the last pull", exit=0, says=("space",),
    ),
    *(
        Scenario(
            t=63, fault="ctrlc", variant=variant, does=f"{variant} during page 6", rows=500, exit=130, state="partial",
            reason=("interrupted",), has_conditions=None, says=("interrupted; .*continue with the same command",),
        )
        for variant in ("SIGINT", "SIGTERM")
    ),
)  # fmt: skip

IN_PROCESS = (*STATUS, *LOGIN, *TRANSPORT, *PAGING, *CONTENT)
SCENARIOS = (*IN_PROCESS, *LARGE, *PROCESSES)
