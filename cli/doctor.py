"""dm-fhir doctor: does the connection work?"""

from collections.abc import Iterable

import click
import msgspec

from dm_fhir.cli.reporter import closing_line, document
from dm_fhir.cli.study import chosen, json_option, site_option
from dm_fhir.config import Config, Site, load_config
from dm_fhir.errors import DmFhirError, worst_exit_code
from dm_fhir.mappings.site import site_mapper
from dm_fhir.sync.doctor import Check


@click.command("doctor")
@site_option
@json_option
@click.pass_context
def command(ctx: click.Context, sites: tuple[str, ...], as_json: bool) -> int:
    """Try the connection to each site: endpoint, FHIR version, login, and each planned search. Changes nothing.

    \b
    Examples:
      dm-fhir doctor
      dm-fhir doctor --site leon --json
    """
    config = load_config(ctx.obj[0])
    found, code = examined(config, chosen(config, sites))
    if as_json:
        click.echo(document("doctor", found, code))
    else:
        click.echo("\n".join(line for site in found for line in _lines(site)))
        click.echo(closing_line("doctor", [], code))
    return code


class SiteChecks(msgspec.Struct, frozen=True):
    """What was tried at a site."""

    site: str
    checks: list[Check]


def examined(config: Config, sites: Iterable[Site]) -> tuple[list[SiteChecks], int]:
    """What was tried at each site and what came of it; the exit code of the worst."""
    found = [SiteChecks(site.name, _checks(config, site)) for site in sites]
    return found, worst_exit_code(check.exit_code for site in found for check in site.checks)


def _checks(config: Config, site: Site) -> list[Check]:
    from dm_fhir.fhir.login import connect
    from dm_fhir.sync.doctor import examine

    try:
        mapper = site_mapper(config, site)
        with connect(site) as connection:
            return examine(connection, mapper)
    except DmFhirError as error:
        return [Check("config", False, str(error).replace("\n ", ";"), error.exit_code)]


def _lines(site: SiteChecks) -> list[str]:
    return [
        f"{site.site}:",
        *(f"  {'ok  ' if check.ok else 'FAIL'}  {check.what}: {check.said}" for check in site.checks),
    ]
