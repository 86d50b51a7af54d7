"""Whole cases: which outcomes a patient's records make, and why some make none.

Every case: one infusion on 15 April 2024, a baseline before it, follow-ups after it; numbers worked out by hand.
"""

from collections.abc import Iterable
from decimal import Decimal
from fractions import Fraction
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from dm_fhir.mappings.codes import load_tables
from dm_fhir.model.case import Administration, Assessment, Outcome
from dm_fhir.model.dates import span
from dm_fhir.outcomes import battery, exposure

INFUSION = "2024-04-15T10:00:00-04:00"
BEFORE, AFTER = "2024-04-08", "2024-07-08"
ACTIVITY, TOTAL = "cdasi-activity", "cdasi-total"
CK = {"system": "http://loinc.org", "code": "2157-6"}


@pytest.fixture
def compute(clinic: Any) -> Any:
    """The outcomes of a case by name; a name that comes more than once has a list."""

    def outcomes(
        *assessments: Assessment, infusions: Iterable[Administration] | None = None
    ) -> dict[str, list[Outcome]]:
        given_drug = [clinic.infusion("1", INFUSION)] if infusions is None else infusions
        found: dict[str, list[Outcome]] = {}
        for outcome in battery.outcomes(clinic.case(assessments, given_drug), Fraction(300)):
            found.setdefault(outcome.variable, []).append(outcome)
        return found

    return outcomes


def test_a_case_from_baseline_to_follow_up(clinic: Any, compute: Any) -> None:
    found = compute(clinic.score("a", ACTIVITY, 15, BEFORE), clinic.score("b", ACTIVITY, 10, AFTER))
    [start], [points] = found["cdasi_activity_baseline"], found["cdasi_activity_improvement"]
    [percent], [dose] = found["cdasi_activity_percent_improvement"], found["cumulative_dose_mg"]

    assert (start.number, start.unit, start.when, start.reasons, start.flags) == (15, "{score}", BEFORE, (), ())
    assert (points.number, points.when, points.about) == (5, AFTER, "Observation/b")
    assert (percent.number, percent.unit) == (Fraction(100, 3), "%")
    assert [(i.role, i.source.reference, i.value) for i in points.inputs] == [
        ("baseline", "Observation/a", "15"),
        ("followup", "Observation/b", "10"),
    ]
    assert [(i.role, i.source.reference) for i in start.inputs][1] == ("first_exposure", "MedicationAdministration/1")
    assert (dose.number, dose.unit, dose.when) == (300, "mg", INFUSION)
    assert found["first_exposure"][0].date == found["last_exposure"][0].date == INFUSION


def test_every_follow_up_has_its_own_change_in_order_of_time(clinic: Any, compute: Any) -> None:
    later = [clinic.score("c", ACTIVITY, 18, "2024-09-02"), clinic.score("b", ACTIVITY, 10, AFTER)]
    found = compute(clinic.score("a", ACTIVITY, 15, BEFORE), *later)["cdasi_activity_improvement"]

    assert [(one.about, one.number, one.flags) for one in found] == [
        ("Observation/b", 5, ()),
        ("Observation/c", -3, ("worsened",)),
    ]


def test_an_amendment_replaces_what_it_amends(clinic: Any, compute: Any) -> None:
    name = {"identifier": [{"system": "urn:lab", "value": "7"}]}
    more = {"identifier": [{"system": "urn:his", "value": "1"}, {"system": "urn:lab", "value": "7"}]}
    found = compute(
        clinic.score("a", ACTIVITY, 15, BEFORE),
        clinic.score("b", ACTIVITY, 10, AFTER, **name),
        clinic.score("c", ACTIVITY, 12, "2024-07-09", status="amended", **more),
    )["cdasi_activity_improvement"]

    assert [(one.about, one.number) for one in found] == [("Observation/c", 3)]


