"""A value walked back: rule, inputs, recorded value, row of a table, conversion, version of the record, the run that brought it.

Nothing here names the patient: no name, no date of birth, no identifier, and of free text only that it is there.
"""

import sqlite3
from collections.abc import Callable, Iterator
from typing import NamedTuple, Protocol

import msgspec

from dm_fhir.model.case import (
    Administration,
    AdverseEvent,
    Case,
    Concept,
    Condition,
    Dosing,
    Finding,
    Measured,
    Outcome,
    Period,
    Quantity,
    Range,
    Ratio,
    Result,
    Source,
    Therapy,
)
from dm_fhir.model.exact import shown, to_text
from dm_fhir.outcomes.considered import arithmetic, considered
from dm_fhir.outcomes.labels import label
from dm_fhir.report.naming import name_of
from dm_fhir.report.words import unit_words
from dm_fhir.store.history import asking_queries, run_numbered, subject_of, versions


class Taken(NamedTuple):
    """One dosing of a drug, and the drug."""

    therapy: Therapy
    dosing: Dosing


Part = Measured | Administration | Condition | Therapy | Taken | AdverseEvent


class HowRead(Protocol):
    """A row of a table, the code by which it knew a record, and the exact factor by which a value was converted."""

    @property
    def kind(self) -> str: ...
    @property
    def variable(self) -> str: ...
    @property
    def origin(self) -> str: ...
    @property
    def system(self) -> str: ...
    @property
    def code(self) -> str: ...
    @property
    def unit(self) -> str | None: ...
    @property
    def factor(self) -> str | None: ...
    @property
    def to(self) -> str | None: ...
    @property
    def read_as(self) -> str | None: ...


class Resource(msgspec.Struct, frozen=True):
    """The version of a record that was used, and how it came here.

    `is_current` is False where the store holds a newer one. `queries` may each have brought it. None: not known.
    """

    version: str | None
    last_updated: str | None
    hash: str | None
    is_current: bool
    origin: str
    deleted: str | None
    run: int | None
    command: str | None
    started: str | None
    queries: list[str]


class Record(msgspec.Struct, frozen=True):
    """A record, what it says and what was made of it. `role` is the part that it plays; "" where it is looked at itself.

    `number` is exact and in `unit`. `recorded` is the value as recorded, in `element`. `resource` None: it is not in the store.
    `mg_per_day` is what one dosing of a drug comes to a day; None for everything else, and where that is not known: see `flags`.
    """

    role: str
    reference: str
    variable: str | None
    status: str | None
    when: str | None
    element: str | None
    recorded: str | None
    number: str | None
    unit: str | None
    answer: str | None
    bound: str
    reason: str | None
    flags: tuple[str, ...]
    rows: list[HowRead]
    resource: Resource | None
    mg_per_day: str | None = None


class NotUsed(msgspec.Struct, frozen=True):
    """A record that was considered and not used."""

    reference: str
    variable: str
    when: str | None
    number: str | None
    unit: str | None
    reason: str


class Explained(msgspec.Struct, frozen=True):
    """An outcome walked back to its records. `number` is exact, `shown` rounded; both None where there is none: see `reasons`.

    `arithmetic` is what was reckoned with exact values, None where that is no more than a value or a sum.
    """

    name: str
    label: str
    number: str | None
    shown: str | None
    date: str | None
    unit: str | None
    when: str | None
    about: str | None
    rule: str
    rule_version: str
    arithmetic: str | None
    reasons: tuple[str, ...]
    flags: tuple[str, ...]
    inputs: list[Record]
    not_used: list[NotUsed]


class Walker(NamedTuple):
    """What a walk needs: the store, the case, and how the tables read a part of it."""

    db: sqlite3.Connection
    site: str
    case: Case
    how: Callable[[Part], tuple[HowRead, ...]]


def explain_outcome(walker: Walker, outcome: Outcome) -> Explained:
    """The outcome, back to the records that it was computed from, and those that it was not."""
    number = outcome.number
    return Explained(
        name=name_of(outcome),
        label=label(outcome.variable),
        number=to_text(number) if number is not None else None,
        shown=shown(number) if number is not None else None,
        date=outcome.date,
        unit=outcome.unit,
        when=outcome.when,
        about=outcome.about,
        rule=outcome.rule,
        rule_version=outcome.rule_version,
        arithmetic=arithmetic(outcome),
        reasons=outcome.reasons,
        flags=outcome.flags,
        inputs=[_record(walker, one.role, one.source) for one in outcome.inputs],
        not_used=[
            NotUsed(
                one.source.place, one.variable, one.when, to_text(one.number) if one.number is not None else None,
                one.unit if one.number is not None else None, one.reason,
            )
            for one in considered(walker.case, outcome)
        ],
    )  # fmt: skip


