"""dm-fhir explain: every number back to the bytes that it came from, with what was considered and not used."""

from __future__ import annotations

import hashlib
import json
import re
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import pytest

from dm_fhir.store.filing import delete_resource
from dm_fhir.store.ledger import begin_run
from dm_fhir.store.records import records

from .hospital import LOCAL, LOINC_CK, concept, infusion, measured, patient, put

if TYPE_CHECKING:
    from tests.cli.conftest import Study

CDASI = "https://w3id.org/dm-fhir/CodeSystem/measurement"
SECRETS = ("Zwetschke", "1961", "07-19", "MRN-4711")
RXNORM = ("http://www.nlm.nih.gov/research/umls/rxnorm", "2565286")


def record_of_one_patient() -> list[dict[str, Any]]:
    """Every way for a value to be used, and to be considered and not used."""
    kg = {"identifier": [{"system": "urn:mrn", "value": "MRN-4711"}]}
    parts = [
        {"code": concept(CDASI, "cdasi-activity"), "valueQuantity": {"value": 20}},
        {"code": concept(CDASI, "cdasi-damage"), "valueInteger": 3},
    ]
    return [
        patient("p1", **kg),
        infusion("i1", "p1", **kg), infusion("i2", "p1", "2025-04-03", medicationCodeableConcept=concept(*RXNORM), dosage={"dose": {"value": 2, "unit": "mL", "system": "http://unitsofmeasure.org", "code": "mL"}}),
        infusion("i3", "p1", "2025-05-03", status="not-done"), infusion("i4", "p1", "2025-06-03", status="entered-in-error"),
        infusion("i5", "p1", "2025-06-04", status="on-hold"), infusion("i6", "p1"),
        measured("used", "p1", "2025-03-01", 15, "ukat/L"), measured("older", "p1", "2025-02-01", 800, "U/L"),
        measured("old", "p1", "2024-02-01", 800, "U/L"), measured("cancelled", "p1", "2025-03-02", 800, "U/L", status="cancelled"),
        measured("other", "p1", "2025-03-02", 800, "E/l"), measured("copy", "p1", "2025-03-01", 900, "U/L"),
        measured("text", "p1", "2025-03-02", None, None, valueString="Zwetschke 450"), measured("undated", "p1", "2025-03-02", 1, "U/L", effectiveDateTime=None),
        measured("f1", "p1", "2025-05-01", 300, "UI/L"), measured("f2", "p1", "2025-06-01", 90, "U/L"),
        measured("panel", "p1", "2025-03-01", None, None, code=("urn:x", "PANEL"), component=parts),
        measured("panel2", "p1", "2025-05-01", None, None, code=("urn:x", "PANEL"), component=parts),
        measured("antibody", "p1", "2025-01-01", None, None, code=("http://loinc.org", "107562-1"), valueCodeableConcept=concept("http://snomed.info/sct", "10828004")),
        {**measured("unmapped", "p1", "2025-03-01", 1, "U/L"), "code": concept(LOCAL, "CK37", "CK im Serum", "Zwetschke says")},
        {**measured("unreadable", "p1", "2025-03-01", 1, "U/L"), "status": 5},
        {"resourceType": "Condition", "id": "dm", "subject": {"reference": "Patient/p1"}, "code": concept("http://hl7.org/fhir/sid/icd-10-cm", "M33.10"), "onsetDateTime": "2020-05"},
    ]  # fmt: skip


@pytest.fixture
def computed(study: Study) -> Study:
    """The patient, pulled by run 1 and computed."""
    records = [{name: value for name, value in one.items() if value is not None} for one in record_of_one_patient()]
    put(study.db, *records)
    for query in ("Observation?patient", "MedicationAdministration?patient", "Patient"):
        study.unit(query, patient="Patient/p1")
    assert study.type("compute").code in (0, 3)
    return study


def told(study: Study, *arguments: str) -> Any:
    """What machines are told of the case."""
    ran = study.type("explain", "--json", *arguments)
    assert ran.code == 0, ran.err
    (site,) = ran.json["sites"]
    return site


