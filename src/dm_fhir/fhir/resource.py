"""What a resource says of itself without being read whole: type, id, version, whose it is. Its bytes stay as sent."""

import re
from collections.abc import Sequence
from hashlib import sha256

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


class _Reference(msgspec.Struct, frozen=True, gc=False):
    reference: str | None = None


class _Header(msgspec.Struct, frozen=True):
    resourceType: str | None = None
    id: str | None = None
    meta: _Meta | None = None
    subject: msgspec.Raw = msgspec.Raw()
    patient: msgspec.Raw = msgspec.Raw()


_HEADER = msgspec.json.Decoder(_Header)
_REFERENCE = msgspec.json.Decoder(_Reference)


def read_resource(body: bytes) -> Resource:
    """The resource in `body`. Raises Unusable: `no-resource`, `not-json`, `too-deep`, `unreadable`, `no-type` or `no-id`."""
    if body == b"null":
        raise Unusable("no-resource", "it is empty")
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


class _PlainHeader(msgspec.Struct, frozen=True, gc=False):
    resourceType: str = ""
    id: str = ""
    meta: _Meta = _Meta()
    subject: _Reference | None = None
    patient: _Reference | None = None
    code: msgspec.Raw = msgspec.Raw()
    medicationCodeableConcept: msgspec.Raw = msgspec.Raw()


class _PlainEntry(msgspec.Struct, frozen=True, gc=False):
    resource: _PlainHeader


class _PlainBundle(msgspec.Struct, frozen=True):
    entry: tuple[_PlainEntry, ...] = ()


_PLAIN = msgspec.json.Decoder(_PlainBundle)
_PLAIN_LINES = msgspec.json.Decoder(_PlainHeader)


def plainly_read(page: bytes, bodies: Sequence[bytes]) -> list[Resource] | None:
    """The resources of a page in which nothing is odd, in one go; None where a closer look is needed.

    `bodies` are the bytes of the page's entries, in order.
    """
    try:
        if not page.isascii():
            page.decode()  # the decoder does not look at the text that it passes over
        heads = [entry.resource for entry in _PLAIN.decode(page).entry]
    except NOT_READABLE:
        return None
    return None if any(head.resourceType == "OperationOutcome" for head in heads) else _plain(heads, bodies)


def plain_lines(bodies: Sequence[bytes]) -> list[Resource] | None:
    """The resources of lines that are known to be JSON in UTF-8, in one go; None where a closer look is needed."""
    try:
        heads = _PLAIN_LINES.decode_lines(b"\n".join(bodies))
    except NOT_READABLE:
        return None
    return _plain(heads, bodies) if len(heads) == len(bodies) else None


def _plain(heads: "Sequence[_PlainHeader]", bodies: Sequence[bytes]) -> list[Resource] | None:
    if "" in [head.resourceType for head in heads] or not all(map(FHIR_ID.fullmatch, [h.id for h in heads])):
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
            bytes(h.code) or bytes(h.medicationCodeableConcept),
        )
        for h, body in zip(heads, bodies, strict=True)
    ]


def _plain_subject(head: _PlainHeader) -> str | None:
    if head.resourceType == "Patient":
        return f"Patient/{head.id}"
    reference = head.subject.reference if head.subject is not None else None
    if reference is None and head.patient is not None:
        reference = head.patient.reference
    if reference is None or reference.count("/") == 1:  # `Type/id`, as most write it
        return reference
    return local_reference(reference)


def digest(body: bytes) -> str:
    """SHA-256 of the bytes, in hexadecimal."""
    return sha256(body).hexdigest()


def local_reference(reference: str) -> str:
    """`Type/id` of a reference however it is written: relative, absolute or with a version."""
    path = reference.partition("/_history/")[0].rstrip("/")
    return "/".join(path.split("/")[-2:])


def _subject(header: _Header) -> str | None:
    for raw in (header.subject, header.patient):
        if bytes(raw):
            try:
                reference = _REFERENCE.decode(raw).reference
            except NOT_READABLE:
                continue
            if reference:
                return local_reference(reference)
    return None
