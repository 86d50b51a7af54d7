"""What a cohort may be like, and how its patients are told apart: nothing crashes, nobody is lost or counted in silence."""

from collections.abc import Sequence
from typing import Any

import pytest
from msgspec.structs import replace

from dm_fhir.model.case import AdverseEvent, Case, Concept, Source

from .tabled import DASH, all_tables, shown
from .test_sentences_of_odd_cases import anew, said


def of_conditions(case: Case, variable: str, *records: dict[str, Any]) -> Case:
    """The case with these records alone of a manifestation, and no score."""
    (one, *_) = [one for one in case.conditions if one.concept.variable == "gottron_papules"]
    given = (
        replace(
            one,
            source=Source(case.site, f"Condition/{place}"),
            concept=Concept(variable=variable),
            onset="2020",
            **record,
        )
        for place, record in enumerate(records)
    )
    kept = tuple(one for one in case.conditions if one.concept.variable == "dm_adult")
    others = tuple(one for one in case.assessments if one.measured.concept.variable == "cdasi_activity")
    return anew(case, conditions=(*kept, *given), assessments=others)


ENDED = {"abatement": "2024-05-10", "clinical_status": "resolved"}
GOES_ON = {"abatement": None, "clinical_status": "active"}


@pytest.mark.parametrize(
    ("records", "improved", "n"),
    [
        ((ENDED,), "1", "1"),
        ((GOES_ON,), "0", "1"),
        ((ENDED, GOES_ON), "0", "1"),
        (({**ENDED, "abatement": "2023-12-01"},), "0", "0"),
        (({**ENDED, "abatement": "2024-12-01"},), "0", "1"),
        (({**GOES_ON, "clinical_status": None},), "0", "0"),
    ],
)
def test_a_manifestation_got_better_that_was_present_and_is_no_longer(
    four: tuple[Case, ...], records: Sequence[dict[str, Any]], improved: str, n: str
) -> None:
    found = said((of_conditions(four[0], "arthritis", *records),))["extracutaneous_improved"]
    assert (found.values.get("improved"), found.values["n"]) == (improved, n)


def test_patients_of_one_number_at_two_hospitals_are_two(four: tuple[Case, ...]) -> None:
    # Another person of the same number: other age, other drugs, other scores and an event.
    event = AdverseEvent(Source("north", "AdverseEvent/1"), Concept(variable="ae_cough"), date="2024-06-05")
    namesake = replace(four[2], id=four[0].id, site="north", adverse_events=(event,))
    apart = replace(namesake, id="Patient/of-its-own")
    found, expected = said((four[0], namesake)), said((four[0], apart))
    for name in ("age_at_first_infusion", "extracutaneous_improved", "other_treatment_stopped", "adverse_events"):
        kept = {key: value for key, value in expected[name].values.items() if key != "patients"}
        assert {key: value for key, value in found[name].values.items() if key != "patients"} == kept, name
    assert found["infusions_before_last_assessment"].values["n"] == "2"
    assert f"baltimore:{four[0].id}" in found["extracutaneous_improved"].values["patients"]
    assert shown(all_tables((four[0], namesake))["adverse_events"], "All")["any"][:2] == ("1", "1 of 2 (50 %)")


def partially_dated(case: Case) -> Case:
    """Its first infusion in a month, its event and its follow-up on days."""
    given = tuple(replace(one, when=(one.when or "")[:7], during=None) for one in case.administrations if one.when)
    event = AdverseEvent(Source(case.site, "AdverseEvent/1"), Concept(variable="ae_cough"), date="2024-06-05")
    return anew(case, administrations=given, adverse_events=(event,))


def test_events_of_a_follow_up_of_unknown_length_are_in_no_rate(four: tuple[Case, ...]) -> None:
    undated = partially_dated(four[0])
    assert undated.administrations
    table = all_tables((undated, *four[1:]))["adverse_events"]
    assert shown(table, "All")["any"][2].startswith("0.0 (0.0")
    assert "1 event is in no rate: it does not surely lie within a follow-up of known length." in table.notes
    exposure = shown(all_tables((undated,))["exposure"], "Follow-up")
    assert exposure["patient_years"] == (DASH, "1")


def test_one_patient_has_no_range_and_no_test(four: tuple[Case, ...]) -> None:
    cells = shown(all_tables(four[:1])["changes"], "last follow-up")["cdasi_activity"]
    assert cells[:6] == ("1", "27", "6", "21", "77.8 %", DASH)
    found = said(four[:1])
    assert "CDASI-A reduction of 21 points or 77.8 %, n = 1." in found["cdasi_change"].text
    assert found["infusions_before_last_assessment"].text.startswith(
        "Last assessed after 3 completed infusions: after 3"
    )
