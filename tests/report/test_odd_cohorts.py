"""What a cohort may be like, and how its patients are told apart: nothing crashes, nobody is lost or counted in silence."""

from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import pytest
from msgspec.structs import replace

from dm_fhir.model.case import AdverseEvent, Assessment, Case, Concept, Source
from dm_fhir.model.definitions import Definitions
from dm_fhir.outcomes.battery import outcomes
from dm_fhir.report.figures.scores import scores
from dm_fhir.report.figures.swimmer import swimmer
from dm_fhir.report.rows import patient_row
from dm_fhir.report.sentences import sentences
from dm_fhir.statistics.cohort import Cohort

from .tabled import DASH, DRUG, all_tables, outcome, shown, with_outcomes
from .test_sentences_of_odd_cases import anew, of_subject, said, with_value


def of_conditions(case: Case, variable: str, *records: dict[str, Any]) -> Case:
    """The case with these records alone of a manifestation, and no score."""
    (one, *_) = [one for one in case.conditions if one.concept.variable == "gottron_papules"]
    given = (
        replace(
            one,
            source=Source(case.site, f"Condition/{place}"),
            concept=Concept(variable=variable),
            onset="2020",
            **record,
        )
        for place, record in enumerate(records)
    )
    kept = tuple(one for one in case.conditions if one.concept.variable == "dm_adult")
    others = tuple(one for one in case.assessments if one.measured.concept.variable == "cdasi_activity")
    return anew(case, conditions=(*kept, *given), assessments=others)


ENDED = {"abatement": "2024-05-10", "clinical_status": "resolved"}
GOES_ON = {"abatement": None, "clinical_status": "active"}


@pytest.mark.parametrize(
    ("records", "improved", "n"),
    [
        ((ENDED,), "1", "1"),
        ((GOES_ON,), "0", "1"),
        ((ENDED, GOES_ON), "0", "1"),
        (({**ENDED, "abatement": "2023-12-01"},), "0", "0"),
        (({**ENDED, "abatement": "2023-12-01"}, ENDED), "1", "1"),
        (({**ENDED, "abatement": "2024-12-01"},), "0", "1"),
        (({**GOES_ON, "clinical_status": None},), "0", "0"),
    ],
)
def test_a_manifestation_got_better_that_was_present_and_is_no_longer(
    four: tuple[Case, ...], records: Sequence[dict[str, Any]], improved: str, n: str
) -> None:
    found = said((of_conditions(four[0], "arthritis", *records),))["extracutaneous_improved"]
    assert (found.values.get("improved"), found.values["n"]) == (improved, n)


def test_patients_of_one_number_at_two_hospitals_are_two(four: tuple[Case, ...]) -> None:
    # Another person of the same number: other age, other drugs, other scores and an event.
    event = AdverseEvent(Source("north", "AdverseEvent/1"), Concept(variable="ae_cough"), date="2024-06-05")
    namesake = replace(four[2], id=four[0].id, site="north", adverse_events=(event,))
    apart = replace(namesake, id="Patient/of-its-own")
    found, expected = said((four[0], namesake)), said((four[0], apart))
    for name in ("age_at_first_infusion", "extracutaneous_improved", "other_treatment_stopped", "adverse_events"):
        kept = {key: value for key, value in expected[name].values.items() if key != "patients"}
        assert {key: value for key, value in found[name].values.items() if key != "patients"} == kept, name
    assert found["infusions_before_last_assessment"].values["n"] == "2"
    assert f"baltimore:{four[0].id}" in found["extracutaneous_improved"].values["patients"]
    assert shown(all_tables((four[0], namesake))["adverse_events"], "All")["any"][:2] == ("1", "1 of 2 (50 %)")


def partially_dated(case: Case) -> Case:
    """Its first infusion in a month, its event and its follow-up on days."""
    given = tuple(replace(one, when=(one.when or "")[:7], during=None) for one in case.administrations if one.when)
    event = AdverseEvent(Source(case.site, "AdverseEvent/1"), Concept(variable="ae_cough"), date="2024-06-05")
    return anew(case, administrations=given, adverse_events=(event,))


