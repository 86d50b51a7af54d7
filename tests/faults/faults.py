"""Every fault as what it does to an answer: refuse it, spoil its Bundle, its bytes, or how they are sent."""

import base64
import json
import re
import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from functools import cache
from urllib.parse import urlsplit

from .answers import (
    Ask,
    Reply,
    and_close,
    byte_by_byte,
    gzipped,
    in_pieces,
    json_reply,
    nothing,
    refusal,
    resource_reply,
    silence,
)
from .hospital import Json, entry, observation, operation_outcome, spread_observations, vital_sign
from .writing import Hold, Manners

#: How long the slow server of `drip` pauses, in place of half a second and a second.
PAUSE_SECONDS = 0.005
SLOW_SECONDS = 0.02
OFFSET_LIMIT = 10_000
_MIB = 1024 * 1024


@dataclass(frozen=True)
class Fault:
    """Where a fault can reach in. What it leaves alone is honest.

    `ignores` are parameters that are listed but not looked at; those in `not_offered` are not listed either. A fault that
    `lasts` is in the records themselves: the healthy server has it too. `manners` None: nothing can be written to the server;
    `hold` is what it does wrong with a write.
    """

    refuse: Callable[[Ask, Reply | None], Reply | None] = lambda ask, reply: reply
    records: Callable[[list[Json]], list[Json]] = lambda held: held
    bundle: Callable[[Ask, Json], Json] = lambda ask, bundle: bundle
    body: Callable[[Ask, bytes], bytes] = lambda ask, body: body
    reply: Callable[[Ask, Reply], Reply] = lambda ask, reply: reply
    page_size: int = 0
    skew: timedelta = timedelta(0)
    ignores: tuple[str, ...] = ()
    not_offered: tuple[str, ...] = ()
    lasts: bool = False
    manners: Manners | None = None
    hold: Hold | None = None


FAULTS: dict[str, Fault] = {"ok": Fault()}

# --- A. HTTP status ---------------------------------------------------------------------------------------------------


def _refusing(when: Callable[[Ask], bool], reply: Callable[[Ask], Reply]) -> Fault:
    return Fault(refuse=lambda ask, before: reply(ask) if before is None and when(ask) else before)


def _page(number: int) -> Callable[[Ask], bool]:
    return lambda ask: ask.page == number


def _once(when: Callable[[Ask], bool]) -> Callable[[Ask], bool]:
    return lambda ask: when(ask) and ask.times == 1


def _status(code: int, text: str = "", **headers: str) -> Callable[[Ask], Reply]:
    return lambda ask: refusal(code, text, **headers)


def _is_observations(ask: Ask) -> bool:
    return ask.type == "Observation" and ask.is_search


#: The server of `r429date` has a clock of its own: the date that it names means nothing by ours.
_SLOW_CLOCK = timedelta(hours=-1)


def _in_four_seconds(ask: Ask) -> Reply:
    until = datetime.now(UTC) + _SLOW_CLOCK + timedelta(seconds=4)
    return refusal(429, Retry_After=format_datetime(until, usegmt=True))


FAULTS |= {
    "r503": _refusing(_once(_page(4)), _status(503, Retry_After="3")),
    "r429": _refusing(_once(_page(4)), _status(429, Retry_After="3")),
    "r429date": replace(_refusing(_once(_page(4)), _in_four_seconds), skew=_SLOW_CLOCK),
    "r503no": _refusing(_once(_page(4)), _status(503)),
    "ra5h": _refusing(_page(4), _status(503, Retry_After="18000")),
    "e500": _refusing(_page(6), _status(500)),
    "e500-once": _refusing(_once(_page(6)), _status(500)),
    "e410-once": _refusing(_once(_page(6)), _status(410, "search expired")),
    "e410": _refusing(_page(6), _status(410, "search expired")),
    "e403": _refusing(_page(6), _status(403)),
    "e404": _refusing(_is_observations, _status(404)),
    "e404-statements": _refusing(lambda ask: ask.type == "MedicationStatement", _status(404)),
    "e404-category": _refusing(
        lambda ask: _is_observations(ask) and not ask.parameter("category"), _status(400, "required: category")
    ),
}

