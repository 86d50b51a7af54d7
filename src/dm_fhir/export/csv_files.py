"""Tables as CSV (RFC 4180, UTF-8), one file each, with dictionary.csv."""

import csv
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from dm_fhir.export.columns import Cell
from dm_fhir.export.tables import DICTIONARY, NAMES, STUDY, TABLES, day_0_of, dictionary, study
from dm_fhir.model.case import Case, CaseSeries
from dm_fhir.model.spreadsheet_text import neutralised

FILES = frozenset(f"{name}.csv" for name in NAMES)


def write_csv(folder: Path, head: CaseSeries, cases: Iterable[Case]) -> dict[str, int]:
    """Write the files into `folder`, case by case; how many lines each table has. Numbers are written as they are."""
    lines = {table.name: 0 for table in TABLES}
    with ExitStack() as stack:

        def opened(name: str, columns: Sequence[str]) -> Any:
            file = stack.enter_context((folder / f"{name}.csv").open("w", encoding="utf-8", newline=""))
            writer = csv.writer(file)
            writer.writerow(columns)
            return writer

        writers = {table.name: opened(table.name, [column.name for column in table.columns]) for table in TABLES}
        for case in cases:
            day_0 = day_0_of(case)
            for table in TABLES:
                for line in table.lines(case, day_0):
                    writers[table.name].writerow(map(written, line))
                    lines[table.name] += 1
        opened("study", STUDY).writerows(map(written, line) for line in study(head))
        opened("dictionary", DICTIONARY).writerows(map(written, line) for line in dictionary())
    return lines


def written(cell: Cell) -> str:
    """A cell as text: empty for None, true and false, numbers in full."""
    match cell:
        case None:
            return ""
        case bool():
            return "true" if cell else "false"
        case str():
            return neutralised(cell)
    return f"{cell:f}" if not isinstance(cell, int) else str(cell)
