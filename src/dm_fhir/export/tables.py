"""The tables of an export: which lines each has, and which values of the model. The data dictionary is made from this."""

from collections.abc import Callable, Iterator, Mapping
from datetime import date
from fractions import Fraction
from functools import cached_property
from typing import Any, NamedTuple

from dm_fhir.export.columns import Cell, Column, Row, Spec, columns_of
from dm_fhir.model.case import (
    Administration,
    AdverseEvent,
    Assessment,
    Case,
    CaseSeries,
    Condition,
    Dosing,
    Finding,
    Input,
    Measured,
    Outcome,
    Part,
    Subject,
    Suspect,
    Therapy,
)
from dm_fhir.model.exact import to_text
from dm_fhir.outcomes.battery import exposure_of

Parts = Mapping[str, Any]


class Table:
    """One table: its name, what a line is, how a case's lines are found, its columns. `case` and `site` are the first two."""

    def __init__(
        self, name: str, meaning: str, kinds: Mapping[str, type], parts: Callable[[Case], Iterator[Parts]], *specs: Spec
    ) -> None:
        self.name, self.meaning = name, meaning
        self.kinds = {"case": Case, **kinds}
        self.specs = (*_WHOSE, *specs)
        self._parts = parts

    @cached_property
    def columns(self) -> tuple[Column, ...]:
        """The columns in order; each name is there once."""
        return tuple(column for spec in self.specs for column in columns_of(spec, self.kinds))

    def lines(self, case: Case, day_0: date | None) -> Iterator[tuple[Cell, ...]]:
        """The case's lines, a cell for each column; `day_0` is that of the case (`day_0_of`)."""
        for parts in self._parts(case):
            row = Row(case, day_0, {"case": case, **parts})
            yield tuple(column.get(row) for column in self.columns)


def day_0_of(case: Case) -> date | None:
    """The day of the first infusion; None without one. It takes a look at all of them: once for a case, not for each table."""
    first = exposure_of(case).first
    return first.day if first else None


class Count(NamedTuple):
    """How often something was counted."""

    what: str
    records: int


class Given(NamedTuple):
    """An administration, and whether it was of the study drug."""

    of_study_drug: bool


class Ages(NamedTuple):
    """Ages in completed years, the least and the greatest that the dates allow."""

    at_first_infusion_least: int | None
    at_first_infusion_greatest: int | None
    at_onset_least: int | None
    at_onset_greatest: int | None


class Moved(NamedTuple):
    """What became of partial dates when dates were moved."""

    coarser: int
    left_out: int


class Place(NamedTuple):
    """Which part of a record a line is about: 0 is the first of several, None the record as a whole."""

    number: int | None


class Verdict(NamedTuple):
    """What an outcome comes to by a published definition."""

    definition: str
    verdict: str


def _each(name: str) -> Callable[[Case], Iterator[Parts]]:
    return lambda case: ({"one": one} for one in getattr(case, name))


def _cases(case: Case) -> Iterator[Parts]:
    known = case.subject.ages if case.subject else {}
    start, onset = (known.get(name, (None, None)) for name in ("first_infusion", "onset"))
    moved = Moved(*(case.partial_dates.get(name, 0) for name in Moved._fields))
    yield {"ages": Ages(*start, *onset), "moved": moved}


def _counts(case: Case) -> Iterator[Parts]:
    return ({"count": Count(what, n)} for what, n in case.left_out.items())


def _administrations(case: Case) -> Iterator[Parts]:
    yield from ({"one": one, "given": Given(True)} for one in case.administrations)
    yield from ({"one": one, "given": Given(False)} for one in case.other_administrations)


def _dosings(case: Case) -> Iterator[Parts]:
    return (
        {"one": one, "dosing": dosing, "place": Place(index)}
        for one in case.therapies
        for index, dosing in enumerate(one.dosings)
    )


def _measurements(case: Case) -> Iterator[Parts]:
    for one in case.assessments:
        yield {"one": one, "measured": one.measured, "place": Place(None)}
        for index, part in enumerate(one.components):
            yield {"one": one, "measured": part, "place": Place(index)}


def _suspects(case: Case) -> Iterator[Parts]:
    return ({"one": one, "suspect": suspect} for one in case.adverse_events for suspect in one.suspects)


