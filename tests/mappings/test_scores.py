"""Tables -> scores: the column map, each kind of fault with its words, and what a score becomes."""

import io
import json
import re
import sys
import zipfile
from collections.abc import Collection
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest

from dm_fhir.errors import ConfigError
from dm_fhir.mappings import outcome_observation
from dm_fhir.mappings.case import read_case
from dm_fhir.mappings.codes import load_tables
from dm_fhir.mappings.column_map import load_column_map
from dm_fhir.mappings.imported_observation import identifier, to_server
from dm_fhir.mappings.scores import Scores, read_scores
from dm_fhir.mappings.sheet import read_sheet
from dm_fhir.model.case import Input, Outcome, Source
from dm_fhir.store.resources import Stored
from dm_fhir.validation import schema_text

ROOT = Path(__file__).parents[2]
TABLES = load_tables()
TODAY = date(2026, 6, 1)
MAP = """
name = "clinic"
missing = ["NA", "-99"]
[patient]
column = "MRN"
system = "urn:mrn"
[date]
column = "Visit"
formats = ["DD/MM/YYYY"]
"""
CDASI = '[[score]]\nvariable = "cdasi_activity"\ncolumn = "CDASI"\n'
CK = '[[score]]\nvariable = "ck"\ncolumn = "CK"\nunit = "U/L"\n'
PATIENTS = {
    ("urn:mrn", "secret-1"): {"Patient/7"},
    ("urn:mrn", "secret-2"): {"Patient/8", "Patient/9"},
    (None, "Patient/7"): {"Patient/7"},
}


def find(system: str | None, value: str) -> Collection[str]:
    return PATIENTS.get((system, value), set())


def read(folder: Path, table: str | bytes, column_map: str = MAP + CDASI, suffix: str = ".csv") -> Scores:
    file, columns = folder / f"scores{suffix}", folder / "columns.toml"
    file.write_bytes(table.encode() if isinstance(table, str) else table)
    columns.write_text(column_map, encoding="utf-8")
    how = load_column_map(columns, TABLES)
    sheet = read_sheet(file, how.columns(), how.encoding, how.delimiter, how.sheet)
    return read_scores(sheet, how, "leon", TABLES, find, TODAY)


def said(scores: Scores) -> list[str]:
    return [f"{one.line} {one.column}: {one.kind}: {one.expected}" for one in scores.faults]


def values(scores: Scores) -> list[Any]:
    return [json.loads(one.body)["valueQuantity"]["value"] for one in scores.scores]


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_delimiters_and_a_byte_order_mark_are_recognised(tmp_path: Path, mark: bytes, delimiter: str) -> None:
    table = 'MRN|Visit|CDASI|Remark\nsecret-1|03/04/2025|20|"a, b; c"\n'.replace("|", delimiter)
    scores = read(tmp_path, mark + table.encode())
    assert [(one.line, one.patient, one.variable, one.when) for one in scores.scores] == [
        (2, "Patient/7", "cdasi_activity", "2025-04-03")
    ]
    assert scores.faults == []


def test_a_row_is_named_by_the_line_it_begins_on_whatever_its_cells_hold(tmp_path: Path) -> None:
    rows = 'secret-1,03/04/2025,20,"one\ntwo\nthree"\n\n,,,\nsecret-1,04/04/2025,x,\n'
    scores = read(tmp_path, f"MRN,Visit,CDASI,Remark\n{rows}")
    assert [(one.line, one.column) for one in scores.faults] == [(7, "CDASI")]
    assert scores.rows == 2


FAULTS = [
    ("secret-1,03/04/2025,x", "2 CDASI: value_not_a_number: expected a number with a decimal point and nothing between thousands, or a bound such as <50"),
    ("secret-1,03/04/2025,200", "2 CDASI: out_of_range: expected 0 to 100 {score}"),
    ("secret-3,03/04/2025,20", "2 MRN: patient_unknown: expected a patient whose records have been pulled"),
    ("secret-2,03/04/2025,20", "2 MRN: patient_ambiguous: expected one patient with this identifier, 2 have it"),
    (",03/04/2025,20", "2 MRN: patient_missing: expected who the patient is"),
    ("secret-1,,20", "2 Visit: date_missing: expected a date as DD/MM/YYYY"),
    ("secret-1,2025-04-03,20", "2 Visit: date_unreadable: expected a date as DD/MM/YYYY"),
    ("secret-1,03/04/2027,20", "2 Visit: date_unlikely: expected a date from 1900 to today"),
    ("secret-1,03/04/2025,20,21", "2 : row_too_long: expected 3 cells, one for each column"),
]  # fmt: skip


