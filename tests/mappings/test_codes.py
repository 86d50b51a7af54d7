"""The tables: what is shipped holds together, a site's table is laid over it, and every fault names its place."""

import tomllib
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from dm_fhir.errors import ConfigError
from dm_fhir.mappings.codes import KINDS, SHIPPED, Tables, load_tables
from dm_fhir.mappings.dose import dose_in_mg
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

    assert {key: row.variable for key, row in tables.by_code.items()} == meanings


@pytest.mark.parametrize(
    ("system", "code", "variable"),
    [
        (RXNORM, "2565286", "anifrolumab"),
        ("http://www.whocc.no/atc", "L04AG11", "anifrolumab"),
        ("urn:oid:2.16.840.1.113883.6.88", "2565286", "anifrolumab"),
        ("urn:oid:2.16.840.1.113883.6.73", "L04AX03", "methotrexate"),
        ("https://www.cms.gov/Medicare/Coding/HCPCSReleaseCodeSets", "J0491", "anifrolumab"),
        (RXNORM, "0", None),
        ("http://example.org/atc", "L04AG11", None),
        (None, "L04AG11", None),
    ],
)
def test_a_code_means_a_drug_by_its_system_under_every_name_of_it(
    system: str | None, code: str, variable: str | None
) -> None:
    assert load_tables().concept("medication", (Coding(system, code, "anifrolumab"),), "Saphnelo").variable == variable


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


MEASUREMENT = '[[measurement]]\nvariable = "ck"\n'
FAULTS = {
    "unknown key": (
        MEASUREMENT + 'unti = "U/L"',
        "one.toml",
        "measurement[0]: unknown key 'unti', did you mean 'unit'?",
    ),
    "unknown kind": ('[[measurements]]\nvariable = "ck"', "one.toml", "unknown key 'measurements'"),
    "decimal comma": (
        MEASUREMENT + 'units = { "U/L" = "1,5" }',
        "one.toml",
        "measurement[0].units.U/L: must be an exact",
    ),
    "factor 0": (
        MEASUREMENT + 'units = { "U/L" = "0" }',
        "one.toml",
        "measurement[0].units.U/L: the factor must not be 0",
    ),
    "factor 0.0": (
        MEASUREMENT + 'assumed_units = { "x" = "0.0" }',
        "one.toml",
        "measurement[0].assumed_units.x: the factor",
    ),
    "factor 1/0": (MEASUREMENT + 'units = { "U/L" = "1/0" }', "one.toml", "measurement[0].units.U/L: must be an exact"),
    "factor as number": (MEASUREMENT + 'units = { "U/L" = 1 }', "one.toml", "measurement[0].units.U/L: must be string"),
    "dose unit 0": ('[dose]\nunits = { "mcg" = "0" }', "one.toml", "dose.units.mcg: the factor must not be 0"),
    "vial of 0": (
        '[[medication]]\nvariable = "x"\ncodes = [{ system = "s", code = "c", dose_units = { "{vial}" = { mg = "0" } } }]',
        "one.toml",
        "medication[0].codes[0].dose_units.{vial}: the factor must not be 0",
    ),
    "no variable": ("[[measurement]]\nunit = 'U/L'", "one.toml", "measurement[0]: 'variable' is missing"),
    "two meanings in one file": (
        '[[medication]]\nvariable = "one"\ncodes = [{ system = "urn:x", code = "1" }]\n'
        '[[medication]]\nvariable = "two"\ncodes = [{ system = "urn:x", code = "1" }]',
        "one.toml",
        "medication: urn:x|1 means both 'one' and 'two'",
    ),
    "two meanings with the shipped": (
        f'[[measurement]]\nvariable = "mine"\ncodes = [{{ system = "{LOINC}", code = "2157-6" }}]',
        "one.toml",
        f"measurement: {LOINC}|2157-6 means both 'ck' and 'mine'",
    ),
    "two meanings through an alias": (
        '[[medication]]\nvariable = "mine"\ncodes = [{ system = "urn:oid:2.16.840.1.113883.6.88", code = "121191" }]',
        "one.toml",
        f"medication: {RXNORM}|121191 means both 'rituximab' and 'mine'",
    ),
    "not TOML": ("[[measurement]\n", "one.toml", "is not TOML"),
}


@pytest.mark.parametrize(("text", "file", "fault"), FAULTS.values(), ids=FAULTS)
def test_a_fault_names_file_and_row(load: Load, text: str, file: str, fault: str) -> None:
    with pytest.raises(ConfigError) as error:
        load(text)

    assert file in str(error.value)
    assert fault in str(error.value)
    assert error.value.exit_code == 2


def test_two_tables_of_a_site_that_contradict_each_other_are_both_named(load: Load) -> None:
    row = '[[medication]]\nvariable = "{}"\ncodes = [{{ system = "urn:x", code = "1" }}]'

    with pytest.raises(ConfigError, match=r"one\.toml.*two\.toml") as error:
        load(row.format("one"), row.format("two"))

    assert error.value.faults == ("medication: urn:x|1 means both 'one' and 'two'",)


def test_all_faults_of_a_table_are_listed_together(load: Load) -> None:
    with pytest.raises(ConfigError) as error:
        load(MEASUREMENT + 'unti = "U/L"\nunits = { "U/L" = "1,5" }')

    assert len(error.value.faults) == 2


def test_one_code_may_mean_a_diagnosis_and_an_adverse_event(load: Load) -> None:
    row = '[[{}]]\nvariable = "zoster"\ncodes = [{{ system = "urn:x", code = "1" }}]\n'
    tables = load(row.format("condition") + row.format("adverse_event"))

    assert tables.row("condition", [Coding("urn:x", "1")]) is not tables.row("adverse_event", [Coding("urn:x", "1")])


def test_a_table_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"missing\.toml cannot be read"):
        load_tables([tmp_path / "missing.toml"])


def test_a_table_in_another_encoding_is_named(tmp_path: Path) -> None:
    (tmp_path / "latin.toml").write_bytes("# León\n".encode("latin-1"))

    with pytest.raises(ConfigError, match=r"latin\.toml cannot be read"):
        load_tables([tmp_path / "latin.toml"])


def test_the_fingerprint_follows_the_tables(load: Load) -> None:
    one, other = '[[medication]]\nvariable = "x"', '[[medication]]\nvariable = "y"'
    found = [
        tables.fingerprint for tables in (load_tables(), load(one), load(other), load(one, other), load(other, one))
    ]

    assert len(set(found)) == len(found)
    assert load(one).fingerprint == found[1]
