"""dm-fhir map check: what no table knows, what cannot be used and why; counts and codes, never what a patient could be known by."""

from __future__ import annotations

import csv
import json
import re
import stat
import tomllib
import tracemalloc
from typing import TYPE_CHECKING, Any

import pytest
from msgspec.structs import asdict

from dm_fhir.mappings.codes import OWN_SYSTEM, Tables, load_tables
from dm_fhir.mappings.survey import survey
from dm_fhir.store.records import Record

from .hospital import LOCAL, LOINC_CK, concept, infusion, measured, patient, put

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.conftest import Study


AE = "http://hl7.org/fhir/uv/ae-research-backport-ig/StructureDefinition/"


def laid(study: Study, table: str) -> None:
    """The table into the tables of leon."""
    study.config.with_name("t.toml").write_text(table, encoding="utf-8")
    study.config.write_text(study.config.read_text().replace('r4"\n', 'r4"\ntables = ["t.toml"]\n'))


def seen(study: Study, *arguments: str) -> Any:
    """What the command tells machines of leon."""
    return study.type("map", "check", "--site", "leon", "--json", *arguments).json["sites"][0]


def code(site: Any, name: str) -> Any:
    """What is told of one code."""
    (found,) = [one for one in (*site["mapped"], *site["unmapped"]) if one["code"] == name]
    return found


def test_a_code_that_no_table_knows_is_counted_with_its_patients_units_and_last_day(study: Study) -> None:
    local = {"code": (LOCAL, "CK37"), "display": "CK im Serum"}
    put(
        study.db,
        measured("o1", "p1", "2025-03-01", 1, "µkat/l", **local), measured("o2", "p2", "2024-05", 2, "U/L", **local),
        measured("o3", "p1", "2025-06-30T23:30:00+02:00", 3, None, **local), measured("o4", "p1", "9999-12-31", None, None, **local),
        measured("o5", "p2", "2020-01-01", 3, "U/L", code=(LOCAL, "other")),
    )  # fmt: skip
    assert code(seen(study), "CK37") == {
        "kind": "measurement", "element": "Observation.code", "system": LOCAL, "code": "CK37", "display": "CK im Serum",
        "variable": None, "records": 4, "patients": 2, "last_seen": "2025-06-30", "units": {"µkat/l": 1, "U/L": 1, "": 1},
        "units_not_in_table": [], "values": {"valueQuantity": 3, "no value": 1}, "statuses": {"final": 4},
        "statuses_not_counted": [], "scales": {}, "unused": {}, "trouble": 0,
    }  # fmt: skip
    ran = study.type("map", "check", "--site", "leon")
    assert (
        f'  no row: {LOCAL}|CK37 "CK im Serum" in Observation.code: 4 records, 2 patients, '
        "units µkat/l 1, none 1, U/L 1, last 2025-06-30"
    ) in ran.lines
    assert (ran.code, ran.lines[-1]) == (0, "map check: exit 0 (complete)")


