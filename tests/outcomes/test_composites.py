"""The composite criteria of whole cases: whom they are asked of, what they lack, and what they say of themselves."""

from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from msgspec.structs import replace

from dm_fhir.model.case import Assessment, Case, Concept, Condition, Outcome, Quantity, Source, Subject
from dm_fhir.model.definitions import Definitions, Visit
from dm_fhir.outcomes import ages, battery, composites

BEFORE, INFUSION = "2024-04-08", "2024-04-15T10:00:00-04:00"
WEEK_4, WEEK_8, WEEK_12 = "2024-05-13", "2024-06-10", "2024-07-08"
START = {
    "physician_global_vas": 6,
    "patient_global_vas": 6,
    "haq_di": 1,
    "mmt8_150": 130,
    "ck": 900,
    "extramuscular_vas": 5,
}
LAST = {
    "physician_global_vas": 4,
    "patient_global_vas": 5,
    "haq_di": "0.75",
    "mmt8_150": 138,
    "ck": 300,
    "extramuscular_vas": "3.5",
}
ALL = Definitions(enzyme_range_in_uln_juvenile={"ck": Fraction(15)})


def day(clinic: Any, when: str, values: dict[str, Any], uln: Any = 200) -> list[Assessment]:
    enzymes = ("ck", "aldolase", "alt", "ast", "ldh")
    return [clinic.core(name, when, Decimal(value), uln if name in enzymes else None) for name, value in values.items()]


def case_of(clinic: Any, *assessments: Assessment, born: str | None = "1970-01-01", **parts: Any) -> Case:
    case = clinic.case(assessments, [clinic.infusion("1", INFUSION)])
    return replace(case, subject=Subject(Source("north", "Patient/1"), birth_date=born), **parts)


def diagnosis(variable: str, **parts: Any) -> Condition:
    return Condition(Source("north", "Condition/1"), Concept(variable=variable), **parts)


def found(case: Case, definitions: Definitions = ALL) -> dict[str, list[Outcome]]:
    by_name: dict[str, list[Outcome]] = {}
    for one in battery.outcomes(case, definitions=definitions):
        if one.variable in composites.variables():
            by_name.setdefault(one.variable, []).append(one)
    return by_name


def only(case: Case, variable: str, definitions: Definitions = ALL) -> Outcome:
    [one] = found(case, definitions)[variable]
    return one


def test_a_score_says_what_it_rests_on(clinic: Any) -> None:
    last = {name: value for name, value in LAST.items() if name != "ck"}
    later = clinic.core("ck", "2024-07-10", 300, 200)
    case = case_of(clinic, *day(clinic, BEFORE, START), *day(clinic, WEEK_12, last), later)
    score = only(case, "tis")

    assert (score.number, score.rule, score.rule_version, score.visit, score.about) == (
        45,
        "R-TIS",
        "1",
        "week_12",
        None,
    )
    assert score.when == "2024-07-10"
    assert [(one.role, one.source.reference, one.value) for one in score.inputs][-4:] == [
        ("baseline", "Observation/ck.2024-04-08", "900"),
        ("followup", "Observation/ck.2024-07-10", "300"),
        ("baseline", "Observation/extramuscular_vas.2024-04-08", "5"),
        ("followup", "Observation/extramuscular_vas.2024-07-08", "3.5"),
    ]
    assert len(score.inputs) == 12
    assert (only(case, "tis_category").answer, only(case, "tis_category").number) == ("moderate", None)


