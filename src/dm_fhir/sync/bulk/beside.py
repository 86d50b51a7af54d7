"""What an export says beside its resources: what the server has deleted since, and what it could not export."""

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from dm_fhir.fhir.packed import BROKEN
from dm_fhir.fhir.resource import NOT_READABLE
from dm_fhir.fhir.server_says import server_says
from dm_fhir.fhir.sources import opened
from dm_fhir.store.filing import delete_resource
from dm_fhir.store.ledger import now
from dm_fhir.store.quarantine import set_aside
from dm_fhir.sync.bulk.order import DELETED
from dm_fhir.sync.puller import Puller

_LONGEST_LINE_BYTES = 16 * 2**20
_TOMBSTONES_AT_A_TIME = 500
_SERIOUS = ("error", "fatal")


class _Request(msgspec.Struct, frozen=True):
    method: str | None = None
    url: str | None = None


class _Entry(msgspec.Struct, frozen=True):
    request: _Request | None = None


class _Bundle(msgspec.Struct, frozen=True):
    resourceType: str | None = None
    entry: tuple[_Entry, ...] = ()


class _Issue(msgspec.Struct, frozen=True):
    severity: str | None = None


class _Outcome(msgspec.Struct, frozen=True):
    resourceType: str | None = None
    issue: tuple[_Issue, ...] = ()


class Said(NamedTuple):
    """What the error files say: how many issues are errors, how many are not, the server's words for the first of the worst.

    `unreadable` are lines that are no OperationOutcome.
    """

    errors: int = 0
    others: int = 0
    words: str = ""
    unreadable: int = 0


def bury(puller: Puller, paths: Sequence[Path], notes: Counter[str]) -> None:
    """Turn what the `deleted` files name into tombstones, as far as we hold it: `notes` counts them.

    A line that is no Bundle of deletions, or not of these alone, is set aside. A file that is cut off is counted as that.
    """
    for path in paths:
        named: list[str] = []
        for number, line in _lines(path, notes):
            try:
                bundle = msgspec.json.decode(line, type=_Bundle)
            except NOT_READABLE:
                bundle = _Bundle()
            found = [_deleted(entry) for entry in bundle.entry] if bundle.resourceType == "Bundle" else [None]
            named += filter(None, found)
            if None in found:
                notes["set_aside"] += 1
                with puller.writing() as db:
                    place = f"{path.name}:{number}"
                    set_aside(db, puller.name, "", DELETED, place, "unreadable", line, puller.run)
            if len(named) >= _TOMBSTONES_AT_A_TIME:
                _bury(puller, named, notes)
                named = []
        _bury(puller, named, notes)


def errors_in(puller: Puller, paths: Sequence[Path]) -> Said:
    """What the server could not export, or says along with what it did."""
    errors, others, unreadable = 0, 0, 0
    words, is_serious = "", False
    for path in paths:
        notes = Counter[str]()
        for _, line in _lines(path, notes):
            try:
                outcome = msgspec.json.decode(line, type=_Outcome)
            except NOT_READABLE:
                outcome = _Outcome()
            if outcome.resourceType != "OperationOutcome":
                unreadable += 1
                continue
            serious = sum(issue.severity in _SERIOUS for issue in outcome.issue)
            errors, others = errors + serious, others + len(outcome.issue) - serious
            if not words or (serious and not is_serious):
                words, is_serious = server_says(line, puller.connection.secrets), serious > 0
        unreadable += notes.total()
    return Said(errors, others, words, unreadable)


def _lines(path: Path, notes: Counter[str]) -> Iterator[tuple[int, bytes]]:
    """The lines that are not empty, by number. Where the file breaks off that is counted."""
    with opened(str(path)) as file:
        number = 0
        try:
            while line := file.readline(_LONGEST_LINE_BYTES):
                number += 1
                if line.strip():
                    yield number, line.strip()
        except BROKEN:
            notes["file-damaged"] += 1


def _deleted(entry: _Entry) -> str | None:
    """`Type/id` of what an entry says is deleted; None if it says something else."""
    request = entry.request
    if request is None or (request.method or "").upper() != "DELETE":
        return None
    parts = (request.url or "").partition("?")[0].rstrip("/").split("/")
    return "/".join(parts[-2:]) if len(parts) >= 2 and all(parts[-2:]) else None


def _bury(puller: Puller, references: Sequence[str], notes: Counter[str]) -> None:
    with puller.writing() as db:
        when = now()
        for reference in references:
            type_name, _, id_ = reference.partition("/")
            notes["deleted"] += delete_resource(db, puller.name, type_name, id_, when)
