"""dm-fhir runs: what was run, when, and how it ended."""

import click

from dm_fhir.cli.reporter import closing_line, document
from dm_fhir.cli.study import json_option, opened
from dm_fhir.errors import EXIT_CODES
from dm_fhir.store.ledger import Run, runs
from dm_fhir.sync.lock import is_alive


@click.command("runs")
@click.option(
    "--last", "most", type=click.IntRange(min=1), default=20, show_default=True, metavar="N", help="How many."
)
@json_option
@click.pass_context
def command(ctx: click.Context, most: int, as_json: bool) -> int:
    """Past runs, the newest first: what was run, when, and how it ended. Reads the store only.

    \b
    Examples:
      dm-fhir runs
      dm-fhir runs --last 5 --json
    """
    with opened(ctx) as study:
        found = runs(study.db, most)
    if as_json:
        click.echo(document("runs", [], 0, runs=[_for_machines(run, is_newest=run is found[0]) for run in found]))
        return 0
    for run in found:
        by = f" by {run.user}" if run.user else ""
        click.echo(f"run {run.id}: {run.command}{by}, {ending(run, is_newest=run is found[0])}")
    if found and found[-1].id > 1:
        click.echo(f"… earlier ones: dm-fhir runs --last {2 * most}")
    click.echo("no run yet" if not found else closing_line("runs", [], 0))
    return 0


def ending(run: Run, *, is_newest: bool) -> str:
    """When a run was, and how it ended or that it has not."""
    if run.ended is not None:
        return f"{run.started} to {run.ended}, exit {run.exit_code} ({_meaning(run, is_newest=is_newest)})"
    if _is_at_work(run, is_newest=is_newest):
        return f"begun {run.started}, at work as process {run.pid}"
    return f"begun {run.started}, interrupted"


def _for_machines(run: Run, *, is_newest: bool) -> dict[str, object]:
    return {
        "run": run.id, "command": run.command, "started": run.started, "ended": run.ended, "exit_code": run.exit_code,
        "meaning": _meaning(run, is_newest=is_newest), "process": run.pid,
        "user": run.user,
    }  # fmt: skip


def _meaning(run: Run, *, is_newest: bool) -> str:
    if _is_at_work(run, is_newest=is_newest):
        return "at work"
    return "interrupted" if run.exit_code is None else EXIT_CODES.get(run.exit_code, "failed")


def _is_at_work(run: Run, *, is_newest: bool) -> bool:
    """Only the newest can be: one runs at a time. Once the next has begun, a killed one is noted as interrupted."""
    return is_newest and run.exit_code is None and is_alive(run.pid)
