"""Every published threshold and band at its edges, each written down here once more from its source."""

from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dm_fhir.model.definitions import Definitions
from dm_fhir.outcomes import ck
from dm_fhir.outcomes.enzymes import normalised
from dm_fhir.outcomes.instruments import INSTRUMENTS, defined
from dm_fhir.outcomes.thresholds import STATUS, Interval, possible
from dm_fhir.outcomes.verdicts import by_bands, by_thresholds, definitions_of
from dm_fhir.report.definitions import definitions

BY_NAME = {one.name: one for one in INSTRUMENTS}
ABOVE, BELOW = Fraction(1, 10**9), -Fraction(1, 10**9)

#: Instrument, definition, points or percent, the improvement at which it is just met, and its verdict there.
MET_FROM = [
    ("cdasi_activity", "cdasi_a_mcid_4", "points", "4", "yes"),
    ("cdasi_activity", "cdasi_a_mcid_5", "points", "5", "yes"),
    ("cdasi_activity", "cdasi_a_pct_40", "percent", "40", "yes"),
    ("cdasi_activity", "cdasi_a_pct_50", "percent", "50", "yes"),
    ("dlqi", "dlqi_mcid_4", "points", "4", "yes"),
    ("physician_global_vas", "phga_change_2cm", "points", "2", "better"),
    ("haq_di", "haq_mcii_0375_ra", "points", "3/8", "yes"),
    ("haq_di", "haq_mcid_022_ra", "points", "11/50", "yes"),
    ("pruritus_nrs", "pruritus_nrs_mcid_3", "points", "3", "yes"),
    ("pruritus_nrs", "pruritus_nrs_mcid_4", "points", "4", "yes"),
    ("itch_5d", "itch_5d_mcid_5", "points", "5", "yes"),
]


@pytest.mark.parametrize(("name", "definition", "of", "edge", "verdict"), MET_FROM)
def test_a_threshold_is_met_at_its_edge_and_not_a_hair_below(
    name: str, definition: str, of: str, edge: str, verdict: str
) -> None:
    found = [by_thresholds(BY_NAME[name], of, Fraction(edge) + by)[definition] for by in (BELOW, 0, ABOVE)]

    assert found == ["no", verdict, verdict]


def test_a_change_of_2_cm_is_told_in_both_directions() -> None:
    edges = [Fraction(-2) + by for by in (BELOW, 0, ABOVE)]
    found = [by_thresholds(BY_NAME["physician_global_vas"], "points", one)["phga_change_2cm"] for one in edges]

    assert found == ["worse", "worse", "no"]


@pytest.mark.parametrize(
    ("improvement", "verdict"),
    [("0.0999", "no"), ("0.1", None), ("0.1399", None), ("0.14", "yes"), ("-0.2", "no")],
)
def test_within_an_estimate_of_two_ends_nothing_is_decided(improvement: str, verdict: str | None) -> None:
    found = by_thresholds(BY_NAME["haq_di"], "points", Fraction(improvement))

    assert found.get("haq_mid_010_014_ssc") == verdict


@pytest.mark.parametrize(("fall", "verdict"), [(12, "yes"), (10, "yes"), (9, None), (5, None), (4, "no"), (-20, "no")])
def test_a_smaller_fall_of_the_vital_capacity_counts_only_with_symptoms(fall: int, verdict: str | None) -> None:
    found = by_thresholds(BY_NAME["fvc_percent_predicted"], "points", -Fraction(fall))

    assert found.get("fvc_decline_10") == verdict


