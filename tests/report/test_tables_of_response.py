"""The tables of response, severity and glucocorticoids: any definition that the outcomes name, of whom it is decided."""

import pytest

from dm_fhir.model.case import Case, Outcome
from dm_fhir.outcomes.instruments import INSTRUMENTS
from dm_fhir.outcomes.verdicts import definitions_of
from dm_fhir.report.definition_sources import DEFINITIONS

from .tabled import DASH, all_tables, outcome, shown, with_outcomes

RESPONSES = (
    ({"cdasi_a_mcid_4": "yes", "cdasi_a_mcid_5": "yes", "my_own": "no"}, {"cdasi_a_pct_50": "yes"}),
    ({"cdasi_a_mcid_4": "yes", "cdasi_a_mcid_5": "no", "my_own": "yes"}, {"cdasi_a_pct_50": "no"}),
    ({"cdasi_a_mcid_4": "no", "cdasi_a_mcid_5": "no", "my_own": "no"}, {}),
)


@pytest.fixture
def responding(four: tuple[Case, ...]) -> tuple[Case, ...]:
    """Three patients with verdicts, the third with a baseline of 0; the fourth without baseline."""
    found = [
        with_outcomes(
            case,
            outcome("cdasi_activity_baseline", 20, verdicts={"band": "mild" if len(percent) else "severe"}),
            outcome("cdasi_activity_improvement", 5, verdicts={**points, "band": "mild"}, visit="week_4", about="Observation/1"),
            outcome("cdasi_activity_percent_improvement", verdicts=percent, reasons=() if percent else ("baseline_zero",), about="Observation/1", visit="week_4"),
        )
        for case, (points, percent) in zip(four, RESPONSES, strict=False)
    ]  # fmt: skip
    missing = [
        outcome(f"cdasi_activity_{part}", reasons=("baseline_missing",))
        for part in ("baseline", "improvement", "percent_improvement")
    ]
    return (*found, with_outcomes(four[3], *missing))


def test_any_definition_in_the_outcomes_is_a_row_in_a_fixed_order(responding: tuple[Case, ...]) -> None:
    table = all_tables(responding)["responders"]
    assert [group.heading for group in table.groups] == ["week 4", "last follow-up"]
    assert list(shown(table, "last follow-up")) == ["cdasi_a_mcid_4", "cdasi_a_mcid_5", "cdasi_a_pct_50", "my_own"]


def test_responders_are_of_those_of_whom_it_is_decided(responding: tuple[Case, ...]) -> None:
    rows = shown(all_tables(responding)["responders"], "last follow-up")
    words, source, met, interval, lacking = rows["cdasi_a_mcid_4"]
    assert words == "CDASI activity better by at least 4 points"
    assert source == "UPenn cohort, Anyanwu 2015 (confirmed)"
    # Clopper-Pearson 2 of 3: 9.4 % to 99.2 % (R: binom.test(2, 3)).
    assert (met, interval, lacking) == ("2 of 3 (66.7 %)", f"9.4{DASH}99.2 %", "1: baseline missing")
    assert rows["cdasi_a_pct_50"][2] == "1 of 2 (50.0 %)"
    assert rows["cdasi_a_pct_50"][4] == "1: baseline missing; 1: baseline is 0, so there is no percentage"
    assert "not confirmed" in rows["cdasi_a_pct_50"][1]


def test_no_definition_is_called_the_minimal_clinically_important_difference(responding: tuple[Case, ...]) -> None:
    for one in all_tables(responding)["responders"].rows:
        assert "MCID" not in " ".join((one.label, *(cell.text for cell in one.cells)))


def test_bands_are_counted_at_baseline_and_afterwards(responding: tuple[Case, ...]) -> None:
    table = all_tables(responding)["severity"]
    assert [group.heading for group in table.groups] == ["baseline", "week 4", "last follow-up"]
    assert shown(table, "baseline")["band: mild"][2] == "2 of 3 (66.7 %)"
    assert shown(table, "baseline")["band: severe"][2] == "1 of 3 (33.3 %)"
    assert shown(table, "last follow-up")["band: mild"][2] == "3 of 3 (100.0 %)"


