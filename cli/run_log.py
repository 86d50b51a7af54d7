"""What a run's log says when it ends: every unit it left open, every site that stopped it, what is wrong with its outcomes."""

import sqlite3
from collections.abc import Mapping, Sequence

from dm_fhir.cli.reporter import number_of
from dm_fhir.cli.voice import Voice
from dm_fhir.config import Site
from dm_fhir.errors import DmFhirError
from dm_fhir.store.ledger import Unit, needs_attention, open_units
from dm_fhir.store.pushes import counts_by_state
from dm_fhir.store.quarantine import quarantined
from dm_fhir.store.unit_names import unit_names
from dm_fhir.sync.mending import mended_with
from dm_fhir.sync.public_words import query_said, reason_said
from dm_fhir.sync.summary import stopped_by

_MOST_UNITS = 200
#: By state of a written outcome: the event, and what is said of so many.
_OUTCOMES = {
    "conflict": (
        "push_conflict",
        "somebody else changed them, or the server holds them twice; they were left as they are",
    ),
    "rejected": ("push_rejected", "the server refuses them"),
    "sending": ("push_unsettled", "what the server made of them is not known yet; the next push looks"),
}


def tell_open(
    voice: Voice,
    db: sqlite3.Connection,
    sites: Sequence[Site],
    run: int,
    steps: Sequence[str],
    errors: Mapping[str, DmFhirError],
) -> None:
    """Warn of everything that this run leaves to be looked at, site by site; said even when quiet, free of patient data."""
    for site in sites:
        error = errors.get(site.name)
        if error is not None:
            reason = getattr(error, "reason", None)
            word, mended_by = reason_said(reason), mended_with(error.exit_code, reason, site.name)
            text = f"stopped: {stopped_by(error.exit_code, reason)}{f'; {mended_by}' if mended_by else ''}"
            voice.error(text, "site_stopped", site.name, exit_code=error.exit_code, reason=word)
        if "pull" in steps:
            _tell_units(voice, db, site, run)
            _tell_set_aside(voice, db, site)
        if "push" in steps:
            _tell_outcomes(voice, db, site)


def _tell_units(voice: Voice, db: sqlite3.Connection, site: Site, run: int) -> None:
    left = [
        unit
        for unit in open_units(db, site.name)
        if unit.run == run and needs_attention(unit, site.pull.optional_types)
    ]
    name = unit_names(db)
    for unit in left[:_MOST_UNITS]:
        _tell_unit(voice, unit, name(unit.site, unit.patient, unit.query))
    if len(left) > _MOST_UNITS:
        more = len(left) - _MOST_UNITS
        voice.warn(
            f"{more} more units are not complete: dm-fhir failed --site {site.name}",
            "units_open",
            site.name,
            units=more,
        )


def _tell_unit(voice: Voice, unit: Unit, name: str) -> None:
    query, reason = query_said(unit.query), reason_said(unit.reason)
    stored = f", {unit.unique} of {unit.expected} stored" if unit.expected is not None else ""
    whose = "one patient's" if unit.patient else "the site's"
    voice.warn(
        f"{unit.state}: {whose} {query} ({reason or 'no reason'}{stored}); dm-fhir failed --unit {name}",
        f"unit_{unit.state}", unit.site, unit=name, query=query, reason=reason, expected=unit.expected, unique=unit.unique,
        retries=unit.retries,
    )  # fmt: skip


def _tell_set_aside(voice: Voice, db: sqlite3.Connection, site: Site) -> None:
    count = sum(one.acknowledged is None for one in quarantined(db, site.name))
    if count:
        voice.warn(f"{count} set aside: dm-fhir quarantine --site {site.name}", "set_aside", site.name, count=count)


def _tell_outcomes(voice: Voice, db: sqlite3.Connection, site: Site) -> None:
    counts = counts_by_state(db, site.name)
    for state, (event, meaning) in _OUTCOMES.items():
        if counts.get(state):
            how = {"sending": "not settled", "conflict": "in conflict"}.get(state, state)
            text = f"{number_of(counts[state], 'outcome')} {how}: {meaning}; dm-fhir push --dry-run --site {site.name}"
            voice.warn(text, event, site.name, count=counts[state])
