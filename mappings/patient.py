"""Patient <-> Subject (https://hl7.org/fhir/R4/patient.html). Name, address and telecom are never read."""

from typing import Literal

import msgspec

from dm_fhir.mappings.datatypes import (
    Coding,
    Extension,
    Identifier,
    Meta,
    Reference,
    coding_in,
    coding_out,
    identifiers_in,
    identifiers_out,
    local_id,
    read_unambiguous,
)
from dm_fhir.mappings.medication import named
from dm_fhir.model.case import Coding as ModelCoding
from dm_fhir.model.case import Link, Source, Subject

#: The elements that survive the way there and back.
SUPPORTED = (
    "resourceType", "id", "active", "identifier.system", "identifier.value", "gender", "birthDate", "deceasedBoolean",
    "deceasedDateTime", "link.type", "link.other.reference",
)  # fmt: skip

_RACE = "http://hl7.org/fhir/us/core/StructureDefinition/us-core-race"
_ETHNICITY = "http://hl7.org/fhir/us/core/StructureDefinition/us-core-ethnicity"
_ABSENT = "http://hl7.org/fhir/StructureDefinition/data-absent-reason"
_MERGING = ("replaced-by", "replaces")
_TEST_PATIENT = Coding("http://terminology.hl7.org/CodeSystem/v3-ActReason", "HTEST")


class AbsentReason(msgspec.Struct, frozen=True, omit_defaults=True):
    """Extension on a primitive: url, and the code where it says why there is no value."""

    url: str
    valueCode: str | None = None


class Element(msgspec.Struct, frozen=True, omit_defaults=True):
    """What FHIR keeps beside a primitive: its extensions."""

    extension: tuple[AbsentReason, ...] = ()


class PatientLink(msgspec.Struct, frozen=True, omit_defaults=True):
    """Patient.link: other, type."""

    other: Reference
    type: str


class _Linked(msgspec.Struct, frozen=True):
    link: tuple[PatientLink, ...] = ()


class Patient(msgspec.Struct, frozen=True, omit_defaults=True, tag_field="resourceType", tag="Patient"):
    """The view of a Patient."""

    id: str | None = None
    meta: Meta | None = None
    extension: tuple[Extension, ...] = ()
    identifier: tuple[Identifier, ...] = ()
    active: bool | None = None
    gender: Literal["male", "female", "other", "unknown"] | None = None
    birthDate: str | None = None
    birthDateElement: Element | None = msgspec.field(default=None, name="_birthDate")
    deceasedBoolean: bool | None = None
    deceasedDateTime: str | None = None
    link: tuple[PatientLink, ...] = ()


def from_fhir(patient: Patient, source: Source) -> Subject:
    """Who the patient is, as far as a case series needs it."""
    return Subject(
        source=source,
        active=patient.active,
        identifiers=identifiers_in(patient.identifier),
        sex=patient.gender,
        birth_date=patient.birthDate,
        birth_date_absent=_absent(patient.birthDateElement),
        deceased=patient.deceasedBoolean,
        deceased_at=patient.deceasedDateTime,
        races=_codings(patient, _RACE, "ombCategory"),
        race_details=_codings(patient, _RACE, "detailed"),
        ethnicities=_codings(patient, _ETHNICITY, "ombCategory"),
        ethnicity_details=_codings(patient, _ETHNICITY, "detailed"),
        links=tuple(Link(link.other.reference or "", link.type) for link in patient.link),
        test_patient=any(_is_test(label) for label in (patient.meta.security if patient.meta else ())),
    )


def merges(body: bytes) -> tuple[tuple[str, str], ...]:
    """The patients whose records are this one's too: `replaced-by` or `replaces`, and `Patient/id`."""
    try:
        links = read_unambiguous(body, _Linked).link
    except msgspec.DecodeError:
        return ()  # the whole record does not read either, and is a finding
    found = ((link.type, named(link.other.reference or "")) for link in links if link.type in _MERGING)
    return tuple((kind, other) for kind, other in found if other.startswith("Patient/"))


def to_fhir(subject: Subject) -> Patient:
    """The Patient resource that says what `subject` knows."""
    return Patient(
        id=local_id(subject.source),
        meta=Meta((_TEST_PATIENT,)) if subject.test_patient else None,
        extension=(
            *_extension(_RACE, subject.races, subject.race_details),
            *_extension(_ETHNICITY, subject.ethnicities, subject.ethnicity_details),
        ),
        identifier=identifiers_out(subject.identifiers),
        active=subject.active,
        gender=subject.sex,  # type: ignore[arg-type]  # read from this same value set
        birthDate=subject.birth_date,
        birthDateElement=_absent_out(subject.birth_date_absent),
        deceasedBoolean=subject.deceased,
        deceasedDateTime=subject.deceased_at,
        link=tuple(PatientLink(Reference(link.other or None), link.type) for link in subject.links),
    )


def _absent(element: Element | None) -> str | None:
    """Why the record has no birth date, such as `masked`; None if it does not say."""
    extensions = element.extension if element else ()
    return next((one.valueCode for one in extensions if one.url == _ABSENT and one.valueCode), None)


def _absent_out(reason: str | None) -> Element | None:
    return Element((AbsentReason(_ABSENT, reason),)) if reason is not None else None


def _is_test(label: Coding) -> bool:
    return (label.system, label.code) == (_TEST_PATIENT.system, _TEST_PATIENT.code)


def _codings(patient: Patient, url: str, part_url: str) -> tuple[ModelCoding, ...]:
    parts = [part for extension in patient.extension if extension.url == url for part in extension.extension]
    return tuple(coding_in(part.valueCoding) for part in parts if part.url == part_url and part.valueCoding is not None)


def _extension(
    url: str, categories: tuple[ModelCoding, ...], details: tuple[ModelCoding, ...]
) -> tuple[Extension, ...]:
    """US Core's race or ethnicity: OMB categories, details, and the text that the profile demands."""
    if not categories and not details:
        return ()
    text = ", ".join(coding.display or coding.code or "" for coding in (*categories, *details))
    broad = tuple(Extension("ombCategory", valueCoding=coding_out(coding)) for coding in categories)
    narrow = tuple(Extension("detailed", valueCoding=coding_out(coding)) for coding in details)
    return (Extension(url, extension=(*broad, *narrow, Extension("text", valueString=text))),)
