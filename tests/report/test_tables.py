"""The paper's tables: what they count, of whom, and what they say where nothing can be counted."""

from fractions import Fraction
from time import process_time
from typing import Any

import pytest
from msgspec.structs import replace

from dm_fhir.model.case import AdverseEvent, Case, Concept, Input, Outcome, Source, Suspect
from dm_fhir.model.definitions import Definitions
from dm_fhir.statistics.table import Row, Table

from .tabled import DASH, DRUG, all_tables, outcome, row, shown, with_outcomes


@pytest.fixture(scope="module")
def of_four(four: tuple[Case, ...]) -> dict[str, Table]:
    return all_tables(four)


@pytest.fixture(scope="module")
def of_24(twenty_four: tuple[Case, ...]) -> dict[str, Table]:
    return all_tables(twenty_four)


def test_every_table_has_a_cell_for_each_column_and_rows_of_their_own(of_24: dict[str, Table]) -> None:
    assert len(of_24) == 10
    for table in of_24.values():
        assert table.title
        assert table.notes or table.id == "flow"
        for group in table.groups:
            assert len({one.id for one in group.rows}) == len(group.rows), (table.id, group.heading)
            assert all(len(one.cells) == len(table.columns) - 1 for one in group.rows)


def test_table_1_has_the_papers_counts(of_24: dict[str, Table]) -> None:
    table = of_24["characteristics"]
    rows = shown(table, "Demographics")
    assert rows["age_at_first_infusion_mean"] == ("53.9 ± 19.8", "0")
    assert rows["female"] == ("20 of 24 (83 %)", "0")
    assert rows["White"] == ("19 of 24 (79 %)", "0")
    assert shown(table, "Disease")["paraneoplastic"] == ("5 of 24 (21 %)", "0")
    assert shown(table, "Antibodies, of those tested")["anti_ars"] == ("3 of 24 (13 %)", "0")
    assert shown(table, "Treatment begun before the first infusion")["ruxolitinib"] == ("1 of 24 (4 %)", "0")
    assert shown(table, "Treatment in force at the first infusion")["mycophenolate"] == ("5 of 24 (21 %)", "0")
    assert shown(table, "csDMARD in force at the first infusion, exclusive groups")["TAC + MMF"] == (
        "1 of 24 (4 %)",
        "0",
    )


def test_the_numbers_behind_a_cell_are_exact(of_four: dict[str, Table]) -> None:
    change = row(of_four["changes"], "cdasi_activity").cells
    assert change[3].text == f"12 (5{DASH}21)"
    assert change[3].values["mean"] == "12.5"
    assert Fraction(change[4].values["median"]) == (Fraction(100, 3) + Fraction(850, 13)) / 2
    assert (change[5].text, change[5].values["p"], change[5].values["method"]) == ("0.125", "0.125", "exact")
    age = row(of_four["characteristics"], "age_at_first_infusion_mean").cells[0]
    assert (age.values["mean"], age.values["n"]) == ("55", "4")


def test_ages_come_with_their_n_and_the_interval_is_of_pairs_only(of_24: dict[str, Table]) -> None:
    table = of_24["characteristics"]
    labels = {one.id: one.label for one in table.rows}
    assert labels["age_at_first_infusion_mean"].endswith("n = 24")
    assert labels["age_at_diagnosis_mean"].endswith("n = 17")
    assert labels["years_since_diagnosis_mean"].endswith("n = 15")
    assert row(table, "years_since_diagnosis_median").cells[0].values["low"] == "2"
    assert table.findings == ("not_comparable",)


