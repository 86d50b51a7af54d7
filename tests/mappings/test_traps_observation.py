"""Traps of real records that Observations fall into; each test is named by the trap's number and what is required.

The numbers are those of the clinical reference: 2 MMT8 scales, 3 units of CK, 4 CDASI in parts, 5 cm and mm, 6 DLQI and
CDLQI, 7 statuses, 8 duplicates, 9 partial dates, 11 kinds of times, 17 comparators, 18 absent, text and codes, 27 CK-MB.
"""

from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest

from dm_fhir.model.case import Case, Outcome, Result
from dm_fhir.outcomes.baseline import current
from dm_fhir.outcomes.battery import outcomes

OWN, LOINC = "https://w3id.org/dm-fhir/CodeSystem/measurement", "http://loinc.org"
ABSENT = "http://hl7.org/fhir/StructureDefinition/data-absent-reason"
CK = {"coding": [{"system": LOINC, "code": "2157-6"}]}
CaseOf = Callable[..., Case]


def own(code: str) -> dict[str, Any]:
    return {"coding": [{"system": OWN, "code": code}]}


def observation(code: dict[str, Any], value: Any = None, unit: str | None = None, **elements: Any) -> dict[str, Any]:
    """A final Observation of one day, with a Quantity if there is a value."""
    quantity = {"value": value, **({"unit": unit} if unit else {})}
    found = {"resourceType": "Observation", "status": "final", "code": code, "effectiveDateTime": "2024-03-05"}
    return {**found, **({"valueQuantity": quantity} if value is not None else {}), **elements}


def infusion(when: str = "2024-03-06T10:00:00+01:00") -> dict[str, Any]:
    drug = {"coding": [{"system": "http://www.whocc.no/atc", "code": "L04AG11"}]}
    return {
        "resourceType": "MedicationAdministration",
        "id": "i",
        "status": "completed",
        "medicationCodeableConcept": drug,
        "effectiveDateTime": when,
    }


def result(case: Case) -> Result:
    """What the only assessment comes to."""
    [one] = case.assessments
    return one.measured.result


def codes(case: Case) -> list[str]:
    return sorted(one.code for one in case.findings)


def outcome(case: Case, variable: str) -> Outcome:
    [found] = [one for one in outcomes(case) if one.variable == variable]
    return found


# 2: MMT8 80 and 150 under one code


@pytest.mark.parametrize(
    ("elements", "variable", "reason"),
    [
        ({"referenceRange": [{"high": {"value": 150}}]}, "mmt8_150", None),
        ({"referenceRange": [{"high": {"value": 10}}, {"high": {"value": 80}}]}, "mmt8_80", None),
        ({"component": [{"code": {"text": "muscle"}}] * 15}, "mmt8_150", None),
        ({"hasMember": [{"reference": f"Observation/m{n}"} for n in range(8)]}, "mmt8_80", None),
        ({}, "mmt8", "scale_ambiguous"),
        ({"referenceRange": [{"high": {"value": 80}}, {"high": {"value": 150}}]}, "mmt8", "scale_conflict"),
        (
            {"referenceRange": [{"high": {"value": 150}}], "component": [{"code": {"text": "muscle"}}] * 8},
            "mmt8",
            "scale_conflict",
        ),
    ],
)
def test_02_the_scale_is_told_by_evidence_in_order_and_never_guessed(
    case_of: CaseOf, elements: dict[str, Any], variable: str, reason: str | None
) -> None:
    table = '[[measurement]]\nvariable = "mmt8"\ncodes = [{ system = "urn:x", code = "MMT8" }]\n'
    case = case_of(observation({"coding": [{"system": "urn:x", "code": "MMT8"}]}, 76, **elements), table=table)

    [one] = case.assessments
    assert (one.measured.concept.variable, one.measured.result.reason) == (variable, reason)
    assert codes(case) == ([reason] if reason else [])