def test_of_two_copies_the_later_issued_counts_before_the_later_stored(clinic: Any, compute: Any) -> None:
    found = compute(
        clinic.score("a", ACTIVITY, 15, BEFORE, issued="2024-04-09T12:00:00Z", last_updated="2024-04-09T12:00:00Z"),
        clinic.score("b", ACTIVITY, 17, BEFORE, issued="2024-04-09T10:00:00Z", last_updated="2024-06-01T00:00:00Z"),
    )

    assert found["cdasi_activity_baseline"][0].number == 15


@pytest.mark.parametrize("ids", ["ab", "ba"])
def test_of_two_dates_that_cannot_be_ordered_the_more_precise_counts(clinic: Any, compute: Any, ids: str) -> None:
    exact, month = ids
    found = compute(clinic.score(exact, ACTIVITY, 15, "2024-03-01"), clinic.score(month, ACTIVITY, 17, "2024-03"))

    assert found["cdasi_activity_baseline"][0].number == 15


def test_three_copies_that_are_named_in_a_chain_are_one_result(clinic: Any, compute: Any) -> None:
    names = {name: {"system": "urn:lab", "value": name} for name in ("1", "2")}
    found = compute(
        clinic.score("a", ACTIVITY, 15, "2024-04-01", identifier=[names["1"]]),
        clinic.score("b", ACTIVITY, 16, "2024-04-02", identifier=[names["2"]]),
        clinic.score("c", ACTIVITY, 17, "2024-04-03", identifier=[names["1"], names["2"]], status="corrected"),
        clinic.score("d", ACTIVITY, 18, "2024-03-01"),
    )

    assert found["cdasi_activity_baseline"][0].number == 17


@pytest.mark.parametrize(("score", "flags"), [(48, ()), (49, ("above_published_maximum",))])
def test_a_score_above_the_highest_published_is_flagged(clinic: Any, compute: Any, score: int, flags: Any) -> None:
    assert compute(clinic.score("a", ACTIVITY, score, BEFORE))["cdasi_activity_baseline"][0].flags == flags


def test_identifiers_without_a_value_make_nothing_the_same(clinic: Any, compute: Any) -> None:
    name = {"identifier": [{"system": "urn:lab"}]}
    later = [clinic.score(day, ACTIVITY, 10, f"2024-07-{day}", **name) for day in ("08", "09")]
    infusions = [clinic.infusion(month, f"2024-{month}-15", **name) for month in ("04", "05")]
    found = compute(clinic.score("a", ACTIVITY, 15, BEFORE), *later, infusions=infusions)

    assert len(found["cdasi_activity_improvement"]) == 2
    assert found["infusions_completed"][0].number == 2


def test_follow_ups_that_contradict_each_other_make_no_change(clinic: Any, compute: Any) -> None:
    found = compute(
        clinic.score("a", ACTIVITY, 15, BEFORE),
        clinic.score("b", ACTIVITY, 10, AFTER),
        clinic.score("c", ACTIVITY, 12, AFTER),
    )["cdasi_activity_percent_improvement"]

    assert [(one.about, one.number, one.reasons) for one in found] == [
        ("Observation/b", None, ("conflict",)),
        ("Observation/c", None, ("conflict",)),
    ]


def test_copies_of_one_result_that_contradict_each_other_block_the_baseline(clinic: Any, compute: Any) -> None:
    name = {"identifier": [{"system": "urn:lab", "value": "7"}]}
    found = compute(
        clinic.score("z", ACTIVITY, 20, "2024-03-04"),
        clinic.score("a", ACTIVITY, 15, BEFORE, **name),
        clinic.score("b", ACTIVITY, 17, BEFORE, **name),
        clinic.score("c", ACTIVITY, 10, AFTER),
        # A third record of that moment does not settle which of the two is right.
        clinic.score("d", ACTIVITY, 17, BEFORE),
    )

    assert found["cdasi_activity_baseline"][0].reasons == ("conflict",)
    assert found["cdasi_activity_improvement"][0].reasons == ("conflict",)


def test_scales_of_the_mmt8_are_never_compared(clinic: Any, compute: Any) -> None:
    found = compute(clinic.score("a", "mmt8-150", 130, BEFORE), clinic.score("b", "mmt8-80", 76, AFTER))

    assert found["mmt8_150_baseline"][0].number == 130
    assert found["mmt8_80_improvement"][0].reasons == ("scale_mixed",)
    assert found["mmt8_80_improvement"][0].number is None


