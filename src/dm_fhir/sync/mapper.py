"""What a pass needs of the mappings. They live on a floor above and are handed in."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Protocol

from dm_fhir.model.case import Case, Outcome
from dm_fhir.store.resources import Stored


class Ready(Protocol):
    """An outcome or score ready to be written: its business identifier, and the Observation as FHIR JSON."""

    @property
    def identifier(self) -> str: ...
    @property
    def body(self) -> bytes: ...


class Mapper(Protocol):
    """One site's mappings: its tables, its zone, the study's drug."""

    @property
    def fingerprint(self) -> str:
        """Changes whenever the same records would give another case: `name value` parts, parted by `; `."""

    def drug_codes(self) -> Sequence[tuple[str, str]]:
        """The codes (system, code) by which the study drug is found."""

    def gives_drug(self, body: bytes, medications: Collection[str]) -> bool:
        """Whether a MedicationAdministration is one of the study drug, by its codes or as one of these `Medication/id`."""

    def is_drug(self, body: bytes) -> bool:
        """Whether a Medication is the study drug, by its codes."""

    @property
    def scope(self) -> str:
        """Changes whenever the tables know other codes than before."""

    @property
    def reads_forms(self) -> bool:
        """Whether a table names a questionnaire that gives a score: then responses are asked for."""

    def codes_of(self, type_name: str) -> Sequence[str]:
        """The codes, without their systems, by which a type is searched."""

    def is_mapped(self, type_name: str, body: bytes, concept: bytes = b"") -> bool:
        """Whether the tables know a code of this record."""

    def disease_codes(self) -> Sequence[tuple[str, str]]:
        """The codes (system, code) of the diagnoses that are the disease."""

    def is_disease(self, body: bytes) -> bool:
        """Whether a Condition is a diagnosis of the disease."""

    def is_own(self, body: bytes) -> bool:
        """Whether an Observation is one that we wrote."""

    def merges(self, body: bytes) -> Sequence[tuple[str, str]]:
        """The patients whose records are this Patient's too: `replaced-by` or `replaces`, and `Patient/id`."""

    def medications(self, records: Iterable[Stored]) -> Mapping[str, Any]:
        """The site's Medications, to be handed back to `case`."""

    def case(self, reference: str, records: Iterable[Stored], medications: Mapping[str, Any]) -> Case:
        """A person's records as a case with its outcomes; who it is says the Patient of this reference alone."""

    @property
    def written_as(self) -> str:
        """Changes whenever the same outcome would be written otherwise."""

    def identifier(self, patient: str, variable: str, about: str) -> str:
        """The business identifier of an outcome; `about` is the record it belongs to, else its visit, else ""."""

    def ready(self, outcome: Outcome, patient: str, status: str = "final") -> Ready:
        """An outcome that has a time, as it is written with this status. Raises NotWritable where FHIR has no room for it."""

    def provenance(self, targets: Sequence[str], recorded: str, activity: str) -> bytes:
        """The Provenance of what was written in one transmission, as FHIR JSON.

        `targets` are references with versions where the server has them, `recorded` is an instant, `activity` CREATE, UPDATE or NULLIFY.
        """

    def is_own_provenance(self, body: bytes) -> bool:
        """Whether a Provenance says that this program has written its targets."""

    @property
    def imported_system(self) -> str:
        """The system of the identifiers of imported scores."""

    def is_imported(self, reference: str) -> bool:
        """Whether `Observation/id` in the store is a score that was read from a table."""

    def ready_import(self, body: bytes) -> Ready:
        """An imported score of the store as it is written, withdrawn or not."""

    def taken_back(self, body: bytes) -> bytes:
        """What we wrote, as it is written when it no longer holds."""
