"""Everything that is said on stderr: progress, warnings, remarks. Results go to stdout, elsewhere."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import click
import msgspec

_SECONDS_BETWEEN_LINES = 10.0


class Voice:
    """Speaks to a person on a terminal, in plain lines elsewhere, in JSON lines on request, and not at all when quiet."""

    def __init__(self, *, verbose: bool = False, quiet: bool = False, as_json: bool = False) -> None:
        self.verbose, self.quiet, self.as_json = verbose, quiet, as_json
        self._line_length = 0
        self._last_said: dict[str, float] = {}

    def say(self, text: str) -> None:
        """A remark."""
        if not self.quiet:
            self._line("info", text)

    def detail(self, text: str) -> None:
        """A remark for those who asked for more."""
        if self.verbose:
            self._line("debug", text)

    def warn(self, text: str) -> None:
        """Something that somebody should look at; said even when quiet."""
        self._line("warning", text)

    def progress(self, step: str) -> Callable[[str, int, int], None]:
        """A function that shows how far `step` has come at a site: in place on a terminal, a line now and then elsewhere."""

        def show(site: str, done: int, total: int) -> None:
            if self.quiet:
                return
            if sys.stderr.isatty() and not self.as_json:
                self._in_place(f"{step} {site}: {done} of {total}", is_last=done == total)
            elif (
                done == total
                or time.monotonic() - self._last_said.get(step + site, -_SECONDS_BETWEEN_LINES)
                >= _SECONDS_BETWEEN_LINES
            ):
                self._last_said[step + site] = time.monotonic()
                self._line("info", f"{step} {site}: {done} of {total}")

        return show

    @contextmanager
    def step(self, text: str) -> Iterator[None]:
        """Say `text`, and how long it took when it is over."""
        started = time.monotonic()
        yield
        self.say(f"{text} ({time.monotonic() - started:.1f} s)")

    def _in_place(self, text: str, *, is_last: bool) -> None:
        click.echo(f"\r{text}{' ' * max(0, self._line_length - len(text))}", err=True, nl=is_last)
        self._line_length = 0 if is_last else len(text)

    def _line(self, level: str, text: str) -> None:
        if self._line_length:
            click.echo(err=True)
            self._line_length = 0
        if self.as_json:
            from dm_fhir.store.ledger import now

            text = msgspec.json.encode({"time": now(), "level": level, "message": text}).decode()
        click.echo(f"warning: {text}" if level == "warning" and not self.as_json else text, err=True)
