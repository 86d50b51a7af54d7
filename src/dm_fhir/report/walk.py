"""A value walked back: rule, inputs, recorded value, row of a table, conversion, version of the record, the run that brought it.

Nothing here names the patient: no name, no date of birth, no identifier, and of free text only that it is there.
"""

import sqlite3
from collections.abc import Callable
from typing import NamedTuple, Protocol

import msgspec

from dm_fhir.model.case import (
    Case,
    Finding,
    Outcome,
    Source,
)
from dm_fhir.model.definitions import Definitions
from dm_fhir.model.exact import shown, to_text
from dm_fhir.outcomes.answers import answer_words
from dm_fhir.outcomes.battery import DEFAULTS
from dm_fhir.outcomes.considered import arithmetic, considered
from dm_fhir.outcomes.labels import label
from dm_fhir.outcomes.thresholds import STATUS
from dm_fhir.outcomes.verdicts import told_of
from dm_fhir.outcomes.working import Working, working
from dm_fhir.report.naming import name_of
from dm_fhir.report.places import Part, Place, Taken, places, recorded, result_of, variable_of
from dm_fhir.report.words import unit_words
from dm_fhir.store.history import asking_queries, run_numbered, subject_of, versions


class HowRead(Protocol):
    """A row of a table, the code by which it knew a record, and the exact factor by which a value was converted."""

    @property
    def kind(self) -> str: ...
    @property
    def variable(self) -> str: ...
    @property
    def origin(self) -> str: ...
    @property
    def system(self) -> str: ...
    @property
    def code(self) -> str: ...
    @property
    def unit(self) -> str | None: ...
    @property
    def factor(self) -> str | None: ...
    @property
    def to(self) -> str | None: ...
    @property
    def read_as(self) -> str | None: ...


class Resource(msgspec.Struct, frozen=True):
    """The version of a record that was used, and how it came here.

    `is_current` is False where the store holds a newer one. `queries` may each have brought it. None: not known.
    """

    version: str | None
    last_updated: str | None
    hash: str | None
    is_current: bool
    origin: str
    deleted: str | None
    run: int | None
    command: str | None
    started: str | None
    queries: list[str]


class Record(msgspec.Struct, frozen=True):
    """A record, what it says and what was made of it. `role` is the part that it plays; "" where it is looked at itself.

    `number` is exact and in `unit`. `recorded` is the value as recorded, in `element`. `resource` None: it is not in the store.
    `mg_per_day` is what one dosing of a drug comes to a day; None for everything else, and where that is not known: see `flags`.
    """

    role: str
    reference: str
    variable: str | None
    status: str | None
    when: str | None
    element: str | None
    recorded: str | None
    number: str | None
    unit: str | None
    answer: str | None
    bound: str
    reason: str | None
    flags: tuple[str, ...]
    rows: list[HowRead]
    resource: Resource | None
    mg_per_day: str | None = None


class NotUsed(msgspec.Struct, frozen=True):
    """A record that was considered and not used."""

    reference: str
    variable: str
    when: str | None
    number: str | None
    unit: str | None
    reason: str


class HeldAgainst(msgspec.Struct, frozen=True):
    """A published definition, and the outcome's verdict by it; None where that is not decided.

    `status` is whether the definition is confirmed in its source, not confirmed, or this project's own. What is no
    definition, such as the population whose thresholds were used, has neither words nor source.
    """

    id: str
    verdict: str | None
    words: str = ""
    source: str = ""
    status: str = ""


class Explained(msgspec.Struct, frozen=True):
    """An outcome walked back to its records. `number` is exact, `shown` rounded; both None where there is none: see `reasons`.

    `answer` is what an outcome is that is no number, `visit` the visit that it stands for, `working` how a composite came about.
    `arithmetic` is what was reckoned with exact values, None where that is no more than a value or a sum.
    """

    name: str
    label: str
    number: str | None
    shown: str | None
    date: str | None
    unit: str | None
    when: str | None
    about: str | None
    rule: str
    rule_version: str
    arithmetic: str | None
    reasons: tuple[str, ...]
    flags: tuple[str, ...]
    inputs: list[Record]
    not_used: list[NotUsed]
    answer: str | None = None
    visit: str | None = None
    verdicts: list[HeldAgainst] = []
    working: Working | None = None


class Walker(NamedTuple):
    """What a walk needs: the store, the case, how the tables read a part of it, and the study's definitions."""

    db: sqlite3.Connection
    site: str
    case: Case
    how: Callable[[Part], tuple[HowRead, ...]]
    definitions: Definitions = DEFAULTS


def explain_outcome(walker: Walker, outcome: Outcome) -> Explained:
    """The outcome, back to the records that it was computed from, and those that it was not."""
    number = outcome.number
    return Explained(
        name=name_of(outcome),
        label=label(outcome.variable),
        number=to_text(number) if number is not None else None,
        shown=shown(number) if number is not None else None,
        date=outcome.date,
        unit=outcome.unit,
        when=outcome.when,
        about=outcome.about,
        rule=outcome.rule,
        rule_version=outcome.rule_version,
        arithmetic=arithmetic(walker.case, outcome),
        reasons=outcome.reasons,
        flags=outcome.flags,
        inputs=[_record(walker, one.role, one.source) for one in outcome.inputs],
        not_used=[
            NotUsed(
                one.source.place, one.variable, one.when, to_text(one.number) if one.number is not None else None,
                one.unit if one.number is not None else None, one.reason,
            )
            for one in considered(walker.case, outcome, walker.definitions)
        ],
        answer=outcome.answer,
        visit=outcome.visit,
        verdicts=_held_against(outcome, walker.definitions),
        working=working(walker.case, outcome, walker.definitions),
    )  # fmt: skip


