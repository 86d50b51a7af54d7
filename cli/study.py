"""Options become objects here: the config, the store, the mappings, the run under its lock."""

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import click

from dm_fhir.cli.completion import site_names
from dm_fhir.cli.ending import ENDING, Ending
from dm_fhir.cli.outside import tell_outside
from dm_fhir.cli.reporter import FEW
from dm_fhir.cli.run_log import tell_open
from dm_fhir.cli.voice import Voice
from dm_fhir.config import Config, Site, load_config
from dm_fhir.errors import EXIT_CODES, DmFhirError, InternalError, StoreError, worst_exit_code
from dm_fhir.fhir.budget import Budget
from dm_fhir.mappings.patient import merges
from dm_fhir.mappings.site import site_mappers
from dm_fhir.store.audit import Looked, note_looked, who
from dm_fhir.store.database import open_store, space_warning, transaction
from dm_fhir.store.ledger import begin_run, end_run, interrupted_before, now
from dm_fhir.sync.lock import locked
from dm_fhir.sync.metrics import LastRun
from dm_fhir.sync.passes import Connect, Pass
from dm_fhir.sync.summary import STEPS, SiteSummary, summarise

if TYPE_CHECKING:
    from dm_fhir.fhir.connection import Connection

#: The commands that are runs.
_RUNS = ("pull", "import", "compute", "push", "sync")
F = TypeVar("F", bound=Callable[..., object])


class Study(NamedTuple):
    """A study that a command works on. `sites` are those that were asked for, `ending` hears what a run came to that broke off."""

    config: Config
    sites: tuple[Site, ...]
    db: sqlite3.Connection
    voice: Voice
    ending: Ending


class Run(NamedTuple):
    """One run at work, and what it must account for when it ends."""

    study: Study
    work: Pass
    steps: tuple[str, ...]
    told: list[SiteSummary]
    found: list[int]

    def summaries(self) -> list[SiteSummary]:
        """What the store says of each site when the work is done; worked out once."""
        errors = self.work.errors
        if not self.told:
            self.told.extend(summarise(self.study.db, site, merges, errors.get(site.name)) for site in self.study.sites)
        return self.told

    def exit_code(self, summaries: Sequence[SiteSummary]) -> int:
        """By the ledger, by what stopped a site, and by what the work has `found`."""
        stopped = [error.exit_code for error in self.work.errors.values()]
        return worst_exit_code([*stopped, *self.found, *(summary.exit_code(self.steps) for summary in summaries)])


def site_option(command: F) -> F:
    """`--site`, which can be given several times."""
    option = click.option(
        "--site",
        "sites",
        multiple=True,
        metavar="NAME",
        help="Only this site, or those that match ('north-*'); may be given several times.",
        shell_complete=site_names,
    )
    return option(command)


def json_option(command: F) -> F:
    """`--json`."""
    return click.option("--json", "as_json", is_flag=True, help="Print one JSON object for machines.")(command)


@contextmanager
def opened(ctx: click.Context, sites: Sequence[str] = ()) -> Iterator[Study]:
    """The study of this command line. Raises ConfigError, StoreError."""
    path, voice = ctx.obj
    is_run = ctx.info_name in _RUNS and not ctx.params.get("dry_run")
    with opened_study(path, voice, sites, ctx.info_name if is_run else None, ctx.meta.get(ENDING)) as study:
        yield study


@contextmanager
def opened_study(
    path: Path, voice: Voice, sites: Sequence[str] = (), command: str | None = None, ending: Ending | None = None
) -> Iterator[Study]:
    """The study whose config is at `path`, with the named sites, or all.

    `command` is what cannot run if it cannot be opened: those outside are told. None: nobody waits for it.
    """
    config, started = load_config(path), now()
    try:
        asked = chosen(config, sites)
        db = open_store(config.store_path, config.drug, voice.say, shared=config.store_shared)
    except DmFhirError as error:
        if command is not None:
            tell_outside(config, voice, None, LastRun(command, None, started, now(), error.exit_code, {}))
        raise
    try:
        yield Study(config, asked, db, voice, ending or Ending())
    except sqlite3.Error as error:
        hint = "is the disk full, or the file being used by another program?"
        raise StoreError(f"the store {config.store_path} failed: {error}", hint=hint) from error
    finally:
        db.close()


def note_look(
    study: Study, command: Looked, sites: Sequence[str] = (), *, patient: str = "", reference: str = ""
) -> None:
    """Note in the audit log that patients' data are about to be shown or taken out: of one patient, or of all of the sites.

    A look is not refused because it cannot be noted: whoever can read the store needs no program for it.
    """
    try:
        with transaction(study.db):
            note_looked(study.db, command, sites or [site.name for site in study.sites], patient, reference)
    except StoreError as error:
        study.voice.warn(f"this could not be noted in the audit log: {error.message}")


