"""Every instrument over time: which way is better, multiples of upper limits, visits, activity from totals.

Every case: one infusion on 15 April 2024 (day 0), a baseline before it, follow-ups after it; numbers worked out by hand.
"""

from collections.abc import Sequence
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from dm_fhir.model.case import Assessment, Case, Outcome
from dm_fhir.model.definitions import MONTHS, Definitions
from dm_fhir.outcomes import battery, instruments
from dm_fhir.outcomes.instruments import CORE, INSTRUMENTS
from dm_fhir.outcomes.measured import measured_as

INFUSION = "2024-04-15T10:00:00-04:00"
BEFORE, AFTER = "2024-04-08", "2024-07-08"  # the follow-up is day 84: week 12
CK = {"system": "http://loinc.org", "code": "2157-6"}
Found = dict[str, list[Outcome]]


def computed(case: Case, definitions: Definitions = battery.DEFAULTS) -> Found:
    found: Found = {}
    for outcome in battery.outcomes(case, definitions=definitions):
        found.setdefault(outcome.variable, []).append(outcome)
    return found


@pytest.fixture
def compute(clinic: Any) -> Any:
    """The outcomes of a case by variable."""

    def outcomes(*assessments: Assessment, definitions: Definitions = battery.DEFAULTS) -> Found:
        return computed(clinic.case(assessments, [clinic.infusion("1", INFUSION)]), definitions)

    return outcomes


#: Variable, its unit, baseline and follow-up of a patient who gets better, and the improvement.
BETTER = [
    ("cdasi_activity", "{score}", "26", "9", "17"),
    ("cdasi_damage", "{score}", "10", "8", "2"),
    ("mmt8_80", "{score}", "60", "76", "16"),
    ("mmt8_150", "{score}", "120", "145", "25"),
    ("mmt24_260", "{score}", "200", "240", "40"),
    ("dlqi", "{score}", "18", "4", "14"),
    ("cdlqi", "{score}", "18", "4", "14"),
    ("ck", "U/L", "900", "150", "750"),
    ("aldolase", "U/L", "15", "6", "9"),
    ("alt", "U/L", "90", "30", "60"),
    ("ast", "U/L", "90", "30", "60"),
    ("ldh", "U/L", "500", "200", "300"),
    ("physician_global_vas", "cm", "6.5", "2", "4.5"),
    ("patient_global_vas", "cm", "7", "3", "4"),
    ("extramuscular_vas", "cm", "4", "0.5", "3.5"),
    ("extramuscular_vas_sum", "{score}", "20", "5", "15"),
    ("haq_di", "{score}", "1.5", "0.75", "0.75"),
    ("chaq", "{score}", "1.5", "0.75", "0.75"),
    ("pruritus_nrs", "{score}", "8", "3", "5"),
    ("pruritus_vas", "cm", "8", "3", "5"),
    ("itch_5d", "{score}", "20", "9", "11"),
    ("skindex29_total", "{score}", "60", "20", "40"),
    ("skindex29_symptoms", "{score}", "60", "20", "40"),
    ("skindex29_emotions", "{score}", "60", "20", "40"),
    ("skindex29_functioning", "{score}", "60", "20", "40"),
    ("fvc_l", "L", "2.5", "3.1", "0.6"),
    ("fvc_percent_predicted", "%", "65", "72", "7"),
    ("cmas", "{score}", "30", "48", "18"),
    ("jdm_das_total", "{score}", "12", "3", "9"),
    ("jdm_das_muscle", "{score}", "7", "1", "6"),
    ("jdm_das_skin", "{score}", "5", "2", "3"),
    ("cat_activity", "{score}", "20", "8", "12"),
    ("cat_damage", "{score}", "5", "4", "1"),
    ("cat_bm_activity", "{score}", "9", "2", "7"),
    ("cat_bm_damage", "{score}", "5", "4", "1"),
    ("chq_phs", "{score}", "30", "45", "15"),
]


def value(clinic: Any, id: str, variable: str, unit: str, number: Any, when: str, **more: Any) -> Assessment:
    quantity = {"value": Decimal(number), "unit": unit, "code": unit, "system": "http://unitsofmeasure.org"}
    coding = clinic.own(variable.replace("_", "-"))
    return clinic.assessment(id, coding, effectiveDateTime=when, valueQuantity=quantity, **more)


