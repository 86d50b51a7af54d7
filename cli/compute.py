"""dm-fhir compute: store into cases and outcomes."""

import click
from dm_fhir.cli.reporter import report
from dm_fhir.cli.study import json_option, opened, running, site_option


@click.command("compute")
@site_option
@json_option
@click.pass_context
def command(ctx: click.Context, sites: tuple[str, ...], as_json: bool) -> int:
    """Turn the store into cases and outcomes, only for patients whose records or tables changed. Needs no server.

    \b
    Example:
      dm-fhir compute
    """
    from dm_fhir.sync.passes import compute

    with opened(ctx, sites) as study, running(study, "compute", ("compute",)) as run:
        computed = compute(run.work, study.sites)
        lines = [
            f"{site}: {done.mapped} patients computed, {done.unchanged} unchanged" for site, done in computed.items()
        ]
        summaries = run.summaries()
        more = {"computed": {site: done._asdict() for site, done in computed.items()}}
        return report("compute", summaries, run.exit_code(summaries), as_json=as_json, lines=lines, **more)
