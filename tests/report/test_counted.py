"""What the report counts: nothing is lost where cases are held without their sources, nothing known where records leave it open."""

from msgspec.structs import replace

from dm_fhir.model.case import Assessment, Case, Concept, Identifier, Input, Measured, Outcome, Result, Source
from dm_fhir.model.definitions import Definitions
from dm_fhir.model.document import encode
from dm_fhir.report.figures.presence import presence
from dm_fhir.report.sections import figures_of, sections, tables_of
from dm_fhir.report.sentences import sentences
from dm_fhir.report.series import without_sources
from dm_fhir.statistics.cohort import Cohort

DRUG = "anifrolumab"


def test_without_the_sources_of_its_outcomes_a_case_counts_alike(twenty_four: tuple[Case, ...]) -> None:
    bare = tuple(map(without_sources, twenty_four))
    whole, less = (sections(Cohort(cases), DRUG, Definitions()) for cases in (twenty_four, bare))

    assert sentences(bare, DRUG) == sentences(twenty_four, DRUG)
    assert tables_of(less) == tables_of(whole)
    assert [one.rows for one in figures_of(less)] == [one.rows for one in figures_of(whole)]


def test_a_case_as_the_report_holds_it_is_a_fraction_of_what_it_is(twenty_four: tuple[Case, ...]) -> None:
    whole, bare = twenty_four, tuple(map(without_sources, twenty_four))

    assert sum(len(encode(one)) for one in bare) < 0.6 * sum(len(encode(one)) for one in whole)
    assert len({id(one.verdicts) for case in bare for one in case.outcomes}) < 0.1 * sum(
        len(case.outcomes) for case in bare
    )
    assert [without_sources(one) for one in bare] == [*bare]


def test_a_case_without_outcomes_keeps_the_records_that_they_are_computed_from(twenty_four: tuple[Case, ...]) -> None:
    uncounted = tuple(replace(one, outcomes=()) for one in twenty_four)

    assert sentences(tuple(map(without_sources, uncounted)), DRUG) == sentences(twenty_four, DRUG)


def test_of_each_role_the_first_value_is_held_and_nothing_that_an_amendment_replaced(
    twenty_four: tuple[Case, ...],
) -> None:
    case, source, name = twenty_four[0], Source("leon", "Observation/1", "1"), (Identifier("urn:x", "1"),)
    answered = [
        Assessment(
            source,
            status,
            name,
            when="2024",
            measured=Measured(Concept(variable="anti_mda5"), result=Result(answer=answer)),
        )
        for status, answer in (("final", "positive"), ("amended", "negative"), ("amended", "negative"))
    ]
    inputs = [
        ("followup", None),
        ("followup", "5"),
        ("other", "6"),
        ("baseline", "<20"),
        ("followup", "7"),
        ("baseline", "3"),
    ]
    improved = Outcome("tis", "R", "1", inputs=tuple(Input(role, source, value) for role, value in inputs))

    bare = without_sources(replace(case, assessments=tuple(answered), outcomes=(improved,)))

    assert [(one.status, one.time, one.measured.result.answer) for one in bare.assessments] == [
        ("amended", "2024", "negative")
    ]
    assert [(one.role, one.value) for one in bare.outcomes[0].inputs] == [("baseline", "<20"), ("followup", "5")]


def test_a_patient_whose_records_leave_it_open_is_in_no_denominator(twenty_four: tuple[Case, ...]) -> None:
    first = twenty_four[0]
    conditions = [
        replace(one, clinical_status=None, abatement=None) if one.concept.variable == "gottron_papules" else one
        for one in first.conditions
    ]
    times, counts = presence(Cohort((replace(first, conditions=tuple(conditions)), *twenty_four[1:])))

    assert times[0] == "baseline"
    assert counts["gottron_papules"][0] == (23, 23, 1)
    assert presence(Cohort(twenty_four))[1]["gottron_papules"][0] == (24, 24, 0)
