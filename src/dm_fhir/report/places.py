"""The parts of a case where they stand in the records: what each is called, what was recorded, what it comes to."""

from collections.abc import Iterator
from typing import NamedTuple

from dm_fhir.model.case import (
    Administration,
    AdverseEvent,
    Case,
    Concept,
    Condition,
    Dosing,
    Measured,
    Period,
    Quantity,
    Range,
    Ratio,
    Result,
    Source,
    Therapy,
)


class Taken(NamedTuple):
    """One dosing of a drug, and the drug."""

    therapy: Therapy
    dosing: Dosing


Part = Measured | Administration | Condition | Therapy | Taken | AdverseEvent


class Place(NamedTuple):
    """A part of a case that a record says, and where in the record it stands."""

    source: Source
    part: Part
    when: str | None
    status: str | None


def places(case: Case) -> Iterator[Place]:
    """Everything that the case holds: records, and their parts after them."""
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
        for index, dosing in enumerate(therapy.dosings):
            yield Place(therapy.source_of(index), Taken(therapy, dosing), when, therapy.status)
    for condition in case.conditions:
        yield Place(condition.source, condition, condition.onset, condition.verification_status)
    for event in case.adverse_events:
        yield Place(event.source, event, event.date, None)


def variable_of(part: Part) -> str | None:
    """What the tables call it; None if no row knows it."""
    match part:
        case Administration() | Therapy():
            return part.medication.variable if part.medication else None
        case Taken():
            return part.therapy.medication.variable
        case AdverseEvent():
            return part.event.variable
    return part.concept.variable


def result_of(part: Part) -> Result:
    """What it comes to; nothing of what has no number and no answer."""
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


def recorded(place: Place) -> tuple[str | None, str | None]:
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
