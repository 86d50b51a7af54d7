"""dm-fhir map: the tables shown to people and machines, and as FHIR."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import pytest

from dm_fhir.mappings.codes import load_tables
from dm_fhir.validation import schema_text

if TYPE_CHECKING:
    from tests.cli.conftest import Study

TABLE = """[[measurement]]
variable = "ck"
codes = [{ system = "urn:leon:lab", code = "CK37", source = "the laboratory" }]
units = { "E/l" = "1" }

[[medication]]
variable = "rituximab"
off = true
"""
MAP = """{"resourceType": "ConceptMap", "group": [{"source": "urn:leon:lab", "target": "http://loinc.org", "element": [
  {"code": "CKMB", "target": [{"code": "2157-6", "equivalence": "narrower"}]}]}]}"""


def with_tables(study: Study, **texts: str) -> None:
    """The config names these tables at leon: the file's name with an underscore for its dot."""
    names = [name.replace("_", ".") for name in texts]
    for name, text in zip(names, texts.values(), strict=True):
        (study.config.parent / name).write_text(text, encoding="utf-8")
    text = study.config.read_text(encoding="utf-8")
    study.config.write_text(
        text.replace('name = "leon"', f'name = "leon"\ntables = {json.dumps(names)}'), encoding="utf-8"
    )


def test_a_row_is_shown_with_codes_units_range_and_who_says_so(study: Study) -> None:
    study.config.unlink()  # the shipped tables need none
    ran = study.type("map", "show", "--variable", "ck")
    origin = load_tables().rows["measurement", "ck"].code_origins["http://loinc.org", "2157-6"]

    assert ran.code == 0
    assert ran.lines[:4] == [
        "measurement ck in U/L",
        "  units     U/L x 1, ukat/L x 60, \N{MICRO SIGN}kat/L x 60, \N{GREEK SMALL LETTER MU}kat/L x 60, nkat/L x 0.06, mU/mL x 1",
        "  assumed   IU/L x 1, UI/L x 1, U/l x 1, [IU]/L x 1 (flagged)",
        "  range     from 0 (outside: not used)",
    ]
    assert "  http://loinc.org|2157-6  Creatine kinase [Enzymatic activity/volume] in Serum or Plasma" in ran.lines
    assert f"            {origin.source}; {origin.origin}" in ran.lines
    assert ran.lines[-1] == "map show: 1 row, 2 codes, as shipped; exit 0 (complete)"


@pytest.mark.parametrize(
    ("variable", "line"),
    [
        ("ldh", r"  http://loinc.org\|2532-0 .*  \[discouraged: read, never written\]"),
        ("exclude_ck_mb", "measurement exclude_ck_mb, recognised in order to be left out"),
        ("haq_panel", "measurement haq_panel, a panel"),
        ("anti_jo1", "measurement anti_jo1, a coded result"),
        ("dm_juvenile", "condition dm_juvenile, a diagnosis of the disease, subtype juvenile"),
        ("anifrolumab", r"            1 mL = 150 mg, up to 4 mL; 1 \{vial\} = 300 mg"),
        (
            "mmt8",
            r"  no code; https://w3id.org/dm-fhir/CodeSystem/measurement\|mmt8 is understood; measurements.toml, .*",
        ),
        ("mmt8_80", "  scale     80"),
    ],
)
def test_what_is_special_about_a_row_is_said(study: Study, variable: str, line: str) -> None:
    assert any(re.fullmatch(line, one) for one in study.type("map", "show", "--variable", variable).lines)


def test_all_rows_are_shown_or_those_of_some_kinds(study: Study) -> None:
    rows = load_tables().rows
    every = study.type("map", "show", "--json").json
    some = study.type("map", "show", "--kind", "route", "--kind", "answer", "--json").json

    assert [(row["kind"], row["variable"]) for row in every["rows"]] == list(rows)
    assert [row["variable"] for row in some["rows"]] == [name for kind, name in rows if kind in ("route", "answer")]
    assert (every["command"], every["state"], every["exit_code"], every["sites"]) == ("map", "complete", 0, [])


