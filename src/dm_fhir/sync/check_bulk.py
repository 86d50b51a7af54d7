"""The check of a bulk export: whether the server lists it at the level that the site asks for. None is begun."""

from collections.abc import Iterator

from dm_fhir.sync.bulk.order import order_of
from dm_fhir.sync.check import Check
from dm_fhir.sync.puller import Puller
from dm_fhir.sync.query import plan

_TYPE_OF = {"group": "Group", "patient": "Patient", "system": None}


def check_export(puller: Puller) -> Iterator[Check]:
    """What the CapabilityStatement says of the export that a pull would begin. What is exported is not searched for afterwards."""
    site, capability = puller.site, puller.capability
    order = order_of(site, puller.mapper)
    puller.exported = frozenset(order.types)
    what, request = "bulk export", f"GET {order.export(None).path}".replace(site.bulk.group or "Group/", "Group/{id}")
    listed = [name for name, type_name in _TYPE_OF.items() if capability.exports(type_name)]
    level = site.bulk.level
    types = f"asked for {', '.join(order.types)}"
    if level in listed:
        yield Check(what, "works", f"listed at level {level}; {types}", request=request, answer="listed")
        return
    others = f"; it lists level {', '.join(listed)}" if listed else ""
    yield Check(
        what,
        "degrades",
        f"not listed at level {level}{others}; {types}",
        "a pull tries it all the same: many servers do not list what they have",
        f"tell us whether this client may export (`$export`) at level {level}, and which Group is ours",
        f'level = "{listed[0]}" in [site.bulk]' if listed else 'mode = "search" in [site.pull]',
        request,
        "not listed",
    )


def is_more_to_ask(puller: Puller) -> bool:
    """Whether something is searched for beside the export: the members of a Group, types that are not exported."""
    return puller.site.cohort.by == "group" or bool(plan(puller))