def test_codes_in_every_element_are_seen(study: Study) -> None:
    drug = concept("urn:x", "DRUG")
    put(
        study.db,
        measured("o1", "p1", "2025", None, None, code=("urn:x", "PANEL"), component=[{"code": concept("urn:x", "PART")}]),
        infusion("i1", "p1", medicationCodeableConcept=drug, dosage={"method": concept("urn:x", "HOW"), "route": concept("urn:x", "WAY")}),
        {"resourceType": "Medication", "id": "m1", "code": concept("urn:x", "REFERRED")},
        {"resourceType": "MedicationRequest", "id": "r1", "subject": {"reference": "Patient/p1"}, "medicationReference": {"reference": "Medication/m1"},
         "dosageInstruction": [{"route": concept("urn:x", "WAY"), "timing": {"code": concept("urn:x", "HABIT")}}]},
        {"resourceType": "MedicationStatement", "id": "s1", "subject": {"reference": "Patient/p1"}, "medicationReference": {"reference": "Medication/gone"}},
        {"resourceType": "Condition", "id": "c1", "subject": {"reference": "Patient/p1"}, "code": concept("urn:x", "ILL"), "recordedDate": "2024-02-01"},
        {"resourceType": "AdverseEvent", "id": "e1", "subject": {"reference": "Patient/p1"}, "event": concept("urn:x", "EVENT"), "date": "2025-01-01",
         "seriousness": concept("urn:x", "BAD"), "severity": concept("urn:x", "HARD"), "outcome": concept("urn:x", "END"),
         "suspectEntity": [{"instance": {"reference": "Medication/m1"}, "causality": [{"assessment": concept("urn:x", "WHY")}]}],
         "extension": [{"url": f"{AE}ae-grade", "valueCodeableConcept": concept("urn:x", "GRADE")},
                       {"url": f"{AE}mitigating-action", "extension": [{"url": "item", "valueCodeableConcept": concept("urn:x", "DONE")}]}]},
        measured("o2", "p1", "2025", None, None, code=("http://loinc.org", "107562-1"), valueCodeableConcept=concept("urn:x", "POS"), interpretation=[concept("urn:x", "ABN")]),
        measured("o3", "p1", "2025", None, None, valueCodeableConcept=concept("urn:x", "MUCH")),
        measured("o4", "p1", "2025", None, None, code=("urn:x", "PANEL"), hasMember=[{"reference": "#in"}], contained=[
            {"resourceType": "Observation", "id": "in", "status": "final", "code": concept("urn:x", "INSIDE")}]),
        {"resourceType": "QuestionnaireResponse", "id": "q1", "status": "completed", "questionnaire": "urn:form|3", "subject": {"reference": "Patient/p1"}},
        {"resourceType": "Encounter", "id": "n1", "subject": {"reference": "Patient/p1"}},
    )  # fmt: skip
    site = seen(study)
    assert {(one["kind"], one["element"], one["code"]) for one in site["unmapped"]} == {
        ("measurement", "Observation.code", "PANEL"), ("measurement", "Observation.component.code", "PART"),
        ("medication", "MedicationAdministration.medication", "DRUG"), ("method", "MedicationAdministration.dosage.method", "HOW"),
        ("medication", "MedicationRequest.medication", "REFERRED"), ("condition", "Condition.code", "ILL"),
        ("adverse_event", "AdverseEvent.event", "EVENT"), ("answer", "Observation.valueCodeableConcept", "POS"),
        ("answer", "Observation.interpretation", "ABN"), ("value", "Observation.valueCodeableConcept", "MUCH"),
        ("measurement", "Observation.contained.code", "INSIDE"), ("measurement", "QuestionnaireResponse.questionnaire", "urn:form"),
        ("route", "MedicationAdministration.dosage.route", "WAY"), ("route", "MedicationRequest.dosageInstruction.route", "WAY"),
        ("timing", "MedicationRequest.dosageInstruction.timing.code", "HABIT"), ("ae_seriousness", "AdverseEvent.seriousness", "BAD"),
        ("ae_severity", "AdverseEvent.severity", "HARD"), ("ae_outcome", "AdverseEvent.outcome", "END"), ("ae_grade", "AdverseEvent.ae-grade", "GRADE"),
        ("ae_relatedness", "AdverseEvent.suspectEntity.causality.assessment", "WHY"), ("ae_action", "AdverseEvent.mitigating-action", "DONE"),
    }  # fmt: skip
    assert site["unresolved"] == {"MedicationStatement.medication": 1}
    assert site["other_types"] == {"Encounter": 1}
    assert code(site, "107562-1")["unused"] == {"value_not_mapped": 1}


@pytest.mark.parametrize(
    ("value", "unused", "not_in_table", "exit_code"),
    [
        ({"valueQuantity": {"value": 9, "unit": "U/L"}}, {}, [], 0),
        ({"valueQuantity": {"value": 9, "unit": "UI/L"}}, {}, [], 0),
        ({"valueQuantity": {"value": 9}}, {"unit_missing": 1}, [""], 3),
        ({"valueQuantity": {"value": 9, "unit": "kat"}}, {"unit_incompatible": 1}, ["kat"], 3),
        ({"valueQuantity": {"value": -1, "unit": "U/L"}}, {"out_of_range": 1}, [], 3),
        ({"valueQuantity": {"value": 10**9, "unit": "U/L"}}, {}, [], 0),  # no upper end: flagged as implausible
        ({"valueString": "450 UI/L"}, {"value_is_string": 1}, [], 3),
        ({"dataAbsentReason": concept("http://terminology.hl7.org/CodeSystem/data-absent-reason", "error")}, {"value_missing": 1}, [], 0),
        ({}, {"value_missing": 1}, [], 0),
        ({"valueString": "450", "status": "cancelled"}, {"status_excluded": 1}, [], 0),
        ({"valueQuantity": {"value": 9, "unit": "kat"}, "status": "preliminary"}, {"status_excluded": 1}, ["kat"], 0),
    ],
)  # fmt: skip
def test_what_keeps_a_known_value_from_being_used(
    study: Study, value: Any, unused: dict[str, int], not_in_table: list[str], exit_code: int
) -> None:
    put(study.db, measured("o1", "p1", "2025-03-01", None, None, **value))
    ran = study.type("map", "check", "--site", "leon", "--json")
    found = code(ran.json["sites"][0], "2157-6")
    assert (found["unused"], found["units_not_in_table"]) == (unused, not_in_table)
    assert (ran.code, ran.json["exit_code"], ran.json["state"]) == (
        exit_code,
        exit_code,
        "partial" if exit_code else "complete",
    )


