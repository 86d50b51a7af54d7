"""dm-fhir validate: every fault with its line, whatever the file is, and nothing of what stands in it."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.cli.conftest import Study

SECRET = "Zwetschkenbaum"
CK = {"coding": [{"system": "http://loinc.org", "code": "2157-6"}]}
GOOD: dict[str, Any] = {
    "resourceType": "Observation", "id": "7", "status": "final", "code": CK, "subject": {"reference": "Patient/1"},
    "effectiveDateTime": "2026-03-03T10:00:00Z", "valueQuantity": {"value": 12.5, "unit": "U/L"},
}  # fmt: skip
SERIES = Path(__file__).parents[1] / "model" / "documents" / "case-series-1.json"


def observation(**changes: Any) -> dict[str, Any]:
    """A CK with these elements in place of its own."""
    return {**GOOD, **changes}


def put(name: str, content: str | bytes | list[dict[str, Any]]) -> None:
    """Write a file: text, bytes, or resources as NDJSON."""
    if isinstance(content, list):
        content = "\n".join(map(json.dumps, content))
    Path(name).write_bytes(content.encode() if isinstance(content, str) else content)


def test_a_valid_file_has_no_fault(study: Study) -> None:
    put("a.ndjson", [observation(), {"resourceType": "Patient", "id": "1", "gender": "female", "birthDate": "1970"}])
    ran = study.type("validate", "a.ndjson")
    assert ran.code == 0
    assert ran.lines == [
        "a.ndjson: FHIR resources, 2 resources, 0 faults",
        "validate: 1 file, 2 resources, 0 faults; exit 0 (valid)",
    ]


def test_no_config_is_needed(study: Study) -> None:
    study.config.unlink()
    put("a.ndjson", [observation()])
    assert study.type("validate", "a.ndjson").code == 0


def test_in_ndjson_the_line_is_the_resource_s(study: Study) -> None:
    put(
        "a.ndjson",
        [
            observation(valueQuantity={"value": 3, "unit": SECRET}),
            observation(id="8", status=SECRET),
            observation(id="9", effectiveDateTime="2026-03-03T10:00:00"),
            observation(id="10", component=[{}, {"code": {"text": SECRET}, "valueQuantity": {"value": "5"}}]),
        ],
    )
    ran = study.type("validate", "a.ndjson")
    assert ran.code == 1
    assert ran.lines[:-2] == [
        "a.ndjson:1: warning: Observation/7 Observation.value: a unit that the tables do not convert for this variable "
        "[unit_incompatible]",
        "a.ndjson:2: error: Observation/8 Observation.status: is no code that FHIR allows here",
        "a.ndjson:2: information: Observation/8 Observation.status: a result whose status does not count: preliminary, "
        "cancelled, entered in error, unknown, … [status_excluded]",
        "a.ndjson:3: error: Observation/9 Observation.effectiveDateTime: is a time without a zone",
        "a.ndjson:3: information: Observation/9 Observation.effective: a time without a zone [zone_assumed]",
        "a.ndjson:4: error: Observation/10 Observation.component[0].code: is missing",
        "a.ndjson:4: error: Observation/10 Observation.component[1].valueQuantity.value: is text where FHIR says a number",
    ]
    assert ran.lines[-2] == "a.ndjson: FHIR resources, 4 resources, 5 faults, 2 remarks"
    assert SECRET not in ran.out + ran.err


BUNDLE = """{
  "resourceType": "Bundle",
  "entry": [
    {"resource": {"resourceType": "Patient", "id": "1", "gender": "m"}},
    {"resource": {
      "resourceType": "Observation", "id": "7",
      "status": "final",
      "code": {"coding": [{"system": "http://loinc.org", "code": "2157-6"}]},
      "component": [
        {"code": {"text": "a"}},
        {"code": {"coding": [{"system": "http://loinc.org", "code": "2157-6"}]},
         "valueQuantity": {
           "value": 5,
           "unit": "Zwetschkenbaum",
           "comparator": "about"
         }}
      ]
    }},
    {"fullUrl": "urn:uuid:1"},
    {"resource": {"resourceType": "Observation", "id": "8", "status": "final",
      "status": "amended",
      "code": {"text": "b"}}},
    {"resource": {"resourceType": "Zwetschkenbaum", "id": "9"}}
  ]
}"""


@pytest.mark.parametrize("name", ["bundle.json", "bundle.json.gz"])
def test_in_a_bundle_the_line_is_the_element_s(study: Study, name: str) -> None:
    put(name, gzip.compress(BUNDLE.encode()) if name.endswith(".gz") else BUNDLE)
    (file,) = study.type("validate", name, "--json").json["files"]
    assert [(one["line"], one["reference"], one["path"], one["code"]) for one in file["faults"]] == [
        (4, "Patient/1", "Patient.gender", None),
        (4, "Patient/1", "Patient.gender", None),
        (12, "Observation/7", "Observation.component[1].value", "comparator"),
        (15, "Observation/7", "Observation.component[1].valueQuantity.comparator", None),
        (21, "Observation/8", "Observation", None),
        (23, None, "resourceType", None),
    ]
    assert (file["kind"], file["resources"]) == ("FHIR resources", 4)
    assert file["notes"] == {"entries without a resource": 1}
    assert SECRET not in json.dumps(file)


@pytest.mark.parametrize(
    ("name", "content", "faults"),
    [
        ("a.json", '{"resourceType": "Observation",\n "status":\n {"a": NaN}}', [(3, "has NaN or Infinity, which JSON does not have")]),
        ("a.json", '\n{"resourceType": "Observation",\n "id": one}', [(3, "is not JSON in UTF-8")]),
        ("a.ndjson", '{}\n\n{"id": Infinity}\nx', [(1, "has no resourceType"), (3, "has NaN or Infinity, which JSON does not have"), (4, "is not JSON in UTF-8")]),
        ("a.ndjson", b'{"resourceType": "Observation", "id": "1", "code": {"text": "\xff"}, "status": "final"}', [(1, "is not JSON in UTF-8")]),
        ("a.json", '{"resourceType": "Bundle", "entry": 5}', [(1, "is a Bundle inside a Bundle, or its entry is no list of entries")]),
        ("a.json", '{"resourceType": "Bundle", "entry": [\n{"resource":\n{"resourceType": "Bundle", "id": "1"}}, {"resource": {"id": "1"}}]}', [(2, "is a Bundle inside a Bundle, or its entry is no list of entries"), (3, "has no resourceType")]),
        ("a.json", '{"resourceType": "Patient", "id": 5}', [(1, "its resourceType, id or meta is of another type than FHIR says"), (1, "cannot be read by dm-fhir"), (1, "is of another type than FHIR says")]),
        ("a.json", gzip.compress(BUNDLE.encode())[:200], [(3, "the packed file is cut off here")]),
        ("a.json", '{"resourceType": "Patient",\n "gender": "x"}', [(1, "has no id, so it cannot be kept"), (2, "cannot be read by dm-fhir"), (2, "is no code that FHIR allows here")]),
    ],
)  # fmt: skip
def test_what_is_broken(study: Study, name: str, content: str | bytes, faults: list[tuple[int, str]]) -> None:
    put(name, content)
    ran = study.type("validate", name, "--json")
    (file,) = ran.json["files"]
    found = [(one["line"], one["message"]) for one in file["faults"]]
    assert ran.code == 1
    if name == "a.json" and isinstance(content, bytes):  # how far the cut lets it be unzipped
        found = [(min(line, 3), message) for line, message in found]
    assert found == faults


def test_a_table_s_faults_have_the_lines_of_its_rows(study: Study) -> None:
    put(
        "t.toml",
        """# ours