def test_02_a_code_that_tells_the_scale_goes_before_one_that_does_not(case_of: CaseOf) -> None:
    table = '[[measurement]]\nvariable = "mmt8"\ncodes = [{ system = "urn:x", code = "MMT8" }]\n'
    code = {"coding": [{"system": "urn:x", "code": "MMT8"}, {"system": OWN, "code": "mmt8-150"}]}
    case = case_of(observation(code, 76), table=table)

    assert case.assessments[0].measured.concept.variable == "mmt8_150"
    assert result(case).number == 76


def test_02_two_scales_make_no_change_and_are_not_converted(case_of: CaseOf) -> None:
    case = case_of(
        observation(own("mmt8-80"), 70), infusion(), observation(own("mmt8-150"), 140, effectiveDateTime="2024-06-01")
    )

    assert outcome(case, "mmt8_150_improvement").reasons == ("scale_mixed",)


# 3: CK in U/L, ukat/L, nkat/L, IU/L


@pytest.mark.parametrize(
    ("value", "unit", "number", "flags", "reason"),
    [
        (450, "U/L", 450, (), None),
        (Decimal("7.5"), "ukat/L", 450, (), None),
        (Decimal("7.5"), "µkat/L", 450, (), None),
        (7500, "nkat/L", 450, (), None),
        (450, "UI/L", 450, ("unit_read_as_U_per_L",), None),
        (Decimal("0.5"), "U/L", Fraction(1, 2), ("implausible",), None),
        (200001, "U/L", 200001, ("implausible",), None),
        (450, None, None, (), "unit_missing"),
        (5, "ug/L", None, (), "unit_incompatible"),
        (-1, "U/L", None, (), "out_of_range"),
    ],
)
def test_03_ck_is_converted_exactly_or_not_used(
    case_of: CaseOf, value: Any, unit: str | None, number: Any, flags: Any, reason: str | None
) -> None:
    case = case_of(observation(CK, value, unit))

    assert (result(case).number, result(case).flags, result(case).reason) == (number, flags, reason)
    assert codes(case) == ([reason] if reason else [])


def test_03_the_reference_range_is_converted_with_the_value(case_of: CaseOf) -> None:
    limits = {"low": {"value": Decimal("0.4"), "unit": "ukat/L"}, "high": {"value": Decimal("3.34"), "unit": "ukat/L"}}
    case = case_of(observation(CK, Decimal("7.5"), "ukat/L", referenceRange=[limits]))

    assert (result(case).reference_low, result(case).reference_high) == (24, Fraction("200.4"))


@pytest.mark.parametrize(
    "ranges",
    [
        [{"high": {"value": 200}}],
        [{"high": {"value": 200, "unit": "ug/L"}}],
        [{"high": {"value": 200, "unit": "U/L"}}, {"high": {"value": 183, "unit": "U/L"}}],
        [
            {
                "high": {"value": 200, "unit": "U/L"},
                "type": {
                    "coding": [
                        {
                            "system": "http://terminology.hl7.org/CodeSystem/referencerange-meaning",
                            "code": "therapeutic",
                        }
                    ]
                },
            }
        ],
    ],
    ids=["no unit", "unknown unit", "two that differ", "not the normal range"],
)
def test_03_an_upper_limit_is_never_guessed(case_of: CaseOf, ranges: Any) -> None:
    case = case_of(observation(CK, 450, "U/L", referenceRange=ranges))

    assert (result(case).number, result(case).reference_high) == (450, None)


def test_03_other_enzymes_do_not_read_international_units(case_of: CaseOf) -> None:
    table = '[[measurement]]\nvariable = "ldh"\ncodes = [{ system = "urn:x", code = "LDH" }]\n'
    code = {"coding": [{"system": "urn:x", "code": "LDH"}]}

    assert result(case_of(observation(code, 4, "ukat/L"), table=table)).number == 240
    assert result(case_of(observation(code, 240, "IU/L"), table=table)).reason == "unit_incompatible"


# 4: CDASI activity, damage, total as component, member or separate resource

PARTS = {"cdasi-activity": 20, "cdasi-damage": 4, "cdasi-total": 24}