def test_a_percentage_is_walked_back_to_its_bytes(computed: Study) -> None:
    lines = computed.type("explain", "leon:Patient/p1", "ck_percent_improvement@Observation/f1").lines
    hashes = {
        row[0]: row[1]
        for row in computed.db.execute("SELECT id, hash FROM resource WHERE type = 'Observation'").fetchall()
    }
    started = computed.db.execute("SELECT started FROM run WHERE id = 1").fetchone()[0]
    row = "    row        [[measurement]] ck by http://loinc.org|2157-6: measurements.toml, measurement row 8 (line "
    way = [
        "    version    no version told, SHA-256 {}",
        f"    pulled     run 1 (pull, {started}), by Observation?patient",
    ]
    shown = [line if not line.startswith(row) else row for line in lines]
    assert shown == [
        "leon: Patient/p1",
        "  ck_percent_improvement@Observation/f1: CK, percent improvement since baseline",
        "    value      66.7 % (exactly 200/3), 2025-05-01",
        "    rule       R-CK, version 1: docs/outcomes.md",
        "    reckoned   100 x (900 - 300) / 900 = 200/3",
        "    flags      unit_read_as_U_per_L",
        "    visit      stands for week_8",
        "  baseline: Observation/copy, ck, 2025-03-01",
        "    recorded   900 U/L in Observation.valueQuantity (status final)",
        "    converted  U/L x 1 = 900 U/L",
        row, way[0].format(hashes["copy"]), way[1],
        "  follow-up: Observation/f1, ck, 2025-05-01",
        "    recorded   300 UI/L in Observation.valueQuantity (status final)",
        "    converted  UI/L x 1 = 300 U/L",
        "    flags      unit_read_as_U_per_L",
        row, way[0].format(hashes["f1"]), way[1],
        "  considered and not used:",
        "    Observation/undated, ck, 1 U/L: the record has no date",
        "    Observation/old, ck, 800 U/L, 2024-02-01: the value lies outside the baseline window",
        "    Observation/older, ck, 800 U/L, 2025-02-01: a later value stands before the first infusion",
        "    Observation/used, ck, 900 U/L, 2025-03-01: a copy of another record",
        "    Observation/cancelled, ck, 800 U/L, 2025-03-02: the record's status is not final, amended or corrected",
        "    Observation/other, ck, 2025-03-02: the unit cannot be converted",
        "    Observation/text, ck, 2025-03-02: the value is free text",
    ]  # fmt: skip


def test_every_outcome_leads_to_records_rows_and_bytes(computed: Study) -> None:
    """What was recorded times the factor is the number; the hash is that of the bytes in the store."""
    names = [one["name"] for one in told(computed, "p1")["outcomes"]]
    bodies = [(f"{one.type}/{one.id}", one.body) for one in records(computed.db, "leon")]
    hashes = {reference: hashlib.sha256(body).hexdigest() for reference, body in bodies}
    inputs = 0
    for name in names:
        outcome = told(computed, "p1", name)["outcome"]
        assert outcome["name"] == name
        assert outcome["number"] or outcome["date"] or outcome["reasons"]
        for one in outcome["inputs"]:
            inputs += 1
            reference = one["reference"].partition("#")[0]
            assert one["resource"]["hash"] == hashes[reference]
            assert (one["resource"]["run"], one["resource"]["queries"]) == (1, [f"{reference.split('/')[0]}?patient"])
            (row,) = one["rows"]
            assert re.search(r"\.toml, \w+ row \d+ \(line \d+\)", row["origin"])
            recorded = Fraction(one["recorded"].split()[0].lstrip("<>="))
            assert recorded * Fraction(row["factor"]) == Fraction(one["number"])
    assert inputs > 12


def test_a_dose_in_millilitres_names_the_product_that_says_how_much_is_in_one(computed: Study) -> None:
    outcome = told(computed, "p1", "infusion_dose_mg@MedicationAdministration/i2")["outcome"]
    (one,) = outcome["inputs"]
    assert (one["element"], one["recorded"], one["number"]) == ("MedicationAdministration.dosage.dose", "2 mL", "300")
    (row,) = one["rows"]
    assert (row["code"], row["unit"], row["factor"], row["to"]) == (RXNORM[1], "mL", "150", "mg")


def test_a_part_of_a_panel_is_named_by_its_path(computed: Study) -> None:
    outcome = told(computed, "p1", "cdasi_activity_baseline")["outcome"]
    baseline = outcome["inputs"][0]
    assert (baseline["reference"], baseline["element"], baseline["recorded"]) == (
        "Observation/panel#component[0]", "Observation.component[0].valueQuantity", "20 without unit",
    )  # fmt: skip
    parts = told(computed, "p1", "Observation/panel")["records"]
    assert [(one["reference"], one["variable"]) for one in parts] == [
        ("Observation/panel", None),
        ("Observation/panel#component[0]", "cdasi_activity"),
        ("Observation/panel#component[1]", "cdasi_damage"),
    ]
    follow_up = told(computed, "p1", "cdasi_activity_improvement@Observation/panel2")["outcome"]
    assert follow_up["name"] == "cdasi_activity_improvement@Observation/panel2#component[0]"
    (part,) = told(computed, "p1", "Observation/panel#component[1]")["records"]
    assert part["recorded"] == "3"


