"""Which engine reads the files of a pull, and the file that its work is kept in until the store has it."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import click

from dm_fhir.cli.study import Run
from dm_fhir.errors import ConfigError

if TYPE_CHECKING:
    from dm_fhir.sync.scan.runners import Runner

F = TypeVar("F", bound=Callable[..., object])


class Engine(NamedTuple):
    """What the options say: `name` is local or spark; `processes` of this machine; Spark's `master`."""

    name: str
    processes: int | None
    master: str | None

    def check(self, paths: Sequence[str]) -> None:
        """Raises ConfigError where the options say nothing together."""
        if not paths and (self.name != "local" or self.processes):
            option = "--processes" if self.processes else "--engine"
            raise ConfigError(f"{option} reads files", hint="say which with --from")
        if self.name == "local" and self.master:
            raise ConfigError("--master belongs to --engine spark", hint="add --engine spark")
        if self.name == "spark" and self.processes:
            raise ConfigError("--processes is this machine's; Spark has its own", hint="such as --master local[4]")
        if self.name == "spark" and "-" in paths:
            raise ConfigError("Spark cannot read standard input", hint="give a file, or leave --engine spark out")


def engine_options(command: F) -> F:
    """`--processes`, `--engine`, `--master`."""
    for option in (
        click.option(
            "--master", metavar="URL",
            help="With --engine spark: local[2], spark://…, k8s://… or yarn; else what spark-submit says, or local[*].",
        ),
        click.option(
            "--engine", type=click.Choice(["local", "spark"]), default="local", show_default=True,
            help="What reads the files of --from: this machine, or Apache Spark.",
        ),
        click.option(
            "--processes", type=click.IntRange(1, 256), metavar="N",
            help="With --from: read in so many processes. Without it: one, or as many as there are cores where it is worth it.",
        ),
    ):  # fmt: skip
        command = option(command)
    return command


@contextmanager
def runner_of(engine: Engine, run: Run, site: str, paths: Sequence[str], *, again: bool) -> Iterator["Runner"]:
    """What reads the files. `again`: what a run that was killed has left of Spark's work is not used.

    What Spark has read lies in a private file beside the store, so that the next run need not ask for it again if this one is
    killed; when the block ends well that is removed.
    """
    from dm_fhir.sync.scan.runners import in_turn, on_this_machine

    if engine.name == "local":
        yield in_turn if tuple(paths) == ("-",) else on_this_machine(engine.processes)
        return
    from dm_fhir.sync.scan.result import Made, kept_in
    from dm_fhir.sync.scan.spark import installed, on_spark

    store, tell = run.study.config.store_path, run.study.voice.progress("spark", "tasks")
    beside = store.with_name(f"{store.name}.{site}.spark")
    if again:
        beside.unlink(missing_ok=True)
    with on_spark(engine.master, store.with_name(f"{store.name}.spark.log"), lambda *step: tell(site, *step)) as runner:
        yield kept_in(beside, Made(installed(), site), runner)
    beside.unlink(missing_ok=True)