def test_a_last_follow_up_without_a_verdict_is_not_replaced_by_an_earlier_one(four: tuple[Case, ...]) -> None:
    early = outcome("ck_improvement", 9, when="2024-05-01", verdicts={"mine": "yes"})
    late = outcome("ck_improvement", when="2024-06-01", reasons=("comparator",))
    rows = all_tables((with_outcomes(four[0], early, late), with_outcomes(four[1], early)))["responders"]
    assert shown(rows, "last follow-up")["mine"][2:5:2] == ("1 of 1 (100.0 %)", "1: the value is only a bound (< or >)")


def test_the_baseline_lacks_first_of_a_change_and_not_of_a_value(four: tuple[Case, ...]) -> None:
    whole = (
        outcome("dlqi_baseline", 10, verdicts={"how_bad": "moderate"}),
        outcome("dlqi_improvement", 5, verdicts={"mine": "yes", "how_bad": "small"}),
    )
    lacking = (
        outcome("dlqi_baseline", reasons=("baseline_missing",)),
        outcome("dlqi_improvement", reasons=("followup_missing",)),
    )
    found = all_tables([with_outcomes(four[0], *whole), with_outcomes(four[1], *lacking)])
    assert shown(found["responders"], "last follow-up")["mine"][4] == "1: baseline missing"
    assert shown(found["severity"], "last follow-up")["how_bad: small"][3] == "1: follow-up missing"
    assert shown(found["severity"], "baseline")["how_bad: moderate"][3] == "1: baseline missing"


def test_facts_beside_an_outcome_are_no_definitions(four: tuple[Case, ...]) -> None:
    facts = (
        outcome("tis", 40, visit="week_12", verdicts={"population": "adult"}),
        outcome(
            "prednisone_equivalent_mg_per_day_baseline", 10, verdicts={"coverage_days": "28", "factor_prednisone": "1"}
        ),
        outcome(
            "glucocorticoid_status",
            answer="tapered",
            visit="last",
            verdicts={"ge_25": "yes", "reduction_percent": "200/3"},
        ),
    )
    found = all_tables([with_outcomes(four[0], *facts)])
    assert list(shown(found["responders"], "last follow-up")) == ["ge_25"]
    assert found["severity"].groups == ()


def test_a_change_in_either_direction_is_two_rows(four: tuple[Case, ...]) -> None:
    said = ("better", "worse", "no", "better")
    cases = [
        with_outcomes(case, outcome("physician_global_vas_improvement", 1, verdicts={"phga_change_2cm": verdict}))
        for case, verdict in zip(four, said, strict=True)
    ]
    rows = shown(all_tables(cases)["responders"], "last follow-up")
    assert {name: cells[2] for name, cells in rows.items()} == {
        "phga_change_2cm: better": "2 of 4 (50.0 %)",
        "phga_change_2cm: worse": "1 of 4 (25.0 %)",
    }


def test_criteria_and_categories_count_those_of_whom_they_are_known(four: tuple[Case, ...]) -> None:
    def at_week_12(category: str | None, imacs: str | None) -> tuple[Outcome, ...]:
        lacking = ("measure_missing:haq_di",)
        return (
            outcome("tis_category", answer=category, visit="week_12", reasons=() if category else lacking),
            outcome("imacs_improvement", answer=imacs, visit="week_12", reasons=() if imacs else lacking),
        )

    cases = [
        with_outcomes(case, *at_week_12(*answers))
        for case, answers in zip(
            four, (("major", "yes"), ("minimal", "no"), ("no_improvement", None), (None, None)), strict=True
        )
    ]
    rows = shown(all_tables(cases)["responders"], "week 12")
    assert list(rows) == ["imacs_improvement", "tis_minimal", "tis_moderate", "tis_major"]
    assert rows["imacs_improvement"][2] == "1 of 2 (50.0 %)"
    assert rows["tis_minimal"][2] == "2 of 3 (66.7 %)"
    assert rows["tis_moderate"][2] == "1 of 3 (33.3 %)"
    assert rows["tis_major"][4] == "1: neither baseline nor follow-up (haq di)"