def test_exposure_says_which_administrations_did_not_count(computed: Study) -> None:
    outcome = told(computed, "p1", "infusions_completed")["outcome"]
    assert [one["reference"] for one in outcome["inputs"]] == [
        "MedicationAdministration/i1",
        "MedicationAdministration/i2",
    ]
    assert {one["reference"].split("/")[1]: one["reason"] for one in outcome["not_used"]} == {
        "i3": "not_given", "i4": "entered_in_error", "i5": "status_excluded", "i6": "duplicate",
    }  # fmt: skip


def test_nothing_that_was_measured_is_passed_over_in_silence(computed: Study) -> None:
    outcome = told(computed, "p1", "ck_baseline")["outcome"]
    named = {one["reference"] for one in (*outcome["inputs"], *outcome["not_used"])}
    measured_ck = {one["reference"] for one in told(computed, "p1")["values"] if one["variable"] == "ck"}
    assert measured_ck == named - {"MedicationAdministration/i1"}
    reasons = {one["reference"]: one["reason"] for one in outcome["not_used"]}
    assert reasons["Observation/f2"] == "after_first_infusion"


def test_a_record_says_what_it_is_used_for_and_what_it_means(computed: Study) -> None:
    site = told(computed, "p1", "Observation/f1")
    assert site["used_by"] == [
        {"outcome": "ck_improvement@Observation/f1", "role": "followup"},
        {"outcome": "ck_percent_improvement@Observation/f1", "role": "followup"},
        {"outcome": "ck_x_uln@Observation/f1", "role": "followup"},
    ]
    antibody = told(computed, "p1", "Observation/antibody")["records"][0]
    assert (antibody["answer"], [row["kind"] for row in antibody["rows"]]) == ("positive", ["measurement", "answer"])
    (condition,) = told(computed, "p1", "Condition/dm")["records"]
    assert [row["code"] for row in condition["rows"]] == ["M33.10"]
    lines = computed.type("explain", "p1", "Observation/other").lines
    assert "    no number  the unit cannot be converted (unit_incompatible)" in lines
    assert "  finding unit_incompatible (warning) at value: the value is not used" in lines
    assert "  no outcome rests on it" in lines


def test_a_record_that_is_not_in_the_case_says_why(computed: Study) -> None:
    lines = computed.type("explain", "p1", "Observation/unmapped").lines
    assert "  Observation/unmapped: not in the case" in lines
    assert "    why        Observation: no code that the tables know" in lines
    assert f'    code       {LOCAL}|CK37 "CK im Serum" in Observation.code: no row knows it' in lines
    put(computed.db, measured("long", "p1", "2025-03-01", 1, "U/L", (LOCAL, "L"), "d" * 200))
    assert told(computed, "p1", "Observation/long")["left_out"]["codes"][0]["display"] == "d" * 80
    site = told(computed, "p1", "Observation/unreadable")
    assert [one["code"] for one in site["left_out"]["findings"]] == ["unreadable"]
    put(computed.db, measured("theirs", "p2", "2025-03-01", 1, "U/L"))
    lines = computed.type("explain", "p1", "Observation/theirs").lines
    assert "    whose      Patient/p2, not Patient/p1" in lines
    put(computed.db, {**measured("nobody", "p1", "2025-03-01", 1, "U/L"), "subject": None})
    site = told(computed, "p1", "Observation/nobody")
    assert (site["subject"], site["resource"]["queries"]) == (None, [])
    delete_resource(computed.db, "leon", "Observation", "unmapped", "2025-06-02T10:00:00Z")
    lines = computed.type("explain", "p1", "Observation/unmapped").lines
    assert "    why        the server has it no longer" in lines
    assert "               deleted on the server, noticed 2025-06-02T10:00:00Z" in lines


def test_the_version_that_was_used_is_shown_also_when_there_is_a_newer_one(computed: Study) -> None:
    before = told(computed, "p1", "Observation/f2")["records"][0]["resource"]
    newer = {
        **measured("f2", "p1", "2025-06-01", 45, "U/L"),
        "meta": {"versionId": "2", "lastUpdated": "2025-07-01T00:00:00Z"},
    }
    run = begin_run(computed.db, "sync")
    put(computed.db, newer, run=run)
    site = told(computed, "p1", "ck_improvement@Observation/f2")
    after = site["outcome"]["inputs"][1]["resource"]
    assert (site["stale"], after["is_current"], after["hash"], after["run"]) == (
        "records changed", False, before["hash"], 1,
    )  # fmt: skip
    lines = computed.type("explain", "p1", "ck_improvement@Observation/f2").lines
    assert lines[1] == "  not up to date: records changed since this was computed; dm-fhir compute"
    assert "               the store holds a newer version" in lines
    computed.type("compute")
    site = told(computed, "p1", "ck_improvement@Observation/f2")
    now = site["outcome"]["inputs"][1]["resource"]
    assert (site["stale"], now["version"], now["is_current"], now["run"], now["command"]) == (
        None,
        "2",
        True,
        run,
        "sync",
    )


