"""Everything that is said on stderr: progress, warnings, remarks, errors. Results go to stdout, elsewhere.

stderr is also the log of a scheduled run. So whatever is said while a run is at work, or as JSON, is one line, and the ids in
its references (`Patient/7`) are blotted out: at a hospital an id is often a patient's number. What is named is the run, the
site, and a unit of the ledger by a name of its own, which `dm-fhir failed` knows.
"""

import re
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import click
import msgspec

from dm_fhir.errors import in_a_line

_SECONDS_BETWEEN_LINES = 10.0
_REFERENCE = re.compile(r"\b([A-Z][a-z][A-Za-z]*)/[A-Za-z0-9._~%|-]+")
#: How a line of text begins, by its level.
_HEADS = {"warning": "warning: ", "error": "error: "}
Fact = int | float | str | None

#: What a step is called where one word says too little.
_SAID = {"wait": "waiting for the export", "prepare": "the server prepares the export", "spark": "Spark"}


class Voice:
    """Speaks to a person on a terminal, in plain lines elsewhere, in JSON lines on request, and not at all when quiet.

    `run` is the number of the run at work, None while there is none; `of_many`: it is at work at so many sites that how far it
    has come at each is not told. Any thread may speak.
    """

    def __init__(self, *, verbose: bool = False, quiet: bool = False, as_json: bool = False) -> None:
        self.verbose, self.quiet, self.as_json = verbose, quiet, as_json
        self.run: int | None = None
        self.of_many = False
        self._is_log = as_json
        self._speaking = threading.RLock()
        self._line_length = 0
        self._last_said: dict[str, float] = {}

    @contextmanager
    def of_run(self, number: int | None) -> Iterator[None]:
        """While this run is at work every line carries its number; from then on no id of a record is said any more.

        None: a run that could not begin.
        """
        self.run, self._is_log = number, True
        try:
            yield
        finally:
            self.run = None

    def say(self, text: str, event: str = "remark", site: str | None = None, **facts: Fact) -> None:
        """A remark. `event` is its stable name for machines, which also get `facts`; none of them may be a patient's."""
        if not self.quiet:
            self._line("info", text, event, site, facts)

    def detail(self, text: str, event: str = "remark", site: str | None = None, **facts: Fact) -> None:
        """A remark for those who asked for more."""
        if self.verbose:
            self._line("debug", text, event, site, facts)

    def note(self, text: str, event: str, site: str | None = None, **facts: Fact) -> None:
        """A remark that a log must have, and that people hear when they asked for more."""
        if self.verbose or (self.as_json and not self.quiet):
            self._line("info", text, event, site, facts)

    def warn(self, text: str, event: str = "remark", site: str | None = None, **facts: Fact) -> None:
        """Something that somebody should look at; said even when quiet."""
        self._line("warning", text, event, site, facts)

    def error(self, text: str, event: str, site: str | None = None, **facts: Fact) -> None:
        """Something that did not work; said even when quiet."""
        self._line("error", text, event, site, facts)

    def last_word(self, text: str, exit_code: int, frames: list[str] | None = None) -> None:
        """Why the command ends without its result; `frames` are the places in the program, for those who asked for more."""
        shown = frames if self.verbose and frames else []
        if self.as_json:
            self._line(
                "error", text, "command_failed", None, {"exit_code": exit_code, "frames": "; ".join(shown) or None}
            )
            return
        self._leave_place()
        click.echo(f"dm-fhir: {_masked(text) if self._is_log else text}", err=True)
        for frame in shown:
            click.echo(f"  {frame}", err=True)

    def progress(self, step: str, unit: str = "") -> Callable[[str, int, int], None]:
        """A function that shows how far `step` has come at a site: in place on a terminal, a line now and then elsewhere.

        `unit` is what is counted, where the step does not say it.
        """
        after, said = f" {unit}" if unit else "", _SAID.get(step, step)

        shown: dict[str, tuple[int, int]] = {}

        def show(site: str, done: int, total: int) -> None:
            if self.quiet or self.of_many or shown.get(site) == (done, total):
                return
            shown[site] = (done, total)
            if sys.stderr.isatty() and not self.as_json:
                self._in_place(f"{said} {site}: {done} of {total}{after}", is_last=done == total)
            elif (
                done == total
                or time.monotonic() - self._last_said.get(step + site, -_SECONDS_BETWEEN_LINES)
                >= _SECONDS_BETWEEN_LINES
            ):
                self._last_said[step + site] = time.monotonic()
                facts: dict[str, Fact] = {"done": done, "total": total}
                self._line("info", f"{said}: {done} of {total}{after}", f"{step}_progress", site, facts)

        return show

    def sites_progress(self, step: str, ended: int, stopped: int, total: int) -> None:
        """Show at how many of many sites `step` has ended, and how many were stopped: in place, or a line now and then."""
        if self.quiet or not self.of_many:
            return
        text = f"{step}: {ended} of {total} sites{f', {stopped} stopped' if stopped else ''}"
        if sys.stderr.isatty() and not self.as_json:
            self._in_place(text, is_last=ended == total)
        elif ended == total or time.monotonic() - self._last_said.get(step, 0) >= _SECONDS_BETWEEN_LINES:
            self._last_said[step] = time.monotonic()
            facts: dict[str, Fact] = {"sites_done": ended, "sites_stopped": stopped, "sites": total}
            self._line("info", text, f"{step}_progress", None, facts)

    @contextmanager
    def step(self, text: str) -> Iterator[None]:
        """Say `text`, and how long it took when it is over."""
        started = time.monotonic()
        yield
        self.say(f"{text} ({time.monotonic() - started:.1f} s)", "step_ended")

    def _in_place(self, text: str, *, is_last: bool) -> None:
        with self._speaking:
            click.echo(f"\r{text}{' ' * max(0, self._line_length - len(text))}", err=True, nl=is_last)
            self._line_length = 0 if is_last else len(text)

    def _leave_place(self) -> None:
        if self._line_length:
            click.echo(err=True)
            self._line_length = 0

    def _line(self, level: str, text: str, event: str, site: str | None, facts: dict[str, Fact]) -> None:
        text = _masked(in_a_line(text)) if self._is_log else text
        run = f"run {self.run}: " if self.run is not None and not sys.stderr.isatty() else ""
        line = f"{run}{_HEADS.get(level, '')}{f'{site}: ' if site else ''}{text}"
        with self._speaking:
            self._leave_place()
            click.echo(self._as_json(level, text, event, site, facts) if self.as_json else line, err=True)

    def _as_json(self, level: str, text: str, event: str, site: str | None, facts: dict[str, Fact]) -> str:
        from dm_fhir.store.ledger import now

        line = {"time": now(), "level": level, "run": self.run, "site": site, "event": event, "message": text}
        told = {name: _masked(fact) if isinstance(fact, str) else fact for name, fact in facts.items()}
        return msgspec.json.encode({**line, **{name: fact for name, fact in told.items() if fact is not None}}).decode()


def _masked(text: str) -> str:
    """The text with every reference cut down to its type."""
    return _REFERENCE.sub(r"\1/…", text)