[[measurement]]
variable = "ck"
unts = { "U/L" = "1" }

[[measurement]]
variable = "dlqi"
codes = [
  { system = "urn:x", code = "A" },
  { system = "urn:x", code = 5 },
]
units = { "points" = "0.0.1" }
""",
    )
    ran = study.type("validate", "t.toml")
    assert ran.code == 1
    assert ran.lines[:-1] == [
        "t.toml:2: error: measurement row 1: unknown key 'unts', did you mean 'units'?",
        "t.toml:6: error: measurement row 2, code 2.code: must be string, is a number",
        't.toml:6: error: measurement row 2, units.points: must be an exact number as text, such as "60", "0.5" or "1/60"',
        "t.toml: mapping table, 3 faults",
    ]


@pytest.mark.parametrize(
    ("code", "line", "message"),
    [
        ('system = "urn:x", code = "A"', 3, "measurement row 1: urn:x|A means 'ck' here, and 'dlqi' in t.toml, measurement row 2 (line 5)"),
        ('system = "http://loinc.org", code = "2157-6"', 5, "measurement row 2: http://loinc.org|2157-6 means 'dlqi' here, and 'ck' in measurements.toml, "),
    ],
)  # fmt: skip
def test_a_code_with_two_meanings_is_found_in_the_table_and_against_the_shipped_ones(
    study: Study, code: str, line: int, message: str
) -> None:
    put(
        "t.toml",
        f"""[[measurement]]
