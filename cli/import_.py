"""dm-fhir import: scores kept in a table into the store."""

from collections import Counter
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click
from msgspec.structs import replace

from dm_fhir.cli.completion import site_names
from dm_fhir.cli.reporter import capped, closing_line, counted, document, report
from dm_fhir.cli.study import Study, json_option, opened, running
from dm_fhir.config import Site
from dm_fhir.errors import ConfigError
from dm_fhir.sync.summary import SiteSummary

if TYPE_CHECKING:
    from dm_fhir.mappings.scores import Fault, Scores
    from dm_fhir.sync.imports import FaultyRow, Plan

_MOST_LINES = 50


@click.command("import")
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--site",
    "sites",
    shell_complete=site_names,
    metavar="NAME",
    multiple=True,
    help="The site whose patients these are; needed if there are several.",
)
@click.option(
    "--map", "map_path", type=click.Path(path_type=Path), metavar="COLUMNS.toml",
    help="The column map; without it the site's: [site.import] map.",
)  # fmt: skip
@click.option(
    "--replace",
    "withdraw",
    is_flag=True,
    help="Withdraw what an earlier import by this map had and this file has no longer.",
)
@click.option("--dry-run", is_flag=True, help="Check the file and say what would change, and change nothing.")
@json_option
@click.pass_context
def command(
    ctx: click.Context,
    file: Path,
    sites: tuple[str, ...],
    map_path: Path | None,
    withdraw: bool,
    dry_run: bool,
    as_json: bool,
) -> int:
    """Read scores kept in a spreadsheet (CSV, XLSX) or a REDCap export into the store, as a column map says.

    Every row is checked: a faulty one is named with its line and column, the others go in. The same file again changes
    nothing; a corrected value is a new version of the same score. How a column map is written: docs/import.md.

    \b
    Examples:
      dm-fhir import scores.csv --map clinic.toml --dry-run
      dm-fhir import scores.xlsx --site leon
      dm-fhir import redcap.csv --map redcap.toml --replace
    """
    with opened(ctx, sites) as study:
        site = _one_site(study)
        wanted = _Wanted(file, map_path or _map_of(site), withdraw)
        if dry_run:
            return _tried(study, site, wanted, as_json=as_json)
        with running(study, "import", ("pull",)) as run:
            read = _read(study, site, wanted)
            _keep(study, site, read, run.work.run)
            summaries = run.summaries()
            code = run.exit_code(summaries)
            told = summaries if as_json else [_without_rows(one, read) for one in summaries]
            return report("import", told, code, as_json=as_json, lines=_lines(site, read), imported=_details(read))


class _Wanted(NamedTuple):
    file: Path
    map_path: Path
    withdraw: bool


class _Read(NamedTuple):
    """A file that has been read, and what it changes."""

    wanted: _Wanted
    scores: "Scores"
    plan: "Plan"

    @property
    def asked_in_vain(self) -> bool:
        """Whether something was to be withdrawn and is not: a faulty row may be what the file seems to lack."""
        return self.wanted.withdraw and bool(self.scores.faults) and bool(self.plan.gone)


def _one_site(study: Study) -> Site:
    if len(study.sites) != 1:
        names = ", ".join(site.name for site in study.sites)
        raise ConfigError("a file belongs to one site", hint=f"name it with --site: {names}")
    return study.sites[0]


def _map_of(site: Site) -> Path:
    if site.column_map is None:
        hint = (
            f"give --map COLUMNS.toml, or set map under [site.import] of {site.name}; how to write one: docs/import.md"
        )
        raise ConfigError("no column map says how to read the file", hint=hint)
    return site.column_map


def _read(study: Study, site: Site, wanted: _Wanted) -> _Read:
    from dm_fhir.mappings.column_map import load_column_map
    from dm_fhir.mappings.imported_observation import origin
    from dm_fhir.mappings.scores import read_scores
    from dm_fhir.mappings.sheet import read_sheet
    from dm_fhir.mappings.site import site_mapper
    from dm_fhir.sync.imports import patients_by_identifier, plan_import

    mapper = site_mapper(study.config, site)
    how = load_column_map(wanted.map_path, mapper.tables)
    sheet = read_sheet(wanted.file, how.columns(), how.encoding, how.delimiter, how.sheet)
    patients = patients_by_identifier(study.db, site.name, mapper)
    today = datetime.now(site.zone).date()
    scores = read_scores(
        sheet, how, site.name, mapper.tables, lambda system, value: patients.get((system, value), ()), today
    )
    withdraw = wanted.withdraw and not scores.faults
    return _Read(wanted, scores, plan_import(study.db, site.name, origin(how.name), scores.scores, withdraw=withdraw))


