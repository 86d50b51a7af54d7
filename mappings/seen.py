"""What a record shows of codes: in which element, which codes, with which unit, and whether the tables can use it.

Nothing else of a record is looked at here: no name, no identifier, no free text, and of a value only its kind and unit.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

from dm_fhir.mappings import (
    adverse_event,
    adverse_event_extensions,
    condition,
    measured,
    medication_administration,
    observation,
    questionnaire_response,
    therapy,
)
from dm_fhir.mappings.codes import Row, Tables, unit_names
from dm_fhir.mappings.conversion import row_behind
from dm_fhir.mappings.datatypes import read
from dm_fhir.mappings.medication import Medications
from dm_fhir.model.case import Assessment, Coding, Concept, Measured, Quantity, Source, Therapy
from dm_fhir.outcomes.baseline import statuses_that_count
from dm_fhir.outcomes.exposure import status_of

#: The unit of a quantity that names none.
NO_UNIT = ""
ABSENT, NOTHING = "dataAbsentReason", "no value"
STATUS = "status_excluded"
#: The kind of a coded value: what it is worth stands in the `values` of its variable's row.
VALUE = "value"
#: The system of a canonical, by which a questionnaire is named (https://hl7.org/fhir/R4/identifier-registry.html).
CANONICAL = "urn:ietf:rfc:3986"
_VALUES = {
    "integer": "valueInteger", "string": "valueString", "boolean": "valueBoolean", "coded": "valueCodeableConcept",
    "value_range": "valueRange", "ratio": "valueRatio", "date_time": "valueDateTime", "time_of_day": "valueTime",
    "period": "valuePeriod",
}  # fmt: skip
_NOWHERE = Source("", "")


class Sight(NamedTuple):
    """One coded place of a record. `row` is what the tables make of it, None where they know none of the codes.

    `unit` is the unit as written, None where there is no quantity. `value` is FHIR's element that holds the value.
    `variable` is the scale on which the value was read, `reason` why it is not used, each None where there is no such thing.
    `matters` is whether a value that is not used is one that the study may need.
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
    matters: bool = True


class Unresolved(NamedTuple):
    """A place where a drug is named by a reference that leads nowhere."""

    element: str


def sights(
    type_name: str, body: bytes, tables: Tables, medications: Medications, drug: str
) -> tuple[Sight | Unresolved, ...]:
    """Every coded place of a record; empty for types that have none. Raises msgspec.DecodeError for what cannot be read."""
    look = _LOOKS.get(type_name)
    return tuple(look(body, tables, medications, drug)) if look else ()


def is_looked_at(type_name: str) -> bool:
    """Whether records of this type have codes that the tables could know."""
    return type_name in _LOOKS


_Look = Callable[[bytes, Tables, Medications, str], Iterable[Sight | Unresolved]]


def _observation(body: bytes, tables: Tables, _: Medications, __: str) -> Iterator[Sight]:
    record = read(body, observation.Observation)
    yield from _assessed("Observation", observation.from_fhir(record, _NOWHERE, tables), tables)
    for part in observation.contained_members(record, _NOWHERE, tables):
        yield from _assessed("Observation.contained", part, tables)


def _assessed(place: str, found: Assessment, tables: Tables) -> Iterator[Sight]:
    """What an assessment and its parts show."""
    is_counted = found.status in statuses_that_count(preliminary=tables.accepts_preliminary)
    for at, part in ((place, found.measured), *((f"{place}.component", part) for part in found.components)):
        row = measured.row_of(part.concept, tables)
        how = measured.conversion(part, row, tables) if row is not None else measured.Conversion()
        has_amount = part.quantity is not None and part.quantity.value is not None
        yield _sight(
            "measurement", f"{at}.code", part.concept, row, found.status, found.time,
            # Of a text only a unit that the row knows is told.
            unit=how.unit or (_unit(part.quantity) if has_amount else None),
            is_in_table=row is not None and (row.unit is None or how.factor is not None),
            value=_kind_of_value(part),
            variable=part.concept.variable,
            reason=None if row is None else part.result.reason if is_counted else STATUS,
        )  # fmt: skip
        if row is not None:
            yield from _coded(at, part, row, found, tables)