#: Instrument, definition, and the bands of some values: both sides of each edge.
BANDS: list[tuple[str, str, dict[str, str | None]]] = [
    ("cdasi_activity", "cdasi_a_band_stanford_14", {"0": "mild", "14": "mild", "14.5": "not_mild", "100": "not_mild"}),
    ("cdasi_activity", "cdasi_a_band_upenn_19", {"18.9": "mild", "19": "moderate_severe", "100": "moderate_severe"}),
    ("cdasi_activity", "cdasi_a_entry_ge_14", {"13.9": "no", "14": "yes"}),
    (
        "dlqi",
        "dlqi_band_hongbo",
        {"0": "no_effect", "1": "no_effect", "1.5": None, "2": "small", "5": "small", "6": "moderate", "10": "moderate",
         "11": "very_large", "20": "very_large", "21": "extremely_large", "30": "extremely_large", "31": None},
    ),
    (
        "physician_global_vas",
        "phga_band_proderm",
        {"0": "mild", "3": "mild", "3.1": None, "3.5": None, "3.9": None, "4": "moderate", "6": "moderate", "6.5": None,
         "7": "major", "10": "major"},
    ),
    ("extramuscular_vas", "exm_not_involved", {"0": "yes", "0.5": "yes", "0.6": "no", "10": "no"}),
    (
        "haq_di",
        "haq_band",
        {"0": "mild_moderate", "0.875": "mild_moderate", "1": "moderate_severe", "1.875": "moderate_severe",
         "2": "severe_very_severe", "3": "severe_very_severe"},
    ),
    (
        "pruritus_nrs",
        "pruritus_nrs_band",
        {"0": "none", "0.5": None, "1": "mild", "3": "mild", "4": "moderate", "7": "moderate", "8": "severe", "10": "severe"},
    ),
    (
        "pruritus_vas",
        "pruritus_vas_band",
        {"0": "none", "0.1": "mild", "3.9": "mild", "4": "moderate", "6.9": "moderate", "7": "severe", "8.9": "severe",
         "9": "very_severe", "10": "very_severe"},
    ),
    ("skindex29_symptoms", "skindex29_severe", {"51.9": "no", "52": "yes"}),
    ("skindex29_emotions", "skindex29_severe", {"38.9": "no", "39": "yes"}),
    ("skindex29_functioning", "skindex29_severe", {"36.9": "no", "37": "yes"}),
]  # fmt: skip


@pytest.mark.parametrize(("name", "definition", "expected"), BANDS, ids=[f"{one[0]}-{one[1]}" for one in BANDS])
def test_bands_at_their_edges(name: str, definition: str, expected: dict[str, str | None]) -> None:
    found = {
        value: by_bands(BY_NAME[name], possible(Fraction(value), "exact"), None).get(definition) for value in expected
    }

    assert found == expected


@pytest.mark.parametrize(
    ("times", "grade"),
    [("0", "no_grade"), ("1", "no_grade"), ("1.01", "grade_1"), ("2.5", "grade_1"), ("2.51", "grade_2"), ("5", "grade_2"),
     ("5.01", "grade_3"), ("10", "grade_3"), ("10.01", "grade_4"), ("400", "grade_4")],
)  # fmt: skip
def test_grades_of_ck_hold_their_upper_ends(times: str, grade: str) -> None:
    value = possible(Fraction(times), "exact")

    assert by_bands(ck.INSTRUMENT, value, value)["ck_ctcae"] == grade
    assert by_bands(ck.INSTRUMENT, value, None) == {}


def test_the_side_of_19_is_the_studys() -> None:
    nineteen = possible(Fraction(19), "exact")
    sides = {
        side: by_bands(defined(Definitions(cdasi_19=side))[0], nineteen, None)["cdasi_a_band_upenn_19"]
        for side in ("mild", "moderate_severe")
    }

    assert sides == {"mild": "mild", "moderate_severe": "moderate_severe"}


@pytest.mark.parametrize(
    ("number", "bound", "band"),
    [
        # Below 3 is mild whatever it is; below 5 may be moderate, or in no band.
        ("3", "upper_exclusive", "mild"), ("5", "upper_exclusive", None), ("3", "upper_inclusive", "mild"),
        ("7", "lower_inclusive", None),
    ],
)  # fmt: skip
def test_a_bound_is_in_the_band_that_holds_all_it_may_mean(number: str, bound: str, band: str | None) -> None:
    found = by_bands(BY_NAME["physician_global_vas"], possible(Fraction(number), bound), None)

    assert found.get("phga_band_proderm") == band


