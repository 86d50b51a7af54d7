"""dm-fhir export: the case series out."""

import click

from dm_fhir.cli.private_file import write_private
from dm_fhir.cli.study import opened, site_option
from dm_fhir.errors import DmFhirError


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
    from dm_fhir.report.series import case_series, check_key
    from dm_fhir.validation import faults

    with opened(ctx, sites) as study:
        if not identified:
            check_key(study.config)
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