def test_changed_tables_are_told_before_their_rows_are_shown(computed: Study) -> None:
    computed.config.with_name("t.toml").write_text('[[measurement]]\nvariable = "ck"\nunits = { "E/l" = "60" }\n')
    computed.config.write_text(computed.config.read_text().replace('r4"\n', 'r4"\ntables = ["t.toml"]\n'))
    assert told(computed, "p1", "ck_baseline")["stale"] == "tables changed"
    computed.type("compute")
    site = told(computed, "p1", "Observation/other")
    (row,) = site["records"][0]["rows"]
    assert site["stale"] is None
    assert (row["factor"], row["origin"].count("t.toml, measurement row 1 (line 1)")) == ("60", 1)


def test_what_came_from_files_names_them(study: Study) -> None:
    path = study.config.with_name("export.ndjson")
    path.write_text("\n".join(json.dumps(one) for one in (patient("p1"), infusion("i1", "p1"))))
    study.type("pull", "--site", "madrid", "--from", str(path))
    study.type("compute")
    lines = study.type("explain", "p1", "first_exposure").lines
    assert any(line.startswith("    read       run 2 (pull, ") and line.endswith(f"by file: {path}") for line in lines)


def test_a_case_and_a_value_go_by_their_names_in_an_exported_document(computed: Study) -> None:
    document = json.loads(computed.type("--quiet", "export", "--site", "leon").out)
    (case,) = document["cases"]
    assert case["id"] != "Patient/p1"
    assert told(computed, case["id"])["case"] == "Patient/p1"
    abouts = [one["about"] for one in case["outcomes"] if one["variable"] == "ck_improvement"]
    found = [told(computed, case["id"], f"ck_improvement@{about}")["outcome"]["name"] for about in abouts]
    assert found == ["ck_improvement@Observation/f1", "ck_improvement@Observation/f2"]
    reference = next(one for one in case["assessments"] if "components" in one)["source"]["reference"]
    assert told(computed, f"leon:{case['id']}", reference)["records"][0]["reference"] == "Observation/panel"
    wrong = computed.type("explain", "Patient/0123456789abcdef")
    assert wrong.code == 2


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["Patient/nobody"], ["there is no case Patient/nobody of leon, madrid", "cases: leon:Patient/p1"]),
        (["madrid:Patient/p1"], ["there is no case Patient/p1 of madrid"]),
        (["p1", "ck"], ["Patient/p1 has no outcome ck", "ck_baseline, ck_x_uln_baseline, ck_improvement,", "Type/id"]),
        (["p1", "ck_improvement"], ["has 2 outcomes ck_improvement", "ck_improvement@Observation/f1, ck_improvement@Observation/f2"]),
        (["p1", "ck_improvement@Observation/used"], ["has no outcome ck_improvement@Observation/used"]),
        (["p1", "Observation/nowhere"], ["holds no Observation/nowhere of leon", "dm-fhir explain leon:Patient/p1"]),
    ],
)  # fmt: skip
def test_what_is_unknown_or_several_is_refused_with_what_there_is(
    computed: Study, arguments: list[str], said: list[str]
) -> None:
    ran = computed.type("explain", *arguments)
    assert (ran.code, ran.out) == (2, "")
    assert [words for words in said if words not in ran.err] == []


def test_a_patient_who_makes_no_case_says_why(computed: Study) -> None:
    put(computed.db, patient("p2"), patient("p3", link=[{"type": "replaced-by", "other": {"reference": "Patient/p1"}}]))
    assert "Patient/p2 of leon has not been computed yet" in computed.type("explain", "p2").err
    computed.type("compute")
    assert "Patient/p2 of leon makes no case: no administration of the study drug" in computed.type("explain", "p2").err
    ran = computed.type("explain", "p3")
    assert ran.code == 2
    assert "makes no case: merged into Patient/p1" in ran.err
    assert "dm-fhir explain leon:Patient/p1" in ran.err


def test_a_patient_of_two_sites_must_be_told_apart(computed: Study) -> None:
    put(computed.db, patient("p1"), infusion("i1", "p1"), site="madrid")
    computed.type("compute")
    ran = computed.type("explain", "Patient/p1")
    assert ran.code == 2
    assert "say which: leon:Patient/p1, madrid:Patient/p1" in ran.err
    assert told(computed, "madrid:Patient/p1", "cumulative_dose_mg")["outcome"]["number"] == "300"
    assert told(computed, "Patient/p1", "--site", "madrid")["site"] == "madrid"


