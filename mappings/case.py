"""A patient's records -> Case. Every record is used, counted as left out, or a finding; none disappears."""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Protocol, TypeVar
from zoneinfo import ZoneInfo

import msgspec

from dm_fhir.mappings import adverse_event, condition, medication_administration, observation, patient, therapy
from dm_fhir.mappings.codes import Tables
from dm_fhir.mappings.datatypes import read
from dm_fhir.mappings.imported_observation import copied, identifier_of
from dm_fhir.mappings.medication import Medication
from dm_fhir.mappings.outcome_observation import is_own
from dm_fhir.model.case import (
    Administration,
    AdverseEvent,
    Assessment,
    Case,
    Condition,
    Finding,
    Source,
    Subject,
    Therapy,
)
from dm_fhir.model.dates import span


class Record(Protocol):
    """A stored resource. `version` is None where the server has no versions."""

    @property
    def type(self) -> str: ...
    @property
    def id(self) -> str: ...
    @property
    def version(self) -> str | None: ...
    @property
    def last_updated(self) -> str | None: ...
    @property
    def body(self) -> bytes: ...


def read_medications(records: Iterable[Record]) -> dict[str, Medication]:
    """The site's Medications by `Medication/id`. One that cannot be read is left out: what refers to it is unresolved."""
    found = {}
    for record in records:
        try:
            found[f"Medication/{record.id}"] = read(record.body, Medication)
        except msgspec.DecodeError:
            continue
    return found


def read_case(
    reference: str,
    site: str,
    timezone: str,
    drug: str,
    records: Iterable[Record],
    tables: Tables,
    medications: Mapping[str, Medication],
) -> Case:
    """The case that a patient's records at one site make, for a study of `drug`, without outcomes.

    Other Patients among the records are this one's from before they were merged, and say nothing of who it is.
    """
    reader = _Reader(reference, site, drug, ZoneInfo(timezone), tables, medications)
    inside = sorted(records, key=lambda r: (r.type, r.id))
    reader.imported = {name for record in inside if (name := identifier_of(f"{record.type}/{record.id}"))}
    for record in inside:
        reader.take(record)
    return Case(
        id=reference,
        site=site,
        timezone=timezone,
        subject=reader.subject,
        conditions=tuple(reader.conditions),
        administrations=tuple(reader.administrations),
        therapies=tuple(reader.therapies),
        assessments=tuple(reader.assessments),
        adverse_events=tuple(reader.adverse_events),
        findings=tuple(reader.findings),
        left_out=dict(sorted(reader.left_out.items())),
    )


View = TypeVar("View")
_PATH = re.compile(r"at `\$\.?([^`]*)`")