def test_a_sites_tables_are_shown_as_they_hold_there(study: Study) -> None:
    with_tables(study, leon_toml=TABLE, map_json=MAP)
    ran = study.type("map", "show", "--site", "leon", "--variable", "ck")
    found = study.type("map", "show", "--site", "leon", "--json").json
    ck = next(row for row in found["rows"] if row["variable"] == "ck")

    assert "            the laboratory; leon.toml, measurement row 1 (line 3)" in ran.lines
    assert ran.lines[-2:] == [
        "not taken: map.json, group 1, element 1: urn:leon:lab|CKMB is not ck itself (equivalence narrower); not taken",
        "map show: 1 row, 3 codes, as they hold at leon; exit 0 (complete)",
    ]
    assert found["sites"] == [{"site": "leon"}]
    assert len(found["remarks"]) == 1
    assert ck["units"]["E/l"] == "1"
    assert ck["codes"][-1] == {
        "system": "urn:leon:lab",
        "code": "CK37",
        "display": None,
        "origin": "leon.toml, measurement row 1 (line 3)",
        "source": "the laboratory",
        "status": None,
        "dose_units": {},
    }
    assert "rituximab" not in {row["variable"] for row in found["rows"]}


def test_a_fault_in_a_sites_table_is_told_with_its_line(study: Study) -> None:
    with_tables(study, leon_toml=TABLE.replace('"E/l"', '"ug/L"'))
    ran = study.type("map", "show", "--site", "leon")

    assert ran.code == 2
    assert ran.err.splitlines() == [
        f"dm-fhir: the mapping table {study.config.parent / 'leon.toml'} has 1 fault:",
        "  - leon.toml, measurement row 1 (line 1), units.ug/L: ug/L is another kind of quantity than U/L",
    ]


def test_a_variable_that_no_row_has_is_told(study: Study) -> None:
    ran = study.type("map", "show", "--variable", "cdasi_activty")

    assert (ran.code, ran.out) == (2, "")
    assert ran.err == "dm-fhir: no row has the variable 'cdasi_activty'\n  did you mean 'cdasi_activity'?\n"


def test_as_fhir_it_is_one_bundle_or_a_file_each(study: Study) -> None:
    printed = study.type("map", "show", "--fhir").json
    ran = study.type("map", "show", "--fhir", "--output", "made/terminology")
    folder = study.config.parent / "made" / "terminology"
    files = {path.name: json.loads(path.read_text(encoding="utf-8")) for path in folder.iterdir()}

    assert (printed["resourceType"], printed["type"]) == ("Bundle", "collection")
    assert {one["resource"]["resourceType"] for one in printed["entry"]} == {
        "CodeSystem", "ValueSet", "ConceptMap", "StructureDefinition",
    }  # fmt: skip
    assert sorted(files) == sorted(
        f"{one['resource']['resourceType']}-{one['resource']['id']}.json" for one in printed["entry"]
    )
    assert list(files.values()) != []
    assert all(one["resource"] in files.values() for one in printed["entry"])
    assert ran.lines[-1] == f"map show: {len(files)} FHIR resources written to made/terminology; exit 0 (complete)"


def test_as_fhir_a_sites_codes_are_in_it(study: Study) -> None:
    with_tables(study, leon_toml=TABLE)
    ran = study.type("map", "show", "--fhir", "--site", "leon", "-o", "made", "--json").json
    path = study.config.parent / "made" / "ConceptMap-dm-fhir-measurement.json"

    assert "urn:leon:lab" in {group["source"] for group in json.loads(path.read_text(encoding="utf-8"))["group"]}
    assert str(path.relative_to(study.config.parent)) in ran["written"]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--output", "x"], "--output goes with --fhir"),
        (["--fhir", "--variable", "ck"], "--fhir is always whole: it takes neither --kind nor --variable"),
        (["--site", "nowhere"], "nowhere"),
    ],
)
def test_what_does_not_go_together_is_told(study: Study, arguments: list[str], told: str) -> None:
    ran = study.type("map", "show", *arguments)

    assert ran.code == 2
    assert told in ran.err


def test_a_folder_that_cannot_be_written_is_told(study: Study) -> None:
    (study.config.parent / "made").write_text("a file", encoding="utf-8")
    (study.config.parent / "made").chmod(0o600)
    ran = study.type("map", "show", "--fhir", "--output", "made/below")

    assert ran.code == 2
    assert "cannot be written: Not a directory" in ran.err


def test_the_schema_is_printed_as_it_is_published(study: Study) -> None:
    assert study.type("map", "schema").out == schema_text("mapping-table")
