"""The case series out of the store: the cases of the chosen sites, as they are or under pseudonyms."""

import secrets
import sqlite3
from collections.abc import Callable, Iterator, Sequence

from msgspec.structs import replace

from dm_fhir import __version__
from dm_fhir.config import Config, Site
from dm_fhir.errors import ConfigError
from dm_fhir.model.case import Case, CaseSeries, Input, Outcome, Source
from dm_fhir.model.document import decode
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
    """The case as the report needs it: two thirds of what outcomes take up are references to records, and it counts values."""
    nowhere = Source(case.site, "")
    return replace(case, outcomes=tuple(_values_alone(one, nowhere) for one in case.outcomes))


def _values_alone(outcome: Outcome, nowhere: Source) -> Outcome:
    inputs = tuple(Input(one.role, nowhere, one.value) for one in outcome.inputs if one.value is not None)
    return replace(outcome, inputs=inputs)


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
