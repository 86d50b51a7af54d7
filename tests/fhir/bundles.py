"""Searchsets as servers send them."""

import json
from typing import Any


def observation(number: int) -> dict[str, Any]:
    """A resource of its own."""
    return {"resourceType": "Observation", "id": f"o{number}", "subject": {"reference": "Patient/1"}}


def bundle(*resources: object, following: str | None = None, total: int | None = None) -> bytes:
    """A searchset; `following` is its next link."""
    document: dict[str, Any] = {
        "resourceType": "Bundle",
        "type": "searchset",
        "entry": [{"resource": r} for r in resources],
    }
    if following is not None:
        document["link"] = [{"relation": "self", "url": "x"}, {"relation": "next", "url": following}]
    return json.dumps(document | ({} if total is None else {"total": total})).encode()
