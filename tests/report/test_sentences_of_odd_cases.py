"""Who is left out, what is unknown and what is never mixed, on changed copies of the four sample cases."""

from collections.abc import Sequence
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from msgspec.structs import replace

from dm_fhir.model.case import (
    AdverseEvent,
    Assessment,
    Case,
    Concept,
    Link,
    Quantity,
    Range,
    Source,
    Suspect,
    Therapy,
)
from dm_fhir.report.sentences import Sentence, sentences

DRUG = "anifrolumab"


def said(cases: Sequence[Case]) -> dict[str, Sentence]:
    return {sentence.id: sentence for sentence in sentences(cases, DRUG)}


def anew(case: Case, **values: Any) -> Case:
    """The case with other parts; its outcomes are computed again."""
    return replace(case, outcomes=(), **values)


def of_subject(case: Case, **values: Any) -> Case:
    assert case.subject is not None
    return anew(case, subject=replace(case.subject, **values))


def with_value(one: Assessment, number: int) -> Assessment:
    result = replace(one.measured.result, number=Fraction(number))
    return replace(one, measured=replace(one.measured, result=result))


def therapies(case: Case, variable: str) -> list[Therapy]:
    return [one for one in case.therapies if one.medication.variable == variable]


def other_therapies(case: Case, variable: str) -> tuple[Therapy, ...]:
    return tuple(one for one in case.therapies if one.medication.variable != variable)


def test_patients_left_out_are_named_with_the_reason(four: tuple[Case, ...]) -> None:
    cases = (
        of_subject(four[0], test_patient=True),
        anew(four[1], administrations=()),
        of_subject(four[2], links=(Link("Patient/other", "replaced-by"),)),
        four[3],
    )
    sentence = said(cases)["patients"]
    assert sentence.values["n"] == "1"
    assert "1 left out, test patient: Patient/bal-1" in sentence.missing
    assert "1 left out, no completed infusion: Patient/bal-2" in sentence.missing
    assert "1 left out, replaced by another patient record: Patient/bal-3" in sentence.missing


def test_a_cohort_of_nobody_has_all_sentences_and_no_percentage() -> None:
    found = sentences((), DRUG)
    assert found[0].text.startswith("0 patients")
    assert not any("%" in sentence.text for sentence in found)


def test_cases_without_outcomes_give_the_same_sentences(four: tuple[Case, ...]) -> None:
    assert sentences(tuple(anew(case) for case in four), DRUG) == sentences(four, DRUG)


@pytest.mark.parametrize("birth_date", [None, "1971", "not a date"])
def test_an_age_that_is_not_certain_is_missing(four: tuple[Case, ...], birth_date: str | None) -> None:
    sentence = said((of_subject(four[0], birth_date=birth_date), *four[1:]))["age_at_first_infusion"]
    assert sentence.values["n"] == "3"
    assert sentence.missing == "1 of 4 without a certain age in years"


def test_one_patient_has_no_sd(four: tuple[Case, ...]) -> None:
    sentence = said(four[:1])["age_at_first_infusion"]
    assert sentence.values == {"n": "1", "mean": "52.0"}
    assert "no SD" in sentence.text


def test_a_diagnosis_after_the_first_infusion_is_a_violation_and_changes_nothing(four: tuple[Case, ...]) -> None:
    later = tuple(replace(one, onset="2025-01-01") for one in four[0].conditions)
    found = said((anew(four[0], conditions=later), *four[1:]))
    assert found["diagnosis_before_first_infusion"].values == {"ok": "3", "violation": "1", "n": "4"}
    assert "Patient/bal-1" in found["diagnosis_before_first_infusion"].text


def test_impossible_means_are_said(four: tuple[Case, ...]) -> None:
    cases = tuple(anew(c, conditions=tuple(replace(o, onset="2034-12-30") for o in c.conditions)) for c in four)
    assert "impossible in the same patients" in said(cases)["diagnosis_before_first_infusion"].text


def test_a_baseline_of_zero_leaves_the_percentages_only(four: tuple[Case, ...]) -> None:
    zero = tuple(
        with_value(one, 0)
        if one.measured.concept.variable == "cdasi_activity" and (one.time or "") < "2024-05-30T10"
        else one
        for one in four[2].assessments
    )
    sentence = said((*four[:2], anew(four[2], assessments=zero), four[3]))["cdasi_change"]
    assert (sentence.values["n"], sentence.values["points_low"]) == ("4", "-9")
    assert sentence.values["percent_low"] == "26.9"
    assert sentence.missing == "1 of 4 with a baseline of 0, left out of the percentages"


