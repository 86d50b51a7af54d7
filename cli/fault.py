"""One fault of a file, as it is shown, and what was seen of the whole file."""

from collections.abc import Iterable
from typing import NamedTuple

#: What a file holds.
FHIR_RESOURCES, CASE_SERIES, TABLE, CONFIG = "FHIR resources", "case series", "mapping table", "config"
UNRECOGNISED, PASSED_OVER, MISSING = "not recognised", "not recognised, passed over", "missing"


class Told(NamedTuple):
    """What is wrong, where. `line` counts from 1, None where nobody can tell; `path` None is the whole of it.

    `code` is that of a finding (docs/findings.md), None for what a standard or a schema objects to.
    """

    line: int | None
    reference: str | None
    path: str | None
    severity: str
    code: str | None
    message: str


class Looked(NamedTuple):
    """A file that was looked at: what it holds, how many resources, every fault, and what is no fault, counted."""

    file: str
    kind: str
    faults: list[Told]
    resources: int = 0
    notes: dict[str, int] = {}  # noqa: RUF012  # never changed


def error(message: str, line: int | None = None, path: str | None = None) -> Told:
    """A fault of the file itself."""
    return Told(line, None, path or None, "error", None, message)


def written(path: Iterable[str | int], root: str = "") -> str:
    """`Observation.component[2].valueQuantity`."""
    return "".join([root, *(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)]).removeprefix(".")
