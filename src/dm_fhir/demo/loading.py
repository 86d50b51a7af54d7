"""Puts the sample cohorts onto the demo's servers, by transaction Bundles, as a hospital's own systems would have."""

from collections.abc import Sequence
from typing import Any

import msgspec

from dm_fhir.fhir.connection import Connection

ENTRIES_PER_BUNDLE = 100
_ENCODER = msgspec.json.Encoder(decimal_format="number")


def load(connection: Connection, resources: Sequence[dict[str, Any]]) -> int:
    """Write every resource under its own id, in order, and return how many. Raises RequestFailed if the server refuses."""
    for start in range(0, len(resources), ENTRIES_PER_BUNDLE):
        entries = [_entry(resource) for resource in resources[start : start + ENTRIES_PER_BUNDLE]]
        bundle = {"resourceType": "Bundle", "type": "transaction", "entry": entries}
        connection.request("POST", "", body=_ENCODER.encode(bundle))
    return len(resources)


def _entry(resource: dict[str, Any]) -> dict[str, Any]:
    url = f"{resource['resourceType']}/{resource['id']}"
    return {"fullUrl": f"urn:dm-fhir:{url}", "resource": resource, "request": {"method": "PUT", "url": url}}