def test_every_measure_that_is_missing_is_named(clinic: Any) -> None:
    start = {name: value for name, value in START.items() if name not in ("haq_di", "patient_global_vas")}
    last = {name: value for name, value in LAST.items() if name not in ("haq_di", "mmt8_150")}
    last["extramuscular_vas"] = 11
    case = case_of(clinic, *day(clinic, BEFORE, start), *day(clinic, WEEK_12, last))

    assert (
        only(case, "tis").reasons
        == only(case, "tis_category").reasons
        == (
            "baseline_missing:patient_global_vas",
            "measure_missing:haq_di",
            "followup_missing:mmt8",
            "followup_missing:extramuscular_vas",
            "out_of_range:extramuscular_vas",
        )
    )
    assert "tis_lower_bound" not in found(case)
    bound = only(case, "tis_lower_bound", replace(ALL, tis_lower_bound=True))
    assert (bound.number, bound.unit, bound.reasons, bound.answer) == (
        20,
        "{score}",
        (),
        None,
    )  # 15 of the physician, 5 of CK
    assert "measure_missing:haq_di" in bound.flags


def test_a_complete_score_has_no_lower_bound(clinic: Any) -> None:
    case = case_of(clinic, *day(clinic, BEFORE, START), *day(clinic, WEEK_12, LAST))

    assert "tis_lower_bound" not in found(case, replace(ALL, tis_lower_bound=True))


def test_conflicts_are_named_and_nothing_older_is_taken(clinic: Any) -> None:
    older = clinic.core("haq_di", "2024-03-01", 2)
    other = replace(clinic.core("haq_di", BEFORE, Decimal("1.5")), source=Source("north", "Observation/x"))
    case = case_of(clinic, *day(clinic, BEFORE, START), older, other, *day(clinic, WEEK_12, LAST))

    assert only(case, "tis").reasons == ("conflict:haq_di",)


def test_follow_ups_that_contradict_each_other_stand_for_no_visit(clinic: Any) -> None:
    other = replace(clinic.core("haq_di", WEEK_12, Decimal("1.5")), source=Source("north", "Observation/x"))
    case = case_of(clinic, *day(clinic, BEFORE, START), other, *day(clinic, WEEK_12, LAST))

    assert only(case, "tis").reasons == ("followup_missing:haq_di", "conflict:haq_di")


@pytest.mark.parametrize(
    ("measures", "reason"),
    [
        ({"mmt8_80": (70, None), "mmt8_150": (130, 138)}, None),
        ({"mmt8_80": (70, 76), "mmt8_150": (130, None)}, None),
        ({"mmt24_260": (200, 230)}, None),
        ({"mmt8_80": (70, None), "mmt8_150": (None, 138)}, "scale_mixed:mmt8"),
        ({"mmt8_80": (70, None), "mmt24_260": (None, 230)}, "scale_mixed:mmt8"),
        ({"haq_di": (1, None), "chaq": (None, 1)}, "scale_mixed:haq_di"),
    ],
)
def test_only_one_and_the_same_scale_is_compared(clinic: Any, measures: Any, reason: str | None) -> None:
    rest = [name for name in START if name[:3] not in {one[:3] for one in measures}]
    rest = [name for name in rest if not ("chaq" in measures and name == "haq_di")]
    first = {**{name: START[name] for name in rest}, **{n: v[0] for n, v in measures.items() if v[0] is not None}}
    last = {**{name: LAST[name] for name in rest}, **{n: v[1] for n, v in measures.items() if v[1] is not None}}
    score = only(case_of(clinic, *day(clinic, BEFORE, first), *day(clinic, WEEK_12, last)), "tis")

    assert score.reasons == ((reason,) if reason else ())
    assert (score.number is None) is (reason is not None)


def test_an_mmt8_of_unknown_scale_says_so(clinic_with: Any) -> None:
    clinic = clinic_with('[[measurement]]\nvariable = "mmt8"\ncodes = [{ system = "urn:forms", code = "MMT8" }]')
    first, last = ({name: value for name, value in values.items() if name != "mmt8_150"} for values in (START, LAST))
    local = {"system": "urn:forms", "code": "MMT8"}
    unscaled = [clinic.assessment(w, local, effectiveDateTime=w, valueInteger=70) for w in (BEFORE, WEEK_12)]
    case = case_of(clinic, *day(clinic, BEFORE, first), *day(clinic, WEEK_12, last), *unscaled)

    assert only(case, "tis").reasons == ("measure_missing:mmt8", "scale_ambiguous:mmt8")


