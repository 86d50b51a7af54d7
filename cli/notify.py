"""dm-fhir notify: try the way in which people are told how runs end."""

import click

from dm_fhir.cli.outside import message_of, send
from dm_fhir.cli.reporter import closing_line, document
from dm_fhir.cli.study import json_option, opened
from dm_fhir.errors import ConfigError
from dm_fhir.store.ledger import now, runs
from dm_fhir.sync.metrics import LastRun
from dm_fhir.sync.notification import Message


@click.command("notify")
@click.option("--dry-run", is_flag=True, help="Print the message, and tell nobody.")
@json_option
@click.pass_context
def command(ctx: click.Context, dry_run: bool, as_json: bool) -> int:
    """Tell those whom [notify] names how the last run ended, marked as a test: to see that messages arrive.

    Runs tell by themselves when it is due. What is told here counts for nothing there.

    \b
    Examples:
      dm-fhir notify --dry-run
      dm-fhir notify
    """
    with opened(ctx) as study:
        config = study.config
        if config.notify is None:
            hint = "add [notify] with a command or a webhook: docs/monitoring.md says how"
            raise ConfigError("the config does not say who is to be told", hint=hint)
        last = next((run for run in runs(study.db) if run.ended is not None), None)
        shown = (
            LastRun(last.command, last.id, last.started, last.ended or "", last.exit_code or 0, {})
            if last
            else LastRun("notify", None, now(), now(), 0, {})
        )
        told = _marked(message_of(config, study.db, shown))
        ways = {} if dry_run else send(config, config.notify, told)
    code = 1 if any(ways.values()) else 0
    if as_json:
        click.echo(document("notify", [], code, dry_run=dry_run, told=ways, message=told.document))
        return code
    lines = [f"told by {way}" if trouble is None else f"not told by {way}: {trouble}" for way, trouble in ways.items()]
    click.echo("\n".join(lines) if not dry_run else f"{told.text}\ndry run: nobody was told")
    click.echo(closing_line("notify", [], code))
    return code


def _marked(told: Message) -> Message:
    subject = f"Test: {told.subject}"
    text = told.text.replace(told.subject, subject, 1)
    return Message(subject, text, told.document | {"text": text, "test": True})
