"""Who is counted, and what is asked of a patient's times: the patients of the report and those left out."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import date, tzinfo
from functools import cached_property
from zoneinfo import ZoneInfo

from dm_fhir.model.case import Assessment, Case, Outcome
from dm_fhir.model.dates import Span, day, first_day, last_day, span
from dm_fhir.outcomes.baseline import current
from dm_fhir.outcomes.battery import exposure_of, outcomes
from dm_fhir.outcomes.exposure import Exposure

#: Why a record is not a patient of the report, asked in this order.
LEFT_OUT_REASONS = ("test patient", "replaced by another patient record", "no completed infusion")


class Patient:
    """One patient who is counted: the case with its exposure, its outcomes and the start of its first exposure."""

    def __init__(self, case: Case, exposed: Exposure) -> None:
        self.case = case
        self.exposed = exposed
        self.zone: tzinfo = ZoneInfo(case.timezone)
        self.started = exposed.infusions[0]

    @cached_property
    def outcomes(self) -> tuple[Outcome, ...]:
        """The case's outcomes, computed here where the case does not carry them."""
        return self.case.outcomes or outcomes(self.case)

    @property
    def first_day(self) -> date:
        """The first day that the first exposure may mean; the day itself unless its date is partial."""
        return first_day(self.started.span, self.zone)

    def span(self, text: str | None) -> Span | None:
        """The stretch of time that `text` names at the patient's site; None if it is absent or no date."""
        try:
            return span(text, self.zone) if text else None
        except ValueError:
            return None

    def day(self, text: str | None) -> date | None:
        """The calendar day that `text` names at the patient's site; None if it is absent, partial or no date."""
        try:
            return day(text, self.zone) if text else None
        except ValueError:
            return None

    def by(self, text: str | None, limit: date) -> bool | None:
        """Whether `text` lies on or before the day `limit`; None where a partial or absent date leaves it open."""
        moment = self.span(text)
        if moment is None:
            return None
        if last_day(moment, self.zone) <= limit:
            return True
        return False if first_day(moment, self.zone) > limit else None

    @property
    def accepted(self) -> list[Assessment]:
        """The assessments that count by their status, without those that an amendment replaced."""
        return current(self.case)

    @property
    def last_day(self) -> date | None:
        """The end of follow-up: the day of the last infusion or accepted assessment; None if no day is known."""
        infusions = [infusion.day for infusion in self.exposed.infusions]
        seen = [self.day(one.time) for one in self.accepted]
        return max(
            (found for found in (*infusions, *seen) if found is not None and found >= self.first_day), default=None
        )


class Cohort:
    """The patients who are counted, and by reason the ids of the records that are not."""

    def __init__(self, cases: Sequence[Case]) -> None:
        self.patients: list[Patient] = []
        self.left_out: dict[str, list[str]] = defaultdict(list)
        for case in cases:
            exposed = exposure_of(case)
            reason = _left_out(case, exposed)
            if reason is None:
                self.patients.append(Patient(case, exposed))
            else:
                self.left_out[reason].append(case.id)

    @property
    def n(self) -> int:
        """How many patients are counted."""
        return len(self.patients)


def found_twice(cases: Iterable[Case]) -> dict[str, tuple[str, ...]]:
    """The persons of whom there are several cases, with these as `site:case`; in order of person."""
    of_person: dict[str, list[str]] = defaultdict(list)
    for case in cases:
        if case.person:
            of_person[case.person].append(f"{case.site}:{case.id}")
    return {person: tuple(names) for person, names in sorted(of_person.items()) if len(names) > 1}


def _left_out(case: Case, exposed: Exposure) -> str | None:
    subject = case.subject
    if subject and subject.test_patient:
        return LEFT_OUT_REASONS[0]
    if subject and any(link.type == "replaced-by" for link in subject.links):
        return LEFT_OUT_REASONS[1]
    return None if exposed.completed else LEFT_OUT_REASONS[2]
