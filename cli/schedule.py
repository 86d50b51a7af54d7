"""dm-fhir schedule: the files by which systemd, cron or Kubernetes run the sync."""

import re
from pathlib import Path

import click

from dm_fhir.cli.schedule_cron import cron_files
from dm_fhir.cli.schedule_k8s import k8s_files
from dm_fhir.cli.schedule_run import Rhythm, Scheduled, rhythm, scheduled
from dm_fhir.cli.schedule_systemd import systemd_files
from dm_fhir.config import load_config
from dm_fhir.errors import ConfigError

_SERVICE_USER = "dm-fhir"
_OTHERS_LOSE = ("/tmp", "/var/tmp", "/run")  # noqa: S108  # nothing is put there


@click.command("schedule")
@click.argument("scheduler", type=click.Choice(["systemd", "cron", "k8s"]))
@click.option(
    "--every",
    metavar="TIME",
    help="How often: 15m, 1h, 6h, 1d; it must divide an hour or a day. Default 1h; with --at 1d.",
)
@click.option(
    "--at", metavar="HH:MM", help="When: the first of the day. Without it a minute that depends on the config's path."
)
@click.option(
    "--user",
    metavar="NAME",
    help="Who runs it. systemd: default dm-fhir. cron: makes a file for /etc/cron.d. k8s: a number.",
)
@click.option("--image", metavar="NAME", help="k8s: the container's image; default dm-fhir with this version.")
@click.option(
    "-o", "--output", type=click.Path(path_type=Path, file_okay=False), metavar="DIR",
    help="Write the files there, instead of printing them; files of these names are replaced.",
)  # fmt: skip
@click.pass_context
def command(
    ctx: click.Context,
    scheduler: str,
    every: str | None,
    at: str | None,
    user: str | None,
    image: str | None,
    output: Path | None,
) -> int:
    """Print the files that run `dm-fhir sync` of this config on a schedule: systemd, cron or k8s. They hold no secret.

    Each begins with the commands that put it in place.

    \b
    Examples:
      dm-fhir schedule systemd -o /etc/systemd/system
      dm-fhir --config /etc/dm-fhir/dm-fhir.toml schedule cron --every 15m
      dm-fhir schedule k8s --at 02:30 --image registry.example.org/dm-fhir:1.0
    """
    if image and scheduler != "k8s":
        raise click.UsageError("--image is for k8s")
    config_path, voice = ctx.obj
    run = scheduled(load_config(config_path))
    when = rhythm(every, at, run.config)
    if scheduler != "k8s":
        for warning in _warnings(run):
            voice.warn(warning)
    files = _files(scheduler, run, when, user, image)
    if output is None:
        click.echo("\n".join(files.values()), nl=False)
        return 0
    try:
        output.mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            (output / name).write_text(text, encoding="utf-8")
    except OSError as error:
        raise ConfigError(
            f"{output} cannot be written: {error.strerror}", hint="name another folder: -o DIR"
        ) from error
    click.echo("\n".join(f"wrote {output / name}" for name in files))
    return 0


def _files(scheduler: str, run: Scheduled, when: Rhythm, user: str | None, image: str | None) -> dict[str, str]:
    if scheduler == "systemd":
        return systemd_files(run, when, user or _SERVICE_USER)
    if scheduler == "cron":
        return cron_files(run, when, user)
    if user and not re.fullmatch("[1-9][0-9]*", user):
        raise click.UsageError("--user is a number above 0 for k8s: who that is, is the container's matter")
    return k8s_files(run, when, int(user) if user else None, image)


def _warnings(run: Scheduled) -> list[str]:
    """What a service will not find, or not for long, and what it could do more than it should."""
    places = {"the program": run.program, "the config": run.config, "the store": run.store}
    found = [
        f"{what} is at {path}: files there go, and services do not see them; move it"
        for what, path in places.items()
        if any(path.is_relative_to(folder) for folder in _OTHERS_LOSE)
    ]
    if run.config.is_relative_to(run.store.parent):
        found.append(
            "the config is in the folder of the store: who may write the store may write the config and its keys; "
            f'better [store] path = "/var/lib/dm-fhir/{run.store.name}"'
        )
    return found
