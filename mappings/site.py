"""One site's mappings in one hand: its tables, its zone, the study's drug."""

import hashlib
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple
from zoneinfo import ZoneInfo

import msgspec

from dm_fhir.config import Config, Site
from dm_fhir.errors import ConfigError
from dm_fhir.mappings import imported_observation, outcome_observation, patient, provenance, questionnaire_response
from dm_fhir.mappings.case import Record, read_case
from dm_fhir.mappings.codes import Row, Tables, load_tables
from dm_fhir.mappings.condition import DENIED, Diagnosis, statuses
from dm_fhir.mappings.datatypes import coding_in, read_unambiguous
from dm_fhir.mappings.imported_observation import ImportedResource
from dm_fhir.mappings.medication import (
    Given,
    Medications,
    concept,
    medication_concept,
    named,
    read_coded,
    read_medications,
)
from dm_fhir.mappings.outcome_names import pattern_faults
from dm_fhir.mappings.outcome_observation import OutcomeResource
from dm_fhir.mappings.scope import Scope, codes_of
from dm_fhir.model.case import Case, Outcome
from dm_fhir.model.definitions import Definitions
from dm_fhir.model.document import encode
from dm_fhir.outcomes import battery

#: Kinds whose codes are searched for; the others only say what the elements of a record mean.
_ASKED_FOR = ("condition", "measurement", "medication")
#: Raised whenever the mappings make something else of the same records.
VERSION = "4"


class SiteMapper(NamedTuple):
    """How this site's records become cases, and outcomes become its Observations."""

    site: str
    timezone: str
    drug: str
    tables: Tables
    known: Scope
    definitions: Definitions = Definitions()

    @property
    def fingerprint(self) -> str:
        """The tables, the drug, the zone, the study's definitions, and the versions of mappings and rules, each by its name."""
        parts = {
            "mappings": VERSION,
            "rules": battery.VERSION,
            "tables": self.tables.fingerprint,
            "drug": self.drug,
            "zone": self.timezone,
            "definitions": hashlib.sha256(encode(self.definitions)).hexdigest()[:16],
        }
        return "; ".join(f"{name} {value}" for name, value in parts.items())

    def drug_codes(self) -> Sequence[tuple[str, str]]:
        """The codes (system, code) by which the study drug is found."""
        return self.tables.under_every_name(self._drug_row().codes)

    def gives_drug(self, body: bytes, medications: Collection[str]) -> bool:
        """Whether a MedicationAdministration is one of the study drug, by its codes or as one of these `Medication/id`.

        Whatever else of it cannot be read: then it is a finding of a case, and its patient is not lost.
        """
        try:
            record = read_unambiguous(body, Given)
            concept = medication_concept(record, self.tables, {})
        except msgspec.DecodeError:
            return False
        if concept is not None:
            return concept.variable == self.drug
        reference = record.medicationReference.reference if record.medicationReference else None
        return named(reference or "") in medications

    def is_drug(self, body: bytes) -> bool:
        """Whether a Medication is the study drug, by its codes, whatever else of it cannot be read."""
        try:
            found = concept(read_coded(body))
        except msgspec.DecodeError:
            return False
        return self.tables.concept("medication", found.codings, found.text).variable == self.drug

    @property
    def scope(self) -> str:
        """Changes whenever other codes are known: then what was kept before is no longer all that is wanted."""
        known = sorted(key for key in self.tables.by_code if key[0] in _ASKED_FOR)
        forms = sorted(self.tables.forms)
        return hashlib.sha256(repr((known, forms) if forms else known).encode()).hexdigest()[:16]

    @property
    def reads_forms(self) -> bool:
        """Whether a table names a questionnaire that gives a score: then responses are asked for."""
        return bool(self.tables.forms)

    def codes_of(self, type_name: str) -> Sequence[str]:
        """The codes, without their systems, by which a type is searched."""
        return codes_of(self.tables, type_name)

    def is_mapped(self, type_name: str, body: bytes, concept: bytes = b"") -> bool:
        """Whether the tables know a code of this record, or the questionnaire that it answers."""
        if type_name == "QuestionnaireResponse":
            return questionnaire_response.is_known(body, self.tables)
        if type_name == "Observation" and b'"contained"' in body and not self.is_own(body):
            return True  # the parts of a panel may be inside it; the mapping looks at each
        return self.known.knows(type_name, body, concept)

    def disease_codes(self) -> Sequence[tuple[str, str]]:
        """The codes (system, code) of the diagnoses that are the disease."""
        rows = [row for (kind, _), row in self.tables.rows.items() if kind == "condition" and row.diagnosis]
        return self.tables.under_every_name(code for row in rows for code in row.codes)

    def is_disease(self, body: bytes) -> bool:
        """Whether a Condition is a diagnosis of the disease, by its codes, whatever else cannot be read; one that was refuted is none."""
        try:
            record = read_unambiguous(body, Diagnosis)
        except msgspec.DecodeError:
            return False
        row = self.tables.row("condition", map(coding_in, record.code.coding)) if record.code else None
        return row is not None and row.diagnosis and statuses(record).isdisjoint(DENIED)

    def is_own(self, body: bytes) -> bool:
        """Whether an Observation is one that we wrote."""
        return outcome_observation.is_own(body)

    def merges(self, body: bytes) -> Sequence[tuple[str, str]]:
        """The patients whose records are this Patient's too: `replaced-by` or `replaces`, and `Patient/id`."""
        return patient.merges(body)

    def medications(self, records: Iterable[Record]) -> Medications:
        """The site's Medications under every name that may call them; None for one that cannot be read."""
        return read_medications(records)

    def case(self, reference: str, records: Iterable[Record], medications: Medications) -> Case:
        """A patient's records as a case with its outcomes."""
        case = read_case(reference, self.site, self.timezone, self.drug, records, self.tables, medications, self.known)
        found = battery.outcomes(case, self._drug_row().label_dose_mg, self.definitions)
        return msgspec.structs.replace(case, outcomes=found)

    @property
    def written_as(self) -> str:
        """Changes whenever the same outcome would be written otherwise."""
        return f"{outcome_observation.VERSION}; {self.drug}; {self.timezone}"

    def identifier(self, patient: str, variable: str, about: str) -> str:
        """The business identifier of an outcome; `about` is the record it belongs to, else its visit, else ""."""
        return outcome_observation.identifier(self.drug, patient, variable, about)

    def ready(self, outcome: Outcome, patient: str, status: str = "final") -> OutcomeResource:
        """An outcome that has a time, as it is written with this status. Raises NotWritable where FHIR has no room for it."""
        return outcome_observation.to_fhir(outcome, self.drug, patient, ZoneInfo(self.timezone), status)

    @property
    def imported_system(self) -> str:
        """The system of the identifiers of imported scores."""
        return imported_observation.IDENTIFIER_SYSTEM

    def is_imported(self, reference: str) -> bool:
        """Whether `Observation/id` in the store is a score that was read from a table."""
        return imported_observation.identifier_of(reference) is not None

    def ready_import(self, body: bytes) -> ImportedResource:
        """An imported score of the store as it is written, withdrawn or not."""
        return imported_observation.to_server(body, ZoneInfo(self.timezone))

    def provenance(self, targets: Sequence[str], recorded: str, activity: str) -> bytes:
        """The Provenance of what was written in one transmission: references with versions, an instant, what was done."""
        return provenance.to_fhir(targets, recorded, activity)

    def is_own_provenance(self, body: bytes) -> bool:
        """Whether a Provenance says that this program has written its targets."""
        return provenance.is_own(body)

    def taken_back(self, body: bytes) -> bytes:
        """What we wrote, as it is written when it no longer holds."""
        return outcome_observation.as_entered_in_error(body)

    def _drug_row(self) -> Row:
        return self.tables.rows["medication", self.drug]