def _verdicts(case: Case) -> Iterator[Parts]:
    return ({"one": one, "verdict": Verdict(*pair)} for one in case.outcomes for pair in sorted(one.verdicts.items()))


def _parts(case: Case) -> Iterator[Parts]:
    return ({"one": one, "part": part} for one in case.outcomes for part in one.parts)


def _inputs(case: Case) -> Iterator[Parts]:
    return ({"one": one, "input": given} for one in case.outcomes for given in one.inputs)


_WHOSE = (
    Spec("case", "case.id", "the case: one patient at one site"),
    Spec("site", "case.site", "the site, as the study calls it"),
)
_RECORD = (
    Spec("record", "one.source.reference", "the record on the site's server, or its pseudonym"),
    Spec("record_part", "one.source.path", "which part of that record; empty for the whole"),
    Spec("record_version", "one.source.version", "the version of the record; empty where the server counts none"),
)
_WHICH_OUTCOME = (
    Spec("outcome", "one.variable", "which outcome: docs/outcomes.md"),
    Spec("about", "one.about", "the follow-up record that it belongs to"),
    Spec("visit", "one.visit", "the visit that it stands for; last is the end of follow-up"),
)
# fmt: off
TABLES = (
    Table("cases", "one line per case", {"ages": Ages, "moved": Moved}, _cases,
        Spec("person", "case.person", "the same for the same person at every site; empty where that is not known"),
        Spec("timezone", "case.timezone", "where the site's days begin and end"),
        Spec("sex", "case.subject.sex", "administrative gender", values="male, female, other, unknown"),
        Spec("birth_date", "case.subject.birth_date", "date of birth; the year alone unless the export is identified"),
        *(Spec(f"age_{name}", f"ages.{name}", f"age in completed years {name.rpartition('_')[0].replace('_', ' ')}, the {name.rpartition('_')[2]} that the dates allow", "a") for name in Ages._fields),
        Spec("deceased", "case.subject.deceased", "whether the patient is dead"),
        Spec("deceased_at", "case.subject.deceased_at", "when the patient died; the month unless the export is identified", is_date=True),
        Spec("races", "case.subject.races", "races", values="system|code; …"),
        Spec("ethnicities", "case.subject.ethnicities", "ethnicities", values="system|code; …"),
        Spec("test_patient", "case.subject.test_patient", "whether the record is marked as a test"),
        Spec("preliminary_results_count", "case.accepts_preliminary", "whether preliminary results count at this site"),
        Spec("dates_coarser", "moved.coarser", "how many partial dates became coarser when dates were moved"),
        Spec("dates_left_out", "moved.left_out", "how many partial dates were left out when dates were moved"),
    ),
    Table("left_out", "how many records of a case were not used, by reason", {"count": Count}, _counts,
        Spec("reason", "count.what", "the type of the records, and why they say nothing to the study"),
        Spec("records", "count.records", "how many"),
    ),
    Table("administrations", "one line per administration of a drug", {"one": Administration, "given": Given}, _administrations, *_RECORD,
        Spec("of_study_drug", "given.of_study_drug", "whether it is the study drug"),
        Spec("drug", "one.medication", "the drug"),
        Spec("status", "one.status", "the status as recorded"),
        Spec("method_status", "one.method_status", "what the dosage method means for the status, by the site's table"),
        Spec("when", "one.when", "when it was given", is_date=True),
        Spec("during", "one.during", "the time over which it was given"),
        Spec("dose_mg", "one.dose_mg", "the dose", "mg"),
        Spec("dose", "one.dose", "the dose as recorded"),
        Spec("rate", "one.rate", "the rate as recorded"),
        Spec("route", "one.route", "the route"),
        Spec("reasons", "one.reasons", "why it was given"),
        Spec("status_reasons", "one.status_reasons", "why it was not given, or broken off"),
        Spec("flags", "one.flags", "what is doubtful about the dose"),
    ),
    Table("therapies", "one line per order or statement of another drug", {"one": Therapy}, _each("therapies"), *_RECORD,
        Spec("drug", "one.medication", "the drug"),
        Spec("status", "one.status", "the status as recorded"),
        Spec("intent", "one.intent", "plan or order; empty for a statement"),
        Spec("when", "one.when", "the moment that a statement speaks of", is_date=True),
        Spec("authored", "one.authored", "when an order was written", is_date=True),
        Spec("period", "one.period", "from when to when"),
        Spec("reasons", "one.reasons", "why it is taken"),
        Spec("status_reasons", "one.status_reasons", "why it was stopped or not taken"),
        Spec("supplied", "one.supplied_during", "when a pharmacy may give it, which does not say that it was taken"),
        Spec("supplied_for", "one.supplied_for", "for how long a pharmacy may give it"),
    ),
    Table("dosings", "one line per instruction of how a drug is taken", {"one": Therapy, "dosing": Dosing, "place": Place}, _dosings, *_RECORD,
        Spec("instruction", "place.number", "which of the record's instructions; the first is 0"),
        Spec("drug", "one.medication", "the drug"),
        Spec("mg_per_day", "dosing.mg_per_day", "what is taken a day", "mg/d"),
        Spec("dose_mg", "dosing.dose_mg", "what is taken at one time", "mg"),
        Spec("reasons", "dosing.reasons", "why there is no dose a day"),
        Spec("systemic", "dosing.systemic", "whether the route takes the drug to the whole body; empty where the tables do not tell"),
        Spec("as_needed", "dosing.as_needed", "whether it is taken as needed"),
        Spec("route", "dosing.route", "the route"),
        Spec("often", "dosing.timing.code", "how often, where it is a habit such as twice a day"),
        Spec("frequency", "dosing.timing.frequency", "so many times …"),
        Spec("in_period", "dosing.timing.period", "… in so many …"),
        Spec("period_unit", "dosing.timing.period_unit", "… of these", values="s, min, h, d, wk, mo, a"),
        Spec("bounds", "dosing.timing.during", "from when to when"),
    ),
    Table("assessments", "one line per result: a score, a lab value, an antibody, and each part of a panel",
        {"one": Assessment, "measured": Measured, "place": Place}, _measurements, *_RECORD,
        Spec("component", "place.number", "which part of the record; the first is 0, empty for the record itself"),
        Spec("variable", "measured.concept", "what was measured"),
        Spec("status", "one.status", "the status as recorded"),
        Spec("when", "one.time", "when it counts", is_date=True),
        Spec("issued", "one.issued", "when it was made known", is_date=True),
        Spec("number", "measured.result.number", "the value in the variable's unit", "see unit"),
        Spec("unit", "measured.result.unit", "the variable's unit (UCUM)"),
        Spec("bound", "measured.result.bound", "whether the number is exact, or on which side a comparator bounds it", values="exact, or the side"),
        Spec("answer", "measured.result.answer", "the meaning of a coded result", values="positive, negative, …"),
        Spec("reason", "measured.result.reason", "why there is no number or answer to use"),
        Spec("flags", "measured.result.flags", "what is doubtful about the number"),
        Spec("reference_low", "measured.result.reference_low", "the lower end of the record's own reference range", "see unit"),
        Spec("reference_high", "measured.result.reference_high", "the upper end of the record's own reference range", "see unit"),
        Spec("recorded", "measured.quantity", "the amount as recorded"),
        Spec("recorded_integer", "measured.integer", "the whole number as recorded"),
        Spec("recorded_boolean", "measured.boolean", "yes or no as recorded"),
        Spec("recorded_answer", "measured.coded", "the coded result as recorded"),
        Spec("recorded_text", "measured.string", "the result in words; only in an identified export"),
        Spec("absent", "measured.absent", "why the record has no value"),
        Spec("interpretations", "measured.interpretations", "the laboratory's own judgement"),
        Spec("questionnaire", "one.questionnaire", "the form whose answers gave the score"),
        Spec("members", "one.members", "the records of a panel's parts"),
        Spec("derived_from", "one.derived_from", "the records that it was made of"),
    ),
    Table("conditions", "one line per diagnosis or manifestation", {"one": Condition}, _each("conditions"), *_RECORD,
        Spec("condition", "one.concept", "what it is"),
        Spec("clinical_status", "one.clinical_status", "the clinical status as recorded"),
        Spec("verification_status", "one.verification_status", "how certain it is, as recorded"),
        Spec("severity", "one.severity", "how bad it is"),
        Spec("onset", "one.onset", "when it began", is_date=True),
        Spec("onset_age", "one.onset_age", "the age at which it began, where the record says that"),
        Spec("abatement", "one.abatement", "when it ended", is_date=True),
        Spec("abatement_age", "one.abatement_age", "the age at which it ended, where the record says that"),
        Spec("recorded", "one.recorded", "when it was recorded", is_date=True),
        Spec("body_sites", "one.body_sites", "where on the body"),
        Spec("stages", "one.stages", "stages"),
    ),
    Table("adverse_events", "one line per adverse event", {"one": AdverseEvent}, _each("adverse_events"), *_RECORD,
        Spec("event", "one.event", "what happened"),
        Spec("status", "one.status", "the status as recorded"),
        Spec("actuality", "one.actuality", "whether it happened", values="actual, potential"),
        Spec("date", "one.date", "when it happened", is_date=True),
        Spec("detected", "one.detected", "when it was noticed", is_date=True),
        Spec("recorded", "one.recorded", "when it was recorded", is_date=True),
        Spec("resolved", "one.resolved", "when it was over", is_date=True),
        Spec("serious", "one.serious", "whether it met a criterion of seriousness; empty where that is not said"),
        Spec("severity", "one.severity", "how bad it was"),
        Spec("grade", "one.grade", "CTCAE grade", values="1 to 5"),
        Spec("outcome", "one.outcome", "how it ended"),
        Spec("led_to_stop", "one.led_to_stop", "whether the drug was stopped for it; empty where that is not said"),
        Spec("left_study", "one.left_study", "whether the patient left the study for it; empty where that is not said"),
        Spec("expected", "one.expected", "whether it was to be expected; empty where that is not said"),
    ),
    Table("suspects", "one line per thing that may have caused an adverse event", {"one": AdverseEvent, "suspect": Suspect}, _suspects, *_RECORD,
        Spec("suspect", "suspect.reference", "the record of what may have caused it"),
        Spec("drug", "suspect.drug", "the drug behind it"),
        Spec("cause", "suspect.concept", "what may have caused it, where no record is named"),
        Spec("relatedness", "suspect.relatedness", "how likely those who judged it found that"),
    ),
    Table("outcomes", "one line per computed outcome", {"one": Outcome}, _each("outcomes"), *_WHICH_OUTCOME,
        Spec("when", "one.when", "the time that it speaks of", is_date=True),
        Spec("number", "one.number", "the number", "see unit"),
        Spec("unit", "one.unit", "its unit (UCUM)"),
        Spec("date", "one.date", "the date, where the outcome is one", is_date=True),
        Spec("answer", "one.answer", "the answer, where the outcome is one", values="yes, no, or a word of the rule"),
        Spec("reasons", "one.reasons", "why it cannot be computed"),
        Spec("flags", "one.flags", "what is doubtful about it"),
        Spec("rule", "one.rule", "the rule"),
        Spec("rule_version", "one.rule_version", "the version of the rule"),
    ),
    Table("verdicts", "one line per outcome and published definition", {"one": Outcome, "verdict": Verdict}, _verdicts, *_WHICH_OUTCOME,
        Spec("definition", "verdict.definition", "the threshold or the set of bands: docs/outcomes.md"),
        Spec("verdict", "verdict.verdict", "what the outcome comes to by it", values="yes, no, or the name of a band"),
    ),
    Table("parts", "one line per measure of a composite outcome", {"one": Outcome, "part": Part}, _parts, *_WHICH_OUTCOME,
        Spec("measure", "part.measure", "the measure of the core set"),
        Spec("variable", "part.variable", "what it was measured by; empty where it was not"),
        Spec("points", "part.points", "its points in the Total Improvement Score", "{score}"),
        Spec("percent_of_range", "part.percent_of_range", "its improvement in percent of the range of its scale, positive is better", "%"),
        Spec("percent_of_baseline", "part.percent_of_baseline", "its improvement in percent of its baseline, positive is better", "%"),
        Spec("between", "part.between", "between what percentages it lies, where a bound leaves it open"),
        Spec("reasons", "part.reasons", "why something is not known of it"),
    ),
    Table("inputs", "one line per record that an outcome was computed from", {"one": Outcome, "input": Input}, _inputs, *_WHICH_OUTCOME,
        Spec("role", "input.role", "the part that the record plays"),
        Spec("record", "input.source.reference", "the record on the site's server, or its pseudonym"),
        Spec("record_part", "input.source.path", "which part of that record; empty for the whole"),
        Spec("record_version", "input.source.version", "the version of the record that was used"),
        Spec("value", "input.value", "what was taken from it"),
    ),
    Table("findings", "one line per thing that was unusual in a record", {"one": Finding}, _each("findings"),
        Spec("code", "one.code", "what it is: docs/findings.md"),
        Spec("severity", "one.severity", "how grave it is", values="error, warning, information"),
        Spec("record", "one.reference", "the record on the site's server, or its pseudonym"),
        Spec("path", "one.path", "the element of the record; empty for the whole"),
        Spec("done", "one.done", "what was done"),
    ),
)
# fmt: on
#: What only the document has: fields of the model that no table shows.
NOT_IN_TABLES: Mapping[type, tuple[str, ...]] = {
    Subject: ("source", "active", "identifiers", "birth_date_absent", "race_details", "ethnicity_details", "links"),
    Administration: ("identifiers", "part_of", "request", "medication_reference", "strength", "rate_ratio", "method"),
    Therapy: ("identifiers", "based_on", "medication_reference", "strength"),
    Dosing: ("sequence", "text", "as_needed_for", "method", "doses"),
    Assessment: ("identifiers", "categories", "specimen", "during", "timing", "when"),
    Measured: ("value_range", "ratio", "date_time", "time_of_day", "period", "sampled", "ranges"),
    Condition: (
        "identifiers",
        "categories",
        "onset_during",
        "onset_ages",
        "onset_text",
        "abatement_during",
        "abatement_ages",
        "abatement_text",
        "evidence",
    ),
    AdverseEvent: (
        "identifier",
        "seriousness",
        "criteria",
        "grading",
        "actions",
        "resulting_conditions",
        "resulting_effects",
    ),
    Suspect: ("backported",),
    Part: ("verdicts",),
}  # fmt: skip
#: The columns of the two tables that are not about cases.
STUDY = ("site", "item", "value")
DICTIONARY = ("table", "column", "type", "unit", "meaning", "values")
NAMES = (*(table.name for table in TABLES), "study", "dictionary")


