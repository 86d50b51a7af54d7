"""The tables: what is shipped holds together, a site's table is laid over it, and every fault names its place."""

import subprocess
import sys
import tomllib
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from dm_fhir.mappings.codes import (
    KINDS,
    OWN_SYSTEM,
    SHIPPED,
    CodeOrigin,
    Tables,
    load_tables,
    meanings_of,
    own_code,
)
from dm_fhir.mappings.dose import dose_in_mg
from dm_fhir.mappings.rows import ndc_forms
from dm_fhir.model.case import Coding, Concept, Quantity

LOINC, RXNORM = "http://loinc.org", "http://www.nlm.nih.gov/research/umls/rxnorm"
Load = Callable[..., Tables]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    """The shipped tables with these texts over them, as one.toml, two.toml."""

    def build(*texts: str) -> Tables:
        paths = [tmp_path / name for name in ("one.toml", "two.toml")[: len(texts)]]
        for path, text in zip(paths, texts, strict=True):
            path.write_text(text, encoding="utf-8")
        return load_tables(paths)

    return build


def shipped_codes() -> list[tuple[str, str, dict[str, Any]]]:
    found = []
    for name in SHIPPED:
        document = tomllib.loads((files("dm_fhir.mappings") / "tables" / name).read_text(encoding="utf-8"))
        rows = [(kind, row) for kind in KINDS for row in document.get(kind, [])]
        found += [(kind, row["variable"], code) for kind, row in rows for code in row.get("codes", [])]
    return found


def test_every_shipped_code_says_what_it_is_and_who_says_so() -> None:
    bare = [
        (variable, code) for _, variable, code in shipped_codes() if not (code.get("display") and code.get("source"))
    ]

    assert bare == []
    assert len(shipped_codes()) > 150


def test_no_shipped_code_has_two_meanings() -> None:
    tables, meanings = load_tables(), {}
    for kind, variable, code in shipped_codes():
        key = (kind, tables.system(code["system"]), code["code"])
        assert meanings.setdefault(key, variable) == variable

    assert {key: tables.by_code[key].variable for key in meanings} == meanings
    assert meanings_of(tables.rows.values()).contradictions == []


def test_the_tables_hold_what_the_list_beside_this_test_says() -> None:
    """So that no code comes, goes or changes its meaning unseen: who means it changes the list too."""
    listed = (Path(__file__).parent / "shipped_codes.txt").read_text(encoding="utf-8").splitlines()
    found = sorted(f"{kind} {variable} {code['system']}|{code['code']}" for kind, variable, code in shipped_codes())

    assert found == listed


def test_discouraged_and_superseded_codes_are_read_and_never_written() -> None:
    tables = load_tables()
    ldh, drug = tables.rows["measurement", "ldh"], tables.rows["medication", "rituximab"]

    assert tables.row("measurement", [Coding(LOINC, "2532-0")]) is ldh
    assert [code.code for code in ldh.codes_to_write] == ["14804-9", "14805-6"]
    assert tables.row("medication", [Coding("http://www.whocc.no/atc", "L01XC02")]) is drug
    assert [code.code for code in drug.codes_to_write] == ["121191", "L01FA01"]


def test_every_row_that_is_not_left_out_has_a_code_to_write() -> None:
    rows = load_tables().rows.values()

    assert [row.variable for row in rows if not row.codes_to_write and not row.excluded] == ["mmt8"]


def test_every_variable_is_known_by_its_own_code() -> None:
    tables = load_tables()

    for (kind, variable), row in tables.rows.items():
        assert tables.row(kind, [Coding(OWN_SYSTEM, own_code(variable))]) is row


@pytest.mark.parametrize("code", ["0310-3040-00", "00310-3040-00", "00310304000", "0310304000"])
def test_a_national_drug_code_is_known_in_each_of_its_forms(code: str) -> None:
    tables, coding = load_tables(), Coding("http://hl7.org/fhir/sid/ndc", code)
    row = tables.row("medication", [coding])

    assert row is not None
    assert row.variable == "anifrolumab"
    assert tables.dose_units(row, [coding])["{vial}"].mg == 300
    assert (coding.system, code) in tables.under_every_name(row.codes)


@pytest.mark.parametrize(
    ("written", "forms"),
    [
        ("0310-3040-00", ["0310-3040-00", "00310-3040-00", "00310304000", "0310304000"]),
        ("50090-347-0", ["50090-347-0", "50090-0347-00", "50090034700", "500903470"]),
        ("00310304000", ["00310304000", "00310-3040-00"]),
        ("0310304000", ["0310304000"]),
        ("saphnelo", ["saphnelo"]),
    ],
)
def test_the_forms_of_a_national_drug_code(written: str, forms: list[str]) -> None:
    assert list(ndc_forms(written)) == forms


