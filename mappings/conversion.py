"""How a recorded value was read: by which row and code of the tables, from which unit, with which factor."""

from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from fractions import Fraction

import msgspec

from dm_fhir.mappings.codes import Row, Tables, unit_names
from dm_fhir.mappings.dose import dose_by_strength
from dm_fhir.mappings.measured import Conversion, conversion, row_of
from dm_fhir.model.case import (
    Administration,
    AdverseEvent,
    Coding,
    Concept,
    Dosing,
    Measured,
    Quantity,
    Ratio,
    Therapy,
)
from dm_fhir.model.exact import to_decimal, to_text

_ONE = Fraction(1)


class HowRead(msgspec.Struct, frozen=True):
    """The row, and the code by which it knew the record. `origin` is where the row is written.

    `factor` is exact and makes `unit` (as recorded, None for a bare number) into `to`; all None where nothing was converted.
    `read_as` is the number that a code or a text was taken for, before it was converted; None where a number was recorded.
    """

    kind: str
    variable: str
    origin: str
    system: str
    code: str
    display: str | None
    unit: str | None = None
    factor: str | None = None
    to: str | None = None
    read_as: str | None = None


def how_measured(measured: Measured, tables: Tables) -> tuple[HowRead, ...]:
    """The rows that made a measurement what it is: its own, and that of a coded answer; empty if no row knows its code."""
    row = row_behind(measured.concept, tables)
    if row is None:
        return ()
    by = _by(row, measured.concept, tables)
    found = [_converted(_how(row, by), _conversion(measured, row, tables), row.unit, _is_number(measured))]
    for concept in (measured.coded, *measured.interpretations):
        answer = tables.row("answer", concept.codings) if concept and row.answers else None
        if answer is not None and concept is not None:
            return (*found, _how(answer, _by(answer, concept, tables)))
    return tuple(found)


def row_behind(concept: Concept, tables: Tables) -> Row | None:
    """The row that knows what was measured by its code, or by the form, and the item of it, that was answered."""
    row = row_of(concept, tables)
    if row is not None:
        return row
    for coding in concept.codings:
        for one, form in tables.forms.get((coding.system or "").partition("|")[0], ()):
            if concept.variable == one.variable or coding.code in (*form.items, form.prevented):
                return one
    return None


def how_given(given: Administration, tables: Tables) -> tuple[HowRead, ...]:
    """The rows that made an administration what it is: of the drug with its dose, of the dosage method, of the route."""
    found: list[HowRead] = []
    row = tables.row("medication", given.medication.codings) if given.medication else None
    if row is not None and given.medication is not None:
        how = _how(row, _by(row, given.medication, tables))
        factor = _in_mg(given.dose, given.medication, None, tables) if given.dose_mg is not None else Conversion()
        found.append(_converted(how, factor, "mg", is_number=True))
    return (*found, *how_coded("method", given.method, tables), *how_coded("route", given.route, tables))


def how_taken(therapy: Therapy, dosing: Dosing, tables: Tables) -> tuple[HowRead, ...]:
    """The rows that made one dosing of a drug what it is: of the drug with its dose, of the route, of the habit."""
    found: list[HowRead] = []
    row = tables.row("medication", therapy.medication.codings)
    if row is not None:
        amount = next((one.amount for one in dosing.doses if one.amount is not None), None)
        how = _how(row, _by(row, therapy.medication, tables))
        factor = Conversion()
        if dosing.dose_mg is not None:
            factor = _in_mg(amount, therapy.medication, therapy.strength, tables)
        found.append(_converted(how, factor, "mg", is_number=True))
    habit = dosing.timing.code if dosing.timing else None
    return (*found, *how_coded("route", dosing.route, tables), *how_coded("timing", habit, tables))


def how_judged(event: AdverseEvent, tables: Tables) -> tuple[HowRead, ...]:
    """The rows that know what happened, and how it was judged."""
    said = (
        ("adverse_event", event.event), ("ae_seriousness", event.seriousness), ("ae_severity", event.severity),
        ("ae_grade", event.grading), ("ae_outcome", event.outcome),
        *(("ae_relatedness", one) for suspect in event.suspects for one in suspect.relatedness),
        *(("ae_action", one.concept) for one in event.actions),
    )  # fmt: skip
    return tuple(how for kind, concept in said for how in how_coded(kind, concept, tables))


def how_coded(kind: str, concept: Concept | None, tables: Tables) -> tuple[HowRead, ...]:
    """The row that knows a code; empty if none does."""
    row = tables.row(kind, concept.codings) if concept else None
    return (_how(row, _by(row, concept, tables)),) if row is not None and concept is not None else ()


def _conversion(measured: Measured, row: Row, tables: Tables) -> Conversion:
    """How the number was made; nothing where there is none, and of a score that was reckoned from others."""
    if measured.result.number is None:
        return Conversion()
    found = conversion(measured, row, tables)
    is_answer = measured.coded is not None or measured.boolean is not None
    if found.amount is None and is_answer:  # an answer of a form is worth what its own weight says, or 1 for yes
        return Conversion(to_decimal(measured.result.number), None, _ONE)
    return found


def _is_number(measured: Measured) -> bool:
    return measured.quantity is not None or measured.integer is not None


def _in_mg(amount: Quantity | None, medication: Concept, strength: Ratio | None, tables: Tables) -> Conversion:
    """The unit of a dose and what one of it is in mg: by its mass, by the product, else by the strength."""
    if amount is None or amount.value is None:
        return Conversion()
    names = unit_names(amount)
    row = tables.row("medication", medication.codings)
    products = {name: one.mg for name, one in tables.dose_units(row, medication.codings).items()} if row else {}
    unit, factor = _first(names, tables.mass_units, products)
    if factor is None:
        unit = next(iter(names), None)
        factor = dose_by_strength(msgspec.structs.replace(amount, value=Decimal(1)), strength, tables)
    return Conversion(amount.value, unit, factor)


def _first(names: Iterable[str], *tables: Mapping[str, Fraction]) -> tuple[str | None, Fraction | None]:
    return next(((name, table[name]) for table in tables for name in names if name in table), (None, None))


def _by(row: Row, concept: Concept, tables: Tables) -> Coding:
    """The code by which the row knows it; where it is known by a form, the form and the item."""

    def known() -> Iterator[Coding]:
        for one in concept.codings:
            if tables.by_code.get((row.kind, tables.system(one.system), one.code or "")) is row:
                yield one

    return next(known(), concept.codings[0] if concept.codings else Coding())


def _how(row: Row, by: Coding) -> HowRead:
    return HowRead(row.kind, row.variable, row.origin, by.system or "", by.code or "", by.display)


def _converted(how: HowRead, found: Conversion, to: str | None, is_number: bool) -> HowRead:
    if found.amount is None or found.factor is None:
        return how
    read_as = None if is_number else to_text(Fraction(found.amount))
    return msgspec.structs.replace(how, unit=found.unit, factor=to_text(found.factor), to=to, read_as=read_as)