def test_a_last_follow_up_that_cannot_be_used_is_not_replaced_by_an_earlier_one(four: tuple[Case, ...]) -> None:
    seen = [one for one in four[0].assessments if one.measured.concept.variable == "cdasi_activity"]
    last = max(seen, key=lambda one: one.time or "")
    bound = replace(
        last, measured=replace(last.measured, result=replace(last.measured.result, bound="upper_exclusive"))
    )
    kept = tuple(bound if one is last else one for one in four[0].assessments)
    sentence = said((anew(four[0], assessments=kept), *four[1:]))["cdasi_improved"]
    assert sentence.values["n"] == "3"
    assert sentence.missing == "1 of 4 not computable: the value is only a bound (< or >)"


def test_mmt8_scales_are_never_one_median(four: tuple[Case, ...]) -> None:
    def on_80(one: Assessment) -> Assessment:
        if one.measured.concept.variable != "mmt8_150":
            return one
        moved = with_value(one, 70 if (one.time or "") < "2024-04-03" else 75)
        return replace(
            moved, measured=replace(moved.measured, concept=replace(moved.measured.concept, variable="mmt8_80"))
        )

    found = said((anew(four[0], assessments=tuple(map(on_80, four[0].assessments))), *four[1:]))
    assert found["mmt8_improved"].values["n"] == "4"
    assert (found["mmt8_change"].values["mmt8_150:n"], found["mmt8_change"].values["mmt8_80:n"]) == ("3", "1")


def test_a_drug_whose_dates_do_not_tell_is_missing_and_not_absent(four: tuple[Case, ...]) -> None:
    (drug,) = [one for one in therapies(four[0], "mycophenolate") if one.status == "active"]
    vague = replace(drug, period=None)
    case = anew(four[0], therapies=(*other_therapies(four[0], "mycophenolate"), vague))
    found = said((case, *four[1:]))
    assert found["concomitant_csdmard"].missing == "1 of 4 where the dates of a csDMARD do not tell"
    assert found["concomitant_csdmard"].values["n"] == "3"
    assert "1 of 4 with a drug whose beginning cannot be placed" in found["prior_treatment"].missing


@pytest.mark.parametrize(("status", "intent"), [("not-taken", None), ("draft", "order"), ("active", "plan")])
def test_a_drug_that_was_not_taken_does_not_count(four: tuple[Case, ...], status: str, intent: str | None) -> None:
    moved = tuple(
        replace(one, status=status, intent=intent) if one.medication.variable == "rituximab" else one
        for one in four[2].therapies
    )
    assert "rituximab" not in said((*four[:2], anew(four[2], therapies=moved), four[3]))["prior_treatment"].values


def test_less_of_one_drug_decides_and_what_is_open_is_neither(four: tuple[Case, ...]) -> None:
    def running_out(case: Case) -> Case:
        """Its statements no longer say that a drug was stopped."""
        return anew(case, therapies=tuple(replace(one, status="unknown") for one in case.therapies))

    # The taper of the first stands, though its other drug is open; the second's equal dose and the fourth's do not tell.
    values = said(tuple(map(running_out, four)))["other_treatment_stopped"]
    assert (values.values["any"], values.values["n"], values.values["patients"]) == ("1", "1", "Patient/bal-1")
    assert values.missing == "3 of 4 where the records leave it open"


def test_who_took_nothing_else_is_not_counted_among_those_who_took_less(four: tuple[Case, ...]) -> None:
    sentence = said((anew(four[2], therapies=other_therapies(four[2], "methotrexate")), *four[:2]))
    assert sentence["other_treatment_stopped"].values["n"] == "2"
    assert sentence["other_treatment_stopped"].missing == "1 of 3 without another systemic drug at the first infusion"


def test_a_patient_without_any_other_drug_is_missing(four: tuple[Case, ...]) -> None:
    own = tuple(therapies(four[0], DRUG))
    found = said((anew(four[0], therapies=own), *four[1:]))
    assert found["prior_treatment"].values["n"] == "3"
    assert found["prior_treatment"].missing == "1 of 4 without any documented other drug"


