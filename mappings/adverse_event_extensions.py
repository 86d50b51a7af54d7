"""The extensions of an AdverseEvent in research, as HL7's guide ports them back to R4.

http://hl7.org/fhir/uv/ae-research-backport-ig. Its status is a modifier extension: whoever passes it over counts an
event that was entered in error.
"""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import msgspec

from dm_fhir.mappings.codes import Tables
from dm_fhir.mappings.datatypes import CodeableConcept, Reference, concept_in, concept_out
from dm_fhir.model import case
from dm_fhir.model.case import Action, Concept, Criterion, Suspect

_GUIDE = "http://hl7.org/fhir/uv/ae-research-backport-ig/StructureDefinition/"
STATUS = f"{_GUIDE}status"
_CRITERIA, _GRADE, _SUSPECT = f"{_GUIDE}seriousness-criteria", f"{_GUIDE}ae-grade", f"{_GUIDE}suspect-entity"
_RESOLVED, _EFFECT, _ACTION = f"{_GUIDE}resolve-date", f"{_GUIDE}resultingEffect", f"{_GUIDE}mitigating-action"
_LEFT_STUDY, _EXPECTED = f"{_GUIDE}caused-subject-to-discontinue-study", f"{_GUIDE}expected-in-research-study"


class Extension(msgspec.Struct, frozen=True, omit_defaults=True):
    """Extension: url, the values that this guide uses, nested extensions."""

    url: str
    valueBoolean: bool | None = None
    valueCode: str | None = None
    valueDateTime: str | None = None
    valueCodeableConcept: CodeableConcept | None = None
    valueReference: Reference | None = None
    extension: "tuple[Extension, ...]" = ()


class Further(NamedTuple):
    """What the extensions say beyond R4's own elements."""

    criteria: tuple[Criterion, ...]
    grading: Concept | None
    suspects: tuple[Suspect, ...]
    resolved: str | None
    effects: tuple[str, ...]
    actions: tuple[Action, ...]
    left_study: bool | None
    expected: bool | None


def read_from(extensions: Iterable[Extension], tables: Tables) -> Further:
    """What the guide's extensions say; any other is passed over, as FHIR allows of what is no modifier."""
    by_url: dict[str, list[Extension]] = {}
    for extension in extensions:
        by_url.setdefault(extension.url, []).append(extension)
    grades = [concept_of("ae_grade", one.valueCodeableConcept, tables) for one in by_url.get(_GRADE, ())]
    return Further(
        criteria=tuple(_criterion_in(one) for one in by_url.get(_CRITERIA, ())),
        grading=next((one for one in grades if one is not None), None),
        suspects=tuple(_suspect_in(one, tables) for one in by_url.get(_SUSPECT, ())),
        resolved=next((one.valueDateTime for one in by_url.get(_RESOLVED, ()) if one.valueDateTime), None),
        effects=tuple(_reference(one) or "" for one in by_url.get(_EFFECT, ())),
        actions=tuple(action for one in by_url.get(_ACTION, ()) for action in _actions_in(one, tables)),
        left_study=_boolean(by_url.get(_LEFT_STUDY, ())),
        expected=_boolean(by_url.get(_EXPECTED, ())),
    )


def written(event: case.AdverseEvent) -> tuple[Extension, ...]:
    """The extensions that say what R4 has no element for."""
    return tuple(_written(event))


def status_in(modifiers: Iterable[Extension]) -> str | None:
    """The guide's status of the record: in-progress, completed, entered-in-error or unknown; None if it has none."""
    return next((one.valueCode for one in modifiers if one.url == STATUS and one.valueCode), None)


def status_out(status: str | None) -> tuple[Extension, ...]:
    """The modifier extension of a status."""
    return (Extension(STATUS, valueCode=status),) if status is not None else ()


def concept_of(kind: str, concept: CodeableConcept | None, tables: Tables) -> Concept | None:
    """A concept with what the tables see in it; None stays None."""
    found = concept_in(concept)
    return tables.concept(kind, found.codings, found.text) if found else None


def _written(event: case.AdverseEvent) -> Iterator[Extension]:
    for criterion in event.criteria:
        parts = (*_part("criterionCode", criterion.concept), *_flag("criterionPresent", criterion.met))
        yield Extension(_CRITERIA, extension=parts)
    if event.grading is not None:
        yield Extension(_GRADE, valueCodeableConcept=concept_out(event.grading))
    for suspect in event.suspects:
        if suspect.backported:
            yield Extension(_SUSPECT, extension=tuple(_suspect_out(suspect)))
    if event.resolved is not None:
        yield Extension(_RESOLVED, valueDateTime=event.resolved)
    for effect in event.resulting_effects:
        yield Extension(_EFFECT, valueReference=Reference(effect or None))
    for action in event.actions:
        yield Extension(_ACTION, extension=(*_part("item", action.concept), *_link("item", action.reference)))
    yield from _flag(_LEFT_STUDY, event.left_study)
    yield from _flag(_EXPECTED, event.expected)


def _suspect_in(extension: Extension, tables: Tables) -> Suspect:
    instances = _inside((extension,), "instance")
    judged = _inside(_inside((extension,), "causality"), "entityRelatedness")
    concepts = (concept_of("ae_relatedness", one.valueCodeableConcept, tables) for one in judged)
    return Suspect(
        reference=next((found for one in instances if (found := _reference(one)) is not None), None),
        concept=next((concept_in(one.valueCodeableConcept) for one in instances if one.valueCodeableConcept), None),
        relatedness=tuple(one for one in concepts if one is not None),
        backported=True,
    )


def _suspect_out(suspect: Suspect) -> Iterator[Extension]:
    yield from _part("instance", suspect.concept)
    yield from _link("instance", suspect.reference)
    for judged in suspect.relatedness:
        yield Extension("causality", extension=_part("entityRelatedness", judged))


def _criterion_in(extension: Extension) -> Criterion:
    codes = [concept_in(one.valueCodeableConcept) for one in _inside((extension,), "criterionCode")]
    return Criterion(next(iter(codes), None), _boolean(_inside((extension,), "criterionPresent")))


def _actions_in(extension: Extension, tables: Tables) -> Iterator[Action]:
    """What was done; an item that names neither concept nor record is an action that nothing is known of."""
    items = _inside((extension,), "item")
    concepts = [concept_of("ae_action", one.valueCodeableConcept, tables) for one in items if one.valueCodeableConcept]
    links = [found for one in items if (found := _reference(one)) is not None]
    if len(concepts) > 1 or len(links) > 1:
        yield from (Action(concept=one) for one in concepts)
        yield from (Action(reference=one) for one in links)
    else:
        yield Action(next(iter(concepts), None), next(iter(links), None))


def _inside(extensions: Iterable[Extension], url: str) -> list[Extension]:
    return [part for extension in extensions for part in extension.extension if part.url == url]


def _boolean(extensions: Iterable[Extension]) -> bool | None:
    return next((one.valueBoolean for one in extensions if one.valueBoolean is not None), None)


def _reference(extension: Extension) -> str | None:
    return extension.valueReference.reference if extension.valueReference else None


def _part(url: str, concept: Concept | None) -> tuple[Extension, ...]:
    return (Extension(url, valueCodeableConcept=concept_out(concept)),) if concept is not None else ()


def _link(url: str, reference: str | None) -> tuple[Extension, ...]:
    return (Extension(url, valueReference=Reference(reference)),) if reference is not None else ()


def _flag(url: str, flag: bool | None) -> tuple[Extension, ...]:
    return (Extension(url, valueBoolean=flag),) if flag is not None else ()
