"""The first pass over files: who is in the cohort. Only sources that may hold the types which show it are read.

Which types a source holds is taken from its name and its first lines. Where the second pass finds such types in a source that
was passed over, this pass is made again over that source, so that nobody is lost because a file is mixed.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from msgspec.structs import replace

from dm_fhir.errors import ConfigError
from dm_fhir.fhir.resource import read_without_meta
from dm_fhir.fhir.sources import Source
from dm_fhir.store.database import transaction
from dm_fhir.store.ledger import now, put_unit
from dm_fhir.store.members import join, members
from dm_fhir.store.resources import resources_of_type
from dm_fhir.sync.cohort import COHORT, Named, listed_lines, named
from dm_fhir.sync.file_types import only_type
from dm_fhir.sync.file_units import Reading, Wanted, begin, not_done, read_through
from dm_fhir.sync.scan.cohort_questions import (
    GROUP,
    PATIENT,
    CohortQuestion,
    Diagnosed,
    GivenDrug,
    Identified,
    InGroup,
    Linked,
)
from dm_fhir.sync.scan.scanned import Scanned

#: How the rows of this pass begin: of what shows members, of administrations that refer to a Medication, of Patients' links.
SHOWN, BY_MEDICATION, LINKED = f"{COHORT}: ", f"{COHORT}: by Medication, ", f"{COHORT}: links, "
PREFIXES = (SHOWN, BY_MEDICATION, LINKED)
_Within = Callable[[Scanned], None]


class Look(NamedTuple):
    """Whoever finds these types in a source must have read it under a row that begins so."""

    prefix: str
    types: frozenset[str]


def looks(reading: Reading) -> list[Look]:
    """What this pass reads, by the rows that it has for it; nothing where everybody in the files is the cohort."""
    cohort, mapper = reading.site.cohort, reading.mapper
    if cohort.by == "everybody":
        return []
    patients = frozenset(("Patient",))
    found = [Look(LINKED, patients)] if members(reading.db, reading.name) else []  # of nobody there are no links
    if cohort.by == "patients" and cohort.patients is not None:
        by_identifier = any("|" in text for _, text in listed_lines(cohort.patients))
        return [Look(SHOWN, patients), *found] if by_identifier else found
    shown = {"condition": Diagnosed(mapper).types, "group": InGroup("").types}.get(cohort.by, GivenDrug(mapper).types)
    return [Look(SHOWN, frozenset(shown)), *found]


def find_members(reading: Reading, sources: Sequence[Source]) -> list[Named]:
    """Bring the cohort up to date with what the sources show; the lines of the site's list, if it is one.

    Members join in the transaction of what shows them, and none leaves. Raises ConfigError where the list cannot be read, and
    where nobody has ever found the Group.
    """
    cohort = reading.site.cohort
    named: list[Named] = []
    if cohort.by == "everybody":
        return named
    if cohort.by == "medication":
        _given_the_drug(reading, sources)
    elif cohort.by == "condition":
        codes = sorted(reading.mapper.disease_codes())
        diagnosed = Diagnosed(reading.mapper)
        _ask(reading, sources, diagnosed, SHOWN, f"condition {codes}", _joining(reading, diagnosed))
    elif cohort.by == "patients" and cohort.patients is not None:
        named = _listed(reading, sources, cohort.patients)
    elif cohort.by == "group" and cohort.group is not None:
        _in_the_group(reading, sources, cohort.group)
    _linked(reading, sources)
    return named


def _given_the_drug(reading: Reading, sources: Sequence[Source]) -> None:
    """By the drug's codes, then by the Medications that are the drug, as far as the store has them by then."""
    mapper = reading.mapper
    codes = sorted(mapper.drug_codes())
    by_code = GivenDrug(mapper)
    _ask(reading, sources, by_code, SHOWN, f"medication {codes}", _joining(reading, by_code))
    names = _names_of_the_drug(reading)
    if names:
        holding = [source for source in sources if _has_read(reading, source, "MedicationAdministration")]
        asked = f"medication {codes} {sorted(names)}"
        by_name = GivenDrug(mapper, names)
        _ask_all(reading, holding, by_name, BY_MEDICATION, asked, _joining(reading, by_name))


def _names_of_the_drug(reading: Reading) -> frozenset[str]:
    """What calls the Medications of the store that are the drug."""
    drugs = [
        one for one in resources_of_type(reading.db, reading.name, "Medication") if reading.mapper.is_drug(one.body)
    ]
    return frozenset({*(f"Medication/{one.id}" for one in drugs), *reading.mapper.medications(drugs)})


def _has_read(reading: Reading, source: Source, type_name: str) -> bool:
    """Whether a first look at the source has come across this type, or what cannot be kept and may be of it."""
    row = reading.unit(f"{SHOWN}{reading.unit_of(source)}")
    return row is not None and not row.notes.keys().isdisjoint((type_name, "set_aside"))