def _coded(at: str, part: Measured, row: Row, found: Assessment, tables: Tables) -> Iterator[Sight]:
    """The codes that are, or stand for, the value of a row that is known."""
    if row.answers:
        codes = ((part.coded, "valueCodeableConcept"), *((one, "interpretation") for one in part.interpretations))
        for concept, element in codes:
            if concept is not None:
                answer = tables.row("answer", concept.codings)
                yield _sight("answer", f"{at}.{element}", concept, answer, found.status, found.time)
    elif row.unit is not None and part.coded is not None and part.result.reason != "value_missing":
        is_known = any((tables.system(one.system), one.code or "") in row.values for one in part.coded.codings)
        yield _sight(
            VALUE, f"{at}.valueCodeableConcept", part.coded, row if is_known else None, found.status, found.time,
            variable=row.variable,
        )  # fmt: skip


def _response(body: bytes, tables: Tables, _: Medications, __: str) -> Iterator[Sight]:
    """A form that gives a score by the item that holds it, or by the whole; any other by its canonical."""
    record = read(body, questionnaire_response.QuestionnaireResponse)
    scores = questionnaire_response.from_fhir(record, _NOWHERE, tables)
    canonical = (record.questionnaire or "").partition("|")[0]
    form = Concept((Coding(CANONICAL, canonical or None),))
    if not scores:
        yield _sight("measurement", "QuestionnaireResponse.questionnaire", form, None, record.status, record.authored)
    for found in scores:
        is_counted = found.status in statuses_that_count(preliminary=tables.accepts_preliminary)
        score = found.measured
        is_item = any(one.code for one in score.concept.codings)
        yield _sight(
            "measurement", f"QuestionnaireResponse.{'item' if is_item else 'questionnaire'}",
            score.concept if is_item else form, row_behind(score.concept, tables), found.status, found.time,
            value="answers" if found.components else _kind_of_value(score),
            variable=score.concept.variable,
            reason=score.result.reason if is_counted else STATUS,
        )  # fmt: skip


def _administration(body: bytes, tables: Tables, medications: Medications, drug: str) -> Iterator[Sight | Unresolved]:
    record = read(body, medication_administration.MedicationAdministration)
    found = medication_administration.from_fhir(record, _NOWHERE, tables, medications)
    when = found.when or (found.during.start if found.during else None)
    if found.medication is None:
        yield Unresolved("MedicationAdministration.medication")
    else:
        row = tables.row("medication", found.medication.codings)
        is_drug = row is not None and row.variable == drug
        is_excluded = status_of(found) not in ("completed", "stopped")
        yield _sight(
            "medication", "MedicationAdministration.medication", found.medication, row, status_of(found), when,
            unit=_unit(found.dose) if is_drug else None,
            is_in_table=found.dose_mg is not None,
            reason=None if not is_drug else STATUS if is_excluded else next(iter(found.flags), None),
        )  # fmt: skip
    for kind, concept in (("method", found.method), ("route", found.route)):
        yield from _said(kind, f"MedicationAdministration.dosage.{kind}", concept, tables, found.status, when)


def _request(body: bytes, tables: Tables, medications: Medications, _: str) -> Iterator[Sight | Unresolved]:
    record = read(body, therapy.MedicationRequest)
    found = therapy.from_request(record, _NOWHERE, tables, medications)
    yield from _therapy("MedicationRequest", "dosageInstruction", found, found.authored, tables)


def _statement(body: bytes, tables: Tables, medications: Medications, _: str) -> Iterator[Sight | Unresolved]:
    record = read(body, therapy.MedicationStatement)
    found = therapy.from_statement(record, _NOWHERE, tables, medications)
    when = found.period.end or found.period.start if found.period else None
    yield from _therapy("MedicationStatement", "dosage", found, when, tables)


