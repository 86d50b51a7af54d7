"""Every fault of a file of FHIR resources: NDJSON, a Bundle, or one resource."""

import re
from collections import Counter
from collections.abc import Callable, Iterator
from typing import NamedTuple

from dm_fhir.cli.fault import FHIR_RESOURCES, Looked, Told, error, written
from dm_fhir.fhir.files import Item, read_file
from dm_fhir.fhir.packed import CHANGED, CUT_OFF, DAMAGE, DAMAGED, ENCRYPTED, TOO_LARGE, UNREADABLE
from dm_fhir.mappings.codes import Tables
from dm_fhir.mappings.record_check import check_record
from dm_fhir.mappings.validity import KEY_TWICE, NO_TYPE, Fault, path_in, type_of
from dm_fhir.model import json_places
from dm_fhir.model.case import Finding
from dm_fhir.model.findings import meaning_of
from dm_fhir.model.json_places import Path, broken_line, lines_of, oddities

_PLACE = re.compile(r"(?::(?P<line>\d+))?(?::entry\[(?P<entry>\d+)\])?")
#: Why something is no resource that could be kept, by the word of the reader.
_UNUSABLE = {
    "no-type": "has no resourceType",
    "no-id": "has no id, so it cannot be kept",
    "too-deep": "is nested too deeply",
    "unreadable": "its resourceType, id or meta is of another type than FHIR says",
    CUT_OFF: "the packed file is cut off here",
    DAMAGED: "the packed file is damaged",
    TOO_LARGE: "is more than 256 MiB in one document; as NDJSON it can be read",
    ENCRYPTED: "is encrypted",
    UNREADABLE: "cannot be read",
    CHANGED: "is being changed while it is read",
    "too-large": "is more than 256 MiB in one line",
}
_BUNDLE = "is a Bundle inside a Bundle, or its entry is no list of entries"
_NO_JSON = "is not JSON in UTF-8"


class _Where(NamedTuple):
    """Where an item stands: its line in NDJSON, or its path in the one document of the file."""

    line: int | None
    path: Path


class _Placed(NamedTuple):
    """A fault with the place of which the line is wanted: `path` in the document, and lines below where that begins."""

    told: Told
    path: Path
    lines_below: int = 0


def check_fhir(file: str, content: Callable[[], bytes], tables: Tables, timezone: str) -> Looked:
    """Every fault of the file's resources, at a site with these tables and this zone. `content` is the file as it is, unzipped."""
    found: list[_Placed] = []
    notes: Counter[str] = Counter()
    resources = 0
    for item in read_file(file):
        where = _where(item.place.removeprefix(file))
        if item.reason == "no-resource":
            notes["entries without a resource"] += 1
        elif item.reason in ("not-json", "invalid-utf-8"):
            found += [_Placed(told, ()) for told in _not_json(item.body if where.line else content(), where.line)]
        elif item.reason in DAMAGE:
            found.append(_Placed(error(_UNUSABLE[item.reason], 1 + content().count(b"\n")), ()))
        else:
            resources += 1
            found += _of_resource(item, where, tables, timezone, notes)
    return Looked(file, FHIR_RESOURCES, _with_lines(found, content), resources, dict(sorted(notes.items())))


def _where(place: str) -> _Where:
    match = _PLACE.fullmatch(place)
    line, entry = (match["line"], match["entry"]) if match else (None, None)
    return _Where(int(line) if line else None, ("entry", int(entry), "resource") if entry else ())


def _not_json(text: bytes, line: int | None) -> Iterator[Told]:
    """NaN in every place, and where the text breaks off being JSON. In NDJSON all of it is one line."""
    odd = [one for one in oddities(text) if one.what != json_places.KEY_TWICE]
    yield from (error(f"has {one.what}", line or one.line) for one in odd)
    broken = broken_line(text)
    if broken is not None or not odd:
        yield error(_NO_JSON, line or broken)


def _of_resource(item: Item, where: _Where, tables: Tables, timezone: str, notes: Counter[str]) -> Iterator[_Placed]:
    name, id_, reference = type_of(item.body) or "", "", None
    if item.resource is not None:
        id_, reference = item.resource.id, item.resource.reference
    elif name == "Bundle":
        yield _Placed(error(_BUNDLE, where.line), where.path)
        return
    else:
        yield _Placed(error(_UNUSABLE.get(item.reason or "", "cannot be read"), where.line), where.path)
        if not name:
            return
    checked = check_record(name, id_, item.body, tables, timezone)
    if any(fault.message == NO_TYPE for fault in checked.faults):
        name, reference = "", None  # any text may stand there
    for fault in checked.faults:
        yield from _of_fault(fault, item.body, where, name, reference)
    for finding in checked.findings:
        yield _of_finding(finding, where, name, reference)
    notes.update(checked.left_out)


def _of_fault(fault: Fault, body: bytes, where: _Where, name: str, reference: str | None) -> Iterator[_Placed]:
    told = Told(where.line, reference, written(fault.path, name) or None, "error", None, fault.message)
    if fault.message == KEY_TWICE and where.line is None:
        twice = [one for one in oddities(body) if one.what == json_places.KEY_TWICE]
        yield from (_Placed(told, where.path, one.line - 1) for one in twice)
    else:
        yield _Placed(told, (*where.path, *fault.at))


def _of_finding(finding: Finding, where: _Where, name: str, reference: str | None) -> _Placed:
    path = path_in(finding.path or "")
    told = Told(where.line, reference, written(path, name), finding.severity, finding.code, meaning_of(finding.code))
    return _Placed(told, (*where.path, *path))


def _with_lines(found: list[_Placed], content: Callable[[], bytes]) -> list[Told]:
    """The faults with the lines that were wanting, in order of line."""
    wanting = [one.path for one in found if one.told.line is None]
    lines = lines_of(content(), wanting) if wanting else {}
    told = [
        one.told if one.told.line is not None else one.told._replace(line=lines[one.path] + one.lines_below)
        for one in found
    ]
    return sorted(told, key=lambda one: one.line or 0)