def test_events_of_a_follow_up_of_unknown_length_are_in_no_rate(four: tuple[Case, ...]) -> None:
    undated = partially_dated(four[0])
    assert undated.administrations
    table = all_tables((undated, *four[1:]))["adverse_events"]
    assert shown(table, "All")["any"][2].startswith("0.0 (0.0")
    assert "1 event is in no rate: it does not surely lie within a follow-up of known length." in table.notes
    exposure = shown(all_tables((undated,))["exposure"], "Follow-up")
    assert exposure["patient_years"] == (DASH, "1")


def test_one_patient_has_no_range_and_no_test(four: tuple[Case, ...]) -> None:
    cells = shown(all_tables(four[:1])["changes"], "last follow-up")["cdasi_activity"]
    assert cells[:6] == ("1", "27", "6", "21", "77.8 %", DASH)
    found = said(four[:1])
    assert "CDASI-A reduction of 21 points or 77.8 %, n = 1." in found["cdasi_change"].text
    assert found["infusions_before_last_assessment"].text.startswith(
        "Last assessed after 3 completed infusions: after 3"
    )


def seen_as(one: Assessment, variable: str, number: int) -> Assessment:
    """The assessment once more, on another scale."""
    moved = with_value(one, number)
    measured = replace(moved.measured, concept=replace(moved.measured.concept, variable=variable))
    source = replace(one.source, reference=f"{one.source.reference}-{variable}")
    return replace(moved, measured=measured, source=source, identifiers=())


def test_of_two_scales_at_one_time_the_comparable_one_counts_and_then_the_finer(four: tuple[Case, ...]) -> None:
    on_150 = [one for one in four[0].assessments if one.measured.concept.variable == "mmt8_150"]
    first, last = sorted(on_150, key=lambda one: one.time or "")
    both = (*four[0].assessments, seen_as(first, "mmt8_80", 70), seen_as(last, "mmt8_80", 75))
    rows = all_tables((anew(four[0], assessments=both),))["changes"]
    for heading in ("week 12", "last follow-up"):
        assert shown(rows, heading)["mmt8_150"][:4] == ("1", "146", "148", "2")
        assert "mmt8_80" not in shown(rows, heading)

    # Without a baseline on the finer scale the other counts, at the same time and later in the window of the visit.
    (week_12,) = [one for one in outcomes(four[0]) if one.variable == "mmt8_150_improvement"]
    later = replace(last, when="2024-06-26")
    for finer in (last, later):
        kept = tuple(one for one in both if one not in (first, last))
        rows = all_tables((anew(four[0], assessments=(*kept, finer)),))["changes"]
        assert week_12.visit == "week_12"
        assert shown(rows, "week 12")["mmt8_80"][:4] == ("1", "70", "75", "5")
    assert row_of_mmt8(anew(four[0], assessments=(*kept, last)))[0] == "1"
    assert row_of_mmt8(anew(four[0], assessments=(*kept, later)))[-1].startswith("1 not computable")


def row_of_mmt8(case: Case) -> tuple[str, ...]:
    rows = shown(all_tables((case,))["changes"], "last follow-up")
    return next(cells for name, cells in rows.items() if name.startswith("mmt8"))


def test_a_bound_is_shown_with_its_sign_and_drawn_nowhere(four: tuple[Case, ...]) -> None:
    def bounded(one: Assessment) -> Assessment:
        result = replace(one.measured.result, number=Fraction(20), bound="upper_exclusive")
        return replace(one, measured=replace(one.measured, result=result))

    last = max(
        (one for one in four[0].assessments if one.measured.concept.variable == "cdasi_activity"),
        key=lambda one: one.time or "",
    )
    case = anew(four[0], assessments=tuple(bounded(one) if one is last else one for one in four[0].assessments))
    (patient,) = Cohort((case,)).patients
    cell = patient_row(patient).changes[0]
    assert cell.values == "27 \N{RIGHTWARDS ARROW} <20"
    assert cell.change == "not computable: the value is only a bound (< or >)"
    drawn = [one for one in scores(Cohort((case,)), Definitions().visits).rows if one[1] == "cdasi_activity"]
    assert [one[3] for one in drawn if one[0] == "1"] == ["27", "18"]


