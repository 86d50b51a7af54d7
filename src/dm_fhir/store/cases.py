"""Mapped cases, their outcomes and findings. The store holds documents; what is in them is not its business."""

import sqlite3
from collections.abc import Iterable, Iterator
from typing import NamedTuple


class CaseRow(NamedTuple):
    """A patient's case as a document. `state` is 'case', or why the patient makes none."""

    patient: str
    state: str
    body: bytes


class OutcomeRow(NamedTuple):
    """One outcome of a case."""

    patient: str
    variable: str
    about: str
    body: bytes


class FindingRow(NamedTuple):
    """One finding about a patient's record, as it is kept."""

    code: str
    severity: str
    reference: str
    path: str | None
    done: str


class ListedFinding(NamedTuple):
    """One finding, with the patient in whose case it is."""

    patient: str
    code: str
    severity: str
    reference: str
    path: str | None
    done: str


class FindingCount(NamedTuple):
    """How many findings there are of a code, and in how many patients."""

    findings: int
    patients: int


def put_case(
    db: sqlite3.Connection,
    site: str,
    case: CaseRow,
    fingerprint: str,
    run: int,
    outcomes: Iterable[OutcomeRow],
    findings: Iterable[FindingRow],
) -> None:
    """Replace all that is known of one patient's case. Call it inside a transaction."""
    key = (site, case.patient)
    db.execute(
        "INSERT OR REPLACE INTO case_document VALUES (?, ?, ?, ?, ?, ?)",
        (*key, fingerprint, case.state, run, case.body),
    )
    db.execute("DELETE FROM outcome WHERE site = ? AND patient = ?", key)
    db.executemany("INSERT INTO outcome VALUES (?, ?, ?, ?, ?)", ((site, *outcome) for outcome in outcomes))
    db.execute("DELETE FROM finding WHERE site = ? AND patient = ?", key)
    db.executemany("INSERT INTO finding VALUES (?, ?, ?, ?, ?, ?, ?)", ((*key, *finding) for finding in findings))


def fingerprints(db: sqlite3.Connection, site: str) -> dict[str, str]:
    """What each patient's case was made from, for all of whom one was made."""
    return dict(db.execute("SELECT patient, fingerprint FROM case_document WHERE site = ?", (site,)))


def computed_from(db: sqlite3.Connection, site: str) -> str | None:
    """The mark under which all of the site's cases were last brought up to date; None if they never were."""
    row = db.execute("SELECT value FROM setting WHERE name = ?", (f"computed of {site}",)).fetchone()
    return row[0] if row else None


def note_computed(db: sqlite3.Connection, site: str, mark: str) -> None:
    """Note that all of the site's cases are up to date with what `mark` stands for."""
    db.execute("INSERT OR REPLACE INTO setting VALUES (?, ?)", (f"computed of {site}", mark))


def cases(db: sqlite3.Connection, site: str) -> Iterator[CaseRow]:
    """The site's cases, in order of patient, read one by one."""
    rows = db.execute(
        "SELECT patient, state, body FROM case_document WHERE site = ? AND state = 'case' ORDER BY patient", (site,)
    )
    return map(CaseRow._make, rows)


def case_row(db: sqlite3.Connection, site: str, patient: str) -> CaseRow | None:
    """What is known of one patient's case, also where the patient makes none; None if it was never computed."""
    row = db.execute(
        "SELECT patient, state, body FROM case_document WHERE site = ? AND patient = ?", (site, patient)
    ).fetchone()
    return CaseRow._make(row) if row else None


def patients_with_cases(db: sqlite3.Connection, site: str, most: int = -1) -> list[str]:
    """The patients who make a case, in order, at most so many; all without a number."""
    rows = db.execute(
        "SELECT patient FROM case_document WHERE site = ? AND state = 'case' ORDER BY patient LIMIT ?", (site, most)
    )
    return [row[0] for row in rows]


def counts_by_state(db: sqlite3.Connection, site: str) -> dict[str, int]:
    """How many patients make a case, and how many do not for which reason."""
    rows = db.execute(
        "SELECT iif(state LIKE 'merged into %', 'merged into another', state), count(*) FROM case_document WHERE site = ? "
        "GROUP BY 1 ORDER BY 1",
        (site,),
    )
    return dict(rows.fetchall())


def outcomes(db: sqlite3.Connection, site: str) -> Iterator[OutcomeRow]:
    """The site's outcomes, in order of patient, variable and follow-up, read one by one."""
    rows = db.execute(
        "SELECT patient, variable, about, body FROM outcome WHERE site = ? ORDER BY patient, variable, about", (site,)
    )
    return map(OutcomeRow._make, rows)


def findings(db: sqlite3.Connection, site: str) -> list[ListedFinding]:
    """The site's findings, in order of code, reference and path."""
    rows = db.execute(
        "SELECT patient, code, severity, reference, path, done FROM finding WHERE site = ? ORDER BY code, reference, path",
        (site,),
    )
    return list(map(ListedFinding._make, rows))


def finding_counts(db: sqlite3.Connection, site: str) -> dict[str, FindingCount]:
    """A site's findings, counted by code."""
    rows = db.execute(
        "SELECT code, count(*), count(DISTINCT patient) FROM finding WHERE site = ? GROUP BY code ORDER BY code",
        (site,),
    )
    return {code: FindingCount(found, patients) for code, found, patients in rows}


def errors(db: sqlite3.Connection, site: str) -> list[tuple[str, str, str | None]]:
    """The findings of severity error: code, reference, path."""
    rows = db.execute(
        "SELECT code, reference, path FROM finding WHERE site = ? AND severity = 'error' ORDER BY reference", (site,)
    )
    return [(row[0], row[1], row[2]) for row in rows]
