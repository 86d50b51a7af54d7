"""CDASI activity as total minus damage of one assessment, where a study takes it so (R-CDASI).

A total alone is never activity. Total and damage are of one assessment if they stand in one record, or in records of one kind
at the same time; several damages that disagree are none. What was recorded as activity stands over it.
"""

from collections.abc import Sequence
from typing import NamedTuple

from msgspec.structs import replace

from dm_fhir.model.case import Assessment, Concept, Measured, Result
from dm_fhir.model.dates import Span, span
from dm_fhir.outcomes import cdasi
from dm_fhir.outcomes.baseline import Dated, sort_out
from dm_fhir.outcomes.measured import Records

HIGHEST = 100


class FromTotals(NamedTuple):
    """Activities reckoned from totals, each under its total's name; and the damage that was subtracted, by that name."""

    activities: list[Assessment]
    damages: dict[str, Assessment]


def from_totals(records: Records) -> FromTotals:
    """The activity of every total that has a damage and no activity beside it; flagged `from_total`.

    One that comes out below 0 or above 100 has no number, reason `out_of_range`.
    """
    damages = sort_out(records.of((cdasi.DAMAGE.name,)), records.zone, records.accepted).usable
    recorded = [one for one in records.of((cdasi.INSTRUMENT.name,)) if _says_something(one, records)]
    found = FromTotals([], {})
    for total in records.of((cdasi.TOTAL,)):
        damage = _beside(total, damages, records)
        if damage is not None and not any(_together(total, one, records) for one in recorded):
            found.activities.append(_activity(total, damage))
            found.damages[total.source.place] = damage
    return found


def _says_something(one: Assessment, records: Records) -> bool:
    return one.status in records.accepted and one.measured.result.reason != "value_missing"


def _beside(total: Assessment, damages: Sequence[Dated], records: Records) -> Assessment | None:
    """The damage of the total's assessment; None if there is none, or one of the two is only a bound."""
    if total.measured.result.number is None or total.measured.result.bound != "exact":
        return None
    # Damages of one time that disagree are a conflict, and not among these.
    own = [one.assessment for one in damages if one.assessment.source.reference == total.source.reference]
    found = next(iter(own), None) or next(
        (d.assessment for d in damages if _together(total, d.assessment, records)), None
    )
    return found if found is not None and found.measured.result.bound == "exact" else None


def _together(one: Assessment, other: Assessment, records: Records) -> bool:
    """Whether two are of one assessment: of one record, or of records of one kind at the same time."""
    if one.source.reference == other.source.reference:
        return True
    kinds = {each.source.reference.partition("/")[0] for each in (one, other)}
    moment = _moment(one, records)
    return len(kinds) == 1 and moment is not None and moment == _moment(other, records)


def _moment(one: Assessment, records: Records) -> Span | None:
    """Its time to the day or better; None where that is not known."""
    try:
        moment = span(one.time or "", records.zone)
    except ValueError:
        return None
    return moment if moment.precision in ("day", "time") else None


def _activity(total: Assessment, damage: Assessment) -> Assessment:
    whole, part = total.measured.result, damage.measured.result
    if whole.number is None or part.number is None:
        raise ValueError(f"{total.source.place} has no total or no damage")
    number = whole.number - part.number
    if 0 <= number <= HIGHEST:
        result = Result(number, whole.unit, flags=tuple(sorted({*whole.flags, *part.flags, "from_total"})))
    else:
        result = Result(reason="out_of_range")
    measured = Measured(Concept(variable=cdasi.INSTRUMENT.name), result=result)
    return replace(total, measured=measured, components=())