def test_both_scales_of_the_mmt8_at_one_visit_are_two_results(clinic: Any, compute: Any) -> None:
    found = compute(
        *(clinic.score(f"{scale}{when}", f"mmt8-{scale}", value, when)
          for scale, when, value in ((80, BEFORE, 70), (150, BEFORE, 130), (80, AFTER, 76), (150, AFTER, 138)))
    )  # fmt: skip

    assert (found["mmt8_80_baseline"][0].number, found["mmt8_150_baseline"][0].number) == (70, 130)
    assert (found["mmt8_80_improvement"][0].number, found["mmt8_150_improvement"][0].number) == (6, 8)


def test_an_mmt8_of_unknown_scale_is_named_as_the_reason(clinic_with: Any) -> None:
    clinic = clinic_with('[[measurement]]\nvariable = "mmt8"\ncodes = [{ system = "urn:forms", code = "MMT8" }]')
    local = {"system": "urn:forms", "code": "MMT8"}
    values = [clinic.assessment(when, local, effectiveDateTime=when, valueInteger=70) for when in (BEFORE, AFTER)]
    case = clinic.case(values, [clinic.infusion("1", INFUSION)])
    found = {one.variable: one.reasons for one in battery.outcomes(case) if one.variable.startswith("mmt8")}

    assert found == {
        "mmt8_baseline": ("baseline_missing", "scale_ambiguous"),
        "mmt8_improvement": ("followup_missing", "scale_ambiguous"),
        "mmt8_percent_improvement": ("followup_missing", "scale_ambiguous"),
    }


def ck(clinic: Any, id: str, when: str, value: Any, **quantity: Any) -> Assessment:
    return clinic.assessment(id, CK, effectiveDateTime=when, valueQuantity={"value": value, "unit": "U/L", **quantity})


def test_a_bound_makes_no_baseline_and_no_change(clinic: Any, compute: Any) -> None:
    found = compute(ck(clinic, "a", BEFORE, 20, comparator="<"), ck(clinic, "b", AFTER, 900))

    assert (found["ck_baseline"][0].number, found["ck_baseline"][0].reasons) == (None, ("comparator",))
    assert (found["ck_improvement"][0].number, found["ck_improvement"][0].reasons) == (None, ("comparator",))


def test_a_unit_changes_nothing(clinic: Any, compute: Any) -> None:
    values = ((450, 300, "U/L"), (Decimal("7.5"), 5, "ukat/L"), (7500, 5000, "nkat/L"))
    found = [compute(ck(clinic, "a", BEFORE, a, unit=u), ck(clinic, "b", AFTER, b, unit=u)) for a, b, u in values]

    assert found[0] == found[1] == found[2]
    assert found[0]["ck_percent_improvement"][0].number == Fraction(100, 3)


def test_a_ucum_code_decides_against_the_text_beside_it(clinic: Any, compute: Any) -> None:
    mass = ck(clinic, "a", BEFORE, 5, system="http://unitsofmeasure.org", code="ug/L")

    assert compute(mass)["ck_baseline"][0].reasons == ("baseline_missing", "unit_incompatible")


def test_no_exposure_no_baseline(clinic: Any, compute: Any) -> None:
    missed = clinic.infusion("1", INFUSION, status="not-done")
    found = compute(clinic.score("a", ACTIVITY, 15, BEFORE), infusions=[missed])

    assert found["infusions_completed"][0].number == 0
    assert {name for name, [one] in found.items() if one.reasons == ("no_exposure",)} == {
        *("cumulative_dose_mg", "first_exposure", "last_exposure"),
        *("cdasi_activity_baseline", "mmt8_baseline", "dlqi_baseline", "ck_baseline"),
        *("tis", "imacs_improvement", "imacs_worsening", "proderm_deterioration"),
        *("follow_up_days", "days_on_drug", "discontinued", "discontinuation_reason"),
        *("prednisone_equivalent_mg_per_day_baseline", "prednisone_equivalent_mg_per_day", "glucocorticoid_status"),
    }
    assert set(found) - {"infusions_completed"} == {name for name, [one] in found.items() if one.reasons}


