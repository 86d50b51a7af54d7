"""A patient's resources as a case, with the site's own table over the shipped ones; and what docs/mapping.md says of faulty tables."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest

from dm_fhir.mappings.case import read_case
from dm_fhir.mappings.codes import load_tables
from dm_fhir.model.case import Case

DOCS = Path(__file__).parents[2] / "docs" / "mapping.md"
_ROW = re.compile(r"^\| ([^`|]+) \| `(leon\..*)` \|$", re.MULTILINE)
#: Where a shipped row stands changes with every edit of the tables, so the documentation leaves it open.
_SHIPPED = re.compile(r"((?:medications|measurements|conditions|adverse-events)\.toml), \w+ row \d+ \(line \d+\)")


@pytest.fixture(scope="session")
def documented() -> dict[str, str]:
    """Each kind of fault in the documentation, with its message."""
    text = DOCS.read_text(encoding="utf-8")
    return {what: said.replace("\\|", "|") for what, said in _ROW.findall(text)}


@pytest.fixture(scope="session")
def as_documented() -> object:
    """Puts a message of a test as the documentation has it."""
    return lambda message: _SHIPPED.sub(r"\1, …", message.replace("one.toml", "leon.toml"))


ENCODER = msgspec.json.Encoder(decimal_format="number")


class Stored(NamedTuple):
    """A resource as the store gives it."""

    type: str
    id: str
    body: bytes
    version: str | None = "1"
    last_updated: str | None = None


@pytest.fixture
def case_of(tmp_path: Path) -> Callable[..., Case]:
    """Resources without id are numbered in the order in which they come."""

    def build(*resources: dict[str, Any], table: str = "", timezone: str = "Europe/Madrid") -> Case:
        path = tmp_path / "site.toml"
        path.write_text(table, encoding="utf-8")
        records = [
            Stored(one["resourceType"], one.get("id", str(index)), ENCODER.encode(one))
            for index, one in enumerate(resources)
        ]
        return read_case("Patient/1", "north", timezone, "anifrolumab", records, load_tables([path]), {})

    return build
