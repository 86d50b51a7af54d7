"""Every kind of finding: its stable code, how grave it is, what it means, what was done, how to mend it.

A new kind is a row in `KINDS`; `make findings` writes it into docs/findings.md. Codes are an interface: they stay, and keep
their meaning. Where the clinical rules have a name for a reason, that name is the code.
"""

from collections.abc import Iterable
from typing import Literal, NamedTuple

from dm_fhir.model.case import Finding

#: From the gravest: a record is not used and the run is partial; a value or a record is not used; worth knowing.
Severity = Literal["error", "warning", "information"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "information")


class Kind(NamedTuple):
    """What all findings of one code have in common, in words that follow a colon."""

    severity: Severity
    meaning: str
    done: str
    mend: str


# fmt: off
KINDS: dict[str, Kind] = {
    "after_death": Kind("warning", "it is said to have happened after the patient's death", "the record is not used", "the hospital corrects the time, or Patient.deceasedDateTime"),
    "birth_date_missing": Kind("information", "no date of birth", "ages are unknown, but for those that a record states", "nothing, where the data are de-identified"),
    "comparator": Kind("warning", "a comparator that FHIR does not have", "the value is not used", "the hospital corrects the record"),
    "conflict": Kind("warning", "the record contradicts itself, or another of equal rank contradicts it", "neither value is used", "the hospital amends the one that is wrong"),
    "death_undated": Kind("information", "the patient is dead, and no day of death is recorded", "nothing is censored", "the hospital records Patient.deceasedDateTime"),
    "dose_missing": Kind("information", "a drug without a dose", "no daily dose", "nothing, where the hospital has none"),
    "dose_unknown": Kind("information", "a dose from which no milligrams a day can be made", "no daily dose", "what is missing stands in the finding: a unit, the strength of a tablet, how often; a habit such as BID can have a [[timing]] row in the site's table"),
    "duplicate": Kind("information", "the same result twice", "it counts once", "nothing"),
    "form_differs": Kind("warning", "a questionnaire and the Observation of the same score say different things", "the Observation stands, the questionnaire is not used", "the hospital corrects the one that is wrong"),
    "impossible_if_same_patients": Kind("error", "of a whole cohort: the mean age at the first infusion lies below the mean age at diagnosis, of as many patients", "both are shown as recorded, and years from the one to the other are withheld", "see who is listed as diagnosed after the first infusion; the hospital corrects dates of birth or onset"),
    "judgement_without_meaning": Kind("information", "a judgement on an adverse event that no table knows", "it is kept as recorded and not counted", "give its code a row of its kind ([[ae_relatedness]], [[ae_outcome]], …) in the site's table"),
    "linked": Kind("information", "Patient.link names another record of this person without saying that one replaces the other", "they are not merged", "where they are the same person, the hospital sets replaced-by"),
    "medication_unresolved": Kind("warning", "a record refers to a Medication that is not here, or that cannot be read", "the record is not counted: which drug it was is unknown", "pull again; if it stays, the hospital must give access to that Medication, or put the code into the record"),
    "merge_incomplete": Kind("warning", "the hospital says that this record goes on under another, which is not here", "the case is made of the records that are here", "pull the other record: dm-fhir pull --patient"),
    "merge_unclear": Kind("warning", "the links between a person's records go in a circle, or to several records", "one case; the first record by reference stands for the person", "the hospital mends Patient.link"),
    "merged": Kind("information", "the hospital says that this record is the same person as another", "its records are counted in one case with the other's", "nothing"),
    "method_without_meaning": Kind("information", "no table says what this dosage method means for the administration", "the status decides", "give the method's code a [[method]] row in the site's table"),
    "modifier_unknown": Kind("warning", "a modifier extension that may turn an adverse event into its opposite", "the record is not used", "tell the authors of dm-fhir which extension it is"),
    "not_comparable": Kind("information", "of a whole cohort: mean age at diagnosis and mean age at the first infusion are of different numbers of patients", "they are shown, each with its number, and not compared", "the hospital completes dates of birth and onset"),
    "onset_no_date": Kind("information", "an onset given as age, range, words or a period over years", "it is kept as recorded; its date is unknown", "nothing"),
    "out_of_range": Kind("warning", "the number lies outside the scale of its variable", "the value is not used", "the hospital corrects the record; or the code or unit is mapped to the wrong variable: check the site's table"),
    "period_reversed": Kind("warning", "a period that ends before it begins", "it is read as it is written", "the hospital corrects the record"),
    "route_without_meaning": Kind("information", "a route of administration that no table knows", "whether the drug is systemic stays open", "give the route's code a [[route]] row in the site's table"),
    "scale_ambiguous": Kind("warning", "an MMT8 that may be on the scale to 80 or to 150", "the value is not used", "state the scale in the site's table: the code under mmt8_80 or mmt8_150, or scale in its row"),
    "scale_conflict": Kind("warning", "code, reference range, parts and value of an MMT8 speak for different scales", "the value is not used", "the hospital corrects the record; or the code is mapped to the wrong scale: check the site's table"),
    "several_meanings": Kind("information", "the codes of one condition mean several things", "the one that says most is taken", "nothing, where both are true; else check the site's table"),
    "status_excluded": Kind("information", "a result whose status does not count: preliminary, cancelled, entered in error, unknown, …", "the result is not used", "nothing; preliminary results count where the site's table says [observations] preliminary = true"),
    "superseded": Kind("information", "an amendment or a later issue of the same result stands in its place", "the earlier one is not used", "nothing"),
    "time_missing": Kind("warning", "a result without a time", "the result is not used: when it was is not known", "the hospital records effective[x]"),
    "time_unreadable": Kind("warning", "a time that is no FHIR date or dateTime, or none that a record can mean", "the time is treated as unknown", "the hospital corrects the record"),
    "timing_not_expanded": Kind("warning", "a Timing in the place of one time", "the record is one event, its time is not known", "the hospital sends one record for each event"),
    "timing_of_one_event": Kind("information", "a Timing that names one moment", "it is read as that one event", "nothing"),
    "two_or_more_items_missing": Kind("warning", "a DLQI of which two or more items were left out", "there is no score", "nothing"),
    "unit_incompatible": Kind("warning", "a unit that the tables do not convert for this variable", "the value is not used", "if it means a known unit, add it with its factor to units of the variable in the site's table"),
    "unit_missing": Kind("warning", "a number without a unit, for a variable that needs one", "the value is not used", "the hospital sends the unit; or, where it is certain, unitless = true for the variable in the site's table"),
    "unreadable": Kind("error", "the record does not have the types that FHIR says, or has a key twice", "the record is kept and not used", "dm-fhir validate names place and line; the hospital corrects the record"),
    "use_cdlqi": Kind("warning", "a DLQI of somebody who was surely under 16", "the value is not used", "map the children's questionnaire to cdlqi"),
    "value_is_string": Kind("warning", "a value that is text", "the value is not used", "the hospital sends a Quantity; or, where the text is a number with its unit, parse_text = true in the site's table"),
    "value_missing": Kind("warning", "a result without a value", "there is nothing to use; it counts as missing, never as 0 or normal", "nothing, where the hospital has none"),
    "value_not_a_number": Kind("warning", "a value that is no number: a range, a ratio, a time, a series, yes or no", "the value is not used", "the hospital sends a Quantity"),
    "value_not_mapped": Kind("warning", "a coded result whose code has no meaning in the tables", "the value is not used", "give the code an [[answer]] row, or a worth in values, in the site's table"),
    "zone_assumed": Kind("information", "a time without a zone", "it is read in the site's time zone", "see that timezone of the site is right; the hospital sends the zone"),
}
# fmt: on


