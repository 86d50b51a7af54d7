"""The rows of a table -> scores, row by row: every cell is a score, empty, left out by the map, or a fault with its place.

A fault says what was expected and never what was found: no value and no identifier leaves the file by this way.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from datetime import date
from functools import partial
from typing import NamedTuple, TypeVar

import msgspec

from dm_fhir.mappings import cells, imported_observation
from dm_fhir.mappings.cells import Unreadable
from dm_fhir.mappings.codes import Row, Tables
from dm_fhir.mappings.column_map import ColumnMap, ScoreColumn
from dm_fhir.mappings.imported_observation import Value
from dm_fhir.mappings.sheet import NOT_COMPUTED, Cell, Sheet, SheetRow, text_of
from dm_fhir.model.case import Source
from dm_fhir.model.exact import to_text

T = TypeVar("T")
#: The patients (`Patient/id`) of an identifier system and value; of `Patient/id` where the system is None.
FindPatients = Callable[[str | None, str], Collection[str]]


class Fault(NamedTuple):
    """Why a cell, or a whole row, was not taken. `line` is the file's, the first is 1; `column` as the file calls it."""

    line: int
    column: str
    kind: str
    expected: str


class Score(NamedTuple):
    """One score: where it stood, whose and what it is, and the Observation that it becomes, `id` being the store's."""

    line: int
    column: str
    patient: str
    variable: str
    when: str
    id: str
    body: bytes


class Scores(NamedTuple):
    """What a table came to. `faulty` are the rows with a fault, by line, as JSON; `left_out` counts rows by reason."""

    rows: int
    empty: int
    repeated: int
    left_out: dict[str, int]
    scores: list[Score]
    faults: list[Fault]
    faulty: dict[int, bytes]


def read_scores(
    sheet: Sheet, column_map: ColumnMap, site: str, tables: Tables, find_patients: FindPatients, today: date
) -> Scores:
    """Every score in `sheet`, and every fault. Two different values for one patient, variable and time are both faults."""
    reader = _Reader(sheet, column_map, site, tables, find_patients, today)
    for row in sheet.rows:
        reader.take(row)
    scores = list(reader.once())
    lines = {fault.line for fault in reader.faults}
    faulty = {row.line: _as_json(sheet.columns, row) for row in sheet.rows if row.line in lines}
    left_out = dict(sorted(reader.left_out.items()))
    faults = sorted(reader.faults)
    return Scores(len(sheet.rows), reader.empty, reader.repeated, left_out, scores, faults, faulty)


def _as_json(columns: Sequence[str], row: SheetRow) -> bytes:
    names = [*columns, *(f"cell {n + 1}" for n in range(len(columns), len(row.cells)))]
    return msgspec.json.encode([[name, text_of(cell)] for name, cell in zip(names, row.cells, strict=False)])


