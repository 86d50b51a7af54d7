"""What a bulk export hands out: its manifest (https://hl7.org/fhir/uv/bulkdata/STU2/export.html#response---complete-status).

Whatever of it can be read is used; what cannot is named, and nothing is taken for what it is not.
"""

import re
from collections.abc import Iterable, Sequence

import msgspec
from msgspec.structs import replace

from dm_fhir.errors import AnswerUnusable
from dm_fhir.fhir.resource import NOT_READABLE

#: How FHIR writes an instant: to the second at least, with its zone.
_INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d)", re.ASCII)
_TYPE = re.compile("[A-Z][A-Za-z]{2,63}")
_LISTS = ("output", "deleted", "error")


class ManifestFile(msgspec.Struct, frozen=True):
    """One file. `type` is a resource type, "" where the manifest names none for what is no output; `url` is absolute, on the server's own origin or not.

    `count` is how many lines it has by the manifest, None if that does not say.
    """

    type: str
    url: str
    count: int | None = None


class Manifest(msgspec.Struct, frozen=True):
    """A finished export. `transaction_time` is the instant as of which it is, as written: the `since` of the next one. None if
    the manifest names none that FHIR allows.

    `requires_access_token` is None where the manifest does not say. `faults` name what of it cannot be used, such as
    `output[3]: no url`: a file that is not there.
    """

    transaction_time: str | None
    request: str | None
    requires_access_token: bool | None
    output: tuple[ManifestFile, ...]
    deleted: tuple[ManifestFile, ...]
    error: tuple[ManifestFile, ...]
    faults: tuple[str, ...]
    next_url: str | None = None


class _Document(msgspec.Struct, frozen=True):
    resourceType: object = None
    transactionTime: object = None
    request: object = None
    requiresAccessToken: object = None
    output: object = msgspec.UNSET
    deleted: object = None
    error: object = None
    link: object = None


def read_manifest(body: bytes) -> Manifest:
    """The manifest in these bytes, its addresses as written. Raises AnswerUnusable if they are no manifest."""
    try:
        document = msgspec.json.decode(body, type=_Document)
    except NOT_READABLE:
        raise AnswerUnusable("the manifest of the export is not readable JSON", reason="not-fhir") from None
    if document.output is msgspec.UNSET:
        raise AnswerUnusable("what should be the manifest of the export has no output", reason="not-fhir")
    faults: list[str] = []
    files = {name: tuple(_files(getattr(document, name), name, faults)) for name in _LISTS}
    moment = document.transactionTime
    if not isinstance(moment, str) or not _INSTANT.fullmatch(moment):
        moment = None
    return Manifest(
        transaction_time=moment,
        request=document.request if isinstance(document.request, str) else None,
        requires_access_token=_flag(document.requiresAccessToken),
        output=files["output"],
        deleted=files["deleted"],
        error=files["error"],
        faults=tuple(faults),
        next_url=_next(document.link),
    )


def together(manifests: Sequence[Manifest]) -> Manifest:
    """The pages of one manifest as one; what stands in its head is the first's."""
    first = manifests[0]
    return replace(
        first,
        output=tuple(file for one in manifests for file in one.output),
        deleted=tuple(file for one in manifests for file in one.deleted),
        error=tuple(file for one in manifests for file in one.error),
        faults=tuple(fault for one in manifests for fault in one.faults),
        next_url=None,
    )


def _files(listed: object, name: str, faults: list[str]) -> Iterable[ManifestFile]:
    if listed is None:
        return
    if not isinstance(listed, list):
        faults.append(f"{name}: not a list")
        return
    for number, one in enumerate(listed):
        if not isinstance(one, dict):
            faults.append(f"{name}[{number}]: not an object")
        elif not isinstance(url := one.get("url"), str) or not url.strip():
            faults.append(f"{name}[{number}]: no url")
        elif name == "output" and not _type(one.get("type")):  # nobody would know that it was asked for
            faults.append(f"{name}[{number}]: no type")
        else:
            yield ManifestFile(_type(one.get("type")), url.strip(), _count(one.get("count")))


def _type(said: object) -> str:
    return said if isinstance(said, str) and _TYPE.fullmatch(said) else ""


def _count(said: object) -> int | None:
    """A whole number, also where it is written as a text."""
    if isinstance(said, str) and re.fullmatch("[0-9]{1,15}", said):
        return int(said)
    return said if isinstance(said, int) and not isinstance(said, bool) and said >= 0 else None


def _flag(said: object) -> bool | None:
    """true or false, also where it is written as a text."""
    if isinstance(said, str):
        return {"true": True, "false": False}.get(said.strip().lower())
    return said if isinstance(said, bool) else None


def _next(links: object) -> str | None:
    """Where the manifest goes on, for servers that hand it out in pages."""
    if not isinstance(links, list):
        return None
    found = [one.get("url") for one in links if isinstance(one, dict) and one.get("relation") == "next"]
    return next((url for url in found if isinstance(url, str) and url), None)
