"""dm-fhir status: what the store knows."""

import click

from dm_fhir.cli.reporter import report
from dm_fhir.cli.runs import ending
from dm_fhir.cli.study import json_option, opened, site_option
from dm_fhir.errors import worst_exit_code
from dm_fhir.mappings.patient import merges
from dm_fhir.store.ledger import runs
from dm_fhir.sync.summary import summarise


@click.command("status")
@site_option
@click.option("--all", "each", is_flag=True, help="Each site by itself, also where there are more than ten.")
@json_option
@click.pass_context
def command(ctx: click.Context, sites: tuple[str, ...], each: bool, as_json: bool) -> int:
    """What is complete until when, and what needs attention. Reads the store only; the exit code is the store's state.

    Of more than ten sites it says how many are how, what is wrong at many of them, then the worst ones.

    \b
    Examples:
      dm-fhir status
      dm-fhir status --site leon --json
      dm-fhir status --site 'north-*' --all
    """
    with opened(ctx, sites) as study:
        summaries = [summarise(study.db, site, merges) for site in study.sites]
        code = worst_exit_code(summary.standing_code() for summary in summaries)
        run = next(iter(runs(study.db, 1)), None)
        lines = [f"last run: {run.command}, {ending(run, is_newest=True)}"] if run else ["no run yet"]
        last = {name: getattr(run, name) for name in ("command", "started", "ended", "exit_code")} if run else None
        return report("status", summaries, code, as_json=as_json, lines=lines, each=each, last_run=last)
