"""dm-fhir map: the mapping tables."""

import click

from dm_fhir.cli import map_show


@click.group("map")
def command() -> None:
    """The mapping tables: which code means what, in which units, and who says so.

    \b
    Examples:
      dm-fhir map show --variable ck
      dm-fhir map show --fhir --output terminology
      dm-fhir map schema > mapping-table.schema.json
    """


command.add_command(map_show.show)
command.add_command(map_show.schema)
