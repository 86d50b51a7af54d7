"""dm-fhir restore: a copy of the store back in its place."""

from contextlib import closing
from pathlib import Path

import click

from dm_fhir.cli.backup import copying, for_machines, in_words
from dm_fhir.cli.reporter import closing_line, document
from dm_fhir.cli.study import json_option
from dm_fhir.config import load_config
from dm_fhir.errors import ConfigError
from dm_fhir.store.audit import who
from dm_fhir.store.backup import about, restore_store
from dm_fhir.store.database import open_store
from dm_fhir.store.ledger import begin_run, end_run
from dm_fhir.sync.lock import locked


@click.command("restore")
@click.argument("source", metavar="FILE", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@json_option
@click.pass_context
def command(ctx: click.Context, source: Path, as_json: bool) -> int:
    """Put FILE, which `backup` has written, in the place of the store. The store that is there is kept beside it.

    FILE stays as it is. It must be a store of the same drug and of no newer version. Nothing is changed where it is damaged, and
    while a run is at work.

    \b
    Examples:
      dm-fhir restore /var/backups/dm-fhir/dm-fhir-2026-11-25T020000Z.sqlite
      dm-fhir restore dm-fhir.sqlite.version-3.backup
    """
    config_path, voice = ctx.obj
    config = load_config(config_path)
    store = config.store_path
    if store.exists() and source.samefile(store):
        raise ConfigError(f"{source} is the store itself")
    store.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with locked(store, "restore"):
        aside = restore_store(source, store, config.drug, copying(voice))
        with closing(open_store(store, config.drug, voice.say, shared=config.store_shared)) as db:
            restored = about(store)
            end_run(db, begin_run(db, "restore", who()), 0)
    if as_json:
        kept = str(aside) if aside else None
        click.echo(document("restore", [], 0, store=str(store), kept_as=kept, **for_machines(restored)))
        return 0
    click.echo(f"{store} is now {in_words(restored)}")
    if aside:
        click.echo(f"the store that was there is kept as {aside}")
    click.echo("what was read and written after it was copied is not in it: dm-fhir sync, then dm-fhir push --verify")
    click.echo(closing_line("restore", [], 0))
    return 0