def test_a_drug_whose_dates_do_not_tell_is_not_known_for_that_drug_alone(four: tuple[Case, ...]) -> None:
    moved = tuple(
        replace(one, period=None) if one.medication.variable == "mycophenolate" else one for one in four[0].therapies
    )
    cases = (anew(four[0], therapies=moved), *four[1:])
    table = all_tables(cases)["characteristics"]
    assert shown(table, "Treatment begun before the first infusion")["mycophenolate"] == ("3 of 3 (100 %)", "1")
    assert shown(table, "Treatment begun before the first infusion")["methotrexate"] == ("4 of 4 (100 %)", "0")
    assert "mycophenolate 3 of 3 (100 %)" in said(cases)["prior_treatment"].text
    assert said(cases)["prior_treatment"].values["mycophenolate_percent"] == "100"
    assert shown(all_tables(cases[:1])["characteristics"], "Treatment in force at the first infusion")[
        "mycophenolate"
    ] == ("0 of 0", "1")


def test_an_antibody_is_counted_among_those_tested_for_it(twenty_four: tuple[Case, ...]) -> None:
    with_mda5 = [
        one for one in twenty_four for result in one.assessments
        if (result.measured.concept.variable, result.measured.result.answer) == ("anti_mda5", "positive")
    ]  # fmt: skip
    others = [one for one in twenty_four if one not in with_mda5]
    untested = anew(
        others[0],
        assessments=tuple(one for one in others[0].assessments if one.measured.concept.variable != "anti_mda5"),
    )
    cases = (untested, *others[1:], *with_mda5)
    rows = shown(all_tables(cases)["characteristics"], "Antibodies, of those tested")
    assert rows["anti_mda5"] == ("3 of 23 (13 %)", "1")
    assert rows["anti_sae1"] == ("4 of 24 (17 %)", "0")
    assert "anti-MDA5 3 of 23 (13 %)" in said(cases)["myositis_specific_antibodies"].text


def test_a_death_is_counted_whatever_ended_the_treatment(four: tuple[Case, ...]) -> None:
    dated, undated = (
        of_subject(four[0], deceased_at="2024-09"),
        of_subject(four[1], deceased=True),
    )
    rows = shown(all_tables((dated, undated, of_subject(four[2], deceased=False), four[3]))["exposure"], "Follow-up")
    assert rows["died"] == ("2 of 4 (50 %)", "0")


def test_days_of_single_patients_are_not_said_where_few_are_hidden(four: tuple[Case, ...]) -> None:
    (told,) = [one for one in sentences(four, DRUG, 5) if one.id == "treatment_period"]
    assert told.text == "Infusions were given between April and August 2024."
    assert told.values == {"first": "2024-04", "last": "2024-08"}


def test_who_took_no_glucocorticoid_at_baseline_is_said_to_be_so(four: tuple[Case, ...]) -> None:
    rows = shown(all_tables(four)["responders"], "last follow-up")
    assert rows["ge_50"][2::2] == ("2 of 3 (66.7 %)", "1: no glucocorticoid at baseline")


def test_the_swimmers_follow_up_ends_where_the_table_says_so_also_before_a_later_death(four: tuple[Case, ...]) -> None:
    case = of_subject(four[0], deceased_at="2024-12-24")
    rows = [row[1:] for row in swimmer(Cohort((case,))).rows]
    days = next(one.number for one in outcomes(case) if one.variable == "follow_up_days")
    assert (str(days), "end of follow-up") in rows
    assert ("265", "death") in rows


def test_criteria_say_that_their_last_follow_up_is_a_visit(four: tuple[Case, ...]) -> None:
    criterion = outcome("imacs_improvement", answer="yes", visit="week_4")
    (told,) = [one for one in all_tables([with_outcomes(four[0], criterion)])["responders"].notes if "schedule" in one]
    assert "the last such visit" in told
    assert not [one for one in all_tables(four)["responders"].notes if "schedule" in one]


def test_a_reduction_below_nought_says_that_it_is_worse(four: tuple[Case, ...]) -> None:
    worse = tuple(
        with_value(one, 40)
        if one.measured.concept.variable == "cdasi_activity" and (one.time or "") > "2024-04-03T12"
        else one
        for one in four[0].assessments
    )
    text = said((anew(four[0], assessments=worse),))["cdasi_change"].text
    assert "CDASI-A reduction of -13 points or -48.1 %, n = 1; a minus is worse." in text
