"""dm-fhir map diff: the rows that differ, and from the store alone what would become of values, outcomes and cases."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from dm_fhir.cli.map_diff import sides

from .hospital import LOCAL, concept, infusion, measured, patient, put

if TYPE_CHECKING:
    from tests.cli.conftest import Study

OLD = """
[[measurement]]
variable = "ck"
units = { "E/l" = "60", gone = "2" }
codes = [{ system = "urn:leon:lab", code = "OLD" }]
"""
NEW = """
[[measurement]]
variable = "ck"
units = { "E/l" = "120", come = "3" }
codes = [{ system = "urn:leon:lab", code = "NEW" }]

[[medication]]
variable = "anifrolumab"
codes = [{ system = "urn:leon:lab", code = "ANI" }]
"""
MAP = """{"resourceType": "ConceptMap", "group": [{"source": "urn:leon:lab", "target": "http://loinc.org", "element": [
  {"code": "MAPPED", "target": [{"code": "2157-6", "equivalence": "equivalent"}]}]}]}"""


@pytest.fixture
def tables(study: Study) -> tuple[str, str]:
    """The table that the site uses, and another one."""
    for name, text in (("leon.toml", OLD), ("new.toml", NEW)):
        study.config.with_name(name).write_text(text, encoding="utf-8")
    study.config.write_text(study.config.read_text().replace('r4"\n', 'r4"\ntables = ["leon.toml"]\n'))
    return "leon.toml", "new.toml"


def fill(study: Study) -> None:
    """p1 has a case whose CK is in every unit; p2 has only a drug code that the other table knows; p3 is not concerned."""
    put(
        study.db, patient("p1"), infusion("i1", "p1"), measured("b", "p1", "2025-03-01", 100, "U/L"),
        measured("kat", "p1", "2025-05-01", 1, "E/l"), measured("gone", "p1", "2025-05-02", 1, "gone"),
        measured("come", "p1", "2025-05-03", 1, "come"), measured("old", "p1", "2025-05-04", 1, "U/L", code=(LOCAL, "OLD")),
        measured("new", "p1", "2025-05-05", 1, "U/L", code=(LOCAL, "NEW")), measured("kat2", "p1", "2025-05-06", 2, "E/l"),
        patient("p2"), infusion("i2", "p2", medicationCodeableConcept=concept(LOCAL, "ANI")),
        patient("p3"), infusion("i3", "p3"), measured("x", "p3", "2025-03-01", 100, "U/L"),
    )  # fmt: skip


def changes(site: Any, what: str) -> dict[tuple[str, str], list[str]]:
    """The records concerned, by variable and change."""
    assert all(one["count"] == len(one["references"]) for one in site[what])
    return {(one["variable"], one["change"]): one["references"] for one in site[what]}


def test_what_would_become_of_values_outcomes_and_cases(study: Study, tables: tuple[str, str]) -> None:
    fill(study)
    ran = study.type("map", "diff", *tables, "--site", "leon", "--json")
    (site,) = ran.json["sites"]
    assert (ran.code, ran.json["command"], site["patients"], site["patients_changed"]) == (0, "map diff", 3, 2)
    assert changes(site, "values") == {
        ("anifrolumab", "newly mapped"): ["MedicationAdministration/i2"],
        ("ck", "newly mapped"): ["Observation/new"],
        ("ck", "newly usable"): ["Observation/come"],
        ("ck", "no longer mapped"): ["Observation/old"],
        ("ck", "no longer usable"): ["Observation/gone"],
        ("ck", "number"): ["Observation/kat", "Observation/kat2"],
    }
    assert site["cases_gained"] == ["Patient/p2"]
    assert site["cases_lost"] == []
    outcomes = changes(site, "outcomes")
    assert outcomes["ck_improvement", "number"] == ["Observation/kat", "Observation/kat2"]
    assert outcomes["ck_improvement", "newly computed"] == ["Observation/come", "Observation/new"]
    assert outcomes["ck_improvement", "no longer computed"] == ["Observation/gone", "Observation/old"]
    assert outcomes["infusions_completed", "newly computed"] == ["Patient/p2"]
    assert ("ck_baseline", "number") not in outcomes
    # Of a patient who becomes a case only what would be computed is told.
    assert not [key for key, references in outcomes.items() if "Patient/p2" in references and "computed" not in key[1]]
    assert all(one["patients"] == 1 for one in (*site["values"], *site["outcomes"]))


def test_a_patient_who_is_no_case_has_no_outcomes_that_could_change(study: Study, tables: tuple[str, str]) -> None:
    label = {"security": [{"system": "http://terminology.hl7.org/CodeSystem/v3-ActReason", "code": "HTEST"}]}
    put(study.db, patient("p1", meta=label), infusion("i1", "p1"), measured("kat", "p1", "2025-03-01", 1, "E/l"))
    (site,) = study.type("map", "diff", *tables, "--site", "leon", "--json").json["sites"]
    assert (changes(site, "values"), site["outcomes"]) == ({("ck", "number"): ["Observation/kat"]}, [])


def test_values_are_compared_wherever_they_stand(study: Study) -> None:
    """In records inside a record, in forms, in doses of other drugs, in the judgement of an adverse event."""
    inside = {
        "resourceType": "Observation",
        "id": "in",
        "status": "final",
        "effectiveDateTime": "2025-05-01",
        **measured("in", "p1", "2025-05-01", 2, "E/l"),
    }
    whose = {"subject": {"reference": "Patient/p1"}}
    rxnorm = "http://www.nlm.nih.gov/research/umls/rxnorm"
    twice = {
        "timing": {"code": concept(LOCAL, "HABIT")},
        "doseAndRate": [{"doseQuantity": {"value": 20, "unit": "mg"}}],
    }
    put(
        study.db, patient("p1"), infusion("i1", "p1"), infusion("other", "p1", medicationCodeableConcept=concept(LOCAL, "RTX")),
        measured("panel", "p1", "2025-05-01", None, None, code=(LOCAL, "PANEL"), hasMember=[{"reference": "#in"}], contained=[inside]),
        {"resourceType": "QuestionnaireResponse", "id": "q", "status": "completed", "questionnaire": "urn:form", "authored": "2025-05-02", **whose,
         "item": [{"linkId": "sum", "answer": [{"valueInteger": 9}]}]},
        {"resourceType": "MedicationRequest", "id": "r", "status": "active", "authoredOn": "2025-01-01", **whose,
         "medicationCodeableConcept": concept(rxnorm, "8640"), "dosageInstruction": [twice]},
        {"resourceType": "AdverseEvent", "id": "e", "actuality": "actual", "date": "2025-04-01", **whose, "event": concept(LOCAL, "?"), "seriousness": concept(LOCAL, "BAD")},
    )  # fmt: skip
    study.config.with_name("old.toml").write_text('[[measurement]]\nvariable = "ck"\nunits = { "E/l" = "60" }\n')
    study.config.with_name("new.toml").write_text(
        '[[measurement]]\nvariable = "ck"\nunits = { "E/l" = "120" }\n'
        '[[measurement]]\nvariable = "dlqi"\nforms = [{ canonical = "urn:form", total = "sum" }]\n'
        '[[medication]]\nvariable = "rituximab"\ncodes = [{ system = "urn:leon:lab", code = "RTX" }]\n'
        '[[timing]]\nvariable = "own"\nnew = true\ntimes_per_day = "2"\ncodes = [{ system = "urn:leon:lab", code = "HABIT" }]\n'
        '[[ae_seriousness]]\nvariable = "serious"\ncodes = [{ system = "urn:leon:lab", code = "BAD" }]\n'
    )
    (site,) = study.type("map", "diff", "old.toml", "new.toml", "--site", "leon", "--json").json["sites"]
    assert changes(site, "values") == {
        ("ck", "number"): ["Observation/panel#contained[0]"],
        ("dlqi", "newly mapped"): ["QuestionnaireResponse/q#item[sum]"],
        ("rituximab", "newly mapped"): ["MedicationAdministration/other"],
        ("prednisone", "newly usable"): ["MedicationRequest/r"],
        ("(no variable)", "other"): ["AdverseEvent/e"],
    }


def test_a_folder_of_tables_may_have_concept_maps_and_the_schema(study: Study) -> None:
    for name, tables in (("old", {}), ("new", {"a.toml": NEW, "map.json": MAP, "mapping-table.schema.json": "{}"})):
        folder = study.config.with_name(name)
        folder.mkdir()
        for file, text in {"a.toml": OLD, **tables}.items():
            (folder / file).write_text(text)
    (site,) = study.type("map", "diff", "old", "new", "--site", "leon", "--json").json["sites"]
    ck = next(one for one in site["rows"] if one["variable"] == "ck")
    assert "code urn:leon:lab|MAPPED added" in ck["what"]


def test_it_is_told_the_other_way_round_too(study: Study, tables: tuple[str, str]) -> None:
    fill(study)
    (site,) = study.type("map", "diff", *reversed(tables), "--site", "leon", "--json").json["sites"]
    assert changes(site, "values")["ck", "no longer mapped"] == ["Observation/new"]
    assert (site["cases_gained"], site["cases_lost"]) == ([], ["Patient/p2"])
    lines = study.type("map", "diff", *reversed(tables), "--site", "leon").lines
    assert "  1 patients would no longer be cases: Patient/p2" in lines


def test_people_read_rows_and_records_and_no_value(study: Study, tables: tuple[str, str]) -> None:
    fill(study)
    ran = study.type("map", "diff", *tables, "--site", "leon")
    assert ran.lines[:5] == [
        "leon: 2 rows differ; 2 of 3 patients would change",
        "  changed: [[measurement]] ck: code urn:leon:lab|NEW added; code urn:leon:lab|OLD removed; units E/l 120, was 60; "
        "units come 3 added; units gone removed, was 2",
        "  changed: [[medication]] anifrolumab: code urn:leon:lab|ANI added",
        '  pulled with scope = "mapped": records of codes that are new here were not kept; what they bring shows after '
        "dm-fhir pull --site leon",
        "  1 patients would become cases: Patient/p2",
    ]
    assert "  value ck: 2 with another number, 1 patients: Observation/kat, Observation/kat2" in ran.lines
    assert ran.lines[-1] == "map diff: exit 0 (complete)"
    assert not [word for word in ("Zwetschke", "1961", "7200") if word in ran.out]


def test_what_it_says_is_what_compute_then_does(study: Study, tables: tuple[str, str]) -> None:
    fill(study)
    study.type("compute")
    (site,) = study.type("map", "diff", *tables, "--site", "leon", "--json").json["sites"]
    study.config.with_name("leon.toml").write_text(NEW, encoding="utf-8")
    computed = study.type("compute", "--json").json["computed"]["leon"]
    assert computed["changed"] == {"tables changed": site["patients_changed"]}


def test_the_same_tables_change_nothing_and_the_store_is_not_even_read(study: Study, tables: tuple[str, str]) -> None:
    study.config.with_name("same.toml").write_text(f"# said otherwise\n{OLD}", encoding="utf-8")
    ran = study.type("map", "diff", "leon.toml", "same.toml", "--site", "leon")
    assert ran.lines[0] == "leon: leon.toml and same.toml say the same; no value would change"
    for site in study.type("map", "diff", "leon.toml", "same.toml", "--json").json["sites"]:
        assert (site["rows"], site["values"], site["outcomes"], site["patients"]) == ([], [], [], 0)


def test_where_the_site_has_no_such_table_both_are_laid_on_top(study: Study, tables: tuple[str, str]) -> None:
    put(study.db, patient("p2"), infusion("i2", "p2", medicationCodeableConcept=concept(LOCAL, "ANI")), site="madrid")
    (site,) = study.type("map", "diff", *tables, "--site", "madrid", "--json").json["sites"]
    assert site["cases_gained"] == ["Patient/p2"]


def test_a_faulty_table_is_named(study: Study, tables: tuple[str, str]) -> None:
    study.config.with_name("new.toml").write_text('[[measurement]]\nvariable = "ck"\nunits = { "E/l" = "" }\n')
    ran = study.type("map", "diff", *tables, "--site", "leon")
    assert ran.code == 2
    assert "new.toml has 1 fault" in ran.err
    study.config.with_name("empty").mkdir()
    for wrong in ("empty", "nowhere.toml"):
        assert study.type("map", "diff", "leon.toml", wrong).code == 2


@pytest.mark.parametrize(
    ("tables", "old", "new", "before", "after"),
    [
        ("a b c", "b", "x", "a b c", "a x c"),
        ("a b c", "x", "b", "a x c", "a b c"),
        ("a b c", "x", "y", "a b c x", "a b c y"),
        ("t/a t/b t/c", "u/b", "v/b", "t/a u/b t/c", "t/a v/b t/c"),
        ("t/a t/b t/c", "t/a t/b t/c", "u/a u/b u/c u/d", "t/a t/b t/c", "u/a u/b u/c u/d"),
        ("t/a t/b t/c", "u/c u/a", "t/c t/a", "u/a t/b u/c", "t/a t/b t/c"),
        ("t/a u/a", "t/a", "v/a", "t/a u/a", "v/a u/a"),
        ("a b", "a b", "b", "a b", "b"),
        ("", "a", "b", "a", "b"),
    ],
)
def test_which_tables_are_compared(tables: str, old: str, new: str, before: str, after: str) -> None:
    def paths(text: str) -> tuple[Path, ...]:
        return tuple(map(Path, text.split()))

    assert sides(paths(tables), paths(old), paths(new)) == (paths(before), paths(after))


def test_everything_that_a_row_says_is_compared(tmp_path: Path) -> None:
    from dm_fhir.mappings.codes import load_tables
    from dm_fhir.mappings.table_changes import table_changes

    def table(name: str, text: str) -> Any:
        (tmp_path / name).write_text(text, encoding="utf-8")
        return load_tables([tmp_path / name])

    old = table(
        "old.toml",
        '[aliases]\n"urn:a" = "urn:b"\n[dose.units]\nstone = "6350293"\n'
        '[[measurement]]\nvariable = "new_one"\nnew = true\nunit = "1"\nunits = { "1" = "1" }\nrange = ["0", "7"]\nunitless = true\n'
        '[[measurement]]\nvariable = "left"\nnew = true\nunit = "1"\nunits = { "1" = "1" }\n'
        '[[measurement]]\nvariable = "ck"\ncodes = [{ system = "urn:b", code = "CK" }]\n'
        '[[medication]]\nvariable = "anifrolumab"\n'
        'codes = [{ system = "urn:b", code = "P", dose_units = { vial = { mg = "300" } } }]\n',
    )
    new = table(
        "new.toml",
        "[observations]\npreliminary = true\n"
        '[[measurement]]\nvariable = "new_one"\nnew = true\nunit = "1"\nunits = { "1" = "1" }\nrange = ["0"]\nscale = 80\n'
        'plausible = ["1", "8"]\nline = true\nwhole = true\nparse_text = true\n'
        'values = [{ system = "urn:b", code = "LOW", value = "2" }]\nforms = [{ canonical = "urn:form", total = "5" }]\n'
        '[[measurement]]\nvariable = "come"\nnew = true\nanswers = true\n'
        '[[measurement]]\nvariable = "ck"\ncodes = [{ system = "urn:b", code = "CK", status = "superseded" }]\n'
        '[[timing]]\nvariable = "thrice"\nnew = true\ntimes_per_day = "3"\n'
        '[[medication]]\nvariable = "anifrolumab"\n'
        'codes = [{ system = "urn:b", code = "P", dose_units = { vial = { mg = "150", most = "4" } } }]\n',
    )
    assert [(one.kind, one.variable, one.change, one.what) for one in table_changes(old, new)] == [
        ("measurement", "ck", "changed", ("code urn:b|CK superseded added",)),
        ("measurement", "come", "added", ("answers yes added",)),
        ("measurement", "left", "removed", ("unit removed, was 1", "units 1 removed, was 1")),
        ("measurement", "new_one", "changed", (
            "unitless removed, was yes", "range from 0, was 0 7", "plausible 1 8 added", "scale 80 added",
            "line yes added", "whole yes added", "parse text yes added", "values urn:b LOW 2 added", "forms urn:form 5 added",
        )),
        ("medication", "anifrolumab", "changed", ("dose units urn:b P vial 150 4, was 300",)),
        ("timing", "thrice", "added", ("times per day 3 added",)),
        ("table", "aliases", "changed", ("aliases urn:a removed, was urn:b",)),
        ("table", "mass_units", "changed", ("mass units stone removed, was 6350293",)),
        ("table", "accepts_preliminary", "changed", ("accepts preliminary yes added",)),
    ]  # fmt: skip
    assert table_changes(old, old) == []


def test_the_visits_of_an_outcome_are_counted_each(study: Study, tables: tuple[str, str]) -> None:
    known = OLD + f'[[medication]]\nvariable = "prednisone"\ncodes = [{{ system = "{LOCAL}", code = "PRED" }}]\n'
    study.config.with_name("new.toml").write_text(known, encoding="utf-8")
    repeat = {"frequency": 1, "period": 1, "periodUnit": "d"}
    stated = {
        "resourceType": "MedicationStatement", "id": "s", "status": "active", "subject": {"reference": "Patient/p1"},
        "medicationCodeableConcept": concept(LOCAL, "PRED"), "effectivePeriod": {"start": "2024-01-01"},
        "dosage": [{"timing": {"repeat": repeat}, "doseAndRate": [{"doseQuantity": {"value": 10, "unit": "mg"}}]}],
    }  # fmt: skip
    put(study.db, patient("p1"), infusion("i1", "p1", "2025-03-06"), infusion("i2", "p1", "2025-05-05"), stated)
    outcomes = changes(study.type("map", "diff", *tables, "--site", "leon", "--json").json["sites"][0], "outcomes")
    three = ["Patient/p1"] * 3  # week 4, week 8, and the last day of follow-up
    assert outcomes["prednisone_equivalent_mg_per_day", "newly computed"] == three
    assert outcomes["glucocorticoid_status", "newly computed"] == three
