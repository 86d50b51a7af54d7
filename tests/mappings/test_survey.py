"""The survey of a site's codes loses nothing and counts nothing twice; a conversion that is shown is the one that was made."""

import json
from decimal import Decimal
from fractions import Fraction
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from dm_fhir.mappings import medication_administration, observation
from dm_fhir.mappings.codes import load_tables
from dm_fhir.mappings.conversion import how_given, how_measured
from dm_fhir.mappings.datatypes import read
from dm_fhir.mappings.measured import evaluated
from dm_fhir.mappings.survey import survey
from dm_fhir.model.case import Coding, Concept, Measured, Quantity, Source
from dm_fhir.outcomes.baseline import ACCEPTED_STATUSES
from dm_fhir.store.records import Record

TABLES = load_tables()
MODEST = settings(max_examples=60, deadline=None, derandomize=True, database=None)
MEASUREMENTS = sorted(key[1:] for key in TABLES.by_code if key[0] == "measurement")
CODES = st.sampled_from([*MEASUREMENTS, ("urn:x", "a"), ("urn:x", "b"), None, ("text", "only")])
UNITS = st.sampled_from([None, "U/L", "UI/L", "ukat/L", "{score}", "kat", "mg", "mL"])
VALUES = st.one_of(
    st.fixed_dictionaries(
        {"valueQuantity": st.fixed_dictionaries({"value": st.integers(0, 200)}, optional={"unit": UNITS.filter(bool)})}
    ),
    st.sampled_from(
        [
            {},
            {"valueString": "7"},
            {"valueInteger": 7},
            {"dataAbsentReason": {"text": "lost"}},
            {"valueBoolean": True},
            {"valueCodeableConcept": {"coding": [{"system": "urn:x", "code": "much"}]}},
            {"valueTime": "10:00:00"},
            {"valueRange": {"low": {"value": 1}}},
            {"valuePeriod": {"start": "2025"}},
            {"valueDateTime": "2025"},
            {"valueRatio": {"numerator": {"value": 1}}},
            {"valueInteger": 7, "valueString": "7"},
        ]
    ),
)
STATUSES = st.sampled_from(["final", "amended", "preliminary", "cancelled", "entered-in-error"])


def body(code: tuple[str, str] | None, value: dict[str, Any], status: str) -> bytes:
    """An Observation."""
    concept: dict[str, Any] = {} if code is None else {"coding": [{"system": code[0], "code": code[1]}]}
    if code == ("text", "only"):
        concept = {"text": "said in words"}
    return json.dumps({"resourceType": "Observation", "id": "o", "status": status, "code": concept, **value}).encode()


OBSERVATIONS = st.tuples(st.integers(0, 3), st.builds(body, CODES, VALUES, STATUSES))


@given(seen=st.lists(OBSERVATIONS, max_size=30))
@MODEST
def test_every_record_is_counted_once(seen: list[tuple[int, bytes]]) -> None:
    seen = sorted(seen, key=lambda one: one[0])
    records = [Record("Observation", f"o{n}", None, None, b, f"Patient/{p}") for n, (p, b) in enumerate(seen)]
    site = survey("leon", records, TABLES, {}, "anifrolumab")
    codes = [*site.mapped, *site.unmapped]
    without = sum(sum(counts.values()) for counts in site.without_code.values())
    assert sum(one.records for one in codes if one.kind == "measurement") + without == len(seen)
    read_as = [
        (patient, observation.from_fhir(read(one, observation.Observation), Source("", ""), TABLES))
        for patient, one in seen
    ]
    for one in (code for code in codes if code.kind == "measurement"):
        mine = [
            (patient, found)
            for patient, found in read_as
            if [(TABLES.system(c.system), c.code) for c in found.measured.concept.codings] == [(one.system, one.code)]
        ]
        assert (one.records, one.patients) == (len(mine), len({patient for patient, _ in mine}))
        assert sum(one.statuses.values()) == sum(one.values.values()) == one.records
        if one.variable is not None:
            counted = [found for _, found in mine if found.status in ACCEPTED_STATUSES]
            assert one.unused.get("status_excluded", 0) == len(mine) - len(counted)
            assert sum(one.unused.values()) == len(mine) - sum(
                found.measured.result.reason is None for found in counted
            )
            # A value that was recorded and is not used is trouble; one that was never recorded is none.
            assert one.trouble == sum(
                found.measured.result.reason is not None and _has_value(found.measured) for found in counted
            )
    assert site.trouble == sum(one.trouble for one in site.mapped)
    rows = {(one.kind, one.variable) for one in site.never_seen}
    assert rows | {(one.kind, one.variable) for one in site.mapped} == set(TABLES.rows)


