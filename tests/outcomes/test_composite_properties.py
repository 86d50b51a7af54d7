"""What must hold of the composite criteria whatever the values are."""

from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from dm_fhir.model.case import Assessment, Case, Concept, Measured, Outcome, Result, Source, Subject
from dm_fhir.model.definitions import Definitions
from dm_fhir.outcomes import battery, composites, core_set, tis
from dm_fhir.outcomes.bounds import at_least, at_most, minus, possible, so_many, times

BEFORE, WEEK_12 = "2024-04-08", "2024-07-08"
DEFINITIONS = Definitions(enzyme_range_in_uln_juvenile={"ck": Fraction(15)}, tis_lower_bound=True)
ADULT = ("physician_global_vas", "patient_global_vas", "haq_di", "mmt8_150", "ck", "extramuscular_vas")
CHILD = ("physician_global_vas", "patient_global_vas", "chaq", "cmas", "ck", "jdm_das_total", "mmt8_80")
HIGHEST = {"ck": 4000, **{name: int(scale.highest) for name, scale in core_set.SCALES.items() if scale.highest}}
WORSE_WHEN_LOW = ("mmt8_150", "mmt8_80", "cmas")
Values = dict[str, tuple[Fraction, Fraction]]
quick = settings(deadline=None, derandomize=True, database=None, max_examples=80)


def numbers(variable: str) -> st.SearchStrategy[Fraction]:
    """Values of a scale in tenths, its ends among them."""
    return st.integers(0, 10 * HIGHEST[variable]).map(lambda tenths: Fraction(tenths, 10))


def pairs(variables: tuple[str, ...]) -> st.SearchStrategy[Values]:
    """A baseline and a follow-up of each."""
    return st.fixed_dictionaries({name: st.tuples(numbers(name), numbers(name)) for name in variables})


def assessed(variable: str, when: str, value: Fraction, bound: str = "exact", uln: int = 200) -> Assessment:
    high = Fraction(uln) if variable == "ck" else None
    result = Result(value, "unit", bound, reference_high=high)
    measured = Measured(Concept(variable=variable), result=result)
    return Assessment(Source("north", f"Observation/{variable}.{when}"), "final", when=when, measured=measured)


@pytest.fixture(scope="module")
def patient(clinic: Any) -> Any:
    """A case of these assessments; a child where they are a child's."""

    def build(assessments: list[Assessment], born: str = "1970-01-01") -> Case:
        case = clinic.case(assessments, [clinic.infusion("1", "2024-04-15T10:00:00-04:00")])
        return replace(case, subject=Subject(Source("north", "Patient/1"), birth_date=born))

    return build


def both(values: Values) -> list[Assessment]:
    return [assessed(name, when, value) for name, pair in values.items() for when, value in zip((BEFORE, WEEK_12), pair, strict=True)]  # fmt: skip


def outcomes(case: Case) -> dict[str, Outcome]:
    found = battery.outcomes(case, definitions=DEFINITIONS)
    return {one.variable: one for one in found if one.variable in composites.variables()}


def number(found: dict[str, Outcome], name: str = "tis") -> Fraction:
    value = found[name].number
    assert value is not None
    return value


def better(name: str, value: Fraction, by: Fraction) -> Fraction:
    """A value that is better by a part of the way to the best end of the scale."""
    return value + by * (HIGHEST[name] - value) if name in WORSE_WHEN_LOW else value - by * value


@quick
@given(values=pairs(ADULT))
def test_the_total_is_the_sum_of_its_points_and_lies_between_0_and_100(patient: Any, values: Values) -> None:
    case = patient(both(values))
    setting = composites.setting_of(case, battery.exposure_of(case).infusions[0], case.assessments, DEFINITIONS)
    parts = tis.scored(setting.core, "week_12", "adult", DEFINITIONS)
    total = number(outcomes(case))

    assert 0 <= total <= 100
    assert total == sum(part.points or 0 for part in parts)
    assert all(part.points in tis.POINTS[part.compared.measure.name] for part in parts)


@quick
@given(values=pairs(ADULT))
def test_worsening_never_scores(patient: Any, values: Values) -> None:
    """Of two values of each measure the better one first."""
    worse = {
        name: (max(pair), min(pair)) if name in WORSE_WHEN_LOW else (min(pair), max(pair))
        for name, pair in values.items()
    }
    found = outcomes(patient(both(worse)))

    assert number(found) == 0
    assert found["tis_category"].answer == "no_improvement"
    assert found["imacs_improvement"].answer == "no"


@quick
@given(
    values=pairs(ADULT),
    name=st.sampled_from(ADULT),
    by=st.sampled_from((Fraction(1, 100), Fraction(1, 3), Fraction(1))),
)
def test_a_better_follow_up_never_lowers_the_score(patient: Any, values: Values, name: str, by: Fraction) -> None:
    first, last = values[name]
    improved = {**values, name: (first, better(name, last, by))}
    before, after = outcomes(patient(both(values))), outcomes(patient(both(improved)))

    assert number(after) >= number(before)
    assert not (before["imacs_improvement"].answer == "yes" and after["imacs_improvement"].answer == "no")
    assert not (before["imacs_worsening"].answer == "no" and after["imacs_worsening"].answer == "yes")


