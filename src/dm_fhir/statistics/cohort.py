"""Who is counted, and what is asked of a patient's times: the patients of the study and those left out."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from datetime import date, tzinfo
from functools import cached_property
from zoneinfo import ZoneInfo

from dm_fhir.model.case import Assessment, Case, Outcome
from dm_fhir.model.dates import Span, day, first_day, on_or_before, span
from dm_fhir.outcomes.baseline import current
from dm_fhir.outcomes.battery import exposure_of, outcomes
from dm_fhir.outcomes.exposure import Exposure
from dm_fhir.outcomes.follow_up import end_of_follow_up

#: Why a record is not a patient of the study, asked in this order.
LEFT_OUT_REASONS = ("test patient", "replaced by another patient record", "no completed infusion")


#: Beside the visits of the schedule: before the first exposure, and the last follow-up in time.
BASELINE, LAST = "baseline", "last"
_NOTHING: dict[str, Outcome] = {}


class Patient:
    """One patient who is counted: the case with its exposure, its outcomes and the start of its first exposure.

    `name` is what the report calls the patient, and tells each from all others of the cohort.
    """

    def __init__(self, case: Case, exposed: Exposure, name: str | None = None) -> None:
        self.case = case
        self.name = name or case.id
        self.exposed = exposed
        self.zone: tzinfo = ZoneInfo(case.timezone)
        self.started = exposed.infusions[0]
        self._visits: dict[str, dict[str, Outcome]] = {}

    @cached_property
    def outcomes(self) -> tuple[Outcome, ...]:
        """The case's outcomes, computed here where the case does not carry them."""
        return self.case.outcomes or outcomes(self.case)

    @cached_property
    def by_variable(self) -> dict[str, tuple[Outcome, ...]]:
        """The outcomes by variable, each in the order of `outcomes`."""
        found: dict[str, list[Outcome]] = {}
        for one in self.outcomes:
            found.setdefault(one.variable, []).append(one)
        return {variable: tuple(alike) for variable, alike in found.items()}

    def at(self, variables: Iterable[str], visit: str) -> Outcome | None:
        """The outcome of these variables that stands for a visit, at `LAST` the latest in time; None if there is none.

        Where several scales stand for one visit, those that can be compared go before.
        """
        found = [one for name in variables if (one := self._visits_of(name).get(visit)) is not None]
        if len(found) > 1 and visit not in (BASELINE, LAST):
            found = [one for one in found if one.number is not None] or found
        return found[0] if len(found) == 1 else self.latest(found)

    def latest(self, found: Sequence[Outcome]) -> Outcome | None:
        """The latest of the outcomes in time; of those at one time the first with a number; without any time the first."""
        dated = [(moment.start, one) for one in found if (moment := self.span(one.when)) is not None]
        return (
            max(dated, key=lambda pair: (pair[0], pair[1].number is not None))[1] if dated else next(iter(found), None)
        )

    def _visits_of(self, variable: str) -> dict[str, Outcome]:
        """By visit the outcome of this variable that stands for it."""
        if variable not in self._visits:
            alike = self.by_variable.get(variable)
            self._visits[variable] = self._by_visit(alike) if alike else _NOTHING
        return self._visits[variable]

    def _by_visit(self, alike: Sequence[Outcome]) -> dict[str, Outcome]:
        found: dict[str, Outcome] = {}
        for one in alike:
            if one.visit is not None:
                found.setdefault(one.visit, one)
        # A baseline stands for no visit; where nothing is told of the end of follow-up, the latest in time is the last.
        latest = self.latest(alike)
        return {BASELINE: latest, LAST: latest, **found} if latest is not None else found

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
        return on_or_before(text, limit, self.zone)

    @cached_property
    def accepted(self) -> list[Assessment]:
        """The assessments that count by their status, without those that an amendment replaced."""
        return current(self.case)

    @cached_property
    def last_day(self) -> date | None:
        """The end of follow-up (R-FOLLOW-UP); None if no day is known."""
        end = end_of_follow_up(self.case, self.exposed)
        return end.day if end else None


class Cohort:
    """The patients who are counted, and by reason the names of the records that are not."""

    def __init__(self, cases: Sequence[Case]) -> None:
        self.patients: list[Patient] = []
        self.left_out: dict[str, list[str]] = defaultdict(list)
        sites_with = Counter(name for _, name in {(case.site, case.id) for case in cases})
        for case in cases:
            # Two hospitals may give one number to two patients, whom nothing but the site tells apart.
            name = case.id if sites_with[case.id] == 1 else f"{case.site}:{case.id}"
            exposed = exposure_of(case)
            reason = _left_out(case, exposed)
            if reason is None:
                self.patients.append(Patient(case, exposed, name))
            else:
                self.left_out[reason].append(name)

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