def test_a_bound_that_begins_at_an_open_edge_lies_beyond_it() -> None:
    over_14 = possible(Fraction(14), "lower_exclusive")
    from_14 = possible(Fraction(14), "lower_inclusive")
    found = [
        by_bands(BY_NAME["cdasi_activity"], one, None).get("cdasi_a_band_stanford_14") for one in (over_14, from_14)
    ]

    assert found == ["not_mild", None]


EXACT = [st.fractions(min_value=0, max_value=30, max_denominator=20)]


@settings(deadline=None)
@given(*EXACT, *EXACT, st.booleans(), st.booleans(), *EXACT)
def test_an_interval_holds_another_if_it_holds_each_of_its_values(
    low: Fraction, width: Fraction, low_open: bool, high_open: bool, value: Fraction
) -> None:
    outer = Interval(low, low + width, low_open, high_open)
    inside = (low < value or (low == value and not low_open)) and (
        value < low + width or (value == low + width and not high_open)
    )

    assert outer.holds(Interval(value, value)) == inside
    assert outer.holds(outer)
    assert Interval().holds(outer)
    assert not outer.holds(Interval(low))


@pytest.mark.parametrize(
    ("first", "last", "verdict"),
    [
        (("1.01", "exact"), ("1", "exact"), "yes"),
        (("2", "exact"), ("1.01", "exact"), "no"),
        (("1", "exact"), ("0.5", "exact"), None),  # it was normal before
        (("2", "lower_exclusive"), ("0.5", "upper_exclusive"), "yes"),
        (("1", "lower_exclusive"), ("1", "upper_exclusive"), "yes"),
        (("0.5", "lower_exclusive"), ("0.5", "exact"), None),  # it may have been normal
        (("2", "exact"), ("3", "upper_exclusive"), None),
    ],
)
def test_a_raised_enzyme_is_normal_again(first: tuple[str, str], last: tuple[str, str], verdict: str | None) -> None:
    def times(one: tuple[str, str]) -> Interval:
        return possible(Fraction(one[0]), one[1])

    assert normalised(times(first), times(last)) == verdict


def test_every_definition_is_tried_here() -> None:
    tried = {definition for _, definition, *_ in MET_FROM} | {definition for _, definition, _ in BANDS}
    tried |= {"haq_mid_010_014_ssc", "fvc_decline_10", "ck_ctcae"}
    known = {one.id for instrument in INSTRUMENTS for one in definitions_of(instrument)}

    assert {one for one in known if not one.endswith("_normalised")} == tried


def test_every_definition_is_in_the_documentation_with_its_source() -> None:
    text = (Path(__file__).parents[2] / "docs" / "outcomes.md").read_text(encoding="utf-8")
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    for instrument in INSTRUMENTS:
        assert any(f"`{instrument.name}`" in row for row in rows), instrument.name
        for one in definitions_of(instrument):
            said = (f"`{one.id}`", f" {one.words} |", f" {one.source} |", f" {STATUS[one.status]} |")
            assert any(all(part in row for part in said) for row in rows), one.id


def test_the_report_lists_every_definition_and_the_side_that_was_chosen() -> None:
    said = " ".join(how for _, how in definitions(Definitions(cdasi_19="mild")))

    assert {one.id for instrument in INSTRUMENTS for one in definitions_of(instrument) if one.id not in said} == set()
    assert "cdasi_a_band_upenn_19: up to 19 mild, above 19 moderate severe (UPenn cohort, Anyanwu 2015;" in said
    no_endpoint = {what.split(" (")[0] for what, how in definitions() if "no endpoint" in how}
    assert no_endpoint == {"CDASI damage", "CAT damage", "CAT-BM damage"}
