"""What the model holds comes back from FHIR unchanged, through real bytes.

Parts are built as the mappings build them: what the tables say of a record (variable, result, dose in mg, method
status) is derived from what was recorded by the same public functions, never invented. Text is never empty, as FHIR
demands of strings.
"""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from dm_fhir.mappings import measured as values
from dm_fhir.mappings import medication_administration, observation, patient
from dm_fhir.mappings.datatypes import concept_out, read, write
from dm_fhir.mappings.dose import dose_in_mg
from dm_fhir.mappings.medication import Medication
from dm_fhir.model.case import (
    Administration,
    Assessment,
    Coding,
    Link,
    Measured,
    Range,
    Ratio,
    Subject,
)

from .generated import (
    IDENTIFIERS,
    MODEST,
    MOMENTS,
    PERIODS,
    QUANTITIES,
    RATIOS,
    REFERENCES,
    TABLES,
    TEXTS,
    concepts,
    few,
    maybe,
    meant,
    sources,
)

SUBJECT = "Patient/1"

SUBJECTS = st.builds(
    Subject,
    source=sources("Patient"),
    active=maybe(st.booleans()),
    identifiers=IDENTIFIERS,
    sex=maybe(st.sampled_from(["male", "female", "other", "unknown"])),
    birth_date=maybe(MOMENTS),
    birth_date_absent=maybe(TEXTS),
    deceased=maybe(st.booleans()),
    deceased_at=maybe(MOMENTS),
    races=few(st.builds(Coding, maybe(TEXTS), maybe(TEXTS), maybe(TEXTS))),
    race_details=few(st.builds(Coding, maybe(TEXTS), maybe(TEXTS), maybe(TEXTS))),
    ethnicity_details=few(st.builds(Coding, maybe(TEXTS), maybe(TEXTS), maybe(TEXTS))),
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
    drug = draw(maybe(meant("medication")))
    local = st.just("#med")
    reference = draw(maybe(local | st.just("Medication/m1") | st.just("https://example.org/r4/Medication/m1")))
    dose = draw(maybe(QUANTITIES))
    dose_mg, flags = dose_in_mg(dose, drug, TABLES)
    method = draw(maybe(concepts("method")))
    meaning = TABLES.row("method", method.codings) if method else None
    return Administration(
        source=draw(sources("MedicationAdministration")),
        status=draw(maybe(st.sampled_from(["completed", "stopped", "not-done", "entered-in-error", "something-else"]))),
        identifiers=draw(IDENTIFIERS),
        part_of=draw(few(REFERENCES)),
        request=draw(maybe(TEXTS)),
        reasons=draw(few(concepts("answer"))),
        status_reasons=draw(few(concepts("answer"))),
        medication=drug,
        medication_reference=reference,
        strength=draw(maybe(RATIOS)) if reference == "#med" and drug is not None else None,
        when=draw(maybe(MOMENTS)),
        during=draw(maybe(PERIODS)),
        dose=dose,
        rate=draw(maybe(QUANTITIES)),
        rate_ratio=draw(maybe(RATIOS)),
        route=draw(maybe(meant("route"))),
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

    assert medication_administration.from_fhir(record, administration.source, TABLES, on_the_server) == administration
