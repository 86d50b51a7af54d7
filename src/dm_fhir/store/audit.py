"""The audit log: who had to do with which patient's data, and when. Rows are added, never changed, never taken out.

The database refuses to change or delete a row, whatever program asks. Somebody who may write the file can still edit it with
other means: what the log cannot prove is said in docs/security.md.
"""

import os
import pwd
import re
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import Literal, NamedTuple

from dm_fhir.store.database import batched, marks
from dm_fhir.store.ledger import now

Written = Literal["write", "retract"]
#: What is done with the records of patients by a command that is no run: it reads the store and changes nothing in it.
Looked = Literal["report", "export", "explain", "show"]
_OF_A_PATIENT = "Patient/"
_USER_NAME = re.compile(r"[\w.@\\-]{1,64}")


class Entry(NamedTuple):
    """One row. `patient` is "" where all patients of the site are meant, `reference` where no single resource is.

    `run` and `command` are those that did it; `run` is None for a command that is no run.
    """

    number: int
    when: str
    user: str
    run: int | None
    command: str
    site: str
    action: str
    patient: str
    reference: str


def who() -> str:
    """Who runs this process, by the system's own list of users; who became somebody else by sudo is named as well."""
    try:
        name = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:  # in a container users may have a number only
        name = f"uid {os.getuid()}"
    behind = os.environ.get("SUDO_USER", "")
    if behind in ("", name):
        return name
    return f"{name} (sudo by {behind if _USER_NAME.fullmatch(behind) else 'a name that is none'})"


def note_read(db: sqlite3.Connection, run: int, site: str, subjects: Iterable[str | None]) -> None:
    """Note whose data a run has received: once per run and patient, however often. Call it in the transaction of the page."""
    patients = {one for one in subjects if one is not None and one.startswith(_OF_A_PATIENT)}
    when = now()
    _add(db, [(when, run, site, "read", patient, "") for patient in sorted(patients)])


def note_written(
    db: sqlite3.Connection, run: int, site: str, action: Written, written: Iterable[tuple[str, str]]
) -> None:
    """Note resources that were written, each as (patient, reference). Call it in the transaction of their confirmation."""
    when = now()
    _add(db, [(when, run, site, action, patient, reference) for patient, reference in written])


def note_looked(
    db: sqlite3.Connection, command: Looked, sites: Iterable[str], patient: str = "", reference: str = ""
) -> None:
    """Note that a command that is no run has shown, or taken out, the sites' records: of one patient, or of all (`""`)."""
    when, user = now(), who()
    db.executemany(
        'INSERT INTO audit ("when", user, command, site, action, patient, reference) VALUES (?, ?, ?, ?, ?, ?, ?)',
        [(when, user, command, site, command, patient, reference) for site in sites],
    )


def _add(db: sqlite3.Connection, rows: Sequence[tuple[object, ...]]) -> None:
    for some in batched(rows):
        db.execute(
            f'INSERT INTO audit ("when", run, site, action, patient, reference) VALUES {marks(len(some), 6)}',
            list(chain.from_iterable(some)),
        )


def entries(
    db: sqlite3.Connection, *, since: str = "", patient: str | None = None, run: int | None = None
) -> Iterator[Entry]:
    """The log in order, the oldest first: from a time on, of one patient (and of all), of one run. Times are in UTC, text."""
    rows = db.execute(
        'SELECT number, "when", coalesce(run.user, audit.user), audit.run, coalesce(run.command, audit.command), site, '
        "action, patient, reference FROM audit LEFT JOIN run ON run.id = audit.run "
        "WHERE \"when\" >= ?1 AND (?2 IS NULL OR patient IN (?2, '')) AND (?3 IS NULL OR audit.run = ?3) ORDER BY number",
        (since, patient, run),
    )
    return map(Entry._make, rows)