@pytest.mark.parametrize(("variable", "unit", "first", "last", "improvement"), BETTER, ids=[one[0] for one in BETTER])
def test_better_is_positive_whichever_way_the_scale_runs(
    clinic: Any, compute: Any, variable: str, unit: str, first: str, last: str, improvement: str
) -> None:
    found = compute(value(clinic, "a", variable, unit, first, BEFORE), value(clinic, "b", variable, unit, last, AFTER))
    [start], [points], [percent] = (
        found[f"{variable}_{part}"] for part in ("baseline", "improvement", "percent_improvement")
    )

    assert (start.number, start.unit, start.reasons) == (Fraction(first), unit, ())
    assert (points.number, points.unit, points.visit, points.flags) == (Fraction(improvement), unit, "week_12", ())
    assert (percent.number, percent.visit) == (100 * Fraction(improvement) / Fraction(first), "week_12")


def test_every_variable_of_every_instrument_is_tried_here() -> None:
    assert {name for one in INSTRUMENTS for name in one.variables} == {one[0] for one in BETTER} | {"mmt8"}


def test_an_instrument_that_nobody_used_has_no_outcomes_and_the_usual_four_say_so(clinic: Any, compute: Any) -> None:
    found = compute(value(clinic, "a", "chaq", "{score}", 1, AFTER))
    of_instruments = {name: ones[0] for name, ones in found.items() if name in instruments.variables()}
    missing = {
        name for name, one in of_instruments.items() if one.reasons in (("baseline_missing",), ("followup_missing",))
    }

    assert missing == {
        *(f"{one.name}_{part}" for one in CORE for part in ("baseline", "improvement", "percent_improvement")),
        *("ck_x_uln_baseline", "ck_x_uln", "chaq_baseline"),
        *("chaq_improvement", "chaq_percent_improvement"),
    }
    assert not [name for name in found if name.startswith(("haq_di", "cmas", "aldolase"))]


def test_a_record_that_cannot_be_used_has_its_outcome_with_the_reason(clinic: Any, compute: Any) -> None:
    found = compute(value(clinic, "a", "haq_di", "{score}", "3.5", BEFORE))

    assert found["haq_di_baseline"][0].reasons == ("baseline_missing", "out_of_range")


def test_scores_that_are_never_mixed_make_no_change_with_each_other(clinic: Any, compute: Any) -> None:
    pairs = (("pruritus_nrs", "{score}", "pruritus_vas", "cm"), ("haq_di", "{score}", "chaq", "{score}"))
    for first, unit, last, other_unit in pairs:
        found = compute(value(clinic, "a", first, unit, 2, BEFORE), value(clinic, "b", last, other_unit, 1, AFTER))

        assert found[f"{first}_improvement"][0].reasons == ("followup_missing",)
        assert found[f"{last}_improvement"][0].reasons == ("baseline_missing",)


# Enzymes and their upper limits of normal.


def ck(clinic: Any, id: str, when: str, number: Any, uln: Any = None, unit: str = "U/L", **quantity: Any) -> Assessment:
    limit = {"referenceRange": [{"high": {"value": uln, "unit": unit}}]} if uln is not None else {}
    amount = {"value": number, "unit": unit, **quantity}
    return clinic.assessment(id, CK, effectiveDateTime=when, valueQuantity=amount, **limit)


def test_an_enzyme_is_told_in_multiples_of_its_own_limits(clinic: Any, compute: Any) -> None:
    found = compute(ck(clinic, "a", BEFORE, 450, 200), ck(clinic, "b", AFTER, 252, 252))
    [start], [seen] = found["ck_x_uln_baseline"], found["ck_x_uln"]

    assert (start.number, start.unit, start.when, start.reasons) == (Fraction(9, 4), "{ULN}", BEFORE, ())
    assert (seen.number, seen.about, seen.visit, seen.flags) == (1, "Observation/b", "week_12", ())
    assert [(one.role, one.source.reference, one.value) for one in seen.inputs] == [
        ("followup", "Observation/b", "252"),
    ]  # fmt: skip
    assert found["ck_baseline"][0].verdicts == {"ck_ctcae": "grade_1"}
    assert found["ck_improvement"][0].verdicts == {"ck_ctcae": "no_grade", "ck_normalised": "yes"}