def test_a_row_and_each_of_its_codes_name_the_place_where_they_are_written(load: Load) -> None:
    tables = load(
        """# leading words

        [[measurement]]
        variable = "ck"
        codes = [
          { system = "urn:leon:lab", code = "CK" },
          { system = "urn:leon:lab", code = "CK2", source = "the laboratory" },
        ]
        [[medication]]
        variable = "rituximab"
        codes = [{ code = "RTX", system = "urn:leon:drugs" }]
        """
    )
    ck, drug = tables.rows["measurement", "ck"], tables.rows["medication", "rituximab"]
    shipped_text = (files("dm_fhir.mappings") / "tables" / "measurements.toml").read_text(encoding="utf-8")
    line = next(at for at, text in enumerate(shipped_text.splitlines(), 1) if '"2157-6"' in text)

    assert ck.origin.startswith("measurements.toml, measurement row ")
    assert ck.origin.endswith("; one.toml, measurement row 1 (line 3)")
    assert tables.origin(ck, [Coding("urn:x", "?"), Coding("urn:leon:lab", "CK2")]) == CodeOrigin(
        "one.toml, measurement row 1 (line 7)", "the laboratory"
    )
    assert tables.origin(ck, [Coding(OWN_SYSTEM, "ck")]) == CodeOrigin(ck.origin)
    assert tables.origin(ck, [Coding("urn:x", "?")]) is None
    assert ck.code_origins[LOINC, "2157-6"].origin.endswith(f"(line {line})")
    assert drug.code_origins["urn:leon:drugs", "RTX"].origin == "one.toml, medication row 1 (line 11)"


def test_where_lines_cannot_be_told_none_is_given(load: Load) -> None:
    tables = load(
        '''
        medication = [{ variable = "rituximab", codes = [{ system = "urn:x", code = "1" }] }]
        aliases.x = """
        [[medication]]
        [[medication]]
        """
        '''
    )

    assert tables.rows["medication", "rituximab"].code_origins["urn:x", "1"].origin == "one.toml, medication row 1"


@pytest.mark.parametrize(
    ("system", "code", "variable"),
    [
        (RXNORM, "2565286", "anifrolumab"),
        ("http://www.whocc.no/atc", "L04AG11", "anifrolumab"),
        ("urn:oid:2.16.840.1.113883.6.88", "2565286", "anifrolumab"),
        ("urn:oid:2.16.840.1.113883.6.73", "L04AX03", "methotrexate"),
        ("https://www.cms.gov/Medicare/Coding/HCPCSReleaseCodeSets", "J0491", "anifrolumab"),
        ("urn:oid:2.16.840.1.113883.6.285", "J0491", "anifrolumab"),
        ("http://fhir.de/CodeSystem/bfarm/atc", "L04AG11", None),
        (RXNORM, "0", None),
        ("http://example.org/atc", "L04AG11", None),
        (None, "L04AG11", None),
    ],
)
def test_a_code_means_a_drug_by_its_system_under_every_name_of_it(
    system: str | None, code: str, variable: str | None
) -> None:
    assert load_tables().concept("medication", (Coding(system, code, "anifrolumab"),), "Saphnelo").variable == variable


def test_meddra_goes_by_two_names() -> None:
    for system in ("https://www.meddra.org", "http://terminology.hl7.org/CodeSystem/mdr"):
        assert load_tables().concept("adverse_event", (Coding(system, "10011224"),), None).variable == "ae_cough"


def test_an_alias_may_lead_to_another(load: Load) -> None:
    tables = load('[aliases]\n"urn:leon:atc" = "urn:oid:2.16.840.1.113883.6.73"\n"urn:a" = "urn:b"\n"urn:b" = "urn:a"')

    assert tables.concept("medication", (Coding("urn:leon:atc", "L04AX03"),), None).variable == "methotrexate"


def test_the_first_code_that_is_known_decides() -> None:
    codings = (Coding("urn:local", "1"), Coding(LOINC, "2157-6"))

    assert load_tables().concept("measurement", codings, None) == Concept(codings, None, "ck")


def test_a_site_adds_codes_and_units(load: Load) -> None:
    row = load(
        """
        [[measurement]]
        variable = "ck"
        codes = [{ system = "urn:leon:lab", code = "CK" }]
        units = { "U/mL" = "1000" }
        """
    ).rows["measurement", "ck"]

    assert {(code.system, code.code) for code in row.codes} >= {("urn:leon:lab", "CK"), (LOINC, "2157-6")}
    assert (row.units["U/mL"], row.units["ukat/L"], row.units["nkat/L"]) == (1000, 60, Fraction(3, 50))
    assert row.plausible == (1, 200_000)


