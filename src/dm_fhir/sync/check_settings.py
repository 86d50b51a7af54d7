"""How a server is asked, and who said so: the site's config, what was found out, the vendor's row, or nobody."""

from typing import Literal

import msgspec

from dm_fhir.fhir.vendors import Settings
from dm_fhir.sync.puller import Puller

By = Literal["site", "found out", "vendor", "default"]
_SAID = {
    "site": "as the config says",
    "found out": "as was found out",
    "vendor": "as the vendor's row says",
    "default": "as is usual",
}


class Setting(msgspec.Struct, frozen=True):
    """One setting that is in force, and who set it."""

    name: str
    value: object
    by: By


class Row(msgspec.Struct, frozen=True):
    """The row of the vendor table that holds for a server, and what it says about servers of this kind."""

    name: str
    remarks: tuple[str, ...]


def row_of(puller: Puller) -> Row | None:
    """The vendor's row; what it says about exports and writing only where these are wanted."""
    vendor = puller.vendor
    if vendor is None:
        return None
    exporting = tuple(f"bulk export: {one}" for one in vendor.bulk) if puller.site.pull.mode == "bulk" else ()
    return Row(vendor.name, vendor.remarks + exporting + (vendor.writing if puller.site.push.enabled else ()))


def settings_in_force(puller: Puller) -> list[Setting]:
    """Every setting by which this server is asked."""
    settings = puller.settings
    return [Setting(name, getattr(settings, name), _by(puller, name)) for name in Settings.__struct_fields__]


def as_said(puller: Puller, name: str) -> str:
    """Whose word a setting is, for the end of a sentence."""
    return _SAID[_by(puller, name)]


def _by(puller: Puller, name: str) -> By:
    """In the order in which they stand over each other."""
    if getattr(puller.site.pull, name) is not None:
        return "site"
    if puller.fact(name) is not None:
        return "found out"
    return "vendor" if puller.vendor and name in puller.vendor.settings else "default"
