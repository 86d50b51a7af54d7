"""The tables as FHIR R4 resources: CodeSystems of ours, ValueSets, ConceptMaps, and the profile of what we write.

They are built with fhir.resources.R4B, so none leaves here that is not FHIR.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import msgspec

from dm_fhir import __version__
from dm_fhir.mappings import outcome_parts, outcome_verdicts
from dm_fhir.mappings.codes import KINDS, OWN_SYSTEM, Row, Tables, own_code
from dm_fhir.mappings.outcome_names import outcome_names
from dm_fhir.mappings.outcome_parts import ANSWER_SYSTEM
from dm_fhir.mappings.outcome_profile import Bound, outcome_profile
from dm_fhir.model.case import Coding
from dm_fhir.outcomes.answers import ANSWERS
from dm_fhir.outcomes.labels import label

BASE = "https://w3id.org/dm-fhir"
OUTCOMES = f"{BASE}/ValueSet/outcome"
WRITTEN_STATUSES = f"{BASE}/ValueSet/outcome-status"
WRITTEN_ANSWERS = f"{BASE}/ValueSet/outcome-answer"
WRITTEN_VERDICTS = f"{BASE}/ValueSet/outcome-verdict"
WRITTEN_PARTS = f"{BASE}/ValueSet/outcome-part"
_WRITTEN = Bound(OUTCOMES, WRITTEN_STATUSES, WRITTEN_ANSWERS, WRITTEN_VERDICTS, WRITTEN_PARTS)
#: Codes of ours that are no variable: why a drug was given or stopped, as the report reads them.
REASONS = {
    "indication-skin": "Given for refractory skin disease",
    "indication-musculoskeletal": "Given for musculoskeletal activity",
    "lost-to-follow-up": "Stopped: lost to follow-up",
    "adverse-event": "Stopped: adverse event",
}
#: A code of these kinds is a kind of its variable; of all others it is the same.
_KINDS_OF = ("medication", "condition", "adverse_event")
Resource = dict[str, Any]


def resources(tables: Tables) -> list[Resource]:
    """All of them, as FHIR JSON: each checked, in an order that depends on nothing but the tables."""
    rows = list(tables.rows.values())
    kinds = {kind: [row for row in rows if row.kind == kind] for kind in KINDS}
    found = [
        _code_system(rows),
        *(_value_set(kind, some) for kind, some in kinds.items() if some),
        _outcome_value_set(rows),
        _status_value_set(),
        *_answers(),
        *_verdicts(),
        *_parts(),
        *(_concept_map(kind, some) for kind, some in kinds.items() if any(map(_foreign, some))),
        outcome_profile(_head("StructureDefinition", "outcome-observation"), _WRITTEN),
    ]
    return list(map(_checked, found))


def bundle(found: Iterable[Resource]) -> Resource:
    """The resources in one Bundle."""
    return {
        "resourceType": "Bundle",
        "type": "collection",
        "entry": [{"fullUrl": one["url"], "resource": one} for one in found],
    }


def _head(kind: str, name: str) -> Resource:
    """What all of them begin with."""
    return {
        "resourceType": kind,
        "id": f"dm-fhir-{name}",
        "url": f"{BASE}/{kind}/{name}",
        "version": __version__,
        "name": "DmFhir" + "".join(part.capitalize() for part in name.split("-")),
        "status": "active",
        "experimental": False,
        "publisher": "dm-fhir",
    }


def _checked(document: Resource) -> Resource:
    """The resource as fhir.resources reads it; raises pydantic's ValidationError where it is no FHIR."""
    from fhir.resources.R4B import get_fhir_model_class

    model = get_fhir_model_class(document["resourceType"]).model_validate(document)
    found: Resource = msgspec.json.decode(model.model_dump_json(), type=dict[str, Any])
    return found


def _code_system(rows: Iterable[Row]) -> Resource:
    concepts: dict[str, Resource] = {}
    for one in (
        *map(_variable_concept, rows),
        *map(_outcome_concept, outcome_names(rows)),
        *_reason_concepts(),
    ):
        # A site may call a condition and an adverse event alike: then the code is both kinds.
        same = concepts.setdefault(one["code"], one)
        same["property"] += [said for said in one["property"] if said not in same["property"]]
    return {
        **_head("CodeSystem", "measurement"),
        "title": "dm-fhir: variables and outcomes",
        "description": "Every variable of the mapping tables and every outcome computed from them. A code is the variable's "
        "name with hyphens. To be written only where no standard code means the same.",
        "caseSensitive": True,
        "content": "complete",
        "count": len(concepts),
        "property": [
            {"code": "kind", "type": "code", "description": "What the variable is: a kind of table row, outcome or reason"},
            {"code": "unit", "type": "string", "description": "The UCUM unit that values are converted to"},
        ],
        "concept": list(concepts.values()),
    }  # fmt: skip