def _therapy(
    type_name: str, element: str, found: Therapy, when: str | None, tables: Tables
) -> Iterator[Sight | Unresolved]:
    """The drug, its doses where a row knows it, its routes and habits. A dose that comes to nothing keeps no case back."""
    drug = found.medication
    if drug == Concept():
        yield Unresolved(f"{type_name}.medication")
    row = tables.row("medication", drug.codings)
    not_counted = STATUS if row is not None and found.status == "entered-in-error" else None
    if drug != Concept():
        yield _sight("medication", f"{type_name}.medication", drug, row, found.status, when, reason=not_counted)
    for dosing in found.dosings:
        at = f"{type_name}.{element}"
        if row is not None and not_counted is None:
            amount = next((one.amount for one in dosing.doses if one.amount is not None), None)
            yield _sight(
                "medication", at, drug, row, found.status, when,
                unit=_unit(amount), is_in_table=dosing.dose_mg is not None,
                reason=next(iter(dosing.reasons), None), matters=False,
            )  # fmt: skip
        yield from _said("route", f"{at}.route", dosing.route, tables, found.status, when)
        habit = dosing.timing.code if dosing.timing else None
        yield from _said("timing", f"{at}.timing.code", habit, tables, found.status, when)


def _condition(body: bytes, tables: Tables, _: Medications, __: str) -> Iterator[Sight]:
    record = read(body, condition.Condition)
    found = condition.from_fhir(record, _NOWHERE, tables)
    row = tables.row("condition", found.concept.codings)
    status, when = found.verification_status, found.onset or found.recorded
    reason = STATUS if row is not None and status in condition.DENIED else None
    yield _sight("condition", "Condition.code", found.concept, row, status, when, reason=reason)


def _adverse_event(body: bytes, tables: Tables, _: Medications, __: str) -> Iterator[Sight]:
    record = read(body, adverse_event.AdverseEvent)
    found = adverse_event.from_fhir(record, _NOWHERE, tables)
    row = tables.row("adverse_event", found.event.codings)
    is_error = found.status == "entered-in-error"
    status = found.status if is_error else found.actuality
    reason = STATUS if is_error or found.actuality == "potential" else None
    if reason is None and any(one.url != adverse_event_extensions.STATUS for one in record.modifierExtension):
        reason = "modifier_unknown"
    yield _sight(
        "adverse_event", "AdverseEvent.event", found.event, row, status, found.date, reason=reason if row else None
    )
    judged = (one for suspect in found.suspects for one in suspect.relatedness)
    for kind, element, concepts in (
        ("ae_seriousness", "seriousness", (found.seriousness,)),
        ("ae_severity", "severity", (found.severity,)),
        ("ae_grade", "ae-grade", (found.grading,)),
        ("ae_outcome", "outcome", (found.outcome,)),
        ("ae_relatedness", "suspectEntity.causality.assessment", tuple(judged)),
        ("ae_action", "mitigating-action", tuple(one.concept for one in found.actions)),
    ):
        for concept in concepts:
            yield from _said(kind, f"AdverseEvent.{element}", concept, tables, status, found.date)


def _said(
    kind: str, element: str, concept: Concept | None, tables: Tables, status: str | None, when: str | None
) -> Iterator[Sight]:
    """What an element says, where the record has it."""
    if concept is not None:
        yield _sight(kind, element, concept, tables.row(kind, concept.codings), status, when)


def _unit(amount: Quantity | None) -> str | None:
    """The unit as written; None where there is no amount."""
    return next(iter(unit_names(amount)), NO_UNIT) if amount is not None else None


def _sight(
    kind: str, element: str, concept: Concept, row: Row | None, status: str | None, when: str | None, **more: Any
) -> Sight:
    codings = tuple(coding for coding in concept.codings if coding.code)
    return Sight(kind, element, codings, bool(concept.text), row, status, when, **more)


def _kind_of_value(part: Measured) -> str:
    """FHIR's name of the element that holds the value, or what stands in its place."""
    if part.quantity is not None and part.quantity.value is not None:
        return "valueQuantity"
    if part.sampled:
        return "valueSampledData"
    held = (name for field, name in _VALUES.items() if getattr(part, field) is not None)
    return next(held, ABSENT if part.absent is not None else NOTHING)


_LOOKS: dict[str, _Look] = {
    "Observation": _observation,
    "QuestionnaireResponse": _response,
    "MedicationAdministration": _administration,
    "MedicationRequest": _request,
    "MedicationStatement": _statement,
    "Condition": _condition,
    "AdverseEvent": _adverse_event,
}
