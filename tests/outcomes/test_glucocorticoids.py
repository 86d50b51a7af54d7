"""Doses of glucocorticoids as prednisone, and their course: the hand-checked vectors, and what is not in them."""

import json
from datetime import date, timedelta
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from dm_fhir.model.case import Case, Therapy
from dm_fhir.model.definitions import Definitions, Visit
from dm_fhir.outcomes.glucocorticoid_outcomes import reckoned
from dm_fhir.outcomes.glucocorticoids import course, days_at_zero

from .pharmacy import (
    DAY_0,
    LAST,
    administration,
    case,
    computed,
    copied,
    days,
    dosage,
    exposed,
    infusion,
    order,
    statement,
)

VECTORS = json.loads(
    (Path(__file__).parents[1] / "vectors" / "outcome_vectors.json").read_text(encoding="utf-8"), parse_float=Decimal
)["cases"]
BASELINE, DOSE, STATUS = (
    "prednisone_equivalent_mg_per_day_baseline",
    "prednisone_equivalent_mg_per_day",
    "glucocorticoid_status",
)


def vectors(topic: str) -> list[Any]:
    return [pytest.param(one["inputs"], one["expected"], id=one["id"]) for one in VECTORS if one["topic"] == topic]


def dose_on(found: Case, day: date = LAST, definitions: Definitions | None = None) -> Any:
    """The stretch of the course that is this one day."""
    (stretch,) = course(found, day, day, definitions or Definitions()).stretches
    return stretch


@pytest.mark.parametrize(("inputs", "expected"), vectors("glucocorticoid_conversion"))
def test_conversion(inputs: dict[str, Any], expected: dict[str, Any]) -> None:
    drug = {"vamorolone": "systemic_glucocorticoid_no_factor"}.get(inputs["drug"], inputs["drug"])
    route = inputs.get("route", "").replace("intraarticular", "intra-articular") or None
    often = {"frequency": inputs.get("times", 1), "period": inputs.get("period_days", 1)}
    pieces = inputs.get("tablets")
    taken = dosage(pieces or inputs["dose_mg"], route, "{tbl}" if pieces else "mg", **often)
    taken |= {"asNeededBoolean": True} if inputs.get("as_needed") else {}
    elements = tablets(drug, inputs["tablet_mg"]) if "tablet_mg" in inputs else {}
    own = {inputs["drug"]: 5 / Fraction(inputs["equivalent_mg"])} if "equivalent_mg" in inputs else {}
    record = statement("1", drug, days(0, 84), taken, **elements)

    whole = course(case(record), LAST, LAST, Definitions(prednisone_factors=own))

    (found,) = whole.stretches
    mg = expected["prednisone_equivalent_mg_per_day"]
    reasons = {reason.partition(":")[0] for reason in found.reasons} | {one.reason for one in whole.records.left_out}
    assert found.mg_per_day == (Fraction(mg) if expected["counted"] else None)
    assert found.pulse_mg == (Fraction(mg) if expected["pulse"] else 0)
    assert expected["reason"] is None or expected["reason"] in reasons
    assert expected["reason"] is not None or reasons == set()


def tablets(drug: str, mg: int) -> dict[str, Any]:
    """The elements of a statement whose Medication says what a tablet holds."""
    code = statement("0", drug, None).medication.codings[0]
    concept = {"coding": [{"system": code.system, "code": code.code}]}
    strength = {"numerator": {"value": mg, "unit": "mg"}, "denominator": {"value": 1, "unit": "{tbl}"}}
    ingredient = [{"itemCodeableConcept": concept, "strength": strength}]
    contained = {"resourceType": "Medication", "id": "m", "code": concept, "ingredient": ingredient}
    return {"contained": [contained], "medicationCodeableConcept": None, "medicationReference": {"reference": "#m"}}