def test_impossible_ages_are_a_finding_and_withhold_what_rests_on_them(four: tuple[Case, ...]) -> None:
    later = tuple(replace(c, conditions=tuple(replace(o, onset="2034-12-30") for o in c.conditions)) for c in four)
    table = all_tables(later)["characteristics"]
    assert table.findings == ("impossible_if_same_patients",)
    assert not [one for one in table.rows if one.id.startswith("years_since_diagnosis")]
    assert shown(table, "Demographics")["age_at_diagnosis_mean"][0] == "65.8 ± 9.5"  # of 63, 76, 54 and 70
    assert row(table, "violation").cells[0].text == "4 of 4 (100 %)"
    assert any("impossible in the same patients" in note for note in table.notes)


def test_what_is_not_documented_is_not_nought(of_four: dict[str, Table]) -> None:
    assert shown(of_four["characteristics"], "Disease")["none"] == ("not documented", "4")
    assert shown(of_four["characteristics"], "Antibodies, of those tested")["positive"] == ("0 of 0", "4")


def test_baselines_that_lack_are_named_beside_the_change(of_four: dict[str, Table]) -> None:
    cells = row(of_four["changes"], "dlqi").cells
    assert (cells[0].text, cells[-1].text) == ("2", "2 without baseline")
    assert cells[-1].values == {"without baseline": "2"}


def test_a_change_at_a_visit_is_of_the_assessment_that_stands_for_it(four: tuple[Case, ...]) -> None:
    def seen(points: int, followup: str, **values: Any) -> Outcome:
        inputs = (
            Input("baseline", Source("x", "Observation/0"), "20"),
            Input("followup", Source("x", "Observation/1"), followup),
        )
        return outcome("cdasi_activity_improvement", points, inputs=inputs, **values)

    early = seen(4, "16", when="2024-05-01", visit="week_4", about="Observation/1")
    late = seen(9, "11", when="2024-06-01", about="Observation/2")
    others = [replace(case, outcomes=tuple(replace(one, visit=None) for one in case.outcomes)) for case in four[1:]]
    cases = (with_outcomes(four[0], outcome("cdasi_activity_baseline", 20), late, early), *others)
    table = all_tables(cases)["changes"]
    assert [group.heading for group in table.groups] == ["week 4", "last follow-up"]
    assert shown(table, "week 4")["cdasi_activity"][:4] == (
        "1",
        "20",
        "16",
        "4",
    )
    assert shown(table, "week 4")["cdasi_activity"][-1] == "3 without follow-up"
    assert row_of_last(table).cells[3].values["low"] == "5"


def row_of_last(table: Table) -> Row:
    return next(one for one in table.groups[-1].rows if one.id == "cdasi_activity")


def on_drug(case: Case, days: int | None, stopped: str | None, reason: str | None = None) -> Case:
    return with_outcomes(
        case,
        outcome("days_on_drug", days, reasons=() if days is not None else ("first_day_unknown",)),
        outcome("discontinued", answer=stopped),
        outcome("discontinuation_reason", answer=reason),
    )


def test_drug_survival_censors_who_goes_on_and_who_was_lost(four: tuple[Case, ...]) -> None:
    cases = (
        on_drug(four[0], 100, "yes", "adverse_event"),
        on_drug(four[1], 200, "no"),
        on_drug(four[2], 250, "yes", "lost_to_follow_up"),
        on_drug(four[3], None, "no"),
    )
    table = all_tables(cases)["drug_survival"]
    rows = shown(table)
    assert rows["3"] == ("3", "0", "100.0 %", DASH)
    assert rows["6"][:3] == ("2", "1", "66.7 %")
    assert "9" not in rows
    assert "The median time on the drug was not reached." in table.notes
    assert table.notes[-1].startswith("1 of 4 patients are not in it")


def test_without_outcomes_of_time_on_the_drug_there_is_no_curve(four: tuple[Case, ...]) -> None:
    cases = [
        replace(case, outcomes=tuple(one for one in case.outcomes if one.variable != "days_on_drug")) for case in four
    ]
    table = all_tables(cases)["drug_survival"]
    assert table.groups == ()
    assert table.notes[-1].startswith("4 of 4 patients are not in it")


