"""What a shell is offered for the values of options: names that are in the config, never anything of a patient."""

import os
import tomllib
from pathlib import Path

import click


def site_names(ctx: click.Context, _: click.Parameter, incomplete: str) -> list[str]:
    """The sites of the config that this command line would use; none where it cannot be read. Nothing else is checked."""
    path = Path(ctx.find_root().params.get("config") or os.environ.get("DM_FHIR_CONFIG", "dm-fhir.toml"))
    try:
        sites = tomllib.loads(path.read_text(encoding="utf-8")).get("site", [])
        names = [site["name"] for site in sites]
    except (OSError, ValueError, TypeError, KeyError):  # whoever is typing must not be told of it here
        return []
    return [name for name in names if isinstance(name, str) and name.startswith(incomplete)]
