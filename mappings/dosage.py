"""Dosage <-> Dosing: how a drug is to be taken (https://hl7.org/fhir/R4/dosage.html), and what that comes to a day."""

from decimal import Decimal
from fractions import Fraction
from typing import NamedTuple

import msgspec

from dm_fhir.mappings.codes import Tables
from dm_fhir.mappings.datatypes import (
    CodeableConcept,
    Period,
    Quantity,
    concept_in,
    concept_out,
    period_in,
    period_out,
    quantity_in,
    quantity_out,
)
from dm_fhir.mappings.dose import PIECES, dose_by_strength, dose_in_mg
from dm_fhir.model import case
from dm_fhir.model.case import Concept, Dose, Dosing, Ratio
from dm_fhir.outcomes.dosing import is_systemic, times_per_day

_CONCEPT = ("coding.system", "coding.code", "coding.display", "text")
_QUANTITY = ("value", "comparator", "unit", "system", "code")
#: The elements of a Dosage that survive the way there and back.
SUPPORTED = (
    "sequence", "text", "timing.event", "timing.repeat.boundsPeriod.start", "timing.repeat.boundsPeriod.end",
    *(f"timing.repeat.boundsDuration.{part}" for part in _QUANTITY), "timing.repeat.count", "timing.repeat.frequency",
    "timing.repeat.frequencyMax", "timing.repeat.period", "timing.repeat.periodMax", "timing.repeat.periodUnit",
    "timing.repeat.dayOfWeek", "timing.repeat.timeOfDay", "timing.repeat.when", "asNeededBoolean",
    *(f"{element}.{part}" for element in ("timing.code", "asNeededCodeableConcept", "route", "method", "doseAndRate.type")
      for part in _CONCEPT),
    *(f"doseAndRate.{element}.{part}" for element in ("doseQuantity", "doseRange.low", "doseRange.high")
      for part in _QUANTITY),
)  # fmt: skip


class Repeat(msgspec.Struct, frozen=True, omit_defaults=True):
    """Timing.repeat: bounds, count, how often in which period, on which days, at which times."""

    boundsPeriod: Period | None = None
    boundsDuration: Quantity | None = None
    count: int | None = None
    frequency: int | None = None
    frequencyMax: int | None = None
    period: Decimal | None = None
    periodMax: Decimal | None = None
    periodUnit: str | None = None
    dayOfWeek: tuple[str, ...] = ()
    timeOfDay: tuple[str, ...] = ()
    when: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        # The same guard as of a Quantity: what no arithmetic bears must not get in.
        for value in (self.period, self.periodMax):
            Quantity(value)


class Timing(msgspec.Struct, frozen=True, omit_defaults=True):
    """Timing: event, repeat, code."""

    event: tuple[str, ...] = ()
    repeat: Repeat | None = None
    code: CodeableConcept | None = None


class DoseRange(msgspec.Struct, frozen=True, omit_defaults=True):
    """Range of doses: low, high."""

    low: Quantity | None = None
    high: Quantity | None = None


class DoseAndRate(msgspec.Struct, frozen=True, omit_defaults=True):
    """Dosage.doseAndRate: type, dose[x]."""

    type: CodeableConcept | None = None
    doseQuantity: Quantity | None = None
    doseRange: DoseRange | None = None


class Dosage(msgspec.Struct, frozen=True, omit_defaults=True):
    """The view of a Dosage."""

    sequence: int | None = None
    text: str | None = None
    timing: Timing | None = None
    asNeededBoolean: bool | None = None
    asNeededCodeableConcept: CodeableConcept | None = None
    route: CodeableConcept | None = None
    method: CodeableConcept | None = None
    doseAndRate: tuple[DoseAndRate, ...] = ()


class Product(NamedTuple):
    """What is taken: which drug, and the strength of a tablet or a millilitre of it, None if not known."""

    medication: Concept
    strength: Ratio | None


def dosing_in(dosage: Dosage, product: Product, tables: Tables) -> Dosing:
    """How `product` is taken, as recorded and as it comes to."""
    recorded = Dosing(
        sequence=dosage.sequence,
        text=dosage.text,
        timing=_timing_in(dosage.timing, tables),
        as_needed=dosage.asNeededBoolean,
        as_needed_for=concept_in(dosage.asNeededCodeableConcept),
        route=route_in(dosage.route, tables),
        method=concept_in(dosage.method),
        doses=tuple(_dose_in(one) for one in dosage.doseAndRate),
    )
    return evaluated(recorded, product, tables)


