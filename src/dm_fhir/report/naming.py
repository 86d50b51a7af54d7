"""Which case and which value somebody means: references, names, or the pseudonyms of an exported document."""

import re
import sqlite3
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from dm_fhir.config import Config
from dm_fhir.errors import ConfigError
from dm_fhir.model.case import Case, Outcome
from dm_fhir.model.document import decode
from dm_fhir.report.pseudonym import pseudonym
from dm_fhir.report.series import pseudonym_key
from dm_fhir.store.cases import CaseRow, case_row, fingerprints, patients_with_cases
from dm_fhir.store.resources import has_records_of

_PSEUDONYM = re.compile(r"[A-Za-z]+/[0-9a-f]{16}")
_MOST = 20


class Found(NamedTuple):
    """A case, and the site that it is of."""

    site: str
    case: Case


def find_case(db: sqlite3.Connection, config: Config, sites: Sequence[str], text: str) -> Found:
    """The case called `text`: `Patient/7`, `7`, `leon:Patient/7`, or its pseudonym in an exported document.

    Raises ConfigError for one that is unknown, of several sites, or no case, with what there is.
    """
    site, _, rest = text.partition(":")
    within, name = ([site], rest) if rest and site in sites else (list(sites), text)
    reference = name if "/" in name else f"Patient/{name}"
    found = [(one, row) for one in within if (row := _row(db, config, one, reference)) is not None]
    cases = [(one, row) for one, row in found if row.state == "case"]
    if len(cases) == 1:
        return Found(cases[0][0], decode(cases[0][1].body, Case))
    if cases:
        names = ", ".join(f"{one}:{row.patient}" for one, row in cases)
        raise ConfigError(f"{reference} is a case of several sites", hint=f"say which: {names}")
    raise _no_case(db, within, reference, found)


def _row(db: sqlite3.Connection, config: Config, site: str, reference: str) -> CaseRow | None:
    row = case_row(db, site, reference)
    if row is not None or not _PSEUDONYM.fullmatch(reference):
        return row
    key = pseudonym_key(db, config)
    named = next((one for one in fingerprints(db, site) if pseudonym(key, site, one) == reference), None)
    return case_row(db, site, named) if named else None


def _no_case(
    db: sqlite3.Connection, sites: Sequence[str], reference: str, found: Sequence[tuple[str, CaseRow]]
) -> ConfigError:
    if found:
        site, row = found[0]
        other = row.state.removeprefix("merged into ")
        hint = (
            f"dm-fhir explain {site}:{other}" if other != row.state else f"its records: dm-fhir map check --site {site}"
        )
        return ConfigError(f"{row.patient} of {site} makes no case: {row.state}", hint=hint)
    held = next((site for site in sites if has_records_of(db, site, reference)), None)
    if held is not None:
        return ConfigError(f"{reference} of {held} has not been computed yet", hint="dm-fhir compute")
    known = [f"{site}:{row}" for site in sites for row in patients_with_cases(db, site, _MOST + 1)]
    return ConfigError(
        f"there is no case {reference} of {', '.join(sites)}",
        hint=f"cases: {_some(known)}" if known else "there are no cases yet: dm-fhir pull, then dm-fhir compute",
    )


def name_of(outcome: Outcome) -> str:
    """What an outcome is called: `ck_baseline`, with its follow-up `ck_improvement@Observation/9`, or its visit `tis@week_12`."""
    belongs_to = outcome.about or outcome.visit
    return f"{outcome.variable}@{belongs_to}" if belongs_to else outcome.variable


def find_outcome(case: Case, text: str, called: dict[str, str]) -> Outcome:
    """The outcome called `text`, by its follow-up, which may go by its pseudonym (`called`: reference by pseudonym), or its visit.

    Raises ConfigError for one that the case has not, or has several of, with the names that there are.
    """
    name, _, follow_up = text.partition("@")
    variable, about = name.replace("-", "_"), called.get(follow_up, follow_up)
    found = [
        one
        for one in case.outcomes
        if one.variable == variable
        and (not about or about in (one.about, one.visit) or (one.about or "").startswith(f"{about}#"))
    ]
    if len(found) == 1:
        return found[0]
    if found:
        names = _some([name_of(one) for one in found])
        raise ConfigError(f"{case.id} has {len(found)} outcomes {variable}", hint=f"say which: {names}")
    names = _some(list(dict.fromkeys(one.variable for one in case.outcomes)))
    raise ConfigError(f"{case.id} has no outcome {text}", hint=f"outcomes: {names}; a record goes by Type/id")


def by_pseudonym(key: bytes, site: str, references: Iterable[str]) -> dict[str, str]:
    """The references by their pseudonyms."""
    return {pseudonym(key, site, one): one for one in references}


def may_be_pseudonym(text: str) -> bool:
    """Whether the text could be a reference of an exported document, with or without the path to a part."""
    return _PSEUDONYM.fullmatch(text.partition("#")[0]) is not None


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:_MOST]) + (", …" if len(names) > _MOST else "")
