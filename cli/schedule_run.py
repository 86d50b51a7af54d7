"""What a sync needs that nobody watches: its program and files, its secrets, and when it runs."""

import hashlib
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import click

from dm_fhir.config import Config
from dm_fhir.errors import ConfigError
from dm_fhir.secret import credential_name, secrets_in

_UNITS = {"m": 1, "min": 1, "h": 60, "d": 1440}
_LEAST_MINUTES = 5


class Scheduled(NamedTuple):
    """One config's sync, as a scheduler must know it; every path is absolute.

    `private` are the files that only this run may read, each under the name by which a service manager hands it over; `public`
    are the others that the config names. `metrics` is the folder of the file of metrics, None where there is none; `tells` is the
    program that is told how a run ended, "" where there is none. `environment` are the variables from which secrets are read. `store_is_given`: the store is
    where $DM_FHIR_STORE says, and not where the config says. `zone` is the sites' time zone, UTC where they have several.
    """

    name: str
    title: str
    program: Path
    config: Path
    store: Path
    store_is_given: bool
    private: dict[str, Path]
    public: tuple[Path, ...]
    environment: tuple[str, ...]
    zone: str
    metrics: Path | None
    tells: str


class Rhythm(NamedTuple):
    """Every so many minutes, a day at most, the first of the day at `hour`:`minute`."""

    every_minutes: int
    hour: int
    minute: int

    @property
    def cron(self) -> str:
        """The five fields of a crontab."""
        hours = self.every_minutes // 60
        if hours == 0:
            return f"{self.minute}-59/{self.every_minutes} * * * *"
        if hours == 24:
            return f"{self.minute} {self.hour} * * *"
        return f"{self.minute} {f'{self.hour}-23/{hours}' if hours > 1 else '*'} * * *"

    @property
    def calendar(self) -> str:
        """systemd's OnCalendar."""
        hours = self.every_minutes // 60
        if hours == 0:
            return f"*:{self.minute:02}/{self.every_minutes}"
        if hours == 24:
            return f"{self.hour:02}:{self.minute:02}"
        return f"{f'{self.hour:02}/{hours}' if hours > 1 else '*'}:{self.minute:02}"

    @property
    def delay_minutes(self) -> int:
        """How much later a run may begin, so that not everybody's does at the same moment."""
        return min(self.every_minutes // 4, 30)

    @property
    def words(self) -> str:
        """For people."""
        if self.every_minutes == 1440:
            return f"every day at {self.hour:02}:{self.minute:02}"
        if self.every_minutes % 60:
            return f"every {self.every_minutes} minutes"
        hours = self.every_minutes // 60
        return f"every {f'{hours} hours' if hours > 1 else 'hour'} at minute {self.minute}"


def rhythm(every: str | None, at: str | None, config: Path) -> Rhythm:
    """When to run. Raises click.UsageError for what a scheduler cannot do evenly."""
    minutes = (1440 if at else 60) if every is None else _minutes(every)
    if at is None:
        # Not everybody at the full hour; the same for the same config, so that the file is the same when it is written again.
        spread = int.from_bytes(hashlib.sha256(bytes(config)).digest()[:4])
        return Rhythm(minutes, 2 if minutes == 1440 else 0, spread % min(minutes, 60))
    match = re.fullmatch(r"([01]?[0-9]|2[0-3]):([0-5][0-9])", at)
    if not match:
        raise click.UsageError(f"--at {at}: must be HH:MM, such as 02:30")
    if minutes < 60:
        raise click.UsageError("--at is for whole hours and days: with --every 15m leave it out")
    hour, minute = map(int, match.groups())
    return Rhythm(minutes, hour % (minutes // 60), minute)


def _minutes(every: str) -> int:
    match = re.fullmatch(r"([0-9]+)(m|min|h|d)", every)
    minutes = int(match[1]) * _UNITS[match[2]] if match else 0
    if minutes < _LEAST_MINUTES or (60 % minutes if minutes < 60 else minutes % 60 or 1440 % minutes):
        hint = "must divide an hour or a day, and be 5m or more: 15m, 30m, 1h, 6h, 1d"
        raise click.UsageError(f"--every {every}: {hint}")
    return minutes


def scheduled(config: Config) -> Scheduled:
    """The sync of this config, run by the program that asks. Raises ConfigError where two private files would have one name."""
    path = _absolute(config.path)
    folder = path.parent
    secrets = list(secrets_in(config))
    private: dict[str, Path] = {}
    for file in sorted(
        {_absolute(one) for one in (*(secret.file for secret in secrets), *_private_files(config)) if one}
    ):
        name = credential_name(file, folder)
        if name in private:
            raise ConfigError(
                f"{file} and {private[name]} would both be handed over as {name}", hint="rename one of them"
            )
        private[name] = file
    zones = {site.timezone for site in config.sites}
    return Scheduled(
        name=_name(path),
        title=" ".join(config.title.split()),
        program=Path(sys.executable).with_name("dm-fhir"),
        config=path,
        store=_absolute(config.store_path),
        store_is_given="DM_FHIR_STORE" in os.environ,
        private=private,
        public=tuple(sorted({_absolute(one) for one in _public_files(config)})),
        environment=tuple(sorted({one.place.partition(":")[2] for one in secrets if one.file is None})),
        zone=zones.pop() if len(zones) == 1 else "Etc/UTC",
        metrics=_absolute(config.metrics.file).parent if config.metrics else None,
        tells=config.notify.command[0] if config.notify and config.notify.command else "",
    )


def _private_files(config: Config) -> Iterator[Path | None]:
    for site in config.sites:
        yield from (site.tls.client_cert, site.tls.client_key, site.cohort.patients)


def _public_files(config: Config) -> Iterator[Path]:
    for site in config.sites:
        yield from site.tables
    for tls in (*(site.tls for site in config.sites), *([config.notify.tls] if config.notify else [])):
        if tls.ca_bundle:
            yield tls.ca_bundle


def _absolute(path: Path) -> Path:
    """Without the links followed: a path that is moved by turning a link stays right."""
    return Path(os.path.abspath(path))


def _name(config: Path) -> str:
    """`dm-fhir`, or with what tells this study from others on the machine: the config's name, else its folder's."""
    own = config.stem if config.stem != "dm-fhir" else config.parent.name
    own = re.sub(r"[^a-z0-9]+", "-", own.lower()).strip("-")
    return "dm-fhir" if own in ("", "dm-fhir") else f"dm-fhir-{own}"[:50].rstrip("-")