def dosing_out(dosing: Dosing) -> Dosage:
    """The Dosage that says what was recorded; what it comes to follows from that and is not written."""
    return Dosage(
        sequence=dosing.sequence,
        text=dosing.text,
        timing=_timing_out(dosing.timing),
        asNeededBoolean=dosing.as_needed,
        asNeededCodeableConcept=concept_out(dosing.as_needed_for),
        route=concept_out(dosing.route),
        method=concept_out(dosing.method),
        doseAndRate=tuple(_dose_out(one) for one in dosing.doses),
    )


def evaluated(recorded: Dosing, product: Product, tables: Tables) -> Dosing:
    """`recorded` with its dose in mg and what that is a day; where it cannot be known, with every reason."""
    systemic = is_systemic(recorded.route, product.medication)
    dose_mg, no_dose = _dose_mg(recorded.doses, product, tables)
    often, no_rate = times_per_day(recorded.timing, _rate_of_the_code(recorded.timing, tables))
    as_needed = recorded.as_needed is True or recorded.as_needed_for is not None
    reasons = (
        *(("as_needed",) if as_needed else ()),
        *(("route_not_systemic",) if systemic is False else ()),
        *((no_dose,) if no_dose else ()),
        *((f"dose_unknown:{no_rate}",) if no_rate else ()),
    )
    a_day = dose_mg * often if dose_mg is not None and often is not None and not reasons else None
    return msgspec.structs.replace(recorded, systemic=systemic, dose_mg=dose_mg, mg_per_day=a_day, reasons=reasons)


def route_in(route: CodeableConcept | None, tables: Tables) -> Concept | None:
    """A route with the tables' name for it; None stays None."""
    found = concept_in(route)
    return tables.concept("route", found.codings, found.text) if found else None


def _rate_of_the_code(timing: case.Timing | None, tables: Tables) -> Fraction | None:
    row = tables.row("timing", timing.code.codings) if timing and timing.code else None
    return row.times_per_day if row else None


def _dose_mg(doses: tuple[Dose, ...], product: Product, tables: Tables) -> tuple[Fraction | None, str | None]:
    """What is taken at one time, or None with the reason. Several doses must come to the same."""
    stated = [one for one in doses if one.amount is not None or one.low is not None or one.high is not None]
    found = {_one_dose_mg(one, product, tables) for one in stated}
    if not found:
        return None, "dose_missing"
    return found.pop() if len(found) == 1 else (None, "dose_unknown:several_doses")


def _one_dose_mg(dose: Dose, product: Product, tables: Tables) -> tuple[Fraction | None, str | None]:
    if dose.amount is None:
        return None, "dose_unknown:dose_range"
    if dose.amount.value is None:
        return None, "dose_missing"
    mg, flags = dose_in_mg(dose.amount, product.medication, tables)
    if mg is None:
        mg = dose_by_strength(dose.amount, product.strength, tables)
    if mg is not None:
        return mg, None
    pieces = {dose.amount.code, dose.amount.unit} & PIECES
    return None, "dose_unknown:strength_missing" if pieces and not product.strength else f"dose_unknown:{flags[0]}"


def _dose_in(one: DoseAndRate) -> Dose:
    ends = one.doseRange or DoseRange()
    return Dose(concept_in(one.type), quantity_in(one.doseQuantity), quantity_in(ends.low), quantity_in(ends.high))


def _dose_out(dose: Dose) -> DoseAndRate:
    ends = DoseRange(quantity_out(dose.low), quantity_out(dose.high))
    return DoseAndRate(concept_out(dose.type), quantity_out(dose.amount), ends if ends != DoseRange() else None)


def _timing_in(timing: Timing | None, tables: Tables) -> case.Timing | None:
    if timing is None:
        return None
    repeat, code = timing.repeat or Repeat(), concept_in(timing.code)
    return case.Timing(
        times=timing.event,
        during=period_in(repeat.boundsPeriod),
        lasting=quantity_in(repeat.boundsDuration),
        count=repeat.count,
        frequency=repeat.frequency,
        frequency_max=repeat.frequencyMax,
        period=repeat.period,
        period_max=repeat.periodMax,
        period_unit=repeat.periodUnit,
        days_of_week=repeat.dayOfWeek,
        times_of_day=repeat.timeOfDay,
        when=repeat.when,
        code=tables.concept("timing", code.codings, code.text) if code else None,
    )


def _timing_out(timing: case.Timing | None) -> Timing | None:
    if timing is None:
        return None
    repeat = Repeat(
        boundsPeriod=period_out(timing.during),
        boundsDuration=quantity_out(timing.lasting),
        count=timing.count,
        frequency=timing.frequency,
        frequencyMax=timing.frequency_max,
        period=timing.period,
        periodMax=timing.period_max,
        periodUnit=timing.period_unit,
        dayOfWeek=timing.days_of_week,
        timeOfDay=timing.times_of_day,
        when=timing.when,
    )
    return Timing(timing.times, repeat if repeat != Repeat() else None, concept_out(timing.code))
