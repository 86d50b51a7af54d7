"""What is recorded as having happened after the patient's death: reported, and not used (censored at death)."""

from collections.abc import Sequence
from datetime import tzinfo
from typing import TypeVar

from dm_fhir.model.case import Administration, AdverseEvent, Assessment
from dm_fhir.model.dates import span

Part = TypeVar("Part", Administration, Assessment, AdverseEvent)


def censored(parts: Sequence[Part], death: str | None, zone: tzinfo) -> tuple[list[Part], list[str]]:
    """The parts that do not surely lie after `death`, and the references of those that do.

    A death known to the day leaves the whole day in; one of which only the year is known, all of that year. A part
    without a time that can be read stays, as everything does where the day of death is not known.
    """
    if death is None:
        return list(parts), []
    kept: list[Part] = []
    after: list[str] = []
    for part in parts:
        if _surely_before(death, _time(part), zone):
            after.append(part.source.reference)
        else:
            kept.append(part)
    return kept, after


def _time(part: Administration | Assessment | AdverseEvent) -> str | None:
    match part:
        case Administration():
            return part.when or (part.during.start if part.during else None)
        case Assessment():
            return part.time
        case AdverseEvent():
            return part.date


def _surely_before(death: str, time: str | None, zone: tzinfo) -> bool:
    try:
        return span(death, zone).before(span(time or "", zone)) is True
    except ValueError:
        return False