def of_vector(inputs: dict[str, Any], clinic: Any) -> Case:
    """Statements that simply end, of one drug each; pulses as administrations; an assessment on the follow-up day."""
    drugs = ("prednisone", "prednisolone", "prednisone")
    said = [
        statement(str(n), drugs[n], {"start": one["from"], "end": one["to"]}, dosage(one["mg_per_day"]))
        for n, one in enumerate(inputs["segments"])
    ]
    pulses = [
        administration(f"p{day}", "methylprednisolone", day, 1000, "intravenous") for day in inputs.get("pulses", [])
    ]
    return case(*said, given=pulses, seen=[clinic.score("f", "cdasi-activity", 5, inputs["followup"])])


@pytest.mark.parametrize("visit", ["week_12", "last"])
@pytest.mark.parametrize(("inputs", "expected"), vectors("glucocorticoid_course"))
def test_course(inputs: dict[str, Any], expected: dict[str, Any], visit: str, clinic: Any) -> None:
    found = computed(of_vector(inputs, clinic))
    baseline, dose, status = found[BASELINE, None], found[DOSE, visit], found[STATUS, visit]

    assert baseline.number == exact(expected["baseline_exact"])
    assert baseline.verdicts["coverage_days"] == str(expected["coverage_days"])
    assert baseline.verdicts["pulses_in_baseline"] == str(expected["pulses_in_baseline"])
    assert dose.number == exact(expected["followup_mg"])
    assert status.verdicts.get("zero_days") == maybe_text(expected["zero_run_days"])
    assert (status.answer or "unknown") == expected["status"]
    assert exact(status.verdicts.get("reduction_percent")) == exact(expected["reduction_percent"])
    answers = {None: None, True: "yes", False: "no"}
    names = ("ge_25", "ge_50", "le_7_5", "le_5")
    assert {name: status.verdicts.get(name) for name in names} == {name: answers[expected[name]] for name in names}
    assert bool(status.reasons) == (expected["status"] == "unknown")


def exact(text: str | None) -> Fraction | None:
    return Fraction(text) if text is not None else None


def maybe_text(value: int | None) -> str | None:
    return str(value) if value is not None else None


TO_THE_END = days(-200, 84)


def test_an_unknown_baseline_says_how_many_days_are_known_and_what_is_missing() -> None:
    found = computed(case(statement("1", "prednisone", days(-14, 84), dosage(10))))
    assert found[BASELINE, None].reasons == ("baseline_missing", "days_known:14 of 28", "not_documented")
    assert found[BASELINE, None].when is None


def test_the_factors_used_are_told_and_those_of_the_study_stand_over_the_published() -> None:
    said = (
        statement("1", "dexamethasone", TO_THE_END, dosage(4)),
        statement("2", "prednisone", TO_THE_END, dosage(5)),
    )
    usual = computed(case(*said))[BASELINE, None]
    own = computed(case(*said), Definitions(prednisone_factors={"dexamethasone": Fraction(25, 3)}))[BASELINE, None]

    assert (usual.number, usual.verdicts["factor_dexamethasone"]) == (5 + Fraction(80, 3), "20/3")
    assert (own.number, own.verdicts["factor_dexamethasone"], own.verdicts["factor_prednisone"]) == (
        5 + Fraction(100, 3),
        "25/3",
        "1",
    )
    assert {one.source.reference: one.value for one in own.inputs if one.role == "glucocorticoid"} == {
        "MedicationStatement/1": "100/3",
        "MedicationStatement/2": "5",
    }


def test_a_drug_without_factor_makes_the_day_unknown_and_is_named() -> None:
    said = (statement("1", "prednisone", TO_THE_END, dosage(10)), statement("2", "meprednisone", TO_THE_END, dosage(4)))
    assert dose_on(case(*said)).reasons == ("no_factor:meprednisone",)
    assert (
        dose_on(case(*said), definitions=Definitions(prednisone_factors={"meprednisone": Fraction(5, 4)})).mg_per_day
        == 15
    )