@pytest.mark.parametrize(("row", "expected"), FAULTS)
def test_a_fault_is_named_with_its_place_and_the_rest_goes_in(tmp_path: Path, row: str, expected: str) -> None:
    scores = read(tmp_path, f"MRN,Visit,CDASI\n{row}\nsecret-1,01/01/2025,7\n")
    assert said(scores) == [expected]
    assert values(scores) == [7]
    assert list(scores.faulty) == [2]
    assert "secret" not in expected


@pytest.mark.parametrize("name", ["7", "Patient/7", " 7 "])
def test_without_a_system_a_patient_is_named_by_reference(tmp_path: Path, name: str) -> None:
    scores = read(tmp_path, f"MRN,Visit,CDASI\n{name},01/01/2025,7\n", MAP.replace('system = "urn:mrn"', "") + CDASI)
    assert [one.patient for one in scores.scores] == ["Patient/7"]


def test_two_values_for_one_thing_are_both_faults_and_one_said_twice_is_none(tmp_path: Path) -> None:
    rows = "secret-1,01/01/2025,7\nsecret-1,01/01/2025,8\nsecret-1,02/01/2025,5\nsecret-1,02/01/2025,5\n"
    scores = read(tmp_path, f"MRN,Visit,CDASI\n{rows}")
    assert said(scores) == [
        "2 CDASI: value_contradicted: expected one value for a patient, variable and time; line 3 has another",
        "3 CDASI: value_contradicted: expected one value for a patient, variable and time; line 2 has another",
    ]
    assert (values(scores), scores.repeated) == ([5], 1)


def test_a_fault_of_the_whole_row_is_told_once_and_one_cell_spoils_no_other(tmp_path: Path) -> None:
    table = "MRN,Visit,CDASI,CK\nsecret-1,,20,30\nsecret-1,01/01/2025,x,30\nsecret-3,01/01/2025,NA,\n"
    scores = read(tmp_path, table, MAP + CDASI + CK)
    assert [(one.line, one.column) for one in scores.faults] == [(2, "Visit"), (3, "CDASI")]
    assert [one.variable for one in scores.scores] == ["ck"]
    assert scores.empty == 2  # and who the third row's patient is does not matter


def test_bounds_and_decimals_survive(tmp_path: Path) -> None:
    scores = read(
        tmp_path, "MRN;Visit;CK\nsecret-1;01/01/2025;<50\nsecret-1;02/01/2025;120,50\n", f'decimal = ","\n{MAP}{CK}'
    )
    first, second = (json.loads(one.body)["valueQuantity"] for one in scores.scores)
    assert (first["comparator"], first["value"]) == ("<", 50)
    assert b'"value":120.50' in scores.scores[1].body
    assert second["code"] == "U/L"


LONG = """
[long]
variable_column = "test"
value_column = "result"
unit_column = "unit"
[only]
status = ["final"]
[[score]]
variable = "ck"
called = "CK"
"""


def test_the_long_form_counts_what_it_leaves_out(tmp_path: Path) -> None:
    rows = "secret-1,01/01/2025,CK,2,ukat/L,final\nsecret-1,02/01/2025,Na,140,mmol/L,final\nsecret-1,03/01/2025,CK,3,ukat/L,draft\nsecret-1,04/01/2025,CK,3,mg,final\nsecret-1,05/01/2025,CK,3,,final\n"
    scores = read(tmp_path, f"MRN,Visit,test,result,unit,status\n{rows}", MAP + LONG)
    assert scores.left_out == {"a variable that the map does not name": 1, "another event or visit": 1}
    assert [one.kind for one in scores.faults] == ["unit_incompatible", "unit_missing"]
    assert scores.faults[0].expected.startswith("expected a unit: U/L, ukat/L")
    assert values(scores) == [2]


REDCAP = (
    MAP.replace('"MRN"', '"mrn"\nrecord_column = "record_id"').replace('"Visit"', '"visit_date"').replace("DD/MM/YYYY", "YYYY-MM-DD")
    + """
[only]
redcap_event_name = ["week_0_arm_1", "week_12_arm_1"]
[[score]]
variable = "cdasi_activity"
column = "cdasi_a"
[[score]]
variable = "anti_tif1g"
column = "antibodies___3"
missing = ["0"]
answers = { "1" = "positive" }
"""
)  # fmt: skip


