"""Which types of resources a file holds, as far as its name and its first lines tell; and where it holds another."""

import re
from collections import Counter
from collections.abc import Sequence
from functools import cache
from io import BytesIO
from pathlib import PurePath

import msgspec

from dm_fhir.fhir.files import holds_lines
from dm_fhir.fhir.packed import BROKEN
from dm_fhir.fhir.resource import NOT_READABLE
from dm_fhir.fhir.sources import LARGEST_BYTES, STANDARD_INPUT, Source, opened, plain_name
from dm_fhir.fhir.transport import BYTE_ORDER_MARK
from dm_fhir.sync.query import DATE_PARAMETERS

_HEAD_BYTES = 64 * 1024
#: The types that show who is in a cohort, and those that are asked for: what begins with one may be named for another.
_OURS = ("Patient", "Medication", "Group", *DATE_PARAMETERS)
#: `Observation.ndjson`, `Observation.000.ndjson`, `Observation-2.jsonl`
_NAMED = re.compile(r"([A-Z][A-Za-z]+)[.\-_0-9]*\.(?:ndjson|jsonl)")


class _Head(msgspec.Struct, frozen=True):
    resourceType: str = ""


@cache
def only_type(source: Source) -> str | None:
    """The one type that a source of lines holds by its first lines, if its name says nothing else; None if there is no telling."""
    if source.path == STANDARD_INPUT:
        return None
    try:
        with opened(source) as file:
            head = file.read(_HEAD_BYTES)
    except BROKEN:
        return None
    if not holds_lines(source.path, BytesIO(head)):
        return None
    lines = head.removeprefix(BYTE_ORDER_MARK).split(b"\n")
    if len(head) == _HEAD_BYTES:
        lines.pop()  # it may be cut off
    try:
        types = {msgspec.json.decode(line, type=_Head).resourceType for line in lines if line.strip()}
    except NOT_READABLE:
        return None
    if len(types) != 1:
        return None
    (only,) = types
    name = PurePath(plain_name(source.path)).name
    return only if only and max((one for one in (*_OURS, only) if one in name), key=len, default="") == only else None


def named_type(source: Source, types: Counter[str]) -> str | None:
    """The type for which a source of lines is named, given the types that it holds; None if it is named for none."""
    found = _NAMED.fullmatch(PurePath(plain_name(source.path)).name)
    return found[1] if found and (found[1] in _OURS or types[found[1]]) else None


def other_places(source: Source, name: str, type_name: str, most: int) -> list[str]:
    """The first lines, at most so many, that hold another type than this one: `NAME:LINE (Type)`."""
    found: list[str] = []
    try:
        with opened(source) as file:
            number = 0
            while len(found) < most and (line := file.readline(LARGEST_BYTES + 1)):
                number += 1
                other = _type_of(line.removeprefix(BYTE_ORDER_MARK) if number == 1 else line)
                if other not in ("", type_name):
                    found.append(f"{name}:{number} ({other})")
    except BROKEN:
        pass  # the ledger says what is wrong with the file
    return found


def _type_of(line: bytes) -> str:
    try:
        return msgspec.json.decode(line, type=_Head).resourceType
    except NOT_READABLE:
        return ""


def one_of(names: Sequence[str | None]) -> str | None:
    """The one name that all share; None if there are several."""
    return names[0] if len(set(names)) == 1 else None
