"""What a push would do, as it is shown before it is done. It shows values: only to whoever asks for it, on standard output."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from itertools import islice
from typing import Any, NamedTuple

import msgspec

from dm_fhir.cli.map_check import printable
from dm_fhir.cli.reporter import capped, counted, document
from dm_fhir.errors import in_a_line
from dm_fhir.store.blocks import pack, unpack
from dm_fhir.sync.push.content import Difference, differences, status_of
from dm_fhir.sync.push.plan import HELD, IMPORTED, TO_SEND, WITHOUT_TIME, Item

#: What many outcomes share is said once of all of them.
_SHARED = (WITHOUT_TIME, HELD)
#: The objects of so many items are packed together.
_TOGETHER = 200


class Lines(NamedTuple):
    """A site's plan for people: how many items there are for each action, and what there is to say."""

    counts: Mapping[str, int]
    lines: list[str]


class Details(NamedTuple):
    """The same for machines: `packed` are the objects of some items at a time, parted by commas."""

    counts: Mapping[str, int]
    packed: list[bytes]


def planned_lines(site: str, items: Iterable[Item], *, verbose: bool) -> Lines:
    """A site's plan: counts, then each item that something would be done with, and why others are blocked.

    With `verbose` also each of those that are unchanged, not selected, or blocked for what many share.
    """
    outcomes, scores, shared = Counter[str](), Counter[str](), Counter[str]()
    lines: list[str] = []
    for item in items:
        (scores if item.variable == IMPORTED else outcomes)[item.action] += 1
        if item.action in TO_SEND:
            lines += _to_send(item)
        elif item.action == "blocked" and (verbose or item.why not in _SHARED):
            lines.append(f"  blocked: {named(item)}: {in_a_line(item.why)}")
        elif item.action == "blocked":
            shared[item.why] += 1
        elif verbose:
            lines.append(f"  {item.action}: {named(item)}")
    head = [f"{site}: outcomes: {counted(outcomes) or 'none'}"]
    head += [f"{site}: imported scores: {counted(scores)}"] if scores else []
    lines += [f"  blocked: {shared[why]}: {why}" for why in _SHARED if shared[why]]
    return Lines(outcomes + scores, [printable(line) for line in (*head, *lines)])


def planned_details(items: Iterable[Item], *, verbose: bool) -> Details:
    """For machines: an object for each item; those left as they are only with `verbose`."""
    counts, rest, packed = Counter[str](), iter(items), list[bytes]()
    while some := list(islice(rest, _TOGETHER)):
        counts.update(item.action for item in some)
        details = [_details(item) for item in some if verbose or item.action not in ("unchanged", "not selected")]
        packed += [pack(b",".join(map(msgspec.json.encode, details)))] if details else []
    return Details(counts, packed)


def plan_document(plans: Mapping[str, Details], waiting: Mapping[str, str | None]) -> Iterator[str]:
    """The JSON object of plans, part by part: of many patients it is long."""
    head = document("push", [], 0, planned={site: one.counts for site, one in plans.items()})
    yield f'{head[:-1]},"items":{{'
    for number, (site, one) in enumerate(plans.items()):
        yield f"{',' if number else ''}{_json(site)}:["
        for place, packed in enumerate(one.packed):
            yield f"{',' if place else ''}{unpack(packed).decode()}"
        yield "]"
    yield f'}},"waiting":{_json(waiting)},"dry_run":true}}'


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()


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
