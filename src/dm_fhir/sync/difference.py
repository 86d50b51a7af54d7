"""What another set of tables would make of the same store: which values and outcomes would not be what they are.

Both cases of each patient are made from the store, side by side, and compared; nothing is written and no server is asked.
"""

import sqlite3
from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import NamedTuple

import msgspec

from dm_fhir.model.case import Case, Concept, Outcome, Result, Source, Therapy
from dm_fhir.sync.mapper import Mapper
from dm_fhir.sync.persons import Persons, cohort

Progress = Callable[[str, int, int], None]
MOST_REFERENCES = 1000
#: The name of what no table knows, where a case holds it all the same: an adverse event.
NO_VARIABLE = "(no variable)"
_NO_RESULT = Result()


class Changed(msgspec.Struct):
    """What would become of some values of one variable, or of one outcome.

    `change` is `newly mapped`, `no longer mapped`, `another variable`, `newly usable`, `no longer usable`, `number`, `unit`,
    `reason` or `other` for values, `newly computed`, `no longer computed`, `number`, `reason` or `other` for outcomes. `references` name the records of
    values, the follow-ups of outcomes (the patient where there is none), the first thousand of them.
    """

    variable: str
    change: str
    count: int = 0
    patients: int = 0
    references: list[str] = []


class Difference(msgspec.Struct, frozen=True):
    """What would change at one site. `cases_gained` and `cases_lost` are patients; `patients` is how many were compared."""

    site: str
    patients: int
    patients_changed: int
    values: list[Changed]
    outcomes: list[Changed]
    cases_gained: list[str]
    cases_lost: list[str]


def difference(db: sqlite3.Connection, site: str, old: Mapper, new: Mapper, progress: Progress) -> Difference:
    """What the store of a site comes to with `new` in place of `old`. One patient at a time is in memory."""
    persons = Persons(db, site, old, cohort(db, site))
    values, outcomes = _Counts(), _Counts()
    gained: list[str] = []
    lost: list[str] = []
    patients_changed = 0
    for number, patient in enumerate(persons.patients):
        progress(site, number, len(persons.patients))
        (state, before), (new_state, after) = persons.case_by(old, patient), persons.case_by(new, patient)
        was, is_now = state == "case", new_state == "case"
        gained += [patient] if is_now and not was else []
        lost += [patient] if was and not is_now else []
        changed = values.count(patient, _value_changes(_values(before), _values(after)))
        outcome_changes = _outcome_changes(before.outcomes if was else (), after.outcomes if is_now else ())
        if was != is_now:  # that there is, or was, no number either says nothing
            outcome_changes = (one for one in outcome_changes if one.change.endswith(" computed"))
        changed |= outcomes.count(patient, outcome_changes)
        patients_changed += changed or was != is_now
    progress(site, len(persons.patients), len(persons.patients))
    return Difference(
        site, len(persons.patients), patients_changed, values.result(), outcomes.result(), gained, lost
    )  # fmt: skip


class _Change(NamedTuple):
    variable: str
    change: str
    reference: str


class _Counts:
    """Changes of one kind, counted by variable."""

    def __init__(self) -> None:
        self._found: dict[tuple[str, str], Changed] = {}

    def count(self, patient: str, changes: Iterator[_Change]) -> bool:
        """Count one patient's changes; whether there are any."""
        seen = set()
        for variable, change, reference in changes:
            key = (variable, change)
            one = self._found.setdefault(key, Changed(variable, change))
            one.count += 1
            one.patients += key not in seen
            seen.add(key)
            if len(one.references) < MOST_REFERENCES:
                one.references.append(reference or patient)
        return bool(seen)

    def result(self) -> list[Changed]:
        """By variable."""
        return [self._found[key] for key in sorted(self._found)]


class _Value(NamedTuple):
    """What a record says at one place. `number` of a drug is its doses a day, each known; `whole` is all of it."""

    variable: str | None
    number: Fraction | tuple[Fraction, ...] | None
    unit: str | None
    reason: str | None
    whole: object


_NOTHING = _Value(None, None, None, None, None)


def _values(case: Case) -> dict[str, _Value]:
    """What a case holds, by where it stands; what no table knows is not there."""
    found: dict[str, _Value] = {}

    def add(source: Source, concept: Concept | None, whole: object, result: Result = _NO_RESULT) -> None:
        if concept is not None and concept.variable is not None:
            found[source.place] = _Value(concept.variable, result.number, result.unit, result.reason, whole)

    for one in case.assessments:
        parts = [(one.source_of(index), part) for index, part in enumerate(one.components)]
        for source, part in ((one.source, one.measured), *parts):
            add(source, part.concept, part, part.result)
    for given in (*case.administrations, *case.other_administrations):
        reason = next(iter(given.flags), None) if given.dose_mg is None else None
        add(given.source, given.medication, given, Result(given.dose_mg, "mg", reason=reason))
    for therapy in case.therapies:
        found[therapy.source.place] = _taken(therapy)
    for condition in case.conditions:
        add(condition.source, condition.concept, condition)
    for event in case.adverse_events:  # kept also where no table knows what happened
        found[event.source.place] = _Value(event.event.variable, None, None, None, event)
    return found


def _taken(therapy: Therapy) -> _Value:
    """A drug with what it comes to a day."""
    doses = tuple(one.mg_per_day for one in therapy.dosings if one.mg_per_day is not None)
    is_known = bool(doses) and len(doses) == len(therapy.dosings)
    reason = next((reason for one in therapy.dosings for reason in one.reasons), None)
    return _Value(therapy.medication.variable, doses if is_known else None, "mg/d", reason, therapy)


def _value_changes(old: dict[str, _Value], new: dict[str, _Value]) -> Iterator[_Change]:
    for place in sorted({*old, *new}):
        before, after = old.get(place, _NOTHING), new.get(place, _NOTHING)
        if before.variable is None and after.variable is not None:
            yield _Change(after.variable, "newly mapped", place)
        elif before.variable is not None and after.variable is None:
            yield _Change(before.variable, "no longer mapped", place)
        elif before != after:
            yield _Change(after.variable or NO_VARIABLE, _what_changed(before, after), place)


def _what_changed(before: _Value, after: _Value) -> str:
    if before.variable != after.variable:
        return "another variable"
    if before.number is None and after.number is not None:
        return "newly usable"
    if before.number is not None and after.number is None:
        return "no longer usable"
    if before.number != after.number:
        return "number"
    return "unit" if before.unit != after.unit else "reason" if before.reason != after.reason else "other"


def _outcome_changes(old: tuple[Outcome, ...], new: tuple[Outcome, ...]) -> Iterator[_Change]:
    before, after = ({(one.variable, one.about or "", one.visit or ""): one for one in some} for some in (old, new))
    for key in sorted({*before, *after}):
        one, other = before.get(key), after.get(key)
        if one != other:
            yield _Change(key[0], _how(one, other), key[1])


def _result(one: Outcome | None) -> Fraction | str | None:
    """What an outcome comes to: its number, date or answer; None where there is none."""
    if one is None:
        return None
    return one.number if one.number is not None else one.date or one.answer


def _how(old: Outcome | None, new: Outcome | None) -> str:
    before, after = (_result(one) for one in (old, new))
    if before is None and after is not None:
        return "newly computed"
    if before is not None and after is None:
        return "no longer computed"
    if before != after:
        return "number"
    return "reason" if (old.reasons if old else ()) != (new.reasons if new else ()) else "other"
