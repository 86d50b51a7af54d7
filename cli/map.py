"""dm-fhir map: the mapping tables against what the store holds."""

import click

from dm_fhir.cli.map_check import check
from dm_fhir.cli.map_diff import diff


@click.group("map")
def command() -> None:
    """The mapping tables: what they do not know of the hospital's codes, and what another table would change.

    \b
    Examples:
      dm-fhir map check --site leon
      dm-fhir map check --site leon --suggest > tables/leon-new.toml
      dm-fhir map diff tables/leon.toml tables/leon-new.toml --site leon
    """


command.add_command(check)
command.add_command(diff)
