"""How a server is asked: by the site's own settings, else by what was found out, else by its vendor's row, else as most are.

The vendor table is data: vendors.toml, one row per vendor.
"""

import re
import tomllib
from collections.abc import Mapping
from functools import cache
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
    """How a server is asked. None of those that may be yes or no: by what the CapabilityStatement lists.

    `patients_per_query` None: as many as fill a page.
    """

    page_size: int = 1000
    patients_per_query: int | None = None
    observations_by: Literal["codes", "categories", "whole"] | None = None
    categories: tuple[str, ...] = CATEGORIES
    post_search: bool | None = None
    batch: bool | None = None
    strict: bool = True
    last_updated: bool = True
    totals_are_estimates: bool = False
    result_limit: int | None = None
    sort: Literal["_id", "_lastUpdated"] | None = None
    ask_for_totals: bool | None = None


class Vendor(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One row of the vendor table.

    `names` are the words by which a server of this vendor calls itself. `settings` holds what the row says otherwise than the
    default. `remarks` are about reading, `writing` about pushing, `bulk` about bulk export. `way` and `bundle_size` are those of
    [site.push], None where the vendor does not ask for any.
    """

    name: str
    names: tuple[str, ...]
    settings: dict[str, object]
    remarks: tuple[str, ...]
    writing: tuple[str, ...]
    bulk: tuple[str, ...]
    sources: tuple[str, ...]
    way: Literal["transaction", "conditional-update", "conditional-create", "search"] | None = None
    bundle_size: int | None = None


@cache
def vendors() -> Mapping[str, Vendor]:
    """The vendor table by name."""
    rows = tomllib.loads((files("dm_fhir.fhir") / "vendors.toml").read_text(encoding="utf-8"))
    return {name: _vendor(name, row) for name, row in rows.items()}


def vendor_of(capability: Capability, named: str | None) -> Vendor | None:
    """The row that holds for a server: the one that the site names, else by what the server calls itself. None: no row.

    The software's name decides before its publisher's. Raises ConfigError for a name that the table does not have.
    """
    table = vendors()
    if named is not None:
        if named not in table:
            raise ConfigError(f"no vendor is called '{named}'", hint=f"known: {', '.join(table)}; or leave vendor out")
        return table[named]
    texts = (capability.name.lower(), (capability.publisher or "").lower())
    return next((vendor for text in texts for vendor in table.values() if _is_named(vendor, text)), None)


def settings_for(pull: Pull, vendor: Vendor | None, facts: Mapping[str, str]) -> Settings:
    """The settings that hold. `facts` is what was found out of this server in earlier pulls, as it is kept in the store."""
    said = {name: value for name in Settings.__struct_fields__ if (value := getattr(pull, name)) is not None}
    found = {name: _value(name, text) for name, text in facts.items() if name in Settings.__struct_fields__}
    return msgspec.convert({**(vendor.settings if vendor else {}), **found, **said}, Settings)


def _vendor(name: str, row: dict[str, object]) -> Vendor:
    settings = {key: value for key, value in row.items() if key in Settings.__struct_fields__}
    rest = {key: value for key, value in row.items() if key not in settings}
    msgspec.convert(settings, Settings)  # a wrong row is told when the table is read, not in the middle of a pull
    return msgspec.convert({"name": name, "settings": settings, **rest}, Vendor)


def _is_named(vendor: Vendor, text: str) -> bool:
    """Whether the text has one of the vendor's names as a word: `Lawson` is no AWS."""
    return any(re.search(rf"\b{re.escape(name)}\b", text) for name in vendor.names)


def _value(name: str, text: str) -> object:
    if name in ("page_size", "patients_per_query"):
        return int(text)
    if name == "categories":
        return tuple(text.split(","))
    return {"yes": True, "no": False}.get(text, text)
