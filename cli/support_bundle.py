"""dm-fhir support-bundle: what somebody who helps needs to know, in one file without anything of a patient."""

import io
import sqlite3
import tomllib
import zipfile
from contextlib import ExitStack
from pathlib import Path

import click

from dm_fhir.cli.private_file import STANDARD_OUTPUT, private_file
from dm_fhir.cli.reporter import closing_line, document, number_of
from dm_fhir.cli.study import json_option
from dm_fhir.cli.voice import Voice
from dm_fhir.config import Config, load_config
from dm_fhir.errors import ConfigError, StoreError
from dm_fhir.store.looking import looking
from dm_fhir.store.schema import SCHEMA_VERSION, version
from dm_fhir.store.unit_names import known_unit_names

_README = """\
A support bundle of dm-fhir: how a study stands, for somebody who helps.

It holds no name, date, identifier, id, value or text of a patient, no secret, no path, no address and nothing that a server
said. It was not cleaned of them: only counts, states, words from closed lists, versions and times of runs are put in.
Patients are numbers that are drawn anew for each bundle. Sites are {sites}.

versions.json   dm-fhir, Python, SQLite, the system, the packages
config.json     which keys are set; the values of switches, numbers and choices
store.json      rows by table, size, whether SQLite finds it sound
runs.json       the last runs: command, when, exit code
ledger.json     each query: state, reason, counts, until when it was read; what is set aside, by reason
findings.json   findings by code
outcomes.json   written outcomes by state
servers.json    what was found out about each server
"""


@click.command("support-bundle")
@click.option(
    "-o", "--output", default="dm-fhir-support.zip", show_default=True, metavar="FILE", help="The file to write; - for standard output."
)  # fmt: skip
@click.option("--with-sites", is_flag=True, help="Name the sites and the hosts of their endpoints.")
@json_option
@click.pass_context
def command(ctx: click.Context, output: str, with_sites: bool, as_json: bool) -> int:
    """Write what somebody who helps needs to know into a zip file: versions, settings, ledger, runs, counts.

    Nothing of a patient is in it, no secret, and nothing that a server said; read it before you send it. Needs no server, and
    changes nothing: a store that cannot be opened is left out.

    \b
    Examples:
      dm-fhir support-bundle
      dm-fhir support-bundle -o support.zip --with-sites
    """
    if as_json and output == STANDARD_OUTPUT:
        raise ConfigError("--json and -o - both want standard output", hint="name a file: -o FILE")
    voice: Voice = ctx.obj[1]
    config = load_config(ctx.obj[0])
    files = _files(config, voice, with_sites=with_sites)
    with private_file(output) as target:
        target.write(_zipped(files))
    voice.say(f"{number_of(len(files), 'file')} to {output}", "bundle_written", files=len(files))
    if as_json:
        click.echo(document("support-bundle", [], 0, output=output, files=sorted(files)))
    elif output != STANDARD_OUTPUT:
        click.echo("\n".join(f"  {name}, {len(data)} bytes" for name, data in files.items()))
        click.echo(closing_line("support-bundle", [], 0))
    return 0


def _files(config: Config, voice: Voice, *, with_sites: bool) -> dict[str, bytes]:
    """Every file by name. Of a store that cannot be read as it is, nothing."""
    from dm_fhir.sync.support import shown_as, support_files

    read = tomllib.loads(config.path.read_text(encoding="utf-8"))
    readme = _README.format(sites="called by their names" if with_sites else "numbers in the order of the config")
    with ExitStack() as stack:
        try:
            db = stack.enter_context(looking(config.store_path))
            if db is not None:
                _check_version(db, config.store_path)
            naming = known_unit_names(db) if db is not None else None
            files = support_files(config, read, db, shown_as(config, named=with_sites, name_unit=naming))
        except (sqlite3.Error, StoreError) as error:
            why = error.message if isinstance(error, StoreError) else f"it cannot be read ({type(error).__name__})"
            voice.warn(f"the store is left out: {why}", "store_left_out")
            files = support_files(config, read, None, shown_as(config, named=with_sites, name_unit=None))
    return {"README.txt": readme.encode(), **files}


def _check_version(db: sqlite3.Connection, path: Path) -> None:
    """A store of another version has other columns, and is not migrated for a look."""
    theirs = version(db)
    if theirs != SCHEMA_VERSION:
        raise StoreError(f"it is of version {theirs}, this dm-fhir has {SCHEMA_VERSION}")


def _zipped(files: dict[str, bytes]) -> bytes:
    """A zip file in which nothing tells who packed it, or when."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            entry = zipfile.ZipInfo(f"dm-fhir-support/{name}")
            entry.compress_type, entry.external_attr = zipfile.ZIP_DEFLATED, 0o600 << 16
            archive.writestr(entry, data)
    return packed.getvalue()