def test_glucocorticoids_leave_those_without_a_dose_out_of_the_denominator(four: tuple[Case, ...]) -> None:
    def course(start: int | None, end: int | None, status: str | None) -> tuple[Outcome, ...]:
        dose = "prednisone_equivalent_mg_per_day"
        return (
            outcome(f"{dose}_baseline", start, reasons=() if start is not None else ("dose_unknown",)),
            outcome(dose, end, visit="last", reasons=() if end is not None else ("dose_unknown",)),
            outcome("glucocorticoid_status", answer=status, visit="last", reasons=() if status else ("dose_unknown",)),
            outcome("methotrexate_change", answer="stopped" if start else "unknown", visit="last"),
        )

    given = ((20, 10, "tapered"), (10, 0, "discontinued"), (0, 0, "none_at_baseline"), (None, None, None))
    table = all_tables([with_outcomes(case, *course(*one)) for case, one in zip(four, given, strict=True)])[
        "glucocorticoids"
    ]
    assert shown(table, "Prednisone-equivalent, mg a day")["baseline"] == (f"10 (0{DASH}20)", "1")
    rows = shown(table, "Glucocorticoids, last follow-up")
    assert rows["tapered"] == ("1 of 2 (50 %)", "1")
    assert rows["unchanged"] == ("0 of 2 (0 %)", "1")
    assert rows["none_at_baseline"][0] == "1"
    assert shown(table, "methotrexate") == {"stopped": ("2 of 2 (100 %)", "2")}


def test_how_severe_a_value_is_is_no_response_where_nobody_has_a_baseline(four: tuple[Case, ...]) -> None:
    seen = outcome("cdasi_activity_improvement", verdicts={"cdasi_a_entry_ge_14": "yes"}, reasons=("baseline_missing",))
    found = all_tables([with_outcomes(four[0], seen)])
    assert found["responders"].groups == ()
    assert shown(found["severity"], "last follow-up")["cdasi_a_entry_ge_14: yes"][2] == "1 of 1 (100.0 %)"


def test_a_definition_of_several_measures_is_counted_for_each(four: tuple[Case, ...]) -> None:
    def of_domain(domain: str, verdict: str) -> Outcome:
        return outcome(f"skindex29_{domain}_improvement", 5, verdicts={"skindex29_severe": verdict})

    cases = [with_outcomes(case, of_domain("symptoms", "yes"), of_domain("emotions", "no")) for case in four[:2]]
    rows = shown(all_tables(cases)["severity"], "last follow-up")
    assert {cells[0]: cells[2] for cells in rows.values()} == {
        "severe by Skindex-29, Skindex-29 emotions: no": "2 of 2 (100.0 %)",
        "severe by Skindex-29, Skindex-29 symptoms: yes": "2 of 2 (100.0 %)",
    }


def test_a_measure_that_a_patient_never_had_lacks_its_baseline_in_both_tables(four: tuple[Case, ...]) -> None:
    measured = (
        outcome("haq_di_baseline", 2),
        outcome("haq_di_improvement", 1, verdicts={"haq_mcid_022_ra": "yes"}),
    )
    found = all_tables([with_outcomes(four[0], *measured), with_outcomes(four[1], outcome("infusions_completed", 1))])
    assert shown(found["responders"], "last follow-up")["haq_mcid_022_ra"][4] == "1: baseline missing"
    assert shown(found["changes"], "last follow-up")["haq_di"][6] == "1 without baseline"


def test_adults_lack_nothing_of_what_only_juveniles_are_asked(four: tuple[Case, ...]) -> None:
    asked = outcome("jdm_inactive", answer="yes", visit="week_4")
    waiting = outcome("jdm_inactive", reasons=("followup_missing:cmas",))
    adult = outcome("imacs_improvement", answer="no", visit="week_4")
    cases = [with_outcomes(case, one) for case, one in zip(four, (asked, waiting, adult, adult), strict=True)]
    rows = shown(all_tables(cases)["responders"], "week 4")
    assert rows["jdm_inactive"][2] == "1 of 1 (100.0 %)"
    assert rows["jdm_inactive"][4] == (
        "1: follow-up missing; 2: not known to have juvenile dermatomyositis, so not asked"
    )


def test_going_on_with_the_drug_is_nothing_that_could_not_be_computed(four: tuple[Case, ...]) -> None:
    on = (outcome("discontinued", answer="no"), outcome("discontinuation_reason", reasons=("not_discontinued",)))
    lacking = ("measure_missing:haq_di",)
    criteria = (outcome("tis", reasons=lacking), outcome("tis_category", reasons=lacking))
    table = all_tables([with_outcomes(four[0], *on, *criteria)])["not_computable"]
    assert [group.heading for group in table.groups] == ["Total Improvement Score (2016 ACR/EULAR)"]


def test_every_definition_of_an_instrument_has_words_for_the_tables() -> None:
    told = {one.id for instrument in INSTRUMENTS for one in definitions_of(instrument)}
    assert told <= set(DEFINITIONS)
