"""Names for the ledger's units that say nothing of a patient: what a log may call them."""

import hashlib
import hmac
import secrets
import sqlite3
from collections.abc import Callable

from dm_fhir.store.database import setting

#: The name of a unit, from its site, patient and query.
Naming = Callable[[str, str, str], str]
_SETTING = "key of unit names"
_LETTERS = 10


def unit_names(db: sqlite3.Connection) -> Naming:
    """A function that names the unit of a site, a patient and a query: ten hexadecimal digits, the same in every run.

    They are made with a key that never leaves the store, so that nobody can find a patient by trying every number.
    """
    key = _key(db) or setting(db, _SETTING, secrets.token_hex(32))
    return _naming(key.encode())


def known_unit_names(db: sqlite3.Connection) -> Naming | None:
    """The same of a store that is only read; None where no unit has been named yet."""
    key = _key(db)
    return _naming(key.encode()) if key else None


def _key(db: sqlite3.Connection) -> str | None:
    row = db.execute("SELECT value FROM setting WHERE name = ?", (_SETTING,)).fetchone()
    return row[0] if row else None


def _naming(key: bytes) -> Naming:
    def name(site: str, patient: str, query: str) -> str:
        text = "\0".join((site, patient, query)).encode()
        return hmac.new(key, text, hashlib.sha256).hexdigest()[:_LETTERS]

    return name
