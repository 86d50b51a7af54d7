"""dm-fhir explain of response criteria: every measure with its values and what it came to, the criteria, the definitions."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, Any

import pytest

from .hospital import concept, infusion, measured, patient, put

if TYPE_CHECKING:
    from tests.cli.conftest import Study

OWN = "https://w3id.org/dm-fhir/CodeSystem/measurement"
BEFORE, WEEK_4, WEEK_8 = "2025-03-01", "2025-04-03", "2025-05-01"
VALUES = {
    "physician-global-vas": (6, 4, 4), "patient-global-vas": (6, 5, 5), "extramuscular-vas": (5, 3.5, 3.5),
    "haq-di": (1.25, 1.25, 1), "mmt8-150": (130, 138, 138),
}  # fmt: skip


def records() -> list[dict[str, Any]]:
    high = {"referenceRange": [{"high": {"value": 200, "unit": "U/L"}}]}
    found = [patient("p1"), infusion("i1", "p1")]
    for code, values in VALUES.items():
        unit = "cm" if code.endswith("vas") else "{score}"
        for when, value in zip((BEFORE, WEEK_4, WEEK_8), values, strict=True):
            found.append(measured(f"{code}.{when}", "p1", when, value, unit, code=(OWN, code)))
    for name, when, value in (
        ("ck", BEFORE, 900),
        ("ck4", WEEK_4, 300),
        ("ck8", WEEK_8, 300),
        ("near", "2025-05-04", 900),
    ):
        found.append(measured(name, "p1", when, value, "U/L", **high))
    ast = concept("http://loinc.org", "1920-8")
    found.append({**measured("ast", "p1", BEFORE, 40, "U/L", **high), "code": ast})
    return found


@pytest.fixture
def computed(study: Study) -> Study:
    """The patient, pulled and computed."""
    put(study.db, *records())
    for query in ("Observation?patient", "MedicationAdministration?patient", "Patient"):
        study.unit(query, patient="Patient/p1")
    assert study.type("compute").code in (0, 3)
    return study


def told(study: Study, *arguments: str) -> Any:
    """What machines are told of an outcome."""
    ran = study.type("explain", "--json", *arguments)
    assert ran.code == 0, ran.err
    return ran.json["sites"][0]["outcome"]


def test_a_score_shows_each_measure_the_thresholds_and_the_definitions(computed: Study) -> None:
    lines = computed.type("explain", "leon:Patient/p1", "tis@week_8").lines

    assert lines[1:14] == [
        "  tis@week_8: Total Improvement Score (2016 ACR/EULAR)",
        "    value      45 points, 2025-05-01",
        "    rule       R-TIS, version 1: docs/outcomes.md",
        "    criteria   of six measures, all known; adults: minimal >= 20, moderate >= 40, major >= 60",
        "    by         week_8: day 56, 49 to 63",
        "    by         range of ck: 15 x ULN",
        "    by         most abnormal enzyme, x ULN at baseline: ck 4.5, ast 0.2",
        "    measure    physician global VAS at week 8: 6 to 4 cm; range 10, percent 20 %, band > 15 to 25 %, points 15",
        "    measure    patient global VAS at week 8: 6 to 5 cm; range 10, percent 10 %, band > 5 to 15 %, points 2.5",
        "    measure    HAQ-DI at week 8: 1.25 to 1 points; range 3, percent 8.3 %, band > 5 to 15 %, points 5",
        "    measure    MMT8 (0-150) at week 8: 130 to 138 points; range 150, percent 5.3 %, band > 2 to 10 %, points 10",
        "    measure    CK at week 8: 900 to 300 U/L; range 3000, percent 20 %, ULN 200, band > 15 to 25 %, points 5",
        "    measure    extramuscular VAS at week 8: 5 to 3.5 cm; range 10, percent 15 %, band > 5 to 15 %, points 7.5",
    ]  # fmt: skip
    assert lines[-3:] == [
        "  considered and not used:",
        "    Observation/ast, ast, 40 U/L, 2025-03-01: another enzyme or scale is followed",
        "    Observation/near, ck, 900 U/L, 2025-05-04: another value lies nearer to the day of the visit",
    ]


def test_a_score_for_machines_is_exact(computed: Study) -> None:
    score = told(computed, "p1", "tis@week_8")
    steps = score["working"]["steps"]

    assert (score["number"], score["visit"]) == ("45", "week_8")
    assert [(one["id"], one["verdict"]) for one in score["verdicts"]] == [("population", "adult")]
    assert sum(Fraction(step["came_to"]["points"]) for step in steps) == 45
    assert steps[3] == {
        "measure": "mmt8", "variable": "mmt8_150", "visit": "week_8", "baseline": "130", "followup": "138", "unit": "{score}",
        "came_to": {"range": "150", "percent": "16/3", "band": "> 2 to 10 %", "points": "10"}, "reasons": [],
    }  # fmt: skip


def test_a_category_is_an_answer(computed: Study) -> None:
    category = told(computed, "p1", "tis_category@week_8")

    assert (category["answer"], category["number"], category["reasons"]) == ("moderate", None, [])
    assert (
        "    answer     moderate improvement, 2025-05-01" in computed.type("explain", "p1", "tis_category@week_8").lines
    )
    assert "    tis_category@week_8: moderate improvement, 2025-05-01" in computed.type("explain", "p1").lines


def test_a_definition_shows_what_was_asked_of_each_measure(computed: Study) -> None:
    lines = computed.type("explain", "p1", "imacs_improvement@week_8").lines

    assert "    answer     yes, 2025-05-01" in lines
    assert "    criteria   at least 3 of 6 improved by >= 20 %" in lines
    assert "               strength not worse by >= 25 %" in lines
    assert (
        "    measure    patient global VAS at week 8: 6 to 5 cm; percent 16.7 %, "
        "improved by >= 20 %: no, worse by >= 25 %: no"
    ) in lines


def test_a_deterioration_shows_both_visits(computed: Study) -> None:
    outcome = told(computed, "p1", "proderm_deterioration@week_8")

    assert [step["visit"] for step in outcome["working"]["steps"]] == ["week_4"] * 5 + ["week_8"] * 5
    assert {one["role"] for one in outcome["inputs"]} == {"baseline", "followup", "earlier_followup"}


def test_what_is_missing_is_explained_measure_by_measure(study: Study) -> None:
    high = {"referenceRange": [{"high": {"value": 200, "unit": "U/L"}}]}
    put(
        study.db, patient("p1"), infusion("i1", "p1"), measured("a", "p1", BEFORE, 900, "U/L", **high),
        measured("b", "p1", WEEK_8, 950, "U/L", **high), measured("c", "p1", WEEK_8, 99, "cm", code=(OWN, "physician-global-vas")),
    )  # fmt: skip
    study.unit("Observation?patient", patient="Patient/p1")
    study.type("compute")
    lines = study.type("explain", "p1", "tis@week_8").lines

    assert "    no value   neither baseline nor follow-up (haq di) (measure_missing:haq_di)" in lines
    assert (
        "    measure    HAQ-DI at week 8: (none) to (none); unknown: neither baseline nor follow-up (haq di)" in lines
    )
    assert any("Observation/c, physician_global_vas" in line and "outside the scale" in line for line in lines)


def test_inactive_disease_shows_each_limit(study: Study) -> None:
    juvenile = {"resourceType": "Condition", "id": "dm", "subject": {"reference": "Patient/p1"},
                "code": concept("http://hl7.org/fhir/sid/icd-10-cm", "M33.02")}  # fmt: skip
    put(
        study.db, patient("p1", birthDate="2012-01-01"), infusion("i1", "p1"), juvenile,
        measured("ck", "p1", WEEK_8, 100, "U/L"), measured("cmas", "p1", WEEK_8, 47, "{score}", code=(OWN, "cmas")),
    )  # fmt: skip
    study.unit("Observation?patient", patient="Patient/p1")
    study.type("compute")
    lines = study.type("explain", "p1", "jdm_inactive_phga@week_8").lines

    assert "    criteria   at least 3 of 4 limits kept" in lines
    assert "               the physician's global activity among them" in lines
    assert "    measure    CK at week 8: 100 U/L; limit <= 150 U/L, kept: yes" in lines
    assert "    measure    CMAS at week 8: 47 points; limit >= 48, kept: no" in lines
    assert any(
        line.startswith(
            "    measure    MMT8 (0-80) at week 8: (none); limit >= 78 of 80, kept: unknown; unknown: follow-up missing"
        )
        for line in lines
    )


def test_nobody_is_named(computed: Study) -> None:
    for name in ("tis@week_8", "proderm_deterioration@week_8"):
        for ran in (computed.type("explain", "p1", name), computed.type("explain", "--json", "p1", name)):
            assert "Zwetschke" not in ran.out
            assert "1961" not in ran.out