@quick
@given(values=pairs(ADULT), data=st.data())
def test_the_order_of_records_changes_nothing(patient: Any, values: Values, data: st.DataObject) -> None:
    records = [*both(values), *(assessed(name, "2024-06-10", pair[0]) for name, pair in values.items())]
    shuffled = data.draw(st.permutations(records))

    assert outcomes(patient(shuffled)) == outcomes(patient(records))


@settings(quick, max_examples=25)
@given(values=pairs(ADULT))
def test_the_unit_changes_nothing(clinic: Any, values: Values) -> None:
    """cm or mm, U/L or mU/mL, ukat/L or nkat/L."""

    def of(vas: tuple[str, int], ck: tuple[str, int]) -> dict[str, Outcome]:
        records = []
        for name, pair in values.items():
            unit, factor = vas if name.endswith("vas") else ck if name == "ck" else ("{score}", 1)
            limit = 200 * factor if name == "ck" else None
            for when, value in zip((BEFORE, WEEK_12), pair, strict=True):
                records.append(clinic.core(name, when, Decimal(int(value * 10)) * factor / 10, limit, unit=unit))
        return outcomes(clinic.case(records, [clinic.infusion("1", "2024-04-15T10:00:00-04:00")]))

    units = (("U/L", 1), ("mU/mL", 1)), (("ukat/L", 1), ("nkat/L", 1000))
    for ck, same_ck in units:
        assert of(("cm", 1), ck) == of(("mm", 10), same_ck)


@quick
@given(values=pairs(ADULT), kept=st.sets(st.sampled_from(ADULT)))
def test_what_is_decided_without_a_measure_stays_decided_with_it(patient: Any, values: Values, kept: set[str]) -> None:
    part = outcomes(patient(both({name: pair for name, pair in values.items() if name in kept})))
    whole = outcomes(patient(both(values)))

    for name in ("imacs_improvement", "imacs_worsening"):
        assert part[name].answer in (None, whole[name].answer)
        assert (part[name].answer is None) == bool(part[name].reasons)
    if len(kept) < len(ADULT):
        assert part["tis"].number is None
        assert "tis_category" not in part or part["tis_category"].answer is None
    if "tis_lower_bound" in part:
        assert number(part, "tis_lower_bound") <= number(whole)


@quick
@given(values=pairs(CHILD), kept=st.sets(st.sampled_from(CHILD)))
def test_criteria_of_juveniles_are_decided_for_good(patient: Any, values: Values, kept: set[str]) -> None:
    born = "2012-01-01"
    part = outcomes(patient(both({name: pair for name, pair in values.items() if name in kept}), born))
    whole = outcomes(patient(both(values), born))

    for name in ("printo_improvement", "jdm_inactive", "jdm_inactive_phga"):
        if name in part:
            assert part[name].answer in (None, whole[name].answer)


@quick
@given(values=pairs(ADULT), name=st.sampled_from(ADULT), data=st.data())
def test_what_a_bound_decides_every_value_within_it_decides(
    patient: Any, values: Values, name: str, data: st.DataObject
) -> None:
    when = data.draw(st.sampled_from((BEFORE, WEEK_12)))
    bound = data.draw(st.sampled_from(("upper_exclusive", "upper_inclusive", "lower_exclusive", "lower_inclusive")))
    limit = data.draw(numbers(name))
    ends = possible(limit, bound, Fraction(0), Fraction(HIGHEST[name]))
    first, last = values[name]
    value = first if when == BEFORE else last
    is_within = at_least(ends, value) is not False and at_most(ends, value) is not False
    rest = [one for one in both(values) if one.source.reference != f"Observation/{name}.{when}"]
    bounded = outcomes(patient([*rest, assessed(name, when, limit, bound)]))
    exact = outcomes(patient(both(values)))

    if is_within and value != limit:
        assert bounded["tis"].number in (None, exact["tis"].number)
        for answered in ("imacs_improvement", "imacs_worsening"):
            assert bounded[answered].answer in (None, exact[answered].answer)


@given(st.lists(st.sampled_from((True, False, None))), st.integers(0, 6))
def test_a_count_is_decided_when_the_unknown_cannot_change_it(verdicts: list[bool | None], least: int) -> None:
    fewest, most = (sum((one if one is not None else unknown) for one in verdicts) for unknown in (False, True))

    assert so_many(least, verdicts) is (True if fewest >= least else False if most < least else None)


@given(st.fractions(0, 10), st.fractions(0, 10), st.fractions(-10, 10))
def test_bounds_of_exact_values_are_exact(one: Fraction, other: Fraction, limit: Fraction) -> None:
    difference = minus(times(possible(one, "exact", None, None), Fraction(2)), possible(other, "exact", None, None))

    assert difference.exact == 2 * one - other
    assert at_least(difference, limit) is (2 * one - other >= limit)
    assert at_most(difference, limit) is (2 * one - other <= limit)