class _Reader:
    """What has been read of one patient so far."""

    def __init__(
        self,
        reference: str,
        site: str,
        drug: str,
        zone: ZoneInfo,
        tables: Tables,
        medications: Mapping[str, Medication],
    ) -> None:
        self.reference, self.site, self.drug = reference, site, drug
        self.zone, self.tables, self.medications = zone, tables, medications
        self.subject: Subject | None = None
        self.conditions: list[Condition] = []
        self.administrations: list[Administration] = []
        self.therapies: list[Therapy] = []
        self.assessments: list[Assessment] = []
        self.adverse_events: list[AdverseEvent] = []
        self.findings: list[Finding] = []
        self.left_out: Counter[str] = Counter()
        self.imported: set[str | None] = set()  # the identifiers of the scores that were read from tables

    def take(self, record: Record) -> None:
        """Read one record into its place; what cannot be read becomes a finding."""
        take = _TAKES.get(record.type)
        if take is None:
            self.left_out[f"{record.type}: not part of the case series"] += 1
            return
        reference = f"{record.type}/{record.id}"
        try:
            take(self, record, Source(self.site, reference, record.version, last_updated=record.last_updated))
        except msgspec.DecodeError as error:
            # The message may repeat a value; its path does not.
            path = _PATH.search(str(error))
            self.find("unreadable", "error", reference, "set aside", path[1] if path else None)

    def find(self, code: str, severity: str, reference: str, done: str, path: str | None = None) -> None:
        """Note something unusual."""
        self.findings.append(Finding(code, severity, reference, done, path))

    def check_times(self, reference: str, **times: str | None) -> None:
        """Note times that cannot be read, and those that had to borrow the site's zone."""
        for path, text in times.items():
            if text is None:
                continue
            try:
                if span(text, self.zone).zone_assumed:
                    self.find("zone_assumed", "information", reference, f"read in {self.zone.key}", path)
            except ValueError:
                self.find("time_unreadable", "warning", reference, "treated as unknown", path)

    def patient(self, record: Record, source: Source) -> None:
        subject = patient.from_fhir(read(record.body, patient.Patient), source)
        if source.reference != self.reference:
            self.left_out["Patient: merged into this one"] += 1
            return
        self.subject = subject
        self.check_times(source.reference, birthDate=self.subject.birth_date, deceasedDateTime=self.subject.deceased_at)

    def condition(self, record: Record, source: Source) -> None:
        found = condition.from_fhir(read(record.body, condition.Condition), source, self.tables)
        if found.verification_status in ("refuted", "entered-in-error"):
            self.left_out[f"Condition: {found.verification_status}"] += 1
        elif found.concept.variable is None:
            self.left_out["Condition: no code that the tables know"] += 1
        else:
            self.check_times(source.reference, onset=found.onset, abatement=found.abatement)
            self.conditions.append(found)

    def administration(self, record: Record, source: Source) -> None:
        view = read(record.body, medication_administration.MedicationAdministration)
        found = medication_administration.from_fhir(view, source, self.tables, self.medications)
        if found.medication is None and found.status != "entered-in-error":
            self.find(
                "medication_unresolved", "warning", source.reference, "not counted: which drug is unknown", "medication"
            )
        elif found.medication is None:
            self.left_out["MedicationAdministration: entered in error, drug unknown"] += 1
        elif found.medication.variable is None:
            self.left_out["MedicationAdministration: no code that the tables know"] += 1
        elif found.medication.variable != self.drug:
            self.left_out["MedicationAdministration: another drug"] += 1
        else:
            start = found.when or (found.during.start if found.during else None)
            self.check_times(source.reference, effective=start)
            if found.method is not None and found.method_status is None:
                self.find(
                    "method_without_meaning", "information", source.reference, "the status decides", "dosage.method"
                )
            self.administrations.append(found)

    def request(self, record: Record, source: Source) -> None:
        view = read(record.body, therapy.MedicationRequest)
        self.therapy(therapy.from_request(view, source, self.tables, self.medications), record.type)

    def statement(self, record: Record, source: Source) -> None:
        view = read(record.body, therapy.MedicationStatement)
        self.therapy(therapy.from_statement(view, source, self.tables, self.medications), record.type)

    def therapy(self, found: Therapy, kind: str) -> None:
        if found.status == "entered-in-error":
            self.left_out[f"{kind}: entered-in-error"] += 1
        elif found.medication.variable is None:
            self.left_out[f"{kind}: no code that the tables know"] += 1
        else:
            self.therapies.append(found)

    def observation(self, record: Record, source: Source) -> None:
        if is_own(record.body):
            self.left_out["Observation: written by dm-fhir"] += 1
            return
        found = observation.from_fhir(read(record.body, observation.Observation), source, self.tables)
        if copied(found.identifiers, self.imported) and not identifier_of(source.reference):
            self.left_out["Observation: copy of an imported score"] += 1
            return
        known = [part for part in (found.measured, *found.components) if part.concept.variable]
        if not known:
            self.left_out["Observation: no code that the tables know"] += 1
            return
        self.check_times(source.reference, effective=found.time)
        for part in known:
            if part.result.reason and found.status != "entered-in-error":
                self.find(part.result.reason, "warning", source.reference, "value not used", "value")
        self.assessments.append(found)

    def adverse_event(self, record: Record, source: Source) -> None:
        view = read(record.body, adverse_event.AdverseEvent)
        if view.actuality == "potential":
            self.left_out["AdverseEvent: potential, did not happen"] += 1
        else:
            self.adverse_events.append(adverse_event.from_fhir(view, source, self.tables))


_TAKES: dict[str, Callable[[_Reader, Record, Source], None]] = {
    "Patient": _Reader.patient,
    "Condition": _Reader.condition,
    "MedicationAdministration": _Reader.administration,
    "MedicationRequest": _Reader.request,
    "MedicationStatement": _Reader.statement,
    "Observation": _Reader.observation,
    "AdverseEvent": _Reader.adverse_event,
}
