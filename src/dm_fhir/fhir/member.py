"""What an archive is to whoever reads it: members, each by a name that it has there alone."""

from io import BufferedReader
from typing import NamedTuple, Protocol

from dm_fhir.fhir.packed import TOO_LARGE, Unreadable

_MOST_MEMBERS = 200_000


class Member(NamedTuple):
    """A file in an archive, by the name that it has there alone: a second of the same name is `(2)/name`.

    `why_not` says why it is none that is read, None if it is. `is_packed`: it can only be read from its beginning.
    """

    name: str
    size_bytes: int
    why_not: str | None
    is_packed: bool


class Archive(Protocol):
    """An archive that is open, at one of its members. All of it may raise one of BROKEN."""

    def next(self) -> Member | None:
        """The member after this one; None at the end of an archive that is whole."""

    def open(self, name: str) -> BufferedReader | None:
        """The content of this member, or of a later one; None where there is none, or it lies behind."""


def only_name(name: str, names: set[str]) -> str:
    """The name, or for one that was there before `(2)/name`."""
    only, number = name, 2
    while only in names:
        only, number = f"({number})/{name}", number + 1
    if len(names) == _MOST_MEMBERS:
        raise Unreadable(TOO_LARGE)
    names.add(only)
    return only