class _Reader:
    """What has been read of a table so far."""

    def __init__(
        self, sheet: Sheet, column_map: ColumnMap, site: str, tables: Tables, find_patients: FindPatients, today: date
    ) -> None:
        self._map, self._site, self._tables = column_map, site, tables
        self._find_patients, self._today = find_patients, today
        self._columns = sheet.columns
        self._columns_used = list(dict.fromkeys(column_map.columns()))
        self._place = {name: index for index, name in enumerate(sheet.columns)}
        self._named = self._named_by_record(sheet.rows)
        self._read: dict[str, list[Score]] = defaultdict(list)
        self.faults: list[Fault] = []
        self.left_out: Counter[str] = Counter()
        self.empty = self.repeated = 0

    def take(self, row: SheetRow) -> None:
        """Read one row into scores and faults."""
        not_computed = [name for name in self._columns_used if self._cell(row, name) == NOT_COMPUTED]
        expected = "expected a value, not a formula that was never computed: open and save the file once"
        self.faults += [Fault(row.line, name, "formula_not_computed", expected) for name in not_computed]
        if len(row.cells) > len(self._columns):
            expected = f"expected {len(self._columns)} cells, one for each column"
            self.faults.append(Fault(row.line, "", "row_too_long", expected))
        elif not not_computed and not self._is_wanted(row):
            self.left_out["another event or visit"] += 1
        elif not not_computed:
            self._take(row, list(self._wanted(row)))

    def once(self) -> Iterator[Score]:
        """The scores, each once. Where a table says two things of one, neither is taken."""
        for same in self._read.values():
            if len({one.body for one in same}) == 1:
                self.repeated += len(same) - 1
                yield same[0]
                continue
            for one in same:
                others = ", ".join(str(other.line) for other in same if other.line != one.line) or "the same"
                expected = f"expected one value for a patient, variable and time; line {others} has another"
                self.faults.append(Fault(one.line, one.column, "value_contradicted", expected))

    def _take(self, row: SheetRow, wanted: Sequence[tuple[ScoreColumn, str, Cell]]) -> None:
        """The row's scores; who and when are asked for only where there are any, and at fault only once."""
        patient = self._or_fault(row, self._map.patient.column, lambda: self._patient(row)) if wanted else None
        if patient is None:
            return
        dates: dict[str, str | None] = {}
        for score, column, cell in wanted:
            by = score.date_column or self._map.date.column
            if by not in dates:
                dates[by] = self._or_fault(row, by, partial(self._when, row, by))
            if when := dates[by]:
                read = partial(self._score, row, score, column, cell, patient, when)
                if one := self._or_fault(row, column, read):
                    self._read[one.id].append(one)

    def _or_fault(self, row: SheetRow, column: str, read: Callable[[], T]) -> T | None:
        try:
            return read()
        except Unreadable as error:
            self.faults.append(Fault(row.line, column, error.kind, error.expected))
            return None

    def _wanted(self, row: SheetRow) -> Iterator[tuple[ScoreColumn, str, Cell]]:
        """The row's cells that the map gives a meaning to and that are not empty."""
        for score, column in self._scores(row):
            cell = self._cell(row, column)
            if text_of(cell) in ("", *self._map.missing, *score.missing):
                self.empty += 1
            else:
                yield score, column, cell

    def _scores(self, row: SheetRow) -> Iterator[tuple[ScoreColumn, str]]:
        form = self._map.long
        if form is None:
            yield from ((score, score.column or "") for score in self._map.score)
            return
        called = text_of(self._cell(row, form.variable_column))
        known = [(score, form.value_column) for score in self._map.score if score.called == called]
        if not known:
            self.left_out["a variable that the map does not name"] += 1
        yield from known

    def _score(self, row: SheetRow, score: ScoreColumn, column: str, cell: Cell, patient: str, when: str) -> Score:
        table_row = self._tables.rows["measurement", score.variable]
        value = self._value(row, score, cell, table_row)
        name = imported_observation.identifier(self._site, self._map.name, patient, score.variable, when)
        source = Source(self._site, f"Observation/dm-fhir-import-{name}")
        recorded = imported_observation.assessment(name, value, table_row, self._tables, when, source)
        result = recorded.measured.result
        if result.reason:
            raise Unreadable(result.reason, _expected(result.reason, table_row))
        assessor = text_of(self._cell(row, self._map.assessor_column)) if self._map.assessor_column else None
        body = imported_observation.to_fhir(recorded, patient, self._map.name, score.method, assessor)
        id_ = source.reference.removeprefix("Observation/")
        return Score(row.line, column, patient, score.variable, when, id_, body)

    def _value(self, row: SheetRow, score: ScoreColumn, cell: Cell, table_row: Row) -> Value:
        if score.answers:
            meaning = score.answers.get(text_of(cell))
            if meaning is None:
                raise Unreadable("answer_unknown", f"expected one of {', '.join(score.answers)}, or what means missing")
            return Value(answer=meaning)
        found = cells.number(cell, self._map.decimal)
        column = score.unit_column or (self._map.long.unit_column if self._map.long else None)
        unit = score.unit or (text_of(self._cell(row, column)) if column else None)
        return Value(imported_observation.quantity(found.value, found.comparator, unit or None, table_row))

    def _when(self, row: SheetRow, column: str) -> str:
        cell = self._cell(row, column)
        if text_of(cell) in ("", *self._map.missing):
            raise Unreadable("date_missing", f"expected a date as {' or '.join(self._map.date.formats)}")
        return cells.when(cell, self._map.date.formats, self._today)

    def _patient(self, row: SheetRow) -> str:
        """The row's patient, `Patient/id`."""
        names = self._names(row)
        if not names:
            raise Unreadable("patient_missing", "expected who the patient is")
        if len(names) > 1:
            raise Unreadable("patient_contradicted", "expected one patient in all rows of a record")
        (name,) = names
        system = self._map.patient.system
        found = self._find_patients(system, name if system else f"Patient/{name.removeprefix('Patient/')}")
        if not found:
            raise Unreadable("patient_unknown", "expected a patient whose records have been pulled")
        if len(found) > 1:
            raise Unreadable("patient_ambiguous", f"expected one patient with this identifier, {len(found)} have it")
        return next(iter(found))

    def _names(self, row: SheetRow) -> set[str]:
        """What the row calls its patient; where it says nothing, what the other rows of its record do."""
        own = text_of(self._cell(row, self._map.patient.column))
        record = self._map.patient.record_column
        named = self._named.get(text_of(self._cell(row, record)), set()) if record else set()
        return named or ({own} if own not in ("", *self._map.missing) else set())

    def _named_by_record(self, rows: Sequence[SheetRow]) -> Mapping[str, set[str]]:
        record, found = self._map.patient.record_column, defaultdict[str, set[str]](set)
        for row in rows if record else ():
            own = text_of(self._cell(row, self._map.patient.column))
            if own not in ("", *self._map.missing):
                found[text_of(self._cell(row, record or ""))].add(own)
        return found

    def _is_wanted(self, row: SheetRow) -> bool:
        return all(text_of(self._cell(row, column)) in texts for column, texts in self._map.only.items())

    def _cell(self, row: SheetRow, column: str) -> Cell:
        """The row's cell in a column; spreadsheets leave out the last ones of a row if they are empty."""
        place = self._place[column]
        return row.cells[place] if place < len(row.cells) else ""


def _expected(reason: str, row: Row) -> str:
    """What a value that the tables cannot use should have been."""
    if reason == "out_of_range" and row.range:
        high = f"to {to_text(row.range.high)}" if row.range.high is not None else "or more"
        return f"expected {to_text(row.range.low)} {high} {row.unit or ''}".rstrip()
    if reason in ("unit_missing", "unit_incompatible"):
        return f"expected a unit: {', '.join([*row.units, *row.assumed_units])}"
    return f"the tables cannot use it: {reason}"
