"""What people are told of how a run ended: when it is due, and a text without anything of a patient.

The text has counts, times, names of sites, words from closed lists, and commands to type. What went wrong with which record is
in the store, for those who may see it.
"""

import shlex
import sqlite3
from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

import msgspec

from dm_fhir.config import NOTIFIED_OF, Notify, Site
from dm_fhir.errors import EXIT_CODES
from dm_fhir.store import ledger, pushes, quarantine
from dm_fhir.sync.mending import mended_with
from dm_fhir.sync.metrics import LastRun
from dm_fhir.sync.public_words import reason_said
from dm_fhir.sync.summary import stopped_by, stops_of

RECOVERED = NOTIFIED_OF[0]
#: Up to so many sites each is told of; of more, so many of those that somebody must see to.
_FEW, _MOST = 10, 50
#: What to do, by exit code; `{program}` is how a command line begins. What is open at a site has commands of its own.
_NEXT = {
    1: "The end of the run's log says what failed.",
    2: "Mend what the end of the run's log names; `{program} validate {config}` lists every fault of the config. "
    "A first push waits for a yes: {program} push --dry-run, then {program} push --yes",
    4: "The next run tries again. If it stays so: {program} doctor",
    5: "Mend the login; this says what is wrong with it: {program} doctor",
    7: "Nothing of theirs was touched. What is in conflict: {program} push --dry-run",
    11: "Another run holds the lock. If it hangs, end its process: {program} runs",
    130: "Somebody or something stopped it; the next run goes on where it was.",
}


class Told(msgspec.Struct, frozen=True):
    """What people were last told of a command, and when."""

    word: str
    when: str


class Message(NamedTuple):
    """One message: its first line, the whole text, and the same for machines."""

    subject: str
    text: str
    document: dict[str, object]


def is_due(word: str, before: Told | None, moment: str, notify: Notify) -> bool:
    """Whether people are to be told now that a run ended with `word`, after what they were told `before`.

    The same again only after a while; that all is well only to those who were told that it was not.
    """
    if word not in notify.on:
        return False
    if word == RECOVERED:
        return before is not None
    if before is None or before.word != word:
        return True
    hours = (datetime.fromisoformat(moment) - datetime.fromisoformat(before.when)).total_seconds() / 3600
    return abs(hours) >= notify.repeat_hours


def message(db: sqlite3.Connection | None, sites: Sequence[Site], last: LastRun, program: str, config: str) -> Message:
    """What is to be said of the run that has just ended. Without a store nothing is said of the sites."""
    word, meaning = NOTIFIED_OF.get(last.exit_code, "failed"), EXIT_CODES.get(last.exit_code, "failed")
    subject = f"dm-fhir {last.command}: {meaning} (exit {last.exit_code})"
    which = f"run {last.number}" if last.number is not None else "no run was begun"
    told = [_site(db, site, program) for site in sites] if db is not None else []
    following = _NEXT.get(last.exit_code, "").format(program=program, config=shlex.quote(config))
    lines = [subject, f"{which}, {last.started} to {last.ended}", f"config: {config}", ""]
    lines += _of_sites(told)
    lines += ["", following] if following else []
    document: dict[str, object] = {
        "command": last.command, "state": word, "exit_code": last.exit_code, "run": last.number, "started": last.started,
        "ended": last.ended, "sites": [counts for counts, _ in told],
    }  # fmt: skip
    text = "\n".join(lines).rstrip() + "\n"
    return Message(subject, text, {"text": text, **document})


def _of_sites(told: Sequence[tuple[dict[str, object], list[str]]]) -> list[str]:
    """The sites' lines; of many sites only those that somebody must see to, and how many others there are."""
    shown = [some for counts, some in told if len(told) <= _FEW or len(some) > 1 or not counts["complete_until"]]
    left_out = [f"{len(told) - len(shown)} more sites with nothing to see to"] if len(shown) < len(told) else []
    cut = [f"and {len(shown) - _MOST} more sites with something to see to"] if len(shown) > _MOST else []
    return [line for some in shown[:_MOST] for line in some] + cut + left_out


def _site(db: sqlite3.Connection, site: Site, program: str) -> tuple[dict[str, object], list[str]]:
    """One site's counts, and its lines: how it stands, and what to type."""
    name, optional = site.name, site.pull.optional_types
    units, outcomes = ledger.counts_by_state(db, name), pushes.counts_by_state(db, name)
    aside = sum(one.acknowledged is None for one in quarantine.quarantined(db, name))
    open_units = sum(ledger.needs_attention(unit, optional) for unit in ledger.open_units(db, name))
    until = ledger.read_until(db, name, optional)
    parts = [
        f"queries: {_counted(units) or 'none yet'}",
        f"{aside} set aside" if aside else "",
        f"outcomes: {_counted(outcomes)}" if outcomes else "",
        f"all read until {until}" if until else "not everything was ever read",
    ]
    stops = stops_of(db, site)
    commands = [
        *(mended_with(stop.exit_code, stop.reason, name, program) or "" for stop in stops),
        f"{program} failed --site {name}" if open_units else "",
        f"{program} quarantine --site {name}" if aside else "",
        f"{program} push --dry-run --site {name}" if outcomes.keys() & {"conflict", "rejected", "sending"} else "",
    ]
    counts = {
        "site": name, "units": units, "set_aside": aside, "outcomes": outcomes, "complete_until": until,
        "stopped": [{"step": one.step, "exit_code": one.exit_code, "reason": reason_said(one.reason), "since": one.since} for one in stops],
    }  # fmt: skip
    lines = [
        f"{name}: {'; '.join(part for part in parts if part)}",
        *(f"  {stop.step} stopped: {stopped_by(stop.exit_code, stop.reason)}, since {stop.since}" for stop in stops),
        *(f"  {command}" for command in commands if command),
    ]
    return counts, lines


def _counted(counts: dict[str, int]) -> str:
    return ", ".join(f"{count} {state}" for state, count in counts.items())
