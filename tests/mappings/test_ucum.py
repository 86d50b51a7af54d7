"""Factors between units, exact; a unit that is not read is not judged."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dm_fhir.mappings.ucum import DifferentKinds, ratio


@pytest.mark.parametrize(
    ("unit", "other", "factor"),
    [
        # R-CK: 1 ukat/L = 60 U/L, 1 nkat/L = 0.06 U/L, 1 mU/mL = 1 U/L.
        ("ukat/L", "U/L", 60), ("µkat/l", "U/L", 60), ("nkat/L", "U/L", Fraction(3, 50)), ("mU/mL", "U/L", 1),
        ("U/mL", "U/L", 1000), ("U/dL", "U/L", 10), ("U/L", "ukat/L", Fraction(1, 60)),
        # R-CK's other neighbours: a VAS, a dose, a rate, a concentration.
        ("mm", "cm", Fraction(1, 10)), ("g", "mg", 1000), ("ug", "mg", Fraction(1, 1000)), ("mg/d", "mg/h", Fraction(1, 24)),
        ("mg/dL", "mg/L", 10), ("ng/mL", "ug/L", 1), ("mm/h", "cm/d", Fraction(12, 5)), ("mg.L", "g.L", Fraction(1, 1000)),
        ("U{at 37 C}/L", "U/L", 1),
        # Nothing that is read, or nothing that says its kind.
        ("E/l", "U/L", None), ("IU/L", "U/L", None), ("[IU]/L", "U/L", None), ("{score}", "cm", None), ("1", "%", None),
        ("", "mg", None), ("mcg", "mg", None), ("10*3/uL", "U/L", None), ("mg/", "mg", None),
    ],
)  # fmt: skip
def test_how_many_of_one_unit_make_another(unit: str, other: str, factor: Fraction | None) -> None:
    assert ratio(unit, other) == factor


@pytest.mark.parametrize(
    ("unit", "other"),
    [("ug/L", "U/L"), ("mmol/L", "U/L"), ("U", "U/L"), ("U/L", "U/d"), ("mL", "mg"), ("%", "mg"), ("cm", "cm/d"), ("L", "m")],
)  # fmt: skip
def test_other_kinds_of_quantity_have_no_factor(unit: str, other: str) -> None:
    with pytest.raises(DifferentKinds):
        ratio(unit, other)


PER_VOLUME = st.builds(
    "{}{}/{}L".format, st.sampled_from(["", "m", "u", "n", "k"]), st.sampled_from(["U", "kat"]), st.sampled_from(["", "d", "m", "u"])
)  # fmt: skip


@given(PER_VOLUME, PER_VOLUME, PER_VOLUME)
def test_factors_lead_there_and_back_and_over_a_third(one: str, two: str, three: str) -> None:
    there, back, over = ratio(one, two), ratio(two, one), ratio(two, three)

    assert there is not None
    assert back is not None
    assert over is not None
    assert there * back == 1
    assert there * over == ratio(one, three)
