"""How a server is asked: by the site's own settings, else by what was found out, else by its vendor's row, else as most are.

The vendor table is data: vendors.toml, one row per vendor.
"""

import tomllib
from collections.abc import Mapping
from importlib.resources import files
from typing import Literal

import msgspec

from dm_fhir.config import Pull
from dm_fhir.errors import ConfigError
from dm_fhir.fhir.capability import Capability

#: FHIR's own categories (http://terminology.hl7.org/CodeSystem/observation-category).
CATEGORIES = (
    "laboratory", "survey", "exam", "vital-signs", "social-history", "imaging", "procedure", "therapy", "activity",
)  # fmt: skip


class Settings(msgspec.Struct, frozen=True):
    """How a server is asked. `observations_by`, `post_search`, `batch` None: by what the CapabilityStatement lists."""

    page_size: int = 1000
    patients_per_query: int = 100
    observations_by: Literal["codes", "categories", "whole"] | None = None
    categories: tuple[str, ...] = CATEGORIES
    post_search: bool | None = None
    batch: bool | None = None
    strict: bool = True
    last_updated: bool = True
    totals_are_estimates: bool = False
    result_limit: int | None = None
    sort: str | None = None


class Vendor(msgspec.Struct, frozen=True):
    """One row of the vendor table; `settings` holds what the row says otherwise than the default."""

    name: str
    names: tuple[str, ...]
    settings: dict[str, object]
    remarks: tuple[str, ...]
    sources: tuple[str, ...]


def vendors() -> dict[str, Vendor]:
    """The vendor table by name."""
    rows = tomllib.loads((files("dm_fhir.fhir") / "vendors.toml").read_text(encoding="utf-8"))
    return {name: _vendor(name, row) for name, row in rows.items()}


def vendor_of(capability: Capability, named: str | None) -> Vendor | None:
    """The row that holds for a server: the one that the site names, else by what the server calls itself. None: no row.

    Raises ConfigError for a name that the table does not have.
    """
    table = vendors()
    if named is not None:
        if named not in table:
            raise ConfigError(f"no vendor is called '{named}'", hint=f"known: {', '.join(table)}; or leave vendor out")
        return table[named]
    itself = f"{capability.name} {capability.publisher or ''}".lower()
    return next((vendor for vendor in table.values() if any(name in itself for name in vendor.names)), None)


def settings_for(pull: Pull, vendor: Vendor | None, facts: Mapping[str, str]) -> Settings:
    """The settings that hold. `facts` is what was found out of this server in earlier pulls, as it is kept in the store."""
    said = {name: value for name in Settings.__struct_fields__ if (value := getattr(pull, name)) is not None}
    found = {name: _value(name, text) for name, text in facts.items() if name in Settings.__struct_fields__}
    return msgspec.convert({**(vendor.settings if vendor else {}), **found, **said}, Settings)


def _vendor(name: str, row: dict[str, object]) -> Vendor:
    settings = {key: value for key, value in row.items() if key in Settings.__struct_fields__}
    rest = {key: value for key, value in row.items() if key not in settings}
    return msgspec.convert({"name": name, "settings": settings, **rest}, Vendor)


def _value(name: str, text: str) -> object:
    if name == "page_size":
        return int(text)
    if name == "categories":
        return tuple(text.split(","))
    return {"yes": True, "no": False}.get(text, text)
