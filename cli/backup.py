"""dm-fhir backup: a copy of the store, made while it is used."""

from datetime import UTC, datetime
from pathlib import Path

import click

from dm_fhir.cli.reporter import closing_line, document, number_of
from dm_fhir.cli.study import json_option
from dm_fhir.cli.voice import Voice
from dm_fhir.config import load_config
from dm_fhir.errors import ConfigError
from dm_fhir.store.backup import About, Progress, about, copy_store


@click.command("backup")
@click.argument("target", metavar="FILE", type=click.Path(path_type=Path))
@click.option("--replace", is_flag=True, help="Replace a file of that name.")
@json_option
@click.pass_context
def command(ctx: click.Context, target: Path, replace: bool, as_json: bool) -> int:
    """Copy the store to FILE, as it is at one moment, also while a sync is writing it. In a folder it gets a name with the time.

    A name without an ending, such as .sqlite, is a folder's, which is made if it is not there.

    The copy is one file, mode 0600, checked before it has its name. It holds patients' records. Config, tables and keys are
    not in it.

    \b
    Examples:
      dm-fhir backup /var/backups/dm-fhir
      dm-fhir backup before-the-move.sqlite --json
    """
    config_path, voice = ctx.obj
    store = load_config(config_path).store_path
    if not store.is_file():
        raise ConfigError(f"there is no store at {store} yet", hint="one is made with: dm-fhir pull")
    if not target.suffix and not target.exists():
        _make_folder(target)
    if target.is_dir():
        target /= f"{store.stem}-{datetime.now(UTC):%Y-%m-%dT%H%M%SZ}{store.suffix}"
    if target.exists() and (not replace or target.samefile(store)):
        raise ConfigError(f"{target} exists already; it is left as it is", hint="name another file, or --replace")
    about(store)
    size = copy_store(store, target, copying(voice))
    copied = about(target)
    if as_json:
        click.echo(document("backup", [], 0, file=str(target), bytes=size, **for_machines(copied)))
    else:
        click.echo(f"{target}: {in_words(copied)}; {size / 10**6:.1f} MB")
        click.echo(closing_line("backup", [], 0))
    return 0


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(mode=0o700, parents=True)
    except OSError as error:
        raise ConfigError(f"the folder {folder} cannot be made: {error.strerror}", hint="name another") from error


def copying(voice: Voice) -> Progress:
    """Shows how many pages are copied."""
    show = voice.progress("copy")
    return lambda done, total: show("", done, total)


def in_words(one: About) -> str:
    """What a store says of itself, for people."""
    newest = f", the newest begun {one.newest_run}" if one.newest_run else ""
    return f"a store of {one.drug}, version {one.version}, with {number_of(one.runs, 'run')}{newest}"


def for_machines(one: About) -> dict[str, object]:
    """The same for machines."""
    return {"store_version": one.version, "drug": one.drug, "runs": one.runs, "newest_run": one.newest_run}