def test_a_site_adds_a_code_that_is_then_known(load: Load) -> None:
    tables = load('[[measurement]]\nvariable = "ck"\ncodes = [{ system = "urn:leon:lab", code = "CK" }]')

    assert tables.concept("measurement", (Coding("urn:leon:lab", "CK"),), None).variable == "ck"


def test_a_site_replaces_a_row(load: Load) -> None:
    tables = load(
        """
        [[measurement]]
        variable = "ck"
        replace = true
        codes = [{ system = "urn:leon:lab", code = "CK" }]
        unit = "U/L"
        units = { "U/L" = "1" }
        """
    )

    assert tables.row("measurement", [Coding(LOINC, "2157-6")]) is None
    assert tables.rows["measurement", "ck"].units == {"U/L": 1}


def test_a_row_that_is_replaced_stays_what_the_rules_count_on(load: Load) -> None:
    rows = load(
        """
        [[measurement]]
        variable = "ck"
        replace = true
        units = { "U/L" = "1" }
        [[measurement]]
        variable = "anti_jo1"
        replace = true
        [[measurement]]
        variable = "haq_panel"
        replace = true
        """
    ).rows

    assert (rows["measurement", "ck"].unit, rows["measurement", "ck"].plausible) == ("U/L", None)
    assert rows["measurement", "anti_jo1"].answers
    assert rows["measurement", "haq_panel"].panel


def test_a_site_switches_a_row_off(load: Load) -> None:
    tables = load('[[medication]]\nvariable = "rituximab"\noff = true')

    assert ("medication", "rituximab") not in tables.rows
    assert tables.row("medication", [Coding(RXNORM, "121191")]) is None
    assert tables.row("medication", [Coding(RXNORM, "2565286")]) is not None


def test_a_later_table_is_laid_over_an_earlier_one(load: Load) -> None:
    off = '[[medication]]\nvariable = "rituximab"\noff = true'
    on = '[[medication]]\nvariable = "rituximab"\ncodes = [{ system = "urn:leon", code = "RTX" }]'

    assert ("medication", "rituximab") not in load(on, off).rows
    assert load(off, on).row("medication", [Coding("urn:leon", "RTX")]) is not None


def test_a_product_is_found_under_every_name_of_its_code_system(load: Load) -> None:
    text = """
        [aliases]
        "urn:leon:drugs" = "https://example.org/drugs"
        [[medication]]
        variable = "anifrolumab"
        label_dose_mg = "600/2"
        codes = [{ system = "urn:leon:drugs", code = "SYR", dose_units = { "{syringe}" = { mg = "120" } } }]
        """
    tables = load(text)

    assert tables.rows["medication", "anifrolumab"].label_dose_mg == 300
    for system in ("urn:leon:drugs", "https://example.org/drugs"):
        drug = Concept((Coding(system, "SYR"),))
        assert dose_in_mg(Quantity(value=Decimal(2), unit="{syringe}"), drug, tables) == (240, ())


def test_one_code_may_mean_a_diagnosis_and_an_adverse_event(load: Load) -> None:
    row = '[[{}]]\nvariable = "zoster"\nnew = true\ncodes = [{{ system = "urn:x", code = "1" }}]\n'
    tables = load(row.format("condition") + row.format("adverse_event"))

    assert tables.row("condition", [Coding("urn:x", "1")]) is not tables.row("adverse_event", [Coding("urn:x", "1")])


def test_the_fingerprint_follows_the_tables(load: Load) -> None:
    one, other = '[[medication]]\nvariable = "x"\nnew = true', '[[medication]]\nvariable = "y"\nnew = true'
    found = [
        tables.fingerprint for tables in (load_tables(), load(one), load(other), load(one, other), load(other, one))
    ]

    assert len(set(found)) == len(found)
    assert load(one).fingerprint == found[1]


def test_without_a_site_table_nothing_is_checked_at_start() -> None:
    program = (
        "import sys; from dm_fhir.mappings.codes import load_tables; load_tables(); print('jsonschema' in sys.modules)"
    )

    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True).stdout == "False\n"


def test_the_tables_in_the_documentation_are_sound(tmp_path: Path) -> None:
    text = (Path(__file__).parents[2] / "docs" / "mapping.md").read_text(encoding="utf-8")
    paths = []
    for language, suffix in (("toml", ".toml"), ("json", ".json")):
        paths.append(tmp_path / f"example{suffix}")
        paths[-1].write_text(text.split(f"```{language}\n")[1].split("```")[0], encoding="utf-8")

    for path in paths:
        tables = load_tables([path])
        assert tables.row("measurement", [Coding("urn:example:lab", "CK37")]) is tables.rows["measurement", "ck"]
        assert tables.remarks == ()
