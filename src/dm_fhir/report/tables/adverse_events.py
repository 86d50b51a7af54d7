"""Adverse events: how many events and in how many patients, which are different numbers, and how often over time."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from dm_fhir.outcomes import adverse_events as rule
from dm_fhir.outcomes.adverse_events import Counted
from dm_fhir.report.tables.cells import NOT_SHOWN, NOTHING, number, rate, share
from dm_fhir.report.words import event_words
from dm_fhir.statistics.cohort import Cohort
from dm_fhir.statistics.follow_up import followed
from dm_fhir.statistics.small_cells import SmallCells
from dm_fhir.statistics.table import Cell, Row, Table, grouped

COLUMNS = (
    "Adverse events",
    "Events",
    "Patients",
    "Events per 100 patient-years (95 % CI)",
    "Events of which it is not known",
)


class _Event(NamedTuple):
    """An event, and who had it. `in_a_rate`: it lies surely within a follow-up that is part of the patient-years."""

    patient: str
    counted: Counted
    in_a_rate: bool


class _All(NamedTuple):
    """All events of the `n` patients, `undated` of whom have an event without a date; `days` is how long those of whom it is known were followed together."""

    events: list[_Event]
    n: int
    undated: int
    days: int


def adverse_events(cohort: Cohort, drug: str, small: SmallCells) -> Table:
    """All events since the first infusion, what was made of them, and each kind."""
    found = _counted(cohort)
    outside = sum(not one.in_a_rate for one in found.events)
    notes = (
        "All events since the day of the first infusion, whether or not the drug caused them. Events and patients are counted "
        "apart: a patient may have several.",
        "Rates are of events over the follow-up of all patients, with the exact 95 % interval of a Poisson count (Garwood, Ulm); a "
        "year is 365.25 days. There is none where it is not known of every event.",
        *((f"{small.number(found.undated)} of {small.number(cohort.n)} patients have an undated event, which is counted.",) if found.undated else ()),
        *((f"{small.number(outside)} {'event is in no rate: it does' if outside == 1 and not small.below else 'events are in no rate: they do'} not surely lie within a follow-up of known length.",) if outside else ()),
    )  # fmt: skip
    groups = (*grouped("All", list(_all(found, drug, small))), *grouped("By kind", list(_kinds(found, small))))
    return Table("adverse_events", "Adverse events", COLUMNS, groups if cohort.n else (), notes)


def _counted(cohort: Cohort) -> _All:
    by_patient = {patient.name: rule.events(patient.case, patient.exposed) for patient in cohort.patients}
    found = [
        _Event(name, one, one.within is True and each.person_days is not None)
        for name, each in by_patient.items()
        for one in each.counted
    ]
    undated = sum(bool(each.undated) for each in by_patient.values())
    return _All(found, cohort.n, undated, sum(followed(cohort)))


def _all(found: _All, drug: str, small: SmallCells) -> Iterator[Row]:
    yield _row("any", "any", found.events, [], found, small)
    asked: tuple[tuple[str, str, Callable[[Counted], bool | None]], ...] = (
        ("serious", "serious", lambda one: one.event.serious),
        ("related", f"at least possibly related to {drug}", lambda one: one.related),
        ("led_to_stop", f"led to stopping {drug}", lambda one: one.event.led_to_stop),
    )
    for name, words, of in asked:
        answers = [(one, of(one.counted)) for one in found.events]
        unknown = [one for one, answer in answers if answer is None]
        yield _row(name, words, [one for one, answer in answers if answer], unknown, found, small)


def _kinds(found: _All, small: SmallCells) -> Iterator[Row]:
    kinds: dict[str, list[_Event]] = defaultdict(list)
    for one in found.events:
        kinds[event_words(one.counted.term)].append(one)
    hidden = small.hidden({kind: len(events) for kind, events in kinds.items()}, len(found.events), exclusive=True)
    for kind, events in sorted(kinds.items(), key=lambda item: (-len(item[1]), item[0])):
        yield _row(kind, kind, events, [], found, small, hidden.get(kind))


def _row(
    name: str,
    words: str,
    events: Sequence[_Event],
    unknown: Sequence[_Event],
    found: _All,
    small: SmallCells,
    hidden: str | None = None,
) -> Row:
    having = {one.patient for one in events}
    # Who has an event of which it is not known may be one of them: neither counted nor in the denominator.
    open_ = {one.patient for one in unknown} - having
    per_time = rate(sum(one.in_a_rate for one in events), found.days, small) if not unknown else NOTHING
    cells = (
        Cell(hidden) if hidden else number(len(events), small),
        share(len(having), found.n - len(open_), small),
        NOT_SHOWN if hidden else per_time,
        number(len(unknown), small),
    )
    return Row(name, words, cells)