def test_what_cannot_be_used_is_told_first_with_the_units_that_the_row_does_not_know(study: Study) -> None:
    put(
        study.db, infusion("i1", "p1"), infusion("i2", "p1", dosage={"dose": {"value": 2, "unit": "vials"}}),
        measured("o1", "p1", "2025-03-01", 1, "kat"), measured("o2", "p1", "2025-03-02", 1, None),
        measured("o3", "p1", "2025-03-02", 1, "U/L"), measured("o4", "p1", "2025-03-02", None, None, status="cancelled"),
    )  # fmt: skip
    ran = study.type("map", "check", "--site", "leon")
    assert ran.code == 3
    assert [line for line in ran.lines if "cannot be used:" in line or "status" in line] == [
        "  cannot be used: ck by http://loinc.org|2157-6: 1 unit_incompatible, 1 unit_missing of 4 records; "
        'units that the row does not know: none at all, "kat"; values as valueQuantity 3, no value 1',
        "  cannot be used: anifrolumab by http://www.whocc.no/atc|L04AG11: 1 unit_incompatible of 2 records; "
        'units that the row does not know: "vials"',
        "  not counted for their status: ck: cancelled 1",
    ]


def test_two_scales_and_units_of_different_size_under_one_code_are_told(study: Study) -> None:
    study.config.with_name("t.toml").write_text(
        '[[measurement]]\nvariable = "mmt8"\ncodes = [{ system = "urn:x", code = "MMT" }]\n'
        '[[measurement]]\nvariable = "vas"\nnew = true\nunit = "cm"\nunits = { cm = "1", mm = "1/10" }\n'
        'codes = [{ system = "urn:x", code = "VAS" }]\n'
    )
    study.config.write_text(study.config.read_text().replace('r4"\n', 'r4"\ntables = ["t.toml"]\n'))

    def high(value: int) -> dict[str, Any]:
        return {"referenceRange": [{"high": {"value": value}}]}

    mmt, vas = ("urn:x", "MMT"), ("urn:x", "VAS")
    put(
        study.db, measured("m1", "p1", "2025", 70, None, mmt, **high(80)), measured("m2", "p1", "2025", 120, None, mmt),
        measured("m3", "p1", "2025", 70, None, mmt), measured("v1", "p1", "2025", 7, "cm", vas),
        measured("v2", "p1", "2025", 70, "mm", vas), measured("v3", "p1", "2025", 60, "mm", vas),
        measured("c1", "p1", "2025", 70, "U/L"), measured("c2", "p1", "2025", 70, "IU/L"),
    )  # fmt: skip
    site = seen(study)
    assert [(one["variable"], one["what"], one["counts"]) for one in site["mixed"]] == [
        ("mmt8", "scales", {"mmt8_80": 1, "mmt8_150": 1, "mmt8": 1}),
        ("vas", "units", {"mm": 2, "cm": 1}),
    ]
    assert code(site, "MMT")["unused"] == {"scale_ambiguous": 1}
    assert "  several units of vas: mm 2, cm 1" in study.type("map", "check", "--site", "leon").lines


