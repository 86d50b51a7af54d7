"""What a push came to, in counts and in sentences."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from dm_fhir.sync.push.plan import HELD, IMPORTED, Before, Waiting

#: The states of a pushed outcome that somebody should look at, as people read them.
_TROUBLES = {"rejected": "rejected", "conflict": "conflict", "sending": "not settled", "blocked": "blocked"}
#: Why nothing of a patient is written.
NO_PATIENT = "the patient is not on the target server"


class State(NamedTuple):
    """How an item stands in the ledger after the push, and what is to be said of that."""

    state: str
    message: str | None


#: An item, and how it stands; None: as before.
After = tuple[Waiting, State | Before | None]


class Result(NamedTuple):
    """How many outcomes, and imported scores, ended how. `troubles` names those not on the server as they should be, and why.

    `remarks` is what there is to say of the server and the push as a whole. `written` counts what this push has written,
    `confirmed` what the server is known to hold after it, `checked` the unfinished writes of an earlier run that were looked up,
    `requests` those sent; `provenance` the transmissions of this push by their state.
    """

    counts: dict[str, int]
    imported: dict[str, int]
    troubles: list[str]
    remarks: list[str]
    written: int
    confirmed: int
    checked: int
    requests: int
    provenance: dict[str, int]


def unsent(items: Iterable[Waiting]) -> Result:
    """What there is to say when none of `items` needs a request: what was refused before still is."""
    return result_of([(item, None) for item in items])


def result_of(ended: Sequence[After]) -> Result:
    """The counts, and what is to be said of each item that is not as it should be."""
    after = [(item, became or item.before) for item, became in ended]
    counts = Counter(_ending(item, row) for item, row in after if item.variable != IMPORTED)
    imported = Counter(_ending(item, row) for item, row in after if item.variable == IMPORTED)
    troubles = [
        f"{_TROUBLES[row.state]}: {item.variable} of {item.patient}: {row.message}"
        for item, row in after
        if row is not None and row.state in _TROUBLES
    ]
    confirmed = sum(row.state in ("confirmed", "retracted") for _, row in after if row is not None)
    return Result(dict(counts), dict(imported), troubles, _headlines(after), 0, confirmed, 0, 0, {})


def counted(number: int, one: str, several: str) -> str:
    """`1 patient is` or `3 patients are`."""
    return f"{number} {one if number == 1 else several}"


def _headlines(after: Sequence[After]) -> list[str]:
    """One sentence for each kind of trouble, before the single ones."""
    rows = [(item, row) for item, row in after if row is not None]
    lines = []
    if rejected := sum(row.state == "rejected" for _, row in rows):
        lines.append(f"{rejected} of {len(rows)} rejected")
    if edited := sum(row.state == "conflict" and item.action == "retract" for item, row in rows):
        lines.append(counted(edited, "result was", "results were") + " edited on the server and not retracted")
    if missing := {item.patient for item, row in rows if row.message == NO_PATIENT}:
        lines.append(counted(len(missing), "patient is", "patients are") + " not on the target server")
    if waiting := [item for item, _ in after if item.why == HELD]:
        patients = counted(len({item.patient for item in waiting}), "patient", "patients")
        lines.append(f"{counted(len(waiting), 'result', 'results')} of {patients} not written: {HELD}")
    return lines


def _ending(item: Waiting, after: State | Before | None) -> str:
    return _TROUBLES.get(after.state, item.action) if after else item.action
