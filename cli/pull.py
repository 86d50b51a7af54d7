"""dm-fhir pull: server or files into the store."""

from typing import Any

import click

from dm_fhir.cli.reporter import counted, report
from dm_fhir.cli.study import Run, json_option, opened, running, site_option
from dm_fhir.errors import ConfigError


@click.command("pull")
@site_option
@click.option("--full", is_flag=True, help="Ask for everything again, not only for what changed.")
@click.option(
    "--from",
    "paths",
    multiple=True,
    metavar="PATH",
    help="Read files instead: NDJSON, Bundles, resources, plain or gzipped, folders of them, or - for standard input.",
)
@json_option
@click.pass_context
def command(ctx: click.Context, sites: tuple[str, ...], full: bool, paths: tuple[str, ...], as_json: bool) -> int:
    """Read the cohort from the servers, or from files, into the store.

    The ledger accounts for every patient and query; a later pull asks only for what changed, and again for what is missing.

    \b
    Examples:
      dm-fhir pull
      dm-fhir pull --site leon --full
      dm-fhir pull --site leon --from export/ --from extra.ndjson.gz
    """
    with opened(ctx, sites) as study, running(study, "pull", ("pull",)) as run:
        lines, more = _from_files(run, paths) if paths else _from_servers(run, full=full)
        summaries = run.summaries()
        return report("pull", summaries, run.exit_code(summaries), as_json=as_json, lines=lines, **more)


def _from_servers(run: Run, *, full: bool) -> tuple[list[str], dict[str, Any]]:
    from dm_fhir.sync.passes import pull

    patients = pull(run.work, run.study.sites, full=full)
    warn_of_empty_cohorts(run, patients)
    return cohort_lines(patients), {"cohort": patients}


def cohort_lines(patients: dict[str, int]) -> list[str]:
    """How many patients each site's cohort has."""
    return [f"{site}: {count} patients in the cohort" for site, count in patients.items()]


def warn_of_empty_cohorts(run: Run, patients: dict[str, int]) -> None:
    """Say of each site where nobody got the drug what may be the reason."""
    for site, count in patients.items():
        if count == 0:
            codes = len(run.work.mappers[site].drug_codes())
            run.study.voice.warn(
                f"{site}: nobody was given {run.study.config.drug}, by any of the {codes} codes that the tables know; "
                f"if somebody was, add the hospital's own code in a table of the site (see docs/mapping.md)"
            )


def _from_files(run: Run, paths: tuple[str, ...]) -> tuple[list[str], dict[str, Any]]:
    from dm_fhir.sync.files import pull_files

    study = run.study
    if len(study.sites) != 1:
        raise ConfigError(
            "files belong to one site", hint=f"name it with --site: {', '.join(s.name for s in study.sites)}"
        )
    site = study.sites[0].name
    types, passed_over = pull_files(
        study.db, site, paths, run.work.mappers[site], run.work.run, study.voice.progress("read")
    )
    for path in passed_over:
        study.voice.say(f"passed over, not a FHIR file: {path}")
    read = dict(sorted(types.items()))
    lines = [f"{site}: read {counted(read) or 'nothing'}"]
    return lines, {"read": read, "passed_over": passed_over}
