"""What became of the other systemic drugs: every answer, and what leaves it open. Days are since the first infusion."""

import random
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dm_fhir.mappings.codes import load_tables
from dm_fhir.model.case import Case, Therapy
from dm_fhir.model.definitions import Definitions
from dm_fhir.outcomes import battery, other_therapies

from .pharmacy import administration, case, computed, days, dosage, infusion, order, statement

WEEKLY = {"period": 1, "periodUnit": "wk"}


def became(*said: Therapy, drug: str = "methotrexate", **parts: Any) -> Any:
    """What became of a drug, in a patient who was followed for 84 days."""
    return computed(followed(*said, **parts)).get((f"{drug}_change", "last"))


def followed(*said: Therapy, **parts: Any) -> Case:
    return case(*said, infusions=[infusion("0", 0), infusion("1", 84)], **parts)


def methotrexate(id: str, during: Any, mg: Any = None, status: str = "active", **repeat: Any) -> Therapy:
    doses = [dosage(mg, "oral", **{**WEEKLY, **repeat})] if mg is not None else []
    return statement(id, "methotrexate", during, *doses, status=status)


@pytest.mark.parametrize(
    ("said", "answer"),
    [
        ([methotrexate("1", days(-90))], "unchanged"),
        ([methotrexate("1", days(-90), 15)], "unchanged"),
        ([methotrexate("1", days(-90, 30), status="stopped")], "stopped"),
        ([methotrexate("1", days(-90, 30), status="completed")], "stopped"),
        ([methotrexate("1", days(-90, 83), status="stopped")], "stopped"),
        ([methotrexate("1", days(-90, 84), status="stopped")], "unchanged"),
        ([methotrexate("1", days(-90, 30), 15, "completed"), methotrexate("2", days(31), 10)], "reduced"),
        ([methotrexate("1", days(-90, 30), 10, "completed"), methotrexate("2", days(31), 15)], "increased"),
        ([methotrexate("1", days(-90, 30), 15, "completed"), methotrexate("2", days(31), 15)], "unchanged"),
        ([methotrexate("1", days(-90, 30), 15, "completed"), methotrexate("2", days(31), 15, period=2)], "spaced"),
        ([methotrexate("1", days(-90, 30), 15, "completed"), methotrexate("2", days(31), 30, period=2)], "spaced"),
        ([methotrexate("1", days(30))], "started"),
        ([methotrexate("1", days(0))], "unchanged"),
    ],
)  # fmt: skip
def test_answers(said: list[Therapy], answer: str) -> None:
    found = became(*said)
    assert (found.answer, found.reasons) == (answer, ())
    assert found.when == "2024-07-08"


@pytest.mark.parametrize(
    ("said", "reasons"),
    [
        ([methotrexate("1", days(-90, 30))], ("stop_not_documented",)),
        ([methotrexate("1", days(-90), status="stopped")], ("baseline_missing", "end_missing:methotrexate")),
        ([methotrexate("1", None)], ("baseline_missing", "start_missing:methotrexate")),
        ([methotrexate("1", {"start": "2024-04"})], ("baseline_missing", "partial_date:methotrexate")),
        ([methotrexate("1", {**days(-90), "end": "2024-07"}, status="stopped")],
         ("followup_missing", "partial_date:methotrexate")),
        ([methotrexate("1", days(-90, 30), None, "completed"), methotrexate("2", days(31), 10)], ("dose_missing",)),
        ([methotrexate("1", days(-90, 30), 15, "completed"), methotrexate("2", days(31))], ("dose_missing",)),
    ],
)  # fmt: skip
def test_what_the_records_leave_open_is_unknown_with_the_reason(said: list[Therapy], reasons: tuple[str, ...]) -> None:
    found = became(*said)
    assert (found.answer, found.reasons, found.when) == (None, reasons, None)


def test_a_drug_that_was_over_before_the_first_infusion_has_no_answer() -> None:
    assert became(methotrexate("1", days(-90, -1), status="completed")) is None
    assert became(methotrexate("1", days(-90, 0), status="completed")).answer == "stopped"


def test_a_drug_that_was_begun_and_over_again_was_started() -> None:
    found = became(methotrexate("1", days(10, 20), status="stopped"))
    assert (found.answer, found.flags) == ("started", ("not_in_force_at_end",))


def test_a_longer_interval_of_immunoglobulin_is_told_without_a_dose_and_is_no_stop() -> None:
    def every(id: str, drug: str, weeks: int, period: Any, status: str) -> Therapy:
        timing = {"timing": {"repeat": {"frequency": 1, "period": weeks, "periodUnit": "wk"}}}
        return statement(id, drug, period, timing, status=status)

    before = every("1", "immunoglobulin", 4, days(-200, 40), "completed")
    found = became(before, every("2", "ivig", 8, days(41), "active"), drug="immunoglobulin")
    same = became(before, every("2", "ivig", 4, days(41), "active"), drug="immunoglobulin")

    assert (found.answer, found.verdicts) == ("spaced", {"interval_days_baseline": "28", "interval_days": "56"})
    assert (same.answer, same.reasons) == (None, ("dose_missing",))


