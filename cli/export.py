"""dm-fhir export: the case series out."""

import os
import sys
from pathlib import Path

import click

from dm_fhir.cli.study import opened, site_option
from dm_fhir.errors import ConfigError, DmFhirError


@click.command("export")
@site_option
@click.option("--format", "form", type=click.Choice(["json"]), default="json", show_default=True, help="What to write.")
@click.option("-o", "--output", default="-", show_default=True, metavar="PATH", help="Where to; - is standard output.")
@click.option(
    "--identified",
    is_flag=True,
    help="Keep the hospital's references and birth dates: for use inside the hospital only.",
)
@click.pass_context
def command(ctx: click.Context, sites: tuple[str, ...], form: str, output: str, identified: bool) -> int:
    """The case series as one document with a published schema, pseudonymised unless --identified. Needs no server.

    \b
    Examples:
      dm-fhir export -o case-series.json
      dm-fhir export --site leon --format json -o leon.json
    """
    from dm_fhir.model.document import encode
    from dm_fhir.report.series import case_series
    from dm_fhir.validation import faults

    with opened(ctx, sites) as study:
        series = case_series(study.db, study.config, study.sites, identified=identified)
        data = encode(series)
        found = faults(_parsed(data), "case-series")
        if found:
            raise DmFhirError(
                "the document does not satisfy its own schema: " + "; ".join(found[:5]),
                hint="this is a fault of dm-fhir; please report it",
            )
        write_private(output, data + b"\n")
        study.voice.say(f"exported {len(series.cases)} cases{'' if output == '-' else f' to {output}'}")
        return 0


def _parsed(data: bytes) -> object:
    import json

    return json.loads(data)


def write_private(output: str, data: bytes) -> None:
    """Write `data` to the file `output`, mode 0600, or to standard output (`-`). Raises ConfigError where it cannot."""
    if output == "-":
        sys.stdout.buffer.write(data)
        return
    # Beside the target first, so that a run that is killed leaves no half document under its name.
    partial = Path(output).with_name(Path(output).name + ".partial")
    try:
        with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(data)
        partial.replace(output)
    except OSError as error:
        raise ConfigError(f"{output} cannot be written: {error.strerror}") from error
