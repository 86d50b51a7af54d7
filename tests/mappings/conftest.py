"""A patient's resources as a case, read the way a run reads them, with the site's own table over the shipped ones."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest

from dm_fhir.mappings.case import read_case
from dm_fhir.mappings.codes import load_tables
from dm_fhir.model.case import Case

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