def test_daily_drugs_are_never_spaced() -> None:
    half = dosage(100, "oral", period=2)
    said = (
        statement("1", "azathioprine", days(-90, 30), dosage(100, "oral"), status="completed"),
        statement("2", "azathioprine", days(31), half),
    )
    assert became(*said, drug="azathioprine").answer == "reduced"


def test_a_record_whose_doses_follow_each_other_is_read_by_its_days() -> None:
    steps = [
        dosage(15, "oral", **WEEKLY, boundsPeriod=days(-90, 30)),
        dosage(10, "oral", **WEEKLY, boundsPeriod=days(31, 84)),
    ]
    assert became(statement("1", "methotrexate", days(-90), *steps)).answer == "reduced"


def test_what_is_put_on_the_skin_is_no_systemic_drug() -> None:
    skin = statement("1", "tacrolimus", days(-90, 30), dosage(1, "topical"), status="stopped")
    assert became(skin, drug="tacrolimus") is None
    assert became(statement("1", "tacrolimus_nonsystemic", days(-90)), drug="tacrolimus_nonsystemic") is None


def test_neither_the_study_drug_nor_glucocorticoids_are_other_drugs() -> None:
    said = [statement(name, name, days(-90)) for name in ("anifrolumab", "prednisone", "methotrexate")]
    found = computed(followed(*said))
    assert [name for name, _ in found if name.endswith("_change")] == ["methotrexate_change"]


def test_a_drug_to_which_the_study_gives_a_factor_to_prednisone_is_a_glucocorticoid() -> None:
    said = statement("1", "corticotropin", days(-200), dosage(10, "oral"))
    own = Definitions(prednisone_factors={"corticotropin": Fraction(2)})
    found = computed(followed(said), own)
    assert ("corticotropin_change", "last") not in found
    assert found["prednisone_equivalent_mg_per_day", "last"].number == 20
    assert ("corticotropin_change", "last") in computed(followed(said))


def test_what_is_only_given_has_no_documented_regimen() -> None:
    given = administration("r", "rituximab", "2024-05-01", 1000, "intravenous")
    earlier = administration("r", "rituximab", "2024-01-01", 1000, "intravenous")
    assert became(drug="rituximab", given=[given]).reasons == ("regimen_missing",)
    assert became(drug="rituximab", given=[earlier]) is None


def test_orders_count_like_statements_and_plans_do_not() -> None:
    stopped = order("1", "methotrexate", days(-90, 30), dosage(15, "oral", **WEEKLY), status="stopped")
    assert became(stopped).answer == "stopped"
    assert became(order("1", "methotrexate", days(-90, 30), status="stopped", intent="plan")) is None


def test_a_renewal_that_overlaps_is_no_higher_dose() -> None:
    old, renewed = methotrexate("1", days(-90, 90), 15), methotrexate("2", days(80), 15)
    together = methotrexate("3", days(-90, 90), 5)
    ordered = order("4", "methotrexate", days(-80, 90), dosage(15, "oral", **WEEKLY))
    assert became(old, renewed).reasons == ("overlap_unclear:methotrexate",)
    assert became(old, together).answer == "unchanged"
    assert became(old, ordered).answer == "unchanged"


def test_every_shipped_drug_has_its_variable() -> None:
    shipped = (variable for kind, variable in load_tables().rows if kind == "medication")
    assert sorted(other_therapies.variables(shipped)) == sorted(other_therapies.variables())


ROWS = st.lists(
    st.tuples(
        st.sampled_from(["methotrexate", "ivig", "immunoglobulin"]),
        st.sampled_from(["active", "completed", "stopped", "on-hold"]),
        st.integers(-60, 80),
        st.none() | st.integers(0, 100),
        st.none() | st.integers(1, 20),
    ),
    max_size=5,
)


@settings(max_examples=60, deadline=None)
@given(ROWS, st.randoms(use_true_random=False))
def test_the_order_of_the_records_changes_nothing(rows: Any, chance: random.Random) -> None:
    said = [
        statement(
            str(n), drug, days(start, start + length if length is not None else None),
            *([dosage(mg, "oral", **WEEKLY)] if mg is not None else []), status=status,
        )
        for n, (drug, status, start, length, mg) in enumerate(rows)
    ]  # fmt: skip
    one, other = followed(*said), followed(*chance.sample(said, len(said)))
    assert battery.outcomes(one) == battery.outcomes(other)
