"""Doses over time: what a dosing instruction comes to a day, and why it comes to nothing.

Expected numbers are worked out by hand: dose x times / period (R-GC-COURSE).
"""

from decimal import Decimal
from fractions import Fraction
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dm_fhir.mappings import dosage
from dm_fhir.mappings.codes import load_tables
from dm_fhir.mappings.dosage import Product, dosing_in
from dm_fhir.model.case import Coding, Concept, Dosing, Quantity, Ratio, Timing
from dm_fhir.outcomes.dosing import DAYS, times_per_day

from .generated import MODEST

TABLES = load_tables()
UCUM, SNOMED = "http://unitsofmeasure.org", "http://snomed.info/sct"
PREDNISONE = Concept((Coding("http://www.nlm.nih.gov/research/umls/rxnorm", "8640"),), None, "prednisone")
TABLET_5_MG = Ratio(Quantity(Decimal(5), unit="mg"), Quantity(Decimal(1), unit="Tablet"))
SYRUP = Ratio(Quantity(Decimal(15), code="mg", system=UCUM), Quantity(Decimal(5), code="ml", system=UCUM))
DAILY = {"repeat": {"frequency": 1, "period": 1, "periodUnit": "d"}}


def dosing(strength: Ratio | None = None, drug: Concept = PREDNISONE, **elements: Any) -> Dosing:
    view = msgspec.convert(elements, dosage.Dosage, str_keys=True)
    return dosing_in(view, Product(drug, strength), TABLES)


def mg(value: str, unit: str = "mg") -> dict[str, Any]:
    return {"doseAndRate": [{"doseQuantity": {"value": Decimal(value), "unit": unit}}]}


def repeat(**elements: Any) -> dict[str, Any]:
    return {"timing": {"repeat": elements}}


def route(code: str) -> dict[str, Any]:
    return {"route": {"coding": [{"system": SNOMED, "code": code}]}}


ORAL, TOPICAL, JOINT, VEIN = "26643006", "6064005", "12130007", "47625008"


@pytest.mark.parametrize(
    ("strength", "elements", "expected"),
    [
        (None, mg("10") | {"timing": DAILY}, "10"),
        (None, mg("20") | repeat(frequency=1, period=2, periodUnit="d"), "10"),
        (None, mg("5") | repeat(frequency=2, period=1, periodUnit="d"), "10"),
        (None, mg("5") | repeat(frequency=1, period=8, periodUnit="h"), "15"),
        (None, mg("5") | repeat(period=12, periodUnit="h"), "10"),
        (None, mg("0.015", "g") | {"timing": DAILY}, "15"),
        (None, mg("0") | {"timing": DAILY}, "0"),
        (TABLET_5_MG, mg("2", "{tbl}") | {"timing": DAILY}, "10"),
        (TABLET_5_MG, mg("1.5", "tablets") | {"timing": DAILY}, "15/2"),
        (TABLET_5_MG, mg("2.5") | {"timing": DAILY}, "5/2"),
        (SYRUP, mg("10", "mL") | {"timing": DAILY}, "30"),
        # Methotrexate's habit: once a week, on Friday.
        (None, mg("15") | repeat(frequency=1, period=1, periodUnit="wk", dayOfWeek=["fri"]), "15/7"),
        (None, mg("7") | repeat(frequency=1, period=1, periodUnit="d", dayOfWeek=["mon", "wed", "fri"]), "3"),
        (None, mg("7") | repeat(dayOfWeek=["mon", "thu"]), "2"),
        (None, mg("5") | repeat(timeOfDay=["08:00:00", "20:00:00"]), "10"),
        (None, mg("5") | repeat(when=["MORN"]), "5"),
        (None, mg("487") | repeat(frequency=1, period=1, periodUnit="mo"), "16"),
        (None, mg("10") | {"timing": DAILY} | route(ORAL), "10"),
        (None, mg("10") | {"timing": DAILY, "asNeededBoolean": False}, "10"),
    ],
)
def test_a_dose_a_day(strength: Ratio | None, elements: dict[str, Any], expected: str) -> None:
    found = dosing(strength, **elements)

    assert (found.mg_per_day, found.reasons) == (Fraction(expected), ())


