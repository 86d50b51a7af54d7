"""The column map: which columns of a table hold patient, date and scores. TOML, checked whole before a row is read."""

import tomllib
from collections import Counter
from collections.abc import Iterator
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import msgspec

from dm_fhir.errors import ConfigError
from dm_fhir.mappings.cells import format_fault
from dm_fhir.mappings.codes import Row, Tables
from dm_fhir.model.read_file import read_text, read_toml
from dm_fhir.validation import faults


class PatientColumn(msgspec.Struct, frozen=True):
    """Where a row says whose it is. `system` None: by `Patient/id`, or the id alone.

    `record_column`: rows of one record are one patient's, also where only one of them names him.
    """

    column: str
    system: str | None = None
    record_column: str | None = None


class DateColumn(msgspec.Struct, frozen=True):
    """Where a row says when, and how dates are written there."""

    column: str
    formats: tuple[str, ...]


class LongForm(msgspec.Struct, frozen=True):
    """A row for each value, which says what it is."""

    variable_column: str
    value_column: str
    unit_column: str | None = None


class ScoreColumn(msgspec.Struct, frozen=True):
    """One variable: its `column`, or in the long form what it is `called` there. `answers` gives texts their meaning."""

    variable: str
    column: str | None = None
    called: str | None = None
    unit: str | None = None
    unit_column: str | None = None
    date_column: str | None = None
    missing: tuple[str, ...] = ()
    answers: dict[str, str] = {}
    method: str | None = None


class ColumnMap(msgspec.Struct, frozen=True):
    """How one kind of table is read. `only` keeps the rows whose columns hold one of these texts."""

    name: str
    patient: PatientColumn
    date: DateColumn
    score: tuple[ScoreColumn, ...]
    encoding: str = "utf-8"
    delimiter: str | None = None
    sheet: str | None = None
    decimal: str = "."
    missing: tuple[str, ...] = ()
    assessor_column: str | None = None
    long: LongForm | None = None
    only: dict[str, tuple[str, ...]] = {}

    def columns(self) -> Iterator[str]:
        """Every column that a file must have, some of them twice."""
        yield from (self.patient.column, self.date.column, *self.only)
        yield from filter(None, (self.patient.record_column, self.assessor_column))
        if self.long:
            yield from filter(None, msgspec.structs.astuple(self.long))
        for one in self.score:
            yield from filter(None, (one.column, one.unit_column, one.date_column))


def load_column_map(path: Path, tables: Tables) -> ColumnMap:
    """The column map in `path`, for a site with these tables. Raises ConfigError listing every fault at once."""
    try:
        document = read_toml(read_text(path))
    except FileNotFoundError:
        raise ConfigError(f"there is no column map at {path}", hint="how to write one: docs/import.md") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"the column map {path} cannot be read: {error}") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"the column map {path} is not TOML: {error}") from error
    found = faults(document, "column-map")
    column_map = msgspec.convert(document, ColumnMap) if not found else None
    found += _rules(column_map, tables) if column_map else []
    if column_map is None or found:
        raise ConfigError(f"the column map {path} has {len(found)} fault{'s' * (len(found) > 1)}:", faults=found)
    return column_map


def _rules(one: ColumnMap, tables: Tables) -> list[str]:
    """What a schema cannot say."""
    found = [f"date.formats: {fault}" for text in one.date.formats if (fault := format_fault(text))]
    found += [f"only.{name}: an empty column map key" for name in one.only if not name]
    key = "called" if one.long else "column"
    names = Counter((getattr(score, key), score.date_column) for score in one.score)
    found += [f"score: the {key} '{name}' is used {n} times" for (name, _), n in names.items() if name and n > 1]
    for index, score in enumerate(one.score):
        found += [f"score[{index}]: {fault}" for fault in _score_faults(score, one, tables)]
    return found


def _score_faults(score: ScoreColumn, one: ColumnMap, tables: Tables) -> Iterator[str]:
    wanted, other = ("called", "column") if one.long else ("column", "called")
    if getattr(score, wanted) is None:
        yield f"'{wanted}' is missing" + (", as [long] says that the rows name their variable" if one.long else "")
    if getattr(score, other) is not None:
        yield f"'{other}' is for tables {'without' if one.long else 'with'} [long]"
    if score.unit and (score.unit_column or (one.long and one.long.unit_column)):
        yield "'unit' and a unit column say the same twice; leave one of them out"
    if one.long and score.unit_column:
        yield "'unit_column' stands under [long] here"
    row = tables.rows.get(("measurement", score.variable))
    yield from _row_faults(score, row, tables) if row else [_unknown(score.variable, tables)]


def _unknown(variable: str, tables: Tables) -> str:
    known = [name for kind, name in tables.rows if kind == "measurement"]
    close = get_close_matches(variable, known, n=1)
    return f"no table knows the measurement '{variable}'" + (f", did you mean '{close[0]}'?" if close else "")


def _row_faults(score: ScoreColumn, row: Row, tables: Tables) -> Iterator[str]:
    if not row.codes:
        kin = [name for kind, name in tables.rows if kind == "measurement" and name.startswith(f"{row.variable}_")]
        yield f"'{row.variable}' has no code of its own; take {' or '.join(kin) or 'another variable'}"
    if row.answers and not score.answers:
        yield f"'answers' is missing: '{row.variable}' has no number, say which text means positive or negative"
    if score.answers and not row.answers:
        yield f"'answers' is for what has no number; '{row.variable}' has one"
    known = [name for kind, name in tables.rows if kind == "answer"]
    yield from (
        f"answers: no table knows '{a}'; known: {', '.join(known)}" for a in score.answers.values() if a not in known
    )
    units: dict[str, Any] = {**row.units, **row.assumed_units}
    if score.unit and score.unit not in units:
        yield f"unit: '{row.variable}' does not come in '{score.unit}'; known: {', '.join(units)}"
