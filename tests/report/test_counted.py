"""What the report counts: nothing is lost where cases are held without their sources, nothing known where records leave it open."""

from msgspec.structs import replace

from dm_fhir.model.case import Case
from dm_fhir.model.definitions import Definitions
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