def test_a_death_is_no_stop(four: tuple[Case, ...]) -> None:
    cases = (on_drug(four[0], 100, "yes", "death"), on_drug(four[1], 200, "no"), on_drug(four[2], 200, "yes"))
    assert shown(all_tables(cases)["drug_survival"])["6"][:3] == ("2", "0", "100.0 %")


def test_a_baseline_of_zero_has_a_change_and_no_percentage(four: tuple[Case, ...]) -> None:
    inputs = (
        Input("baseline", Source("x", "Observation/0"), "0"),
        Input("followup", Source("x", "Observation/1"), "3"),
    )
    zero = (
        outcome("cdasi_activity_baseline", 0),
        outcome("cdasi_activity_improvement", -3, inputs=inputs),
        outcome("cdasi_activity_percent_improvement", reasons=("baseline_zero",), inputs=inputs),
    )
    cells = row(all_tables([with_outcomes(four[0], *zero)])["changes"], "cdasi_activity").cells
    assert [cell.text for cell in cells[3:]] == [
        "-3",
        DASH,
        DASH,
        "1 with a baseline of 0, in no percentage",
    ]


def event(number: int, date: str | None, related: str | None = None, **values: Any) -> AdverseEvent:
    judged = (Suspect(drug=DRUG, relatedness=(Concept(variable=related),)),) if related else ()
    return AdverseEvent(
        Source("x", f"AdverseEvent/{number}"), Concept(variable="ae_cough"), date=date, suspects=judged, **values
    )


def test_events_and_patients_are_different_rows(four: tuple[Case, ...]) -> None:
    first = replace(
        four[0],
        adverse_events=(event(1, "2024-05-01", "related", serious=True, led_to_stop=False), event(2, "2024-05-02")),
    )
    second = replace(four[1], adverse_events=(event(3, "2024-06-01"), event(4, None), event(5, "2030-01-01")))
    table = all_tables((first, second, *four[2:]))["adverse_events"]
    rows = shown(table, "All")
    assert rows["any"][:2] == ("5", "2 of 4 (50 %)")
    # 82 + 63 + 88 + 55 days are 0.7885 years: the three events that surely lie within make 380.5 per 100.
    assert rows["any"][2].startswith("380.5 (78.5")
    assert rows["serious"][:2] == ("1", "1 of 3 (33 %)")
    assert rows["related"] == ("1", "1 of 3 (33 %)", DASH, "4")
    assert rows["led_to_stop"] == ("0", "0 of 2 (0 %)", DASH, "4")
    assert shown(table, "By kind")["cough"][0] == "5"
    assert "1 of 4 patients have an undated event, which is counted." in table.notes
    assert "2 events are in no rate: they do not surely lie within a follow-up of known length." in table.notes


def test_no_adverse_event_is_a_result(of_four: dict[str, Table]) -> None:
    rows = shown(of_four["adverse_events"], "All")
    assert rows["any"][:2] == ("0", "0 of 4 (0 %)")
    assert rows["any"][2] == f"0.0 (0.0{DASH}467.8)"  # 3.689 in 0.7885 years
    assert rows["related"][:2] == ("0", "0 of 4 (0 %)")


def test_the_flow_names_everybody_left_out(four: tuple[Case, ...]) -> None:
    assert four[0].subject is not None
    cases = (replace(four[0], subject=replace(four[0].subject, test_patient=True)), *four[1:])
    states = {"case": 4, "no administration of the study drug": 3, "merged into another": 1}
    table = all_tables(cases, baltimore=states, leon={"no administration of the study drug": 2})["flow"]
    assert {name: cells[0] for name, cells in shown(table).items()} == {
        "found": "10",
        "found: merged into another": "1",
        "found: no administration of the study drug": "5",
        "cases": "4",
        "cases: test patient": "1",
        "analysed": "3",
        "cdasi_at_baseline": "3",
        "cdasi_at_follow_up": "3",
    }


