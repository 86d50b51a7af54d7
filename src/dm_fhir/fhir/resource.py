"""What a resource says of itself without being read whole: type, id, version, whose it is. Its bytes stay as sent."""

import re
from collections.abc import Sequence
from hashlib import sha256
from typing import Annotated

import msgspec

from dm_fhir.errors import DmFhirError

#: What decoding foreign bytes may raise: not JSON or of another shape, bad UTF-8, nested beyond the stack.
NOT_READABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


class Unusable(DmFhirError):
    """Bytes that cannot be kept as a resource; `reason` is one word for it."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class Resource(msgspec.Struct, frozen=True, gc=False):
    """A resource as bytes with what is needed to file it. `subject` is a reference as written, None if it has none.

    `hash` is the SHA-256 of the bytes: equal bytes need no second look. `concept` are the bytes of what it is about (`code`, or the
    drug), where they were read along; empty where they were not, or where there are none.
    """

    type: str
    id: str
    version: str | None
    last_updated: str | None
    subject: str | None
    body: bytes
    hash: str
    concept: bytes = b""

    @property
    def reference(self) -> str:
        """`Type/id`."""
        return f"{self.type}/{self.id}"


FHIR_ID = re.compile(r"[A-Za-z0-9\-.]+")


class _Meta(msgspec.Struct, frozen=True, gc=False):
    versionId: str | None = None
    lastUpdated: str | None = None


class Reference(msgspec.Struct, frozen=True, gc=False):
    """A reference, as far as it is one."""

    reference: str | None = None


class _Header(msgspec.Struct, frozen=True):
    resourceType: str | None = None
    id: str | None = None
    meta: _Meta | None = None
    subject: msgspec.Raw = msgspec.Raw()
    patient: msgspec.Raw = msgspec.Raw()


_HEADER = msgspec.json.Decoder(_Header)
_REFERENCE = msgspec.json.Decoder(Reference)


def read_resource(body: bytes) -> Resource:
    """The resource in `body`.

    Raises Unusable: `no-resource`, `invalid-utf-8`, `not-json`, `too-deep`, `unreadable`, `no-type` or `no-id`.
    """
    if body == b"null":
        raise Unusable("no-resource", "it is empty")
    if not is_utf8(body):
        raise Unusable("invalid-utf-8", "it is not UTF-8")
    try:
        header = _HEADER.decode(body)
    except msgspec.ValidationError:
        raise Unusable("unreadable", "its resourceType, id or meta is not of the type that FHIR says") from None
    except RecursionError:
        raise Unusable("too-deep", "it is nested too deeply") from None
    except NOT_READABLE:
        raise Unusable("not-json", "it is not JSON") from None
    if not header.resourceType:
        raise Unusable("no-type", "it has no resourceType")
    if not header.id:
        raise Unusable("no-id", "it has no id")
    meta = header.meta or _Meta()
    subject = f"Patient/{header.id}" if header.resourceType == "Patient" else _subject(header)
    return Resource(header.resourceType, header.id, meta.versionId, meta.lastUpdated, subject, body, digest(body))


class _Owned(msgspec.Struct, frozen=True):
    resourceType: str
    id: str
    subject: msgspec.Raw = msgspec.Raw()
    patient: msgspec.Raw = msgspec.Raw()


def read_without_meta(body: bytes) -> Resource | None:
    """What a resource says of itself whose `meta` cannot be read; None where that is not all that is wrong with it."""
    try:
        header = msgspec.json.decode(body, type=_Owned)
    except NOT_READABLE:
        return None
    if not header.resourceType or not header.id:
        return None
    subject = f"Patient/{header.id}" if header.resourceType == "Patient" else _subject(header)
    return Resource(header.resourceType, header.id, None, None, subject, body, digest(body))


#: In place of a reference that is not there.
NO_REFERENCE = Reference()
#: One that is empty is as good as none.
Filled = Annotated[str, msgspec.Meta(min_length=1)]


class PlainHead(msgspec.Struct, frozen=True, gc=False):
    """What is read of a resource in which nothing is odd."""

    resourceType: Filled
    id: Filled
    meta: _Meta = _Meta()
    subject: Reference = NO_REFERENCE
    patient: Reference = NO_REFERENCE
    code: msgspec.Raw = msgspec.Raw()
    medicationCodeableConcept: msgspec.Raw = msgspec.Raw()


class _PlainEntry(msgspec.Struct, frozen=True, gc=False):
    resource: PlainHead


class _PlainBundle(msgspec.Struct, frozen=True):
    entry: tuple[_PlainEntry, ...] = ()


_PLAIN = msgspec.json.Decoder(_PlainBundle)
_PLAIN_LINES = msgspec.json.Decoder(PlainHead)


def plainly_read(page: bytes, bodies: Sequence[bytes]) -> list[Resource] | None:
    """The resources of a page in which nothing is odd, in one go; None where a closer look is needed.

    `bodies` are the bytes of the page's entries, in order.
    """
    if not is_utf8(page):
        return None
    try:
        heads = [entry.resource for entry in _PLAIN.decode(page).entry]
    except NOT_READABLE:
        return None
    return None if any(head.resourceType == "OperationOutcome" for head in heads) else plain_resources(heads, bodies)


def plain_heads(bodies: Sequence[bytes]) -> list[PlainHead] | None:
    """The heads of resources of which each is known to be one JSON value in UTF-8; None where a closer look is needed."""
    try:
        return _PLAIN_LINES.decode_lines(b"\n".join(bodies))
    except NOT_READABLE:
        return None


def plain_resources(heads: Sequence[PlainHead], bodies: Sequence[bytes]) -> list[Resource] | None:
    """The resources with these heads, in one go; None where a closer look is needed."""
    if not all(map(FHIR_ID.fullmatch, [head.id for head in heads])):
        return None
    return [
        Resource(
            h.resourceType,
            h.id,
            h.meta.versionId,
            h.meta.lastUpdated,
            _plain_subject(h),
            body,
            sha256(body).hexdigest(),
            _plain_concept(h),
        )
        for h, body in zip(heads, bodies, strict=True)
    ]


def _plain_subject(head: PlainHead) -> str | None:
    if head.resourceType == "Patient":
        return f"Patient/{head.id}"
    reference = head.subject.reference or head.patient.reference
    if not reference or (reference.count("/") == 1 and reference[-1] != "/"):  # `Type/id`, as most write it
        return reference or None
    return local_reference(reference)


def _plain_concept(head: PlainHead) -> bytes:
    """What it is about; an element of that name that its type does not have says nothing."""
    names_a_drug = head.resourceType.startswith("Medication") and head.resourceType != "Medication"
    return bytes(head.medicationCodeableConcept if names_a_drug else head.code)


def is_utf8(text: bytes) -> bool:
    """Whether the bytes are UTF-8. The decoder does not look at the text that it passes over."""
    if text.isascii():
        return True
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True


def digest(body: bytes) -> str:
    """SHA-256 of the bytes, in hexadecimal."""
    return sha256(body).hexdigest()


def local_reference(reference: str) -> str:
    """`Type/id` of a reference however it is written: relative, absolute or with a version."""
    path = reference.partition("/_history/")[0].rstrip("/")
    return "/".join(path.split("/")[-2:])


def _subject(header: _Header | _Owned) -> str | None:
    for raw in (header.subject, header.patient):
        if bytes(raw):
            try:
                reference = _REFERENCE.decode(raw).reference
            except NOT_READABLE:
                continue
            if reference:
                return local_reference(reference)
    return None
