"""dm-fhir report: the page to read."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from dm_fhir.cli.study import Study, opened, site_option
from dm_fhir.errors import ConfigError

if TYPE_CHECKING:
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
    help="The folder to put report.html in, or a file name ending in .html.",
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
    """One HTML page: patients, outcomes, the paper's sentences, and how complete the data are. Needs no server.

    \b
    Examples:
      dm-fhir report
      dm-fhir report -o anifrolumab.html
      dm-fhir report --from all-sites.json
    """
    target = output if output.suffix == ".html" else output / "report.html"
    if files:
        if sites or identified:
            raise click.UsageError("--from reports on documents as they are: without --site and --identified")
        click.echo(_written(_page_of_documents(files), target))
        return 0
    with opened(ctx, sites) as study:
        click.echo(write_report(study, target, identified=identified))
        return 0


def write_report(study: Study, target: Path, *, identified: bool = False) -> Path:
    """Write the page to `target` and give its path. Raises ConfigError if it cannot be written."""
    return _written(_page(study, identified=identified), target)


def _written(page: str, target: Path) -> Path:
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with os.fdopen(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
            file.write(page)
    except OSError as error:
        raise ConfigError(f"{target} cannot be written: {error.strerror}") from error
    return target


def study_sentences(study: Study) -> "tuple[Sentence, ...]":
    """The paper's sentences for the chosen sites, as computed from the store."""
    from dm_fhir.report.sentences import sentences
    from dm_fhir.report.series import case_series

    series = case_series(study.db, study.config, study.sites, identified=True)
    return sentences(series.cases, series.drug, study.config.suppress_below)


def study_tables(study: Study) -> "tuple[Table, ...]":
    """The paper's tables for the chosen sites, as computed from the store."""
    from dm_fhir.report.series import case_series
    from dm_fhir.report.tables.paper import tables
    from dm_fhir.statistics.cohort import Cohort
    from dm_fhir.store.cases import counts_by_state

    series = case_series(study.db, study.config, study.sites, identified=True)
    states = {site.name: counts_by_state(study.db, site.name) for site in study.sites}
    return tables(Cohort(series.cases), series.drug, series.definitions, study.config.suppress_below, states)


def _page(study: Study, *, identified: bool) -> str:
    from dm_fhir.report.page import page
    from dm_fhir.report.sentences import sentences
    from dm_fhir.report.series import case_series
    from dm_fhir.store.cases import finding_counts
    from dm_fhir.store.ledger import now

    # The sentences need whole birth dates for exact ages; patients they name go by the same names as in the tables.
    whole = case_series(study.db, study.config, study.sites, identified=True)
    shown = whole if identified else case_series(study.db, study.config, study.sites)
    findings = {site.name: finding_counts(study.db, site.name) for site in study.sites}
    named = [msgspec.structs.replace(case, id=other.id) for case, other in zip(whole.cases, shown.cases, strict=True)]
    found = sentences(named, whole.drug, study.config.suppress_below)
    return page(whole.title, whole.drug, shown.cases, found, whole.complete_until, findings, now(), whole.definitions)


def _page_of_documents(files: Sequence[str]) -> str:
    from dm_fhir.report.documents import finding_counts, read_documents, sentences_of_document
    from dm_fhir.report.merged import merged
    from dm_fhir.report.page import page
    from dm_fhir.report.sentences import sentences
    from dm_fhir.store.ledger import now

    series = merged(read_documents(files)).series
    found = (*sentences(series.cases, series.drug), *sentences_of_document(series))
    findings = finding_counts(series.cases)
    return page(
        series.title, series.drug, series.cases, found, series.complete_until, findings, now(), series.definitions
    )
