"""A table of the report as data, apart from how it is shown."""

from collections.abc import Iterator

import msgspec


class Cell(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a cell says, rounded as it is shown; and the numbers behind it, exact, as text ("100/3")."""

    text: str
    values: dict[str, str] = {}


class Row(msgspec.Struct, frozen=True, omit_defaults=True):
    """One line: what it is of, and a cell for each column after the first. `id` tells it from all others of its group."""

    id: str
    label: str
    cells: tuple[Cell, ...]


class Group(msgspec.Struct, frozen=True, omit_defaults=True):
    """Rows under one heading; an empty heading is none."""

    heading: str
    rows: tuple[Row, ...]


class Table(msgspec.Struct, frozen=True, omit_defaults=True):
    """A table with its title, the headings of its columns (the first is that of the rows' labels) and its notes.

    `notes` say how it was counted and who is missing. `findings` are codes of what is wrong with its numbers. A table
    without groups has nothing to show; its notes say why.
    """

    id: str
    title: str
    columns: tuple[str, ...]
    groups: tuple[Group, ...]
    notes: tuple[str, ...] = ()
    findings: tuple[str, ...] = ()

    @property
    def rows(self) -> Iterator[Row]:
        """All rows, in order."""
        return (row for group in self.groups for row in group.rows)


def grouped(heading: str, rows: Iterator[Row] | list[Row]) -> tuple[Group, ...]:
    """One group, or none where there are no rows."""
    found = tuple(rows)
    return (Group(heading, found),) if found else ()
