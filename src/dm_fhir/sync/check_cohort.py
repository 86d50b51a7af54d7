"""The checks of the cohort's search, in the site's way, each with `_count=1`; and patients to try the other searches on."""

from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import NamedTuple

from msgspec.structs import replace

from dm_fhir.errors import ConfigError, RequestFailed
from dm_fhir.fhir.page import Page
from dm_fhir.fhir.resource import Resource, local_reference
from dm_fhir.fhir.search import Search, read_url
from dm_fhir.model.read_file import read_text
from dm_fhir.sync import cohort
from dm_fhir.sync.check import Check, failed, first_page, how_many, is_unsupported, shown
from dm_fhir.sync.puller import Puller
from dm_fhir.sync.query import manner

#: So many results are looked through for a second patient.
_SOME = 50


class Found(NamedTuple):
    """Patients to try the other searches on, and the search that may find more of them."""

    patients: tuple[str, ...] = ()
    search: Search | None = None


Checks = Generator[Check, None, Found]


class _Question(NamedTuple):
    """One search of the cohort; `fits` says whether a result is what was asked for."""

    type: str
    parameter: str
    value: str
    fits: Callable[[Resource], bool]

    @property
    def name(self) -> str:
        """As the ledger has it."""
        return f"{cohort.COHORT}: {self.type} by {self.parameter}"


def check_cohort(puller: Puller, members: Sequence[str]) -> Checks:
    """The checks of the cohort's search. Gives the patients it found, else `members` of earlier pulls, else anybody."""
    by = puller.site.cohort
    if by.by == "patients" and by.patients is not None:
        found = yield from _by_list(puller, by.patients)
    elif by.by == "group" and by.group is not None:
        found = yield from _by_group(puller, by.group)
    elif by.by == "condition":
        found = yield from _by_condition(puller, members)
    elif by.by == "everybody":
        found = yield from _by_files()
    else:
        found = yield from _by_medication(puller, members)
    return found if found.patients else Found(tuple(members) or _anybody(puller))


def _by_files() -> Checks:
    yield Check(
        f"{cohort.COHORT}: everybody", "fails", "everybody in files is a cohort, everybody at a server is none",
        "a pull of this server ends with exit 2", mend="read files (dm-fhir pull --from PATH), or set another [site.cohort] by",
        exit_code=2,
    )  # fmt: skip
    return Found()


def two_patients(puller: Puller, found: Found) -> tuple[str, ...]:
    """Two patients, if that many can be found by one more search; else those that are known."""
    if len(found.patients) > 1 or found.search is None:
        return found.patients[:2]
    try:
        page = first_page(puller, found.search.path, found.search._replace(page_size=_SOME))
    except RequestFailed:
        return found.patients
    return tuple(dict.fromkeys([*found.patients, *_subjects(page)]))[:2]


def _by_medication(puller: Puller, members: Sequence[str]) -> Checks:
    """The study drug as it stands in administrations, and in the Medications that they refer to."""
    mapper = puller.mapper
    codes = _tokens(mapper.drug_codes())
    by_code = _Question("MedicationAdministration", "code", codes, lambda one: mapper.gives_drug(one.body, ()))
    found, given = yield from _asked(puller, by_code, members)
    drugs_by_code = _Question("Medication", "code", codes, lambda one: mapper.is_drug(one.body))
    _, drugs = yield from _asked(puller, drugs_by_code, members)
    named = [one.reference for one in drugs if mapper.is_drug(one.body)]
    if named:
        by_reference = _Question(
            "MedicationAdministration", "medication", ",".join(named), lambda one: mapper.gives_drug(one.body, named)
        )
        others, _ = yield from _asked(puller, by_reference, [*members, *found.patients])
        found = found if found.patients else others
    if not (found.patients or given or named):
        yield _nobody("given the study drug", codes)
    return found


def _by_condition(puller: Puller, members: Sequence[str]) -> Checks:
    codes = _tokens(puller.mapper.disease_codes())
    question = _Question("Condition", "code", codes, lambda one: puller.mapper.is_disease(one.body))
    found, _ = yield from _asked(puller, question, members)
    if not found.patients:
        yield _nobody("diagnosed with the disease", codes)
    return found


def _by_group(puller: Puller, reference: str) -> Checks:
    name, request = f"{cohort.COHORT}: {reference}", f"GET {reference}"
    try:
        group = puller.connection.ask(cohort.read_group, "GET", read_url(reference), place=request)
    except RequestFailed as error:
        yield failed(error, name, "Group", puller.site, request)
        return Found()
    patients = [local_reference(one.entity.reference or "") for one in group.member if not one.inactive]
    patients = [patient for patient in patients if patient.startswith("Patient/")]
    if patients:
        yield Check(name, "works", f"{len(patients)} patients", request=request, answer="200")
    else:
        empty = RequestFailed(f"{reference} lists no patients", reason="empty-group", status=200)
        yield replace(
            failed(empty, name, "Group", puller.site, request), ask=f"put the patients of the study into {reference}"
        )
    return Found(tuple(patients))