def test_neither_names_nor_birth_dates_nor_identifiers_nor_texts_are_shown(computed: Study) -> None:
    names = [one["name"] for one in told(computed, "p1")["outcomes"]]
    references = [one["reference"] for one in told(computed, "p1")["values"]]
    others = ["Patient/p1", "Observation/unmapped", "Observation/unreadable", "Observation/text"]
    for value in ([], *([one] for one in (*names, *references, *others))):
        for form in ([], ["--json"]):
            ran = computed.type("-v", "explain", "p1", *value, *form)
            assert ran.code == 0
            assert not [secret for secret in SECRETS if secret in ran.out + ran.err]


def test_what_cannot_be_computed_is_explained_too(study: Study) -> None:
    put(study.db, patient("p1"), infusion("i1", "p1"), measured("f1", "p1", "2025-05-01", 5, "U/L"), measured("total", "p1", "2025-03-01", 30, None, code=(CDASI, "cdasi-total")))  # fmt: skip
    study.type("compute")
    lines = study.type("explain", "p1", "ck_baseline").lines
    assert "    no value   baseline missing (baseline_missing)" in lines
    assert "    Observation/f1, ck, 5 U/L, 2025-05-01: it lies after the first infusion" in lines
    outcome = told(study, "p1", "cdasi_activity_baseline")["outcome"]
    assert [(one["reference"], one["reason"]) for one in outcome["not_used"]] == [
        ("Observation/total", "total_is_not_activity")
    ]


def test_two_scales_are_told_apart(study: Study) -> None:
    put(
        study.db, patient("p1"), infusion("i1", "p1"), measured("b80", "p1", "2025-03-01", 70, None, code=(CDASI, "mmt8-80")),
        measured("b150", "p1", "2025-03-02", 120, None, code=(CDASI, "mmt8-150")), measured("f80", "p1", "2025-05-01", 75, None, code=(CDASI, "mmt8-80")),
        measured("older", "p1", "2025-02-01", 60, None, code=(CDASI, "mmt8-80")),
    )  # fmt: skip
    study.type("compute")
    outcome = told(study, "p1", "mmt8_80_improvement@Observation/f80")["outcome"]
    assert (outcome["arithmetic"], outcome["number"]) == ("75 - 70", "5")
    assert {one["reference"]: one["reason"] for one in outcome["not_used"]} == {
        "Observation/b150": "scale_mixed",
        "Observation/older": "not_latest",
    }


def test_a_contradiction_on_the_other_scale_blocks_nothing_on_this_one(study: Study) -> None:
    on_150 = [measured(f"b{value}", "p1", "2025-03-02", value, None, code=(CDASI, "mmt8-150")) for value in (120, 130)]
    on_80 = {"older": ("2025-02-01", 60), "b80": ("2025-03-01", 70), "f80": ("2025-05-01", 75)}
    put(
        study.db, patient("p1"), infusion("i1", "p1"), *on_150,
        *(measured(name, "p1", day, value, None, code=(CDASI, "mmt8-80")) for name, (day, value) in on_80.items()),
    )  # fmt: skip
    study.type("compute")
    outcome = told(study, "p1", "mmt8_80_improvement@Observation/f80")["outcome"]
    assert outcome["number"] == "5"
    assert {one["reference"].split("/")[1]: one["reason"] for one in outcome["not_used"]} == {
        "older": "not_latest", "b120": "conflict", "b130": "conflict",
    }  # fmt: skip


def test_a_merged_patients_record_names_the_query_that_asked_for_it(study: Study) -> None:
    put(
        study.db, patient("p1"), infusion("i1", "p1"), measured("b", "p2", "2025-03-01", 100, "U/L", LOINC_CK),
        patient("p2", link=[{"type": "replaced-by", "other": {"reference": "Patient/p1"}}]),
    )  # fmt: skip
    study.unit("Observation?patient", patient="Patient/p2")
    study.type("compute")
    baseline = told(study, "p1", "ck_baseline")["outcome"]["inputs"][0]
    assert baseline["resource"]["queries"] == ["Observation?patient"]


FORM = "https://forms.example.org/Questionnaire/dlqi"
WORTH = ("urn:answers", "a-lot")
TABLE = f"""
[[measurement]]
variable = "ck"
parse_text = true
values = [{{ system = "urn:answers", code = "a-lot", value = "7" }}]

[[measurement]]
variable = "dlqi"
values = [{{ system = "urn:answers", code = "a-lot", value = "2" }}]
forms = [
  {{ canonical = "{FORM}", items = ["1", "2", "3", "4", "5", "6", "7a", "8", "9", "10"], prevented = "7" }},
  {{ canonical = "urn:total", total = "sum" }},
]
"""
VAS = (CDASI, "pruritus-vas")


