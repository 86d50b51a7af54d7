"""The parts of a case series. All frozen; every part says which record it came from.

Numbers that came out of a computation or a unit conversion are exact fractions. What was recorded stays as recorded.
"""

from collections.abc import Iterable
from decimal import Decimal
from fractions import Fraction

import msgspec


class Source(msgspec.Struct, frozen=True, omit_defaults=True):
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


class Coding(msgspec.Struct, frozen=True, omit_defaults=True):
    """One code of one code system."""

    system: str | None = None
    code: str | None = None
    display: str | None = None


class Concept(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a record says in codes and text. `variable` is what the mapping tables call it; None if no row knows it."""

    codings: tuple[Coding, ...] = ()
    text: str | None = None
    variable: str | None = None


class Quantity(msgspec.Struct, frozen=True, omit_defaults=True):
    """A recorded amount. `comparator` (<, <=, >=, >) makes it a bound; None means exact."""

    value: Decimal | None = None
    comparator: str | None = None
    unit: str | None = None
    system: str | None = None
    code: str | None = None


class Identifier(msgspec.Struct, frozen=True, omit_defaults=True):
    """A business identifier; two records that share one are the same thing."""

    system: str | None = None
    value: str | None = None


def naming(identifiers: Iterable[Identifier]) -> frozenset[Identifier]:
    """Those of the identifiers that tell one record from another; one without a value names nothing."""
    return frozenset(identifier for identifier in identifiers if identifier.value)


class Period(msgspec.Struct, frozen=True, omit_defaults=True):
    """From `start` to `end`; None means open or not known."""

    start: str | None = None
    end: str | None = None


class Link(msgspec.Struct, frozen=True, omit_defaults=True):
    """Another record of the same person: `replaced-by`, `replaces`, `refer` or `seealso`."""

    other: str
    type: str


class Subject(msgspec.Struct, frozen=True, omit_defaults=True):
    """The patient, without name or address. `birth_date` and `deceased_at` may be partial dates."""

    source: Source
    active: bool | None = None
    identifiers: tuple[Identifier, ...] = ()
    sex: str | None = None
    birth_date: str | None = None
    deceased: bool | None = None
    deceased_at: str | None = None
    races: tuple[Coding, ...] = ()
    ethnicities: tuple[Coding, ...] = ()
    links: tuple[Link, ...] = ()
    test_patient: bool = False


class Administration(msgspec.Struct, frozen=True, omit_defaults=True):
    """One administration of the study drug.

    `when` (a moment) or `during` (a period) is when it happened. `status` is as recorded; `method_status` is what the
    site's table says a dosage method such as "Not Given" means, None if nothing. `dose_mg` is None where the dose
    cannot be known, and `flags` says why.
    """

    source: Source
    status: str | None = None
    identifiers: tuple[Identifier, ...] = ()
    part_of: tuple[str, ...] = ()
    status_reasons: tuple[Concept, ...] = ()
    medication: Concept | None = None
    medication_reference: str | None = None
    when: str | None = None
    during: Period | None = None
    dose: Quantity | None = None
    route: Concept | None = None
    method: Concept | None = None
    method_status: str | None = None
    dose_mg: Fraction | None = None
    flags: tuple[str, ...] = ()


class Range(msgspec.Struct, frozen=True, omit_defaults=True):
    """A reference range as recorded."""

    low: Quantity | None = None
    high: Quantity | None = None
    text: str | None = None


class Finding(msgspec.Struct, frozen=True, omit_defaults=True):
    """Something unusual in a record, and what was done with it. `path` is None for the whole record."""

    code: str
    severity: str
    reference: str
    done: str
    path: str | None = None


class Result(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a measurement comes to in the variable's own unit.

    `number` is None where it cannot be used, and `reason` says why. `bound` is "exact", or the side on which a
    comparator bounds it. `answer` is the meaning of a coded result ("positive", "negative").
    """

    number: Fraction | None = None
    unit: str | None = None
    bound: str = "exact"
    answer: str | None = None
    reason: str | None = None
    flags: tuple[str, ...] = ()


class Measured(msgspec.Struct, frozen=True, omit_defaults=True):
    """A code with its value: as recorded (at most one of the value fields) and what it comes to."""

    concept: Concept
    quantity: Quantity | None = None
    integer: int | None = None
    string: str | None = None
    boolean: bool | None = None
    coded: Concept | None = None
    absent: Concept | None = None
    interpretations: tuple[Concept, ...] = ()
    ranges: tuple[Range, ...] = ()
    result: Result = Result()


class Assessment(msgspec.Struct, frozen=True, omit_defaults=True):
    """A score, a lab value or an antibody at a time. A panel keeps its parts in `components`."""

    source: Source
    status: str | None = None
    identifiers: tuple[Identifier, ...] = ()
    categories: tuple[Concept, ...] = ()
    when: str | None = None
    during: Period | None = None
    issued: str | None = None
    measured: Measured = Measured(Concept())
    components: tuple[Measured, ...] = ()

    @property
    def time(self) -> str | None:
        """When it counts: its moment, or the end of its period; None if neither is known."""
        return self.when or (self.during.end if self.during else None)


class Condition(msgspec.Struct, frozen=True, omit_defaults=True):
    """A diagnosis or a manifestation. Statuses are None where the record has none, which is common."""

    source: Source
    concept: Concept
    clinical_status: str | None = None
    verification_status: str | None = None
    onset: str | None = None
    abatement: str | None = None
    recorded: str | None = None


class Therapy(msgspec.Struct, frozen=True, omit_defaults=True):
    """Another drug, as stated or ordered, and from when to when."""

    source: Source
    medication: Concept
    status: str | None = None
    intent: str | None = None
    period: Period | None = None
    reasons: tuple[Concept, ...] = ()
    status_reason: Concept | None = None


class AdverseEvent(msgspec.Struct, frozen=True, omit_defaults=True):
    """Something untoward that happened to the patient, whether or not the drug had to do with it."""

    source: Source
    event: Concept
    date: str | None = None
    serious: bool | None = None


class Input(msgspec.Struct, frozen=True, omit_defaults=True):
    """One record that an outcome was computed from, and the part it played."""

    role: str
    source: Source
    value: str | None = None


class Outcome(msgspec.Struct, frozen=True, omit_defaults=True):
    """A computed clinical number or date, with its rule and the records it came from.

    `number` and `date` are both None where it cannot be computed, and `reasons` says why. `when` is the time it
    speaks of, None if there is none. `about` is the follow-up record it belongs to, None for one per case.
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


class Case(msgspec.Struct, frozen=True, omit_defaults=True):
    """One patient at one site. `id` is a reference in the store and a pseudonym in an exported document.

    `left_out` counts, by reason, the records that say nothing to this study.
    """

    id: str
    site: str
    timezone: str
    subject: Subject | None = None
    conditions: tuple[Condition, ...] = ()
    administrations: tuple[Administration, ...] = ()
    therapies: tuple[Therapy, ...] = ()
    assessments: tuple[Assessment, ...] = ()
    adverse_events: tuple[AdverseEvent, ...] = ()
    outcomes: tuple[Outcome, ...] = ()
    findings: tuple[Finding, ...] = ()
    left_out: dict[str, int] = {}


FORMAT = "dm-fhir case series"
#: Raised whenever the model changes; model/upgrades.py then says how a document of the version before becomes one of this.
FORMAT_VERSION = 2


class CaseSeries(msgspec.Struct, frozen=True):
    """All cases of a study. `complete_until` is per site; None where that site has never been read completely.

    `written_by` is the program and its version, None in documents of format 1, which did not say.
    """

    title: str
    drug: str
    cases: tuple[Case, ...]
    complete_until: dict[str, str | None]
    pseudonymised: bool = True
    format: str = FORMAT
    format_version: str = str(FORMAT_VERSION)
    written_by: str | None = None
