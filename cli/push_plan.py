"""What a push would do, as it is shown before it is done. It shows values: only to whoever asks for it, on standard output."""

from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal
from typing import Any

import msgspec

from dm_fhir.cli.map_check import printable
from dm_fhir.cli.reporter import capped, counted, in_a_line
from dm_fhir.sync.push.content import Difference, differences, status_of
from dm_fhir.sync.push.plan import HELD, IMPORTED, TO_SEND, WITHOUT_TIME, Item, count

#: What many outcomes share is said once of all of them.
_SHARED = (WITHOUT_TIME, HELD)


def planned_lines(site: str, items: Sequence[Item], *, verbose: bool) -> list[str]:
    """A site's plan: counts, then each item that something would be done with, and why others are blocked.

    With `verbose` also each of those that are unchanged, not selected, or blocked for what many share.
    """
    outcomes = [item for item in items if item.variable != IMPORTED]
    scores = [item for item in items if item.variable == IMPORTED]
    lines = [f"{site}: outcomes: {counted(count(outcomes)) or 'none'}"]
    lines += [f"{site}: imported scores: {counted(count(scores))}"] if scores else []
    for item in items:
        if item.action in TO_SEND:
            lines += _to_send(item)
        elif item.action == "blocked" and (verbose or item.why not in _SHARED):
            lines.append(f"  blocked: {named(item)}: {in_a_line(item.why)}")
        elif verbose:
            lines.append(f"  {item.action}: {named(item)}")
    if not verbose:
        lines += _shared(items)
    return list(map(printable, lines))


def planned_details(items: Iterable[Item], *, verbose: bool) -> list[dict[str, Any]]:
    """The same for machines: an object for each item; those left as they are only with `verbose`."""
    return [_details(item) for item in items if verbose or item.action not in ("unchanged", "not selected")]


def named(item: Item) -> str:
    """`ck_improvement@Observation/9 of Patient/7`: the outcome as `explain` knows it, and whose it is."""
    return f"{item.variable}{f'@{item.about}' if item.about else ''} of {item.patient}"


def _details(item: Item) -> dict[str, Any]:
    changes = [] if item.action == "blocked" else [_for_machines(one) for one in _changes(item)]
    return {
        "action": item.action, "identifier": item.identifier, "patient": item.patient, "variable": item.variable,
        "about": item.about, "status": status_of(item.body) if item.body else None,
        "reference": item.before.server_id if item.before else None, "why": item.why or None, "changes": changes,
    }  # fmt: skip


def _to_send(item: Item) -> Iterator[str]:
    status = status_of(item.body)
    told = "" if item.action == "new" and status == "final" else f", {status}"
    where = f" ({item.before.server_id})" if item.before and item.before.server_id else ""
    again = f"; {in_a_line(item.why)}: looked at again" if item.why else ""
    yield f"  {item.action}: {named(item)}{where}{told}{again}"
    if item.action == "changed":
        for one in _changes(item):
            yield f"    {one.path}: {_shown(one.before)} -> {_shown(one.after)}"


def _shared(items: Iterable[Item]) -> list[str]:
    """How many are blocked for each reason that many share."""
    reasons = [item.why for item in items if item.action == "blocked" and item.why in _SHARED]
    return [f"  blocked: {reasons.count(why)}: {why}" for why in _SHARED if why in reasons]


def _changes(item: Item) -> list[Difference]:
    """What is not as we last wrote it; nothing of what was never there."""
    if not item.body or item.before is None or item.before.server_id is None:
        return []
    return differences(item.before.body, item.body)


def _shown(value: object) -> str:
    match value:
        case None:
            return "(none)"
        case bool():
            return str(value).lower()
        case str():
            return msgspec.json.encode(value).decode()
    return str(value)


def _for_machines(one: Difference) -> dict[str, Any]:
    """Numbers as text, so that no reader makes binary ones of them."""
    before, after = (_exact(value) for value in (one.before, one.after))
    return {"path": one.path, "before": before, "after": after}


def _exact(value: object) -> object:
    is_number = isinstance(value, int | Decimal) and not isinstance(value, bool)
    return str(value) if is_number else value


def trouble_lines(troubles: Sequence[str], where: str) -> list[str]:
    """The first of the troubles, each in a line, and how many others there are."""
    return capped(troubles, lambda one: f"  {printable(in_a_line(one))}", "troubles", where)
