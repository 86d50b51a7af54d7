"""A FHIR ConceptMap as a site's table: its source codes mean what its target codes mean (R4, hl7.org/fhir/R4/conceptmap.html).

It says which code means what, and nothing else: units, ranges and scales stay the variable's.
"""

from collections.abc import Iterator
from difflib import get_close_matches
from typing import NamedTuple

import msgspec

from dm_fhir.mappings.codes import KINDS, OWN_SYSTEM, Tables, own_code
from dm_fhir.mappings.table_file import Entry
from dm_fhir.model.case import Coding

#: Every word that R4 has for how a target relates to its source.
EQUIVALENCES = (
    "relatedto", "equivalent", "equal", "wider", "subsumes", "narrower", "specializes", "inexact", "unmatched",
    "disjoint",
)  # fmt: skip
_SAME = ("equal", "equivalent")
#: The source is a kind of the target. A kind of a drug or a disease is one; a part of an enzyme is not the enzyme.
_WIDER = ("wider", "subsumes")
_WIDER_IS_SAFE = ("medication", "condition", "adverse_event")


class _Target(msgspec.Struct, frozen=True):
    code: str | None = None
    equivalence: str | None = None
    dependsOn: tuple[msgspec.Raw, ...] = ()


class _Element(msgspec.Struct, frozen=True):
    code: str | None = None
    display: str | None = None
    target: tuple[_Target, ...] = ()


class _Group(msgspec.Struct, frozen=True):
    source: str | None = None
    target: str | None = None
    element: tuple[_Element, ...] = ()
    unmapped: msgspec.Raw = msgspec.Raw()


class ConceptMap(msgspec.Struct, frozen=True, tag_field="resourceType", tag="ConceptMap"):
    """The view of a ConceptMap."""

    url: str | None = None
    version: str | None = None
    group: tuple[_Group, ...] = ()


class Read(NamedTuple):
    """What came of a ConceptMap: the rows it adds to, what is wrong in it, and what was not taken and why."""

    entries: list[Entry]
    faults: list[str]
    remarks: list[str]


class _Pair(NamedTuple):
    """One source code with one of its targets. `place` names file, group and element."""

    place: str
    source: Coding
    target: Coding
    equivalence: str | None
    depends: bool


def read(name: str, text: str, tables: Tables) -> Read:
    """The ConceptMap in `text`, its targets found by `tables.by_code`; `tables.rows` may have more, switched off.

    Raises msgspec.DecodeError where the text is no ConceptMap.
    """
    concept_map = msgspec.json.decode(text, type=ConceptMap)
    said_by = "|".join(part for part in (concept_map.url or name, concept_map.version) if part)
    found = Read([], [], [])
    for pair in _pairs(name, concept_map, found):
        _take(pair, said_by, tables, found)
    return found


def _pairs(name: str, concept_map: ConceptMap, found: Read) -> Iterator[_Pair]:
    for number, group in enumerate(concept_map.group, 1):
        place = f"{name}, group {number}"
        missing = [key for key in ("source", "target") if not getattr(group, key)]
        found.faults.extend(f"{place}: '{key}' is missing, the code system" for key in missing)
        if bytes(group.unmapped):
            found.remarks.append(f"{place}: unmapped is not used: a code without a target has no meaning here")
        if not missing:
            for at, element in enumerate(group.element, 1):
                yield from _targets(f"{place}, element {at}", group, element, found)


def _targets(place: str, group: _Group, element: _Element, found: Read) -> Iterator[_Pair]:
    if not element.code:
        found.faults.append(f"{place}: 'code' is missing")
        return
    source = Coding(group.source, element.code, element.display)
    for target in element.target:
        if target.equivalence not in EQUIVALENCES:
            found.faults.append(f"{place}: equivalence must be one of {', '.join(EQUIVALENCES)} (FHIR R4)")
        elif target.code or target.equivalence in ("unmatched", "disjoint"):
            coding = Coding(group.target, target.code)
            yield _Pair(place, source, coding, target.equivalence, bool(target.dependsOn))
        else:
            found.faults.append(f"{place}: the target's 'code' is missing")
    if not element.target:
        found.remarks.append(f"{place}: {source.system}|{source.code} has no target")


def _take(pair: _Pair, said_by: str, tables: Tables, found: Read) -> None:
    what = f"{pair.place}: {pair.source.system}|{pair.source.code}"
    if pair.depends:
        found.remarks.append(f"{what} has a target that depends on other elements; not taken")
        return
    variables = _variables(pair.target, tables)
    if not variables and pair.target.code:
        _unknown(pair, what, tables, found)
    for kind, variable in variables:
        if pair.equivalence in _SAME or (pair.equivalence in _WIDER and kind in _WIDER_IS_SAFE):
            code = {"system": pair.source.system, "code": pair.source.code, "source": f"ConceptMap {said_by}"}
            display = {"display": pair.source.display} if pair.source.display else {}
            found.entries.append(
                Entry(kind, {"variable": variable, "codes": [code | display]}, pair.place, (pair.place,))
            )
        else:
            found.remarks.append(f"{what} is not {variable} itself (equivalence {pair.equivalence}); not taken")
    if not pair.target.code:
        found.remarks.append(f"{what} is {pair.equivalence}; not taken")


def _variables(target: Coding, tables: Tables) -> list[tuple[str, str]]:
    """The rows that know the target; one code may be a condition and an adverse event."""
    found = ((kind, tables.by_code.get((kind, tables.system(target.system), target.code or ""))) for kind in KINDS)
    return [(kind, row.variable) for kind, row in found if row is not None]


def _unknown(pair: _Pair, what: str, tables: Tables, found: Read) -> None:
    """A target that no row knows: a misspelt one of ours is a fault, another system's code may be meant for others."""
    own = sorted({own_code(variable) for _, variable in tables.rows})
    if pair.target.system != OWN_SYSTEM or pair.target.code in own:
        found.remarks.append(f"{what} leads to {pair.target.system}|{pair.target.code}, which no row knows; not taken")
        return
    close = get_close_matches(pair.target.code or "", own, n=1)
    meant = f", did you mean '{close[0]}'?" if close else ""
    found.faults.append(f"{what} leads to '{pair.target.code}', which is no code of {OWN_SYSTEM}{meant}")