def explain_record(walker: Walker, reference: str) -> list[Record]:
    """What the case has of a record, a part each; empty if it holds nothing of it."""
    places = _places(walker.case)
    return [_told(walker, "", one) for one in places if reference in (one.source.place, one.source.reference)]


def outcomes_of(case: Case, reference: str) -> list[tuple[str, str]]:
    """The outcomes that a record is an input of, by name, and the part that it plays."""
    return [
        (name_of(outcome), one.role)
        for outcome in case.outcomes
        for one in outcome.inputs
        if one.source.reference == reference.partition("#")[0]
    ]


def findings_of(case: Case, reference: str) -> list[Finding]:
    """The findings about a record."""
    return [one for one in case.findings if one.reference == reference.partition("#")[0]]


def resource_of(walker: Walker, source: Source) -> Resource | None:
    """The version of the record that `source` names, and how it came here; None if the store has none of it."""
    kept = versions(walker.db, walker.site, source.reference)
    if not kept:
        return None
    used = (source.version, source.last_updated)
    found = next((one for one in kept if (one.version, one.last_updated) == used), kept[0])
    run = run_numbered(walker.db, found.run)
    type_name = source.reference.partition("/")[0]
    # A merged patient's records were asked for under the reference that they name.
    patient = subject_of(walker.db, walker.site, source.reference) or ""
    return Resource(
        version=found.version,
        last_updated=found.last_updated,
        hash=found.hash,
        is_current=found.is_current,
        origin=found.origin,
        deleted=found.deleted,
        run=found.run,
        command=run.command if run else None,
        started=run.started if run else None,
        queries=asking_queries(walker.db, walker.site, patient, type_name, found.origin),
    )


class Place(NamedTuple):
    """A part of a case that a record says, and where in the record it stands."""

    source: Source
    part: Part
    when: str | None
    status: str | None


def _places(case: Case) -> Iterator[Place]:
    for one in case.assessments:
        yield Place(one.source, one.measured, one.time, one.status)
        for index, part in enumerate(one.components):
            yield Place(one.source_of(index), part, one.time, one.status)
    for given in (*case.administrations, *case.other_administrations):
        when = given.when or (given.during.start if given.during else None)
        yield Place(given.source, given, when, given.status)
    for therapy in case.therapies:
        when = therapy.period.start if therapy.period else None
        yield Place(therapy.source, therapy, when, therapy.status)
        element = "dosageInstruction" if therapy.source.reference.startswith("MedicationRequest/") else "dosage"
        for index, dosing in enumerate(therapy.dosings):
            source = msgspec.structs.replace(therapy.source, path=f"{element}[{index}]")
            yield Place(source, Taken(therapy, dosing), when, therapy.status)
    for condition in case.conditions:
        yield Place(condition.source, condition, condition.onset, condition.verification_status)
    for event in case.adverse_events:
        yield Place(event.source, event, event.date, None)


class ListedOutcome(msgspec.Struct, frozen=True):
    """An outcome by its name. `value` is for people, `number` exact; both None where there is none: see `reasons`."""

    name: str
    value: str | None
    number: str | None
    unit: str | None
    when: str | None
    reasons: tuple[str, ...]
    flags: tuple[str, ...]


class ListedValue(msgspec.Struct, frozen=True):
    """A value of a record by its reference. `value` is for people; `reason` is why it is not used, None if it can be."""

    reference: str
    variable: str
    value: str | None
    when: str | None
    reason: str | None


def listed_outcomes(case: Case) -> list[ListedOutcome]:
    """Every outcome of the case, in its order."""
    return [
        ListedOutcome(
            name_of(one),
            one.date if one.number is None else f"{shown(one.number)} {unit_words(one.unit)}".rstrip(),
            to_text(one.number) if one.number is not None else None,
            one.unit,
            one.when,
            one.reasons,
            one.flags,
        )
        for one in case.outcomes
    ]


def listed_values(case: Case) -> list[ListedValue]:
    """Everything in the case that a table knows, in order of variable and time."""
    found = []
    for place in _places(case):
        variable, result = _variable(place.part), _result(place.part)
        if variable is not None:
            value = result.answer
            if result.number is not None:
                value = f"{shown(result.number)} {unit_words(result.unit)}".rstrip()
            found.append(ListedValue(place.source.place, variable, value, place.when, result.reason))
    return sorted(found, key=lambda one: (one.variable, one.when or "", one.reference))


def places_of(case: Case) -> list[str]:
    """The references of everything that the case holds, with and without the path to a part."""
    places = [place.source for place in _places(case)]
    return list(dict.fromkeys(name for one in places for name in (one.place, one.reference)))