def test_the_studys_limit_stands_in_for_a_missing_one_and_is_flagged(clinic: Any, compute: Any) -> None:
    chosen = Definitions(uln_u_per_l={"ck": Fraction(150)})
    found = compute(ck(clinic, "a", BEFORE, 450), ck(clinic, "b", AFTER, 300, 200), definitions=chosen)

    assert (found["ck_x_uln_baseline"][0].number, found["ck_x_uln_baseline"][0].flags) == (3, ("uln_configured",))
    # The record's own limit stands over the study's.
    assert (found["ck_x_uln"][0].number, found["ck_x_uln"][0].flags) == (Fraction(3, 2), ())
    assert found["ck_improvement"][0].verdicts["ck_normalised"] == "no"


@pytest.mark.parametrize("uln", [None, 0])
def test_without_a_limit_there_is_no_multiple_and_it_is_not_guessed(clinic: Any, compute: Any, uln: Any) -> None:
    others = Definitions(uln_u_per_l={"aldolase": Fraction(8)})
    found = compute(ck(clinic, "a", BEFORE, 450, uln), ck(clinic, "b", AFTER, 100, uln), definitions=others)

    assert [(one.number, one.reasons) for one in (*found["ck_x_uln_baseline"], *found["ck_x_uln"])] == [
        (None, ("uln_missing",)),
        (None, ("uln_missing",)),
    ]
    assert (found["ck_improvement"][0].number, found["ck_improvement"][0].verdicts) == (350, {})


def test_a_bound_has_no_multiple_and_may_be_normal_all_the_same(clinic: Any, compute: Any) -> None:
    found = compute(ck(clinic, "a", BEFORE, 450, 200), ck(clinic, "b", AFTER, 20, 200, comparator="<"))
    [points], [seen] = found["ck_improvement"], found["ck_x_uln"]

    assert (points.number, points.reasons) == (None, ("comparator",))
    assert points.verdicts == {"ck_ctcae": "no_grade", "ck_normalised": "yes"}
    assert (seen.number, seen.reasons, seen.verdicts) == (None, ("comparator",), {})


def test_values_that_contradict_each_other_have_no_multiple(clinic: Any, compute: Any) -> None:
    found = compute(ck(clinic, "a", BEFORE, 450, 200), ck(clinic, "b", AFTER, 20, 200), ck(clinic, "c", AFTER, 30, 200))

    assert [(one.about, one.reasons, one.visit) for one in found["ck_x_uln"]] == [
        ("Observation/b", ("conflict",), None),
        ("Observation/c", ("conflict",), None),
    ]


@settings(deadline=None, max_examples=40)
@given(*([st.integers(2, 4000)] * 3))
def test_the_unit_of_an_enzyme_changes_no_number_and_no_verdict(clinic: Any, first: int, last: int, limit: int) -> None:
    def outcomes(unit: str, factor: Fraction) -> tuple[Outcome, ...]:
        first_, last_, limit_ = (_decimal(number * factor) for number in (first * 60, last * 60, limit * 60))
        records = [ck(clinic, "a", BEFORE, first_, limit_, unit), ck(clinic, "b", AFTER, last_, limit_, unit)]
        return battery.outcomes(clinic.case(records, [clinic.infusion("1", INFUSION)]))

    assert outcomes("U/L", Fraction(1)) == outcomes("ukat/L", Fraction(1, 60))


@settings(deadline=None, max_examples=40)
@given(*([st.decimals(0, 10, places=1)] * 2))
def test_centimetres_and_millimetres_are_the_same(clinic: Any, first: Decimal, last: Decimal) -> None:
    def outcomes(unit: str, factor: int) -> tuple[Outcome, ...]:
        numbers = ((first, BEFORE), (last, AFTER))
        records = [value(clinic, when, "physician_global_vas", unit, number * factor, when) for number, when in numbers]
        return battery.outcomes(clinic.case(records, [clinic.infusion("1", INFUSION)]))

    assert outcomes("cm", 1) == outcomes("mm", 10)


def _decimal(number: Fraction) -> Decimal:
    return Decimal(number.numerator) / Decimal(number.denominator)


# Verdicts.

_HIGHEST = {
    "cdasi_activity": 100,
    "dlqi": 30,
    "physician_global_vas": 10,
    "haq_di": 3,
    "pruritus_nrs": 10,
    "itch_5d": 25,
}


