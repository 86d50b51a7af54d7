"""dm-fhir map diff: what another table would change, in the tables and in what the store holds."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from dm_fhir.cli.map_check import printable, scope_of
from dm_fhir.cli.reporter import capped, document, number_of
from dm_fhir.cli.study import Study, json_option, opened, site_option
from dm_fhir.config import Site
from dm_fhir.errors import ConfigError

if TYPE_CHECKING:
    from dm_fhir.mappings.table_changes import TableChange
    from dm_fhir.sync.difference import Changed, Difference

_MOST_LINES = 30
_MOST_REFERENCES = 5


@click.command("diff", short_help="What another table would change.")
@click.argument("old", type=click.Path(exists=True, path_type=Path))
@click.argument("new", type=click.Path(exists=True, path_type=Path))
@site_option
@json_option
@click.pass_context
def diff(ctx: click.Context, old: Path, new: Path, sites: tuple[str, ...], as_json: bool) -> int:
    """Which rows differ between OLD and NEW, and which values and outcomes would change. Reads the store only.

    OLD and NEW are tables, or folders of them. They take the place of the table of the same name (or of OLD or NEW itself)
    among the site's tables; the others stay as they are. Where the site has no such table they are laid on top.

    \b
    Examples:
      dm-fhir map diff tables/leon.toml tables/leon-new.toml --site leon
      dm-fhir map diff tables-of-last-month tables
    """
    with opened(ctx, sites) as study:
        found = [(site, *_compared(study, site, old, new)) for site in study.sites]
    if as_json:
        click.echo(document("map diff", [_for_machines(rows, values) for _, rows, values in found], 0))
        return 0
    lines = (line for site, rows, values in found for line in _lines(site, rows, values, (old, new)))
    click.echo("\n".join(map(printable, lines)))
    click.echo("map diff: exit 0 (complete)")
    return 0


def _compared(study: Study, site: Site, old: Path, new: Path) -> "tuple[list[TableChange], Difference]":
    """What differs between the tables, and in what the store holds, which is not read where the tables say the same."""
    from dm_fhir.mappings.site import site_mapper
    from dm_fhir.mappings.table_changes import table_changes
    from dm_fhir.sync.difference import Difference, difference

    before, after = (
        site_mapper(study.config, msgspec.structs.replace(site, tables=tables))
        for tables in sides(site.tables, _files(old), _files(new))
    )
    rows = table_changes(before.tables, after.tables)
    if not rows:
        return rows, Difference(site.name, 0, 0, [], [], [], [])
    return rows, difference(study.db, site.name, before, after, study.voice.progress("map diff"))


def _files(path: Path) -> list[Path]:
    """The tables behind a path. Raises ConfigError for a folder that has none."""
    files = sorted(one for one in path.iterdir() if _is_table(one)) if path.is_dir() else [path]
    if not files:
        raise ConfigError(f"there is no table in {path}", hint="name a table, or a folder of tables")
    return files


def _is_table(path: Path) -> bool:
    """Whether a file in a folder is a table: TOML, or a ConceptMap; the tables' schema may stand beside them."""
    return path.suffix == ".toml" or (path.suffix == ".json" and not path.name.endswith(".schema.json"))


def sides(
    tables: Sequence[Path], old: Sequence[Path], new: Sequence[Path]
) -> tuple[tuple[Path, ...], tuple[Path, ...]]:
    """The site's tables with `old`, and with `new`, where one of either stands: the same path, else the same name."""
    paths = {path.resolve() for path in (*old, *new)}
    by_path = [table for table in tables if table.resolve() in paths]
    names = {path.name for path in (*old, *new)}
    theirs = by_path or [table for table in tables if table.name in names]
    return _side(tables, theirs, old), _side(tables, theirs, new)


def _side(tables: Sequence[Path], theirs: Sequence[Path], files: Sequence[Path]) -> tuple[Path, ...]:
    """Each of `files` in the place of the table that it stands for, the rest in the place of the last, or on top."""
    left, found = list(files), []
    for table in tables:
        if table not in theirs:
            found.append(table)
            continue
        same = [path for path in left if path.resolve() == table.resolve() or path.name == table.name]
        if table == theirs[-1]:
            same = [*same, *(path for path in left if path not in same)]
        left = [path for path in left if path not in same]
        found += same
    return (*found, *left)


def _for_machines(rows: "Sequence[TableChange]", values: "Difference") -> dict[str, Any]:
    return {**msgspec.structs.asdict(values), "rows": rows}


def _lines(site: Site, rows: "Sequence[TableChange]", values: "Difference", paths: tuple[Path, Path]) -> list[str]:
    old, new = paths
    if not rows:
        return [f"{site.name}: {old} and {new} say the same; no value would change"]
    everything = f"dm-fhir map diff {old} {new} --site {site.name} --json"
    return [
        f"{site.name}: {number_of(len(rows), 'row')} {'differs' if len(rows) == 1 else 'differ'}; {values.patients_changed} of {values.patients} patients would change",
        *capped(rows, _row, "rows", everything, _MOST_LINES),
        *_scope_lines(site, rows),
        *_patients("would become cases", values.cases_gained),
        *_patients("would no longer be cases", values.cases_lost),
        *capped(values.values, lambda one: _change("value", one), "kinds of change", everything, _MOST_LINES),
        *capped(values.outcomes, lambda one: _change("outcome", one), "kinds of change", everything, _MOST_LINES),
    ]


def _row(one: "TableChange") -> str:
    name = f"{one.kind} {one.variable}".replace("_", " ") if one.kind == "table" else f"[[{one.kind}]] {one.variable}"
    return f"  {one.change}: {name}: {'; '.join(one.what) or 'without codes'}"


def _scope_lines(site: Site, rows: "Sequence[TableChange]") -> list[str]:
    """What a pull has not kept cannot be seen to change."""
    adds_codes = any(what.startswith("code ") and what.endswith(" added") for row in rows for what in row.what)
    if not adds_codes or scope_of(site) == "all":
        return []
    return [
        '  pulled with scope = "mapped": records of codes that are new here were not kept; what they bring shows after '
        f"dm-fhir pull --site {site.name}"
    ]


def _patients(what: str, patients: Sequence[str]) -> list[str]:
    return [f"  {len(patients)} patients {what}: {_some(patients, len(patients))}"] if patients else []


def _change(what: str, one: "Changed") -> str:
    return f"  {what} {one.variable}: {one.count} {_CHANGES[one.change]}, {one.patients} patients: {_some(one.references, one.count)}"


_CHANGES = {
    "newly mapped": "newly mapped",
    "no longer mapped": "no longer mapped",
    "newly computed": "newly computed",
    "no longer computed": "no longer computed",
    "another variable": "were another variable",
    "number": "with another number",
    "unit": "in another unit",
    "newly usable": "newly usable",
    "no longer usable": "no longer usable",
    "reason": "without a number for another reason",
    "other": "with other codes, flags or sources",
}


def _some(references: Sequence[str], count: int) -> str:
    more = f", … ({count})" if count > _MOST_REFERENCES else ""
    return ", ".join(references[:_MOST_REFERENCES]) + more
