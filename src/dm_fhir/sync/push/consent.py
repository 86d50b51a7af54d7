"""Before anything is written to a hospital: that is agreed to, once for each server, by a person or by the config."""

import sqlite3
from collections.abc import Callable, Sequence

from dm_fhir.config import Site
from dm_fhir.errors import ConfigError, NotConfirmed
from dm_fhir.store.consent import agreed_address, note_agreed, note_taken_back, taken_back
from dm_fhir.store.pushes import counts_by_state
from dm_fhir.sync.push.plan import TO_SEND, Waiting
from dm_fhir.sync.push.repair import Copies

#: Puts a question to whoever runs this; whether they agree.
Agree = Callable[[str], bool]


def nobody(_: str) -> bool:
    """Where nobody can be asked."""
    return False


def waits(db: sqlite3.Connection, site: Site) -> str | None:
    """Why a push to the site does not write before somebody has agreed to it, in a sentence; None where it does."""
    since = taken_back(db, site.name)
    if since is not None:
        return f"all that was written is taken back (since {since})"
    if site.push.unattended or not _is_first(db, site):
        return None
    if agreed_address(db, site.name):
        return "what was written before went to another endpoint"
    return "nothing was written there before"


def check_agreed(
    db: sqlite3.Connection, site: Site, items: Sequence[Waiting], agree: Agree = nobody, *, again: bool = False
) -> None:
    """That `items` may be written. `again` lifts that everything was taken back. Raises ConfigError where nobody agrees."""
    reason = waits(db, site)
    if reason is None:
        _note(db, site)
        return
    if taken_back(db, site.name) is not None and not again:
        raise ConfigError(
            f"nothing is written to {site.name}: {reason}",
            hint=f"to write it again: dm-fhir push --site {site.name} --again; see first what: --dry-run",
        )
    may = (again and site.push.unattended) or agree(
        f"{reason[0].upper()}{reason[1:]}.\n{_what(items)} to {_where(site)}?"
    )
    if not may:
        mode = " --again" if again else ""
        raise NotConfirmed(
            f"nothing is written to {site.name}: {reason}, and nobody has confirmed it",
            hint=f"see what it would be: dm-fhir push --site {site.name} --dry-run; then confirm it, once: "
            f"dm-fhir push --site {site.name}{mode} --yes; or set unattended = true under [site.push]",
        )
    _note(db, site)


def begin_to_take_back(db: sqlite3.Connection, site: Site, items: Sequence[Waiting], agree: Agree) -> None:
    """That `items`, all of ours, may be taken back; from then on nothing is written. Raises ConfigError where nobody agrees."""
    question = f"{_what(items)} at {_where(site)}: entered-in-error? Nothing is written there then until push --again."
    if not agree(question):
        raise NotConfirmed(
            f"nothing is taken back from {site.name}: nobody has confirmed it",
            hint=f"see what it would be: dm-fhir push --site {site.name} --retract --dry-run; then: "
            f"dm-fhir push --site {site.name} --retract --yes",
        )
    note_taken_back(db, site.name)


def check_repair(site: Site, copies: Sequence[Copies], agree: Agree) -> None:
    """That all but one of each of these copies may be retired. Raises ConfigError where nobody agrees."""
    more = sum(len(one.others) for one in copies)
    question = f"{more} surplus of {len(copies)} results at {_where(site)}: entered-in-error?"
    if not agree(question):
        raise NotConfirmed(
            f"nothing is repaired at {site.name}: nobody has confirmed it",
            hint=f"see what it would be: dm-fhir push --site {site.name} --repair --dry-run; then: "
            f"dm-fhir push --site {site.name} --repair --yes",
        )


def _is_first(db: sqlite3.Connection, site: Site) -> bool:
    """Whether nothing was ever sent to this endpoint. Stores of before know only that something was sent."""
    agreed = agreed_address(db, site.name)
    if agreed is not None:
        return agreed != site.endpoint
    return not counts_by_state(db, site.name).keys() - {"blocked"}


def _note(db: sqlite3.Connection, site: Site) -> None:
    if agreed_address(db, site.name) != site.endpoint or taken_back(db, site.name) is not None:
        note_agreed(db, site.name, site.endpoint or "")


def _what(items: Sequence[Waiting]) -> str:
    sent = [item for item in items if item.action in TO_SEND]
    patients = len({item.patient for item in sent})
    return f"{len(sent)} Observation{'' if len(sent) == 1 else 's'} of {patients} patient{'' if patients == 1 else 's'}"


def _where(site: Site) -> str:
    return f"{site.name}, {site.endpoint}"