def enzymes(clinic: Any, *records: Assessment, definitions: Definitions = ALL) -> Outcome:
    first, last = ({name: value for name, value in values.items() if name != "ck"} for values in (START, LAST))
    return only(case_of(clinic, *day(clinic, BEFORE, first), *day(clinic, WEEK_12, last), *records), "tis", definitions)


def test_of_two_equally_abnormal_enzymes_the_first_is_followed(clinic: Any) -> None:
    records = [clinic.core(n, w, v, u) for n, u, values in (("ast", 40, (80, 40)), ("ck", 200, (400, 400)))
               for w, v in zip((BEFORE, WEEK_12), values, strict=True)]  # fmt: skip
    score = enzymes(clinic, *records)

    assert {one.source.reference for one in score.inputs if "ck." in one.source.reference} == {
        "Observation/ck.2024-04-08", "Observation/ck.2024-07-08"
    }  # fmt: skip
    assert score.number == 40


def test_without_a_limit_the_most_abnormal_enzyme_is_not_known(clinic: Any) -> None:
    records = [clinic.core("ck", w, v, 200) for w, v in ((BEFORE, 900), (WEEK_12, 300))]
    ast = [clinic.core("ast", w, v) for w, v in ((BEFORE, 90), (WEEK_12, 40))]

    assert enzymes(clinic, *records, *ast).reasons == ("uln_missing:ast",)
    # The study's own limit settles it, and is not taken where a result has one.
    configured = replace(ALL, uln_u_per_l={"ast": Fraction(100), "ck": Fraction(1)})
    assert enzymes(clinic, *records, *ast, definitions=configured).number == 45


def test_a_single_enzyme_needs_its_limit_for_the_range_only(clinic: Any) -> None:
    ck = [clinic.core("ck", w, v) for w, v in ((BEFORE, 900), (WEEK_12, 300))]
    first, last = ({name: value for name, value in values.items() if name != "ck"} for values in (START, LAST))
    case = case_of(clinic, *day(clinic, BEFORE, first), *day(clinic, WEEK_12, last), *ck)

    assert only(case, "tis").reasons == ("uln_missing:ck",)
    assert only(case, "imacs_improvement").answer == "yes"  # in percent of baseline no limit is needed


def test_an_enzyme_whose_values_contradict_each_other_leaves_it_open(clinic: Any) -> None:
    records = [clinic.core("ck", w, v, 200) for w, v in ((BEFORE, 900), (WEEK_12, 300))]
    torn = [replace(clinic.core("ldh", BEFORE, v, 250), source=Source("north", f"Observation/{v}")) for v in (300, 310)]

    assert enzymes(clinic, *records, *torn).reasons == ("conflict:ldh",)


@pytest.mark.parametrize(("ast", "reasons"), [(90, ()), (200, ("comparator:ast",))])
def test_a_bound_decides_which_enzyme_it_is_or_leaves_it_open(clinic: Any, ast: int, reasons: tuple[str, ...]) -> None:
    records = [clinic.core("ck", w, v, 200) for w, v in ((BEFORE, 900), (WEEK_12, 300))]  # 4.5 times

    assert enzymes(clinic, *records, clinic.core("ast", BEFORE, ast, 40, comparator="<")).reasons == reasons


def test_two_limits_are_two_scales_unless_multiples_are_followed(clinic: Any) -> None:
    records = [clinic.core("ck", BEFORE, 900, 200), clinic.core("ck", WEEK_12, 300, 150)]

    assert enzymes(clinic, *records).reasons == ("uln_differs:ck",)
    # 4.5 to 2 times the limit is 2.5 of 15, 16.7 %: 5 points, as many as 900 to 300 of one limit, 20 %.
    assert enzymes(clinic, *records, definitions=replace(ALL, enzyme_change_in_uln=True)).number == 45
    assert enzymes(clinic, clinic.core("ck", BEFORE, 900, 200), clinic.core("ck", WEEK_12, 300)).reasons == (
        "uln_missing:ck",
    )