def _variable_concept(row: Row) -> Resource:
    own = next((code.display for code in row.codes if code.system == OWN_SYSTEM and code.display), None)
    return _concept(own_code(row.variable), own or label(row.variable), row.kind.replace("_", "-"), row.unit)


def _outcome_concept(variable: str) -> Resource:
    return _concept(own_code(variable), label(variable), "outcome")


def _reason_concepts() -> Iterator[Resource]:
    return (_concept(code, display, "reason") for code, display in REASONS.items())


def _concept(code: str, display: str, kind: str, unit: str | None = None) -> Resource:
    properties = [{"code": "kind", "valueCode": kind}, *([{"code": "unit", "valueString": unit}] if unit else [])]
    return {"code": code, "display": display, "property": properties}


def _value_set(kind: str, rows: Iterable[Row]) -> Resource:
    """Every code that a row of this kind is recognised by. What is known only to be left out is not in it."""
    name = kind.replace("_", "-")
    counted = [row for row in rows if not row.excluded]
    own = [Coding(OWN_SYSTEM, own_code(row.variable)) for row in counted]
    codes = {(code.system, code.code): code for code in (*own, *(code for row in counted for code in row.codes))}
    return _composed(name, f"dm-fhir: codes read as {kind.replace('_', ' ')}", codes.values())


def _outcome_value_set(rows: Iterable[Row]) -> Resource:
    codes = [Coding(OWN_SYSTEM, own_code(variable), label(variable)) for variable in outcome_names(rows)]
    return _composed("outcome", "dm-fhir: computed outcomes", codes)


def _status_value_set() -> Resource:
    written = ("final", "amended", "corrected", "entered-in-error")
    codes = [Coding("http://hl7.org/fhir/observation-status", code) for code in written]
    return _composed("outcome-status", "dm-fhir: statuses of a written outcome", codes)


def _answers() -> tuple[Resource, Resource]:
    codes = [Coding(ANSWER_SYSTEM, own_code(answer), words) for answer, words in ANSWERS.items()]
    return _system_and_set("answer", "answers", "What an outcome is that is neither a number nor a date.", codes)


def _verdicts() -> tuple[Resource, Resource]:
    codes = [Coding(one.system, one.code, one.display) for one in outcome_verdicts.codes()]
    said = "What an outcome, or a measure of a composite, comes to by a published definition: its id, a dot, and the verdict."
    return _system_and_set("verdict", "verdicts", said, codes)


def _parts() -> tuple[Resource, Resource]:
    codes = [Coding(one.system, one.code, one.display) for one in outcome_parts.codes()]
    return _system_and_set("part", "parts of composites", "What is said of each measure of a composite outcome.", codes)


def _system_and_set(name: str, title: str, description: str, codes: Sequence[Coding]) -> tuple[Resource, Resource]:
    """A CodeSystem of ours, and the ValueSet of all that is in it."""
    value_set = _composed(f"outcome-{name}", f"dm-fhir: {title} of a written outcome", codes)
    system = {
        **_head("CodeSystem", name),
        "title": f"dm-fhir: {title}",
        "description": description,
        "caseSensitive": True,
        "valueSet": value_set["url"],
        "content": "complete",
        "count": len(codes),
        "concept": [_named(code) for code in codes],
    }
    return system, value_set


def _composed(name: str, title: str, codes: Iterable[Coding]) -> Resource:
    by_system: dict[str, list[Coding]] = {}
    for code in codes:
        by_system.setdefault(code.system or "", []).append(code)
    included = [{"system": system, "concept": [_named(code) for code in some]} for system, some in by_system.items()]
    return {**_head("ValueSet", name), "title": title, "compose": {"include": included}}


def _named(code: Coding) -> Mapping[str, str | None]:
    return {"code": code.code, **({"display": code.display} if code.display else {})}


def _foreign(row: Row) -> list[Coding]:
    """The row's codes that are not ours."""
    return [code for code in row.codes if code.system != OWN_SYSTEM]


def _concept_map(kind: str, rows: Iterable[Row]) -> Resource:
    """From the codes that standards and the site have, to ours. Read as a site's table it gives the same rows."""
    equivalence = "wider" if kind in _KINDS_OF else "equivalent"
    groups: dict[str, list[Resource]] = {}
    for row in rows:
        target = {"code": own_code(row.variable), "display": label(row.variable), "equivalence": equivalence}
        for code in _foreign(row):
            groups.setdefault(code.system or "", []).append({**_named(code), "target": [target]})
    return {
        **_head("ConceptMap", kind.replace("_", "-")),
        "title": f"dm-fhir: what is read as which {kind.replace('_', ' ')}",
        "group": [{"source": system, "target": OWN_SYSTEM, "element": some} for system, some in groups.items()],
    }
