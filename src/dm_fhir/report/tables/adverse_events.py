"""Adverse events: how many events and in how many patients, which are different numbers, and how often over time."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from dm_fhir.model.case import AdverseEvent
from dm_fhir.report.tables.cells import NOT_SHOWN, NOTHING, number, rate, share
from dm_fhir.report.words import event_words
from dm_fhir.statistics.cohort import Cohort
from dm_fhir.statistics.events import events_since_start, related, term, with_undated_event, within_follow_up
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
    """An event, who had it, and whether it surely lies within the time that this patient was followed."""

    patient: str
    event: AdverseEvent
    within: bool


class _Counted(NamedTuple):
    """All events of the `n` patients; `days` is how long those of whom it is known were followed together."""

    events: list[_Event]
    n: int
    days: int


def adverse_events(cohort: Cohort, drug: str, small: SmallCells) -> Table:
    """All events since the first infusion, what was made of them, and each kind."""
    found = _counted(cohort)
    undated, outside = with_undated_event(cohort), sum(not one.within for one in found.events)
    notes = (
        "All events since the day of the first infusion, whether or not the drug caused them. Events and patients are counted "
        "apart: a patient may have several.",
        "Rates are of events over the follow-up of all patients, with the exact 95 % interval of a Poisson count (Garwood, Ulm); a "
        "year is 365.25 days. There is none where it is not known of every event.",
        *((f"{small.number(undated)} of {small.number(cohort.n)} patients have an undated event, which is counted.",) if undated else ()),
        *((f"{small.number(outside)} events are in no rate: they do not surely lie within follow-up.",) if outside else ()),
    )  # fmt: skip
    groups = (*grouped("All", list(_all(found, drug, small))), *grouped("By kind", list(_kinds(found, small))))
    return Table("adverse_events", "Adverse events", COLUMNS, groups if cohort.n else (), notes)


def _counted(cohort: Cohort) -> _Counted:
    events = [
        _Event(patient.case.id, event, within_follow_up(patient, event))
        for patient in cohort.patients
        for event in events_since_start(patient)
    ]
    return _Counted(events, cohort.n, sum(followed(cohort)))


def _all(found: _Counted, drug: str, small: SmallCells) -> Iterator[Row]:
    yield _row("any", "any", found.events, [], found, small)
    asked: tuple[tuple[str, str, Callable[[AdverseEvent], bool | None]], ...] = (
        ("serious", "serious", lambda event: event.serious),
        ("related", f"at least possibly related to {drug}", lambda event: related(event, drug)),
        ("led_to_stop", f"led to stopping {drug}", lambda event: event.led_to_stop),
    )
    for name, words, of in asked:
        answers = [(one, of(one.event)) for one in found.events]
        unknown = [one for one, answer in answers if answer is None]
        yield _row(name, words, [one for one, answer in answers if answer], unknown, found, small)


def _kinds(found: _Counted, small: SmallCells) -> Iterator[Row]:
    kinds: dict[str, list[_Event]] = defaultdict(list)
    for one in found.events:
        kinds[event_words(term(one.event))].append(one)
    hidden = small.hidden({kind: len(events) for kind, events in kinds.items()}, len(found.events), exclusive=True)
    for kind, events in sorted(kinds.items(), key=lambda item: (-len(item[1]), item[0])):
        yield _row(kind, kind, events, [], found, small, hidden.get(kind))


def _row(
    name: str,
    words: str,
    events: Sequence[_Event],
    unknown: Sequence[_Event],
    found: _Counted,
    small: SmallCells,
    hidden: str | None = None,
) -> Row:
    having = {one.patient for one in events}
    # Who has an event of which it is not known may be one of them: neither counted nor in the denominator.
    open_ = {one.patient for one in unknown} - having
    per_time = rate(sum(one.within for one in events), found.days, small) if not unknown else NOTHING
    cells = (
        Cell(hidden) if hidden else number(len(events), small),
        share(len(having), found.n - len(open_), small),
        NOT_SHOWN if hidden else per_time,
        number(len(unknown), small),
    )
    return Row(name, words, cells)