@settings(deadline=None, max_examples=100)
@given(data=st.data())
def test_whoever_is_worse_has_improved_by_no_definition(clinic: Any, data: st.DataObject) -> None:
    variable = data.draw(st.sampled_from(sorted(_HIGHEST)))
    lowest = 5 if variable == "itch_5d" else 0
    scores = st.integers(lowest, _HIGHEST[variable])
    first, last = sorted((data.draw(scores), data.draw(scores)))
    unit = "cm" if variable.endswith("vas") else "{score}"
    records = [value(clinic, "a", variable, unit, first, BEFORE), value(clinic, "b", variable, unit, last, AFTER)]
    found = computed(clinic.case(records, [clinic.infusion("1", INFUSION)]))
    thresholds = next(one for one in INSTRUMENTS if one.name == variable).thresholds
    verdicts = found[f"{variable}_improvement"][0].verdicts | found[f"{variable}_percent_improvement"][0].verdicts

    assert {verdicts.get(one.id) for one in thresholds} <= {"no", "worse", None}


def test_each_outcome_has_the_verdicts_that_belong_to_it_and_no_other(clinic: Any, compute: Any) -> None:
    found = compute(clinic.score("a", "cdasi-activity", 20, BEFORE), clinic.score("b", "cdasi-activity", 12, AFTER))
    verdicts = {name: ones[0].verdicts for name, ones in found.items() if name.startswith("cdasi")}

    assert verdicts == {
        "cdasi_activity_baseline": {
            "cdasi_a_band_stanford_14": "not_mild",
            "cdasi_a_band_upenn_19": "moderate_severe",
            "cdasi_a_entry_ge_14": "yes",
        },
        "cdasi_activity_improvement": {
            "cdasi_a_mcid_4": "yes",
            "cdasi_a_mcid_5": "yes",
            "cdasi_a_band_stanford_14": "mild",
            "cdasi_a_band_upenn_19": "mild",
            "cdasi_a_entry_ge_14": "no",
        },
        "cdasi_activity_percent_improvement": {"cdasi_a_pct_40": "yes", "cdasi_a_pct_50": "no"},
    }


def test_a_band_of_the_follow_up_stands_also_where_there_is_no_baseline(clinic: Any, compute: Any) -> None:
    found = compute(clinic.score("b", "cdasi-activity", 12, AFTER))
    [points], [percent] = found["cdasi_activity_improvement"], found["cdasi_activity_percent_improvement"]

    assert points.reasons == ("baseline_missing",)
    assert points.verdicts == {
        "cdasi_a_band_stanford_14": "mild", "cdasi_a_band_upenn_19": "mild", "cdasi_a_entry_ge_14": "no",
    }  # fmt: skip
    assert percent.verdicts == {}


# Visits.


def test_of_two_follow_ups_in_a_window_the_nearer_stands_for_the_visit(clinic: Any, compute: Any) -> None:
    days = ("2024-05-10", "2024-05-14", "2024-05-25", "2024-07-08")  # days 25, 29, 40, 84
    found = compute(
        clinic.score("a", "cdasi-activity", 20, BEFORE),
        *(clinic.score(day, "cdasi-activity", 10, day) for day in days),
    )

    assert [one.visit for one in found["cdasi_activity_improvement"]] == [None, "week_4", None, "week_12"]
    assert [one.visit for one in found["cdasi_activity_percent_improvement"]] == [None, "week_4", None, "week_12"]


def test_a_study_of_months_has_their_visits(clinic: Any, compute: Any) -> None:
    records = (clinic.score("a", "dlqi", 20, BEFORE), clinic.score("b", "dlqi", 10, "2024-10-15"))
    found = compute(*records, definitions=Definitions(visits=MONTHS))

    assert found["dlqi_improvement"][0].visit == "month_6"


def test_a_contradiction_stands_for_no_visit(clinic: Any, compute: Any) -> None:
    found = compute(
        clinic.score("a", "dlqi", 20, BEFORE),
        *(clinic.score(f"b{score}", "dlqi", score, "2024-07-08") for score in (8, 9)),
        clinic.score("c", "dlqi", 10, "2024-07-10"),
    )["dlqi_improvement"]

    assert {one.about: one.visit for one in found} == {
        "Observation/b8": None,
        "Observation/b9": None,
        "Observation/c": "week_12",
    }


def test_each_scale_of_the_mmt8_has_its_visit(clinic: Any, compute: Any) -> None:
    found = compute(
        *(clinic.score(f"{scale}{when}", f"mmt8-{scale}", score, when)
          for scale, score in ((80, 70), (150, 130)) for when in (BEFORE, AFTER))
    )  # fmt: skip

    assert [found[f"mmt8_{scale}_improvement"][0].visit for scale in (80, 150)] == ["week_12", "week_12"]


