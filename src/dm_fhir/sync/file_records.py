"""The second pass over files: the records of the cohort, and the Medications that they refer to."""

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from msgspec.structs import replace

from dm_fhir.fhir.sources import Source
from dm_fhir.store.database import transaction
from dm_fhir.store.ledger import now, put_unit
from dm_fhir.store.members import join, members
from dm_fhir.store.resources import resources_of_type
from dm_fhir.sync.file_cohort import looks
from dm_fhir.sync.file_types import named_type, one_of
from dm_fhir.sync.file_units import NOTHING, Read, Reading, Wanted, begin, not_done, read_through
from dm_fhir.sync.query import FORMS, SEARCHES
from dm_fhir.sync.references import medication_names
from dm_fhir.sync.scan.record_questions import OfPatients, TheseMedications
from dm_fhir.sync.scan.scanned import Scanned

#: The unit of the Medications that records from files refer to.
MEDICATIONS_IN_FILES = "Medication in files"
#: What becomes of what is kept, and why the rest is not.
KEPT, NOT_KEPT = ("new", "changed", "unchanged", "older"), ("not_in_cohort", "not_mapped", "own_outcome", "set_aside")
_MEDICATION = "Medication"


class Records(NamedTuple):
    """What the second pass has read. `has_more`: it came across what the first pass has not looked at; these rows are open now."""

    read: Read
    has_more: bool


def take_records(reading: Reading, sources: Sequence[Source]) -> Records:
    """Keep what is the cohort's, from all sources that are not complete for it. Where everybody is the cohort, they join it."""
    is_everybody = reading.site.cohort.by == "everybody"
    patients = None if is_everybody else frozenset(members(reading.db, reading.name))
    scope, types = reading.site.pull.scope, _asked_for(reading)
    opened_again: list[str] = []

    def join_all(parcel: Scanned) -> None:
        found = {one.subject for one in parcel.kept if one.subject and one.subject.startswith("Patient/")}
        join(reading.db, reading.name, found, reading.run)

    def look_again(some: Sequence[Source], read: Counter[str]) -> None:
        for look in looks(reading):
            query = f"{look.prefix}{reading.unit_of(some[0])}"
            if not look.types.isdisjoint(read) and reading.unit(query) is None:
                opened_again.append(query)
                put_unit(reading.db, reading.begun(query))

    known = reading.mapper.scope if scope == "mapped" else ""
    wanted = Wanted(
        OfPatients(reading.mapper, patients, types),
        f"records {scope} {known} {'everybody' if patients is None else sorted(patients)}",
        within=join_all if is_everybody else lambda _: None,
        at_end=look_again,
        counts=_counts,
        sets_aside=True,
    )
    chosen = not_done(reading, sources, wanted)
    if not chosen:
        return Records(NOTHING, has_more=False)
    begin(reading, chosen, wanted, *([] if is_everybody else [reading.begun(MEDICATIONS_IN_FILES)]))
    return Records(read_through(reading, chosen, wanted), bool(opened_again))


def _asked_for(reading: Reading) -> frozenset[str] | None:
    """The types of which what the tables know is kept; None: all is.

    Where everybody is the cohort all Medications are: which are needed is not known before the end.
    """
    if reading.site.pull.scope == "all":
        return None
    forms = {FORMS[0]} if reading.mapper.reads_forms else set()
    medications = {_MEDICATION} if reading.site.cohort.by == "everybody" else set()
    return frozenset({"Patient", *(type_name for type_name, _ in SEARCHES), *forms, *medications})


def _counts(sources: Sequence[Source], types: Counter[str], notes: Counter[str]) -> dict[str, int]:
    """What a row says of what was not kept; and of Medications, which may be needed yet."""
    named = one_of([named_type(source, types) for source in sources])
    return {
        "not_in_cohort": types.total() - sum(notes[name] for name in (*KEPT, "not_mapped", "own_outcome")),
        _MEDICATION: types[_MEDICATION],
        "other_type": types.total() - types[named] if named else 0,
    }


def take_medications(reading: Reading, sources: Sequence[Source]) -> int:
    """Keep the Medications that records refer to, from the sources that hold any; how many are in none of them."""
    names = frozenset(medication_names(reading.db, reading.name))  # one that is known already may have changed
    holding = [source for source in sources if names and _holds_medications(reading, source)]
    reading = reading._replace(unit_of=lambda _: MEDICATIONS_IN_FILES, expected={})
    wanted = Wanted(TheseMedications(reading.mapper, names), f"medications {sorted(names)}")
    if holding:
        if not not_done(reading, holding, wanted):
            return len(_missing_medications(reading))
        begin(reading, holding, wanted)
        read_through(reading, holding, wanted)
    missing = _missing_medications(reading)
    row = reading.unit(MEDICATIONS_IN_FILES)
    if row is not None and (row.state == "complete" or not holding):
        mark = row.watermark if row.state == "complete" else reading.watermark or now()
        gone = {"gone": len(missing)} if missing else {}
        with transaction(reading.db):
            put_unit(reading.db, replace(row, state="complete", reason=None, notes=row.notes | gone, watermark=mark))
    return len(missing)


def _holds_medications(reading: Reading, source: Source) -> bool:
    row = reading.unit(reading.unit_of(source))
    return row is not None and _MEDICATION in row.notes


def _missing_medications(reading: Reading) -> frozenset[str]:
    """What the site's records call Medications that the store does not have."""
    names = medication_names(reading.db, reading.name)
    known = reading.mapper.medications(resources_of_type(reading.db, reading.name, _MEDICATION)) if names else ()
    return frozenset(names.difference(known))