def as_components(when: str) -> list[dict[str, Any]]:
    parts = [{"code": own(code), "valueInteger": value} for code, value in PARTS.items()]
    return [observation({"text": "CDASI"}, id=f"c{when}", effectiveDateTime=when, component=parts)]


def as_members(when: str) -> list[dict[str, Any]]:
    parts = [
        observation(own(code), value, id=f"{code}-{when}", effectiveDateTime=when) for code, value in PARTS.items()
    ]
    members = [{"reference": f"Observation/{one['id']}"} for one in parts]
    return [*parts, observation(own("cdasi-total"), id=f"p{when}", effectiveDateTime=when, hasMember=members)]


def as_contained(when: str) -> list[dict[str, Any]]:
    parts = [observation(own(code), value, id=code, effectiveDateTime=when) for code, value in PARTS.items()]
    members = [{"reference": f"#{one['id']}"} for one in parts]
    return [observation({"text": "CDASI"}, id=f"b{when}", contained=parts, hasMember=members)]


def as_resources(when: str) -> list[dict[str, Any]]:
    return [observation(own(code), value, id=f"{code}-{when}", effectiveDateTime=when) for code, value in PARTS.items()]


@pytest.mark.parametrize("shape", [as_components, as_members, as_contained, as_resources])
def test_04_activity_is_read_from_whatever_shape_and_the_total_never_taken_for_it(case_of: CaseOf, shape: Any) -> None:
    case = case_of(*shape("2024-03-05"), infusion())

    assert outcome(case, "cdasi_activity_baseline").number == 20
    assert codes(case) == []


def test_04_a_total_alone_is_not_activity(case_of: CaseOf) -> None:
    case = case_of(observation(own("cdasi-total"), 24), infusion())

    assert outcome(case, "cdasi_activity_baseline").reasons == ("baseline_missing", "total_is_not_activity")


def test_04_one_code_that_means_activity_and_total_is_neither(case_of: CaseOf) -> None:
    both = {"coding": [{"system": OWN, "code": "cdasi-activity"}, {"system": OWN, "code": "cdasi-total"}]}

    assert result(case_of(observation(both, 24))).reason == "conflict"


def test_04_a_panel_of_unknown_parts_is_counted(case_of: CaseOf) -> None:
    case = case_of(observation({"text": "skin"}, hasMember=[{"reference": "Observation/x"}]))

    assert case.left_out == {"Observation: a panel of others, no code that the tables know": 1}


def test_04_what_lies_in_a_record_without_being_its_member_is_not_read(case_of: CaseOf) -> None:
    part = observation(own("cdasi-activity"), 20, id="a")
    panel = observation({"text": "CDASI"}, contained=[part], hasMember=[{"reference": "#b"}])

    assert case_of(panel).assessments == ()


@pytest.mark.parametrize(
    ("elements", "found"), [({}, []), ({"dataAbsentReason": {"text": "not performed"}}, ["value_missing"])]
)
def test_04_a_panel_without_value_is_missing_only_if_it_says_so(
    case_of: CaseOf, elements: dict[str, Any], found: list[str]
) -> None:
    parts = [{"code": own("cdasi-activity"), "valueInteger": 20}]

    assert codes(case_of(observation(own("cdasi-total"), component=parts, **elements))) == found


# 5: VAS in cm or mm


@pytest.mark.parametrize(
    ("value", "unit", "ranges", "number", "flags", "reason"),
    [
        (Decimal("6.5"), "cm", [], Fraction("6.5"), (), None),
        (65, "mm", [], Fraction("6.5"), (), None),
        (65, None, [{"high": {"value": 100}}], Fraction("6.5"), (), None),
        (6, None, [{"high": {"value": 100}}], Fraction("0.6"), (), None),
        (6, None, [{"high": {"value": 10}}], 6, (), None),
        (6, None, [{"high": {"value": 100, "unit": "mm"}}], Fraction("0.6"), (), None),
        (6, None, [], 6, ("unit_missing",), None),
        (11, None, [], None, (), "unit_missing"),
        (6, None, [{"high": {"value": 10}}, {"high": {"value": 100}}], None, (), "unit_missing"),
        (6, None, [{"high": {"value": 10, "unit": "mm"}}], None, (), "unit_missing"),
        (2, None, [{"high": {"value": 3}}], 2, ("unit_missing",), None),
        (65, "cm", [], None, (), "out_of_range"),
        (65, None, [{"high": {"value": 10}}], None, (), "out_of_range"),
    ],
)
def test_05_the_unit_decides_then_the_range_then_nothing_above_10(
    case_of: CaseOf, value: Any, unit: Any, ranges: Any, number: Any, flags: Any, reason: Any
) -> None:
    found = result(case_of(observation(own("physician-global-vas"), value, unit, referenceRange=ranges)))

    assert (found.number, found.flags, found.reason) == (number, flags, reason)


