"""The case series out of the store: the cases of the chosen sites, as they are or under pseudonyms."""

import secrets
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache

from msgspec.structs import replace

from dm_fhir import __version__
from dm_fhir.config import Config, Site
from dm_fhir.errors import ConfigError
from dm_fhir.model.case import Assessment, Case, CaseSeries, Concept, Input, Measured, Outcome, Result, Source
from dm_fhir.model.document import decode
from dm_fhir.outcomes.baseline import current
from dm_fhir.report.pseudonym import person, pseudonym, pseudonymised
from dm_fhir.store.cases import CaseRow, case_row, cases, patients_with_cases
from dm_fhir.store.database import setting
from dm_fhir.store.ledger import complete_until


def case_series(
    db: sqlite3.Connection, config: Config, sites: Sequence[Site], *, identified: bool = False
) -> CaseSeries:
    """The study's case series for the report: dates as recorded, outcomes without the records that they were made of.

    Raises ConfigError if the pseudonym key is configured and missing.
    """
    as_recorded = replace(config, dates="kept")
    head = series_head(db, as_recorded, sites, identified=identified)
    cases = each_case(db, as_recorded, sites, identified=identified, change=without_sources)
    return replace(head, cases=tuple(cases))


def series_head(
    db: sqlite3.Connection, config: Config, sites: Sequence[Site], *, identified: bool = False
) -> CaseSeries:
    """The case series as it is exported, without its cases."""
    return CaseSeries(
        config.title,
        config.drug,
        (),
        {site.name: complete_until(db, site.name, site.pull.optional_types) for site in sites},
        pseudonymised=not identified,
        written_by=f"dm-fhir {__version__}",
        definitions=config.definitions,
        dates="kept" if identified else config.dates,
    )


def each_case(
    db: sqlite3.Connection,
    config: Config,
    sites: Sequence[Site],
    *,
    identified: bool = False,
    by_pseudonym: bool = False,
    change: Callable[[Case], Case] = lambda case: case,
) -> Iterator[Case]:
    """The cases as they are exported, one by one, site by site in order of patient; or of pseudonym, which tells nothing.

    `change` is what is done to each before it gets its pseudonyms. Raises ConfigError if the key is missing.
    """
    key = pseudonym_key(db, config)
    for site in sites:
        for row in _by_pseudonym(db, site.name, key) if by_pseudonym else cases(db, site.name):
            case = change(decode(row.body, Case))
            known = replace(case, person=person(case, key, config.person_identifier))
            yield known if identified else pseudonymised(known, key, config.dates)


def without_sources(case: Case) -> Case:
    """The case as the report needs it, less than half of what it is: of outcomes neither records nor parts, of assessments when
    they count and what they answer.

    A case without outcomes stays as it is: they are computed from its records.
    """
    if not case.outcomes:
        return case
    nowhere = Source(case.site, "")
    assessments = dict.fromkeys(_answers_alone(one, nowhere) for one in current(case))
    outcomes = tuple(_values_alone(one, nowhere) for one in case.outcomes)
    return replace(case, assessments=tuple(assessments), outcomes=outcomes)


def _answers_alone(one: Assessment, nowhere: Source) -> Assessment:
    answered = tuple(
        _answer(part.concept.variable, part.result.answer) for part in one.components if part.result.answer
    )
    measured = (
        _answer(one.measured.concept.variable, one.measured.result.answer) if one.measured.result.answer else _NOTHING
    )
    return Assessment(nowhere, one.status, when=one.time, measured=measured, components=answered)


_NOTHING = Measured(Concept())


@lru_cache
def _answer(variable: str | None, answer: str) -> Measured:
    return Measured(Concept(variable=variable), result=Result(answer=answer))


def _values_alone(one: Outcome, nowhere: Source) -> Outcome:
    told = {part.role: part.value for part in reversed(one.inputs) if part.value is not None}  # of each role the first
    inputs = tuple(Input(role, nowhere, told[role]) for role in _ROLES if role in told)
    return replace(one, inputs=inputs, parts=(), verdicts=_verdicts(tuple(one.verdicts.items())))


#: The parts that a value plays in what the report says of a change.
_ROLES = ("baseline", "followup")


@lru_cache(4096)  # most outcomes have one of a few sets of verdicts
def _verdicts(found: tuple[tuple[str, str], ...]) -> dict[str, str]:
    return dict(found)


def _by_pseudonym(db: sqlite3.Connection, site: str, key: bytes) -> Iterator[CaseRow]:
    patients = sorted(patients_with_cases(db, site), key=lambda patient: pseudonym(key, site, patient))
    return (row for patient in patients if (row := case_row(db, site, patient)) is not None)


def pseudonym_key(db: sqlite3.Connection, config: Config) -> bytes:
    """The key of the study's pseudonyms: that of the config, else the store's own. Raises ConfigError if it is missing."""
    if config.pseudonym_key is not None:
        return config.pseudonym_key.read().encode()
    return setting(db, "pseudonym_key", secrets.token_hex(32)).encode()


def check_key(config: Config) -> None:
    """Raises ConfigError, with what mends it, where no pseudonym key is configured, or it is missing."""
    if config.pseudonym_key is None:
        raise ConfigError(
            "no pseudonym key is configured, so no case may leave",
            hint='make one: dm-fhir keys pseudonym; then put into [study]: pseudonym_key = "file:keys/pseudonym.key"\n'
            "  for use inside the hospital only, with the hospital's references: --identified",
        )
    config.pseudonym_key.read()