def test_the_range_of_an_enzyme_is_the_studys(clinic: Any) -> None:
    records = [clinic.core("ck", BEFORE, 900, 200), clinic.core("ck", WEEK_12, 300, 200)]
    ranges = {**ALL.enzyme_range_in_uln, "ck": Fraction(5)}

    assert enzymes(clinic, *records, definitions=replace(ALL, enzyme_range_in_uln=ranges)).number == Decimal(
        "47.5"
    )  # 60 %
    assert enzymes(clinic, *records, definitions=replace(ALL, enzyme_range_in_uln={})).reasons == (
        "range_not_configured:ck",
    )


@pytest.mark.parametrize(
    ("value", "comparator", "number"),
    [
        ("3.5", "<", None),  # 3.5 and less: bands 3 and 4
        ("2", "<", "50"),  # above 40 %, all of it
        ("4.5", ">", None),
        ("5.5", ">=", "30"),  # at most 5 %, nothing above it
        ("5.5", ">", "30"),
    ],
)
def test_a_bound_scores_where_it_lies_in_one_band(clinic: Any, value: str, comparator: str, number: str | None) -> None:
    last = {name: v for name, v in LAST.items() if name != "physician_global_vas"}
    bound = clinic.core("physician_global_vas", WEEK_12, Decimal(value), comparator=comparator)
    score = only(case_of(clinic, *day(clinic, BEFORE, START), *day(clinic, WEEK_12, last), bound), "tis")

    assert (score.number, score.reasons) == (
        (Fraction(number), ()) if number else (None, ("comparator:physician_global_vas",))
    )
    assert next(one.value for one in score.inputs if one.role == "followup") == f"{comparator}{value}"


def test_a_baseline_of_0_neither_improves_nor_is_it_known_to_be_worse(clinic: Any) -> None:
    start, worse = {**START, "haq_di": 0}, {**LAST, "haq_di": 1}
    still = {**START, "haq_di": 1}
    case = case_of(clinic, *day(clinic, BEFORE, start), *day(clinic, WEEK_12, worse))
    improving, worsening = only(case, "imacs_improvement"), only(case, "imacs_worsening")

    assert (improving.answer, worsening.answer) == ("yes", "no")  # neither depends on it here
    two_worse = {**still, "physician_global_vas": 9, "patient_global_vas": 9}
    case = case_of(clinic, *day(clinic, BEFORE, start), *day(clinic, WEEK_12, two_worse))
    assert (only(case, "imacs_worsening").answer, only(case, "imacs_worsening").reasons) == (
        None,
        ("baseline_zero:haq_di",),
    )
    no_change = {**two_worse, "haq_di": 0}
    case = case_of(clinic, *day(clinic, BEFORE, start), *day(clinic, WEEK_12, no_change))
    assert only(case, "imacs_worsening").answer == "no"


def test_strength_that_is_worse_rules_an_improvement_out_whatever_is_missing(clinic: Any) -> None:
    case = case_of(clinic, clinic.core("mmt8_150", BEFORE, 120), clinic.core("mmt8_150", WEEK_12, 90))

    assert only(case, "imacs_improvement").answer == "no"
    assert only(case, "imacs_improvement").reasons == ()
    assert only(case, "imacs_worsening").answer is None
    assert "measure_missing:haq_di" in only(case, "imacs_worsening").reasons
    assert not any(one.endswith(":mmt8") for one in only(case, "imacs_worsening").reasons)


def test_extramuscular_activity_alone_can_tell_a_worsening(clinic: Any) -> None:
    case = case_of(clinic, clinic.core("extramuscular_vas", BEFORE, 2), clinic.core("extramuscular_vas", WEEK_12, 4))

    assert only(case, "imacs_worsening").answer == "yes"