def _keep(study: Study, site: Site, read: _Read, run: int) -> None:
    from dm_fhir.sync.imports import carry_out, query_of

    query = query_of(read.wanted.file, read.wanted.map_path)
    carry_out(study.db, site.name, query, read.plan, read.scores.rows, _faulty(read.scores), run)


def _tried(study: Study, site: Site, wanted: _Wanted, *, as_json: bool) -> int:
    """What an import would do. It reads the store only: no lock, no run."""
    read = _read(study, site, wanted)
    code = 3 if read.scores.faults else 0
    if as_json:
        click.echo(document("import", [], code, imported=_details(read), dry_run=True))
        return code
    for line in (*_lines(site, read), "dry run: nothing was changed"):
        click.echo(line)
    click.echo(closing_line("import", [], code))
    return code


def _without_rows(summary: SiteSummary, read: _Read) -> SiteSummary:
    """The site's state without the rows of this very file that were set aside: they are told with what was expected."""
    from dm_fhir.sync.imports import query_of

    query = query_of(read.wanted.file, read.wanted.map_path)
    others = {place: why for place, why in summary.set_aside.items() if not place.startswith(f"{query}, ")}
    return replace(summary, set_aside=others)


def _faulty(scores: "Scores") -> "list[FaultyRow]":
    """The faulty rows as they are set aside: each once, with all that is wrong with it."""
    from dm_fhir.sync.imports import FaultyRow

    found: dict[int, list[Fault]] = {}
    for fault in scores.faults:
        found.setdefault(fault.line, []).append(fault)
    return [FaultyRow("; ".join(map(_place, faults)), scores.faulty[line]) for line, faults in found.items()]


def _place(fault: "Fault") -> str:
    where = f"line {fault.line}, column {fault.column}" if fault.column else f"line {fault.line}"
    return f"{where}: {fault.kind}"


def _details(read: _Read) -> dict[str, Any]:
    scores, plan = read.scores, read.plan
    return {
        "file": str(read.wanted.file), "map": str(read.wanted.map_path), "rows": scores.rows, "scores": plan.counts(),
        "empty": scores.empty, "repeated": scores.repeated, "left_out": scores.left_out, "gone": plan.gone,
        "faults": [fault._asdict() for fault in scores.faults],
    }  # fmt: skip


def _lines(site: Site, read: _Read) -> list[str]:
    """What became of the file: its rows, its scores, each fault, what it has no longer."""
    scores, plan = read.scores, read.plan
    file, counts = read.wanted.file, plan.counts()
    rows = {"with faults": len(scores.faulty), **{f"left out: {why}": n for why, n in scores.left_out.items()}}
    cells = {"empty": scores.empty, "said twice": scores.repeated}
    lines = [
        f"{site.name}: {file}: {_parts(f'{scores.rows} rows', rows)}",
        f"{site.name}: {_parts(f'{len(scores.scores)} scores', counts)}{_parts('; other cells', cells, '')}",
        *capped(
            scores.faults, lambda one: f"  {_place(one)}; {one.expected}", "faults", _again(read.wanted), _MOST_LINES
        ),
    ]
    if plan.gone and not plan.withdrawn:
        why = "nothing is withdrawn while rows have faults" if read.asked_in_vain else "--replace withdraws them"
        lines += [
            f"  no longer in the file, still in the store: {len(plan.gone)}; {why}",
            *capped(plan.gone, lambda one: f"    {one}", "scores"),
        ]
    if scores.faults:
        kinds = counted(Counter(fault.kind for fault in scores.faults))
        lines.append(f"  faults: {kinds}; what mends them: dm-fhir failed --site {site.name}")
    return lines


def _again(wanted: _Wanted) -> str:
    return f"dm-fhir import {wanted.file} --map {wanted.map_path} --dry-run --json"


def _parts(head: str, counts: dict[str, int], without: str | None = None) -> str:
    """`head: 3 new, 1 amended`; where there is nothing to count the head alone, or what stands for it."""
    told = counted({name: count for name, count in counts.items() if count})
    return f"{head}: {told}" if told else head if without is None else without