def test_nothing_that_a_patient_could_be_known_by_is_told(study: Study, tmp_path: Path) -> None:
    secret = {"identifier": [{"system": "urn:mrn", "value": "MRN-4711"}]}
    put(
        study.db, patient("p1", **secret), infusion("i1", "p1", **secret),
        measured("o1", "p1", "2025-03-01", 87654, "kat", **secret), measured("o2", "p1", "2025-03-01", None, None, valueString="Zwetschke 87654"),
        {**measured("o3", "p1", "2025-03-01", 87654, "U/L"), "code": {"text": "Zwetschke says"}},
        {**measured("o4", "p1", "2025-03-01", 87654, "U/L"), "code": concept(LOCAL, "X", "d" * 200, "Zwetschke says")},
        {**measured("o5", "p1", "2025-03-01", 87654, "U/L"), "status": {"Zwetschke": 87654}},
    )  # fmt: skip
    table = tmp_path / "codes.csv"
    for arguments in ([], ["--json"], ["--suggest"], ["--csv", str(table)]):
        ran = study.type("-v", "map", "check", "--site", "leon", *arguments)
        told = ran.out + ran.err + (table.read_text() if table.exists() else "")
        assert not [word for word in ("Zwetschke", "MRN-4711", "1961", "87654", "d" * 81) if word in told]
    site = seen(study)
    assert code(site, "X")["display"] == "d" * 80
    assert site["without_code"] == {"Observation.code": {"text only": 1}}
    assert (site["unreadable"], site["unreadable_count"]) == (["Observation/o5"], 1)


def test_a_terminal_is_not_told_what_to_do(study: Study) -> None:
    put(study.db, measured("o1", "p1", "2025", 1, "\x1b[2J", code=("urn:\x07", "a\nb")))
    put(study.db, {"resourceType": "Odd\x07", "id": "o2"}, {**measured("o\x1b3", "p1", "2025", 1, "U/L"), "status": 5})
    for arguments in ([], ["--suggest"]):
        out = study.type("map", "check", "--site", "leon", *arguments).out
        assert "\x1b" not in out
        assert "\x07" not in out
    assert code(seen(study), "a\nb")["units"] == {"\x1b[2J": 1}


def test_rows_that_were_never_seen_and_the_study_drug(study: Study) -> None:
    put(study.db, measured("o1", "p1", "2025", 1, "U/L"))
    ran = study.type("map", "check", "--site", "leon")
    assert "  no code of the study drug, anifrolumab, was seen: without one nobody makes a case" in ran.lines
    (never,) = [line for line in ran.lines if line.startswith("  never seen, measurement:")]
    assert " ck," not in never
    rows = {one["variable"]: one for one in seen(study)["never_seen"] if one["kind"] == "measurement"}
    assert "ck" not in rows
    assert rows["mmt8"]["codes"] == 0
    assert rows["dlqi"]["origin"].startswith("measurements.toml, ")


def test_where_only_what_is_mapped_is_pulled_it_says_so_and_names_the_setting(study: Study) -> None:
    for site in ("leon", "madrid"):
        put(study.db, measured("o1", "p1", "2025", 1, "U/L"), site=site)
    lines = study.type("map", "check").lines
    told = [line for line in lines if 'scope = "all"' in line]
    assert told == [
        '  pulled with scope = "mapped": what no table knows was not kept, so it cannot be seen here. To see it: '
        '[site.pull] scope = "all", then dm-fhir pull --site leon'
    ]
    assert [one["scope"] for one in study.type("map", "check", "--json").json["sites"]] == ["mapped", "all"]
    study.config.write_text(study.config.read_text().replace('r4"\n', 'r4"\npull = { scope = "all" }\n'))
    assert not [line for line in study.type("map", "check").lines if "scope" in line]


def test_a_site_of_which_nothing_is_held_is_not_called_complete(study: Study) -> None:
    put(study.db, measured("o1", "p1", "2025", 1, "U/L"))
    ran = study.type("map", "check")
    assert ran.code == 3
    assert "madrid: the store holds no record to look at; dm-fhir pull --site madrid" in ran.lines


def test_a_record_that_cannot_be_read_could_not_be_checked(study: Study) -> None:
    put(study.db, {**measured("o1", "p1", "2025", 1, "U/L"), "status": 5}, measured("o2", "p1", "2025", 1, "U/L"))
    ran = study.type("map", "check", "--site", "leon")
    assert ran.code == 3
    assert "  cannot be read: 1 records (Observation/o1)" in ran.lines