WORSE = {**START, "extramuscular_vas": 7}


@pytest.mark.parametrize(
    ("visits", "answers"),
    [
        ({WEEK_4: WORSE, WEEK_8: WORSE}, {"week_8": "yes"}),
        ({WEEK_4: START, WEEK_8: WORSE, WEEK_12: WORSE}, {"week_8": "no", "week_12": "yes"}),
        ({WEEK_4: WORSE, WEEK_8: START}, {"week_8": "no"}),
        # Not seen at week 8: nothing is confirmed, unless week 12 rules it out.
        ({WEEK_4: WORSE, WEEK_12: WORSE}, {"week_12": None}),
        ({WEEK_4: WORSE, WEEK_12: START}, {"week_12": "no"}),
    ],
)  # fmt: skip
def test_a_deterioration_is_confirmed_by_the_visit_after(clinic: Any, visits: Any, answers: Any) -> None:
    records = [one for when, values in {BEFORE: START, **visits}.items() for one in day(clinic, when, values)]
    outcomes = found(case_of(clinic, *records))["proderm_deterioration"]

    assert {one.visit: one.answer for one in outcomes} == answers
    assert all((one.answer is None) == bool(one.reasons) for one in outcomes)


def test_what_the_earlier_visit_lacked_is_told_apart(clinic: Any) -> None:
    earlier = {name: value for name, value in START.items() if name not in ("extramuscular_vas", "haq_di")}
    records = [*day(clinic, BEFORE, START), *day(clinic, WEEK_4, earlier), *day(clinic, WEEK_8, WORSE)]
    outcome = only(case_of(clinic, *records), "proderm_deterioration")

    assert outcome.reasons == ("followup_missing:haq_di@week_4", "followup_missing:extramuscular_vas@week_4")
    assert [one.role for one in outcome.inputs].count("earlier_followup") == 3


def test_the_first_visit_alone_confirms_nothing(clinic: Any) -> None:
    case = case_of(clinic, *day(clinic, BEFORE, START), *day(clinic, WEEK_4, WORSE))
    outcome = only(case, "proderm_deterioration")

    assert (outcome.visit, outcome.answer, outcome.reasons) == (None, None, ("followup_missing:second_visit",))


def test_the_enzyme_does_not_count_for_proderm(clinic: Any) -> None:
    last = {**START, "ck": 2000, "haq_di": 2, "patient_global_vas": 9}
    records = [*day(clinic, BEFORE, START), *day(clinic, WEEK_4, last), *day(clinic, WEEK_8, last)]
    outcomes = found(case_of(clinic, *records))

    assert {one.answer for one in outcomes["imacs_worsening"]} == {"yes"}
    assert {one.answer for one in outcomes["proderm_deterioration"]} == {"no"}


CHILD = {
    "physician_global_vas": 6,
    "patient_global_vas": 6,
    "chaq": 2,
    "cmas": 30,
    "jdm_das_total": 12,
    "chq_phs": 30,
    "ck": 900,
}
BETTER = {
    "physician_global_vas": 4,
    "patient_global_vas": 5,
    "chaq": 1,
    "cmas": 45,
    "jdm_das_total": 6,
    "chq_phs": 45,
    "ck": 300,
}


def child(
    clinic: Any, first: dict[str, Any] = CHILD, last: dict[str, Any] = BETTER, born: str | None = "2012-01-01"
) -> Case:
    juvenile = (diagnosis("dm_juvenile"),)
    return case_of(clinic, *day(clinic, BEFORE, first), *day(clinic, WEEK_12, last), born=born, conditions=juvenile)


def test_a_juvenile_is_followed_by_the_printo_measures_where_the_others_are_missing(clinic: Any) -> None:
    score = only(child(clinic), "tis")

    # 15 + 2.5 + 7.5 (of 33 %) + 27.5 (CMAS 29 %) + 5 (CK 20 %) + 15 (DAS 30 %)
    assert (score.number, score.verdicts) == (Fraction("72.5"), {"population": "jdm"})
    assert only(child(clinic), "tis_category").answer == "major"


