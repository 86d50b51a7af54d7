"""How a recorded value was read: by which row and code of the tables, from which unit, with which factor."""

from collections.abc import Iterable, Mapping
from fractions import Fraction

import msgspec

from dm_fhir.mappings.codes import Row, Tables, unit_names
from dm_fhir.mappings.measured import conversion, row_of
from dm_fhir.model.case import Administration, Coding, Concept, Measured
from dm_fhir.model.exact import to_text


class HowRead(msgspec.Struct, frozen=True):
    """The row, and the code by which it knew the record. `origin` is where the row is written.

    `factor` is exact and makes `unit` (as recorded, None for a bare number) into `to`; all None where nothing was converted.
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


def how_measured(measured: Measured, tables: Tables) -> tuple[HowRead, ...]:
    """The rows that made a measurement what it is: its own, and that of a coded answer; empty if no row knows its code."""
    row = row_of(measured.concept, tables)
    if row is None:
        return ()
    has_number = measured.result.number is not None
    unit, factor = conversion(measured, row, tables) if has_number else (None, None)
    found = [_how(row, measured.concept, tables, unit, factor, row.unit if factor is not None else None)]
    for concept in (measured.coded, *measured.interpretations):
        answer = tables.row("answer", concept.codings) if concept and row.answers else None
        if answer is not None and concept is not None:
            return (*found, _how(answer, concept, tables))
    return tuple(found)


def how_given(given: Administration, tables: Tables) -> tuple[HowRead, ...]:
    """The rows that made an administration what it is: of the drug with its dose, and of the dosage method."""
    found = []
    row = tables.row("medication", given.medication.codings) if given.medication else None
    if row is not None and given.medication is not None:
        names = unit_names(given.dose) if given.dose else ()
        products = {name: one.mg for name, one in tables.dose_units(row, given.medication.codings).items()}
        unit, factor = _first(names, tables.mass_units, products)
        is_known = given.dose_mg is not None
        to = "mg" if is_known else None
        found.append(_how(row, given.medication, tables, unit, factor if is_known else None, to))
    method = tables.row("method", given.method.codings) if given.method else None
    if method is not None and given.method is not None:
        found.append(_how(method, given.method, tables))
    return tuple(found)


def how_coded(kind: str, concept: Concept | None, tables: Tables) -> tuple[HowRead, ...]:
    """The row that knows a code; empty if none does."""
    row = tables.row(kind, concept.codings) if concept else None
    return (_how(row, concept, tables),) if row is not None and concept is not None else ()


def _first(names: Iterable[str], *tables: Mapping[str, Fraction]) -> tuple[str | None, Fraction | None]:
    return next(((name, table[name]) for table in tables for name in names if name in table), (None, None))


def _how(
    row: Row,
    concept: Concept,
    tables: Tables,
    unit: str | None = None,
    factor: Fraction | None = None,
    to: str | None = None,
) -> HowRead:
    by: Coding = next(
        one for one in concept.codings if (row.kind, tables.system(one.system), one.code or "") in tables.by_code
    )
    exact = to_text(factor) if factor is not None else None
    return HowRead(row.kind, row.variable, row.origin, by.system or "", by.code or "", by.display, unit, exact, to)