# --- B. Authentication ------------------------------------------------------------------------------------------------

_NO_TOKEN = _status(401, "invalid_token", WWW_Authenticate='Bearer error="invalid_token"')


def _first_token_dies() -> Fault:
    """From the first request for page 5 on, the first token is worth nothing."""
    return _refusing(lambda ask: ask.token == 1 and ask.page >= 5, _NO_TOKEN)


def _token_endpoint(when: Callable[[int], bool], reply: Reply) -> Fault:
    """The token endpoint answers the n-th request with `reply`."""
    return _refusing(lambda ask: ask.is_token_request and when(ask.times), lambda ask: reply)


def _both(one: Fault, other: Fault) -> Fault:
    """Two faults that refuse, as one."""
    return Fault(refuse=lambda ask, reply: other.refuse(ask, one.refuse(ask, reply)))


def _refuse_by_clock(ask: Ask, skew: timedelta) -> bool:
    """Whether the login's JWT is expired, or expires too late, by the server's clock."""
    claims = ask.form.get("client_assertion", "").split(".")[1]
    expires = json.loads(base64.urlsafe_b64decode(claims + "=" * (-len(claims) % 4)))["exp"]
    left = expires - (datetime.now(UTC) + skew).timestamp()
    return not 0 < left <= 300


_SKEW = timedelta(minutes=-7)
_CLIENT_REFUSED = json_reply({"error": "invalid_client"}, 400)
_BARE_400 = Reply(400)
_TOKEN_503 = Reply(503)
FAULTS |= {
    "tok": _first_token_dies(),
    "a401": _refusing(_once(_page(5)), _NO_TOKEN),
    "e401": _refusing(lambda ask: ask.path != "metadata", _status(401)),
    "e401-metadata": _refusing(lambda ask: True, _status(401)),
    "e401-observation": _refusing(lambda ask: ask.type == "Observation", _status(401)),
    "tokflake": _token_endpoint(lambda times: times == 1, _TOKEN_503),
    "tokflake-later": _both(_first_token_dies(), _token_endpoint(lambda times: times == 2, _BARE_400)),
    "tokdead": _both(_first_token_dies(), _token_endpoint(lambda times: times >= 2, _CLIENT_REFUSED)),
    "tokdead-503": _both(_first_token_dies(), _token_endpoint(lambda times: times >= 2, _TOKEN_503)),
    "skew": replace(
        _refusing(lambda ask: ask.is_token_request and _refuse_by_clock(ask, _SKEW), lambda ask: _CLIENT_REFUSED),
        skew=_SKEW,
    ),
}

# --- C. Transport and body --------------------------------------------------------------------------------------------


def _sending(when: Callable[[Ask], bool], spoil: Callable[[Reply], Reply]) -> Fault:
    return Fault(reply=lambda ask, reply: spoil(reply) if when(ask) and reply.status == 200 else reply)


def _always_and_once(name: str, page: int, spoil: Callable[[Reply], Reply]) -> dict[str, Fault]:
    return {name: _sending(_page(page), spoil), f"{name}-once": _sending(_once(_page(page)), spoil)}


def _flipped(body: bytes, start: int, count: int) -> bytes:
    return body[:start] + bytes(byte ^ 0xFF for byte in body[start : start + count]) + body[start + count :]


