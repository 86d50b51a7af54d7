"""What the first pass asks: who is in the cohort. Each finds pairs of a kind (`patient`, `medication`, …) and what it is.

Which types each looks at is in `types`: where a source holds none of them there is nothing to be found.
"""

from collections.abc import Collection, Sequence
from typing import NamedTuple, Protocol

import msgspec

from dm_fhir.fhir.resource import NOT_READABLE, Reference, Resource, local_reference
from dm_fhir.store.resources import Stored
from dm_fhir.sync.mapper import Mapper
from dm_fhir.sync.scan.questions import Head, Question
from dm_fhir.sync.scan.scanned import Scanned

#: The kinds of what is found.
PATIENT, MEDICATION, GROUP = "patient", "medication", "group"


class CohortQuestion(Question, Protocol):
    """A question of the first pass."""

    @property
    def types(self) -> Collection[str]: ...


class GivenDrug(NamedTuple):
    """Whoever was given the study drug, by its codes or as one of these `medications`; and what calls a Medication that is it.

    A Medication may stand behind the administration that refers to it: what is found of them is asked with again.
    """

    mapper: Mapper
    medications: frozenset[str] = frozenset()

    @property
    def types(self) -> Collection[str]:
        """Once Medications are known, the administrations alone."""
        return ("MedicationAdministration",) if self.medications else ("MedicationAdministration", "Medication")

    @property
    def head(self) -> type[Head]:
        """Type and id."""
        return Head

    def suspects(self, heads: Sequence[Head]) -> Sequence[int]:
        """All of these types."""
        return _of_types(heads, self.types)

    def answer(self, resource: Resource, scanned: Scanned) -> None:
        """Note the patient, or the names of the Medication."""
        if resource.type == "MedicationAdministration":
            if self.mapper.gives_drug(resource.body, self.medications):
                _find_patient(resource.subject, scanned)
        elif resource.type == "Medication" and self.mapper.is_drug(resource.body):
            stored = Stored(resource.type, resource.id, resource.version, resource.last_updated, resource.body)
            names = {resource.reference, *self.mapper.medications([stored])}
            scanned.found += [(MEDICATION, name) for name in sorted(names)]


class Diagnosed(NamedTuple):
    """Whoever has a diagnosis that the tables call the disease."""

    mapper: Mapper

    @property
    def types(self) -> Collection[str]:
        """Conditions."""
        return ("Condition",)

    @property
    def head(self) -> type[Head]:
        """Type and id."""
        return Head

    def suspects(self, heads: Sequence[Head]) -> Sequence[int]:
        """All Conditions."""
        return _of_types(heads, self.types)

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
            try:
                found = self.identifiers.intersection(_texts(_IDENTIFIED.decode(resource.body).identifier))
            except NOT_READABLE:
                return
            scanned.found += [(text, resource.reference) for text in sorted(found)]


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


class _Identifier(msgspec.Struct, frozen=True, gc=False):
    system: str | None = None
    value: str | None = None


class _IdentifiedHead(Head, frozen=True):
    identifier: tuple[_Identifier, ...] = ()


class _LinkedHead(Head, frozen=True, gc=False):
    link: msgspec.Raw = msgspec.Raw()


class _Member(msgspec.Struct, frozen=True):
    entity: Reference = Reference()
    inactive: bool = False


class _Group(msgspec.Struct, frozen=True):
    member: tuple[_Member, ...] = ()


_IDENTIFIED = msgspec.json.Decoder(_IdentifiedHead)
_GROUP = msgspec.json.Decoder(_Group)


def _of_types(heads: Sequence[Head], types: Collection[str]) -> Sequence[int]:
    return [index for index, head in enumerate(heads) if head.resourceType in types]


def _texts(identifiers: Collection[_Identifier]) -> list[str]:
    return [f"{one.system or ''}|{one.value}" for one in identifiers]


def _find_patient(reference: str | None, scanned: Scanned) -> None:
    if reference is not None and reference.startswith("Patient/"):
        scanned.found.append((PATIENT, reference))