def _has_value(measured: Measured) -> bool:
    return any(
        value is not None
        for value in (
            measured.quantity,
            measured.integer,
            measured.string,
            measured.boolean,
            measured.coded,
            measured.value_range,
            measured.ratio,
            measured.date_time,
            measured.time_of_day,
            measured.period,
        )
    )


QUANTITIES = st.builds(
    Quantity,
    value=st.decimals(0, 300, places=2),
    unit=UNITS,
    system=st.sampled_from([None, "http://unitsofmeasure.org"]),
    code=UNITS,
)


@given(code=st.sampled_from(MEASUREMENTS), quantity=QUANTITIES)
@MODEST
def test_the_conversion_that_is_shown_is_the_one_that_was_made(code: tuple[str, str], quantity: Quantity) -> None:
    measured = evaluated(Measured(Concept((Coding(*code),)), quantity=quantity), TABLES)
    how, *_ = how_measured(measured, TABLES)
    number = measured.result.number
    assert (how.factor is None) == (number is None)
    if number is not None and how.factor is not None:
        assert Fraction(quantity.value or 0) * Fraction(how.factor) == number
        assert how.unit in (quantity.code, quantity.unit)
        assert how.to == measured.result.unit
    assert how.origin.startswith("measurements.toml, measurement row ")


#: Tables that take numbers from texts and codes for every variable that has a unit.
_ROWS = {
    key: msgspec.structs.replace(row, parse_text=True, values={("urn:x", "much"): Decimal(3)}) if row.unit else row
    for key, row in TABLES.rows.items()
}
READING = msgspec.structs.replace(
    TABLES, rows=_ROWS, by_code={key: _ROWS[row.kind, row.variable] for key, row in TABLES.by_code.items()}
)
RECORDED = st.one_of(
    VALUES,
    st.sampled_from([{"valueString": "450 U/L"}, {"valueString": "< 7,5 ukat/L"}, {"valueString": "none"}]),
    st.builds(
        lambda value, high: {"valueQuantity": {"value": value}, "referenceRange": [{"high": {"value": high}}]},
        st.integers(0, 100),
        st.sampled_from([10, 80, 100, 150]),
    ),
)


@given(code=st.sampled_from(MEASUREMENTS), value=RECORDED)
@settings(MODEST, max_examples=300)
def test_what_was_read_times_the_factor_is_the_number_of_every_kind_of_value(
    code: tuple[str, str], value: dict[str, Any]
) -> None:
    view = read(body(code, value, "final"), observation.Observation)
    measured = observation.from_fhir(view, Source("", ""), READING).measured
    how, *_ = how_measured(measured, READING)
    number = measured.result.number
    assert (how.factor is None) == (number is None)
    if number is not None and how.factor is not None:
        amount = measured.quantity.value if measured.quantity else measured.integer
        read_as = how.read_as if amount is None else amount
        assert (how.read_as is None) == (amount is not None)
        assert Fraction(read_as or 0) * Fraction(how.factor) == number


@given(
    code=st.sampled_from(sorted(key[1:] for key in TABLES.by_code if key[0] == "medication")),
    unit=st.sampled_from([None, "mg", "g", "ug", "mL", "{vial}", "[IU]", "1"]),
    value=st.sampled_from([Decimal("300"), Decimal("2"), Decimal("0.5"), Decimal("1000")]),
)
@MODEST
def test_the_dose_that_is_shown_is_the_one_that_was_reckoned(
    code: tuple[str, str], unit: str | None, value: Decimal
) -> None:
    dose = {"value": float(value), **({"unit": unit, "code": unit} if unit else {})}
    drug = {"coding": [{"system": code[0], "code": code[1]}]}
    record = {
        "resourceType": "MedicationAdministration",
        "medicationCodeableConcept": drug,
        "dosage": {"dose": dose},
    }
    view = read(json.dumps(record).encode(), medication_administration.MedicationAdministration)
    administration = medication_administration.from_fhir(view, Source("", ""), TABLES, {})
    (how,) = how_given(administration, TABLES)
    assert (how.factor is None) == (administration.dose_mg is None)
    if how.factor is not None:
        assert Fraction(value) * Fraction(how.factor) == administration.dose_mg
        assert how.unit == unit