def site_mapper(config: Config, site: Site) -> SiteMapper:
    """The mappings of `site`.

    Raises ConfigError for a faulty table, a study drug that no table knows, or a choice of outcomes that there are not.
    """
    return site_mappers(config, [site])[site.name]


class SiteMappers(dict[str, SiteMapper]):
    """The mappings of each site, by its name. Whoever asks for those of a site in `faults` gets its ConfigError."""

    def __init__(self) -> None:
        super().__init__()
        self.faults: dict[str, ConfigError] = {}

    def __missing__(self, site: str) -> SiteMapper:
        raise self.faults[site]


def site_mappers(config: Config, sites: Iterable[Site]) -> SiteMappers:
    """The mappings of each site. Tables that several sites have are read once.

    A fault of some sites' tables is these sites' alone; raises ConfigError as `site_mapper` if it is so at all of them.
    """
    read: dict[tuple[Path, ...], tuple[Tables, Scope]] = {}
    found = SiteMappers()
    for site in sites:
        try:
            if site.tables not in read:
                tables = load_tables(site.tables)
                read[site.tables] = tables, Scope(tables)
            found[site.name] = _mapper(config, site, *read[site.tables])
        except ConfigError as error:
            found.faults[site.name] = error
    if found.faults and not found:
        raise next(iter(found.faults.values()))
    return found


def _mapper(config: Config, site: Site, tables: Tables, known: Scope) -> SiteMapper:
    row = tables.rows.get(("medication", config.drug))
    if row is None or not row.codes:
        raise ConfigError(
            f"no mapping table of site {site.name} knows the study drug '{config.drug}'",
            hint=f'add a table with [[medication]] variable = "{config.drug}", new = true and its codes to tables of the site',
        )
    if unknown := [f"push.outcomes: {fault}" for fault in pattern_faults(site.push.outcomes, tables.rows.values())]:
        raise ConfigError(f"[site.push] of site {site.name} names outcomes that there are not:", faults=unknown)
    return SiteMapper(site.name, site.timezone, config.drug, tables, known, config.definitions)