def _by_list(puller: Puller, path: Path) -> Checks:
    """The list's lines are counted; of those with identifiers the first is looked for on the server."""
    name = f"{cohort.COHORT}: list of patients"
    try:
        lines = read_text(path, "utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError):
        yield Check(
            name,
            "fails",
            f"the list of patients {path} cannot be read",
            "a pull ends at once",
            mend="see patients of [site.cohort]: a text file, one patient a line",
            exit_code=ConfigError.exit_code,
        )
        return Found()
    texts = [(number, text) for number, line in enumerate(lines, start=1) if (text := line.strip()) and text[0] != "#"]
    identifiers = [(number, text) for number, text in texts if "|" in text]
    found = [cohort.read_line(puller, number, text) for number, text in texts if "|" not in text]
    bad = [f"line {one.line}" for one in found if one.patient is None]
    said = f"{len(texts)} lines: {len(found) - len(bad)} ids, {len(identifiers)} identifiers"
    if bad:
        said += f"; neither id nor identifier: {', '.join(bad[:10])}{' …' * (len(bad) > 10)}"
    yield Check(
        name,
        "degrades" if bad or not texts else "works",
        said,
        "whoever stands there is not asked for" if bad else "a pull finds nobody" if not texts else None,
        mend="see patients of [site.cohort]" if bad or not texts else None,
    )
    if identifiers:
        found.append((yield from _identified(puller, *identifiers[0])))
    return Found(tuple(dict.fromkeys(one.patient for one in found if one.patient is not None)))


def _identified(puller: Puller, number: int, text: str) -> Generator[Check, None, cohort.Named]:
    """Look for the patient with an identifier."""
    name, request = f"{cohort.COHORT}: Patient by identifier", "GET Patient?identifier={value}"
    try:
        one = cohort.read_line(puller, number, text)
    except RequestFailed as error:
        yield failed(error, name, "Patient", puller.site, request)
        return cohort.Named(number, "not found")
    if one.patient:
        yield Check(name, "works", f"the patient of line {number} is found", request=request, answer="200")
    else:
        yield Check(
            name,
            "degrades",
            f"the patient of line {number}, the first with an identifier, is {one.state}",
            "whoever is not found is not asked for, and the pull ends with exit code 3",
            "tell us which system (Identifier.system) the patients' numbers have on this server",
            "see patients of [site.cohort]: system|value, as the server writes them",
            request,
            f"200, {one.state}",
        )
    return one


def _asked(
    puller: Puller, question: _Question, members: Sequence[str]
) -> Generator[Check, None, tuple[Found, list[Resource]]]:
    """Try one search of the cohort. Gives whom it found, and the resources."""
    parameters = ((question.parameter, question.value), *manner(puller, question.type))
    search = Search(question.type, parameters, 1, puller.settings.strict)
    try:
        page = first_page(puller, question.type, search)
    except RequestFailed as error:
        yield _cannot(puller, question, error, shown(search), members)
        return Found(), []
    ignored = [one for one in page.resources if not question.fits(one)]
    said = how_many(page)
    if ignored:
        yield Check(
            question.name,
            "degrades",
            f"{said}; it brings what was not asked for: the server seems to ignore `{question.parameter}`",
            "what does not fit is left out, if it is not too much: where a whole page does not fit the search is given up",
            f"see why `{shown(search)}` brings other results: the server ignores `{question.parameter}`",
            cohort.other_ways(puller),
            shown(search),
            f"200, `{question.parameter}` ignored",
        )
    else:
        yield Check(question.name, "works", said, request=shown(search), answer="200")
    return Found(tuple(dict.fromkeys(_subjects(page))), search), list(page.resources)


def _cannot(puller: Puller, question: _Question, error: RequestFailed, request: str, members: Sequence[str]) -> Check:
    """A search of the cohort that does not work. Where it finds nobody at all, a pull can only end as for a bad config."""
    check = failed(error, question.name, question.type, puller.site, request)
    decides = is_unsupported(error) and question.type != "Medication"
    if check.ok or not decides:
        return check
    if members:
        return replace(check, mend=cohort.other_ways(puller))
    return replace(
        check,
        consequence="a pull finds nobody, and ends at once",
        mend=cohort.other_ways(puller),
        exit_code=ConfigError.exit_code,
    )


def _nobody(whose: str, codes: str) -> Check:
    asked_for = codes.replace(",", ", ")
    return Check(
        cohort.COHORT,
        "degrades",
        f"nobody is found who was {whose}",
        "a pull reads nothing, and ends with exit code 0",
        f"tell us with which codes you record who was {whose}; we asked for {asked_for}",
        "add the hospital's codes to a table of the site, or choose another way: by of [site.cohort]",
        answer="nobody found",
    )


def _anybody(puller: Puller) -> tuple[str, ...]:
    """Patients of whom nothing is known, where the server gives them out."""
    try:
        page = first_page(puller, "Patient", Search("Patient", (), 1, puller.settings.strict))
    except RequestFailed:
        return ()
    return tuple(one.reference for one in page.resources if one.type == "Patient")


def _subjects(page: Page) -> list[str]:
    return [one.subject for one in page.resources if one.subject and one.subject.startswith("Patient/")]


def _tokens(codes: Sequence[tuple[str, str]]) -> str:
    return ",".join(f"{system}|{code}" for system, code in codes)
