"""dm-fhir map: the mapping tables, by themselves and against what the store holds."""

import click

from dm_fhir.cli import map_show
from dm_fhir.cli.map_check import check
from dm_fhir.cli.map_diff import diff


@click.group("map")
def command() -> None:
    """The mapping tables: which code means what, what they do not know, and what another table would change.

    \b
    Examples:
      dm-fhir map show --variable ck
      dm-fhir map check --site leon --suggest > tables/leon-new.toml
      dm-fhir map diff tables/leon.toml tables/leon-new.toml --site leon
      dm-fhir map show --fhir --output terminology
    """


command.add_command(map_show.show)
command.add_command(map_show.schema)
command.add_command(check)
command.add_command(diff)