def _held_against(outcome: Outcome, definitions: Definitions) -> list[HeldAgainst]:
    told = told_of(outcome, definitions)
    found = [
        HeldAgainst(
            one.definition.id, one.verdict, one.definition.words, one.definition.source, STATUS[one.definition.status]
        )
        for one in told
    ]
    named = {one.id for one in found}
    return found + [HeldAgainst(id, verdict) for id, verdict in outcome.verdicts.items() if id not in named]


def explain_record(walker: Walker, reference: str) -> list[Record]:
    """What the case has of a record, a part each; empty if it holds nothing of it."""
    found = places(walker.case)
    return [_told(walker, "", one) for one in found if reference in (one.source.place, one.source.reference)]


def outcomes_of(case: Case, reference: str) -> list[tuple[str, str]]:
    """The outcomes that a record is an input of, by name, and the part that it plays."""
    return [
        (name_of(outcome), one.role)
        for outcome in case.outcomes
        for one in outcome.inputs
        if one.source.reference == reference.partition("#")[0]
    ]


def findings_of(case: Case, reference: str) -> list[Finding]:
    """The findings about a record."""
    return [one for one in case.findings if one.reference == reference.partition("#")[0]]


def resource_of(walker: Walker, source: Source) -> Resource | None:
    """The version of the record that `source` names, and how it came here; None if the store has none of it."""
    kept = versions(walker.db, walker.site, source.reference)
    if not kept:
        return None
    used = (source.version, source.last_updated)
    found = next((one for one in kept if (one.version, one.last_updated) == used), kept[0])
    run = run_numbered(walker.db, found.run)
    type_name = source.reference.partition("/")[0]
    # A merged patient's records were asked for under the reference that they name.
    patient = subject_of(walker.db, walker.site, source.reference) or ""
    return Resource(
        version=found.version,
        last_updated=found.last_updated,
        hash=found.hash,
        is_current=found.is_current,
        origin=found.origin,
        deleted=found.deleted,
        run=found.run,
        command=run.command if run else None,
        started=run.started if run else None,
        queries=asking_queries(walker.db, walker.site, patient, type_name, found.origin),
    )


class ListedOutcome(msgspec.Struct, frozen=True):
    """An outcome by its name. `value` is for people, `number` exact, `answer` a code; None where there is none: see `reasons`."""

    name: str
    value: str | None
    number: str | None
    unit: str | None
    when: str | None
    reasons: tuple[str, ...]
    flags: tuple[str, ...]
    visit: str | None = None
    verdicts: dict[str, str] = {}
    answer: str | None = None


class ListedValue(msgspec.Struct, frozen=True):
    """A value of a record by its reference. `value` is for people; `reason` is why it is not used, None if it can be."""

    reference: str
    variable: str
    value: str | None
    when: str | None
    reason: str | None


def listed_outcomes(case: Case) -> list[ListedOutcome]:
    """Every outcome of the case, in its order."""
    return [
        ListedOutcome(
            name_of(one),
            _for_people(one),
            to_text(one.number) if one.number is not None else None,
            one.unit,
            one.when,
            one.reasons,
            one.flags,
            one.visit,
            one.verdicts,
            one.answer,
        )
        for one in case.outcomes
    ]


def _for_people(one: Outcome) -> str | None:
    if one.number is not None:
        return f"{shown(one.number)} {unit_words(one.unit)}".rstrip()
    return answer_words(one.answer) if one.answer is not None else one.date


def listed_values(case: Case) -> list[ListedValue]:
    """Everything in the case that a table knows, in order of variable and time."""
    found = []
    for place in places(case):
        variable, result = variable_of(place.part), result_of(place.part)
        if variable is not None:
            value = result.answer
            if result.number is not None:
                value = f"{shown(result.number)} {unit_words(result.unit)}".rstrip()
            found.append(ListedValue(place.source.place, variable, value, place.when, result.reason))
    return sorted(found, key=lambda one: (one.variable, one.when or "", one.reference))


def places_of(case: Case) -> list[str]:
    """The references of everything that the case holds, with and without the path to a part."""
    sources = [place.source for place in places(case)]
    return list(dict.fromkeys(name for one in sources for name in (one.place, one.reference)))


def _record(walker: Walker, role: str, source: Source) -> Record:
    place = next((one for one in places(walker.case) if one.source.place == source.place), None)
    if place is not None:
        return _told(walker, role, place)
    # the patient's own record, or one that the rules know and this walk does not
    return Record(
        role, source.place, None, None, None, None, None, None, None, None, "exact", None, (), [],
        resource_of(walker, source),
    )  # fmt: skip


def _told(walker: Walker, role: str, place: Place) -> Record:
    element, value = recorded(place)
    result = result_of(place.part)
    return Record(
        role=role,
        reference=place.source.place,
        variable=variable_of(place.part),
        status=place.status,
        when=place.when,
        element=element,
        recorded=value,
        number=to_text(result.number) if result.number is not None else None,
        unit=result.unit if result.number is not None else None,
        answer=result.answer,
        bound=result.bound,
        reason=result.reason,
        flags=result.flags,
        rows=list(walker.how(place.part)),
        resource=resource_of(walker, place.source),
        mg_per_day=_per_day(place.part),
    )


def _per_day(part: Part) -> str | None:
    amount = part.dosing.mg_per_day if isinstance(part, Taken) else None
    return to_text(amount) if amount is not None else None
