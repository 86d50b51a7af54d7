"""Scores from a table, the whole way against a real server: import, compute, push, pull again, corrected, withdrawn."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.acceptance.conftest import Hospital, HospitalMaker, Json, StudyMaker

SYSTEM = "https://w3id.org/dm-fhir/imported"
MAP = """
name = "clinic"
decimal = ","
[patient]
column = "MRN"
system = "urn:mrn"
[date]
column = "Visit"
formats = ["DD.MM.YYYY", "DD.MM.YYYY hh:mm"]
[[score]]
variable = "cdasi_activity"
column = "CDASI"
[[score]]
variable = "ck"
column = "CK"
unit = "ukat/L"
[[score]]
variable = "anti_mda5"
column = "MDA5"
answers = { pos = "positive", neg = "negative" }
"""
TABLE = "MRN;Visit;CDASI;CK;MDA5\n771;01.03.2025 09:30;20;<2,5;pos\n771;01.05.2025;5;;\n771;01.06.2025;4;1,25;\n"
RESOURCES: list[Json] = [
    {"resourceType": "Patient", "id": "imp-1", "gender": "female", "identifier": [{"system": "urn:mrn", "value": "771"}]},
    {
        "resourceType": "MedicationAdministration", "id": "imp-1-inf-1", "status": "completed", "subject": {"reference": "Patient/imp-1"},
        "medicationCodeableConcept": {"coding": [{"system": "http://www.whocc.no/atc", "code": "L04AG11"}]},
        "effectiveDateTime": "2025-03-03T10:00:00+01:00",
        "dosage": {"dose": {"value": 300, "unit": "mg", "system": "http://unitsofmeasure.org", "code": "mg"}},
    },
]  # fmt: skip


def scores(hospital: Hospital) -> dict[str, tuple[str, str, str]]:
    """Status, value and version of each score on the server, by day and code."""
    found = [one for one in hospital.search("Observation?_count=200") if one["identifier"][0]["system"] == SYSTEM]
    return {
        f"{one['effectiveDateTime'][:10]} {one['code']['coding'][0]['code']}": (
            one["status"], str(one.get("valueQuantity", {}).get("value")), one["meta"]["versionId"],
        )
        for one in found
    }  # fmt: skip


def test_scores_of_a_table_become_outcomes_on_the_server_and_are_taken_back(
    new_hospital: HospitalMaker, new_study: StudyMaker
) -> None:
    hospital = new_hospital(RESOURCES, "leon")
    study = new_study(hospital, extra='imported = true\n[site.import]\nmap = "clinic.toml"\n')
    folder = study.config.parent
    (folder / "clinic.toml").write_text(MAP, encoding="utf-8")
    table = folder / "scores.csv"
    table.write_text(TABLE, encoding="utf-8")
    assert study.type("pull").code == 0
    assert study.type("import", str(table)).code == 0
    assert study.type("compute").code == 0
    pushed = study.type("push", "--json")
    assert (pushed.code, pushed.json["pushed_imported"]) == (0, {"leon": {"new": 6}})
    assert scores(hospital)["2025-03-01 cdasi-activity"] == ("final", "20", "1")
    assert len(scores(hospital)) == 6
    percent = next(
        one
        for one in hospital.outcomes()
        if one["code"]["coding"][0]["code"] == "cdasi-activity-percent-improvement"
        and one["effectiveDateTime"].startswith("2025-06-01")
    )
    assert percent["valueQuantity"]["value"] == 80
    assert {one["identifier"]["system"] for one in percent["derivedFrom"]} == {SYSTEM}

    for _ in range(2):  # the first brings our own scores into the store, the second changes nothing at all
        writes = hospital.writes()
        again = study.type("sync", "--json")
        assert (again.code, again.json["pushed_imported"]) == (0, {"leon": {"unchanged": 6}})
        assert [one for one in hospital.writes()[len(writes) :] if "_search" not in one] == []

    table.write_text(TABLE.replace("2025;4;", "2025;6;").replace("771;01.05.2025;5;;\n", ""), encoding="utf-8")
    assert study.type("import", str(table), "--replace", "--json").json["imported"]["scores"] == {
        "amended": 1, "unchanged": 4, "withdrawn": 1,
    }  # fmt: skip
    after = study.type("sync", "--json")
    assert (after.code, after.json["pushed_imported"]) == (0, {"leon": {"unchanged": 4, "changed": 1, "retract": 1}})
    assert scores(hospital)["2025-06-01 cdasi-activity"] == ("amended", "6", "2")
    assert scores(hospital)["2025-05-01 cdasi-activity"][0] == "entered-in-error"
    percents = {
        (one["effectiveDateTime"][:10], one["status"], one["valueQuantity"]["value"])
        for one in hospital.outcomes()
        if one["code"]["coding"][0]["code"] == "cdasi-activity-percent-improvement"
    }
    assert percents == {("2025-05-01", "entered-in-error", 75), ("2025-06-01", "amended", 70)}