def test_where_the_day_of_the_first_exposure_is_not_known_there_are_no_visits(clinic: Any) -> None:
    records = [clinic.score("a", "dlqi", 20, "2024-03-20"), clinic.score("b", "dlqi", 10, "2024-05-13")]
    found = computed(clinic.case(records, [clinic.infusion("1", "2024-04")]))

    assert (found["dlqi_improvement"][0].number, found["dlqi_improvement"][0].visit) == (10, None)


# CDASI activity as total minus damage.

TOTALS = Definitions(activity_from_total=True)


def panel(clinic: Any, id: str, when: str, total: Any, **parts: Any) -> Assessment:
    components = [
        {"code": {"coding": [clinic.own(f"cdasi-{name}")]}, "valueInteger": number} for name, number in parts.items()
    ]
    return clinic.score(id, "cdasi-total", total, when, component=components)


def apart(clinic: Any, id: str, when: str, total: Any, damage: Any) -> list[Assessment]:
    return [clinic.score(f"{id}t", "cdasi-total", total, when), clinic.score(f"{id}d", "cdasi-damage", damage, when)]


def test_total_minus_damage_of_one_assessment_is_activity_where_the_study_says_so(clinic: Any, compute: Any) -> None:
    records = [panel(clinic, "a", BEFORE, 40, damage=10), *apart(clinic, "b", AFTER, 28, 12)]
    found = compute(*records, definitions=TOTALS)
    [start], [points] = found["cdasi_activity_baseline"], found["cdasi_activity_improvement"]

    assert (start.number, start.flags) == (30, ("from_total",))
    assert (points.number, points.flags, points.about) == (14, ("from_total",), "Observation/bt")
    assert [(one.role, one.source.place, one.value) for one in points.inputs] == [
        ("baseline", "Observation/a", "30"),
        ("baseline_damage", "Observation/a#component[0]", "10"),
        ("followup", "Observation/bt", "16"),
        ("followup_damage", "Observation/bd", "12"),
    ]
    assert compute(*records)["cdasi_activity_baseline"][0].reasons == ("baseline_missing", "total_is_not_activity")


@pytest.mark.parametrize(
    ("assessments", "reasons"),
    [
        (lambda clinic: [panel(clinic, "a", BEFORE, 40)], ("baseline_missing", "total_is_not_activity")),
        # damage of another day; two damages of the day; damage of a form
        (
            lambda clinic: [clinic.score("t", "cdasi-total", 40, BEFORE), clinic.score("d", "cdasi-damage", 4, "2024-04-07")],
            ("baseline_missing", "total_is_not_activity"),
        ),
        (
            lambda clinic: [*apart(clinic, "a", BEFORE, 40, 4), clinic.score("d2", "cdasi-damage", 5, BEFORE)],
            ("baseline_missing", "total_is_not_activity"),
        ),
        (
            lambda clinic: [
                clinic.score("t", "cdasi-total", 40, BEFORE),
                _from_a_form(clinic.score("d", "cdasi-damage", 4, BEFORE)),
            ],
            ("baseline_missing", "total_is_not_activity"),
        ),
        # partial dates do not show that two are of one assessment
        (lambda clinic: apart(clinic, "a", "2024-03", 40, 4), ("baseline_missing", "total_is_not_activity")),
        (lambda clinic: apart(clinic, "a", BEFORE, 9, 10), ("baseline_missing", "out_of_range")),
        (lambda clinic: apart(clinic, "a", BEFORE, 131, 4), ("baseline_missing", "out_of_range")),
        (
            lambda clinic: [clinic.score("t", "cdasi-total", 40, BEFORE, status="cancelled"),
                            clinic.score("d", "cdasi-damage", 4, BEFORE)],
            ("baseline_missing", "status_excluded"),
        ),
    ],
)  # fmt: skip
def test_what_makes_no_activity(clinic: Any, compute: Any, assessments: Any, reasons: tuple[str, ...]) -> None:
    found = compute(*assessments(clinic), definitions=TOTALS)

    assert found["cdasi_activity_baseline"][0].reasons == reasons


def _from_a_form(one: Assessment) -> Assessment:
    return replace(one, source=replace(one.source, reference="QuestionnaireResponse/d"))