def test_a_redcap_export_names_its_patient_once_for_a_record(tmp_path: Path) -> None:
    rows = "1,week_0_arm_1,secret-1,2025-01-01,20,1\n1,week_12_arm_1,,2025-04-01,8,0\n1,end_arm_1,,2025-05-01,7,0\n2,week_0_arm_1,,2025-01-01,9,0\n3,week_0_arm_1,secret-1,2025-02-01,9,0\n3,week_12_arm_1,secret-2,2025-02-02,9,2\n"
    scores = read(tmp_path, f"record_id,redcap_event_name,mrn,visit_date,cdasi_a,antibodies___3\n{rows}", REDCAP)
    assert [(one.line, one.patient, one.variable, one.when) for one in scores.scores] == [
        (2, "Patient/7", "cdasi_activity", "2025-01-01"),
        (2, "Patient/7", "anti_tif1g", "2025-01-01"),
        (3, "Patient/7", "cdasi_activity", "2025-04-01"),
    ]
    assert [(one.line, one.kind) for one in scores.faults] == [
        (5, "patient_missing"),
        (6, "patient_contradicted"),
        (7, "patient_contradicted"),
    ]
    answer = json.loads(scores.scores[1].body)
    assert answer["valueCodeableConcept"]["coding"][0]["code"] == "10828004"
    assert scores.left_out == {"another event or visit": 1}


def test_an_answer_that_the_map_does_not_list_is_a_fault(tmp_path: Path) -> None:
    answers = '[[score]]\nvariable = "anti_mda5"\ncolumn = "MDA5"\nanswers = { pos = "positive" }\n'
    scores = read(tmp_path, "MRN,Visit,MDA5\nsecret-1,01/01/2025,weak\n", MAP + answers)
    assert said(scores) == ["2 MDA5: answer_unknown: expected one of pos, or what means missing"]


def workbook(folder: Path, rows: list[list[object]], sheets: int = 1) -> bytes:
    from openpyxl import Workbook

    book = Workbook()
    for _ in range(sheets - 1):
        book.create_sheet()
    sheet = book.worksheets[0]
    sheet.title = "Scores"
    for row in rows:
        sheet.append(row)
    book.save(folder / "made.xlsx")
    return (folder / "made.xlsx").read_bytes()


def test_a_spreadsheet_gives_numbers_dates_and_lines(tmp_path: Path) -> None:
    rows = [
        ["MRN", "Visit", "CDASI"],
        ["secret-1", datetime(2025, 4, 3, tzinfo=UTC).replace(tzinfo=None), 0.1 + 0.2],
        [],
        ["secret-1", "05/04/2025", 12.0],
        ["secret-1", date(2025, 4, 6), date(2025, 4, 3)],
        ["secret-1", date(2025, 4, 7), "=1+1"],
        ["secret-1", date(2025, 4, 8)],
    ]
    scores = read(tmp_path, workbook(tmp_path, rows), suffix=".xlsx")
    assert [(one.line, one.when) for one in scores.scores] == [(2, "2025-04-03"), (4, "2025-04-05")]
    assert values(scores) == [0.3, 12]
    assert [(one.line, one.kind) for one in scores.faults] == [(5, "value_is_date"), (6, "formula_not_computed")]
    assert scores.empty == 1


def test_which_of_several_sheets_must_be_said(tmp_path: Path) -> None:
    table = workbook(tmp_path, [["MRN", "Visit", "CDASI"], ["secret-1", date(2025, 4, 6), 3]], sheets=3)
    with pytest.raises(ConfigError, match="has 3 sheets\n  say which one"):
        read(tmp_path, table, suffix=".xlsx")
    assert values(read(tmp_path, table, 'sheet = "Scores"\n' + MAP + CDASI, suffix=".xlsx")) == [3]
    with pytest.raises(ConfigError, match="no sheet 'Other' among its 3"):
        read(tmp_path, table, 'sheet = "Other"\n' + MAP + CDASI, suffix=".xlsx")


