"""Whose records are pulled: by medication, by condition, by Group, or by a list of patients. What is found joins the cohort."""

from collections import Counter
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from dm_fhir.errors import ConfigError, RequestFailed
from dm_fhir.fhir.resource import NOT_READABLE, Resource, local_reference
from dm_fhir.fhir.search import Search, read_url
from dm_fhir.fhir.transport import Answer
from dm_fhir.model.read_file import read_text
from dm_fhir.store.ledger import get_unit
from dm_fhir.store.members import join, leave, members
from dm_fhir.store.resources import resources_of_type
from dm_fhir.sync.alone import judged, pull_site_wide
from dm_fhir.sync.opening import opened
from dm_fhir.sync.puller import Puller
from dm_fhir.sync.query import Query
from dm_fhir.sync.tally import Check, Tally, begun

COHORT = "cohort"


class Named(NamedTuple):
    """One line of a list of patients, and what became of it: `found`, `not found`, `ambiguous` or `unreadable`.

    `line` is its number, never its text: that may be a medical record number.
    """

    line: int
    state: str
    patient: str | None = None


def find_cohort(puller: Puller) -> list[Named]:
    """Bring the site's cohort up to date; the lines of its list, if it is one. The ledger has a unit for each search."""
    cohort = puller.site.cohort
    if cohort.by == "patients" and cohort.patients is not None:
        return _by_list(puller, cohort.patients)
    if cohort.by == "group" and cohort.group is not None:
        _by_group(puller, cohort.group)
    elif cohort.by == "condition":
        _by_condition(puller)
    elif cohort.by == "everybody":
        raise ConfigError(
            'by = "everybody" is for files: a server is asked for a cohort',
            hint=f"dm-fhir pull --from PATH reads files; of a server, {other_ways(puller)}",
        )
    else:
        _by_medication(puller)
    return []


def read_list(puller: Puller, path: Path) -> list[Named]:
    """The patients that a file names, one a line: an id, `Patient/id`, or an identifier as `system|value`.

    Raises ConfigError if it cannot be read, RequestFailed if the server cannot be asked for identifiers.
    """
    return [read_line(puller, number, text) for number, text in listed_lines(path)]


