"""What the second pass asks: what is the cohort's, and the Medications that these records refer to."""

from collections.abc import Sequence
from typing import NamedTuple

from dm_fhir.fhir.resource import NO_REFERENCE, Reference, Resource, local_reference
from dm_fhir.store.resources import Stored
from dm_fhir.sync.mapper import Mapper
from dm_fhir.sync.scan.questions import Head
from dm_fhir.sync.scan.scanned import Scanned


class OfPatients(NamedTuple):
    """The records of these patients, in references; `patients` None: whatever there is, of whomever.

    `types` are the types whose codes the tables are asked for, what they do not know is not kept; None: all is kept.
    """

    mapper: Mapper
    patients: frozenset[str] | None
    types: frozenset[str] | None

    @property
    def head(self) -> type[Head]:
        """With whose it is, where that is asked."""
        return Head if self.patients is None else _OfPatient

    def suspects(self, heads: "Sequence[_OfPatient]") -> Sequence[int]:
        """Those that say they are of one of the patients."""
        patients = self.patients
        if patients is None:
            return range(len(heads))
        named = {head.subject.reference for head in heads} | {head.patient.reference for head in heads}
        ours = {
            one
            for one in named
            if one is not None and (one in patients or (one.count("/") != 1 and local_reference(one) in patients))
        }
        if not ours and "Patient" not in [head.resourceType for head in heads]:
            return ()
        return [
            index
            for index, head in enumerate(heads)
            if head.subject.reference in ours
            or head.patient.reference in ours
            or (head.resourceType == "Patient" and f"Patient/{head.id}" in patients)
        ]

    def answer(self, resource: Resource, scanned: Scanned) -> None:
        """Keep it, unless it is another's, our own, or nothing that the tables know."""
        if self.patients is not None and resource.subject not in self.patients:
            return
        if resource.type == "Observation" and self.mapper.is_own(resource.body):
            scanned.notes["own_outcome"] += 1
        elif self._is_wanted(resource):
            scanned.keep(resource)
        else:
            scanned.notes["not_mapped"] += 1

    def _is_wanted(self, resource: Resource) -> bool:
        if self.types is None:
            return True
        return resource.type in self.types and self.mapper.is_mapped(resource.type, resource.body, resource.concept)


class TheseMedications(NamedTuple):
    """The Medications that go by one of these names: `Medication/id`, or what else a reference may call them."""

    mapper: Mapper
    names: frozenset[str]

    @property
    def head(self) -> type[Head]:
        """Type and id."""
        return Head

    def suspects(self, heads: Sequence[Head]) -> Sequence[int]:
        """All Medications: one may be called by its identifier."""
        return [index for index, head in enumerate(heads) if head.resourceType == "Medication"]

    def answer(self, resource: Resource, scanned: Scanned) -> None:
        """Keep it if it is one of them."""
        if resource.type == "Medication":
            stored = Stored(resource.type, resource.id, resource.version, resource.last_updated, resource.body)
            if not self.names.isdisjoint((resource.reference, *self.mapper.medications([stored]))):
                scanned.keep(resource)


class _OfPatient(Head, frozen=True, gc=False):
    subject: Reference = NO_REFERENCE
    patient: Reference = NO_REFERENCE