def test_a_follow_up_with_a_partial_date(clinic: Any, compute: Any) -> None:
    month = clinic.score("b", ACTIVITY, 10, "2024-06")
    [points] = compute(clinic.score("a", ACTIVITY, 15, BEFORE), month)["cdasi_activity_improvement"]

    assert (points.number, points.when, points.flags) == (5, "2024-06", ("partial_date",))


def test_a_score_that_may_lie_on_either_side_is_neither(clinic: Any, compute: Any) -> None:
    found = compute(clinic.score("a", ACTIVITY, 15, "2024-04"))

    assert found["cdasi_activity_baseline"][0].reasons == ("baseline_missing", "order_unknown")
    assert found["cdasi_activity_improvement"][0].reasons == ("followup_missing", "order_unknown")


def test_percent_of_a_baseline_of_0_is_not_defined(clinic: Any, compute: Any) -> None:
    found = compute(clinic.score("a", "dlqi", 0, BEFORE), clinic.score("b", "dlqi", 4, AFTER))
    [points], [percent] = found["dlqi_improvement"], found["dlqi_percent_improvement"]

    assert (points.number, points.reasons, points.flags) == (-4, (), ("worsened",))
    assert (percent.number, percent.reasons) == (None, ("baseline_zero",))


def test_a_reason_is_given_only_where_the_record_could_have_served(clinic: Any, compute: Any) -> None:
    found = compute(clinic.score("b", "dlqi", 31, AFTER))

    assert found["dlqi_baseline"][0].reasons == ("baseline_missing",)
    assert found["dlqi_improvement"][0].reasons == ("followup_missing", "out_of_range")


def panel(clinic: Any, id: str, when: str, total: int, **parts: int) -> Assessment:
    components = [
        {"code": {"coding": [clinic.own(f"cdasi-{name}")]}, "valueInteger": value} for name, value in parts.items()
    ]
    more = {"identifier": [{"value": "form-1"}]} if id.startswith("copy") else {}
    return clinic.score(id, TOTAL, total, when, component=components, **more)


def test_the_activity_in_a_panel_is_used(clinic: Any, compute: Any) -> None:
    found = compute(
        panel(clinic, "a", BEFORE, 40, activity=30, damage=10), panel(clinic, "b", AFTER, 28, activity=18, damage=10)
    )
    [points] = found["cdasi_activity_improvement"]

    assert found["cdasi_activity_baseline"][0].number == 30
    assert (points.number, points.about) == (12, "Observation/b#component[0]")


def test_a_copy_of_a_panel_is_a_copy_of_its_parts(clinic: Any, compute: Any) -> None:
    copies = [
        panel(clinic, "copy1", AFTER, 28, damage=10, activity=18),
        panel(clinic, "copy2", "2024-07-09", 28, activity=18),
    ]
    found = compute(clinic.score("a", ACTIVITY, 30, BEFORE), *copies)["cdasi_activity_improvement"]

    assert [one.about for one in found] == ["Observation/copy1#component[1]"]


def test_a_total_alone_is_not_activity(clinic: Any, compute: Any) -> None:
    found = compute(panel(clinic, "a", BEFORE, 40), clinic.score("b", ACTIVITY, 18, AFTER))

    assert found["cdasi_activity_baseline"][0].reasons == ("baseline_missing", "total_is_not_activity")
    assert found["cdasi_activity_improvement"][0].reasons == ("baseline_missing", "total_is_not_activity")


def test_a_total_at_follow_up_explains_the_follow_up_only(clinic: Any, compute: Any) -> None:
    found = compute(clinic.score("a", ACTIVITY, 18, BEFORE), panel(clinic, "b", AFTER, 40))

    assert found["cdasi_activity_baseline"][0].reasons == ()
    assert found["cdasi_activity_improvement"][0].reasons == ("followup_missing", "total_is_not_activity")


