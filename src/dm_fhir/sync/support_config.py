"""A config as somebody who helps may see it: which keys are set, with the values that are switches, numbers and closed choices.

What is free text (titles, paths, addresses, headers, names, patterns, secrets' places) is only said to be there. The schema
decides: a key that it gains is hidden until it says what the value may be.
"""

import json
from collections.abc import Callable, Collection, Mapping
from typing import Any
from urllib.parse import urlsplit
from zoneinfo import available_timezones

from dm_fhir.fhir.vendors import CATEGORIES, vendors
from dm_fhir.sync.public_words import OTHER
from dm_fhir.validation import schema_text

Json = dict[str, Any]
SET = "set"
#: Free text that is shown where it is one of a list.
_LISTED: dict[str, Callable[[], Collection[str]]] = {
    "timezone": available_timezones,
    "vendor": vendors,
    "categories": lambda: CATEGORIES,
}


def config_shown(document: Json, sites: Mapping[str, str], *, hosts: bool = False) -> Json:
    """The config, a valid document, with sites called by `sites`. `hosts`: scheme, host and port of endpoints are shown."""
    schema = json.loads(schema_text("site-config"))
    shown: Json = _Shown(schema["$defs"], sites, hosts).of("", document, schema)
    return shown


class _Shown:
    """Walks a document along its schema."""

    def __init__(self, definitions: Json, sites: Mapping[str, str], hosts: bool) -> None:
        self._definitions, self._sites, self._hosts = definitions, sites, hosts
        self._site_schema = definitions["site"]

    def of(self, key: str, value: Any, schema: Json) -> Any:
        """What may be shown of the value of a key."""
        name = schema.get("$ref", "").removeprefix("#/$defs/")
        if name == "secret":
            return f"{'env' if value.startswith('env:') else 'file'}:…"
        schema = self._definitions[name] if name else schema
        if isinstance(value, dict):
            return self._table(value, schema)
        if isinstance(value, list):
            return [self.of(key, one, schema.get("items", {})) for one in value]
        if isinstance(value, bool | int | float):
            return value
        if isinstance(value, str):
            return self._text(key, value, schema)
        return SET

    def _table(self, value: Json, schema: Json) -> Json:
        known = schema.get("properties")
        if known is None:  # its keys are the user's own: headers, addresses, drugs
            return {"entries": len(value)}
        shown = {key: self.of(key, one, known.get(key, {})) for key, one in value.items() if key in known}
        if schema is self._site_schema:
            shown["name"] = self._sites.get(value["name"], OTHER)
        return shown

    def _text(self, key: str, value: str, schema: Json) -> str:
        if value in schema.get("enum", ()):
            return value
        if key in _LISTED:
            return value if value in _LISTED[key]() else OTHER
        if key == "endpoint" and self._hosts:
            url = urlsplit(value)
            return f"{url.scheme}://{url.netloc}/…"
        return SET
