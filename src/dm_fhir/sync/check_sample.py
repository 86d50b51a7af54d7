"""A few records of each type, looked at for what FHIR and the mappings would object to. Places and kinds, never values."""

from collections import Counter
from collections.abc import Callable, Iterable

import msgspec

from dm_fhir.fhir.resource import Resource
from dm_fhir.sync.check import Check
from dm_fhir.sync.query import FORMS, SEARCHES

#: What is wrong with a resource: element paths and kinds of fault.
FaultsOf = Callable[[bytes], list[str]]
_MOST = 5
_TYPES = {"Patient", "Medication", *(name for name, _ in (*SEARCHES, FORMS))}


class Sampled(msgspec.Struct, frozen=True):
    """How many records of a type were looked at, and how many of them have which fault."""

    records: int
    faults: dict[str, int]


def sampled(records: Iterable[Resource], faults_of: FaultsOf, most: int) -> dict[str, Sampled]:
    """Up to `most` records of each type, each once, with their faults."""
    by_type: dict[str, dict[str, Resource]] = {}
    for record in records:
        # What a server calls a type that is none of ours is its own text.
        seen = by_type.setdefault(record.type if record.type in _TYPES else "another type", {})
        if len(seen) < most:
            seen[record.id] = record
    found = {}
    for name, some in sorted(by_type.items()):
        faults = Counter(fault for record in some.values() for fault in faults_of(record.body))
        found[name] = Sampled(len(some), dict(sorted(faults.items())))
    return found


def check_sample(sample: dict[str, Sampled]) -> Check:
    """Whether the records that were looked at are valid."""
    looked_at = ", ".join(f"{one.records} {name}" for name, one in sample.items())
    if not sample:
        return Check("sample", "works", "no record was seen, so none was looked at")
    faulty = [
        f"{name}: {fault} ({count} of {one.records})"
        for name, one in sample.items()
        for fault, count in one.faults.items()
    ]
    if not faulty:
        return Check("sample", "works", f"valid: {looked_at}", answer=f"valid: {looked_at}")
    more = f"; and {len(faulty) - _MOST} more" if len(faulty) > _MOST else ""
    said = f"{'; '.join(faulty[:_MOST])}{more}; looked at: {looked_at}"
    return Check(
        "sample",
        "degrades",
        said,
        "what dm-fhir cannot read is kept, named and not counted; all else that FHIR objects to is read as far as it goes",
        "see why these records are not valid FHIR R4",
        answer="; ".join(faulty),
    )