def test_a_case_series_from_a_file_does_not_say_how_many_were_found(of_four: dict[str, Table]) -> None:
    assert list(shown(of_four["flow"])) == ["cases", "analysed", "cdasi_at_baseline", "cdasi_at_follow_up"]
    assert "not known how many patients were found" in of_four["flow"].notes[0]


def test_reasons_are_counted_by_outcome_and_by_patient(of_four: dict[str, Table]) -> None:
    rows = shown(of_four["not_computable"], "DLQI, baseline")
    assert rows == {"baseline_missing": ("2", "2 of 4 (50 %)")}


def test_the_order_of_the_cases_changes_nothing(twenty_four: tuple[Case, ...], of_24: dict[str, Table]) -> None:
    assert all_tables(tuple(reversed(twenty_four))) == of_24


def test_of_nobody_there_are_tables_that_say_so() -> None:
    found = all_tables(())
    assert all(table.groups == () for name, table in found.items() if name not in ("flow", "characteristics"))
    assert "%" not in str([cell.text for table in found.values() for one in table.rows for cell in one.cells])


def test_a_number_before_does_not_tell_who_was_left_out_later(twenty_four: tuple[Case, ...]) -> None:
    assert twenty_four[0].subject is not None
    cases = (replace(twenty_four[0], subject=replace(twenty_four[0].subject, test_patient=True)), *twenty_four[1:])
    flow = shown(all_tables(cases, 5, x={"case": 24, "no administration of the study drug": 10})["flow"])
    assert {name: cells[0] for name, cells in flow.items()} == {
        "found": "≥5",
        "found: no administration of the study drug": "10",
        "cases": "≥5",
        "cases: test patient": "<5",
        "analysed": "23",
        "cdasi_at_baseline": "23",
        "cdasi_at_follow_up": "23",
    }


def test_how_few_changed_is_not_told_by_the_test(twenty_four: tuple[Case, ...]) -> None:
    # One of the 24 patients did not change in CDASI activity.
    cells = row(all_tables(twenty_four, 5)["changes"], "cdasi_activity").cells
    assert (cells[0].text, cells[5].text, cells[5].values) == ("24", "not shown", {})


@pytest.mark.parametrize("size", [4, 24])
def test_small_counts_are_in_no_cell(four: tuple[Case, ...], twenty_four: tuple[Case, ...], size: int) -> None:
    cases = four if size == 4 else twenty_four
    found = all_tables(cases, 5, x={"case": size, "no administration of the study drug": 2})
    few = {str(number) for number in range(1, 5)}
    for table in found.values():
        for one in table.rows:
            for cell in one.cells:
                assert cell.text.split(" of ")[0] not in few, (table.id, one)
                assert not few & {cell.values.get("count"), cell.values.get("n")}, (table.id, one)
    # Two of 26 left out: the 26 would tell it, since the 24 stand everywhere.
    assert shown(found["flow"])["found"][0] == "≥5"


def test_five_hundred_patients_with_verdicts_at_every_visit_take_a_moment(twenty_four: tuple[Case, ...]) -> None:
    visits = [visit.name for visit in Definitions().visits]

    def more(number: int) -> tuple[Outcome, ...]:
        return tuple(
            outcome(
                f"{name}_improvement", number % 9, visit=visit, verdicts={f"{name}_met": "yes" if number % 3 else "no"}
            )
            for name in ("a", "b", "c", "d", "e", "f")
            for visit in visits
        )

    cases = []
    for number in range(500):
        case = twenty_four[number % 24]
        cases.append(replace(case, id=f"Patient/{number}", outcomes=(*case.outcomes, *more(number))))
    all_tables(cases[:2])  # the library of statistics is imported
    begun = process_time()
    found = all_tables(cases)
    assert process_time() - begun < 5
    assert shown(found["responders"], "week 4")["a_met"][2] == "333 of 500 (66.6 %)"
