"""dm-fhir report: the page to read."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from dm_fhir.cli.private_file import write_private
from dm_fhir.cli.study import Study, note_look, opened, site_option
from dm_fhir.errors import ConfigError

if TYPE_CHECKING:
    from dm_fhir.report.report import Report
    from dm_fhir.report.sections import Section
    from dm_fhir.report.sentence import Sentence
    from dm_fhir.statistics.table import Table


@click.command("report")
@site_option
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    default=Path("report"),
    show_default=True,
    metavar="DIR",
    help="The folder for report.html with figures/ and tables/ beside it; or a name ending in .html, for the page alone.",
)
@click.option(
    "--identified", is_flag=True, help="Name patients by the hospital's references: for use inside the hospital only."
)
@click.option(
    "--from",
    "files",
    multiple=True,
    metavar="FILE",
    help="Report on case-series documents (of export or merge) instead of the store; may be given several times.",
)
@click.pass_context
def command(ctx: click.Context, sites: tuple[str, ...], output: Path, identified: bool, files: tuple[str, ...]) -> int:
    """The paper's sentences, tables and figures, methods and how complete the data are, as one HTML page. Needs no server.

    The figures also lie beside it as SVG, PDF and PNG with the data behind each, the tables as CSV.

    \b
    Examples:
      dm-fhir report
      dm-fhir report -o anifrolumab.html
      dm-fhir report --from all-sites.json
    """
    if files:
        if sites or identified:
            raise click.UsageError("--from reports on documents as they are: without --site and --identified")
        click.echo(_write(_of_documents(files), output))
        return 0
    with opened(ctx, sites) as study:
        note_look(study, "report", reference=f"{'identified' if identified else 'pseudonymised'}, to {output}")
        click.echo(_write(study_report(study, identified=identified), output))
        return 0


def write_report(study: Study, folder: Path, more: "Sequence[Section]" = ()) -> Path:
    """Write the report with its files into `folder`, `more` sections at its end; the path of the page. Raises ConfigError if that fails."""
    return _write(study_report(study, more=more), folder)


def study_report(study: Study, *, identified: bool = False, more: "Sequence[Section]" = ()) -> "Report":
    """The report of the chosen sites, as computed from the store."""
    from dm_fhir.report.page import Data
    from dm_fhir.report.report import report
    from dm_fhir.report.series import case_series
    from dm_fhir.store.cases import counts_by_state, finding_counts
    from dm_fhir.store.ledger import now

    series = case_series(study.db, study.config, study.sites, identified=identified)
    findings = {site.name: finding_counts(study.db, site.name) for site in study.sites}
    states = {site.name: counts_by_state(study.db, site.name) for site in study.sites}
    data = Data(
        series.title,
        series.drug,
        series.cases,
        series.complete_until,
        findings,
        now(),
        series.written_by or "",
        series.definitions,
        study.config.suppress_below,
    )
    return report(data, states, more=more)


def said_of(study: Study) -> "tuple[tuple[Sentence, ...], tuple[Table, ...]]":
    """The sentences and tables of the chosen sites, with the hospital's own references."""
    from dm_fhir.report.sections import tables_of

    found = study_report(study, identified=True)
    return found.sentences, tuple(tables_of(found.sections))


def _of_documents(files: Sequence[str]) -> "Report":
    from dm_fhir import __version__
    from dm_fhir.report.documents import finding_counts, read_documents, sentences_of_document
    from dm_fhir.report.merged import merged
    from dm_fhir.report.page import Data
    from dm_fhir.report.report import report
    from dm_fhir.report.series import without_sources
    from dm_fhir.store.ledger import now

    series = merged(read_documents(files)).series
    series = msgspec.structs.replace(series, cases=tuple(map(without_sources, series.cases)))
    data = Data(
        series.title,
        series.drug,
        series.cases,
        series.complete_until,
        finding_counts(series.cases),
        now(),
        f"dm-fhir {__version__}",
        series.definitions,
    )
    return report(data, also=tuple(sentences_of_document(series)))


def _write(found: "Report", output: Path) -> Path:
    """The page alone where `output` is an HTML file, else the page with all its files in that folder."""
    if output.suffix == ".html":
        _put(output, found.page().encode())
        return output
    page = output / "report.html"
    _put(page, found.page(has_files=True).encode())
    for name, content in found.files():
        _put(output / name, content)
    return page


def _put(path: Path, content: bytes) -> None:
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {error.strerror}") from error
    write_private(str(path), content)
