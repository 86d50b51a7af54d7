"""dm-fhir status: what the store knows."""

import click

from dm_fhir.cli.reporter import report
from dm_fhir.cli.study import json_option, opened, site_option
from dm_fhir.errors import worst_exit_code
from dm_fhir.store.ledger import last_run
from dm_fhir.sync.summary import summarise


@click.command("status")
@site_option
@json_option
@click.pass_context
def command(ctx: click.Context, sites: tuple[str, ...], as_json: bool) -> int:
    """What is complete until when, and what needs attention. Reads the store only; the exit code is the store's state.

    \b
    Examples:
      dm-fhir status
      dm-fhir status --site leon --json
    """
    with opened(ctx, sites) as study:
        summaries = [summarise(study.db, site) for site in study.sites]
        code = worst_exit_code(summary.exit_code() for summary in summaries)
        run = last_run(study.db)
        lines = [f"last run: {_run(*run)}"] if run else ["no run yet"]
        last = dict(zip(("command", "started", "ended", "exit_code"), run, strict=True)) if run else None
        return report("status", summaries, code, as_json=as_json, lines=lines, last_run=last)


def _run(command_name: str, started: str, ended: str | None, exit_code: int | None) -> str:
    if ended is None:
        return f"{command_name}, begun {started}, not ended: at work or killed"
    return f"{command_name}, {started} to {ended}, exit {exit_code}"
