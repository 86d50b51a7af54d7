"""What the model holds comes back from FHIR unchanged, through real bytes.

Parts are built as the mappings build them: what the tables say of a record (variable, result, dose in mg, method
status) is derived from what was recorded by the same public functions, never invented. Text is never empty, as FHIR
demands of strings.
"""

from decimal import Decimal
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from dm_fhir.mappings import measured as values
from dm_fhir.mappings import medication_administration, observation, patient
from dm_fhir.mappings.codes import Tables, load_tables
from dm_fhir.mappings.datatypes import concept_out, read, write
from dm_fhir.mappings.medication import Medication
from dm_fhir.model.case import (
    Administration,
    Assessment,
    Coding,
    Concept,
    Identifier,
    Link,
    Measured,
    Period,
    Quantity,
    Range,
    Ratio,
    Source,
    Subject,
)

TABLES = load_tables()
SUBJECT = "Patient/1"
MODEST = settings(
    max_examples=100, deadline=None, derandomize=True, database=None, suppress_health_check=[HealthCheck.too_slow]
)


def maybe(strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.none() | strategy


def few(strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[tuple[Any, ...]]:
    return st.lists(strategy, max_size=3).map(tuple)


TEXTS = st.text(st.characters(codec="utf-8"), min_size=1, max_size=12)
IDS = st.text("ABCabc019-.", min_size=1, max_size=64)
MOMENTS = st.sampled_from(
    ["2024", "2024-03", "2024-03-05", "2024-03-05T10:00:00-04:00", "2124-02-29T23:59:60.123456789Z", "2024-03-05T10:00"]
)
NUMBERS = st.decimals(allow_nan=False, allow_infinity=False) | st.sampled_from(
    [
        Decimal("24.50"),
        Decimal("0"),
        Decimal("0.00"),
        Decimal("1E+3"),
        Decimal("-1.5"),
        Decimal("3." + "1234567890" * 5),
    ]
)


def with_methods() -> Tables:
    """The shipped tables give no dosage method a meaning; a site's does."""
    row = TABLES.rows["answer", "positive"]
    known = {
        ("method", *key[1:]): replace(row, kind="method", variable="not-done")
        for key in TABLES.by_code
        if key[0] == "answer"
    }
    return replace(TABLES, by_code=TABLES.by_code | known)


METHODS = with_methods()
KNOWN_CODES = sorted(METHODS.by_code)


def codings(kind: str) -> st.SearchStrategy[Coding]:
    """Codes that the tables know as `kind`, and codes that nobody knows."""
    known = [Coding(system, code) for found, system, code in KNOWN_CODES if found == kind]
    unknown = st.builds(Coding, maybe(TEXTS), maybe(TEXTS), maybe(TEXTS))
    return st.sampled_from(known) | unknown if known else unknown


def concepts(kind: str) -> st.SearchStrategy[Concept]:
    """As recorded; which variable it is, only the tables say."""
    return st.builds(Concept, few(codings(kind)), maybe(TEXTS))


UNITS = st.sampled_from(["mg", "g", "mL", "{vial}", "U/L", "ukat/L", "{score}", "1", "IU/L", "??"])
QUANTITIES = st.builds(
    Quantity,
    maybe(NUMBERS),
    maybe(st.sampled_from(["<", "<=", ">=", ">"])),
    maybe(UNITS),
    maybe(st.just("http://unitsofmeasure.org")),
    maybe(UNITS),
)
IDENTIFIERS = few(st.builds(Identifier, maybe(TEXTS), maybe(TEXTS)))
PERIODS = st.builds(Period, maybe(MOMENTS), maybe(MOMENTS))


def sources(kind: str) -> st.SearchStrategy[Source]:
    return st.builds(lambda id, version: Source("north", f"{kind}/{id}", version), IDS, maybe(IDS))


SUBJECTS = st.builds(
    Subject,
    source=sources("Patient"),
    active=maybe(st.booleans()),
    identifiers=IDENTIFIERS,
    sex=maybe(st.sampled_from(["male", "female", "other", "unknown"])),
    birth_date=maybe(MOMENTS),
    deceased=maybe(st.booleans()),
    deceased_at=maybe(MOMENTS),
    races=few(st.builds(Coding, maybe(TEXTS), maybe(TEXTS), maybe(TEXTS))),
    ethnicities=few(st.builds(Coding, maybe(TEXTS), maybe(TEXTS), maybe(TEXTS))),
    links=few(st.builds(Link, TEXTS | st.just(""), st.sampled_from(["replaced-by", "replaces", "refer", "seealso"]))),
    test_patient=st.booleans(),
)


@MODEST
@given(SUBJECTS)
def test_a_subject_comes_back(subject: Subject) -> None:
    assert patient.from_fhir(read(write(patient.to_fhir(subject)), patient.Patient), subject.source) == subject


RANGES = st.builds(
    Range,
    maybe(QUANTITIES),
    maybe(QUANTITIES),
    maybe(TEXTS),
    maybe(concepts("answer")),
    few(concepts("answer")),
    maybe(QUANTITIES),
    maybe(QUANTITIES),
)
MEASURED = st.builds(
    Measured,
    concept=concepts("measurement"),
    interpretations=few(concepts("answer")),
    ranges=few(RANGES),
)
VALUES = st.one_of(
    st.just({}),
    st.fixed_dictionaries({"quantity": QUANTITIES}),
    st.fixed_dictionaries({"integer": st.integers(-(2**31), 2**31 - 1)}),
    st.fixed_dictionaries({"string": TEXTS}),
    st.fixed_dictionaries({"boolean": st.booleans()}),
    st.fixed_dictionaries({"coded": concepts("answer")}),
    st.fixed_dictionaries({"value_range": st.builds(Range, maybe(QUANTITIES), maybe(QUANTITIES))}),
    st.fixed_dictionaries({"ratio": st.builds(Ratio, maybe(QUANTITIES), maybe(QUANTITIES))}),
    st.fixed_dictionaries({"date_time": MOMENTS}),
    st.fixed_dictionaries({"time_of_day": st.just("10:00:00")}),
    st.fixed_dictionaries({"period": PERIODS}),
    st.just({"sampled": True}),
    st.fixed_dictionaries({"integer": st.integers(0, 9), "absent": concepts("answer")}),
    st.fixed_dictionaries({"string": TEXTS, "quantity": QUANTITIES}),
    st.fixed_dictionaries({"absent": concepts("answer")}),
)


def measured(component_count: int = 0) -> st.SearchStrategy[Measured]:
    """A code and its value, evaluated by the tables as the mapping does it."""

    def evaluate(recorded: Measured, value: dict[str, Any]) -> Measured:
        concept = TABLES.concept("measurement", recorded.concept.codings, recorded.concept.text)
        return values.evaluated(replace(recorded, concept=concept, **value), TABLES, component_count)

    return st.builds(evaluate, MEASURED, VALUES)


@st.composite
def assessments(draw: st.DrawFn) -> Assessment:
    components = draw(few(measured()) | st.lists(measured(), min_size=8, max_size=8).map(tuple))
    members = draw(few(TEXTS) | st.lists(TEXTS, min_size=15, max_size=15).map(tuple))
    return Assessment(
        source=draw(sources("Observation")),
        status=draw(maybe(st.sampled_from(["final", "amended", "entered-in-error", "something-else"]))),
        identifiers=draw(IDENTIFIERS),
        categories=draw(few(concepts("answer"))),
        when=draw(maybe(MOMENTS)),
        during=draw(maybe(PERIODS)),
        timing=draw(maybe(few(MOMENTS))),
        issued=draw(maybe(MOMENTS)),
        specimen=draw(maybe(TEXTS)),
        measured=draw(measured(len(components) or len(members))),
        components=components,
        members=members,
        derived_from=draw(few(TEXTS)),
    )


@MODEST
@given(assessments())
def test_an_assessment_comes_back(assessment: Assessment) -> None:
    body = write(observation.to_fhir(assessment, SUBJECT))

    assert observation.from_fhir(read(body, observation.Observation), assessment.source, TABLES) == assessment


@st.composite
def administrations(draw: st.DrawFn) -> Administration:
    """Of a drug that is named by codes, or by reference to a Medication: contained, on the server, or gone."""
    drug = draw(maybe(concepts("medication").map(lambda c: TABLES.concept("medication", c.codings, c.text))))
    local = st.just("#med")
    reference = draw(maybe(local | st.just("Medication/m1") | st.just("https://example.org/r4/Medication/m1")))
    dose = draw(maybe(QUANTITIES))
    dose_mg, flags = medication_administration.dose_in_mg(dose, drug, TABLES)
    method = draw(maybe(concepts("method")))
    meaning = METHODS.row("method", method.codings) if method else None
    return Administration(
        source=draw(sources("MedicationAdministration")),
        status=draw(maybe(st.sampled_from(["completed", "stopped", "not-done", "entered-in-error", "something-else"]))),
        identifiers=draw(IDENTIFIERS),
        part_of=draw(few(TEXTS | st.just(""))),
        status_reasons=draw(few(concepts("answer"))),
        medication=drug,
        medication_reference=reference,
        when=draw(maybe(MOMENTS)),
        during=draw(maybe(PERIODS)),
        dose=dose,
        route=draw(maybe(concepts("answer"))),
        method=method,
        method_status=meaning.variable if meaning else None,
        dose_mg=dose_mg,
        flags=flags,
    )


@MODEST
@given(administrations())
def test_an_administration_comes_back(administration: Administration) -> None:
    drug = administration.medication
    on_the_server = {"Medication/m1": Medication(id="m1", code=concept_out(drug))} if drug is not None else {}
    record = read(
        write(medication_administration.to_fhir(administration, SUBJECT)),
        medication_administration.MedicationAdministration,
    )

    assert medication_administration.from_fhir(record, administration.source, METHODS, on_the_server) == administration
