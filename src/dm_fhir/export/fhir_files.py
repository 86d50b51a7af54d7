"""FHIR resources as one Bundle of type collection, or as NDJSON, written one by one."""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, BinaryIO

import msgspec

#: Below it is a server of each site's own: two sites may have records of the same id.
BASE = "https://w3id.org/dm-fhir/site"
_ENCODE = msgspec.json.Encoder(decimal_format="number").encode
SiteResources = Iterable[tuple[str, Mapping[str, Any]]]


def write_bundle(file: BinaryIO, resources: SiteResources) -> dict[str, int]:
    """Write the Bundle; how many resources of each type are in it. `resources` come with the site that they are of."""
    count: Counter[str] = Counter()
    file.write(b'{"resourceType":"Bundle","type":"collection"')
    for site, resource in resources:
        url = f"{BASE}/{site}/{resource['resourceType']}/{resource['id']}"
        file.write(b"," if count else b',"entry":[')
        file.write(_ENCODE({"fullUrl": url, "resource": resource}))
        count[resource["resourceType"]] += 1
    file.write(b"]}\n" if count else b"}\n")
    return dict(sorted(count.items()))


def write_ndjson(file: BinaryIO, resources: SiteResources) -> dict[str, int]:
    """Write a resource a line; how many there are of each type."""
    count: Counter[str] = Counter()
    for _, resource in resources:
        file.write(_ENCODE(resource) + b"\n")
        count[resource["resourceType"]] += 1
    return dict(sorted(count.items()))
