"""What each measure of a composite came to: the outcome carries it, as the working that explains it says it."""

from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from msgspec.structs import replace

from dm_fhir.model.case import Case, Concept, Condition, Outcome, Part, Source, Subject
from dm_fhir.model.definitions import Definitions
from dm_fhir.model.exact import to_text
from dm_fhir.outcomes import battery, composites
from dm_fhir.outcomes.working import working

BEFORE, WEEK_4, WEEK_12 = "2024-04-08", "2024-05-13", "2024-07-08"
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
JUVENILE = {"cmas": 40, "jdm_das_total": 10, "mmt8_80": 70}
DEFINITIONS = Definitions(enzyme_range_in_uln_juvenile={"ck": Fraction(15)}, tis_lower_bound=True)


def case_of(clinic: Any, *visits: tuple[str, dict[str, Any]], born: str = "1970-01-01") -> Case:
    measured = [
        clinic.core(name, when, Decimal(value), 200 if name == "ck" else None)
        for when, values in visits
        for name, value in values.items()
    ]
    case = clinic.case(measured, [clinic.infusion("1", "2024-04-15T10:00:00-04:00")])
    juvenile = (Condition(Source("north", "Condition/1"), Concept(variable="juvenile_dermatomyositis")),)
    subject = Subject(Source("north", "Patient/1"), birth_date=born)
    return replace(case, subject=subject, conditions=juvenile if born > "2000" else ())


def outcomes(case: Case) -> dict[str, Outcome]:
    found = battery.outcomes(case, definitions=DEFINITIONS)
    return {one.variable: one for one in found if one.variable in composites.variables()}


def test_the_points_of_a_score_are_those_of_its_parts(clinic: Any) -> None:
    found = outcomes(case_of(clinic, (BEFORE, START), (WEEK_12, LAST)))
    parts = found["tis"].parts

    assert [(one.measure, one.variable, one.points, one.percent_of_range) for one in parts] == [
        ("physician_global_vas", "physician_global_vas", 15, 20),
        ("patient_global_vas", "patient_global_vas", Fraction(5, 2), 10),
        ("haq_di", "haq_di", 5, Fraction(25, 3)),
        ("mmt8", "mmt8_150", 10, Fraction(16, 3)),
        ("enzyme", "ck", 5, 20),
        ("extramuscular_vas", "extramuscular_vas", Fraction(15, 2), 15),
    ]
    assert found["tis"].number == sum(one.points for one in parts) == 45
    assert found["tis_category"].parts == parts


def test_what_is_known_of_an_incomplete_score_is_told_with_what_is_not(clinic: Any) -> None:
    last = {name: value for name, value in LAST.items() if name != "haq_di"}
    found = outcomes(case_of(clinic, (BEFORE, START), (WEEK_12, last)))

    assert [(one.points, one.reasons) for one in found["tis"].parts if one.measure in ("haq_di", "mmt8")] == [
        (None, ("followup_missing:haq_di",)),
        (10, ()),
    ]
    lower = found["tis_lower_bound"]
    assert lower.number == sum(one.points for one in lower.parts if one.points is not None) == 40


def test_a_definition_says_of_each_measure_what_was_asked(clinic: Any) -> None:
    found = outcomes(case_of(clinic, (BEFORE, START), (WEEK_12, LAST)))
    strength, enzyme = found["imacs_improvement"].parts[3:5]

    assert strength == Part(
        "mmt8", "mmt8_150", percent_of_baseline=Fraction(80, 13), verdicts={"improved_20": "no", "worse_25": "no"}
    )
    assert (enzyme.percent_of_baseline, enzyme.verdicts["improved_20"]) == (Fraction(200, 3), "yes")
    assert [one.measure for one in found["proderm_deterioration"].parts] == [
        "physician_global_vas", "patient_global_vas", "haq_di", "mmt8", "extramuscular_vas",
    ]  # fmt: skip


def test_inactive_disease_says_which_limits_are_kept(clinic: Any) -> None:
    last = {"ck": 150, "cmas": 47, "physician_global_vas": "0.2"}
    found = outcomes(case_of(clinic, (BEFORE, {**START, **JUVENILE}), (WEEK_12, last), born="2012-01-01"))

    assert [(one.measure, one.variable, one.verdicts, one.reasons) for one in found["jdm_inactive"].parts] == [
        ("ck", "ck", {"limit_kept": "yes"}, ()),
        ("cmas", "cmas", {"limit_kept": "no"}, ()),
        ("mmt8_80", None, {}, ("followup_missing:mmt8_80",)),
        ("physician_global_vas", "physician_global_vas", {"limit_kept": "yes"}, ()),
    ]


def test_a_bound_that_leaves_the_percentage_open_says_between_what_it_lies(clinic: Any) -> None:
    case = case_of(clinic, (BEFORE, START), (WEEK_12, LAST))
    bounded = [
        replace(one, measured=replace(one.measured, result=replace(one.measured.result, bound="upper_exclusive")))
        if one.measured.concept.variable == "extramuscular_vas" and one.when == WEEK_12
        else one
        for one in case.assessments
    ]
    found = outcomes(replace(case, assessments=tuple(bounded)))
    scored, judged = found["tis"].parts[-1], found["imacs_improvement"].parts[-1]

    assert (scored.percent_of_range, scored.between, scored.points) == (None, "> 15, <= 50", None)
    assert (judged.percent_of_baseline, judged.between) == (None, "> 30, <= 100")


def test_what_is_said_once_for_all_visits_has_no_parts(clinic: Any) -> None:
    values = {"physician_global_vas": 4}
    found = outcomes(case_of(clinic, (BEFORE, START), (WEEK_4, values), (WEEK_12, values)))

    assert (found["tis"].visit, found["tis"].parts) == (None, ())


@pytest.mark.parametrize("born", ["1970-01-01", "2012-01-01"])
def test_the_parts_say_what_the_working_says(clinic: Any, born: str) -> None:
    case = case_of(clinic, (BEFORE, {**START, **JUVENILE}), (WEEK_12, {**LAST, **JUVENILE}), born=born)
    for outcome in outcomes(case).values():
        explained = working(case, outcome, DEFINITIONS)
        assert explained is not None
        steps = [step for step in explained.steps if step.visit == outcome.visit]
        assert [(one.measure, one.variable, one.reasons) for one in outcome.parts] == [
            (step.measure, step.variable, step.reasons) for step in steps
        ]
        for part, step in zip(outcome.parts, steps, strict=True):
            percent = part.percent_of_range if part.percent_of_range is not None else part.percent_of_baseline
            assert step.came_to.get("percent") == (part.between if percent is None else to_text(percent))
            assert part.points == (Fraction(step.came_to["points"]) if "points" in step.came_to else None)
            assert part.verdicts.items() <= {**step.came_to, "limit_kept": step.came_to.get("kept")}.items()
