"""dm-fhir export: the case series out."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from dm_fhir.cli.private_file import STANDARD_OUTPUT, private_file, private_folder
from dm_fhir.cli.reporter import counted, document
from dm_fhir.cli.study import json_option, note_look, opened, site_option
from dm_fhir.cli.voice import Voice

if TYPE_CHECKING:
    from dm_fhir.model.case import Case, CaseSeries

FORMATS = ("json", "csv", "xlsx", "parquet", "fhir", "ndjson")
_FOLDERS, _NOT_TEXT = ("csv", "parquet"), ("csv", "parquet", "xlsx")


@click.command("export")
@site_option
@click.option("--format", "form", type=click.Choice(FORMATS), default="json", show_default=True, help="What to write.")
@click.option(
    "-o",
    "--output",
    default=STANDARD_OUTPUT,
    show_default=True,
    metavar="PATH",
    help="Where to: a file; for csv and parquet a folder; - is standard output.",
)
@click.option(
    "--identified",
    is_flag=True,
    help="Keep the hospital's references and birth dates: for use inside the hospital only.",
)
@click.option(
    "--from",
    "files",
    multiple=True,
    metavar="FILE",
    help="Write case-series documents (of export or merge) in another format; may be given several times.",
)
@json_option
@click.pass_context
def command(
    ctx: click.Context, sites: tuple[str, ...], form: str, output: str, identified: bool, files: tuple[str, ...], as_json: bool
) -> int:  # fmt: skip
    """The case series, pseudonymised unless --identified. Needs no server.

    json: one document with a published schema, which merge and report read. csv, parquet: a folder with one table per part and
    a data dictionary; xlsx: the same as sheets. fhir: a Bundle; ndjson: a resource a line.

    \b
    Examples:
      dm-fhir export -o leon.json
      dm-fhir export --format csv -o leon-tables
      dm-fhir export --format xlsx --from all-sites.json -o all-sites.xlsx
    """
    _check(form, output, sites, identified=identified, files=files, as_json=as_json)
    with _source(ctx, sites, files, f"as {form} to {output}", identified=identified) as source:
        written = _write(form, output, source)
        left_out = dict(sorted(source.left_out.items()))
        more = {"format": form, "output": output, "written": written, "left_out": left_out, "dates": source.head.dates}
        if as_json:
            click.echo(document("export", _sites(source), 0, **more))
        else:
            _tell(source, form, output, written, left_out)
        return 0


class _Source(NamedTuple):
    """What is exported: the series without its cases, the cases one by one, and how many of them there were in the end."""

    head: "CaseSeries"
    cases: "Iterable[Case]"
    by_site: Counter[str]
    left_out: Counter[str]
    voice: Voice


def _check(
    form: str, output: str, sites: tuple[str, ...], *, identified: bool, files: tuple[str, ...], as_json: bool
) -> None:
    if output == STANDARD_OUTPUT and form in _NOT_TEXT:
        what = "a folder" if form in _FOLDERS else "a file"
        raise click.UsageError(f"--format {form} writes {what}: name it with --output PATH")
    if output == STANDARD_OUTPUT and as_json:
        raise click.UsageError("--json is about the export, which would go to standard output too: name --output PATH")
    if files and (sites or identified):
        raise click.UsageError("--from writes documents as they are: without --site and --identified")


@contextmanager
def _source(
    ctx: click.Context, sites: tuple[str, ...], files: tuple[str, ...], how: str, *, identified: bool
) -> Iterator[_Source]:
    """What is exported. Of the store, it is noted as what and where to it goes (`how`)."""
    counts: Counter[str] = Counter()

    def counting(cases: "Iterable[Case]") -> "Iterator[Case]":
        for case in cases:
            counts[case.site] += 1
            yield case

    if files:
        from dm_fhir.report.documents import read_documents
        from dm_fhir.report.merged import merged

        series = merged(read_documents(files)).series
        yield _Source(series, counting(series.cases), counts, Counter(), ctx.obj[1])
        return
    from dm_fhir.report.series import check_key, each_case, series_head

    with opened(ctx, sites) as study:
        if not identified:
            check_key(study.config)
        note_look(study, "export", reference=f"{'identified' if identified else 'pseudonymised'}, {how}")
        head = series_head(study.db, study.config, study.sites, identified=identified)
        cases = each_case(study.db, study.config, study.sites, identified=identified, by_pseudonym=not identified)
        yield _Source(head, counting(cases), counts, Counter(), study.voice)


def _write(form: str, output: str, source: _Source) -> dict[str, int]:
    """Write it, and say how many lines each table has, or how many cases or resources of each type there are."""
    if form in _FOLDERS:
        return _write_folder(form, Path(output), source)
    with private_file(output) as file:
        if form == "json":
            from dm_fhir.export.document import write_document

            return write_document(file, source.head, source.cases)
        if form == "xlsx":
            from dm_fhir.export.workbook import write_workbook

            return write_workbook(file, source.head, source.cases)
        from dm_fhir.export import fhir_files

        writer = fhir_files.write_bundle if form == "fhir" else fhir_files.write_ndjson
        return writer(file, _resources(source))


def _write_folder(form: str, folder: Path, source: _Source) -> dict[str, int]:
    from dm_fhir.export import csv_files, parquet_files

    if form == "csv":
        with private_folder(folder, csv_files.FILES) as partial:
            return csv_files.write_csv(partial, source.head, source.cases)
    with private_folder(folder, parquet_files.FILES) as partial:
        return parquet_files.write_parquet(partial, source.head, source.cases)


def _resources(source: _Source) -> Iterator[tuple[str, Mapping[str, Any]]]:
    from dm_fhir.mappings.case_resources import resources

    for case in source.cases:
        yield from ((case.site, one) for one in resources(case, source.head, source.left_out))


def _sites(source: _Source) -> list[dict[str, object]]:
    return [
        {"site": site, "cases": source.by_site[site], "complete_until": until}
        for site, until in sorted(source.head.complete_until.items())
    ]


def _tell(source: _Source, form: str, output: str, written: Mapping[str, int], left_out: Mapping[str, int]) -> None:
    cases = source.by_site.total()
    parts = (
        "" if form == "json" else f": {counted({name: count for name, count in written.items() if count}) or 'nothing'}"
    )
    source.voice.say(f"exported {cases} cases{'' if output == STANDARD_OUTPUT else f' to {output}'}{parts}")
    for what, count in left_out.items():
        source.voice.warn(f"left out: {count} x {what}")
