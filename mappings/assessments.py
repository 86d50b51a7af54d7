"""A patient's assessments side by side: which of them count once, which contradict each other, and what is said of each.

Which of several counts is decided in `outcomes/baseline.py` alone; here its verdicts become findings.
"""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from datetime import date, tzinfo
from operator import itemgetter
from typing import NamedTuple
from zoneinfo import ZoneInfo

from msgspec.structs import replace

from dm_fhir.mappings.medication import named
from dm_fhir.model.case import Assessment, Case, Finding, Measured, Result, Subject
from dm_fhir.model.dates import completed_years, day
from dm_fhir.model.findings import finding
from dm_fhir.outcomes import baseline, dlqi, mmt8
from dm_fhir.outcomes.measured import measured_as

#: Reported where the time was read.
_TOLD_BEFORE = {"time_unreadable"}
_LEFT_OUT = "QuestionnaireResponse: an Observation has its score"


class Settled(NamedTuple):
    """The assessments that are kept, what is to be said of them, and how many records are left out, by reason."""

    kept: tuple[Assessment, ...]
    findings: tuple[Finding, ...]
    left_out: Counter[str]


def settled(case: Case) -> Settled:
    """The case's assessments after what they say of each other: nothing is counted twice, nothing is taken back unsaid."""
    zone = ZoneInfo(case.timezone)
    kept, differing, left_out = _without_doubled_forms(case.assessments, baseline.accepted_statuses(case), zone)
    grown = tuple(_of_age(one, case.subject, zone) for one in kept)
    found = [*differing, *_timings(grown), *_verdicts(replace(case, assessments=grown), zone)]
    return Settled(grown, tuple(found), left_out)


def _without_doubled_forms(
    assessments: Sequence[Assessment], accepted: Sequence[str], zone: tzinfo
) -> tuple[tuple[Assessment, ...], list[Finding], Counter[str]]:
    """A form's score is taken where no Observation was derived from the form, or has the score of the same day."""
    if all(one.questionnaire is None for one in assessments):
        return tuple(assessments), [], Counter()
    by_variable = defaultdict(list)
    for one in assessments:
        if one.questionnaire is None and one.status in accepted:
            for part in (one.measured, *one.components):
                by_variable[part.concept.variable].append((one, part.result.number))
    kept, findings, left_out = [], [], Counter[str]()
    for one in assessments:
        seen = by_variable[one.measured.concept.variable] if one.questionnaire is not None else []
        twins = [number for other, number in seen if _tells_the_same(other, one, zone)]
        if not twins:
            kept.append(one)
            continue
        left_out[_LEFT_OUT] += 1
        number = one.measured.result.number
        if number is not None and number not in twins:
            findings.append(finding("form_differs", one.source.reference, one.source.path))
    return tuple(kept), findings, left_out


def _tells_the_same(observation: Assessment, form: Assessment, zone: tzinfo) -> bool:
    if form.source.reference in map(named, observation.derived_from):
        return True
    seen = _day(observation, zone)
    return seen is not None and seen == _day(form, zone)


def _day(one: Assessment, zone: tzinfo) -> date | None:
    try:
        return day(one.time, zone) if one.time else None
    except ValueError:
        return None


def _of_age(one: Assessment, subject: Subject | None, zone: tzinfo) -> Assessment:
    """The assessment without a DLQI of somebody who was surely too young for it (R-DLQI)."""
    if subject is None or subject.birth_date is None or not one.time:
        return one
    if not any(map(_is_dlqi, (one.measured, *one.components))):
        return one
    try:
        _, oldest = completed_years(subject.birth_date, one.time, zone)
    except ValueError:
        return one
    if oldest >= dlqi.YOUNGEST_YEARS:
        return one
    return replace(one, measured=_no_dlqi(one.measured), components=tuple(map(_no_dlqi, one.components)))


def _no_dlqi(part: Measured) -> Measured:
    return replace(part, result=Result(reason="use_cdlqi")) if _is_dlqi(part) else part


def _is_dlqi(part: Measured) -> bool:
    return part.concept.variable == dlqi.INSTRUMENT.name and part.result.number is not None


def _timings(assessments: Iterable[Assessment]) -> Iterator[Finding]:
    """Repeated measurements in one record: they are not several."""
    for one in assessments:
        if one.timing is not None:
            code = "timing_of_one_event" if one.time else "timing_not_expanded"
            yield finding(code, one.source.reference, "effectiveTiming")


def _verdicts(case: Case, zone: tzinfo) -> Iterator[Finding]:
    """What becomes of each record and each part, variable by variable, as the outcomes see it."""
    references = {one.source.reference for one in case.assessments}
    heads = {one.source.place for one in case.assessments if _is_only_a_head(one, references)}
    variables = {part.concept.variable for one in case.assessments for part in (one.measured, *one.components)}
    alike = defaultdict(list)
    for one in measured_as(case, [name for name in variables if name]):
        name = one.measured.concept.variable
        if one.source.place not in heads and not _says_nothing(one):
            alike["mmt8" if name in mmt8.VARIABLES else name].append(one)
    accepted = baseline.accepted_statuses(case)
    for _, parts in sorted(alike.items(), key=itemgetter(0)):
        numbers = [one for one in parts if one.measured.result.answer is None]
        verdicts = baseline.sort_out(numbers, zone, accepted).excluded
        for one in parts:
            code = verdicts.get(one.source.place)
            if code is None and one.status not in accepted:
                code = "status_excluded"
            if code is not None and code not in _TOLD_BEFORE:
                yield _finding(code, one)


def _says_nothing(one: Assessment) -> bool:
    """Whether the tables recognise it and want nothing of it."""
    result = one.measured.result
    return result.number is None and result.answer is None and result.reason is None


def _is_only_a_head(one: Assessment, references: Collection[str]) -> bool:
    """Whether a panel has no value of its own, but parts that have. `references` are the patient's known records."""
    if one.measured.result.reason != "value_missing" or one.measured.absent is not None:
        return False
    return any(part.concept.variable for part in one.components) or any(named(m) in references for m in one.members)


def _finding(code: str, one: Assessment) -> Finding:
    element = "status" if code == "status_excluded" else "effective" if code == "time_missing" else "value"
    path = ".".join(part for part in (one.source.path, element) if part)
    return finding(code, one.source.reference, path)