@pytest.mark.parametrize(
    ("elements", "reasons"),
    [
        ({"timing": DAILY}, ("dose_missing",)),
        ({"timing": DAILY, "text": "as the doctor said"}, ("dose_missing",)),
        ({"timing": DAILY, "doseAndRate": [{"doseQuantity": {"unit": "mg"}}]}, ("dose_missing",)),
        (mg("5") | {"timing": DAILY, "asNeededBoolean": True}, ("as_needed",)),
        (mg("5") | {"timing": DAILY, "asNeededCodeableConcept": {"text": "for pain"}}, ("as_needed",)),
        (mg("1") | {"timing": DAILY} | route(TOPICAL), ("route_not_systemic",)),
        (mg("40") | {"timing": DAILY} | route(JOINT), ("route_not_systemic",)),
        (mg("2", "{tbl}") | {"timing": DAILY}, ("dose_unknown:strength_missing",)),
        (mg("2", "mL") | {"timing": DAILY}, ("dose_unknown:concentration_unknown",)),
        (mg("1", "mg/kg") | {"timing": DAILY}, ("dose_unknown:unit_incompatible",)),
        ({"timing": DAILY, "doseAndRate": [{"doseQuantity": {"value": 5}}]}, ("dose_unknown:unit_missing",)),
        (
            {"timing": DAILY, "doseAndRate": [{"doseRange": {"low": {"value": 5, "unit": "mg"}}}]},
            ("dose_unknown:dose_range",),
        ),
        (
            {"timing": DAILY, "doseAndRate": [{"doseQuantity": {"value": v, "unit": "mg"}} for v in (5, 10)]},
            ("dose_unknown:several_doses",),
        ),
        (
            {"timing": DAILY, "doseAndRate": [{"doseQuantity": {"value": 5, "unit": "mg", "comparator": "<"}}]},
            ("dose_unknown:comparator",),
        ),
        (mg("5"), ("dose_unknown:frequency_missing",)),
        (mg("5") | {"timing": {"code": {"text": "with meals"}}}, ("dose_unknown:frequency_missing",)),
        (mg("5") | repeat(frequency=1, frequencyMax=2, period=1, periodUnit="d"), ("dose_unknown:frequency_range",)),
        (mg("5") | repeat(frequency=1, period=4, periodMax=6, periodUnit="h"), ("dose_unknown:frequency_range",)),
        (mg("5") | repeat(frequency=2), ("dose_unknown:timing_unclear",)),
        (mg("5") | repeat(frequency=2, period=0, periodUnit="d"), ("dose_unknown:timing_unclear",)),
        (
            mg("5") | repeat(frequency=1, period=2, periodUnit="wk", dayOfWeek=["mon", "fri"]),
            ("dose_unknown:timing_unclear",),
        ),
        (mg("1000") | {"timing": {"event": ["2024-03-05"]}} | route(VEIN), ("dose_unknown:single_doses",)),
        (
            mg("5") | repeat(frequency=3, period=1, periodUnit="wk", dayOfWeek=["mon", "fri"]),
            ("dose_unknown:timing_unclear",),
        ),
        ({}, ("dose_missing", "dose_unknown:frequency_missing")),
    ],
)
def test_why_there_is_no_dose_a_day(elements: dict[str, Any], reasons: tuple[str, ...]) -> None:
    found = dosing(**elements)

    assert (found.mg_per_day, found.reasons) == (None, reasons)


def test_a_single_dose_keeps_its_milligrams_for_a_pulse() -> None:
    found = dosing(**mg("1000"), timing={"event": ["2024-03-05"]}, **route(VEIN))

    assert (found.dose_mg, found.systemic) == (1000, True)
    assert found.timing is not None
    assert found.timing.times == ("2024-03-05",)


def test_a_habit_by_its_code_stands_for_the_whole_timing() -> None:
    abbreviations = "http://terminology.hl7.org/CodeSystem/v3-GTSAbbreviation"
    every_other_day = {"code": {"coding": [{"system": abbreviations, "code": "QOD"}]}}
    local = {"code": {"coding": [{"system": "urn:local", "code": "QOD"}]}}

    assert dosing(**mg("20"), timing=every_other_day).mg_per_day == 10
    assert dosing(**mg("20"), timing=local).mg_per_day is None


def test_two_ways_to_say_one_dose_agree() -> None:
    same = [{"doseQuantity": {"value": 10, "unit": "mg"}}, {"doseQuantity": {"value": Decimal("0.010"), "unit": "g"}}]

    assert dosing(timing=DAILY, doseAndRate=same).mg_per_day == 10


def test_a_local_form_of_a_drug_is_not_systemic_whatever_its_route() -> None:
    ointment = Concept((Coding("http://www.whocc.no/atc", "D11AH01"),), None, "tacrolimus_nonsystemic")

    assert dosing(drug=ointment, **mg("1"), timing=DAILY).reasons == ("route_not_systemic",)


def test_a_route_that_no_table_knows_is_neither_systemic_nor_local() -> None:
    assert dosing(**mg("10"), timing=DAILY, **route("999")).systemic is None
    assert dosing(**mg("10"), timing=DAILY).systemic is None
    assert dosing(**mg("10"), timing=DAILY, **route(ORAL)).systemic is True


@MODEST
@given(st.integers(1, 24), st.integers(1, 400), st.sampled_from(sorted(DAYS)))
def test_the_rate_times_its_period_is_the_frequency(frequency: int, period: int, unit: str) -> None:
    rate, reason = times_per_day(Timing(frequency=frequency, period=Decimal(period), period_unit=unit))

    assert reason is None
    assert rate is not None
    assert rate * period * DAYS[unit] == frequency


@pytest.mark.parametrize("value", ['"NaN"', "1e999999999"])
def test_a_period_that_is_no_number_does_not_decode(value: str) -> None:
    with pytest.raises(msgspec.DecodeError):
        msgspec.json.decode(f'{{"timing": {{"repeat": {{"period": {value}}}}}}}', type=dosage.Dosage)
