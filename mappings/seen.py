"""What a record shows of codes: in which element, which codes, with which unit, and whether the tables can use it.

Nothing else of a record is looked at here: no name, no identifier, no free text, and of a value only its kind and unit.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from dm_fhir.mappings import adverse_event, condition, medication_administration, observation, therapy
from dm_fhir.mappings.codes import Row, Tables, unit_names
from dm_fhir.mappings.datatypes import concept_in, read
from dm_fhir.mappings.medication import Medicated, Medication, medication_concept
from dm_fhir.model.case import Coding, Concept, Source
from dm_fhir.outcomes.baseline import ACCEPTED_STATUSES
from dm_fhir.outcomes.exposure import status_of

#: The unit of a quantity that names none.
NO_UNIT = ""
ABSENT, NOTHING = "dataAbsentReason", "no value"
STATUS = "status_excluded"
_NOWHERE = Source("", "")


class Sight(NamedTuple):
    """One coded place of a record. `row` is what the tables make of it, None where they know none of the codes.

    `unit` is the unit as written, None where there is no quantity. `value` is FHIR's element that holds the value.
    `variable` is the scale on which the value was read, `reason` why it is not used, each None where there is no such thing.
    """

    kind: str
    element: str
    codings: tuple[Coding, ...]
    has_text: bool
    row: Row | None
    status: str | None
    when: str | None
    unit: str | None = None
    is_in_table: bool = False
    value: str | None = None
    variable: str | None = None
    reason: str | None = None


class Unresolved(NamedTuple):
    """A place where a drug is named by a reference that leads nowhere."""

    element: str


def sights(
    type_name: str, body: bytes, tables: Tables, medications: Mapping[str, Medication], drug: str
) -> tuple[Sight | Unresolved, ...]:
    """Every coded place of a record; empty for types that have none. Raises msgspec.DecodeError for what cannot be read."""
    look = _LOOKS.get(type_name)
    return tuple(look(body, tables, medications, drug)) if look else ()


def is_looked_at(type_name: str) -> bool:
    """Whether records of this type have codes that the tables could know."""
    return type_name in _LOOKS


_Look = Callable[[bytes, Tables, Mapping[str, Medication], str], Iterable[Sight | Unresolved]]


def _observation(body: bytes, tables: Tables, _: Mapping[str, Medication], __: str) -> Iterator[Sight | Unresolved]:
    record = read(body, observation.Observation)
    found = observation.from_fhir(record, _NOWHERE, tables)
    for place, part, measured in (
        ("Observation", record, found.measured),
        *(("Observation.component", *pair) for pair in zip(record.component, found.components, strict=True)),
    ):
        concept, value = measured.concept, _kind_of_value(part)
        row = tables.row("measurement", concept.codings)
        names = unit_names(measured.quantity) if measured.quantity else ()
        is_excluded = found.status not in ACCEPTED_STATUSES
        yield _sight(
            "measurement", f"{place}.code", concept, row, found.status, found.time,
            unit=(names[0] if names else NO_UNIT) if measured.quantity else None,
            is_in_table=row is not None and (any(n in row.units or n in row.assumed_units for n in names) or (not names and row.unitless)),
            value=value,
            variable=concept.variable,
            reason=None if row is None else STATUS if is_excluded else measured.result.reason,
        )  # fmt: skip
        if row is not None and row.answers and measured.coded is not None:
            answer = tables.row("answer", measured.coded.codings)
            yield _sight("answer", f"{place}.valueCodeableConcept", measured.coded, answer, found.status, found.time)


def _administration(
    body: bytes, tables: Tables, medications: Mapping[str, Medication], drug: str
) -> Iterator[Sight | Unresolved]:
    record = read(body, medication_administration.MedicationAdministration)
    found = medication_administration.from_fhir(record, _NOWHERE, tables, medications)
    when = found.when or (found.during.start if found.during else None)
    if found.medication is None:
        yield Unresolved("MedicationAdministration.medication")
    else:
        row = tables.row("medication", found.medication.codings)
        is_drug = row is not None and row.variable == drug
        is_excluded = status_of(found) not in ("completed", "stopped")
        names = unit_names(found.dose) if found.dose else ()
        yield _sight(
            "medication", "MedicationAdministration.medication", found.medication, row, status_of(found), when,
            unit=(names[0] if names else NO_UNIT) if found.dose and is_drug else None,
            is_in_table=found.dose_mg is not None,
            reason=None if not is_drug else STATUS if is_excluded else next(iter(found.flags), None),
        )  # fmt: skip
    if found.method is not None:
        row = tables.row("method", found.method.codings)
        yield _sight("method", "MedicationAdministration.dosage.method", found.method, row, found.status, when)


def _request(
    body: bytes, tables: Tables, medications: Mapping[str, Medication], _: str
) -> Iterator[Sight | Unresolved]:
    record = read(body, therapy.MedicationRequest)
    yield _drug("MedicationRequest", record, record.status, record.authoredOn, tables, medications)


def _statement(
    body: bytes, tables: Tables, medications: Mapping[str, Medication], _: str
) -> Iterator[Sight | Unresolved]:
    record = read(body, therapy.MedicationStatement)
    period = record.effectivePeriod
    when = record.effectiveDateTime or (period.end or period.start if period else None)
    yield _drug("MedicationStatement", record, record.status, when, tables, medications)


def _drug(
    type_name: str,
    record: Medicated,
    status: str | None,
    when: str | None,
    tables: Tables,
    medications: Mapping[str, Medication],
) -> Sight | Unresolved:
    concept = medication_concept(record, tables, medications)
    if concept is None:
        return Unresolved(f"{type_name}.medication")
    row = tables.row("medication", concept.codings)
    reason = STATUS if row is not None and status == "entered-in-error" else None
    return _sight("medication", f"{type_name}.medication", concept, row, status, when, reason=reason)


def _condition(body: bytes, tables: Tables, _: Mapping[str, Medication], __: str) -> Iterator[Sight | Unresolved]:
    record = read(body, condition.Condition)
    found = condition.from_fhir(record, _NOWHERE, tables)
    row = tables.row("condition", found.concept.codings)
    status, when = found.verification_status, found.onset or found.recorded
    reason = STATUS if row is not None and status in ("refuted", "entered-in-error") else None
    yield _sight("condition", "Condition.code", found.concept, row, status, when, reason=reason)


def _adverse_event(body: bytes, tables: Tables, _: Mapping[str, Medication], __: str) -> Iterator[Sight | Unresolved]:
    record = read(body, adverse_event.AdverseEvent)
    concept = concept_in(record.event) or Concept()
    row = tables.row("adverse_event", concept.codings)
    reason = STATUS if row is not None and record.actuality == "potential" else None
    yield _sight("adverse_event", "AdverseEvent.event", concept, row, record.actuality, record.date, reason=reason)


def _sight(
    kind: str, element: str, concept: Concept, row: Row | None, status: str | None, when: str | None, **more: Any
) -> Sight:
    codings = tuple(coding for coding in concept.codings if coding.code)
    return Sight(kind, element, codings, bool(concept.text), row, status, when, **more)


def _kind_of_value(part: observation.Component) -> str:
    """FHIR's name of the element that holds the value, or what stands in its place."""
    fields = part.__struct_fields__
    held = (name for name in fields if name.startswith("value") and getattr(part, name) is not None)
    return next(held, ABSENT if part.dataAbsentReason is not None else NOTHING)


_LOOKS: dict[str, _Look] = {
    "Observation": _observation,
    "MedicationAdministration": _administration,
    "MedicationRequest": _request,
    "MedicationStatement": _statement,
    "Condition": _condition,
    "AdverseEvent": _adverse_event,
}