def _gzip_spoilt(reply: Reply) -> Reply:
    reply = gzipped(reply)
    return replace(reply, body=_flipped(reply.body, len(reply.body) // 2, 40))


def _gzip_checksum_spoilt(reply: Reply) -> Reply:
    reply = gzipped(reply)
    return replace(reply, body=_flipped(reply.body, len(reply.body) - 8, 4))


def _gzip_halved(reply: Reply) -> Reply:
    reply = gzipped(reply)
    return replace(reply, body=reply.body[: len(reply.body) // 2])


@cache
def _bomb() -> bytes:
    """400 MB of blanks as gzip, 0.4 MB."""
    compress = zlib.compressobj(9, zlib.DEFLATED, 31)
    blanks = b" " * _MIB
    return b"".join([*(compress.compress(blanks) for _ in range(400)), compress.flush()])


def _html(reply: Reply) -> Reply:
    page = b"<!DOCTYPE html><html><body><h1>Proxy maintenance</h1></body></html>"
    return Reply(200, page, {"Content-Type": "text/html"})


def _claims(more: int) -> Callable[[Reply], Reply]:
    return lambda reply: replace(reply, length=len(reply.body) + more)


def _after(body: bytes, place: bytes, old: bytes, new: bytes) -> bytes:
    """The body with the first `old` after `place` replaced; unchanged if the place is not in it."""
    if place not in body:
        return body
    start = body.index(old, body.index(place))
    return body[:start] + new + body[start + len(old) :]


def _spoiling(page: int, old: bytes, new: bytes) -> Fault:
    """In the first resource of the page, other bytes in the place of `old`."""
    place = f'"id": "o{(page - 1) * 100}"'.encode()
    return Fault(body=lambda ask, body: _after(body, place, old, new) if ask.page == page else body)


def _value(new: str) -> Fault:
    return _spoiling(5, b'"value": 500', f'"value": {new}'.encode())


def _unit(new: bytes) -> Fault:
    return _spoiling(5, b'"unit": "U/L"', b'"unit": "' + new + b'"')


def _without_next(bundle: Json) -> Json:
    return {**bundle, "link": [link for link in bundle["link"] if link["relation"] != "next"]}


def _resource(number: int, make: Callable[[Json], Json]) -> Callable[[list[Json]], list[Json]]:
    """The records with Observation `o<number>` made into another."""
    return lambda held: [make(one) if one["id"] == f"o{number}" else one for one in held]


def _with_note(size: int) -> Callable[[Json], Json]:
    return lambda resource: {**resource, "note": [{"text": "x" * size}]}


def _large_page(ask: Ask, bundle: Json) -> Json:
    """Each of the page's 100 resources with a MB of text."""
    if ask.page != 5:
        return bundle
    large = _with_note(_MIB)
    return {**bundle, "entry": [{**one, "resource": large(one["resource"])} for one in bundle["entry"]]}


_DEEP = b'"status": "final", "deep": ' + b"[" * 100_000 + b"]" * 100_000
FAULTS |= {
    "drop": _sending(_once(_page(5)), lambda reply: replace(reply, deliver=nothing)),
    "trunc": _sending(_once(_page(5)), lambda reply: replace(_claims(5000)(reply), deliver=and_close)),
    **_always_and_once("clshort", 5, _claims(-500)),
    "stall": _sending(_once(_page(5)), lambda reply: replace(reply, deliver=silence)),
    "drip": _sending(_once(_page(5)), lambda reply: replace(reply, deliver=in_pieces(80, PAUSE_SECONDS))),
    **_always_and_once("drip-forever", 5, lambda reply: replace(reply, deliver=byte_by_byte(SLOW_SECONDS))),
    **_always_and_once("gzbad", 5, _gzip_spoilt),
    **_always_and_once("gzbad-checksum", 5, _gzip_checksum_spoilt),
    **_always_and_once("gztrunc", 5, _gzip_halved),
    **_always_and_once("gzbomb", 5, lambda reply: replace(reply, body=_bomb()).with_headers(Content_Encoding="gzip")),
    **_always_and_once("html", 3, _html),
    **_always_and_once("nonfhir", 5, lambda reply: json_reply({"error": "maintenance"})),
    "utf8": _unit(b"\xff\xfe"),
    "utf8-latin1": _unit(b"\xb5g/L"),
    "bom": Fault(body=lambda ask, body: b"\xef\xbb\xbf" + body if ask.page == 5 else body),
    "bom-mediatype": _sending(_page(5), lambda reply: reply.with_headers(Content_Type="application/json+fhir")),
    "nan": _value("NaN"),
    "nan-infinity": _value("-Infinity"),
    "nan-1e400": _value("1e400"),
    "deep": replace(
        _spoiling(5, b'"status": "final"', _DEEP),
        bundle=lambda ask, bundle: _without_next(bundle) if ask.page == 5 else bundle,
    ),
    "big": Fault(records=_resource(400, _with_note(10 * _MIB)), lasts=True),
    "bundle100": Fault(bundle=_large_page),
    "surr": _unit(b"\\ud800"),
    "surr-nul": _unit(b"\\u0000"),
    "surr-twice": _value('500, "value": 501'),
}

# --- D. Paging --------------------------------------------------------------------------------------------------------


def _spoiling_pages(spoil: Callable[[Ask, Json], Json]) -> Fault:
    """Something in the Bundle of any page of Observations."""
    return Fault(bundle=lambda ask, bundle: spoil(ask, bundle) if ask.page else bundle)


def _next(bundle: Json) -> str:
    return next((link["url"] for link in bundle["link"] if link["relation"] == "next"), "")


def _with_next(bundle: Json, url: str) -> Json:
    return {**_without_next(bundle), "link": [*_without_next(bundle)["link"], {"relation": "next", "url": url}]}


def _linking(change: Callable[[Ask, str], str], pages: range = range(1, 11)) -> Fault:
    """Another `next` on these pages, where there is one."""

    def spoil(ask: Ask, bundle: Json) -> Json:
        url = _next(bundle)
        return _with_next(bundle, change(ask, url)) if url and ask.page in pages else bundle

    return _spoiling_pages(spoil)


def _path(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.path}?{parts.query}"


def _this_page(ask: Ask, url: str) -> str:
    return re.sub(r"\bpage=\d+", f"page={ask.page}", url)


def _only_the_third(ask: Ask, bundle: Json) -> Json:
    """From page 4 on a fresh address each, and what page 3 had."""
    if ask.page < 4:
        return bundle
    url = f"{ask.base}/Observation?patient=p1&page={ask.page + 1}"
    return _with_next({**bundle, "entry": [entry(one, ask.base) for one in ask.found[200:300]]}, url)


def _repeating_ten(ask: Ask, bundle: Json) -> Json:
    start = (ask.page - 1) * 100
    again = [entry(one, ask.base) for one in ask.found[max(0, start - 10) : start]]
    return {**bundle, "entry": [*again, *bundle["entry"]]}


def _second_version(resource: Json) -> Json:
    value = {**resource["valueQuantity"], "value": 9999}
    return {**resource, "meta": {"versionId": "2", "lastUpdated": "2025-06-01T10:05:00Z"}, "valueQuantity": value}


def _newer_on_page_6(ask: Ask, bundle: Json) -> Json:
    """Ten of page 3 once more, amended."""
    again = [entry(_second_version(one), ask.base) for one in ask.found[200:210]]
    return {**bundle, "entry": [*again, *bundle["entry"]]} if ask.page == 6 else bundle


def _older_on_page_6(ask: Ask, bundle: Json) -> Json:
    """The same the other way round: page 3 has the amended ones, page 6 those from before."""
    if ask.page == 3:
        return {
            **bundle,
            "entry": [*(entry(_second_version(one), ask.base) for one in ask.found[200:210]), *bundle["entry"][10:]],
        }
    again = [entry(one, ask.base) for one in ask.found[200:210]]
    return {**bundle, "entry": [*again, *bundle["entry"]]} if ask.page == 6 else bundle


def _without_meta(resource: Json) -> Json:
    return {name: value for name, value in resource.items() if name != "meta"}


def _not_comparable(ask: Ask, bundle: Json) -> Json:
    """Ten amended ones of page 3 stand on page 6 as they were before, and neither says when it changed."""
    if ask.page != 6:
        return bundle
    older = [entry(_without_meta(observation(number)), ask.base) for number in range(200, 210)]
    return {**bundle, "entry": [*older, *bundle["entry"]]}


def _amended(held: list[Json]) -> list[Json]:
    """What a read by id gives: the amended ones, without saying when that was."""
    ids = {f"o{number}" for number in range(200, 210)}
    return [_without_meta(_second_version(one)) if one["id"] in ids else one for one in held]


def _empty(page: int, total: int) -> Fault:
    def spoil(ask: Ask, bundle: Json) -> Json:
        return {**bundle, "total": total, "entry": [] if ask.page == page else bundle["entry"]}

    return Fault(bundle=lambda ask, bundle: spoil(ask, bundle) if ask.type == "Observation" else bundle)


def _announcing(total: int, when_counted: int) -> Fault:
    """Another total on every page, and one more for `_summary=count`."""

    def spoil(ask: Ask, bundle: Json) -> Json:
        return {**bundle, "total": when_counted if ask.is_count else total} if ask.type == "Observation" else bundle

    return Fault(bundle=spoil)


def _by_offset(ask: Ask, bundle: Json) -> Json:
    """`_offset` is looked at."""
    if not ask.parameter("_offset"):
        return _without_next(bundle) if ask.page == 7 else bundle
    start = int(ask.parameter("_offset"))
    page = [entry(one, ask.base) for one in ask.found[start : start + 100]]
    url = f"{ask.base}/Observation?patient=p1&_offset={start + 100}"
    bundle = {**bundle, "entry": page}
    return _with_next(bundle, url) if start + 100 < len(ask.found) else _without_next(bundle)


def _redirecting(target: Callable[[Ask], str]) -> Callable[[Ask], Reply]:
    return lambda ask: Reply(307, headers={"Location": target(ask)})


def _moved(ask: Ask) -> Reply:
    return Reply(301, headers={"Location": f"{ask.base}2/Observation?patient=p1&page=5"})


def _many(held: list[Json]) -> list[Json]:
    return [*(one for one in held if one["resourceType"] != "Observation"), *spread_observations(12_000)]


_CAPPED = replace(
    _refusing(lambda ask: ask.page > OFFSET_LIMIT // 500, _status(400, "offset beyond 10000", X_Reason="cap")),
    records=_many,
    page_size=500,
    lasts=True,
)
FAULTS |= {
    "loop": _linking(_this_page, range(3, 4)),
    "fresh": _spoiling_pages(_only_the_third),
    "dup": _spoiling_pages(_repeating_ten),
    "vers": _spoiling_pages(_newer_on_page_6),
    "vers-reversed": _spoiling_pages(_older_on_page_6),
    "vers-incomparable": replace(_spoiling_pages(_not_comparable), records=_amended, lasts=True),
    "emptymid-900": _empty(5, 900),
    "emptymid-1000": _empty(5, 1000),
    "emptyfirst": _empty(1, 900),
    "short": _spoiling_pages(lambda ask, bundle: _without_next(bundle) if ask.page == 7 else bundle),
    "short-offset": _spoiling_pages(_by_offset),
    "less": _announcing(900, 900),
    "more": _announcing(1100, 1100),
    "more-recounted": _announcing(1100, 1000),
    "rel": _linking(lambda ask, url: _path(url)),
    "rel-query": _linking(lambda ask, url: f"?page={ask.page + 1}"),
    "host": _linking(lambda ask, url: ask.other_host + _path(url)),
    "host-outside": _linking(lambda ask, url: f"{ask.other_host}/elsewhere{_path(url)}"),
    "downgrade": _linking(lambda ask, url: ask.here + _path(url), range(5, 10)),
    "file": _linking(lambda ask, url: "file:///etc/passwd", range(5, 6)),
    "file-ftp": _linking(lambda ask, url: f"ftp://127.0.0.1{_path(url)}", range(5, 6)),
    "file-noscheme": _linking(lambda ask, url: "//evil.example/x", range(5, 6)),
    "file-user": _linking(lambda ask, url: "http://host@evil.example/x", range(5, 6)),
    "file-port": _linking(lambda ask, url: re.sub(r"(:\d+)/", r"\1\1/", url, count=1), range(5, 6)),
    "redir": _refusing(lambda ask: ask.page == 5 and ask.base.startswith(ask.here), _redirecting(lambda ask: f"{ask.other_host}{urlsplit(ask.base).path}/Observation?patient=p1&page=5")),
    "redir-path": _refusing(lambda ask: ask.page == 5 and ask.place == "fhir", _moved),
    "cap": _CAPPED,
    "cap-nodate": replace(_CAPPED, not_offered=("date",)),
}  # fmt: skip

# --- E. Content of the answer -----------------------------------------------------------------------------------------


def _of_another(resource: Json) -> Json:
    return {**resource, "subject": {"reference": "Patient/p2"}}


def _ten_foreign(ask: Ask, bundle: Json) -> Json:
    if ask.page != 5:
        return bundle
    foreign = [entry(_of_another(one["resource"]), ask.base) for one in bundle["entry"][:10]]
    return {**bundle, "entry": [*foreign, *bundle["entry"][10:]]}


def _half_foreign(ask: Ask, bundle: Json) -> Json:
    entries = bundle["entry"]
    mixed = [entry(_of_another(one["resource"]), ask.base) if at % 2 else one for at, one in enumerate(entries)]
    return {**bundle, "entry": mixed}


def _half_vital_signs(held: list[Json]) -> list[Json]:
    odd = {f"o{number}": vital_sign(number) for number in range(1, 1000, 2)}
    return [odd.get(one["id"], one) for one in held]


def _with_self(ask: Ask, bundle: Json, query: str) -> Json:
    links = [link for link in bundle["link"] if link["relation"] != "self"]
    return {**bundle, "link": [{"relation": "self", "url": f"{ask.base}/Observation?{query}"}, *links]}


def _warned(ask: Ask, bundle: Json) -> Json:
    outcome = operation_outcome("warning", "The response may not contain the entire record")
    outcome["issue"][0]["details"]["coding"] = [
        {"system": "urn:oid:1.2.840.114350.1.13.0.1.7.2.657369", "code": "4119"}
    ]
    return {**bundle, "entry": [*bundle["entry"], {"resource": outcome, "search": {"mode": "outcome"}}]}


#: Longer than what may be repeated of it.
FATAL_TEXT = "The database is being moved to another cabinet. " + "Please be patient. " * 20
_FATAL = resource_reply(operation_outcome("fatal", FATAL_TEXT, "exception"))


def _only_an_outcome(ask: Ask, bundle: Json) -> Json:
    only = {"resource": operation_outcome("error", "The search could not be run"), "search": {"mode": "outcome"}}
    return {**_without_next(bundle), "total": 0, "entry": [only]}


def _first_entry(page: int, make: Callable[[Json], Json]) -> Fault:
    def spoil(ask: Ask, bundle: Json) -> Json:
        first, *rest = bundle["entry"]
        return {**bundle, "entry": [make(first), *rest]} if ask.page == page else bundle

    return _spoiling_pages(spoil)


def _lacking(name: str) -> Callable[[Json], Json]:
    def make(one: Json) -> Json:
        return {**one, "resource": {key: value for key, value in one["resource"].items() if key != name}}

    return make


def _renamed(names: dict[int, str]) -> Callable[[list[Json]], list[Json]]:
    ids = {f"o{number}": observation(number, id=name) for number, name in names.items()}
    return lambda held: [ids.get(one["id"], one) for one in held]


LONG_ID = "e" + "x7-" * 29
ODD_IDS = ("../../etc/passwd", "a/b?c#d", "x%2F..%2Fy")
FAULTS |= {
    "foreign": _spoiling_pages(_ten_foreign),
    "foreign-mixed": _spoiling_pages(_half_foreign),
    "ignored": Fault(
        records=_half_vital_signs,
        ignores=("category",),
        bundle=lambda ask, bundle: _with_self(ask, bundle, "patient=p1") if ask.page else bundle,
        lasts=True,
    ),
    "liar": Fault(
        records=_half_vital_signs,
        ignores=("category",),
        bundle=lambda ask, bundle: _with_self(ask, bundle, "patient=p1&category=laboratory") if ask.page else bundle,
        lasts=True,
    ),
    "oo": _spoiling_pages(_warned),
    **_always_and_once("oofatal", 5, lambda reply: _FATAL),
    "oofatal-only": _spoiling_pages(_only_an_outcome),
    "noid": _first_entry(5, _lacking("id")),
    "longid": Fault(records=_renamed({400: LONG_ID}), lasts=True),
    "pathid": Fault(records=_renamed(dict(zip((400, 401, 402), ODD_IDS, strict=True))), lasts=True),
    "null": _first_entry(5, lambda one: {**one, "resource": None}),
    "null-notype": _first_entry(5, _lacking("resourceType")),
}
