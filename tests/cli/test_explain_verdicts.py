"""dm-fhir explain: what a number comes to by each published definition, and by those that the study chose."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from .hospital import infusion, measured, patient, put

if TYPE_CHECKING:
    from tests.cli.conftest import Study

OWN = "https://w3id.org/dm-fhir/CodeSystem/measurement"
DEFINITIONS = """
[study.definitions]
cdasi_19 = "mild"
activity_from_total = true
uln_u_per_l = { ck = 200 }
"""


def score(name: str, day: str, value: float, code: str) -> dict[str, Any]:
    return measured(name, "p1", day, value, None, code=(OWN, code))


@pytest.fixture
def chosen(study: Study) -> Study:
    """A patient whose CDASI is total and damage apart, in a study with definitions of its own."""
    study.config.write_text(study.config.read_text().replace("\n[[site]]", f"{DEFINITIONS}\n[[site]]", 1))
    put(
        study.db, patient("p1"), infusion("i1", "p1"),
        score("t1", "2025-03-01", 29, "cdasi-total"), score("d1", "2025-03-01", 10, "cdasi-damage"),
        score("t2", "2025-03-28", 24, "cdasi-total"), score("d2", "2025-03-28", 10, "cdasi-damage"),
        measured("c1", "p1", "2025-03-01", 900, "U/L"), measured("c2", "p1", "2025-03-28", 3, "ukat/L"),
        score("p1", "2025-03-01", 7, "physician-global-vas"), score("p2", "2025-03-28", 3.5, "physician-global-vas"),
    )  # fmt: skip
    assert study.type("compute").code in (0, 3)
    return study


def test_each_definition_says_what_it_is_and_who_says_so(chosen: Study) -> None:
    lines = chosen.type("explain", "p1", "cdasi_activity_improvement@Observation/t2").lines
    assert [line for line in lines if line.startswith(("    value", "    reckoned", "    visit", "    by "))] == [
        "    value      5 points, 2025-03-28",
        "    reckoned   (29 - 10) - (24 - 10) = 5",
        "    visit      stands for week_4",
        "    by         cdasi_a_mcid_4: yes (improvement of at least 4 points; UPenn cohort, Anyanwu 2015; confirmed)",
        "    by         cdasi_a_mcid_5: yes (improvement of at least 5 points; Stanford cohort, Anyanwu 2015; confirmed)",
        "    by         cdasi_a_band_stanford_14: mild (up to 14 mild, above 14 not mild; Stanford cohort, Anyanwu 2015; Gaffney; confirmed)",
        "    by         cdasi_a_band_upenn_19: mild (up to 19 mild, above 19 moderate severe; UPenn cohort, Anyanwu 2015; the side of 19 is the study's; not confirmed)",
        "    by         cdasi_a_entry_ge_14: yes (below 14 no, 14 and above yes; dazukibart phase 2, Fiorentino, Lancet 2025; confirmed)",
    ]  # fmt: skip
    assert "  follow-up, damage: Observation/d2, cdasi_damage, 2025-03-28" in lines


def test_machines_are_told_the_same(chosen: Study) -> None:
    (site,) = chosen.type("explain", "--json", "p1", "cdasi_activity_baseline").json["sites"]
    found = {one["id"]: one for one in site["outcome"]["verdicts"]}
    assert (site["outcome"]["number"], site["outcome"]["flags"], site["outcome"]["arithmetic"]) == (
        "19", ["from_total"], "(29 - 10)",
    )  # fmt: skip
    assert found["cdasi_a_band_upenn_19"] == {
        "id": "cdasi_a_band_upenn_19",
        "verdict": "mild",
        "words": "up to 19 mild, above 19 moderate severe",
        "source": "UPenn cohort, Anyanwu 2015; the side of 19 is the study's",
        "status": "not confirmed",
    }
    (site,) = chosen.type("explain", "--json", "p1").json["sites"]
    listed = {one["name"]: one for one in site["outcomes"]}
    change = listed["ck_improvement@Observation/c2"]
    assert (change["visit"], change["verdicts"]) == ("week_4", {"ck_ctcae": "no_grade", "ck_normalised": "yes"})


def test_what_is_in_no_band_is_not_decided(chosen: Study) -> None:
    lines = chosen.type("explain", "p1", "physician_global_vas_improvement@Observation/p2").lines
    assert "    by         phga_change_2cm: better (change in either direction of at least 2 cm; ProDERM; Anyanwu 2015; confirmed)" in lines  # fmt: skip
    assert "    by         phga_band_proderm: not decided (0-3 mild, 4-6 moderate, 7-10 major; ProDERM, 13075-023-03232-2 fig. 1; confirmed)" in lines  # fmt: skip


def test_a_multiple_of_the_upper_limit_is_walked_back(chosen: Study) -> None:
    lines = chosen.type("explain", "p1", "ck_x_uln@Observation/c2").lines
    assert lines[1] == "  ck_x_uln@Observation/c2: CK, multiple of the upper limit of normal"
    assert "    value      0.9 x ULN, 2025-03-28" in lines
    assert "    reckoned   180 / 200 = 0.9" in lines
    assert "    flags      uln_configured" in lines
    assert "  considered and not used:" not in lines  # it is made of one record alone


def test_a_total_without_damage_is_named_where_the_activity_is_missing(study: Study) -> None:
    put(study.db, patient("p1"), infusion("i1", "p1"), score("t1", "2025-03-01", 29, "cdasi-total"))
    study.type("compute")
    lines = study.type("explain", "p1", "cdasi_activity_baseline").lines
    assert "    no value   only a total is recorded, which is not activity (total_is_not_activity)" in lines
    assert not [line for line in lines if line.startswith("    by ")]