def line_end(high: int) -> dict[str, Any]:
    """A reference range that says where a line ends."""
    return {"referenceRange": [{"high": {"value": high}}]}


def coded(*pair: str) -> dict[str, Any]:
    """A coded value."""
    return {"valueCodeableConcept": concept(*pair)}


def response(name: str, form: str, answers: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """A filled-in form."""
    items = [{"linkId": link, "answer": [answer]} for link, answer in answers.items()]
    whose = {"reference": "Patient/p1"}
    return {
        "resourceType": "QuestionnaireResponse", "id": name, "status": "completed", "questionnaire": form, "item": items,
        "subject": whose, "authored": "2025-05-01",
    }  # fmt: skip


def laid(study: Study, table: str) -> None:
    """The table into the tables of leon."""
    study.config.with_name("t.toml").write_text(table, encoding="utf-8")
    study.config.write_text(study.config.read_text().replace('r4"\n', 'r4"\ntables = ["t.toml"]\n'))


@pytest.mark.parametrize(
    ("value", "recorded", "read_as", "number"),
    [
        (measured("o", "p1", "2025-03-01", 4.5, None, VAS), "4.5 without unit", None, "4.5"),
        (measured("o", "p1", "2025-03-01", 45, None, VAS, **line_end(100)), "45 without unit", None, "4.5"),
        (measured("o", "p1", "2025-03-01", 45, "mm", VAS), "45 mm", None, "4.5"),
        (measured("o", "p1", "2025-03-01", None, None, valueString="7,5 ukat/L"), "a text", "7.5", "450"),
        (measured("o", "p1", "2025-03-01", None, None, **coded(*WORTH)), "urn:answers|a-lot", "7", "7"),
        (measured("o", "p1", "2025-03-01", None, None, code=(CDASI, "dlqi"), valueInteger=9), "9", None, "9"),
        (response("o", "urn:total", {"sum": {"valueDecimal": 9}}), "9 without unit", None, "9"),
        (response("o", "urn:total", {"sum": {"valueCoding": {"system": "urn:answers", "code": "a-lot"}}}), "urn:answers|a-lot", "2", "2"),
    ],
    ids=("line", "line of 100", "line in mm", "text", "code", "integer", "form", "code in a form"),
)  # fmt: skip
def test_of_every_kind_of_value_what_was_read_times_the_factor_is_the_number(
    study: Study, value: dict[str, Any], recorded: str, read_as: str | None, number: str
) -> None:
    laid(study, TABLE)
    put(study.db, patient("p1"), infusion("i1", "p1"), value)
    study.type("compute")
    (one,) = told(study, "p1", f"{value['resourceType']}/o")["records"]
    (row,) = one["rows"]
    assert (one["recorded"], row["read_as"], one["number"]) == (recorded, read_as, number)
    assert Fraction(read_as or recorded.split()[0]) * Fraction(row["factor"]) == Fraction(number)
    lines = study.type("explain", "p1", f"{value['resourceType']}/o").lines
    assert [line for line in lines if "read as" in line] == ([f"    read as    {read_as}"] if read_as else [])


@pytest.mark.parametrize(
    ("value", "element", "recorded", "reason"),
    [
        ({"valueRange": {"low": {"value": 1, "unit": "U/L"}}}, "valueRange", "1 U/L to open", "value_not_a_number"),
        ({"valueRatio": {"numerator": {"value": 1}, "denominator": {"value": 80}}}, "valueRatio", "1 without unit : 80 without unit", "value_not_a_number"),
        ({"valuePeriod": {"start": "2025-01"}}, "valuePeriod", "2025-01 to open", "value_not_a_number"),
        ({"valueTime": "10:00:00"}, "valueTime", "10:00:00", "value_not_a_number"),
        (coded("urn:answers", "unheard-of"), "valueCodeableConcept", "urn:answers|unheard-of", "value_not_mapped"),
        ({"_valueString": {"extension": [{"url": "http://hl7.org/fhir/StructureDefinition/data-absent-reason", "valueCode": "error"}]}}, "dataAbsentReason", "http://terminology.hl7.org/CodeSystem/data-absent-reason|error", "value_missing"),
    ],
)  # fmt: skip
def test_of_what_is_no_number_it_is_shown_what_was_recorded(
    study: Study, value: dict[str, Any], element: str, recorded: str, reason: str
) -> None:
    put(study.db, patient("p1"), infusion("i1", "p1"), measured("o", "p1", "2025-03-01", None, None, **value))
    study.type("compute")
    (one,) = told(study, "p1", "Observation/o")["records"]
    assert (one["element"], one["recorded"], one["reason"]) == (f"Observation.{element}", recorded, reason)
    assert (one["number"], one["rows"][0]["factor"]) == (None, None)


def test_a_score_that_was_reckoned_from_a_form_shows_every_answer(study: Study) -> None:
    laid(study, TABLE)
    bad = {"valueCoding": {"system": "urn:answers", "code": "a-lot"}}
    answers = dict.fromkeys(("1", "2", "3"), bad) | {
        link: {"valueInteger": 1} for link in ("4", "5", "6", "7a", "8", "9", "10")
    }
    put(
        study.db,
        patient("p1"),
        infusion("i1", "p1"),
        response("r", f"{FORM}|2", answers | {"7": {"valueBoolean": False}}),
    )
    study.type("compute")
    whole, *items = told(study, "p1", "QuestionnaireResponse/r")["records"]
    assert (whole["variable"], whole["number"], whole["rows"][0]["code"]) == ("dlqi", "13", "")
    by_item = {one["reference"].partition("#")[2]: one for one in items}
    assert set(by_item) == {f"item[{link}]" for link in (*answers, "7")}
    assert sum(Fraction(one["number"]) for one in items) == 13
    first = by_item["item[1]"]
    assert (first["element"], first["recorded"]) == ("QuestionnaireResponse.item[1].answer", "urn:answers|a-lot")
    assert [(row["variable"], row["code"], row["read_as"], row["factor"]) for row in first["rows"]] == [
        ("dlqi", "1", "2", "1")
    ]


def test_a_part_inside_a_part_has_a_place_of_its_own(study: Study) -> None:
    def inside(name: str, value: int) -> dict[str, Any]:
        part = {"code": concept(CDASI, "cdasi-activity"), "valueQuantity": {"value": value}}
        return {"resourceType": "Observation", "id": name, "status": "final", "effectiveDateTime": "2025-03-01", "code": concept("urn:x", name), "component": [part]}  # fmt: skip

    members = [{"reference": "#a"}, {"reference": "#b"}]
    panel = measured("panel", "p1", "2025-03-01", None, None, code=("urn:x", "PANEL"), hasMember=members)
    put(study.db, patient("p1"), infusion("i1", "p1"), {**panel, "contained": [inside("a", 20), inside("b", 20)]})
    study.type("compute")
    outcome = told(study, "p1", "cdasi_activity_baseline")["outcome"]
    assert [one["reference"] for one in outcome["inputs"] if one["variable"] == "cdasi_activity"] == [
        "Observation/panel#contained[0].component[0]"
    ]
    assert [(one["reference"], one["reason"]) for one in outcome["not_used"]] == [
        ("Observation/panel#contained[1].component[0]", "duplicate")
    ]


def test_another_drug_shows_each_dosing_with_its_dose_a_day(study: Study) -> None:
    rxnorm = "http://www.nlm.nih.gov/research/umls/rxnorm"
    strength = {"numerator": {"value": 5, "unit": "mg"}, "denominator": {"value": 1, "unit": "tablet"}}
    medication = {
        "resourceType": "Medication", "id": "m", "code": concept(rxnorm, "8640"),
        "ingredient": [{"itemCodeableConcept": concept(rxnorm, "8640"), "strength": strength}],
    }  # fmt: skip

    def dosage(amount: dict[str, Any], times: int, **more: Any) -> dict[str, Any]:
        repeat = {"frequency": times, "period": 1, "periodUnit": "d"}
        return {"timing": {"repeat": repeat}, "doseAndRate": [{"doseQuantity": amount}], **more}

    order = {
        "resourceType": "MedicationRequest", "id": "r", "status": "active", "intent": "order", "authoredOn": "2025-01-01",
        "subject": {"reference": "Patient/p1"}, "contained": [medication], "medicationReference": {"reference": "#m"},
        "dosageInstruction": [
            dosage({"value": 4, "unit": "tablet"}, 2), dosage({"value": 0.02, "unit": "g"}, 1, asNeededBoolean=True),
            dosage({"value": 3, "unit": "drops"}, 1),
        ],
    }  # fmt: skip
    put(study.db, patient("p1"), infusion("i1", "p1"), order)
    study.type("compute")
    whole, *dosings = told(study, "p1", "MedicationRequest/r")["records"]
    assert (whole["variable"], whole["number"]) == ("prednisone", None)
    assert [(one["recorded"], one["number"], one["mg_per_day"], one["reason"], one["flags"]) for one in dosings] == [
        ("4 tablet", "20", "40", None, []),
        ("0.02 g", "20", None, None, ["as_needed"]),
        ("3 drops", None, None, "dose_unknown:unit_incompatible", []),
    ]
    for one in dosings[:2]:
        assert Fraction(one["recorded"].split()[0]) * Fraction(one["rows"][0]["factor"]) == Fraction(one["number"])
    assert dosings[2]["rows"][0]["factor"] is None
    lines = study.type("explain", "p1", "MedicationRequest/r#dosageInstruction[0]").lines
    assert (
        "    recorded   4 tablet in MedicationRequest.dosageInstruction[0].doseAndRate[0].doseQuantity (status active)"
        in lines
    )
    assert "    converted  tablet x 5 = 20 mg" in lines
    assert "    a day      40 mg" in lines


def test_an_infusion_of_another_drug_is_explained_too(study: Study) -> None:
    rituximab = concept("http://www.whocc.no/atc", "L01FA01")
    put(study.db, patient("p1"), infusion("i1", "p1"), infusion("i2", "p1", medicationCodeableConcept=rituximab))
    study.type("compute")
    (one,) = told(study, "p1", "MedicationAdministration/i2")["records"]
    assert (one["variable"], one["number"], one["rows"][0]["factor"]) == ("rituximab", "300", "1")


def test_an_adverse_event_names_the_rows_by_which_it_was_judged(study: Study) -> None:
    event = {
        "resourceType": "AdverseEvent", "id": "e", "actuality": "actual", "subject": {"reference": "Patient/p1"}, "date": "2025-04-01",
        "event": concept("urn:x", "unheard-of"),
        "seriousness": concept("http://terminology.hl7.org/CodeSystem/adverse-event-seriousness", "serious"),
    }  # fmt: skip
    put(study.db, patient("p1"), infusion("i1", "p1"), event)
    study.type("compute")
    (one,) = told(study, "p1", "AdverseEvent/e")["records"]
    assert [(row["kind"], row["variable"]) for row in one["rows"]] == [("ae_seriousness", "serious")]


def test_a_preliminary_value_is_considered_where_the_table_takes_them(study: Study) -> None:
    laid(study, "[observations]\npreliminary = true\n")
    put(
        study.db, patient("p1"), infusion("i1", "p1"), measured("used", "p1", "2025-03-01", 9, "U/L", status="preliminary"),
        measured("older", "p1", "2025-02-01", 8, "U/L", status="preliminary"),
    )  # fmt: skip
    study.type("compute")
    outcome = told(study, "p1", "ck_baseline")["outcome"]
    assert outcome["number"] == "9"
    assert [(one["reference"], one["reason"]) for one in outcome["not_used"]] == [("Observation/older", "not_latest")]


def test_a_dose_as_prednisone_says_how_it_was_reckoned_from_which_dosing(study: Study) -> None:
    def stated(id: str, atc: str, mg: int, period: dict[str, str]) -> dict[str, Any]:
        repeat = {"frequency": 1, "period": 1, "periodUnit": "d"}
        dosage = {"timing": {"repeat": repeat}, "doseAndRate": [{"doseQuantity": {"value": mg, "unit": "mg"}}]}
        return {
            "resourceType": "MedicationStatement", "id": id, "status": "active", "subject": {"reference": "Patient/p1"},
            "medicationCodeableConcept": concept("http://www.whocc.no/atc", atc), "effectivePeriod": period,
            "dosage": [dosage],
        }  # fmt: skip

    put(
        study.db, patient("p1"), infusion("i1", "p1", "2025-03-06"), infusion("i2", "p1", "2025-04-03"),
        stated("before", "H02AB04", 16, {"start": "2024-01-01", "end": "2025-03-20"}),
        stated("after", "H02AB04", 8, {"start": "2025-03-21"}),
    )  # fmt: skip
    study.type("compute")
    status = study.type("explain", "p1", "glucocorticoid_status@last").lines
    dose = study.type("explain", "p1", "prednisone_equivalent_mg_per_day@last").lines

    assert "    answer     tapered, 2025-04-03" in status
    assert {"    by         reduction since baseline in %: 50", "    by         reduced by 50 % or more: yes"} <= set(
        status
    )
    assert any(
        line.startswith("  baseline: MedicationStatement/before#dosage[0], methylprednisolone") for line in status
    )
    assert "    reckoned   8 x 5/4 = 10" in dose
    assert "    by         factor methylprednisolone: 1.25" in dose
    assert "    MedicationStatement/before, methylprednisolone, 2024-01-01: not in force on the days that count" in dose
    listed = study.type("explain", "p1").lines
    assert "    glucocorticoid_status@last: tapered, 2025-04-03" in listed
    assert "    discontinued: not computed (no record tells whether it was stopped)" in listed
