"""A hospital whose export takes its time and comes in several files of each type, and what a study of it then holds."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from ..sync.exporting import Exporting, exporting
from ..sync.mocked import cdasi, person, treated

#: Three patients of the cohort, and eight others.
HELD = [
    *treated("a", "b", "c"),
    *(
        one
        for number in range(8)
        for one in (person(f"s{number}"), cdasi(f"s{number}-1", f"s{number}", "2026-01-04", 21))
    ),
]


class Undisturbed(NamedTuple):
    """A pull that was left alone: what the store then holds, how many requests it sent, and how many commits it made."""

    content: dict[str, Any]
    requests: int
    commits: int


@contextmanager
def clinic_in(folder: Path) -> Iterator[Exporting]:
    """The hospital, and a study of it in this folder."""
    with exporting(folder, HELD) as clinic:
        clinic.server.manners.polls, clinic.server.manners.lines_per_file = 3, 4
        yield clinic


def content(clinic: Exporting) -> dict[str, Any]:
    """What must be the same however often a pull was disturbed."""
    ask = clinic.study.ask
    return {
        "resources": ask("SELECT type, id, hash, deleted, origin FROM resource ORDER BY 1, 2"),
        "older": ask("SELECT type, id, hash FROM resource_version ORDER BY 1, 2"),
        "members": clinic.members(),
        "units": clinic.units(all_of_them=True),
        "in full": ask("SELECT patient FROM bulk_patient ORDER BY 1"),
        "set aside": ask("SELECT * FROM quarantine"),
        "open jobs": ask("SELECT state FROM bulk_job WHERE state != 'ended'"),
        "files": [path.name for path in clinic.spool()],
    }