@pytest.mark.parametrize(
    ("infusions", "completed", "flags"),
    [
        ([("1", INFUSION, {}), ("2", None, {})], 1, ("time_missing",)),
        ([("1", INFUSION, {}), ("2", "15.05.2024", {})], 1, ("time_unreadable",)),
        # Parts of one procedure are one infusion, also past midnight; parts of one course of treatment are not.
        ([("1", "2024-04-15T23:30:00-04:00", {"partOf": [{"reference": "Procedure/1"}]}),
          ("2", "2024-04-16T00:10:00-04:00", {"partOf": [{"reference": "Procedure/1"}]})], 1, ()),
        ([("1", INFUSION, {"partOf": [{"reference": "Procedure/1"}]}),
          ("2", "2024-05-13T10:00:00-04:00", {"partOf": [{"reference": "Procedure/1"}]})], 2, ()),
        ([("1", INFUSION, {"partOf": [{"display": "course"}]}),
          ("2", "2024-05-13T10:00:00-04:00", {"partOf": [{"display": "course"}]})], 2, ()),
        ([("1", INFUSION, {"partOf": [{"reference": "Procedure/1"}]}),
          ("2", "2024-04-15T12:00:00-04:00", {"partOf": [{"reference": "Procedure/2"}]})], 1, ("merged_same_day",)),
        # Two bags of unknown dose are not shown to be copies.
        ([("1", INFUSION, {"dosage": {}}), ("2", INFUSION, {"dosage": {}})], 1, ("merged_same_day",)),
        # A copy that lost its identifier.
        ([("1", INFUSION, {"identifier": [{"value": "7"}]}), ("2", INFUSION, {})], 1, ("duplicate_suspected",)),
        ([("1", INFUSION, {"identifier": [{"value": "7"}]}),
          ("2", INFUSION, {"identifier": [{"value": "8"}]})], 1, ("merged_same_day",)),
    ],
)  # fmt: skip
def test_what_counts_as_one_infusion(clinic: Any, compute: Any, infusions: Any, completed: int, flags: Any) -> None:
    records = [clinic.infusion(id, when, **elements) for id, when, elements in infusions]
    [found] = compute(infusions=records)["infusions_completed"]

    assert (found.number, found.flags) == (completed, flags)


def test_a_dose_that_is_not_known_is_not_summed_up(clinic: Any, compute: Any) -> None:
    records = [clinic.infusion("1", INFUSION), clinic.infusion("2", "2024-05-13", dose=None)]
    [dose] = compute(infusions=records)["cumulative_dose_mg"]

    assert (dose.number, dose.reasons) == (None, ("dose_unknown",))


@pytest.mark.parametrize(
    ("assessment", "infusions"),
    [
        ("2024-04-15T09:00:00-04:00", 0),
        ("2024-04-16", 1),
        # Of the second only the day is known: an assessment of that day counts as before it.
        ("2024-05-13T23:00:00-04:00", 1),
        ("2024-05-14", 2),
        # The third was stopped, it is exposure and no infusion.
        ("2024-08-01", 2),
    ],
)
def test_infusions_before_an_assessment(clinic: Any, assessment: str, infusions: int) -> None:
    records = [
        clinic.infusion("1", INFUSION),
        clinic.infusion("2", "2024-05-13"),
        clinic.infusion("3", "2024-06-10", status="stopped"),
    ]
    exposed = battery.exposure_of(clinic.case([], records))

    assert exposure.infusions_before(exposed, span(assessment, ZoneInfo("America/New_York"))) == infusions


METHODS = """
[[method]]
variable = "not-done"
codes = [{ system = "urn:method", code = "Not Given" }]
[[method]]
variable = "completed"
codes = [{ system = "urn:method", code = "Given" }]
"""