def _listed(reading: Reading, sources: Sequence[Source], path: Path) -> list[Named]:
    """Those on the list. Whose an identifier is only the Patients can tell: these are read each time."""
    lines = listed_lines(path)
    identifiers = frozenset(text for _, text in lines if "|" in text)
    whose: dict[str, set[str]] = {}

    def note(found: Iterable[tuple[str, str]]) -> None:
        for text, patient in found:
            whose.setdefault(text, set()).add(patient.removeprefix("Patient/"))

    if identifiers:
        _ask(reading, sources, Identified(identifiers), SHOWN, None, lambda parcel: note(parcel.found))
        note(_stored_with(reading, identifiers))
    listed = [named(number, text, whose.get(text, ())) for number, text in lines]
    lost = [one for one in listed if one.patient is None]
    row = reading.begun(f"{SHOWN}list of patients", "list")
    row = replace(row, received=len(listed), unique=len(listed) - len(lost), pages=1)
    if lost:
        said = ", ".join(f"line {one.line} {one.state}" for one in lost[:10])
        message = f"{len(lost)} of {len(listed)} lines of the list name nobody: {said}"
        row = replace(row, reason="not-found", message=message)
    else:
        row = replace(row, state="complete", reason=None, watermark=now())
    with transaction(reading.db):
        join(reading.db, reading.name, {one.patient for one in listed if one.patient is not None}, reading.run)
        put_unit(reading.db, row)
    return listed


def _stored_with(reading: Reading, identifiers: frozenset[str]) -> Iterator[tuple[str, str]]:
    """The identifiers, and whose they are, of the Patients that earlier files or the server have brought."""
    question = Identified(identifiers)
    for one in resources_of_type(reading.db, reading.name, "Patient"):
        yield from question.found_in(one.body, f"Patient/{one.id}")


def _in_the_group(reading: Reading, sources: Sequence[Source], group: str) -> None:
    """The members of the Group, with a row of its own that says whether it was ever found."""
    query = f"{SHOWN}{group}"

    def note(parcel: Scanned) -> None:
        if (GROUP, group) not in parcel.found:
            return
        found = {found for kind, found in parcel.found if kind == PATIENT}
        join(reading.db, reading.name, found, reading.run)
        row = replace(reading.begun(query, group), received=len(found), unique=len(found), pages=1)
        if found:
            row = replace(row, state="complete", reason=None, watermark=now())
        else:
            row = replace(row, reason="empty-group", message=f"{group} lists no patients")
        put_unit(reading.db, row)

    _ask(reading, sources, InGroup(group), SHOWN, group, note)
    if reading.unit(query) is None:
        raise ConfigError(
            f"there is no {group} in the files",
            hint="give the file that holds it too, or set [site.cohort] by: medication, condition, patients, everybody",
        )


def _linked(reading: Reading, sources: Sequence[Source]) -> None:
    """Whoever a Patient calls the same person as a member, until nobody joins any more."""
    while True:
        before = frozenset(members(reading.db, reading.name))
        if not before:
            return
        asked = f"links {sorted(before)}"
        linked = Linked(reading.mapper, before)
        _ask(reading, sources, linked, LINKED, asked, _joining(reading, linked))
        if frozenset(members(reading.db, reading.name)) == before:
            return


def _joining(reading: Reading, question: CohortQuestion) -> _Within:
    """Takes the patients that a parcel has found into the cohort.

    Also by what cannot be kept because of its `meta`: the second pass names such a line only if it is the cohort's.
    """

    def within(parcel: Scanned) -> None:
        more = Scanned(parcel.piece)
        for faulty in parcel.faulty:
            resource = read_without_meta(faulty.body) if faulty.reason == "unreadable" else None
            if resource is not None:
                question.answer(resource, more)
        found = {found for kind, found in (*parcel.found, *more.found) if kind == PATIENT}
        if found:
            join(reading.db, reading.name, found, reading.run)

    return within


def _ask(
    reading: Reading,
    sources: Sequence[Source],
    question: CohortQuestion,
    prefix: str,
    asked: str | None,
    within: _Within,
) -> None:
    """Ask the sources that may hold the question's types."""
    chosen = [source for source in sources if _must_be_read(reading, source, prefix, question.types)]
    _ask_all(reading, chosen, question, prefix, asked, within)


def _ask_all(
    reading: Reading,
    sources: Sequence[Source],
    question: CohortQuestion,
    prefix: str,
    asked: str | None,
    within: _Within,
) -> None:
    """Ask these sources, but for those that have been asked the same before."""
    types = question.types

    def counts(_: Sequence[Source], read: Counter[str], __: Counter[str]) -> dict[str, int]:
        return {name: read[name] for name in types}

    wanted = Wanted(question, asked, prefix, within, counts=counts)
    chosen = not_done(reading, sources, wanted)
    if chosen:
        begin(reading, chosen, wanted)
        read_through(reading, chosen, wanted)


def _must_be_read(reading: Reading, source: Source, prefix: str, types: Collection[str]) -> bool:
    """Whether it may hold one of the types; what had to be read once has to be read again."""
    if reading.unit(f"{prefix}{reading.unit_of(source)}") is not None:
        return True
    only = only_type(source)
    return only is None or only in types