def test_no_enzyme_range_of_juveniles_is_made_up(clinic: Any) -> None:
    assert only(child(clinic), "tis", Definitions()).reasons == ("range_not_configured:ck",)
    # CHQ physical summary stands in for the enzyme, where the study says how wide its scale is.
    score = only(child(clinic), "tis", Definitions(chq_phs_range=Fraction(100)))
    assert (score.number, score.reasons) == (70, ())  # 15 %: 2.5 points
    assert any("chq_phs" in one.source.reference for one in score.inputs)


def test_adults_have_no_alternatives_and_no_criteria_of_juveniles(clinic: Any) -> None:
    case = case_of(clinic, *day(clinic, BEFORE, CHILD), *day(clinic, WEEK_12, BETTER))

    assert only(case, "tis").reasons == ("measure_missing:mmt8", "measure_missing:extramuscular_vas")
    assert set(found(case)) == {"tis", "tis_category", "imacs_improvement", "imacs_worsening", "proderm_deterioration"}


@pytest.mark.parametrize(
    ("last", "answer"),
    [
        ({}, "yes"),
        ({"chaq": 3}, "yes"),  # one worse by 50 %
        ({"chaq": 3, "patient_global_vas": 9}, "no"),
        ({"cmas": 20}, "no"),  # strength worse by a third
        ({"cmas": 21}, "yes"),  # by 30 %, which is not more than 30 %
        ({"physician_global_vas": 5, "chaq": 2, "jdm_das_total": 12}, "no"),  # CMAS and CHQ physical summary only
    ],
)
def test_printo_improvement(clinic: Any, last: dict[str, Any], answer: str) -> None:
    assert only(child(clinic, CHILD, {**BETTER, **last}), "printo_improvement").answer == answer


@pytest.mark.parametrize(
    ("last", "inactive", "by_physician"),
    [
        ({"ck": 150, "cmas": 48, "mmt8_80": 78, "physician_global_vas": "0.2"}, "yes", "yes"),
        ({"ck": 150, "cmas": 48, "mmt8_80": 78, "physician_global_vas": "0.3"}, "yes", "no"),
        ({"ck": 150, "cmas": 48, "mmt8_80": 78}, "yes", None),
        ({"ck": 150, "cmas": 48, "physician_global_vas": "0.2"}, "yes", "yes"),
        ({"ck": 151, "cmas": 47, "mmt8_80": 80, "physician_global_vas": 0}, "no", "no"),
        ({"ck": 151, "cmas": 48, "physician_global_vas": 0}, None, None),
        ({"ck": 151, "cmas": 48, "physician_global_vas": 1}, "no", "no"),
    ],
)
def test_inactive_disease(clinic: Any, last: dict[str, Any], inactive: str | None, by_physician: str | None) -> None:
    outcomes = found(child(clinic, {}, last))
    [plain], [strict] = outcomes["jdm_inactive"], outcomes["jdm_inactive_phga"]

    assert (plain.answer, strict.answer) == (inactive, by_physician)
    assert [bool(one.reasons) for one in (plain, strict)] == [one.answer is None for one in (plain, strict)]
    assert {one.role for one in plain.inputs} == {"followup"}


def test_an_mmt8_on_the_other_scale_is_missing_for_inactive_disease(clinic: Any) -> None:
    last = {"ck": 151, "cmas": 48, "physician_global_vas": 0, "mmt8_150": 150}

    assert only(child(clinic, {}, last), "jdm_inactive").reasons == ("followup_missing:mmt8_80",)


