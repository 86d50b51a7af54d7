"""A patient's records -> Case. Every record is used, counted as left out, or a finding; none disappears."""

import re
from collections import Counter
from collections.abc import Callable, Iterable
from operator import attrgetter
from typing import Protocol, TypeVar
from zoneinfo import ZoneInfo

import msgspec

from dm_fhir.mappings import (
    adverse_event,
    assessments,
    condition,
    medication_administration,
    observation,
    patient,
    questionnaire_response,
    therapy,
    unusual,
)
from dm_fhir.mappings.adverse_event_extensions import STATUS
from dm_fhir.mappings.after_death import censored
from dm_fhir.mappings.codes import Tables
from dm_fhir.mappings.condition import DENIED
from dm_fhir.mappings.datatypes import Reference, read_unambiguous
from dm_fhir.mappings.imported_observation import copied, identifier_of
from dm_fhir.mappings.medication import Medications, concept, named
from dm_fhir.mappings.outcome_observation import is_own
from dm_fhir.mappings.rows import is_excluded
from dm_fhir.mappings.scope import Scope
from dm_fhir.model.case import (
    Administration,
    AdverseEvent,
    Assessment,
    Case,
    Concept,
    Condition,
    Finding,
    Source,
    Subject,
    Therapy,
)
from dm_fhir.model.dates import span
from dm_fhir.model.findings import finding
from dm_fhir.model.json_text import is_ambiguous


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


