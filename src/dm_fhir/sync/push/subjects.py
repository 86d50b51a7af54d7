"""Whether the patients of whom something is to be written are on the target server: asked before the first write."""

import re
from collections.abc import Collection, Iterator, Sequence
from functools import partial
from urllib.parse import quote

from dm_fhir.errors import RequestFailed
from dm_fhir.fhir.connection import Connection
from dm_fhir.fhir.page import read_page
from dm_fhir.store.database import batched

_TOGETHER = 50
_LOCAL = re.compile(r"Patient/[A-Za-z0-9\-.]+")


def missing_patients(connection: Connection, patients: Collection[str]) -> set[str]:
    """Those of the references (`Patient/id`) that the server says it does not have. Whom it does not tell of is not among them.

    Raises ServerUnavailable or LoginRefused.
    """
    local = sorted(filter(_LOCAL.fullmatch, patients))
    found = {one for some in batched(local, _TOGETHER) for one in _found(connection, some)}
    return {one for one in local if one not in found and _is_missing(connection, one)}


def _found(connection: Connection, patients: Sequence[str]) -> Iterator[str]:
    """Those that a search finds: perhaps not all that are there."""
    ids = quote(",".join(one.partition("/")[2] for one in patients), safe="")
    place = "search for the patients"
    try:
        page = connection.ask(
            partial(read_page, connection=connection, place=place),
            "GET", f"Patient?_id={ids}&_elements=id&_count={len(patients)}", place=place, tries=1,
        )  # fmt: skip
    except RequestFailed:
        return
    yield from (one.reference for one in page.resources)


def _is_missing(connection: Connection, patient: str) -> bool:
    """Whether a read by id says so; whatever else it says is no reason not to try."""
    try:
        return connection.get(patient, accept=(404, 410)).status in (404, 410)
    except RequestFailed:
        return False
