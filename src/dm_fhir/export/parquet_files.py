"""Tables as Parquet files, one each, with dictionary.parquet.

Exact numbers and numbers as recorded are strings, rounded ones decimal128(38, 6): nothing is a binary float.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from dm_fhir.errors import ConfigError
from dm_fhir.export.columns import DECIMALS, WHOLE_DIGITS, Cell
from dm_fhir.export.tables import DICTIONARY, NAMES, STUDY, TABLES, Table, day_0_of, dictionary, study
from dm_fhir.model.case import Case, CaseSeries

FILES = frozenset(f"{name}.parquet" for name in NAMES)
_LINES_AT_A_TIME = 20_000


def write_parquet(folder: Path, head: CaseSeries, cases: Iterable[Case]) -> dict[str, int]:
    """Write the files into `folder`, some lines at a time; how many lines each table has. Raises ConfigError without pyarrow."""
    arrow, parquet = _libraries()
    lines = {table.name: 0 for table in TABLES}
    waiting: dict[str, list[Sequence[Cell]]] = {table.name: [] for table in TABLES}
    with ExitStack() as stack:
        schemas = {table.name: _schema(arrow, table) for table in TABLES}
        writers = {
            name: stack.enter_context(parquet.ParquetWriter(folder / f"{name}.parquet", schema))
            for name, schema in schemas.items()
        }

        def flush(name: str) -> None:
            writers[name].write_batch(_batch(arrow, waiting[name], schemas[name]))
            waiting[name].clear()

        for case in cases:
            day_0 = day_0_of(case)
            for table in TABLES:
                before = len(waiting[table.name])
                waiting[table.name].extend(table.lines(case, day_0))
                lines[table.name] += len(waiting[table.name]) - before
                if len(waiting[table.name]) >= _LINES_AT_A_TIME:
                    flush(table.name)
        for name in waiting:
            flush(name)
    for name, columns, rows in (("study", STUDY, study(head)), ("dictionary", DICTIONARY, dictionary())):
        _write_texts(arrow, parquet, folder / f"{name}.parquet", columns, rows)
    return lines


def _libraries() -> tuple[Any, Any]:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        raise ConfigError("Parquet needs pyarrow", hint="pip install 'dm-fhir[export]', or --format csv") from None
    return pyarrow, parquet


def _schema(arrow: Any, table: Table) -> Any:
    types = {
        "integer": arrow.int64(),
        "boolean": arrow.bool_(),
        "decimal": arrow.decimal128(WHOLE_DIGITS + DECIMALS, DECIMALS),
    }
    return arrow.schema([(column.name, types.get(column.kind, arrow.string())) for column in table.columns])


def _batch(arrow: Any, lines: Sequence[Sequence[Cell]], schema: Any) -> Any:
    columns = zip(*lines, strict=True) if lines else ([] for _ in schema)
    return arrow.record_batch(
        [arrow.array(column, field.type) for column, field in zip(columns, schema, strict=True)], schema=schema
    )


def _write_texts(
    arrow: Any, parquet: Any, path: Path, columns: Sequence[str], rows: Iterator[tuple[Cell, ...]]
) -> None:
    values = zip(*rows, strict=True)
    arrays = [arrow.array(column, arrow.string()) for column in values]
    parquet.write_table(arrow.table(dict(zip(columns, arrays, strict=True))), path)