def test_an_untested_antibody_is_not_negative(twenty_four: tuple[Case, ...]) -> None:
    untested = tuple(one for one in twenty_four[0].assessments if one.measured.result.answer is None)
    found = said((anew(twenty_four[0], assessments=untested), *twenty_four[1:]))
    assert found["myositis_specific_antibodies"].values["n"] == "23"
    assert found["myositis_specific_antibodies"].values["seronegative"] == "5"
    assert found["myositis_specific_antibodies"].missing == "1 of 24 not tested"


def test_a_tested_patient_with_only_ro52_is_seronegative_only_if_a_specific_one_was_tested(
    twenty_four: tuple[Case, ...],
) -> None:
    ro52 = tuple(
        one
        for one in twenty_four[1].assessments
        if one.measured.result.answer is None or one.measured.concept.variable == "anti_ro52"
    )
    found = said((anew(twenty_four[1], assessments=ro52),))
    assert found["myositis_specific_antibodies"].missing == "1 of 1 not tested"
    assert found["anti_ro52"].values["anti_ro52"] == "1"


def test_regimen_without_a_second_infusion_or_a_dose(four: tuple[Case, ...]) -> None:
    once = anew(four[3], administrations=four[3].administrations[:1])
    undosed = anew(four[0], administrations=tuple(replace(one, dose_mg=None) for one in four[0].administrations))
    sentence = said((undosed, once))["regimen"]
    assert sentence.values == {"n": "1", "300 mg once": "1", "300 mg once_percent": "100"}
    assert sentence.missing == "1 of 2 without a known dose"


def test_an_adverse_event_before_the_first_infusion_is_not_one_of_the_drug(twenty_four: tuple[Case, ...]) -> None:
    (case,) = [one for one in twenty_four if one.id == "Patient/leon-02"]
    (event,) = case.adverse_events
    earlier = anew(case, adverse_events=(replace(event, date="2023-12"), replace(event, date=None)))
    sentence = said((earlier,))["adverse_events"]
    assert sentence.values["events"] == "1"
    assert sentence.missing == "1 of 1 with an undated adverse event, which is counted"


@pytest.mark.parametrize(
    ("age", "values"),
    [
        ({"onset_age": Quantity(Decimal("52.7"), code="a")}, {"n": "4"}),
        ({"onset_ages": Range(Quantity(Decimal(40), unit="years"), Quantity(Decimal(40), unit="years"))}, {"n": "4"}),
        ({"onset_ages": Range(Quantity(Decimal(40), code="a"), Quantity(Decimal(45), code="a"))}, {"n": "3"}),
        ({"onset_age": Quantity(Decimal(52))}, {"n": "3"}),
        ({"onset_text": "in childhood"}, {"n": "3"}),
    ],
)
def test_an_age_at_onset_that_a_record_states_counts_without_dates(
    four: tuple[Case, ...], age: dict[str, Any], values: dict[str, str]
) -> None:
    undated = tuple(replace(one, onset=None, **age) for one in four[0].conditions)

    found = said((of_subject(anew(four[0], conditions=undated), birth_date=None), *four[1:]))["age_at_diagnosis"]

    assert {"n": found.values["n"]} == values


def test_what_was_judged_of_adverse_events_is_told_for_the_study_drug_alone(four: tuple[Case, ...]) -> None:
    def event(number: int, drug: str, *judgements: str) -> AdverseEvent:
        judged = tuple(Concept(variable=one) for one in judgements)
        suspect = Suspect(drug=drug, relatedness=judged)
        source = Source("north", f"AdverseEvent/{number}")
        return AdverseEvent(source, Concept(variable="ae_cough"), date="2099-01-01", suspects=(suspect,))

    events = (
        event(1, DRUG, "possibly_related"),
        event(2, DRUG, "not_related"),
        event(3, DRUG, "unlikely_related", "related"),
        event(4, "methotrexate", "related"),
        event(5, DRUG, "not_assessable"),
        event(6, DRUG),
    )

    text = said((anew(four[0], adverse_events=events), anew(four[1], adverse_events=())))["adverse_events"].text
    none = said((anew(four[0], adverse_events=events[3:]),))["adverse_events"].text

    assert "judged at least possibly related to anifrolumab in 2 of 3" in text
    assert none.endswith("whether the drug caused them was not judged.")