def test_what_was_deleted_or_is_our_own_is_not_looked_at(study: Study) -> None:
    own = {"identifier": [{"system": "https://w3id.org/dm-fhir/outcome", "value": "1"}]}
    put(study.db, measured("o1", "p1", "2025", 1, "U/L", **own), measured("o2", "p1", "2025", 1, "U/L"))
    put(study.db, measured("o3", "p1", "2025", 1, "U/L"))
    study.db.execute("UPDATE resource SET deleted = '2025-01-01T00:00:00Z' WHERE id = 'o3'")
    site = seen(study)
    assert (site["own_outcomes"], code(site, "2157-6")["records"]) == (1, 1)


def contents(tables: Tables) -> dict[tuple[str, str], dict[str, Any]]:
    """The rows as values: a row is itself, and equals no other."""
    return {key: asdict(row) for key, row in tables.rows.items()}


def test_the_suggestion_can_be_laid_over_the_tables_as_it_is_and_when_filled_in(study: Study, tmp_path: Path) -> None:
    odd = 'quo"te\\ \N{ZERO WIDTH SPACE}\x7f\n'
    put(
        study.db, measured("o1", "p1", "2025", 1, "u/l"), measured("o2", "p1", "2025", 1, "E/l"),
        measured("o3", "p1", "2025", 1, "U/L", code=(LOCAL, odd)), measured("o4", "p2", "2025", 1, "U/L", code=(LOCAL, odd)),
        {**measured("o5", "p2", "2025", 1, "U/L"), "code": {"coding": [{"code": "no system"}]}},
    )  # fmt: skip
    text = study.type("map", "check", "--site", "leon", "--suggest").out
    assert tomllib.loads(text) == {}
    path = tmp_path / "leon-new.toml"
    path.write_text(text, encoding="utf-8")
    assert contents(load_tables([path])) == contents(load_tables())  # as it is printed it changes nothing
    uncommented = "\n".join(
        line[1:] if line.startswith("#") and not line.startswith("# ") else line for line in text.splitlines()
    )
    rows = tomllib.loads(uncommented)["measurement"]
    assert rows == [
        {"variable": "ck", "units": {"E/l": "", "u/l": "1"}},
        {"variable": "", "codes": [{"system": LOCAL, "code": odd, "source": "seen at leon"}]},
    ]
    assert '# ck: 1 values in "u/l" are not used; written like U/L: check that it is' in text
    assert '# ck: 1 values in "E/l" are not used; how many U/L is it?' in text
    filled = uncommented.replace('variable = ""', 'variable = "dlqi"').replace('"E/l" = ""', '"E/l" = "60"')
    path = tmp_path / "leon-new.toml"
    path.write_text(filled, encoding="utf-8")
    tables = load_tables([path])
    assert tables.by_code["measurement", LOCAL, odd].variable == "dlqi"
    assert tables.rows["measurement", "ck"].units["u/l"] == 1


def taken_off(text: str, marks: str) -> str:
    """A suggestion without the marks before its rows: "#" for rows of known variables, "##" for those of one's own too."""
    lines = (line if line.startswith("# ") else re.sub(f"^#{{1,{len(marks)}}}", "", line) for line in text.splitlines())
    return "\n".join(lines)


