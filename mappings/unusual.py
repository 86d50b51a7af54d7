"""What is unusual about a person, a drug, a condition or an adverse event, and the times that each of them states.

Every finding here is about a record that is used: it says what could not be made of it. A finding names elements, never
what they hold.
"""

from collections.abc import Iterator
from typing import NamedTuple

from dm_fhir.model.case import (
    Administration,
    AdverseEvent,
    Concept,
    Condition,
    Dosing,
    Period,
    Subject,
    Therapy,
)

#: What a part of a case states as times, by the path of the element.
Times = dict[str, str | None]


class Unusual(NamedTuple):
    """A finding about one record: its `code`, the `path` of the element, and what was `done` where it is more exact."""

    code: str
    path: str
    done: str | None = None


def of_subject(subject: Subject) -> Iterator[Unusual]:
    """A birth date that is kept back, a death without its day, links to records that are not merged."""
    if subject.birth_date is None:
        yield Unusual("birth_date_missing", "birthDate")
    if subject.deceased and subject.deceased_at is None:
        yield Unusual("death_undated", "deceasedBoolean")
    if any(link.type in ("seealso", "refer") for link in subject.links):
        yield Unusual("linked", "link")


def of_administration(administration: Administration) -> Iterator[Unusual]:
    """A method or a route that no table gives a meaning to."""
    if administration.method is not None and administration.method_status is None:
        yield Unusual("method_without_meaning", "dosage.method")
    if _no_meaning(administration.route):
        yield Unusual("route_without_meaning", "dosage.route")


def of_therapy(therapy: Therapy) -> Iterator[Unusual]:
    """Dosings of which no daily dose can be made, unless they are as needed or local."""
    for index, dosing in enumerate(therapy.dosings):
        yield from _of_dosing(dosing, f"{_dosing_element(therapy)}[{index}]")


def of_condition(condition: Condition, meanings: set[str]) -> Iterator[Unusual]:
    """An onset that is no date, and codes that mean several things."""
    forms = (condition.onset_during, condition.onset_age, condition.onset_ages, condition.onset_text)
    if condition.onset is None and any(form is not None for form in forms):
        yield Unusual("onset_no_date", "onset")
    if len(meanings) > 1:
        done = f"read as {condition.concept.variable}; also coded {', '.join(sorted(meanings))}"
        yield Unusual("several_meanings", "code", done)


def of_adverse_event(event: AdverseEvent) -> Iterator[Unusual]:
    """Judgements that no table gives a meaning to."""
    judged = {
        "seriousness": event.seriousness,
        "severity": event.severity,
        "outcome": event.outcome,
        "extension(ae-grade)": event.grading,
        **{
            f"suspectEntity[{index}].causality": concept
            for index, suspect in enumerate(event.suspects)
            for concept in suspect.relatedness
        },
    }
    for path, concept in judged.items():
        if _no_meaning(concept):
            yield Unusual("judgement_without_meaning", path)


def times_of_subject(subject: Subject) -> Times:
    """Birth and death."""
    return {"birthDate": subject.birth_date, "deceasedDateTime": subject.deceased_at}


def times_of_administration(administration: Administration) -> Times:
    """When it happened."""
    return {"effective": administration.when} | _period("effective", administration.during)


def times_of_therapy(therapy: Therapy) -> Times:
    """When it was said or ordered, and from when to when it is taken."""
    element = _dosing_element(therapy)
    bounds = [one.timing.during if one.timing else None for one in therapy.dosings]
    dosed = [_period(f"{element}[{index}].timing", period) for index, period in enumerate(bounds)]
    if _is_order(therapy):
        return {path: text for times in ({"authoredOn": therapy.authored}, *dosed) for path, text in times.items()}
    stated = {"effective": therapy.when} if therapy.when is not None else _period("effective", therapy.period)
    return {path: text for times in (stated, *dosed) for path, text in times.items()}


def times_of_condition(condition: Condition) -> Times:
    """When it began, was over, was recorded."""
    return {
        "onset": None if condition.onset_during else condition.onset,
        "abatement": None if condition.abatement_during else condition.abatement,
        "recordedDate": condition.recorded,
        **_period("onset", condition.onset_during),
        **_period("abatement", condition.abatement_during),
    }


def times_of_adverse_event(event: AdverseEvent) -> Times:
    """When it happened, was noticed, was recorded, was over."""
    return {
        "date": event.date,
        "detected": event.detected,
        "recordedDate": event.recorded,
        "extension(resolve-date)": event.resolved,
    }


def periods_of(part: Administration | Therapy | Condition) -> dict[str, Period]:
    """The periods that a part states, by path."""
    match part:
        case Administration():
            found = {"effective": part.during}
        case Therapy():
            found = {_dosing_element(part) if _is_order(part) else "effective": part.period}
        case Condition():
            found = {"onset": part.onset_during, "abatement": part.abatement_during}
    return {path: period for path, period in found.items() if period is not None}


def _is_order(therapy: Therapy) -> bool:
    return therapy.source.reference.startswith("MedicationRequest/")


def _dosing_element(therapy: Therapy) -> str:
    """Where the dosings stand in the record."""
    return "dosageInstruction" if _is_order(therapy) else "dosage"


def _of_dosing(dosing: Dosing, path: str) -> Iterator[Unusual]:
    if _no_meaning(dosing.route):
        yield Unusual("route_without_meaning", f"{path}.route")
    if dosing.as_needed or dosing.as_needed_for is not None or dosing.systemic is False:
        return
    for reason in dosing.reasons:
        code, _, what = reason.partition(":")
        yield Unusual(code, path, f"no daily dose: {what}" if what else None)


def _no_meaning(concept: Concept | None) -> bool:
    """Whether a concept is coded and no table knows a code of it."""
    return concept is not None and concept.variable is None and any(coding.code for coding in concept.codings)


def _period(path: str, period: Period | None) -> Times:
    return {f"{path}.start": period.start, f"{path}.end": period.end} if period else {}