@pytest.mark.parametrize(
    ("status", "end", "mg"),
    [("completed", 50, 0), ("stopped", 50, 0), ("active", 50, None), ("unknown", 50, None), ("completed", None, None),
     ("stopped", None, None), ("active", None, 10), ("on-hold", 84, None), ("intended", 84, None), ("not-taken", None, 0)],
)  # fmt: skip
def test_only_an_explicit_stop_makes_zero_of_no_record(status: str, end: int | None, mg: int | None) -> None:
    assert dose_on(case(statement("1", "prednisone", days(-100, end), dosage(10), status=status))).mg_per_day == mg


def test_an_order_is_known_within_its_dates_only_and_without_an_end_not_at_all() -> None:
    assert dose_on(case(order("1", "prednisone", days(-100, 84), dosage(10)))).mg_per_day == 10
    assert dose_on(case(order("1", "prednisone", days(-100), dosage(10)))).reasons == ("end_missing:prednisone",)
    assert dose_on(case(order("1", "prednisone", None, dosage(10)))).reasons == ("start_missing:prednisone",)


def test_zero_after_a_stop_lasts_until_the_next_record_of_any_glucocorticoid() -> None:
    said = (
        statement("1", "prednisone", days(-100, 9), dosage(10), status="completed"),
        statement("2", "hydrocortisone", days(20, 29), dosage(20)),
    )
    whole = course(case(*said), DAY_0, LAST, Definitions())
    assert [(one.days, one.mg_per_day) for one in whole.stretches] == [(10, 10), (10, 0), (10, 5), (55, None)]
    assert days_at_zero(whole, DAY_0 + timedelta(days=19)) == 10


def test_of_one_drug_administrations_are_believed_before_statements_before_orders() -> None:
    said = (statement("1", "prednisone", TO_THE_END, dosage(10)), order("2", "prednisone", TO_THE_END, dosage(15)))
    given_twice = [administration(id, "prednisone", f"{LAST}T{id}:00:00-04:00", 10) for id in ("08", "20")]
    assert dose_on(case(*said)).mg_per_day == 10
    assert dose_on(case(said[1])).mg_per_day == 15
    assert dose_on(case(*said, given=given_twice)).mg_per_day == 20
    assert dose_on(case(*said, given=[replace(given_twice[0], status="not-done")])).mg_per_day == 0


def test_a_statement_without_a_dose_leaves_the_day_to_the_order() -> None:
    said = (statement("1", "prednisone", TO_THE_END), order("2", "prednisone", TO_THE_END, dosage(15)))
    assert dose_on(case(*said)).mg_per_day == 15
    assert dose_on(case(said[0])).reasons == ("dose_missing:prednisone",)


@pytest.mark.parametrize(("mg", "pulse", "counted"), [(250, Fraction(625, 2), 10), (249, 0, 10 + Fraction(5 * 249, 4))])
def test_two_doses_of_a_day_may_be_a_pulse_together(mg: int, pulse: Fraction, counted: Fraction) -> None:
    halves = [
        administration(id, "methylprednisolone", f"{LAST}T{id}:00:00-04:00", exact_half(mg), "intravenous")
        for id in ("08", "20")
    ]
    found = dose_on(case(statement("1", "prednisone", TO_THE_END, dosage(10)), given=halves))
    assert (found.pulse_mg, found.mg_per_day) == (pulse, counted)


def exact_half(mg: int) -> Decimal:
    return Decimal(mg) / 2


def test_a_pulse_is_intravenous_methylprednisolone_alone() -> None:
    for drug, route in (("methylprednisolone", "oral"), ("dexamethasone", "intravenous")):
        found = dose_on(case(given=[administration("1", drug, str(LAST), 300, route)]))
        assert (found.pulse_mg, found.mg_per_day is not None) == (0, True)