def finding(code: str, reference: str, path: str | None = None, *, done: str | None = None) -> Finding:
    """A finding of the kind `code` about the record `reference`; the only way to make one.

    `path` is the FHIRPath of the element below the resource (`component[2].value`), None for the whole record. `done` is what
    was done with this very one, where it is more exact than what the kind says. Raises KeyError for a code that is in no row.
    """
    kind = KINDS[code]
    return Finding(code, kind.severity, reference, done or kind.done, path)


def by_severity(codes: Iterable[str]) -> list[str]:
    """The codes, the gravest first, then by name; a code of another version counts as a warning."""
    return sorted(codes, key=lambda code: (SEVERITIES.index(severity_of(code)), code))


def severity_of(code: str) -> Severity:
    """How grave findings of this code are."""
    return KINDS[code].severity if code in KINDS else "warning"


def meaning_of(code: str) -> str:
    """What findings of this code mean; the code in words where a later or earlier version made it."""
    return KINDS[code].meaning if code in KINDS else code.replace("_", " ")


def done_of(code: str) -> str:
    """What was done with records of which there are findings of this code; empty where another version made it."""
    return KINDS[code].done if code in KINDS else ""


def documentation() -> str:
    """The page docs/findings.md, in Markdown."""
    rows = "\n".join(
        f"| `{code}` | {kind.severity} | {kind.meaning} | {kind.done} | {kind.mend} |"
        for code, kind in sorted(KINDS.items())
    )
    return (
        f"{_INTRODUCTION}\n| code | severity | meaning | what was done | how to mend |\n|---|---|---|---|---|\n{rows}\n"
    )


_INTRODUCTION = """\
# Findings

Whatever is unusual in a record is a finding: a code from this table, the record's reference, the element's path, what was
done. `dm-fhir findings` lists them, with the record to look up; `dm-fhir status` and the report count them by code, and a
case series carries those of its cases. They name references, never names, dates of birth, identifiers or values.

- **error**: the record is not used, and `compute` ends with exit code 3 until it is mended.
- **warning**: a value, a time or a record is not used, or who it belongs to is not certain.
- **information**: used as it is; worth knowing.

Codes keep their meaning from release to release. What a site's table mends is read again by `dm-fhir compute`, without a
pull. What could not be computed, and why, is told by the outcomes: [outcomes.md](outcomes.md).
"""
