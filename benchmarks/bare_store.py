"""The least that taking in an export could do: each line decoded with msgspec to type, id and whose it is, and put into bare SQLite.

python bare_store.py FOLDER    prints how many lines it took; nothing is checked, hashed, versioned or counted
"""

import sqlite3
import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import msgspec

_PER_COMMIT = 10_000


class _Reference(msgspec.Struct, frozen=True, gc=False):
    reference: str = ""


class _Head(msgspec.Struct, gc=False):
    resourceType: str
    id: str
    subject: _Reference = _Reference()


def main(folder: str) -> None:
    """Take in every line of the folder's files."""
    db = sqlite3.connect("bare.sqlite", isolation_level=None)
    for pragma in ("journal_mode = WAL", "synchronous = FULL", "cache_size = -32000"):
        db.execute(f"PRAGMA {pragma}")
    db.execute("CREATE TABLE resource (type TEXT, id TEXT, subject TEXT, body BLOB, UNIQUE (type, id))")
    db.execute("CREATE INDEX by_subject ON resource (subject)")
    rows, taken = _rows(Path(folder)), 0
    while some := list(islice(rows, _PER_COMMIT)):
        db.execute("BEGIN")
        db.executemany("INSERT INTO resource VALUES (?, ?, ?, ?)", some)
        db.execute("COMMIT")
        taken += len(some)
    db.close()
    sys.stdout.write(f"{taken}\n")


def _rows(folder: Path) -> Iterator[tuple[str, str, str, bytes]]:
    decode = msgspec.json.Decoder(_Head).decode
    for path in sorted(folder.glob("*.ndjson")):
        with path.open("rb") as file:
            for line in file:
                head = decode(line)
                yield head.resourceType, head.id, head.subject.reference or f"Patient/{head.id}", line[:-1]


if __name__ == "__main__":
    main(*sys.argv[1:])