def test_a_variable_of_ones_own_can_be_made_of_every_suggested_row(study: Study, tmp_path: Path) -> None:
    given = {"subject": {"reference": "Patient/p1"}, "medicationCodeableConcept": concept("urn:x", "DRUG")}
    put(
        study.db, *(measured(f"m{n}", "p1", "2025", 1, unit, code=("urn:x", "MASS")) for n, unit in enumerate(("mg", "mg", "g", "mol", "E"))),
        measured("s", "p1", "2025", 7, None, code=("urn:x", "SCORE")), measured("p", "p1", "2025", None, None, code=("urn:x", "PANEL")),
        measured("t", "p1", "2025", None, None, code=("urn:x", "TEST"), valueCodeableConcept=concept("urn:x", "POS")),
        {"resourceType": "MedicationRequest", "id": "r", **given, "dosageInstruction": [{"timing": {"code": concept("urn:x", "HABIT")}}]},
        {"resourceType": "Condition", "id": "c", "subject": {"reference": "Patient/p1"}, "code": concept("urn:x", "ILL")},
        {"resourceType": "AdverseEvent", "id": "e", "subject": {"reference": "Patient/p1"}, "event": concept("urn:x", "EVENT")},
        {"resourceType": "QuestionnaireResponse", "id": "q", "status": "completed", "questionnaire": "urn:form", "subject": {"reference": "Patient/p1"}},
    )  # fmt: skip
    text = study.type("map", "check", "--site", "leon", "--suggest").out
    filled = taken_off(text, "##").replace('"E" = ""', '"E" = "5"').replace('times_per_day = ""', 'times_per_day = "2"')
    filled = filled.replace('total = ""', 'total = "sum"')
    for number in range(filled.count('variable = ""')):
        filled = filled.replace('variable = ""', f'variable = "own_{number}"', 1)
    path = tmp_path / "leon-new.toml"
    path.write_text(filled, encoding="utf-8")
    tables = load_tables([path])
    mass = tables.by_code["measurement", "urn:x", "MASS"]
    assert (mass.unit, mass.units) == ("mg", {"mg": 1, "g": 1000, "E": 5})  # mol is another kind of quantity
    assert tables.by_code["measurement", "urn:x", "SCORE"].unitless
    assert tables.by_code["measurement", "urn:x", "TEST"].answers
    assert tables.by_code["measurement", "urn:x", "PANEL"].panel
    assert tables.by_code["timing", "urn:x", "HABIT"].times_per_day == 2
    assert list(tables.forms) == ["urn:form"]
    assert {key[0] for key in tables.by_code if key[1] == "urn:x"} == {
        "measurement", "medication", "condition", "adverse_event", "timing",
    }  # fmt: skip


def test_units_that_ucum_knows_are_reckoned_and_those_of_another_kind_are_told(study: Study, tmp_path: Path) -> None:
    put(
        study.db, measured("o1", "p1", "2025", 1, "mkat/L"), measured("o2", "p1", "2025", 1, "kat"),
        measured("o3", "p1", "2025", None, None, valueCodeableConcept=concept("urn:x", "MUCH")),
    )  # fmt: skip
    text = study.type("map", "check", "--site", "leon", "--suggest").out
    assert '# ck: 1 values in "kat" are not used; another kind of quantity than U/L: ask what was measured' in text
    assert '# ck: 1 values in "mkat/L" are not used; by UCUM it is 60000 U/L: check that it is meant' in text
    path = tmp_path / "leon-new.toml"
    path.write_text(taken_off(text, "#").replace('value = ""', 'value = "900"'), encoding="utf-8")
    ck = load_tables([path]).rows["measurement", "ck"]
    assert (ck.units["mkat/L"], ck.values) == (60000, {("urn:x", "MUCH"): 900})


def test_what_a_table_can_do_about_a_value_is_no_trouble_once_it_has_done_it(study: Study) -> None:
    vas = (OWN_SYSTEM, "pruritus-vas")
    put(
        study.db, measured("o1", "p1", "2025", None, None, valueString="450 U/L"), measured("o2", "p1", "2025", None, None, valueString="Zwetschke"),
        measured("o3", "p1", "2025", None, None, valueCodeableConcept=concept("urn:x", "MUCH")), measured("v1", "p1", "2025", 4.5, None, vas),
        measured("v2", "p1", "2025", 45, None, vas), measured("v3", "p1", "2025", 45, None, vas, referenceRange=[{"high": {"value": 100}}]),
        {"resourceType": "QuestionnaireResponse", "id": "q", "status": "completed", "questionnaire": "urn:form|2", "subject": {"reference": "Patient/p1"},
         "item": [{"linkId": "sum", "answer": [{"valueInteger": 900}]}]},
        measured("p", "p1", "2025", 900, "U/L", status="preliminary"),
    )  # fmt: skip
    before = code(seen(study), "2157-6")
    assert before["unused"] == {"value_is_string": 2, "value_not_mapped": 1, "status_excluded": 1}
    laid(
        study,
        '[observations]\npreliminary = true\n[[measurement]]\nvariable = "ck"\nparse_text = true\n'
        'values = [{ system = "urn:x", code = "MUCH", value = "900" }]\n'
        '[[measurement]]\nvariable = "dlqi"\nforms = [{ canonical = "urn:form", total = "sum" }]\n',
    )
    site = seen(study)
    ck = code(site, "2157-6")
    assert (ck["unused"], ck["trouble"], ck["units"]) == ({"value_is_string": 1}, 1, {"U/L": 2})
    assert (code(site, "MUCH")["kind"], code(site, "MUCH")["variable"]) == ("value", "ck")
    line = code(site, vas[1])
    assert (line["unused"], line["units_not_in_table"], line["trouble"]) == ({"unit_missing": 1}, [""], 1)
    form = code(site, "sum")
    assert (form["element"], form["system"], form["variable"], form["values"], form["unused"]) == (
        "QuestionnaireResponse.item", "urn:form|2", "dlqi", {"valueInteger": 1}, {"out_of_range": 1},
    )  # fmt: skip
    assert not [one for one in site["never_seen"] if one["variable"] in ("ck", "dlqi")]


