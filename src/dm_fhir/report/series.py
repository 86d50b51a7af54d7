"""The case series out of the store: the cases of the chosen sites, as they are or under pseudonyms."""

import secrets
import sqlite3
from collections.abc import Sequence

from dm_fhir import __version__
from dm_fhir.config import Config, Site
from dm_fhir.model.case import Case, CaseSeries
from dm_fhir.model.document import decode
from dm_fhir.report.pseudonym import pseudonymised
from dm_fhir.store.cases import cases
from dm_fhir.store.database import setting
from dm_fhir.store.ledger import complete_until


def case_series(
    db: sqlite3.Connection, config: Config, sites: Sequence[Site], *, identified: bool = False
) -> CaseSeries:
    """The study's case series. Raises ConfigError if the pseudonym key is configured and missing."""
    found = [decode(row.body, Case) for site in sites for row in cases(db, site.name)]
    if not identified:
        key = pseudonym_key(db, config)
        found = [pseudonymised(case, key) for case in found]
    until = {site.name: complete_until(db, site.name, site.pull.optional_types) for site in sites}
    written_by = f"dm-fhir {__version__}"
    return CaseSeries(
        config.title,
        config.drug,
        tuple(found),
        until,
        pseudonymised=not identified,
        written_by=written_by,
        definitions=config.definitions,
    )


def pseudonym_key(db: sqlite3.Connection, config: Config) -> bytes:
    """The key of the study's pseudonyms: that of the config, else the store's own. Raises ConfigError if it is missing."""
    if config.pseudonym_key is not None:
        return config.pseudonym_key.read().encode()
    return setting(db, "pseudonym_key", secrets.token_hex(32)).encode()
