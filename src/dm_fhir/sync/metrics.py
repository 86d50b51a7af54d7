"""What a monitoring system wants to know of a study, in Prometheus' text format, for a node exporter's textfile collector.

Everything but the last run's durations is read from the store, so that the file is the same whoever writes it. It has
counts and times, and in its labels only names of sites and words from closed lists.
https://prometheus.io/docs/instrumenting/exposition_formats/
"""

import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from dm_fhir import __version__
from dm_fhir.config import Site
from dm_fhir.errors import worst_exit_code
from dm_fhir.model.findings import KINDS, severity_of
from dm_fhir.store import cases, ledger, pushes, quarantine, resources
from dm_fhir.sync.public_words import OTHER, PATIENT_STATES, TYPES, said
from dm_fhir.sync.summary import stops_of

#: The states in which a written outcome can be.
PUSH_STATES = ("blocked", "sending", "confirmed", "rejected", "conflict", "retracted")
#: Each metric's name after `dm_fhir_`, and what it says. All are gauges.
_HELP = {
    "build_info": "Version of dm-fhir that wrote this; always 1.",
    "run_number": "Number of the command's last run.",
    "run_started_timestamp_seconds": "When the command's last run began.",
    "run_ended_timestamp_seconds": "When the command's last run ended.",
    "run_exit_code": "How the command's last run ended: 0 complete, 3 partial, 4 server unavailable, 5 login refused, …",
    "run_succeeded_timestamp_seconds": "When a run of the command last ended with 0.",
    "run_step_seconds": "How long each step of the last run took.",
    "site_complete": "1 if nothing of the site is open, else 0.",
    "site_complete_until_timestamp_seconds": "Until when everything of the site has been read; missing while something never was.",
    "site_stopped": "The exit code of what stopped the site when a step was last tried there, 0 if nothing did.",
    "units": "Queries of the ledger, by state.",
    "resources": "Resources in the store, by type.",
    "patients": "Patients, by what becomes of them.",
    "findings": "Findings, by code.",
    "outcomes": "Outcomes written to the site, by state.",
    "set_aside": "Things that arrived and could not be used, by whether somebody has acknowledged them.",
}
_Sample = tuple[str, dict[str, str], int | float]


class LastRun(NamedTuple):
    """The run that has just ended. `number` is None where it ended before it had one."""

    command: str
    number: int | None
    started: str
    ended: str
    exit_code: int
    seconds: Mapping[str, float]


def metrics_text(db: sqlite3.Connection | None, sites: Sequence[Site], last: LastRun) -> str:
    """The metrics of a study: of each command's last run, and of each site. Without a store: of the run alone."""
    found: dict[str, list[tuple[dict[str, str], int | float]]] = {name: [] for name in _HELP}
    samples: list[Iterable[_Sample]] = [[("build_info", {"version": __version__}, 1)], _of_last(last)]
    if db is not None:
        samples += [_of_earlier(db, last), *(_of_site(db, site) for site in sites)]
    for some in samples:
        for name, labels, value in some:
            found[name].append((labels, value))
    return "".join(
        line for name, values in found.items() if values for line in _lines(f"dm_fhir_{name}", _HELP[name], values)
    )


def _of_last(last: LastRun) -> Iterator[_Sample]:
    command = {"command": last.command}
    if last.number is not None:
        yield "run_number", command, last.number
    yield from _of_run(command, last.started, last.ended, last.exit_code)
    for step, seconds in last.seconds.items():
        yield "run_step_seconds", command | {"step": step}, round(seconds, 3)


def _of_earlier(db: sqlite3.Connection, last: LastRun) -> Iterator[_Sample]:
    """The last run of every other command, and when each last ended well."""
    for run in ledger.last_runs(db):
        if run.command != last.command:
            command = {"command": run.command}
            yield "run_number", command, run.id
            yield from _of_run(command, run.started, run.ended, run.exit_code)
    for name, ended in ledger.last_successes(db).items():
        yield "run_succeeded_timestamp_seconds", {"command": name}, _seconds(ended)


def _of_run(command: dict[str, str], started: str, ended: str | None, exit_code: int | None) -> Iterator[_Sample]:
    yield "run_started_timestamp_seconds", command, _seconds(started)
    if ended is not None:
        yield "run_ended_timestamp_seconds", command, _seconds(ended)
    if exit_code is not None:
        yield "run_exit_code", command, exit_code


def _of_site(db: sqlite3.Connection, site: Site) -> Iterator[_Sample]:
    """States that nothing is in are there with 0: an alert on a missing series never fires."""
    name, optional = site.name, site.pull.optional_types
    label = {"site": name}
    aside = quarantine.quarantined(db, name)
    open_things = sum(one.acknowledged is None for one in aside)
    is_complete = ledger.complete_until(db, name, optional) is not None and not open_things
    yield "site_complete", label, int(is_complete)
    yield "site_stopped", label, worst_exit_code(stop.exit_code for stop in stops_of(db, site))
    until = ledger.read_until(db, name, optional)
    if until is not None:
        yield "site_complete_until_timestamp_seconds", label, _seconds(until)
    yield from _by("units", label, "state", ledger.STATES, ledger.counts_by_state(db, name))
    yield from _by("resources", label, "type", (), _known(resources.counts_by_type(db, name), TYPES))
    yield from _by("patients", label, "state", (), _known(cases.counts_by_state(db, name), PATIENT_STATES))
    for code, count in _known({c: n.findings for c, n in cases.finding_counts(db, name).items()}, KINDS).items():
        severity = severity_of(code) if code in KINDS else OTHER
        yield "findings", label | {"code": code, "severity": severity}, count
    yield from _by("outcomes", label, "state", PUSH_STATES, pushes.counts_by_state(db, name))
    yield "set_aside", label | {"acknowledged": "no"}, open_things
    yield "set_aside", label | {"acknowledged": "yes"}, len(aside) - open_things


def _by(
    name: str, label: dict[str, str], key: str, always: Iterable[str], counts: Mapping[str, int]
) -> Iterator[_Sample]:
    for word, count in (dict.fromkeys(always, 0) | dict(counts)).items():
        yield name, label | {key: word}, count


def _known(counts: Mapping[str, int], words: Iterable[str]) -> dict[str, int]:
    """The counts, with all that have another name than these under `other`."""
    found: Counter[str] = Counter()
    for word, count in counts.items():
        found[said(word, frozenset(words)) or OTHER] += count
    return dict(found)


def _seconds(moment: str) -> int:
    """Unix seconds of a time as the store writes it."""
    return int(datetime.fromisoformat(moment).timestamp())


def _lines(name: str, meaning: str, values: Sequence[tuple[dict[str, str], int | float]]) -> Iterator[str]:
    yield f"# HELP {name} {meaning}\n# TYPE {name} gauge\n"
    for labels, value in values:
        told = ",".join(f'{key}="{_escaped(text)}"' for key, text in labels.items())
        yield f"{name}{{{told}}} {value}\n"


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")
