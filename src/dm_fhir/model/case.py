"""The parts of a case series. All frozen; every part says which record it came from.

Numbers that came out of a computation or a unit conversion are exact fractions. What was recorded stays as recorded.
Parts that can only hold texts, numbers and each other are not looked through for garbage (`gc=False`): they cannot form a ring.
"""

from collections.abc import Iterable
from decimal import Decimal
from fractions import Fraction
from typing import Literal

import msgspec

from dm_fhir.model.definitions import Definitions


class Source(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """The record a part came from. `version` is None where the server has no versions; `path` is None for the whole."""

    site: str
    reference: str
    version: str | None = None
    path: str | None = None
    last_updated: str | None = None

    @property
    def place(self) -> str:
        """The reference, with the path where it means a part of the record."""
        return f"{self.reference}#{self.path}" if self.path else self.reference


class Coding(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """One code of one code system."""

    system: str | None = None
    code: str | None = None
    display: str | None = None


class Concept(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """What a record says in codes and text. `variable` is what the mapping tables call it; None if no row knows it."""

    codings: tuple[Coding, ...] = ()
    text: str | None = None
    variable: str | None = None


class Quantity(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """A recorded amount. `comparator` (<, <=, >=, >) makes it a bound; None means exact."""

    value: Decimal | None = None
    comparator: str | None = None
    unit: str | None = None
    system: str | None = None
    code: str | None = None


class Ratio(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """One amount per another: a rate of infusion, the strength of a tablet, a titre."""

    numerator: Quantity | None = None
    denominator: Quantity | None = None


class Identifier(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """A business identifier; two records that share one are the same thing."""

    system: str | None = None
    value: str | None = None


def naming(identifiers: Iterable[Identifier]) -> frozenset[Identifier]:
    """Those of the identifiers that tell one record from another; one without a value names nothing."""
    return frozenset(identifier for identifier in identifiers if identifier.value)


class Period(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """From `start` to `end`; None means open or not known."""

    start: str | None = None
    end: str | None = None


class Link(msgspec.Struct, frozen=True, omit_defaults=True):
    """Another record of the same person: `replaced-by`, `replaces`, `refer` or `seealso`."""

    other: str
    type: str


class Subject(msgspec.Struct, frozen=True, omit_defaults=True):
    """The patient, without name or address. `birth_date` and `deceased_at` may be partial dates.

    Races and ethnicities are broad categories, their details stand beside them. `birth_date_absent` is why the record has no birth date ("masked", "unknown", ...), where it says so.
    `ages` are those in completed years at the `first_infusion` and at `onset`: the least and the greatest that the dates
    allow. An exported document has them because the birth date is not in it.
    """

    source: Source
    active: bool | None = None
    identifiers: tuple[Identifier, ...] = ()
    sex: str | None = None
    birth_date: str | None = None
    birth_date_absent: str | None = None
    deceased: bool | None = None
    deceased_at: str | None = None
    races: tuple[Coding, ...] = ()
    race_details: tuple[Coding, ...] = ()
    ethnicities: tuple[Coding, ...] = ()
    ethnicity_details: tuple[Coding, ...] = ()
    links: tuple[Link, ...] = ()
    test_patient: bool = False
    ages: dict[str, tuple[int, int]] = {}


class Administration(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """One administration of a drug.

    `when` (a moment) or `during` (a period) is when it happened. `status` is as recorded; `request` is the order that
    it follows; the rate is as recorded, as an amount per time or as a ratio of the two; `method_status` is what the
    site's table says a dosage method such as "Not Given" means, None if nothing. `dose_mg` is None where the dose
    cannot be known, and `flags` says why.
    """

    source: Source
    status: str | None = None
    identifiers: tuple[Identifier, ...] = ()
    part_of: tuple[str, ...] = ()
    request: str | None = None
    status_reasons: tuple[Concept, ...] = ()
    reasons: tuple[Concept, ...] = ()
    medication: Concept | None = None
    medication_reference: str | None = None
    strength: Ratio | None = None
    when: str | None = None
    during: Period | None = None
    dose: Quantity | None = None
    rate: Quantity | None = None
    rate_ratio: Ratio | None = None
    route: Concept | None = None
    method: Concept | None = None
    method_status: str | None = None
    dose_mg: Fraction | None = None
    flags: tuple[str, ...] = ()


class Range(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """A range as recorded: a result's own, or a reference range with what it means (`type`) and for whom it holds."""

    low: Quantity | None = None
    high: Quantity | None = None
    text: str | None = None
    type: Concept | None = None
    applies_to: tuple[Concept, ...] = ()
    age_low: Quantity | None = None
    age_high: Quantity | None = None


class Finding(msgspec.Struct, frozen=True, omit_defaults=True):
    """Something unusual in a record, and what was done with it. `path` is None for the whole record."""

    code: str
    severity: str
    reference: str
    done: str
    path: str | None = None


class Result(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """What a measurement comes to in the variable's own unit.

    `number` is None where it cannot be used, and `reason` says why. `bound` is "exact", or the side on which a
    comparator bounds it. `answer` is the meaning of a coded result ("positive", "negative"). `reference_low` and
    `reference_high` are the ends of the record's own reference range in the same unit; None where it does not tell them.
    """

    number: Fraction | None = None
    unit: str | None = None
    bound: str = "exact"
    answer: str | None = None
    reason: str | None = None
    flags: tuple[str, ...] = ()
    reference_low: Fraction | None = None
    reference_high: Fraction | None = None


class Measured(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """A code with its value: as recorded (at most one of the value fields) and what it comes to.

    `sampled` says that the value is a series of samples, which is not kept. `absent` is why there is no value.
    """

    concept: Concept
    quantity: Quantity | None = None
    integer: int | None = None
    string: str | None = None
    boolean: bool | None = None
    coded: Concept | None = None
    value_range: Range | None = None
    ratio: Ratio | None = None
    date_time: str | None = None
    time_of_day: str | None = None
    period: Period | None = None
    sampled: bool = False
    absent: Concept | None = None
    interpretations: tuple[Concept, ...] = ()
    ranges: tuple[Range, ...] = ()
    result: Result = Result()


class Assessment(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """A score, a lab value or an antibody at a time. A panel keeps its parts in `components`.

    `timing` are the moments of a repeated measurement, which are not taken for several. `members` are the records of a
    panel's parts, `derived_from` those it was made of. `questionnaire` is the form whose answers gave the score.
    """

    source: Source
    status: str | None = None
    identifiers: tuple[Identifier, ...] = ()
    categories: tuple[Concept, ...] = ()
    when: str | None = None
    during: Period | None = None
    timing: tuple[str, ...] | None = None
    issued: str | None = None
    specimen: str | None = None
    measured: Measured = Measured(Concept())
    components: tuple[Measured, ...] = ()
    members: tuple[str, ...] = ()
    derived_from: tuple[str, ...] = ()
    questionnaire: str | None = None

    @property
    def time(self) -> str | None:
        """When it counts: its moment, the end of its period, or its only repetition; None if none is known."""
        once = self.timing[0] if self.timing and len(self.timing) == 1 else None
        return self.when or (self.during.end if self.during else None) or once

    def source_of(self, index: int) -> Source:
        """Where one of `components` stands: in a component of the record, or as the answer to an item of a form."""
        path = f"component[{index}]"
        if self.questionnaire is not None:
            link = next((one.code for one in self.components[index].concept.codings), None)
            return msgspec.structs.replace(self.source, path=f"item[{link or index}]")
        return msgspec.structs.replace(self.source, path=".".join(filter(None, (self.source.path, path))))


class Condition(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """A diagnosis or a manifestation. Statuses are None where the record has none, which is common.

    `onset` is the date or time at which it began: the one recorded, or the partial date that holds all of a period,
    for a period of onset means that it began some time within. Where the record has an age, a range of ages or words
    instead, `onset` is None and they stand beside it. The same holds of `abatement`.
    """

    source: Source
    concept: Concept
    identifiers: tuple[Identifier, ...] = ()
    categories: tuple[Concept, ...] = ()
    clinical_status: str | None = None
    verification_status: str | None = None
    severity: Concept | None = None
    body_sites: tuple[Concept, ...] = ()
    onset: str | None = None
    onset_during: Period | None = None
    onset_age: Quantity | None = None
    onset_ages: Range | None = None
    onset_text: str | None = None
    abatement: str | None = None
    abatement_during: Period | None = None
    abatement_age: Quantity | None = None
    abatement_ages: Range | None = None
    abatement_text: str | None = None
    recorded: str | None = None
    stages: tuple[Concept, ...] = ()
    evidence: tuple[Concept, ...] = ()


class Timing(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """How often a drug is taken, as recorded: `frequency` times in each `period` of `period_unit` (h, d, wk, ...).

    `during` or `lasting` bounds it, `times` are single doses, `code` is a habit such as "twice a day".
    """

    times: tuple[str, ...] = ()
    during: Period | None = None
    lasting: Quantity | None = None
    count: int | None = None
    frequency: int | None = None
    frequency_max: int | None = None
    period: Decimal | None = None
    period_max: Decimal | None = None
    period_unit: str | None = None
    days_of_week: tuple[str, ...] = ()
    times_of_day: tuple[str, ...] = ()
    when: tuple[str, ...] = ()
    code: Concept | None = None


class Dose(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """What is taken at one time, an amount or a range; `type` tells what was ordered from what was calculated."""

    type: Concept | None = None
    amount: Quantity | None = None
    low: Quantity | None = None
    high: Quantity | None = None


class Dosing(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """One instruction of how a drug is taken, as recorded, and what it comes to.

    `systemic` is whether its route takes the drug to the whole body, None where the tables do not tell. `dose_mg` is
    what is taken at one time. `mg_per_day` is None where that cannot be known, and `reasons` says why: `dose_missing`,
    `as_needed`, `route_not_systemic`, or `dose_unknown:` with what is not known.
    """

    sequence: int | None = None
    text: str | None = None
    timing: Timing | None = None
    as_needed: bool | None = None
    as_needed_for: Concept | None = None
    route: Concept | None = None
    method: Concept | None = None
    doses: tuple[Dose, ...] = ()
    systemic: bool | None = None
    dose_mg: Fraction | None = None
    mg_per_day: Fraction | None = None
    reasons: tuple[str, ...] = ()


class Therapy(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """Another drug, as stated or ordered, from when to when, and how it is taken.

    A statement of a single moment has `when`, and a period that begins and ends there. An order has `authored`, the day
    it was written; its period follows its dosing, or else begins that day. `strength` is what one tablet or millilitre
    holds, by the Medication. `supplied_during` and `supplied_for` are what a pharmacy may give: they do not say that the
    drug was taken.
    """

    source: Source
    medication: Concept
    identifiers: tuple[Identifier, ...] = ()
    based_on: tuple[str, ...] = ()
    medication_reference: str | None = None
    strength: Ratio | None = None
    status: str | None = None
    intent: str | None = None
    when: str | None = None
    authored: str | None = None
    period: Period | None = None
    reasons: tuple[Concept, ...] = ()
    status_reasons: tuple[Concept, ...] = ()
    dosings: tuple[Dosing, ...] = ()
    supplied_during: Period | None = None
    supplied_for: Quantity | None = None

    def source_of(self, index: int) -> Source:
        """Where one of `dosings` stands in the record."""
        element = "dosageInstruction" if self.source.reference.startswith("MedicationRequest/") else "dosage"
        return msgspec.structs.replace(self.source, path=f"{element}[{index}]")


class Suspect(msgspec.Struct, frozen=True, omit_defaults=True):
    """What may have caused an adverse event, by reference or by name, and how likely those who judged it found that.

    `drug` is the drug behind the reference, as the mapping tables call it; None if it is none that they know.
    `backported` is whether the record says it in the extension of HL7's guide for research on adverse events.
    """

    reference: str | None = None
    concept: Concept | None = None
    relatedness: tuple[Concept, ...] = ()
    drug: str | None = None
    backported: bool = False


class Criterion(msgspec.Struct, frozen=True, omit_defaults=True):
    """A criterion of seriousness, such as a stay in hospital, and whether it was met; None if that is not said."""

    concept: Concept | None = None
    met: bool | None = None


class Action(msgspec.Struct, frozen=True, omit_defaults=True):
    """What was done about an adverse event, in words or as a reference to the record of it."""

    concept: Concept | None = None
    reference: str | None = None


class AdverseEvent(msgspec.Struct, frozen=True, omit_defaults=True):
    """Something untoward that happened to the patient, whether or not the drug had to do with it.

    `severity` is how bad it was, `grade` its CTCAE grade from 1 to 5, `serious` whether it met a criterion of
    seriousness: three different things. `led_to_stop` is True where the drug was withdrawn or the patient left the study
    for it, False where the record denies that, None where it does not say.
    """

    source: Source
    event: Concept
    identifier: Identifier | None = None
    status: str | None = None
    actuality: str | None = None
    date: str | None = None
    detected: str | None = None
    recorded: str | None = None
    resolved: str | None = None
    seriousness: Concept | None = None
    serious: bool | None = None
    criteria: tuple[Criterion, ...] = ()
    severity: Concept | None = None
    grading: Concept | None = None
    grade: int | None = None
    outcome: Concept | None = None
    suspects: tuple[Suspect, ...] = ()
    actions: tuple[Action, ...] = ()
    left_study: bool | None = None
    led_to_stop: bool | None = None
    expected: bool | None = None
    resulting_conditions: tuple[str, ...] = ()
    resulting_effects: tuple[str, ...] = ()


class Input(msgspec.Struct, frozen=True, omit_defaults=True):
    """One record that an outcome was computed from, and the part it played."""

    role: str
    source: Source
    value: str | None = None


class Part(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """What one measure of a composite came to at its visit; `variable` is what it was measured by, None if by nothing.

    `points` are those of the Total Improvement Score. `percent_of_range` and `percent_of_baseline` are its improvement, positive
    where it is better, exact; where a bound such as "<20" leaves it open, it is None and `between` says between what it lies.
    `verdicts` are what was asked of it: "yes" or "no". What is not known is not there, and `reasons` says why.
    """

    measure: str
    variable: str | None = None
    points: Fraction | None = None
    percent_of_range: Fraction | None = None
    percent_of_baseline: Fraction | None = None
    between: str | None = None
    verdicts: dict[str, str] = {}
    reasons: tuple[str, ...] = ()


class Outcome(msgspec.Struct, frozen=True, omit_defaults=True):
    """A computed clinical number, date or answer, with its rule and the records it came from.

    `number`, `date` and `answer` ("yes", "tapered", "moderate") are all None where it cannot be computed, and `reasons` says
    why. `when` is the time it speaks of, None if there is none. `about` is the follow-up record it belongs to, `visit` the
    window of the schedule that it stands for; both are None for one per case. `verdicts` are what the number comes to by
    each published definition, by its id: "yes" or "no" of a threshold, the name of a band. `parts` are those of a composite.
    """

    variable: str
    rule: str
    rule_version: str
    number: Fraction | None = None
    date: str | None = None
    unit: str | None = None
    when: str | None = None
    about: str | None = None
    reasons: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()
    inputs: tuple[Input, ...] = ()
    answer: str | None = None
    visit: str | None = None
    verdicts: dict[str, str] = {}
    parts: tuple[Part, ...] = ()


class Case(msgspec.Struct, frozen=True, omit_defaults=True):
    """One patient at one site. `id` is a reference in the store and a pseudonym in an exported document.

    `administrations` are those of the study drug, `other_administrations` those of other drugs that the tables know.
    `left_out` counts, by reason, the records that say nothing to this study. `accepts_preliminary`: at this site
    preliminary results count too. `person` is the same for the same person at every site; None where the patient has no
    such identifier. `partial_dates` counts what moving dates did to those it cannot move exactly: `coarser`, `left_out`.
    """

    id: str
    site: str
    timezone: str
    subject: Subject | None = None
    conditions: tuple[Condition, ...] = ()
    administrations: tuple[Administration, ...] = ()
    other_administrations: tuple[Administration, ...] = ()
    therapies: tuple[Therapy, ...] = ()
    assessments: tuple[Assessment, ...] = ()
    adverse_events: tuple[AdverseEvent, ...] = ()
    outcomes: tuple[Outcome, ...] = ()
    findings: tuple[Finding, ...] = ()
    left_out: dict[str, int] = {}
    accepts_preliminary: bool = False
    person: str | None = None
    partial_dates: dict[str, int] = {}


#: How an exported document has its dates: as recorded; moved by some days, the same for all dates of a patient; or moved so
#: that the first infusion is on 2000-01-01, day 0.
Dates = Literal["kept", "shifted", "days"]
FORMAT = "dm-fhir case series"
#: Raised whenever the model changes; model/upgrades.py then says how a document of the version before becomes one of this.
FORMAT_VERSION = 3


class CaseSeries(msgspec.Struct, frozen=True):
    """All cases of a study. `complete_until` is per site; None where that site has never been read completely.

    `written_by` is the program and its version, None in documents of format 1, which did not say. `definitions` are those
    that its outcomes were computed by. `dates` says how they were treated. `differences` are what was not the same in
    the documents that this one was merged from, where that was allowed.
    """

    title: str
    drug: str
    cases: tuple[Case, ...]
    complete_until: dict[str, str | None]
    pseudonymised: bool = True
    format: str = FORMAT
    format_version: str = str(FORMAT_VERSION)
    written_by: str | None = None
    definitions: Definitions = msgspec.field(default_factory=Definitions)
    dates: Dates = "kept"
    differences: tuple[str, ...] = ()