def test_without_openpyxl_the_way_to_it_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openpyxl", None)
    with pytest.raises(ConfigError, match=r"pip install 'dm-fhir\[import\]'"):
        read(tmp_path, b"", suffix=".xlsx")


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        ("MRN,Visit,CDASI\nsecret-1,03/04/2025,20\nJosé,x,y\n".encode("latin-1"), "is not utf-8: line 3\n  save it as"),
        ("MRN,Visit,CDASI\n".encode("utf-16"), 'is UTF-16, not utf-8\n  set encoding = "utf-16"'),
        (b'MRN,Visit,CDASI\nsecret-1,"03/04/2025,20\n', "is not CSV: row beginning on line 2"),
        (b"", "has no rows"),
        (b"MRN,Visit,Cdasi\n", "column 'CDASI': the file has none of this name"),
        (b"MRN,Visit,CDASI,CDASI\n", "column 'CDASI': the file has 2 of this name, 1 was expected"),
    ],
)
def test_a_file_that_cannot_be_read_says_why_and_repeats_nothing(tmp_path: Path, table: bytes, expected: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, table)
    assert expected in str(caught.value)
    assert "secret" not in str(caught.value)
    assert "Jos" not in str(caught.value)


def test_another_encoding_can_be_declared(tmp_path: Path) -> None:
    table = "MRN,Visit,CDASI,Ärztin\nsecret-1,03/04/2025,20,Jülich\n".encode("latin-1")
    scores = read(tmp_path, table, 'encoding = "latin-1"\nassessor_column = "Ärztin"\n' + MAP + CDASI)
    assert json.loads(scores.scores[0].body)["performer"] == [{"display": "Jülich"}]