def test_doses_of_orders_are_counted_and_keep_nothing_back(study: Study) -> None:
    rxnorm = "http://www.nlm.nih.gov/research/umls/rxnorm"
    oral = concept("http://snomed.info/sct", "26643006")

    def order(name: str, amount: dict[str, Any] | None) -> dict[str, Any]:
        dose = {"doseAndRate": [{"doseQuantity": amount}]} if amount else {}
        return {
            "resourceType": "MedicationRequest", "id": name, "status": "active", "subject": {"reference": "Patient/p1"},
            "medicationCodeableConcept": concept(rxnorm, "8640"), "dosageInstruction": [{"route": oral, **dose}],
        }  # fmt: skip

    put(
        study.db,
        order("r1", {"value": 20, "unit": "mg"}),
        order("r2", {"value": 3, "unit": "drops"}),
        order("r3", None),
        {**order("r4", {"value": 20, "unit": "mg"}), "status": "entered-in-error"},
    )
    ran = study.type("map", "check", "--site", "leon", "--json")
    site = ran.json["sites"][0]
    (found,) = [one for one in site["mapped"] if one["element"] == "MedicationRequest.dosageInstruction"]
    assert (ran.code, found["units"], found["units_not_in_table"], found["trouble"]) == (
        0,
        {"mg": 1, "drops": 1},
        ["drops"],
        0,
    )
    assert "dose_unknown:unit_incompatible" in found["unused"]
    assert "route_oral" not in {one["variable"] for one in site["never_seen"]}
    lines = [line.partition(", last")[0] for line in study.type("map", "check", "--site", "leon").lines]
    assert "  not counted for their status: prednisone: entered-in-error 1" in lines
    at = f"prednisone by {rxnorm}|8640 in MedicationRequest.dosageInstruction"
    assert f"  known: {at}: 3 records, 1 patients, units mg 1, drops 1" in lines


def test_a_code_in_two_elements_is_suggested_once(study: Study) -> None:
    drug = {"medicationCodeableConcept": concept("urn:x", "DRUG"), "subject": {"reference": "Patient/p1"}}
    put(
        study.db, {"resourceType": "MedicationRequest", "id": "r1", **drug},
        {"resourceType": "MedicationStatement", "id": "s1", **drug},
    )  # fmt: skip
    assert len(seen(study)["unmapped"]) == 2
    assert study.type("map", "check", "--site", "leon", "--suggest").out.count("#[[medication]]") == 1


def test_a_unit_that_could_be_either_of_two_is_not_guessed(study: Study) -> None:
    study.config.with_name("t.toml").write_text(
        '[[measurement]]\nvariable = "vas"\nnew = true\nunit = "cm"\nunits = { cm = "1", mm = "1/10", MM = "100000000" }\n'
        'codes = [{ system = "urn:x", code = "VAS" }]\n'
    )
    study.config.write_text(study.config.read_text().replace('r4"\n', 'r4"\ntables = ["t.toml"]\n'))
    put(study.db, measured("v1", "p1", "2025", 7, "Mm", ("urn:x", "VAS")))
    assert '#units = { "Mm" = "" }' in study.type("map", "check", "--site", "leon", "--suggest").out


def test_a_record_that_one_of_its_codes_makes_known_is_known(study: Study) -> None:
    both = [*concept(LOCAL, "CK37")["coding"], *concept(*LOINC_CK)["coding"]]
    put(study.db, {**measured("o1", "p1", "2025", 1, "U/L"), "code": {"coding": both}})
    site = seen(study)
    assert ([one["code"] for one in site["mapped"]], site["unmapped"]) == ([LOINC_CK[1]], [])