@pytest.mark.parametrize(
    ("activity", "number"),
    [({"value": 33}, 33), ({"value": None, "dataAbsentReason": {"text": "not done"}}, 36), ({"value": 33, "status": "cancelled"}, 36)],
)  # fmt: skip
def test_what_was_recorded_as_activity_stands_over_the_total(
    clinic: Any, compute: Any, activity: Any, number: int
) -> None:
    recorded = clinic.score("x", "cdasi-activity", activity.pop("value"), BEFORE, **activity)
    found = compute(*apart(clinic, "a", BEFORE, 40, 4), recorded, definitions=TOTALS)

    assert found["cdasi_activity_baseline"][0].number == number


def test_an_activity_that_is_out_of_range_is_not_mended_from_the_total(clinic: Any, compute: Any) -> None:
    wrong = clinic.score("x", "cdasi-activity", 333, BEFORE)
    found = compute(*apart(clinic, "a", BEFORE, 40, 4), wrong, definitions=TOTALS)

    assert found["cdasi_activity_baseline"][0].reasons == ("baseline_missing", "out_of_range", "total_is_not_activity")


def test_an_amended_total_replaces_the_one_before_it(clinic: Any, compute: Any) -> None:
    name = {"identifier": [{"system": "urn:his", "value": "7"}]}
    found = compute(
        clinic.score("t1", "cdasi-total", 40, BEFORE, **name),
        clinic.score("t2", "cdasi-total", 30, BEFORE, status="amended", **name),
        clinic.score("d", "cdasi-damage", 4, BEFORE),
        definitions=TOTALS,
    )

    assert found["cdasi_activity_baseline"][0].number == 26


def test_damage_is_followed_and_held_against_no_definition(clinic: Any, compute: Any) -> None:
    found = compute(clinic.score("a", "cdasi-damage", 10, BEFORE), clinic.score("b", "cdasi-damage", 2, AFTER))

    assert (found["cdasi_damage_improvement"][0].number, found["cdasi_damage_improvement"][0].verdicts) == (8, {})


@pytest.fixture(scope="module")
def crowded(clinic: Any) -> Any:
    """Everything at once: totals and activities, three enzymes with and without limits, ratings of several kinds, a conflict."""
    assessments: Sequence[Assessment] = [
        panel(clinic, "a", BEFORE, 40, damage=10),
        *apart(clinic, "b", AFTER, 28, 12),
        clinic.score("c", "cdasi-activity", 9, "2024-05-13"),
        clinic.score("c2", "cdasi-activity", 11, "2024-05-13"),
        ck(clinic, "d", BEFORE, 450, 200),
        ck(clinic, "e", AFTER, 3, 4, "ukat/L"),
        value(clinic, "f", "ldh", "U/L", 500, BEFORE),
        value(clinic, "g", "ldh", "U/L", 250, AFTER),
        value(clinic, "h", "haq_di", "{score}", "1.5", BEFORE),
        value(clinic, "i", "haq_di", "{score}", "1.375", AFTER),
        value(clinic, "j", "physician_global_vas", "mm", 62, BEFORE),
        value(clinic, "k", "physician_global_vas", "cm", "3.5", AFTER),
        clinic.score("l", "mmt8-80", 70, BEFORE),
        clinic.score("m", "mmt8-150", 130, AFTER),
    ]
    return clinic.case(assessments, [clinic.infusion("1", INFUSION)])


@settings(deadline=None, derandomize=True, database=None, max_examples=50)
@given(data=st.data())
def test_the_order_of_records_changes_nothing(crowded: Any, data: st.DataObject) -> None:
    shuffled = replace(crowded, assessments=tuple(data.draw(st.permutations(crowded.assessments))))
    chosen = Definitions(activity_from_total=True, uln_u_per_l={"ldh": Fraction(240)})

    assert battery.outcomes(shuffled, definitions=chosen) == battery.outcomes(crowded, definitions=chosen)


def test_records_come_in_the_order_of_the_case_with_their_parts_behind_them(clinic: Any) -> None:
    case = clinic.case([panel(clinic, "b", AFTER, 40, damage=10), clinic.score("a", "cdasi-total", 30, BEFORE)], [])
    found = measured_as(case, {"cdasi_total", "cdasi_damage"})

    assert [one.source.place for one in found] == ["Observation/b", "Observation/b#component[0]", "Observation/a"]