def study(head: CaseSeries) -> Iterator[tuple[Cell, ...]]:
    """What holds for the whole series, an item a line; `site` is empty but for what is a site's own."""
    plain = {
        "title": head.title, "drug": head.drug, "format_version": head.format_version, "written_by": head.written_by,
        "pseudonymised": "true" if head.pseudonymised else "false", "dates": head.dates,
    }  # fmt: skip
    yield from ((None, item, value) for item, value in plain.items())
    yield from ((None, "difference", text) for text in head.differences)
    yield from ((site, "complete_until", until) for site, until in sorted(head.complete_until.items()))
    yield from ((None, f"definition: {item}", value) for item, value in _definitions(head))


def _definitions(head: CaseSeries) -> Iterator[tuple[str, str]]:
    for visit in head.definitions.visits:
        yield f"visit {visit.name}", f"day {visit.day} ({visit.first_day} to {visit.last_day})"
    for name in head.definitions.__struct_fields__:
        value = getattr(head.definitions, name)
        if isinstance(value, dict):
            yield from ((f"{name} {key}", to_text(number)) for key, number in sorted(value.items()))
        elif name != "visits" and value is not None:
            yield name, to_text(value) if isinstance(value, Fraction) else str(value).lower()


def dictionary() -> Iterator[tuple[Cell, ...]]:
    """Every column of every table: its type, unit, meaning and values."""
    for table in TABLES:
        yield table.name, "", "", "", table.meaning, ""
        for column in table.columns:
            yield table.name, column.name, _TYPES[column.kind], column.unit, column.meaning, column.values
    yield "study", "", "", "", "what holds for the whole series, an item a line", ""
    for name, meaning in zip(STUDY, ("the site, where the item is its own", "what it is", "what it says"), strict=True):
        yield "study", name, "text", "", meaning, ""


_TYPES = {
    "text": "text", "date": "date, may be partial", "integer": "whole number", "boolean": "true, false or empty",
    "exact": "exact number as text", "decimal": "decimal number", "recorded": "number as recorded, as text",
}  # fmt: skip
