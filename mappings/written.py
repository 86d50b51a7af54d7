"""The resources that we write back (R4), as types: what is built of them has FHIR's structure, since mypy checks it.

What types cannot say is checked where a text comes from outside: `reference` and `date_time`. The tests hold the types against
fhir.resources and against R4's JSON Schema, over generated outcomes (docs/decisions/0005-what-is-written-is-typed.md).
"""

import re
from datetime import tzinfo
from decimal import Decimal
from functools import lru_cache

import msgspec

from dm_fhir.errors import NotWritable
from dm_fhir.model.dates import span, with_zone


class _Element(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel", gc=False):
    """A part of a resource; what is not given is not written."""


class Coding(_Element, frozen=True):
    """One code of one system."""

    system: str
    code: str
    display: str | None = None


class CodeableConcept(_Element, frozen=True):
    """Codes, words, or both."""

    coding: tuple[Coding, ...] = ()
    text: str | None = None


class Identifier(_Element, frozen=True):
    """A business identifier."""

    system: str
    value: str


class Reference(_Element, frozen=True):
    """Another resource, by its place or by its business identifier."""

    reference: str | None = None
    identifier: Identifier | None = None


class Quantity(_Element, frozen=True):
    """A number with its unit."""

    value: Decimal
    unit: str
    system: str
    code: str


class Annotation(_Element, frozen=True):
    """A note."""

    text: str


class Extension(_Element, frozen=True):
    """An extension whose value is a reference."""

    url: str
    value_reference: Reference


class Meta(_Element, frozen=True):
    """The profile that a resource claims."""

    profile: tuple[str, ...]


class DeviceName(_Element, frozen=True):
    """What a device is called."""

    name: str
    type: str


class DeviceVersion(_Element, frozen=True):
    """The version of a device or of a part of it."""

    type: CodeableConcept
    value: str


class Device(_Element, frozen=True, tag_field="resourceType", tag="Device"):
    """A device, contained in what it made."""

    id: str
    device_name: tuple[DeviceName, ...]
    type: CodeableConcept
    version: tuple[DeviceVersion, ...]


class Component(_Element, frozen=True):
    """One of several results of an Observation, or why it is not there."""

    code: CodeableConcept
    value_quantity: Quantity | None = None
    value_codeable_concept: CodeableConcept | None = None
    value_string: str | None = None
    data_absent_reason: CodeableConcept | None = None
    interpretation: tuple[CodeableConcept, ...] = ()


class Observation(_Element, frozen=True, tag_field="resourceType", tag="Observation"):
    """An Observation as we write it."""

    meta: Meta
    contained: tuple[Device, ...]
    identifier: tuple[Identifier, ...]
    status: str
    category: tuple[CodeableConcept, ...]
    code: CodeableConcept
    subject: Reference
    effective_date_time: str
    method: CodeableConcept
    device: Reference
    value_quantity: Quantity | None = None
    value_date_time: str | None = None
    value_codeable_concept: CodeableConcept | None = None
    data_absent_reason: CodeableConcept | None = None
    interpretation: tuple[CodeableConcept, ...] = ()
    note: tuple[Annotation, ...] = ()
    derived_from: tuple[Reference, ...] = ()
    extension: tuple[Extension, ...] = ()
    component: tuple[Component, ...] = ()


class Agent(_Element, frozen=True):
    """Who was active in what a Provenance tells."""

    type: CodeableConcept
    who: Reference


class Provenance(_Element, frozen=True, tag_field="resourceType", tag="Provenance"):
    """A Provenance as we write it."""

    contained: tuple[Device, ...]
    target: tuple[Reference, ...]
    recorded: str
    activity: CodeableConcept
    agent: tuple[Agent, ...]


_JSON = msgspec.json.Encoder(decimal_format="number")
_ID = r"[A-Za-z0-9\-._]+"
#: R4 allows ids of 64 characters without `_`; servers that give longer ones take them back.
_REFERENCE = re.compile(rf"[A-Z][A-Za-z]+/{_ID}(?:/_history/{_ID})?", re.ASCII)
_ZONE = r"(?:Z|[+-](?:0[0-9]|1[0-3]):[0-5][0-9]|[+-]14:00)"
_DATE_TIME = re.compile(
    rf"[0-9]{{4}}(?:-[0-9]{{2}}(?:-[0-9]{{2}}(?:T[0-9]{{2}}:[0-9]{{2}}:[0-9]{{2}}(?:\.[0-9]+)?{_ZONE})?)?)?", re.ASCII
)


def encoded(resource: Observation | Provenance) -> bytes:
    """The resource as FHIR JSON, its decimals with all their digits."""
    return _JSON.encode(resource)


@lru_cache(maxsize=4096)
def reference(text: str) -> Reference:
    """A reference to a resource on the same server, in a version or as it is. Raises NotWritable for what is none."""
    if _REFERENCE.fullmatch(text) is None:
        kind = text.partition("/")[0]
        kind = kind if kind.isascii() and kind.isalpha() else "record"
        raise NotWritable(f"it rests on a record ({kind}) whose id or version is none that FHIR allows")
    return Reference(text)


@lru_cache(maxsize=4096)
def date_time(text: str, zone: tzinfo) -> str:
    """A date as it is, or a time with seconds and a zone, that of `zone` if it had none. Raises NotWritable for neither."""
    try:
        written = with_zone(text, zone)
        if _DATE_TIME.fullmatch(written) is not None and span(written, zone):
            return written
    except ValueError:
        pass
    raise NotWritable("its time is none that FHIR allows")