@pytest.mark.parametrize(
    ("born", "conditions", "juvenile", "population"),
    [
        ("1970-01-01", (), None, "adult"),
        (None, (), None, "adult"),
        ("2012-01-01", (), True, "jdm"),
        ("2006-04-15", (), None, "adult"),  # 18 that day
        ("2006-04-16", (), True, "jdm"),
        ("2006", (), None, "adult"),
        ("2006", (diagnosis("dm_juvenile"),), True, None),
        ("2007", (diagnosis("dm_juvenile"),), True, "jdm"),
        (None, (diagnosis("dm_juvenile"),), True, None),
        ("1970-01-01", (diagnosis("dm_juvenile"),), True, "adult"),
        ("2004-01-01", (diagnosis("dermatomyositis", onset="2015"),), True, "adult"),
        ("2004-01-01", (diagnosis("dermatomyositis", onset="2023-06"),), False, "adult"),
        ("2004-06-01", (diagnosis("dermatomyositis", onset="2022"),), None, "adult"),  # 17 or 18
        (None, (diagnosis("dermatomyositis", onset_age=Quantity(Decimal(9), code="a")),), True, None),
        (None, (diagnosis("dermatomyositis", onset_age=Quantity(Decimal(40), code="a")),), False, "adult"),
        ("2030-01-01", (), None, "adult"),  # born after the infusion: a wrong date, not a child
    ],
)  # fmt: skip
def test_juvenile_or_adult(clinic: Any, born: str | None, conditions: Any, juvenile: Any, population: Any) -> None:
    case = case_of(clinic, *day(clinic, BEFORE, START), *day(clinic, WEEK_12, LAST), born=born, conditions=conditions)
    score = only(case, "tis")

    assert ages.is_juvenile(case, INFUSION) is juvenile
    assert ages.population(case, INFUSION) == population
    assert score.reasons == (() if population else ("population_unknown",))
    assert ("jdm_inactive" in found(case)) is (juvenile is True)


@pytest.mark.parametrize(("born", "flags"), [("1970-01-01", ()), (None, ("age_unknown",)), ("2006", ("age_unknown",))])
def test_an_adult_by_default_is_flagged(clinic: Any, born: str | None, flags: tuple[str, ...]) -> None:
    case = case_of(clinic, *day(clinic, BEFORE, START), *day(clinic, WEEK_12, LAST), born=born)

    assert only(case, "tis").flags == only(case, "tis_category").flags == flags


def test_what_is_doubtful_about_a_measure_is_doubtful_about_the_score(clinic: Any) -> None:
    first, last = ({name: value for name, value in values.items() if name != "haq_di"} for values in (START, LAST))
    haq = [clinic.core("haq_di", "2024-03", 1), clinic.core("haq_di", WEEK_12, Decimal("0.75"))]
    score = only(case_of(clinic, *day(clinic, BEFORE, first), *day(clinic, WEEK_12, last), *haq), "tis")

    assert (score.number, score.flags) == (45, ("partial_date",))


def test_without_any_measure_each_rule_says_so_once(clinic: Any) -> None:
    outcomes = found(case_of(clinic))

    assert {name: len(some) for name, some in outcomes.items()} == dict.fromkeys(
        ("tis", "imacs_improvement", "imacs_worsening", "proderm_deterioration"), 1
    )
    assert {(one.visit, one.when) for some in outcomes.values() for one in some} == {(None, None)}
    assert outcomes["tis"][0].reasons == tuple(
        f"measure_missing:{name}" for name in ("physician_global_vas", "patient_global_vas", "haq_di", "mmt8", "enzyme", "extramuscular_vas")
    )  # fmt: skip


def test_what_every_visit_lacks_is_said_once(clinic: Any) -> None:
    start = {"mmt8_150": 130, "ck": 900}
    records = [
        *day(clinic, BEFORE, start),
        *(one for when in (WEEK_4, WEEK_8, WEEK_12) for one in day(clinic, when, start)),
    ]
    outcomes = found(case_of(clinic, *records), replace(ALL, tis_lower_bound=True))
    [score] = outcomes["tis"]

    assert (score.visit, score.when, "tis_category" in outcomes) == (None, None, False)
    assert score.reasons == tuple(
        f"measure_missing:{name}"
        for name in ("physician_global_vas", "patient_global_vas", "haq_di", "extramuscular_vas")
    )
    assert {one.role for one in score.inputs} == {"baseline"}
    # What can be told at each visit still is.
    assert [one.visit for one in outcomes["tis_lower_bound"]] == ["week_4", "week_8", "week_12"]


