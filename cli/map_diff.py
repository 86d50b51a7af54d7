"""dm-fhir map diff."""

import click


@click.command("diff")
def diff() -> int:
    """x"""
    return 0
