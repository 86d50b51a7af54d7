"""What the first pass asks: who is in the cohort. Each finds pairs of a kind (`patient`, `group`, an identifier) and what it is.

Which types each looks at is in `types`: where a source holds none of them there is nothing to be found.
"""

from collections.abc import Callable, Collection, Sequence, Set
from typing import NamedTuple, Protocol, TypeVar

import msgspec

from dm_fhir.fhir.resource import NOT_READABLE, Reference, Resource, local_reference
from dm_fhir.sync.mapper import Mapper
from dm_fhir.sync.scan.questions import Head, Question
from dm_fhir.sync.scan.scanned import Scanned

#: The kinds of what is found.
PATIENT, GROUP = "patient", "group"

#: In place of an element that is not there.
NOTHING = msgspec.Raw()
#: What says which drug it is that was given.
_SAY_DRUG = ("medicationCodeableConcept", "medicationReference", "contained")
#: What a record says of its drug or disease, as bytes.
_Said = TypeVar("_Said")


class CohortQuestion(Question, Protocol):
    """A question of the first pass."""

    @property
    def types(self) -> Collection[str]: ...


class GivenDrug(msgspec.Struct, frozen=True):
    """Whoever was given the study drug, by its codes or as one of these `medications`. Medications that are the drug are kept.

    A Medication may stand behind the administration that refers to it: administrations are asked again with those that were kept.
    """

    mapper: Mapper
    medications: frozenset[str] = frozenset()
    remembered: dict[bytes | tuple[bytes, ...], bool] = msgspec.field(default_factory=dict)

    @property
    def types(self) -> Collection[str]:
        """Once Medications are known, the administrations alone."""
        return ("MedicationAdministration",) if self.medications else ("MedicationAdministration", "Medication")

    @property
    def head(self) -> type[Head]:
        """With what says which drug it is, as bytes."""
        return _DrugHead

    def suspects(self, heads: "Sequence[_DrugHead]") -> Sequence[int]:
        """The administrations of the drug, and Medications where they are asked for."""
        said = {
            bytes(head.medicationCodeableConcept)
            if head.medicationReference
            is head.contained
            is NOTHING  # as in most: a call for each costs more than the rest
            else _said_of_drug(head)
            for head in heads
        }
        _remember(self.remembered, said, self._is_given)
        given = {one for one in said if self.remembered[one]}
        if not given and "Medication" not in [head.resourceType for head in heads]:
            return ()
        return [
            index
            for index, head in enumerate(heads)
            if head.resourceType in self.types
            and (head.resourceType != "MedicationAdministration" or _said_of_drug(head) in given)
        ]

    def _is_given(self, drug: bytes | tuple[bytes, ...]) -> bool:
        """Whether an administration that says this of its drug, and nothing else, is one of the study drug."""
        values = (drug,) if isinstance(drug, bytes) else drug
        said = [b',"%b":%b' % (name.encode(), value) for name, value in zip(_SAY_DRUG, values, strict=False) if value]
        body = b'{"resourceType":"MedicationAdministration"%b}' % b"".join(said)
        return self.mapper.gives_drug(body, self.medications)

    def answer(self, resource: Resource, scanned: Scanned) -> None:
        """Note the patient, keep the Medication."""
        if resource.type == "MedicationAdministration":
            if self.mapper.gives_drug(resource.body, self.medications):
                _find_patient(resource.subject, scanned)
        elif resource.type == "Medication" and not self.medications and self.mapper.is_drug(resource.body):
            scanned.keep(resource)


class Diagnosed(msgspec.Struct, frozen=True):
    """Whoever has a diagnosis that the tables call the disease."""

    mapper: Mapper
    remembered: dict[bytes, bool] = msgspec.field(default_factory=dict)

    @property
    def types(self) -> Collection[str]:
        """Conditions."""
        return ("Condition",)

    @property
    def head(self) -> type[Head]:
        """With the code, as bytes."""
        return _CodeHead

    def suspects(self, heads: "Sequence[_CodeHead]") -> Sequence[int]:
        """The Conditions with a code of the disease."""
        said = {bytes(head.code) for head in heads}
        _remember(self.remembered, said, self._is_disease)
        meant = {one for one in said if self.remembered[one]}
        if not meant:
            return ()
        return [
            index for index, head in enumerate(heads) if head.resourceType == "Condition" and bytes(head.code) in meant
        ]

    def _is_disease(self, code: bytes) -> bool:
        """Whether a Condition with this code, of which nothing else is known, is one of the disease."""
        return self.mapper.is_disease(b'{"resourceType":"Condition","code":%b}' % (code or b"{}"))

    def answer(self, resource: Resource, scanned: Scanned) -> None:
        """Note the patient."""
        if resource.type == "Condition" and self.mapper.is_disease(resource.body):
            _find_patient(resource.subject, scanned)


