"""Where a server gives out tokens, as it says itself: its smart-configuration, else its CapabilityStatement.

https://hl7.org/fhir/smart-app-launch/conformance.html
"""

from typing import NamedTuple
from urllib.parse import urlsplit

import msgspec

from dm_fhir.errors import ConfigError, RequestFailed
from dm_fhir.fhir.connection import TRY_AGAIN, Connection
from dm_fhir.fhir.resource import NOT_READABLE
from dm_fhir.fhir.transport import Answer

#: Answers that will be the same next time.
LASTING = tuple(status for status in range(300, 600) if status not in TRY_AGAIN)
_OAUTH_URIS = "http://fhir-registry.smarthealthit.org/StructureDefinition/oauth-uris"
_Json = dict[str, object]


class TokenEndpoint(NamedTuple):
    """Where to ask for a token. `lists` is what the server says of its logins, by key; `clock_answer` has its clock."""

    url: str
    lists: dict[str, list[str]]
    clock_answer: Answer | None


def find_token_endpoint(connection: Connection) -> TokenEndpoint:
    """The token endpoint of the connection's server; nothing secret is sent.

    Raises ConfigError if the server names none that a credential may go to; RequestFailed, ServerUnavailable.
    """
    answer = _ask(connection, ".well-known/smart-configuration", "application/json")
    configuration = _object(answer)
    found = configuration.get("token_endpoint")
    if not found:
        answer = _ask(connection, "metadata", "application/fhir+json")
        found = _of_capability(_object(answer))
    if not isinstance(found, str) or not found:
        raise ConfigError(
            "the server does not say where to ask for a token, neither in its smart-configuration nor in its /metadata",
            hint="ask the hospital for the token endpoint's address, and set token_url in [site.auth]",
        )
    if not _is_safe(found, connection.endpoint):
        raise ConfigError(
            "the server names a token endpoint without https, or none that is an address; no credential goes there",
            hint="ask the hospital for its https address, and set token_url in [site.auth]",
        )
    lists = {key: _texts(value) for key, value in configuration.items() if isinstance(value, list)}
    return TokenEndpoint(found, lists, answer)


def _ask(connection: Connection, path: str, media_type: str) -> Answer | None:
    """What the server has there; None if it sends us elsewhere, as to a page where people log in."""
    try:
        return connection.get(path, accept=LASTING, headers={"Accept": media_type}, anonymous=True)
    except RequestFailed as error:
        if error.reason == "foreign-redirect":
            return None
        raise


def _is_safe(url: str, endpoint: str) -> bool:
    """Whether the address is https, or plain http where the endpoint itself is that, on the same host."""
    try:
        there, here = urlsplit(url), urlsplit(endpoint)
        is_at_home = (there.scheme, here.scheme) == ("http", "http") and there.hostname == here.hostname
        usable = bool(there.hostname) and there.port != 0 and there.username is None
    except ValueError:  # half an IPv6 address, or a port that is no number
        return False
    return usable and (there.scheme == "https" or is_at_home)


def _object(answer: Answer | None) -> _Json:
    """The JSON object that was answered; an empty one for anything else."""
    if answer is None:
        return {}
    try:
        return msgspec.json.decode(answer.body, type=_Json)
    except NOT_READABLE:
        return {}


def _of_capability(capability: _Json) -> object:
    """The token endpoint in rest.security of a CapabilityStatement: servers from before smart-configuration have it there."""
    securities = [rest.get("security") for rest in _objects(capability.get("rest"))]
    oauth = [one for security in securities for one in _extensions(security) if one.get("url") == _OAUTH_URIS]
    tokens = [part.get("valueUri") for one in oauth for part in _extensions(one) if part.get("url") == "token"]
    return tokens[0] if tokens else None


def _extensions(value: object) -> list[_Json]:
    return _objects(value.get("extension")) if isinstance(value, dict) else []


def _objects(value: object) -> list[_Json]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def _texts(values: list[object]) -> list[str]:
    return [value for value in values if isinstance(value, str)]
