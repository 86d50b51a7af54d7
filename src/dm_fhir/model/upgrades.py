"""Case series documents of earlier formats, made into documents of this one, a version at a time."""

from collections.abc import Callable
from typing import Any

Document = dict[str, Any]


def _from_1(document: Document) -> Document:
    """Format 2 only adds what format 1 could not say, beginning with `written_by`."""
    return document


def _from_2(document: Document) -> Document:
    """Format 3 only adds: answers, visits, verdicts and parts of outcomes, the definitions, which were the defaults, how dates were
    treated, which were kept, and the persons behind the cases."""
    return document


#: What makes a document of format n one of format n + 1; the first is for format 1. A new format is a new line.
UPGRADES: tuple[Callable[[Document], Document], ...] = (_from_1, _from_2)


def upgraded(document: Document, version: int) -> Document:
    """The document, which is of format `version`, in the format of this program; the one given stays as it is."""
    for upgrade in UPGRADES[version - 1 :]:
        document = upgrade(document)
    return {**document, "format_version": str(len(UPGRADES) + 1)}