variable = "ck"
codes = [{{ system = "urn:x", code = "A" }}]
[[measurement]]
codes = [{{ {code} }}]
variable = "dlqi"
""",
    )
    assert study.type("validate", "t.toml").lines[0].startswith(f"t.toml:{line}: error: {message}")


def test_all_faults_of_a_config_have_their_lines_and_a_secret_is_not_told(study: Study) -> None:
    put(
        "c.toml",
        f"""[study]
titel = "x"
drug = "anifrolumab"
[[site]]
name = "leon"
[site.auth]
method = "basic"
password = "{SECRET}"
[[site]]
name = "leon"
timezone = "Europe/Leon"
""",
    )
    ran = study.type("validate", "c.toml")
    found = [line.split(": error: ") for line in ran.lines[:-2]]
    assert {where.removeprefix("c.toml:"): what.split(":")[0] for where, what in found} == {
        "8": "site[0].auth.password", "2": "study", "1": "study", "4": "site", "6": "site[0].auth", "11": "site[1].timezone",
    }  # fmt: skip
    assert SECRET not in ran.out + ran.err


@pytest.mark.parametrize(
    ("lines", "fault"),
    [
        (['drug = "snake_oil"'], "site[0].tables: no mapping table of site leon knows the study drug 'snake_oil'"),
        (
            ['drug = "anifrolumab"', "[[site]]", 'name = "a"', 'tables = ["gone.toml"]'],
            "site[0].tables: the mapping table ",
        ),
    ],
)
def test_a_config_s_tables_and_drug_are_looked_at(study: Study, lines: list[str], fault: str) -> None:
    put("c.toml", "\n".join(["[study]", 'title = "t"', *lines, "[[site]]", 'name = "leon"']))
    assert fault in study.type("validate", "c.toml").lines[0]


def test_a_case_series_is_checked_and_a_later_format_refused_with_its_line(study: Study) -> None:
    text = SERIES.read_text(encoding="utf-8")
    put("old.json", text)
    put("wrong.json", text.replace('"sex": "female"', '"sex": 5', 1))
    put("later.json", text.replace('"format_version": "1"', '"format_version": "9"'))
    ran = study.type("validate", "old.json", "wrong.json", "later.json", "--json")
    old, wrong, later = ran.json["files"]
    assert (old["kind"], old["faults"]) == ("case series", [])
    line = 1 + next(number for number, one in enumerate(text.splitlines()) if '"sex": "female"' in one)
    assert [(one["line"], one["path"]) for one in wrong["faults"]] == [(line, "cases[0].subject.sex")]
    assert [(one["line"], one["path"]) for one in later["faults"]] == [(len(text.splitlines()) - 1, "format_version")]
    assert "was written by a newer dm-fhir (format 9); this one reads up to 3" in later["faults"][0]["message"]


def test_one_that_is_broken_does_not_stop_the_others(study: Study) -> None:
    put("a.json", "{")
    put("b.toml", "y = 1\nx =\nz = 1")
    put("c.toml", "x = 1")
    put("d.ndjson", [observation()])
    ran = study.type("validate", "gone.json", "a.json", "b.toml", "c.toml", "d.ndjson")
    assert ran.code == 2
    assert [line for line in ran.lines if ": error: " not in line] == [
        "gone.json: missing",
        "a.json: not recognised, 1 fault",
        "b.toml: not recognised, 1 fault",
        "c.toml: not recognised, 1 fault",
        "d.ndjson: FHIR resources, 1 resource, 0 faults",
        "validate: 5 files, 1 resource, 4 faults; exit 2 (a path does not exist)",
    ]
    assert "b.toml:2: error: is not TOML: Invalid value (at line 2, column 4)" in ran.lines


def test_in_a_folder_what_is_nothing_of_this_is_named_and_no_fault(study: Study) -> None:
    Path("inside/deep").mkdir(parents=True)
    put("inside/letter.txt", 'Dear colleague, the "resourceType"')
    put("inside/deep/a.ndjson", [observation()])
    ran = study.type("validate", "inside")
    assert ran.code == 0
    assert ran.lines[:2] == [
        "inside/deep/a.ndjson: FHIR resources, 1 resource, 0 faults",
        "inside/letter.txt: not recognised, passed over",
    ]


def test_a_site_s_tables_and_zone_are_those_of_its_compute(study: Study) -> None:
    local = {"coding": [{"system": "urn:lab", "code": "CK1"}]}
    put("a.ndjson", [observation(code=local, valueQuantity={"value": 1, "unit": "lab units"})])
    assert "1 x Observation: no code that the tables know" in study.type("validate", "a.ndjson").out
    put("t.toml", '[[measurement]]\nvariable = "ck"\ncodes = [{ system = "urn:lab", code = "CK1" }]\n')
    config = study.config.read_text(encoding="utf-8").replace('name = "madrid"', 'name = "madrid"\ntables = ["t.toml"]')
    study.config.write_text(config, encoding="utf-8")
    ran = study.type("validate", "--site", "madrid", "a.ndjson")
    assert (ran.code, ran.lines[0].rpartition(" ")[2]) == (1, "[unit_incompatible]")
    assert study.type("validate", "--site", "lisbon", "a.ndjson").code == 2


def test_a_drug_by_reference_is_no_fault_unless_it_is_the_record_s_own(study: Study) -> None:
    given = {"resourceType": "MedicationAdministration", "status": "completed", "subject": {"reference": "Patient/1"}}
    given["effectiveDateTime"] = "2026-03-03"
    away, own = ({**given, "id": ref[-1], "medicationReference": {"reference": ref}} for ref in ("Medication/1", "#2"))
    put("a.ndjson", [away, own])
    ran = study.type("validate", "a.ndjson")
    assert [line.split(": ")[2] for line in ran.lines if "[" in line] == [
        "MedicationAdministration/2 MedicationAdministration.medication"
    ]
    assert (
        "  1 x MedicationAdministration: its Medication is another resource, so its drug was not looked at" in ran.lines
    )


def test_an_administration_of_any_drug_is_looked_at(study: Study) -> None:
    drug = {"coding": [{"system": "http://www.whocc.no/atc", "code": "L04AX03"}]}
    given = {"resourceType": "MedicationAdministration", "id": "1", "status": "completed", "subject": {}}
    put("a.ndjson", [given | {"medicationCodeableConcept": drug, "effectiveDateTime": "2026-13"}])
    assert "MedicationAdministration.effective: " in study.type("validate", "a.ndjson").lines[1]