def listed_lines(path: Path) -> list[tuple[int, str]]:
    """The lines of a list of patients, by number, without blank ones and remarks. Raises ConfigError if it cannot be read."""
    try:
        lines = read_text(path, "utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError):
        raise ConfigError(
            f"the list of patients {path} cannot be read", hint="it is a text file, one patient a line"
        ) from None
    numbered = ((number, line.strip()) for number, line in enumerate(lines, start=1))
    return [(number, text) for number, text in numbered if text and not text.startswith("#")]


def known_members(puller: Puller) -> list[str]:
    """The cohort as the store has it."""
    with puller.reading() as db:
        return members(db, puller.name)


def _by_medication(puller: Puller) -> None:
    """Whoever was given the study drug. What comes back is checked: a server that ignores `code` would send everybody.

    Membership is kept with the page that showed it, so that later searches need only what has changed.
    """
    mapper = puller.mapper
    codes = ",".join(f"{system}|{code}" for system, code in mapper.drug_codes())
    named = find_medications(puller)
    _administrations(puller, "code", codes, named)
    if named:  # administrations that only refer to a Medication are not found by code on most servers
        _administrations(puller, "medication", ",".join(named), named)


def find_medications(puller: Puller) -> list[str]:
    """Ask for the Medications that are the study drug; these and those that were known before, as references."""
    mapper = puller.mapper
    codes = ",".join(f"{system}|{code}" for system, code in mapper.drug_codes())
    medications: set[str] = set()

    def drug(resource: Resource) -> Check:
        is_drug = mapper.is_drug(resource.body)
        return Check(is_drug, None if is_drug else "filter_ignored:code")

    query = _site_wide("Medication", f"{COHORT}: Medication by code", (("code", codes),))
    pull_site_wide(puller, query, drug, lambda kept: medications.update(r.reference for r in kept))
    return sorted(medications | _known_medications(puller))


def _administrations(puller: Puller, parameter: str, value: str, medications: Collection[str]) -> None:
    def given(resource: Resource) -> Check:
        fits = puller.mapper.gives_drug(resource.body, medications)
        return Check(fits, None if fits else f"filter_ignored:{parameter}")

    name = f"{COHORT}: MedicationAdministration by {parameter}"
    query = _site_wide("MedicationAdministration", name, ((parameter, value),))
    _searched(puller, query, given)


def _by_condition(puller: Puller) -> None:
    """Whoever has a diagnosis that the tables call the disease."""
    codes = ",".join(f"{system}|{code}" for system, code in puller.mapper.disease_codes())

    def diagnosed(resource: Resource) -> Check:
        fits = puller.mapper.is_disease(resource.body)
        return Check(fits, None if fits else "filter_ignored:code")

    query = _site_wide("Condition", f"{COHORT}: Condition by code", (("code", codes),))
    _searched(puller, query, diagnosed)


def _searched(puller: Puller, query: Query, judge: Callable[[Resource], Check]) -> None:
    """Run a cohort's search. Raises ConfigError if the server cannot and nobody is known: it says which way it can."""
    pull_site_wide(puller, query, judge, lambda kept: join(puller.db, puller.name, _subjects(kept), puller.run))
    with puller.reading() as db:
        unit = get_unit(db, puller.name, "", query.name)
    if unit is not None and unit.state == "unsupported" and not known_members(puller):
        by = query.also[0][0]
        raise ConfigError(f"this server cannot search {query.type} by {by}", hint=other_ways(puller))


def other_ways(puller: Puller) -> str:
    """By what this server can find a cohort, beside what the site asks for."""
    ways = []
    if puller.capability.searches("MedicationAdministration", "code") and puller.site.cohort.by != "medication":
        ways.append('by = "medication"')
    if puller.capability.searches("Condition", "code") and puller.site.cohort.by != "condition":
        ways.append('by = "condition"')
    if puller.capability.lists("Group"):
        ways.append('by = "group"')
    ways.append('by = "patients" (a list)')
    return f"it can: {', '.join(ways)}; set it in [site.cohort]"


def _by_group(puller: Puller, reference: str) -> None:
    """The active members of a Group that are patients."""
    name = f"{COHORT}: {reference}"
    with puller.reading() as db:
        before = get_unit(db, puller.name, "", name)
    tally = Tally(puller, begun(before, puller.name, "", name, puller.run, reference), lambda _: Check(False))
    with judged(tally):
        group = puller.connection.ask(read_group, "GET", read_url(reference), notes=tally.notes)
        found = [local_reference(m.entity.reference or "") for m in group.member if not m.inactive]
        found = [patient for patient in found if patient.startswith("Patient/")]
        if not found:
            raise RequestFailed(f"{reference} lists no patients", reason="empty-group", hint=other_ways(puller))
        tally.pages = 1
        tally.seen.update(found)
        _replace_members(puller, found)


def _by_list(puller: Puller, path: Path) -> list[Named]:
    """Those on the list, and nobody else any more."""
    name = f"{COHORT}: list of patients"
    with puller.reading() as db:
        before = get_unit(db, puller.name, "", name)
    tally = Tally(puller, begun(before, puller.name, "", name, puller.run, "list"), lambda _: Check(False))
    named: list[Named] = []
    with judged(tally):
        named = read_list(puller, path)
        found = [one.patient for one in named if one.patient is not None]
        tally.pages = 1
        tally.seen.update(found)
        _replace_members(puller, found)
        lost = [one for one in named if one.patient is None]
        if lost:
            lines = ", ".join(f"line {one.line} {one.state}" for one in lost[:10])
            raise RequestFailed(
                f"{len(lost)} of {len(named)} lines of the list name nobody: {lines}", reason="not-found"
            )
    return named


def read_line(puller: Puller, number: int, text: str) -> Named:
    """Whom one line of a list names."""
    return named(number, text, _with_identifier(puller, text) if "|" in text else set())


def named(number: int, text: str, found: Collection[str]) -> Named:
    """Whom a line names: by id, or as one of those `found` with its identifier, as ids."""
    if "|" not in text:
        id_ = text.removeprefix("Patient/")
        return Named(number, "found", f"Patient/{id_}") if id_ and "/" not in id_ else Named(number, "unreadable")
    if len(found) == 1:
        return Named(number, "found", f"Patient/{next(iter(found))}")
    return Named(number, "ambiguous" if found else "not found")


def _with_identifier(puller: Puller, text: str) -> set[str]:
    """The ids of the patients with this identifier. It goes by POST where the server can: addresses stand in logs.

    Raises RequestFailed for a server that ignores what it is asked: it would send every patient.
    """
    settings, by_post = puller.settings, puller.takes_post("Patient")
    search = Search("Patient", (("identifier", text),), settings.page_size, settings.strict, by_post)
    found: set[str] = set()
    for page in opened(puller, "Patient", search, Counter()):
        found |= {r.id for r in page.resources if _has_identifier(r.body, text)}
        if page.resources and not found and by_post and puller.takes_post("Patient"):
            puller.remember("post Patient", "no")  # the form was not read
            return _with_identifier(puller, text)
        if page.resources and not found and page.next_url is not None:
            raise RequestFailed("the server ignores a search of Patient by identifier", reason="filter-ignored")
    return found


def _replace_members(puller: Puller, patients: Sequence[str]) -> None:
    with puller.writing() as db:
        left = set(members(db, puller.name)) - set(patients)
        leave(db, puller.name, left)
        join(db, puller.name, patients, puller.run)


def _subjects(resources: Sequence[Resource]) -> set[str]:
    return {r.subject for r in resources if r.subject and r.subject.startswith("Patient/")}


def _known_medications(puller: Puller) -> set[str]:
    """The Medications that are the drug, as far as the store has them: this search may have told of new ones only."""
    with puller.reading() as db:
        stored = list(resources_of_type(db, puller.name, "Medication"))
    return {f"Medication/{one.id}" for one in stored if puller.mapper.is_drug(one.body)}


def _site_wide(type_name: str, name: str, also: tuple[tuple[str, str], ...]) -> Query:
    return Query(type_name, name, "", also)


class _Entity(msgspec.Struct, frozen=True):
    reference: str | None = None


class _Member(msgspec.Struct, frozen=True):
    entity: _Entity = _Entity()
    inactive: bool = False


class _Group(msgspec.Struct, frozen=True):
    resourceType: str | None = None
    member: tuple[_Member, ...] = ()


class _Identifier(msgspec.Struct, frozen=True):
    system: str | None = None
    value: str | None = None


class _Identified(msgspec.Struct, frozen=True):
    identifier: tuple[_Identifier, ...] = ()


def read_group(answer: Answer) -> _Group:
    """The Group in an answer. Raises RequestFailed if it is none."""
    try:
        group = msgspec.json.decode(answer.body, type=_Group)
    except NOT_READABLE:
        group = _Group()
    if group.resourceType != "Group":
        raise RequestFailed("the answer is no Group", reason="not-fhir")
    return group


def _has_identifier(body: bytes, text: str) -> bool:
    """Whether the patient really has this identifier: a server that ignores the parameter would send everybody."""
    try:
        identifiers = msgspec.json.decode(body, type=_Identified).identifier
    except NOT_READABLE:
        return False
    return any(f"{one.system or ''}|{one.value}" == text for one in identifiers)
