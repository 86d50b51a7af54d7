"""The checks of the way in: key files, endpoint, certificate, clocks, login."""

import re
from datetime import UTC, datetime
from urllib.parse import urlsplit

from msgspec.structs import replace

from dm_fhir.config import Site
from dm_fhir.errors import DmFhirError, LoginRefused, RequestFailed, ServerUnavailable, in_a_line
from dm_fhir.fhir.connection import Connection
from dm_fhir.fhir.search import search_url
from dm_fhir.fhir.tls import certificate_expiry, private_files_faults
from dm_fhir.sync.check import Check, answer_of
from dm_fhir.sync.puller import Puller

_PLACE = re.compile(r"\b(GET|POST) \S+")
_FEWEST_DAYS = 30
_MOST_OFFSET_SECONDS = 30
#: Whoever is asked for only to see whether the login is taken.
_NOBODY = "dm-fhir-doctor"
_LOOPBACK = ("127.0.0.1", "localhost", "::1")
#: The logins that have a token, and scopes.
WITH_TOKEN = ("client-secret", "smart-backend")


def check_files(site: Site) -> Check:
    """Whether others can read the site's keys and secrets."""
    faults = private_files_faults(site)
    if not faults:
        return Check("keys and secrets", "works", "no file of them can be read by others")
    consequence = "whoever can read it can log in as this study"
    return Check("keys and secrets", "degrades", "; ".join(faults), consequence, mend="chmod 600, and who has read it?")


def check_endpoint(puller: Puller, known_server: str | None) -> Check:
    """What answers, and which row of the vendor table holds for it. `known_server` is what earlier pulls met there."""
    capability, vendor = puller.capability, puller.vendor
    is_other = known_server not in (None, capability.name)
    forgotten = f"; it was {known_server} before, and what was found out of that no longer counts" if is_other else ""
    row = f"asked by the row {vendor.name} of the vendor table" if vendor else "in no row of the vendor table"
    return Check(
        "endpoint",
        "works",
        f"{capability.name}, FHIR {capability.fhirVersion}; {row}{forgotten}",
        request="GET metadata",
        answer=f"200, FHIR {capability.fhirVersion}",
    )


def check_certificate(site: Site, endpoint: str) -> Check:
    """How the way to the endpoint is secured, and for how long."""
    address = urlsplit(endpoint)
    if address.scheme != "https":
        return _unsecured(address.hostname in _LOOPBACK)
    until = certificate_expiry(endpoint, site)
    if until is None:
        return Check("certificate", "works", "trusted; until when could not be seen", answer="trusted")
    days = (until - datetime.now(UTC)).days
    said = f"valid until {until:%Y-%m-%d}, {days} days more"
    if days >= _FEWEST_DAYS:
        return Check("certificate", "works", said, answer=said)
    return Check(
        "certificate",
        "degrades",
        said,
        consequence=f"after {until:%Y-%m-%d} every pull ends with exit code {ServerUnavailable.exit_code}",
        ask=f"renew the certificate of the endpoint before {until:%Y-%m-%d}",
        answer=said,
    )


def check_clocks(connection: Connection) -> Check:
    """Whether the server's clock and ours agree. After a first answer."""
    offset = connection.login.clock_offset_seconds
    if offset is None:
        return Check(
            "clocks",
            "degrades",
            "the server's answers carry no Date",
            consequence="what has changed is asked for by this machine's clock alone",
            ask="let the answers carry a Date header",
            mend="see whether this machine's clock is set by NTP",
            answer="no Date header",
        )
    if abs(offset) <= _MOST_OFFSET_SECONDS:
        said = f"they agree within {max(1, round(abs(offset)))} s"
        return Check("clocks", "works", said, answer=said)
    said = f"the server's is {_amount(abs(offset))} {'ahead of' if offset > 0 else 'behind'} ours"
    return Check(
        "clocks",
        "degrades",
        said,
        consequence="logins and changes go by the server's clock; when it is set right, changes in between may be missed "
        "until the next full pull",
        ask=f"see whether the server's clock is set by NTP: {said}",
        mend="see whether this machine's clock is set by NTP",
        answer=said,
    )