def test_a_damaged_xlsx_is_said_wherever_it_breaks(tmp_path: Path) -> None:
    whole = workbook(tmp_path, [["MRN", "Visit", "CDASI"], ["secret-1", date(2025, 4, 6), 3]])
    with zipfile.ZipFile(io.BytesIO(whole)) as book:
        parts = {name: book.read(name) for name in book.namelist()}
    for name in ("xl/worksheets/sheet1.xml", "xl/workbook.xml"):
        damaged = io.BytesIO()
        with zipfile.ZipFile(damaged, "w") as book:
            for other, content in parts.items():
                book.writestr(other, content[: len(content) // 2] if other == name else content)
        with pytest.raises(ConfigError, match="is no XLSX file"):
            read(tmp_path, damaged.getvalue(), suffix=".xlsx")


def test_other_spreadsheets_are_named_as_such(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is neither CSV nor XLSX"):
        read(tmp_path, b"", suffix=".ods")


def test_no_xlsx_is_said(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is no XLSX file"):
        read(tmp_path, b"MRN,Visit\n", suffix=".xlsx")


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ('[[score]]\nvariable = "cdasi_activty"\ncolumn = "C"\n', "score[0]: no table knows the measurement 'cdasi_activty', did you mean 'cdasi_activity'?"),
        ('[[score]]\nvariable = "mmt8"\ncolumn = "C"\n', "score[0]: 'mmt8' has no code of its own; take mmt8_150 or mmt8_80"),
        ('[[score]]\nvariable = "ck"\ncolumn = "C"\nunit = "mg"\n', "score[0]: unit: 'ck' does not come in 'mg'; known: U/L"),
        ('[[score]]\nvariable = "ck"\n', "score[0]: 'column' is missing"),
        ('[[score]]\nvariable = "ck"\ncolumn = "C"\ncalled = "CK"\n', "score[0]: 'called' is for tables with [long]"),
        ('[[score]]\nvariable = "ck"\ncolumn = "C"\nunit = "U/L"\nunit_column = "U"\n', "score[0]: 'unit' and a unit column say the same twice"),
        ('[[score]]\nvariable = "ana"\ncolumn = "C"\n', "score[0]: 'answers' is missing"),
        ('[[score]]\nvariable = "ana"\ncolumn = "C"\nanswers = { a = "perhaps" }\n', "score[0]: answers: no table knows 'perhaps'; known: positive, negative"),
        ('[[score]]\nvariable = "ck"\ncolumn = "C"\nanswers = { a = "positive" }\n', "score[0]: 'answers' is for what has no number"),
        (CDASI + CDASI, "score: the column 'CDASI' is used 2 times"),
        ('[[score]]\nvariable = "ck"\ncolum = "C"\n', "score[0]: unknown key 'colum', did you mean 'column'?"),
        ("", "top level: 'score' is missing"),
    ],
)  # fmt: skip
def test_the_faults_of_a_column_map(tmp_path: Path, more: str, expected: str) -> None:
    path = tmp_path / "columns.toml"
    path.write_text(MAP + more, encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        load_column_map(path, TABLES)
    assert expected in str(caught.value)


def test_the_documented_maps_are_maps_and_every_key_and_fault_is_documented(tmp_path: Path) -> None:
    text = (ROOT / "docs" / "import.md").read_text(encoding="utf-8")
    examples = re.findall(r"```toml\n(.*?)```", text, re.DOTALL)
    for number, example in enumerate(examples):
        path = tmp_path / f"{number}.toml"
        path.write_text(example, encoding="utf-8")
        assert load_column_map(path, TABLES).score
    assert len(examples) == 3
    schema = json.loads(schema_text("column-map"))
    groups = [schema, schema["$defs"]["score"], *(schema["properties"][name] for name in ("patient", "date", "long"))]
    assert [key for group in groups for key in group["properties"] if not re.search(rf"\b{key}\b", text)] == []
    code = "".join((ROOT / "mappings" / name).read_text(encoding="utf-8") for name in ("scores.py", "cells.py"))
    kinds = re.findall(r'(?:Unreadable\(|Fault\([a-z.]+, [a-z."]+, )\s*"([a-z_]+)"', code)
    assert len(set(kinds)) > 10
    assert [kind for kind in kinds if f"`{kind}`" not in text] == []


def test_a_date_format_that_is_none_is_a_fault_of_the_map(tmp_path: Path) -> None:
    path = tmp_path / "columns.toml"
    path.write_text((MAP + CDASI).replace("DD/MM/YYYY", "%d/%m/%Y"), encoding="utf-8")
    with pytest.raises(ConfigError, match=r"date\.formats: '%d/%m/%Y' is no date format"):
        load_column_map(path, TABLES)


def stored(id_: str, document: dict[str, Any]) -> Stored:
    return Stored("Observation", id_, None, None, json.dumps(document).encode())


def test_the_copy_that_the_server_has_of_a_score_does_not_count_twice(tmp_path: Path) -> None:
    (score,) = read(tmp_path, "MRN,Visit,CDASI\nsecret-1,01/01/2025,7\n").scores
    document = json.loads(score.body)
    copy = {**document, "id": "51", "meta": {"versionId": "1"}}
    case = read_case(
        "Patient/7", "leon", "UTC", "anifrolumab", [stored(score.id, document), stored("51", copy)], TABLES, {}
    )
    assert [one.source.reference for one in case.assessments] == [f"Observation/{score.id}"]
    assert case.left_out == {"Observation: copy of an imported score": 1}
    # In a store that does not hold the score itself, what the hospital says is what there is.
    alone = read_case("Patient/7", "leon", "UTC", "anifrolumab", [stored("51", copy)], TABLES, {})
    assert [one.source.reference for one in alone.assessments] == ["Observation/51"]


def test_a_score_is_known_by_its_identifier_and_written_without_the_stores_id(tmp_path: Path) -> None:
    timed = MAP.replace("DD/MM/YYYY", "DD/MM/YYYY hh:mm") + CDASI.replace(
        'column = "CDASI"', 'column = "CDASI"\nmethod = "by hand"'
    )
    (score,) = read(tmp_path, "MRN,Visit,CDASI\nsecret-1,01/07/2025 9:30,7\n", timed).scores
    name = identifier("leon", "clinic", "Patient/7", "cdasi_activity", "2025-07-01T09:30:00")
    assert score.id == f"dm-fhir-import-{name}"
    ready = to_server(score.body, UTC)
    document = json.loads(ready.body)
    assert ready.identifier == name
    assert document["identifier"] == [{"system": "https://w3id.org/dm-fhir/imported", "value": name}]
    assert document["effectiveDateTime"] == "2025-07-01T09:30:00Z"
    assert document["method"] == {"text": "by hand"}
    assert document["category"][0]["coding"][0]["code"] == "exam"
    assert not {"id", "meta"} & document.keys()
    sources = (Source("leon", f"Observation/{score.id}"), Source("leon", "Observation/51", "2"))
    made_of = tuple(Input("baseline", one) for one in sources)
    outcome = Outcome("cdasi_activity_baseline", "R-CDASI", "1", when="2025-07-01", inputs=made_of)
    assert json.loads(outcome_observation.to_fhir(outcome, "anifrolumab", "Patient/7", UTC).body)["derivedFrom"] == [
        {"identifier": document["identifier"][0]},
        {"reference": "Observation/51/_history/2"},
    ]
