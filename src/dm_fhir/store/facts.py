"""What was found out about a site's server: which ways of asking it takes and which it refuses. Found out once, remembered."""

import sqlite3

from dm_fhir.store.ledger import now


def facts(db: sqlite3.Connection, site: str) -> dict[str, str]:
    """Everything known of a site's server, by name."""
    return dict(db.execute("SELECT name, value FROM server_fact WHERE site = ? ORDER BY name", (site,)))


def remember(db: sqlite3.Connection, site: str, name: str, value: str) -> None:
    """Keep one fact, in place of what was known before."""
    db.execute("INSERT OR REPLACE INTO server_fact VALUES (?, ?, ?, ?)", (site, name, value, now()))


#: How the value of a fact begins that stays for as long as the server is the same: trying again would do harm.
FOR_GOOD = "never:"


def forget_all(db: sqlite3.Connection, site: str) -> None:
    """Forget all of them: the server is another one now."""
    db.execute("DELETE FROM server_fact WHERE site = ?", (site,))


def forget_what_may_be_mended(db: sqlite3.Connection, site: str) -> None:
    """Forget all but what would do harm if it were tried again."""
    db.execute("DELETE FROM server_fact WHERE site = ? AND substr(value, 1, ?) <> ?", (site, len(FOR_GOOD), FOR_GOOD))


def forget_writing(db: sqlite3.Connection, site: str) -> None:
    """Forget how the server is written to, also what would do harm: somebody says that it was mended."""
    db.execute("DELETE FROM server_fact WHERE site = ? AND name LIKE 'write %'", (site,))