def test_a_pulse_alone_is_no_daily_dose_and_nothing_is_known_after_it() -> None:
    pulse = administration("1", "methylprednisolone", str(LAST), 500, "intravenous")
    off = statement("1", "prednisone", days(-100, 0), dosage(10), status="completed")
    whole = course(case(off, given=[pulse]), LAST - timedelta(days=1), LAST + timedelta(days=1), Definitions())
    assert [(one.mg_per_day, one.reasons) for one in whole.stretches] == [
        (0, ()),
        (None, ("pulse_reported_separately",)),
        (None, ("not_documented",)),
    ]


def test_what_is_put_on_the_skin_or_into_a_joint_leaves_the_days_known() -> None:
    oral, skin = statement("1", "prednisone", TO_THE_END, dosage(10)), dosage(20, "topical")
    joint = administration("3", "triamcinolone", str(LAST), 40, "intra-articular")
    found = case(oral, statement("2", "methylprednisolone", TO_THE_END, skin), given=[joint])
    assert dose_on(found).mg_per_day == 10


def test_a_depot_injection_stands_apart() -> None:
    depot = administration("1", "triamcinolone", "2024-04-01", 40, "intramuscular")
    baseline = computed(case(statement("1", "prednisone", TO_THE_END, dosage(10)), given=[depot]))[BASELINE, None]
    assert (baseline.number, baseline.flags) == (10, ("depot_injection",))


def test_partial_dates_make_only_the_sure_days_known() -> None:
    partial = statement("1", "prednisone", {"start": "2024-04", "end": "2024-06"}, dosage(10))
    whole = course(case(partial), date(2024, 4, 1), date(2024, 6, 30), Definitions())
    assert [(str(one.first), str(one.last), one.mg_per_day) for one in whole.stretches] == [
        ("2024-04-01", "2024-04-29", None),
        ("2024-04-30", "2024-06-01", 10),
        ("2024-06-02", "2024-06-30", None),
    ]


def test_a_day_shared_by_two_records_of_a_drug_is_that_of_the_later() -> None:
    said = (
        statement("1", "prednisone", days(-100, 0), dosage(20), status="completed"),
        statement("2", "prednisone", days(0, 84), dosage(10)),
    )
    assert dose_on(case(*said), DAY_0).mg_per_day == 10
    assert dose_on(case(*said), DAY_0 - timedelta(days=1)).mg_per_day == 20


@pytest.mark.parametrize("end", [84, None])
@pytest.mark.parametrize("record", [statement, order])
def test_records_that_began_together_add_up_and_others_side_by_side_are_unclear(record: Any, end: int | None) -> None:
    morning, evening = (record(id, "prednisone", days(-100, 84), dosage(mg)) for id, mg in (("1", 5), ("2", 2)))
    renewed = record("3", "prednisone", days(50, end), dosage(5))
    assert dose_on(case(morning, evening)).mg_per_day == 7
    reason = "end_missing" if record is order and end is None else "overlap_unclear"
    assert dose_on(case(morning, renewed)).reasons == (f"{reason}:prednisone",)
    assert dose_on(case(morning, renewed), DAY_0 + timedelta(days=49)).mg_per_day == 5


def test_an_order_that_carries_out_another_is_not_a_second_dose() -> None:
    def named(id: str, **elements: Any) -> Therapy:
        return order(id, "prednisone", TO_THE_END, dosage(10), identifier=[{"value": id}], **elements)

    whole, part = named("1"), named("2", intent="instance-order", basedOn=[{"reference": "MedicationRequest/1"}])
    assert dose_on(case(whole, part)).mg_per_day == 10
    assert dose_on(case(whole, named("2"))).mg_per_day == 20
    assert dose_on(case(named("1", intent="plan"), part)).mg_per_day == 10


def test_a_course_that_ended_nobody_knows_when_is_over_once_the_next_of_the_drug_begins() -> None:
    old = statement("1", "prednisone", days(-900), dosage(40), status="completed")
    assert dose_on(case(old, statement("2", "prednisone", TO_THE_END, dosage(10)))).mg_per_day == 10
    assert dose_on(case(old, statement("2", "hydrocortisone", TO_THE_END, dosage(20)))).mg_per_day is None