# 6: partial DLQI, CDLQI under 16 years


def test_06_the_childrens_questionnaire_is_another_variable(case_of: CaseOf) -> None:
    case = case_of(
        observation(own("cdlqi"), 12), infusion(), observation(own("dlqi"), 6, effectiveDateTime="2024-06-01")
    )

    assert outcome(case, "dlqi_improvement").reasons == ("baseline_missing",)


@pytest.mark.parametrize(
    ("born", "reason"), [("2008-03-06", "use_cdlqi"), ("2008-03-05", None), ("2008-03", None), ("2009", "use_cdlqi")]
)
def test_06_a_dlqi_of_somebody_surely_under_16_is_not_used(case_of: CaseOf, born: str, reason: str | None) -> None:
    person = {"resourceType": "Patient", "id": "1", "birthDate": born}
    case = case_of(person, observation(own("dlqi"), 12))

    assert result(case).reason == reason
    assert codes(case) == ([reason] if reason else [])


def test_06_a_half_point_is_flagged(case_of: CaseOf) -> None:
    assert result(case_of(observation(own("dlqi"), Decimal("12.5")))).flags == ("non_integer",)


# 7: Observation.status


@pytest.mark.parametrize("status", ["final", "amended", "corrected"])
def test_07_final_amended_and_corrected_are_used(case_of: CaseOf, status: str) -> None:
    case = case_of(observation(own("dlqi"), 12, status=status), infusion())

    assert (outcome(case, "dlqi_baseline").number, codes(case)) == (12, [])


@pytest.mark.parametrize("status", ["registered", "preliminary", "cancelled", "entered-in-error", "unknown"])
def test_07_the_others_are_excluded_and_counted(case_of: CaseOf, status: str) -> None:
    case = case_of(observation(own("dlqi"), 12, status=status), infusion())

    assert outcome(case, "dlqi_baseline").reasons == ("baseline_missing", "status_excluded")
    assert codes(case) == ["status_excluded"]


def test_07_preliminary_is_used_where_the_site_says_so_until_the_final_one_is_there(case_of: CaseOf) -> None:
    table = "[observations]\npreliminary = true\n"
    named = {"identifier": [{"system": "urn:x", "value": "7"}]}
    early = observation(own("dlqi"), 12, id="early", status="preliminary", **named)
    late = observation(own("dlqi"), 9, id="late", **named)

    assert outcome(case_of(early, infusion(), table=table), "dlqi_baseline").number == 12
    both = case_of(early, late, infusion(), table=table)
    assert (outcome(both, "dlqi_baseline").number, codes(both)) == (9, ["superseded"])


def test_07_an_answer_is_excluded_by_its_status_like_a_number(case_of: CaseOf) -> None:
    positive = {"coding": [{"system": "http://snomed.info/sct", "code": "10828004"}]}
    antibody = {"coding": [{"system": LOINC, "code": "107562-1"}]}

    assert codes(case_of(observation(antibody, valueCodeableConcept=positive, status="cancelled"))) == [
        "status_excluded"
    ]


def test_07_entered_in_error_may_lack_code_and_value(case_of: CaseOf) -> None:
    case = case_of({"resourceType": "Observation", "id": "e", "status": "entered-in-error"})

    assert (case.left_out, codes(case)) == ({"Observation: no code that the tables know": 1}, [])