def _record(walker: Walker, role: str, source: Source) -> Record:
    place = next((one for one in _places(walker.case) if one.source.place == source.place), None)
    if place is not None:
        return _told(walker, role, place)
    # the patient's own record, or one that the rules know and this walk does not
    return Record(
        role, source.place, None, None, None, None, None, None, None, None, "exact", None, (), [],
        resource_of(walker, source),
    )  # fmt: skip


def _told(walker: Walker, role: str, place: Place) -> Record:
    element, recorded = _recorded(place)
    result = _result(place.part)
    return Record(
        role=role,
        reference=place.source.place,
        variable=_variable(place.part),
        status=place.status,
        when=place.when,
        element=element,
        recorded=recorded,
        number=to_text(result.number) if result.number is not None else None,
        unit=result.unit if result.number is not None else None,
        answer=result.answer,
        bound=result.bound,
        reason=result.reason,
        flags=result.flags,
        rows=list(walker.how(place.part)),
        resource=resource_of(walker, place.source),
        mg_per_day=_per_day(place.part),
    )


def _per_day(part: Part) -> str | None:
    amount = part.dosing.mg_per_day if isinstance(part, Taken) else None
    return to_text(amount) if amount is not None else None


def _variable(part: Part) -> str | None:
    match part:
        case Administration() | Therapy():
            return part.medication.variable if part.medication else None
        case Taken():
            return part.therapy.medication.variable
        case AdverseEvent():
            return part.event.variable
    return part.concept.variable


def _result(part: Part) -> Result:
    match part:
        case Measured():
            return part.result
        case Administration():
            unknown = next(iter(part.flags), None) if part.dose_mg is None else None
            return Result(part.dose_mg, "mg", reason=unknown, flags=part.flags if part.dose_mg is not None else ())
        case Taken(dosing=dosing):
            reasons = dosing.reasons
            if dosing.dose_mg is None:
                return Result(None, "mg", reason=next(iter(reasons), None), flags=reasons[1:])
            return Result(dosing.dose_mg, "mg", flags=reasons)
    return Result()


def _recorded(place: Place) -> tuple[str | None, str | None]:
    """The element that holds the value, and the value as recorded."""
    start = ".".join(filter(None, (place.source.reference.partition("/")[0], place.source.path)))
    match place.part:
        case Administration(dose=Quantity() as dose):
            return f"{start}.dosage.dose", _quantity(dose)
        case Taken(dosing=Dosing() as dosing):
            for index, one in enumerate(dosing.doses):
                if one.amount is not None:
                    return f"{start}.doseAndRate[{index}].doseQuantity", _quantity(one.amount)
                if one.low is not None or one.high is not None:
                    return f"{start}.doseAndRate[{index}].doseRange", _range(one.low, one.high)
        case Measured() as part:
            name, text = _measured(part)
            if start.startswith("QuestionnaireResponse."):
                return f"{start}.answer" if name else None, text
            return f"{start}.{name}" if name else None, text
    return None, None


def _measured(part: Measured) -> tuple[str | None, str | None]:
    """FHIR's element of the value, and the value; of a record that contradicts itself the first of several."""
    said: tuple[tuple[str, str | None], ...] = (
        ("valueQuantity", _quantity(part.quantity) if part.quantity is not None else None),
        ("valueInteger", str(part.integer) if part.integer is not None else None),
        ("valueBoolean", str(part.boolean).lower() if part.boolean is not None else None),
        ("valueCodeableConcept", _codes(part.coded) if part.coded is not None else None),
        ("valueString", "a text" if part.string is not None else None),
        ("valueRange", _ends(part.value_range) if part.value_range is not None else None),
        ("valueRatio", _ratio(part.ratio) if part.ratio is not None else None),
        ("valueDateTime", part.date_time),
        ("valueTime", part.time_of_day),
        ("valuePeriod", _period(part.period) if part.period is not None else None),
        ("valueSampledData", "samples, which are not kept" if part.sampled else None),
        ("dataAbsentReason", _codes(part.absent) if part.absent is not None else None),
    )
    return next(((name, text) for name, text in said if text is not None), (None, None))


def _ends(between: Range) -> str:
    return _range(between.low, between.high)


def _range(low: Quantity | None, high: Quantity | None) -> str:
    return " to ".join(_quantity(end) if end is not None else "open" for end in (low, high))


def _ratio(ratio: Ratio) -> str:
    return " : ".join(_quantity(one) if one is not None else "nothing" for one in (ratio.numerator, ratio.denominator))


def _period(period: Period) -> str:
    return f"{period.start or 'open'} to {period.end or 'open'}"


def _quantity(quantity: Quantity) -> str:
    value = f"{quantity.comparator or ''}{quantity.value}" if quantity.value is not None else "no value"
    return f"{value} {quantity.unit or quantity.code or 'without unit'}"


def _codes(concept: Concept) -> str:
    return ", ".join(f"{one.system or ''}|{one.code or ''}" for one in concept.codings) or "a text"