class Identified(NamedTuple):
    """The patients with these identifiers, each `system|value`; what is found has the identifier for its kind."""

    identifiers: frozenset[str]

    @property
    def types(self) -> Collection[str]:
        """Patients."""
        return ("Patient",)

    @property
    def head(self) -> type[Head]:
        """With the identifiers."""
        return _IdentifiedHead

    def suspects(self, heads: "Sequence[_IdentifiedHead]") -> Sequence[int]:
        """Those with one of the identifiers."""
        return [
            index
            for index, head in enumerate(heads)
            if head.resourceType == "Patient" and not self.identifiers.isdisjoint(_texts(head.identifier))
        ]

    def answer(self, resource: Resource, scanned: Scanned) -> None:
        """Note which identifier is whose."""
        if resource.type == "Patient":
            scanned.found += self.found_in(resource.body, resource.reference)

    def found_in(self, body: bytes, patient: str) -> list[tuple[str, str]]:
        """Those of the identifiers that this patient has, each with whose it is."""
        try:
            found = self.identifiers.intersection(_texts(_IDENTIFIED.decode(body).identifier))
        except NOT_READABLE:
            return []
        return [(text, patient) for text in sorted(found)]


class InGroup(NamedTuple):
    """The active members of a Group that are patients; that the Group is there at all."""

    group: str

    @property
    def types(self) -> Collection[str]:
        """Groups."""
        return ("Group",)

    @property
    def head(self) -> type[Head]:
        """Type and id."""
        return Head

    def suspects(self, heads: Sequence[Head]) -> Sequence[int]:
        """The one Group."""
        id_ = self.group.removeprefix("Group/")
        return [index for index, head in enumerate(heads) if head.resourceType == "Group" and head.id == id_]

    def answer(self, resource: Resource, scanned: Scanned) -> None:
        """Note its members."""
        if resource.reference != self.group:
            return
        scanned.found.append((GROUP, self.group))
        try:
            group = _GROUP.decode(resource.body)
        except NOT_READABLE:
            return
        for one in group.member:
            if not one.inactive:
                _find_patient(local_reference(one.entity.reference or ""), scanned)


class Linked(NamedTuple):
    """The patients whom a Patient calls the same person as one of the `members`."""

    mapper: Mapper
    members: frozenset[str]

    @property
    def types(self) -> Collection[str]:
        """Patients."""
        return ("Patient",)

    @property
    def head(self) -> type[Head]:
        """With the links."""
        return _LinkedHead

    def suspects(self, heads: "Sequence[_LinkedHead]") -> Sequence[int]:
        """Those that have links."""
        return [index for index, head in enumerate(heads) if bytes(head.link) and head.resourceType == "Patient"]

    def answer(self, resource: Resource, scanned: Scanned) -> None:
        """Note both ends of a link of which one is a member."""
        if resource.type == "Patient":
            for _, other in self.mapper.merges(resource.body):
                if not self.members.isdisjoint((resource.reference, other)):
                    scanned.found += [(PATIENT, resource.reference), (PATIENT, other)]


class _DrugHead(Head, frozen=True, gc=False):
    medicationCodeableConcept: msgspec.Raw = NOTHING
    medicationReference: msgspec.Raw = NOTHING
    contained: msgspec.Raw = NOTHING


class _CodeHead(Head, frozen=True, gc=False):
    code: msgspec.Raw = NOTHING


class _Identifier(msgspec.Struct, frozen=True, gc=False):
    system: str | None = None
    value: str | None = None


class _IdentifiedHead(Head, frozen=True):
    identifier: tuple[_Identifier, ...] = ()


class _LinkedHead(Head, frozen=True, gc=False):
    link: msgspec.Raw = NOTHING


class _Member(msgspec.Struct, frozen=True):
    entity: Reference = Reference()
    inactive: bool = False


class _Group(msgspec.Struct, frozen=True):
    member: tuple[_Member, ...] = ()


_IDENTIFIED = msgspec.json.Decoder(_IdentifiedHead)
_GROUP = msgspec.json.Decoder(_Group)
#: Records name their codes alike, byte for byte: of so many different ways it is remembered what they mean.
_MOST_REMEMBERED = 10_000


def _remember(remembered: dict[_Said, bool], said: Set[_Said], is_meant: Callable[[_Said], bool]) -> None:
    """Add the answers for what these records say that has not been asked before."""
    if len(remembered) > _MOST_REMEMBERED:
        remembered.clear()
    for one in said - remembered.keys():
        remembered[one] = is_meant(one)


def _said_of_drug(head: _DrugHead) -> bytes | tuple[bytes, ...]:
    if head.medicationReference is head.contained is NOTHING:
        return bytes(head.medicationCodeableConcept)
    return tuple(bytes(getattr(head, name)) for name in _SAY_DRUG)


def _texts(identifiers: Collection[_Identifier]) -> list[str]:
    return [f"{one.system or ''}|{one.value}" for one in identifiers]


def _find_patient(reference: str | None, scanned: Scanned) -> None:
    if reference is not None and reference.startswith("Patient/"):
        scanned.found.append((PATIENT, reference))