# 8: duplicates after amendment


def test_08_an_amendment_under_a_new_id_stands_in_its_place(case_of: CaseOf) -> None:
    named = {"identifier": [{"system": "urn:x", "value": "7"}]}
    first = observation(own("dlqi"), 12, id="a", **named)
    second = observation(own("dlqi"), 9, id="b", status="amended", **named)
    case = case_of(first, second, infusion())

    assert outcome(case, "dlqi_baseline").number == 9
    assert [(one.code, one.reference) for one in case.findings] == [("superseded", "Observation/a")]


def test_08_the_same_result_twice_is_one(case_of: CaseOf) -> None:
    case = case_of(observation(own("dlqi"), 12, id="a"), observation(own("dlqi"), 12, id="b"), infusion())

    assert outcome(case, "dlqi_baseline").number == 12
    assert codes(case) == ["duplicate"]


def test_08_two_values_of_equal_rank_are_a_conflict_that_nothing_older_hides(case_of: CaseOf) -> None:
    older = observation(own("dlqi"), 20, id="o", effectiveDateTime="2024-02-01")
    case = case_of(older, observation(own("dlqi"), 12, id="a"), observation(own("dlqi"), 9, id="b"), infusion())

    assert outcome(case, "dlqi_baseline").reasons == ("conflict",)
    assert [one.reference for one in case.findings if one.code == "conflict"] == ["Observation/a", "Observation/b"]


def test_08_a_later_issue_replaces_within_a_specimen_and_not_across(case_of: CaseOf) -> None:
    tube, other = {"reference": "Specimen/1"}, {"reference": "Specimen/2"}
    early = observation(CK, 450, "U/L", id="a", specimen=tube, issued="2024-03-05T10:00:00Z")
    late = observation(CK, 440, "U/L", id="b", specimen=tube, issued="2024-03-05T12:00:00Z")
    apart = observation(CK, 300, "U/L", id="c", specimen=other, issued="2024-03-05T13:00:00Z")

    assert outcome(case_of(early, late, infusion()), "ck_baseline").number == 440
    torn = case_of(early, late, apart, infusion())
    assert outcome(torn, "ck_baseline").reasons == ("conflict",)
    assert codes(torn) == ["conflict", "conflict", "superseded"]


def test_08_two_values_of_one_specimen_are_a_conflict(case_of: CaseOf) -> None:
    tube = {"reference": "Specimen/1"}
    case = case_of(
        observation(CK, 450, "U/L", id="a", specimen=tube),
        observation(CK, 440, "U/L", id="b", specimen=tube),
        infusion(),
    )

    assert outcome(case, "ck_baseline").reasons == ("conflict",)


def test_08_an_amended_antibody_is_the_one_that_counts(case_of: CaseOf) -> None:
    named = {"identifier": [{"system": "urn:x", "value": "7"}]}
    positive, negative = (
        {"valueCodeableConcept": {"coding": [{"system": "http://snomed.info/sct", "code": code}]}}
        for code in ("10828004", "260385009")
    )
    antibody = {"coding": [{"system": LOINC, "code": "107562-1"}]}
    case = case_of(
        observation(antibody, id="a", **positive, **named),
        observation(antibody, id="b", status="corrected", **negative, **named),
        observation(antibody, id="c", status="cancelled", **positive),
    )

    assert [one.measured.result.answer for one in current(case)] == ["negative"]


# 9 and 11: partial dates, and the four ways to say when


@pytest.mark.parametrize(
    ("elements", "time"),
    [
        ({"effectiveDateTime": "2024-03"}, "2024-03"),
        ({"effectiveInstant": "2024-03-05T10:00:00Z"}, "2024-03-05T10:00:00Z"),
        ({"effectivePeriod": {"start": "2024-03-01", "end": "2024-03-05"}}, "2024-03-05"),
        ({"effectiveTiming": {"event": ["2024-03-05"]}}, "2024-03-05"),
    ],
)
def test_11_an_assessment_counts_at_its_moment_or_the_end_of_its_period(
    case_of: CaseOf, elements: dict[str, Any], time: str
) -> None:
    record = {key: value for key, value in observation(own("dlqi"), 12).items() if key != "effectiveDateTime"}
    [one] = case_of({**record, **elements}).assessments

    assert one.time == time


