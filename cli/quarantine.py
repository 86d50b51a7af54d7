"""dm-fhir quarantine: what arrived and could not be kept as a resource."""

import sys
from collections.abc import Sequence

import click

from dm_fhir.cli.reporter import capped, closing_line, document
from dm_fhir.cli.study import Study, json_option, note_look, opened, site_option
from dm_fhir.errors import ConfigError
from dm_fhir.store.database import transaction
from dm_fhir.store.ledger import now
from dm_fhir.store.quarantine import Quarantined, acknowledge, quarantined, quarantined_body

_MOST_LINES = 50


@click.group("quarantine", invoke_without_command=True)
@site_option
@json_option
@click.pass_context
def command(ctx: click.Context, sites: tuple[str, ...], as_json: bool) -> int:
    """What was set aside: where it stood, why, how large it is. `show` prints one, `ack` lets it be.

    What is acknowledged stays listed and keeps no pull from being complete.

    \b
    Examples:
      dm-fhir quarantine --site leon
      dm-fhir quarantine show 12
      dm-fhir quarantine ack 12 13
    """
    if ctx.invoked_subcommand:
        if sites or as_json:
            raise click.UsageError(f"--site and --json go after {ctx.invoked_subcommand}")
        return 0
    with opened(ctx, sites) as study:
        found = {site.name: quarantined(study.db, site.name) for site in study.sites}
    code = 3 if any(_open(listed) for listed in found.values()) else 0
    if as_json:
        click.echo(document("quarantine", [_for_machines(site, listed) for site, listed in found.items()], code))
        return code
    for site, listed in found.items():
        click.echo("\n".join(_lines(site, listed)))
    click.echo(closing_line("quarantine", [], code))
    return code


@command.command("show")
@click.argument("number", type=int)
@click.pass_context
def show(ctx: click.Context, number: int) -> int:
    """Print the bytes of one thing that was set aside, as they came. They are a patient's data.

    \b
    Example:
      dm-fhir quarantine show 12 > 12.json
    """
    with opened(ctx) as study:
        bodies = ((site.name, quarantined_body(study.db, site.name, number)) for site in study.sites)
        site, body = next(((site, body) for site, body in bodies if body is not None), ("", None))
        if body is None:
            raise _unknown(number)
        note_look(study, "show", [site], reference=f"quarantine {number}")
        study.voice.warn(f"number {number} as it came, {len(body)} bytes: this is patient data")
    sys.stdout.buffer.write(body)
    sys.stdout.buffer.flush()
    return 0


@command.command("ack")
@click.argument("numbers", type=int, nargs=-1, metavar="NUMBER…")
@click.option("--all", "every", is_flag=True, help="Acknowledge everything that is set aside now.")
@site_option
@json_option
@click.pass_context
def ack(ctx: click.Context, numbers: tuple[int, ...], every: bool, sites: tuple[str, ...], as_json: bool) -> int:
    """Note that somebody has looked at these and lets them be: they no longer make a pull partial.

    \b
    Examples:
      dm-fhir quarantine ack 12 13
      dm-fhir quarantine ack --all --site leon
    """
    if every == bool(numbers):
        raise click.UsageError("name the numbers, or --all")
    with opened(ctx, sites) as study:
        wanted = numbers or [one.number for site in study.sites for one in _open(quarantined(study.db, site.name))]
        with transaction(study.db):
            for number in wanted:
                _acknowledge(study, number)
    if as_json:
        click.echo(document("quarantine", [], 0, acknowledged=list(wanted)))
        return 0
    click.echo(f"acknowledged: {', '.join(map(str, wanted)) or 'nothing was set aside'}")
    click.echo(closing_line("quarantine ack", [], 0))
    return 0


def _acknowledge(study: Study, number: int) -> None:
    when = now()
    if not any(acknowledge(study.db, site.name, number, when) for site in study.sites):
        raise _unknown(number)


def _unknown(number: int) -> ConfigError:
    return ConfigError(f"nothing that is set aside has the number {number}", hint="the numbers: dm-fhir quarantine")


def _open(listed: Sequence[Quarantined]) -> list[Quarantined]:
    return [one for one in listed if one.acknowledged is None]


def _for_machines(site: str, listed: Sequence[Quarantined]) -> dict[str, object]:
    still_open = len(_open(listed))
    return {
        "site": site, "set_aside": still_open, "acknowledged": len(listed) - still_open,
        "quarantine": [one._asdict() for one in listed],
    }  # fmt: skip


def _lines(site: str, listed: Sequence[Quarantined]) -> list[str]:
    """What nobody has acknowledged comes first."""
    still_open = _open(listed)
    done = [one for one in listed if one.acknowledged is not None]
    where = f"dm-fhir quarantine --site {site} --json"
    return [
        f"{site}: {len(still_open)} set aside, {len(done)} more acknowledged",
        *capped([*still_open, *done], _line, "set aside", where, _MOST_LINES),
    ]


def _line(one: Quarantined) -> str:
    acknowledged = f", acknowledged {one.acknowledged}" if one.acknowledged else ""
    return f"  {one.number}: {one.place} ({one.reason}, {one.size_bytes} bytes){acknowledged}"