def test_of_two_codes_that_rows_know_the_one_counts_by_which_the_value_was_read(study: Study) -> None:
    both = [*concept(OWN_SYSTEM, "mmt8")["coding"], *concept(OWN_SYSTEM, "mmt8-150")["coding"]]
    put(study.db, {**measured("o1", "p1", "2025", 120, None), "code": {"coding": both}})
    assert [(one["code"], one["variable"]) for one in seen(study)["mapped"]] == [("mmt8-150", "mmt8_150")]


def test_doses_of_other_drugs_are_not_held_against_the_table_of_the_study_drug(study: Study) -> None:
    (system, name), *_ = [key[1:] for key, row in load_tables().by_code.items() if row.variable == "azathioprine"]
    put(study.db, infusion("i1", "p1", medicationCodeableConcept=concept(system, name), dosage={"dose": {"value": 2, "unit": "tablets"}}))  # fmt: skip
    ran = study.type("map", "check", "--site", "leon", "--json")
    found = code(ran.json["sites"][0], name)
    assert (ran.code, found["units"], found["unused"]) == (0, {}, {})


def test_csv_has_every_code_and_is_for_nobody_else(study: Study, tmp_path: Path) -> None:
    put(study.db, *(measured(f"o{n}", f"p{n}", "2025", 1, "x", code=("urn:x", f"c{n:03}")) for n in range(60)))
    put(study.db, measured("known", "p1", "2025-01-01", 1, "kat"))
    path = tmp_path / "codes.csv"
    ran = study.type("map", "check", "--site", "leon", "--csv", str(path))
    assert "  … and 40 more codes that no table knows; all of them: dm-fhir map check --site leon --json" in ran.lines
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 61
    assert rows[-1] == {
        "site": "leon", "mapped": "yes", "kind": "measurement", "element": "Observation.code", "system": "http://loinc.org",
        "code": "2157-6", "display": "", "variable": "ck", "records": "1", "patients": "1", "last_seen": "2025-01-01",
        "units": "kat: 1", "units_not_in_table": "kat", "values": "valueQuantity: 1", "statuses": "final: 1", "statuses_not_counted": "", "scales": "ck: 1",
        "unused": "unit_incompatible: 1",
    }  # fmt: skip


def test_options_that_contradict_each_other_are_refused(study: Study) -> None:
    assert study.type("map", "check", "--suggest", "--json").code == 2


def test_memory_does_not_grow_with_the_records() -> None:
    tables = load_tables()
    body = json.dumps(measured("o", "p", "2025-03-01", 1, "U/L")).encode()

    def peak(count: int, codes: int) -> int:
        records = (
            Record(
                "Observation", f"o{n}", None, None, body.replace(b"2157-6", b"c%d" % (n % codes)), f"Patient/{n // 10}"
            )
            for n in range(count)
        )
        tracemalloc.start()
        site = survey("leon", records, tables, {}, "anifrolumab")
        assert sum(one.records for one in site.unmapped) == count
        assert sum(one.patients for one in site.unmapped) == count
        size = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return size

    peak(3_000, 20)  # what the interpreter keeps for later, such as tuples, is there then
    assert peak(3_000, 20) - peak(300, 20) < 2_700 * 20  # bytes: to keep a record's number alone would take more


def test_codes_without_end_are_counted_when_there_is_no_more_room(monkeypatch: pytest.MonkeyPatch) -> None:
    from dm_fhir.mappings import survey as module

    monkeypatch.setattr(module, "_MOST_CODES", 5)
    monkeypatch.setattr(module, "_MOST_OF_A_CODE", 3)
    bodies = [json.dumps(measured("o", "p", "2025", 1, f"u{n}", code=("urn:x", f"c{n}"))).encode() for n in range(9)]
    bodies += [json.dumps(measured("o", "p", "2025", 1, f"u{n}")).encode() for n in range(9)]
    records = [Record("Observation", str(n), None, None, body, "Patient/p") for n, body in enumerate(bodies)]
    site = survey("leon", records, load_tables(), {}, "anifrolumab")
    assert (len(site.unmapped), site.not_listed) == (5, 4)
    assert [(one.code, one.records, one.units) for one in site.mapped] == [
        ("2157-6", 9, {"others": 6, "u0": 1, "u1": 1, "u2": 1})
    ]
