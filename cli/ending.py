"""What a command line had come to when it ended without its result: for its last line on stdout, which is never missing."""

import time
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    import sqlite3

    from dm_fhir.cli.voice import Voice
    from dm_fhir.config import Site

#: Under what the context of a command line knows it.
ENDING = "dm_fhir.ending"


class Ending:
    """One command line on its way. `voice` is None until its options are read; the counts are those of its run, by site."""

    def __init__(self) -> None:
        self.voice: Voice | None = None
        self.units: dict[str, dict[str, int]] = {}
        self.outcomes: dict[str, dict[str, int]] = {}
        self._started = time.monotonic()

    @property
    def seconds(self) -> float:
        """How long it has taken so far."""
        return time.monotonic() - self._started

    def note(self, db: "sqlite3.Connection", sites: Sequence["Site"], run: int) -> None:
        """Count what the store has of a run that breaks off: the units as they stand, and the outcomes that it sent."""
        import sqlite3

        from dm_fhir.store import ledger, pushes

        try:
            for site in sites:
                self.units[site.name] = ledger.counts_by_state(db, site.name)
                self.outcomes[site.name] = pushes.counts_of_run(db, site.name, run)
        except sqlite3.Error:  # the store may be what broke it off
            self.units, self.outcomes = {}, {}

    def close(self, command: str, exit_code: int, text: str, *, as_json: bool) -> None:
        """The last line on stdout, or the object for machines, of a command that could not do its work."""
        from dm_fhir.cli.reporter import error_document, last_line

        units, outcomes = _summed(self.units), _summed(self.outcomes)
        if as_json:
            sites = [
                {"site": name, "units": counts, "outcomes": self.outcomes[name]} for name, counts in self.units.items()
            ]
            more: dict[str, Any] = {"units": units, "outcomes": outcomes} if sites else {}
            click.echo(
                error_document(command, exit_code, text, sites, seconds={"total": round(self.seconds, 1)}, **more)
            )
        else:
            told = units if self.units else None
            click.echo(last_line(command, exit_code, units=told, outcomes=outcomes, seconds=self.seconds))


def _summed(counts: dict[str, dict[str, int]]) -> dict[str, int]:
    return dict(sorted(sum(map(Counter, counts.values()), Counter[str]()).items()))