@pytest.mark.parametrize(
    "timing", [{"event": ["2024-03-05", "2024-03-06"]}, {"repeat": {"frequency": 1, "period": 1, "periodUnit": "d"}}]
)
def test_11_a_timing_is_not_expanded(case_of: CaseOf, timing: dict[str, Any]) -> None:
    record = {key: value for key, value in observation(own("dlqi"), 12).items() if key != "effectiveDateTime"}
    case = case_of({**record, "effectiveTiming": timing}, infusion())

    assert len(case.assessments) == 1
    assert codes(case) == ["time_missing", "timing_not_expanded"]
    assert outcome(case, "dlqi_baseline").number is None


def test_09_a_month_that_holds_the_first_infusion_has_no_order(case_of: CaseOf) -> None:
    case = case_of(observation(own("dlqi"), 12, effectiveDateTime="2024-03"), infusion())

    assert outcome(case, "dlqi_baseline").reasons == ("baseline_missing", "order_unknown")


# 17: comparators


@pytest.mark.parametrize(
    ("comparator", "bound"),
    [("<", "upper_exclusive"), ("<=", "upper_inclusive"), (">", "lower_exclusive"), (">=", "lower_inclusive")],
)
def test_17_a_comparator_is_a_bound_and_never_a_change(case_of: CaseOf, comparator: str, bound: str) -> None:
    low = observation(CK, valueQuantity={"value": 20, "unit": "U/L", "comparator": comparator})
    case = case_of(low, infusion(), observation(CK, 10, "U/L", effectiveDateTime="2024-06-01"))

    assert case.assessments[0].measured.result.bound == bound
    assert outcome(case, "ck_improvement").reasons == ("comparator",)


def test_17_an_unknown_comparator_is_no_exact_value(case_of: CaseOf) -> None:
    case = case_of(observation(CK, valueQuantity={"value": 20, "unit": "U/L", "comparator": "ad"}))

    assert (result(case).number, result(case).reason) == (None, "comparator")


# 18: absent values, text, codes


@pytest.mark.parametrize(
    "elements",
    [
        {"dataAbsentReason": {"coding": [{"system": "urn:x", "code": "unknown"}]}},
        {"valueQuantity": {"extension": [{"url": ABSENT, "valueCode": "unknown"}]}},
        {"valueQuantity": {"unit": "U/L", "_value": {"extension": [{"url": ABSENT, "valueCode": "masked"}]}}},
        {"_valueInteger": {"extension": [{"url": ABSENT, "valueCode": "unknown"}]}},
        {"_valueString": {"extension": [{"url": ABSENT, "valueCode": "unknown"}]}},
        {"valueCodeableConcept": {"extension": [{"url": ABSENT, "valueCode": "unknown"}]}},
    ],
)
def test_18_absent_is_missing_with_its_reason_and_not_zero(case_of: CaseOf, elements: dict[str, Any]) -> None:
    case = case_of(observation(CK, **elements))

    [one] = case.assessments
    assert (one.measured.result, codes(case)) == (Result(reason="value_missing"), ["value_missing"])
    assert one.measured.absent is not None
    assert one.measured.quantity is None or one.measured.quantity.unit is not None
    assert one.measured.absent.codings[0].code in ("unknown", "masked")


def test_18_a_value_that_is_said_to_be_absent_contradicts_itself(case_of: CaseOf) -> None:
    case = case_of(observation(CK, 450, "U/L", dataAbsentReason={"text": "error"}))

    assert (result(case).reason, codes(case)) == ("conflict", ["conflict"])


def test_18_two_values_contradict_each_other(case_of: CaseOf) -> None:
    assert result(case_of(observation(CK, 450, "U/L", valueInteger=450))).reason == "conflict"