def read_case(
    reference: str,
    site: str,
    timezone: str,
    drug: str,
    records: Iterable[Record],
    tables: Tables,
    medications: Medications,
    known: Scope | None = None,
) -> Case:
    """The case that a patient's records at one site make, for a study of `drug`, without outcomes.

    Other Patients among the records are this one's from before they were merged, and say nothing of who it is. `known` is
    the scope of the same tables; it remembers from case to case which codes they know.
    """
    reader = _Reader(reference, site, drug, ZoneInfo(timezone), tables, medications, known or Scope(tables))
    inside = sorted(records, key=attrgetter("type", "id"))
    observations = (record.id for record in inside if record.type == "Observation")
    reader.imported = {name for id_ in observations if (name := identifier_of(id_))}
    for record in inside:
        reader.take(record)
    reader.finish()
    case = Case(
        id=reference,
        site=site,
        timezone=timezone,
        subject=reader.subject,
        conditions=tuple(reader.conditions),
        administrations=tuple(reader.administrations),
        other_administrations=tuple(reader.other_administrations),
        therapies=tuple(reader.therapies),
        assessments=tuple(reader.assessments),
        adverse_events=tuple(reader.adverse_events),
        findings=tuple(reader.findings),
        accepts_preliminary=tables.accepts_preliminary,
    )
    settled = assessments.settled(case)
    return msgspec.structs.replace(
        case,
        assessments=settled.kept,
        findings=(*case.findings, *settled.findings),
        left_out=dict(sorted((reader.left_out + settled.left_out).items())),
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
        medications: Medications,
        known: Scope,
    ) -> None:
        self.reference, self.site, self.drug = reference, site, drug
        self.zone, self.tables, self.medications, self.known = zone, tables, medications, known
        self.subject: Subject | None = None
        self.conditions: list[Condition] = []
        self.administrations: list[Administration] = []
        self.other_administrations: list[Administration] = []
        self.therapies: list[Therapy] = []
        self.assessments: list[Assessment] = []
        self.adverse_events: list[AdverseEvent] = []
        self.findings: list[Finding] = []
        self.left_out: Counter[str] = Counter()
        #: Which drug each record of a drug is about, as the tables call it, by the record's reference.
        self.drugs: dict[str, str | None] = {}
        self.imported: set[str | None] = set()  # the identifiers of the scores that were read from tables

    def take(self, record: Record) -> None:
        """Read one record into its place; what cannot be read becomes a finding."""
        take = _TAKES.get(record.type)
        if take is None:
            self.left_out[f"{record.type}: not part of the case series"] += 1
            return
        reference = f"{record.type}/{record.id}"
        if is_ambiguous(record.body):
            self.find("unreadable", reference)
            return
        if self.known.is_nothing_to_us(record.type, record.body, self.medications) and not self.may_be_a_copy(record):
            self.left_out[f"{record.type}: no code that the tables know"] += 1
            return
        try:
            take(self, record, Source(self.site, reference, record.version, last_updated=record.last_updated))
        except msgspec.DecodeError as error:
            # The message may repeat a value; its path does not.
            path = _PATH.search(str(error))
            self.find("unreadable", reference, path[1] if path else None)

    def may_be_a_copy(self, record: Record) -> bool:
        """Whether it may be what the server has of a score that was read from a table."""
        return record.type == "Observation" and bool(self.imported)

    def find(self, code: str, reference: str, path: str | None = None, *, done: str | None = None) -> None:
        """Note something unusual; `code` is a row of model/findings.py."""
        self.findings.append(finding(code, reference, path, done=done))

    def check_times(self, reference: str, **times: str | None) -> None:
        """Note times that cannot be read, and those that had to borrow the site's zone."""
        for path, text in times.items():
            if text is None:
                continue
            try:
                if span(text, self.zone).zone_assumed:
                    self.find("zone_assumed", reference, path, done=f"read in {self.zone.key}")
            except ValueError:
                self.find("time_unreadable", reference, path)

    def note(self, reference: str, found: Iterable[unusual.Unusual]) -> None:
        """Note what is unusual about a record that is used."""
        for one in found:
            self.find(one.code, reference, one.path, done=one.done)

    def check_periods(self, reference: str, part: Administration | Therapy | Condition) -> None:
        """Note periods that end before they begin."""
        for path, period in unusual.periods_of(part).items():
            try:
                reversed_ = span(period.end or "", self.zone).before(span(period.start or "", self.zone))
            except ValueError:
                continue
            if reversed_:
                self.find("period_reversed", reference, path)

    def finish(self) -> None:
        """What only all records together tell: which drugs were suspected, and what lies after the death."""
        self.adverse_events = [self._with_suspected_drugs(event) for event in self.adverse_events]
        death = self.subject.deceased_at if self.subject else None
        self.administrations, after = censored(self.administrations, death, self.zone)
        self.other_administrations, others = censored(self.other_administrations, death, self.zone)
        self.assessments, measured = censored(self.assessments, death, self.zone)
        self.adverse_events, events = censored(self.adverse_events, death, self.zone)
        for reference in (*after, *others, *measured, *events):
            self.left_out[f"{reference.partition('/')[0]}: after death"] += 1
            self.find("after_death", reference)

    def _with_suspected_drugs(self, event: AdverseEvent) -> AdverseEvent:
        suspects = tuple(
            msgspec.structs.replace(one, drug=self._drug_behind(one.reference)) if one.reference else one
            for one in event.suspects
        )
        return msgspec.structs.replace(event, suspects=suspects)

    def _drug_behind(self, reference: str) -> str | None:
        """What the tables call the drug of an administration, an order, a statement or a Medication."""
        medication = self.medications.get(named(reference))
        if medication is None:
            return self.drugs.get(named(reference))
        codes = concept(medication, self.medications)
        return self.tables.concept("medication", codes.codings, codes.text).variable

    def patient(self, record: Record, source: Source) -> None:
        subject = patient.from_fhir(read_unambiguous(record.body, patient.Patient), source)
        if source.reference != self.reference:
            self.left_out["Patient: merged into this one"] += 1
            return
        self.subject = subject
        self.check_times(source.reference, **unusual.times_of_subject(subject))
        self.note(source.reference, unusual.of_subject(subject))

    def condition(self, record: Record, source: Source) -> None:
        found = condition.from_fhir(read_unambiguous(record.body, condition.Condition), source, self.tables)
        if found.verification_status in DENIED:
            self.left_out[f"Condition: {found.verification_status}"] += 1
        elif found.concept.variable is None:
            self.left_out["Condition: no code that the tables know"] += 1
        else:
            self.check_times(source.reference, **unusual.times_of_condition(found))
            self.check_periods(source.reference, found)
            self.note(source.reference, unusual.of_condition(found, condition.meanings(found.concept, self.tables)))
            self.conditions.append(found)

    def administration(self, record: Record, source: Source) -> None:
        view = read_unambiguous(record.body, medication_administration.MedicationAdministration)
        found = medication_administration.from_fhir(view, source, self.tables, self.medications)
        if found.medication is None and found.status != "entered-in-error":
            self._unresolved(source.reference, view.medicationReference, "not counted: which drug is unknown")
        elif found.medication is None:
            self.left_out["MedicationAdministration: entered in error, drug unknown"] += 1
        elif found.medication.variable is None:
            self.left_out["MedicationAdministration: no code that the tables know"] += 1
        elif found.medication.variable != self.drug and found.status == "entered-in-error":
            self.left_out["MedicationAdministration: another drug, entered-in-error"] += 1
        else:
            self.drugs[source.reference] = found.medication.variable
            self.check_times(source.reference, **unusual.times_of_administration(found))
            self.check_periods(source.reference, found)
            self.note(source.reference, unusual.of_administration(found))
            if view.effectiveTiming is not None:
                self.find("timing_not_expanded", source.reference, "effectiveTiming", done="one record, no time")
            ours = found.medication.variable == self.drug
            (self.administrations if ours else self.other_administrations).append(found)

    def request(self, record: Record, source: Source) -> None:
        view = read_unambiguous(record.body, therapy.MedicationRequest)
        if view.doNotPerform:
            self.left_out["MedicationRequest: not to be given"] += 1
            return
        found = therapy.from_request(view, source, self.tables, self.medications)
        self.therapy(found, view.medicationReference)

    def statement(self, record: Record, source: Source) -> None:
        view = read_unambiguous(record.body, therapy.MedicationStatement)
        found = therapy.from_statement(view, source, self.tables, self.medications)
        self.therapy(found, view.medicationReference)

    def therapy(self, found: Therapy, medication: Reference | None) -> None:
        """A drug that was ordered or stated."""
        reference = found.source.reference
        kind = reference.partition("/")[0]
        if found.status == "entered-in-error":
            self.left_out[f"{kind}: entered-in-error"] += 1
        elif medication is not None and found.medication == Concept():
            self._unresolved(reference, medication, "not used: which drug is unknown")
        elif found.medication.variable is None:
            self.left_out[f"{kind}: no code that the tables know"] += 1
        else:
            self.drugs[reference] = found.medication.variable
            self.check_times(reference, **unusual.times_of_therapy(found))
            self.check_periods(reference, found)
            self.note(reference, unusual.of_therapy(found))
            self.therapies.append(found)

    def _unresolved(self, reference: str, medication: Reference | None, done: str) -> None:
        """A record whose Medication is gone, or is there and cannot be read: then that is a finding of its own."""
        name = named((medication.reference if medication else None) or "")
        told = any(one.reference == name for one in self.findings)
        if name in self.medications and self.medications[name] is None and not told:
            self.find("unreadable", name)
        self.find("medication_unresolved", reference, "medication", done=done)

    def observation(self, record: Record, source: Source) -> None:
        if is_own(record.body):
            self.left_out["Observation: written by dm-fhir"] += 1
            return
        view = read_unambiguous(record.body, observation.Observation)
        found = observation.from_fhir(view, source, self.tables)
        if self.imported and copied(found.identifiers, self.imported) and not identifier_of(source.reference):
            self.left_out["Observation: copy of an imported score"] += 1
            return
        parts = tuple(observation.contained_members(view, source, self.tables)) if view.contained else ()
        for one in (found, *parts):
            self.assessment(one, record.type)

    def questionnaire_response(self, record: Record, source: Source) -> None:
        view = read_unambiguous(record.body, questionnaire_response.QuestionnaireResponse)
        scores = questionnaire_response.from_fhir(view, source, self.tables)
        if not scores:
            self.left_out["QuestionnaireResponse: no questionnaire that the tables know"] += 1
        for found in scores:
            self.assessment(found, record.type)

    def assessment(self, found: Assessment, kind: str) -> None:
        named = [part.concept.variable for part in (found.measured, *found.components) if part.concept.variable]
        if not named:
            unknown = "a panel of others, no code" if found.members else "no code"
            self.left_out[f"{kind}: {unknown} that the tables know"] += 1
        elif all(map(is_excluded, named)):
            self.left_out[f"{kind}: known in order to be left out ({named[0]})"] += 1
        else:
            self.check_times(found.source.reference, effective=found.time)
            self.assessments.append(found)

    def adverse_event(self, record: Record, source: Source) -> None:
        view = read_unambiguous(record.body, adverse_event.AdverseEvent)
        found = adverse_event.from_fhir(view, source, self.tables)
        if found.actuality == "potential":
            self.left_out["AdverseEvent: potential, did not happen"] += 1
        elif found.status == "entered-in-error":
            self.left_out["AdverseEvent: entered-in-error"] += 1
        elif any(one.url != STATUS for one in view.modifierExtension):
            # A modifier may turn the whole record into its opposite: FHIR forbids to use it without knowing.
            self.find("modifier_unknown", source.reference, "modifierExtension")
        else:
            self.check_times(source.reference, **unusual.times_of_adverse_event(found))
            self.note(source.reference, unusual.of_adverse_event(found))
            self.adverse_events.append(found)


_TAKES: dict[str, Callable[[_Reader, Record, Source], None]] = {
    "Patient": _Reader.patient,
    "Condition": _Reader.condition,
    "MedicationAdministration": _Reader.administration,
    "MedicationRequest": _Reader.request,
    "MedicationStatement": _Reader.statement,
    "Observation": _Reader.observation,
    "AdverseEvent": _Reader.adverse_event,
    "QuestionnaireResponse": _Reader.questionnaire_response,
}