def test_visits_that_lack_different_measures_each_say_their_own(clinic: Any) -> None:
    without = {
        when: {n: v for n, v in START.items() if n != name} for when, name in ((WEEK_4, "haq_di"), (WEEK_8, "ck"))
    }
    records = [
        *day(clinic, BEFORE, START),
        *(one for when, values in without.items() for one in day(clinic, when, values)),
    ]
    outcomes = found(case_of(clinic, *records))

    assert {one.visit: one.reasons for one in outcomes["tis"]} == {
        "week_4": ("followup_missing:haq_di",),
        "week_8": ("followup_missing:ck",),
    }


def test_a_value_in_no_window_makes_no_visit(clinic: Any) -> None:
    case = case_of(clinic, *day(clinic, BEFORE, START), *day(clinic, "2024-05-27", LAST))

    assert only(case, "tis").visit is None
    assert only(case, "tis").reasons[:2] == ("followup_missing:physician_global_vas", "no_window:physician_global_vas")


def test_the_visits_are_the_studys(clinic: Any) -> None:
    schedule = (Visit("twelve", 84, 70, 98),)
    case = case_of(clinic, *day(clinic, BEFORE, START), *day(clinic, WEEK_4, LAST), *day(clinic, WEEK_12, LAST))

    assert [one.visit for one in found(case, replace(ALL, visits=schedule))["tis"]] == ["twelve"]
    assert found(case, replace(ALL, visits=()))["tis"][0].visit is None


def test_a_visit_with_values_of_no_use_has_their_time(clinic: Any) -> None:
    start = {**START, "ast": 40}
    case = case_of(clinic, *day(clinic, BEFORE, start), *day(clinic, WEEK_4, {"ast": 40}))
    score = only(case, "tis")

    assert (score.visit, score.when) == ("week_4", WEEK_4)
    assert "followup_missing:ck" in score.reasons
    assert {one.role for one in score.inputs} == {"baseline"}


def test_a_measure_of_juveniles_makes_no_visit_of_an_adult(clinic: Any) -> None:
    case = case_of(clinic, *day(clinic, BEFORE, START), *day(clinic, WEEK_4, {"cmas": 40, "jdm_das_total": 4}))

    assert {(one.visit, one.when) for some in found(case).values() for one in some} == {(None, None)}


def test_where_adult_or_not_is_unknown_there_is_no_score_at_any_visit(clinic: Any) -> None:
    juvenile = (diagnosis("dm_juvenile"),)
    case = case_of(clinic, *day(clinic, BEFORE, START), *day(clinic, WEEK_4, LAST), born=None, conditions=juvenile)

    assert (only(case, "tis").visit, only(case, "tis").reasons) == (None, ("population_unknown",))
    assert "tis_category" not in found(case)
    assert only(case, "imacs_improvement").answer == "yes"


def test_a_stricter_rule_that_is_decided_is_not_lost_where_the_plain_one_never_is(clinic: Any) -> None:
    # An active physician's global rules the strict one out; of the plain one three of four are open at every visit.
    seen = [one for when in (WEEK_4, WEEK_8) for one in day(clinic, when, {"physician_global_vas": 3})]
    outcomes = found(case_of(clinic, *seen, born="2012-01-01", conditions=(diagnosis("dm_juvenile"),)))
    [plain] = outcomes["jdm_inactive"]
    assert (plain.answer, plain.visit) == (None, None)
    assert [(one.visit, one.answer) for one in outcomes["jdm_inactive_phga"]] == [("week_4", "no"), ("week_8", "no")]