def test_18_text_is_read_only_where_the_table_says_so(case_of: CaseOf) -> None:
    record = observation(CK, valueString="450 UI/L")
    opted = case_of(record, table='[[measurement]]\nvariable = "ck"\nparse_text = true\n')

    assert result(case_of(record)).reason == "value_is_string"
    assert (result(opted).number, result(opted).flags) == (450, ("parsed_from_text", "unit_read_as_U_per_L"))


def test_18_a_code_has_a_value_only_through_a_map(case_of: CaseOf) -> None:
    code = {"system": LOINC, "code": "LA6115-5"}
    record = observation(own("pruritus-nrs"), valueCodeableConcept={"coding": [{**code, "display": "5"}]})
    table = (
        '[[measurement]]\nvariable = "pruritus_nrs"\n'
        'values = [{ system = "http://loinc.org", code = "LA6115-5", value = "5" }]\n'
    )

    assert result(case_of(record)).reason == "value_not_mapped"
    assert result(case_of(record, table=table)).number == 5


def test_18_a_code_that_says_absent_is_missing(case_of: CaseOf) -> None:
    code = {"system": "http://terminology.hl7.org/CodeSystem/data-absent-reason", "code": "unknown"}

    assert result(case_of(observation(CK, valueCodeableConcept={"coding": [code]}))).reason == "value_missing"


def test_18_an_amount_of_antibody_is_no_answer(case_of: CaseOf) -> None:
    antibody = {"coding": [{"system": LOINC, "code": "105555-7"}]}

    assert result(case_of(observation(antibody, 12, "U/mL"))).reason == "value_not_mapped"


@pytest.mark.parametrize(
    "elements",
    [
        {"valueRange": {"low": {"value": 1, "unit": "U/L"}, "high": {"value": 2, "unit": "U/L"}}},
        {"valueRatio": {"numerator": {"value": 1}, "denominator": {"value": 640}}},
        {"valueBoolean": True},
        {"valueDateTime": "2024-03-05"},
        {"valueTime": "10:00:00"},
        {"valuePeriod": {"start": "2024"}},
        {"valueSampledData": {"origin": {"value": 0}, "period": 10, "dimensions": 1, "data": "1 2 3"}},
    ],
)
def test_18_what_is_no_number_is_told_and_does_no_harm(case_of: CaseOf, elements: dict[str, Any]) -> None:
    case = case_of(observation(CK, **elements))

    assert (result(case).reason, codes(case)) == ("value_not_a_number", ["value_not_a_number"])


# 23: filter statuses on the client, and never read our own outcomes as records


def test_our_own_outcomes_are_left_out(case_of: CaseOf) -> None:
    named = {"identifier": [{"system": "https://w3id.org/dm-fhir/outcome", "value": "1"}]}
    case = case_of(observation(own("dlqi"), 12, **named))

    assert (case.assessments, case.left_out) == ((), {"Observation: written by dm-fhir": 1})


# 27: CK-MB next to CK

CK_MB = {"system": LOINC, "code": "13969-1"}
NEVER = '[[measurement]]\nvariable = "exclude_ck_mb"\ncodes = [{ system = "http://loinc.org", code = "13969-1" }]\n'


@pytest.mark.parametrize("table", ["", NEVER])
def test_27_ck_mb_is_never_ck(case_of: CaseOf, table: str) -> None:
    case = case_of(observation({"coding": [CK_MB]}, 5, "ug/L"), table=table)

    assert (case.assessments, codes(case), sum(case.left_out.values())) == ((), [], 1)


def test_27_a_result_coded_as_both_is_not_used(case_of: CaseOf) -> None:
    case = case_of(observation({"coding": [*CK["coding"], CK_MB]}, 5, "U/L"), table=NEVER)

    assert result(case).reason == "conflict"


def test_27_ck_mb_beside_ck_is_no_finding(case_of: CaseOf) -> None:
    case = case_of(
        observation(CK, 450, "U/L", component=[{"code": {"coding": [CK_MB]}, "valueInteger": 5}]), table=NEVER
    )

    assert (result(case).number, codes(case)) == (450, [])
