"""What a server says of a request that it has not carried out."""

import re
from collections.abc import Sequence

import msgspec

from dm_fhir.fhir.resource import NOT_READABLE

#: The value of a parameter in an address: a signature, a token, a patient's number.
_VALUE = re.compile(r"([?&][\w.:%-]+=)[^\s&;,\"'<>()\[\]]+")


class _Text(msgspec.Struct, frozen=True):
    text: str | None = None


class _Issue(msgspec.Struct, frozen=True):
    severity: str | None = None
    code: str | None = None
    details: _Text | None = None
    diagnostics: str | None = None


class _Said(msgspec.Struct, frozen=True):
    issue: tuple[_Issue, ...] = ()
    error: str | None = None
    error_description: str | None = None


def server_says(body: bytes, hide: Sequence[str] = ()) -> str:
    """The sentence of an OperationOutcome or an OAuth error that helps, on one line, at most 200 characters; or nothing.

    A server may repeat what it was sent; `hide` is blotted out, and so is what looks like an identifier (five digits or more) and
    the values in the query of an address.
    """
    try:
        said = msgspec.json.decode(body, type=_Said)
    except NOT_READABLE:
        return ""
    texts = [(issue.details.text if issue.details else None) or issue.diagnostics or issue.code for issue in said.issue]
    text = next((text for text in (*texts, said.error_description, said.error) if text), "")
    for secret in sorted(filter(None, hide), key=len, reverse=True):  # one may begin as another does
        text = text.replace(secret, "…")
    text = _VALUE.sub(r"\1…", text)
    text = re.sub(r"\d(?:[\d-]{3,})\d", "…", text)
    return " ".join("".join(char if char.isprintable() else " " for char in text).split())[:200]