def check_login(connection: Connection, site: Site) -> Check:
    """The token endpoint's answer, and one small question. Raises LoginRefused, ServerUnavailable."""
    url = search_url("Patient", [("_id", _NOBODY), ("_count", "1")])
    try:
        headers = connection.login.headers()
    except LoginRefused as error:
        # No patient is spoken of there: the hospital gets to read the token endpoint's own words.
        return replace(stopped(error, site), answer=error.message)
    said = "accepted" if headers else "none is asked for"
    answer = said
    try:
        status = connection.get(url, accept=(400, 403, 404)).status
    except RequestFailed as error:
        # Whatever it is, it is no refusal of the login; the planned searches tell whether it matters.
        said, answer = f"{said}; {in_a_line(error)}", answer_of(error)
    else:
        if status >= 300:
            said, answer = f"{said}; a first question is answered {status}, which decides nothing", str(status)
    return Check("login", "works", said, request=f"{method_of(site)}, then GET {url}", answer=answer)


def stopped(error: DmFhirError, site: Site) -> Check:
    """The check after which there is nothing more to try: the login is refused, the server is not there, or is none."""
    said, code = in_a_line(error), error.exit_code
    if isinstance(error, LoginRefused):
        mend = "see [site.auth] of the config"
        return Check("login", "fails", said, _ENDS, _login_wish(site), mend, method_of(site), answer_of(error), code)
    if isinstance(error, ServerUnavailable):
        ask = _CERTIFICATE_WISH if error.reason == "tls" else "see whether the server is up, and lets this machine in"
        consequence = f"{_ENDS}; it can be repeated later"
        return Check("connection", "fails", said, consequence, ask, None, None, _without_place(error), code)
    if isinstance(error, RequestFailed):
        ask = "see why `GET metadata` is not answered"
        return Check("endpoint", "fails", said, _ENDS, ask, None, "GET metadata", answer_of(error), code)
    return Check("endpoint", "fails", said, _ENDS, _ENDPOINT_WISH, error.hint, None, _without_place(error), code)


def _without_place(error: DmFhirError) -> str:
    """Our own words about a server, without what was asked of it: that may name somebody."""
    return _PLACE.sub(r"\1 …", error.message.splitlines()[0])


_ENDS = "a pull ends at once, and reads nothing"
_ENDPOINT_WISH = (
    "tell us the addresses of the FHIR R4 endpoint and its token endpoint, and which certificates to trust and to show"
)
_CERTIFICATE_WISH = "see to the certificate of the endpoint: it is not valid now"


def _unsecured(is_here: bool) -> Check:
    if is_here:
        return Check("certificate", "works", "none is needed: the endpoint is on this machine", answer="plain http")
    return Check(
        "certificate",
        "degrades",
        "the endpoint is plain http",
        consequence="patient data and credentials go in the clear",
        ask="offer the endpoint by https",
        mend="then set the https address as endpoint",
        answer="plain http",
    )


def _amount(seconds: float) -> str:
    return f"{seconds / 60:.0f} min" if seconds >= 90 else f"{seconds:.0f} s"


def method_of(site: Site) -> str:
    """How the site's login is called."""
    return {
        "none": "no login",
        "basic": "user name and password (HTTP Basic)",
        "bearer": "a fixed bearer token",
        "client-secret": "OAuth 2.0 client credentials with a client secret",
        "smart-backend": "SMART Backend Services (private_key_jwt)",
    }[site.auth.method]


def _login_wish(site: Site) -> str:
    """What a hospital may have to do so that the login works."""
    if site.auth.method == "none":
        return "tell us how clients log in: none is set up on our side, and the server asks for one"
    if site.auth.method not in WITH_TOKEN:
        return "see whether our credential is valid"
    key = ", with its public key," if site.auth.method == "smart-backend" else ""
    return f"see whether the client {site.auth.client_id} is registered{key} and may have the scopes that it asks for"