def test_copies_of_a_record_count_once() -> None:
    one = statement("1", "prednisone", TO_THE_END, dosage(10))
    named = replace(one, identifiers=statement("9", "prednisone", None, identifier=[{"value": "a"}]).identifiers)
    other = replace(one, identifiers=statement("9", "prednisone", None, identifier=[{"value": "b"}]).identifiers)
    assert dose_on(case(one, copied(one, "MedicationStatement/2"))).mg_per_day == 10
    assert "duplicate_suspected" in computed(case(one, copied(one, "MedicationStatement/2")))[BASELINE, None].flags
    assert dose_on(case(named, copied(named, "MedicationStatement/2"))).mg_per_day == 10
    assert dose_on(case(named, copied(other, "MedicationStatement/2"))).mg_per_day == 20


def test_the_end_of_a_taper_within_one_record_is_no_stop() -> None:
    steps = [dosage(20, boundsPeriod=days(-100, 20)), dosage(10, boundsPeriod=days(30, 40))]
    whole = course(
        case(statement("1", "prednisone", days(-100, 40), *steps, status="completed")), DAY_0, LAST, Definitions()
    )
    assert [(one.days, one.mg_per_day) for one in whole.stretches] == [(21, 20), (9, None), (11, 10), (44, 0)]


def test_more_than_200_mg_a_day_is_flagged() -> None:
    for mg, flags in ((200, ()), (201, ("implausible",))):
        assert computed(case(statement("1", "prednisone", TO_THE_END, dosage(mg))))[DOSE, "last"].flags == flags


def test_a_visit_speaks_of_the_day_of_its_assessment_else_of_its_target_and_not_beyond_follow_up(clinic: Any) -> None:
    said = statement("1", "prednisone", days(-200), dosage(10))
    seen = [clinic.score(day, "cdasi-activity", 5, day) for day in ("2024-05-10", "2024-07-01")]
    found = computed(case(said, seen=seen))
    assert {visit: one.when for (name, visit), one in found.items() if name == DOSE} == {
        "week_4": "2024-05-10",
        "week_8": "2024-06-10",
        "week_12": "2024-07-01",
        "last": "2024-07-01",
    }


def test_windows_are_those_of_the_study() -> None:
    own = Definitions(visits=(Visit("early", 10, 5, 15),))
    said = statement("1", "prednisone", TO_THE_END, dosage(10))
    found = computed(case(said, infusions=[infusion("0", 0), infusion("1", 30)]), own)
    assert {visit for name, visit in found if name == STATUS} == {"early", "last"}


def test_without_exposure_or_its_day_nothing_is_computed_and_the_reason_told() -> None:
    said = statement("1", "prednisone", TO_THE_END, dosage(10))
    for infusions, reason in (((), "no_exposure"), ((replace(infusion("0", 0), when="2024-04"),), "first_day_unknown")):
        found = computed(case(said, infusions=infusions))
        assert {found[BASELINE, None].reasons, found[STATUS, "last"].reasons} == {(reason,)}


def test_a_dose_says_how_it_was_reckoned() -> None:
    said = (
        statement("1", "methylprednisolone", days(-200, -15), dosage(16)),
        statement("2", "methylprednisolone", days(-14, 84), dosage(8)),
        statement("3", "prednisone", days(-200, 84), dosage(5)),
    )
    found = case(*said)
    outcomes = computed(found)
    told = [reckoned(found, exposed(found), outcomes[name]) for name in ((BASELINE, None), (DOSE, "last"))]
    assert told == ["(14 x (16 x 5/4 + 5) + 14 x (8 x 5/4 + 5)) / 28", "(8 x 5/4 + 5)"]
    assert outcomes[BASELINE, None].number == 20