def chosen(config: Config, names: Sequence[str]) -> tuple[Site, ...]:
    """The sites with these names or patterns, each once, or all. Raises ConfigError for one that fits no site."""
    found = {site.name: site for name in names for site in config.sites_called(name)}
    return tuple(found.values()) if names else config.sites


@contextmanager
def running(study: Study, command: str, steps: tuple[str, ...] = STEPS) -> Iterator[Run]:
    """A run under the store's lock. It is noted in the store when it begins and when it ends, also by an error.

    When it has ended, or could not begin, those outside are told.
    """
    end = _End(command, now())
    try:
        with _running(study, command, steps, end) as run:
            yield run
    except BaseException as error:
        end.exit_code = end.exit_code or _code_of(error)
        raise
    finally:
        with study.voice.of_run(end.number):
            tell_outside(study.config, study.voice, study.db, end.told())


@contextmanager
def _running(study: Study, command: str, steps: tuple[str, ...], end: "_End") -> Iterator[Run]:
    db, voice = study.db, study.voice
    mappers = site_mappers(study.config, study.sites)
    with locked(study.config.store_path, command) as held:
        before, warning = interrupted_before(db), space_warning(db) if "pull" in steps else None
        number = end.number = begin_run(db, command, who())
        held(number)
        budget = Budget(study.config.most_requests)
        with voice.of_run(number), _connecting(voice, budget) as connect:
            voice.note(f"{command} begins", "run_started", command=command)
            if before is not None:
                voice.say("previous run was interrupted; continuing", "run_interrupted_before")
            if warning:
                voice.warn(warning, "space_low")
            work = Pass(
                db, number, mappers, connect, voice.progress, {}, end.seconds, study.config.sites_at_a_time, budget.heard,
                voice.sites_progress,
            )  # fmt: skip
            voice.of_many = len(study.sites) > FEW
            run = Run(study, work, steps, [], [])
            try:
                yield run
                end.exit_code = run.exit_code(run.summaries())
                _tell_mistakes(run)
                tell_open(voice, db, study.sites, number, steps, run.work.errors)
            except BaseException as error:
                end.exit_code = _code_of(error)
                raise
            finally:
                study.ending.note(db, study.sites, number)
                end_run(db, number, end.exit_code)
                meaning = EXIT_CODES.get(end.exit_code, "failed")
                voice.note(f"{command} ends: exit {end.exit_code} ({meaning})", "run_ended", exit_code=end.exit_code)


class _End:
    """How a run is ending, for whoever is told of it."""

    def __init__(self, command: str, started: str) -> None:
        self.command, self.started = command, started
        self.number: int | None = None
        self.exit_code = 0
        self.seconds: dict[str, float] = {}

    def told(self) -> LastRun:
        """As of now."""
        return LastRun(self.command, self.number, self.started, now(), self.exit_code, self.seconds)


def _code_of(error: BaseException) -> int:
    if isinstance(error, KeyboardInterrupt):
        return 130
    return error.exit_code if isinstance(error, DmFhirError) else 1


def _tell_mistakes(run: Run) -> None:
    """Where in the program a site was stopped by a mistake of its own, for those who asked for more."""
    for site, error in run.work.errors.items():
        for frame in error.frames if isinstance(error, InternalError) else ():
            run.study.voice.detail(frame, "internal_error", site)


@contextmanager
def _connecting(voice: Voice, budget: Budget) -> Iterator[Connect]:
    """How the run connects to its sites; in the end those who asked for more hear how many requests that took."""
    from dm_fhir.fhir.login import connect
    from dm_fhir.fhir.tls import private_files_faults

    used: list[tuple[str, Connection]] = []

    def counted(site: Site) -> "Connection":
        for fault in private_files_faults(site):
            voice.warn(f"{site.name}: {fault}")
        connection = connect(site, budget=budget)
        used.append((site.name, connection))
        return connection

    yield counted
    for site, one in sorted(used, key=itemgetter(0)):
        if one.pace.waited_seconds >= 1:
            text = f"waited {one.pace.waited_seconds:.0f} s as asked, or between tries"
            voice.say(text, "waited", site, seconds=round(one.pace.waited_seconds))
        voice.detail(
            f"{one.requests_sent} requests, {one.writes_sent} of them writing, {one.retries} repeated",
            "requests_sent", site, requests=one.requests_sent, writes=one.writes_sent, repeated=one.retries,
        )  # fmt: skip