@pytest.mark.parametrize(
    ("status", "method", "completed"),
    [
        ("completed", "Not Given", 0),
        ("completed", "Given", 1),
        ("completed", "Hum", 1),
        ("unknown", "Given", 1),
        ("not-done", "Given", 0),
        ("entered-in-error", "Given", 0),
        ("in-progress", "Hum", 0),
    ],
)
def test_what_the_method_says_of_an_infusion(clinic_with: Any, status: str, method: str, completed: int) -> None:
    clinic = clinic_with(METHODS)
    dosage = {"method": {"coding": [{"system": "urn:method", "code": method}]}}
    record = clinic.infusion("1", INFUSION, status=status, dosage=dosage)

    assert len(battery.exposure_of(clinic.case([], [record])).completed) == completed


@pytest.fixture(scope="module")
def crowded(clinic: Any) -> Any:
    """A case in which everything happens: amendments, conflicts, duplicates, partial dates, split bags, two scales."""
    name = {"identifier": [{"system": "urn:lab", "value": "7"}]}
    assessments = [
        clinic.score("a", ACTIVITY, 15, BEFORE, **name),
        clinic.score("b", ACTIVITY, 17, BEFORE, status="corrected", **name),
        clinic.score("c", ACTIVITY, 10, AFTER),
        clinic.score("d", ACTIVITY, 11, AFTER),
        clinic.score("e", ACTIVITY, 9, "2024-09"),
        clinic.score("f", ACTIVITY, 9, "2024-09"),
        clinic.score("g", "mmt8-80", 70, BEFORE),
        clinic.score("h", "mmt8-150", 130, BEFORE),
        clinic.score("i", "mmt8-150", 138, AFTER),
        ck(clinic, "j", "2024-04-01", 900),
        ck(clinic, "k", BEFORE, 20, comparator="<"),
        panel(clinic, "l", "2024-10-01", 20, activity=8),
    ]
    infusions = [
        clinic.infusion("1", INFUSION, 150),
        clinic.infusion("2", "2024-04-15T11:00:00-04:00", 150),
        clinic.infusion("3", "2024-04-15T11:00:00-04:00", 150),
        clinic.infusion("4", "2024-05-13", status="stopped", dose=None),
        clinic.infusion("5", "2024-05"),
        clinic.infusion("6", "2024-06-10T10:00:00-04:00"),
    ]
    return clinic.case(assessments, infusions)


@settings(deadline=None, derandomize=True, database=None, max_examples=50)
@given(data=st.data())
def test_the_order_of_records_changes_nothing(crowded: Any, data: st.DataObject) -> None:
    shuffled = replace(
        crowded,
        assessments=tuple(data.draw(st.permutations(crowded.assessments))),
        administrations=tuple(data.draw(st.permutations(crowded.administrations))),
    )

    assert battery.outcomes(shuffled, Fraction(300)) == battery.outcomes(crowded, Fraction(300))


def test_the_label_dose_comes_from_the_table() -> None:
    assert load_tables().rows["medication", "anifrolumab"].label_dose_mg == 300


def test_each_infusion_has_its_dose_and_date_with_the_bags_it_was_made_of(clinic: Any) -> None:
    infusions = [
        clinic.infusion("a", "2024-04-15T10:00:00-04:00", dose=150),
        clinic.infusion("b", "2024-04-15T10:20:00-04:00", dose=150),
        clinic.infusion("c", "2024-05-13T10:00:00-04:00", dose=120, status="stopped"),
        clinic.infusion("d", "2024-06-10T10:00:00-04:00", dose=None),
        clinic.infusion("e", "2024-07-08T10:00:00-04:00", status="not-done"),
    ]
    doses = [one for one in battery.outcomes(clinic.case((), infusions)) if one.variable == "infusion_dose_mg"]

    assert [(one.number, one.when, one.reasons, one.flags) for one in doses] == [
        (300, "2024-04-15T10:00:00-04:00", (), ()),
        (120, "2024-05-13T10:00:00-04:00", (), ("partial",)),
        (None, "2024-06-10T10:00:00-04:00", ("dose_unknown",), ()),
    ]
    assert [one.source.reference for one in doses[0].inputs] == [
        "MedicationAdministration/a",
        "MedicationAdministration/b",
    ]
