"""Every fault of a site's tables is told with file, row and line, what was expected, and all of them together."""

from collections.abc import Callable
from pathlib import Path

import pytest

from dm_fhir.errors import ConfigError
from dm_fhir.mappings.codes import OWN_SYSTEM, load_tables
from dm_fhir.mappings.table_faults import against, judged
from dm_fhir.mappings.table_file import shipped

Faults = Callable[..., list[str]]
CK = '[[measurement]]\nvariable = "ck"\n'
RTX = '[[medication]]\nvariable = "rituximab"\n'
NUMBER = 'must be an exact number as text, such as "60", "0.5" or "1/60"'


@pytest.fixture
def faults(tmp_path: Path) -> Faults:
    """What is told of these tables, laid over the shipped ones as one.toml, two.toml, three.toml."""

    def told(*texts: str) -> list[str]:
        paths = [tmp_path / name for name in ("one.toml", "two.toml", "three.toml")[: len(texts)]]
        for path, text in zip(paths, texts, strict=True):
            path.write_text(text, encoding="utf-8")
        with pytest.raises(ConfigError) as error:
            load_tables(paths)
        assert error.value.exit_code == 2
        assert all(str(path) in str(error.value) for path in paths)
        return list(error.value.faults)

    return told


FAULTS = {
    "unknown key": (CK + 'unti = "U/L"', "one.toml, measurement row 1 (line 1): unknown key 'unti', did you mean 'unit'?"),
    "unknown kind": (
        '[[measurements]]\nvariable = "ck"',
        "one.toml: unknown key 'measurements', did you mean 'measurement'?",
    ),
    "no variable": ("[[measurement]]\nunit = 'U/L'", "one.toml, measurement row 1 (line 1): 'variable' is missing"),
    "not a list": ('measurement = "ck"', "one.toml: measurement: must be array, is text"),
    "unknown key of a code": (
        CK + 'codes = [\n{ system = "urn:x", code = "1" },\n{ system = "urn:x", code = "2", displai = "CK" },\n]',
        "one.toml, measurement row 1 (line 5), code 2: unknown key 'displai', did you mean 'display'?",
    ),
    "empty code": (
        CK + 'codes = [\n{ system = "urn:x", code = "" },\n]',
        "one.toml, measurement row 1 (line 4), code 1.code: must not be empty",
    ),
    "decimal comma": (CK + 'units = { "E/l" = "1,5" }', f"one.toml, measurement row 1 (line 1), units.E/l: {NUMBER}"),
    "factor 1/0": (CK + 'units = { "E/l" = "1/0" }', f"one.toml, measurement row 1 (line 1), units.E/l: {NUMBER}"),
    "factor as a word": (CK + 'units = { "E/l" = "one" }', f"one.toml, measurement row 1 (line 1), units.E/l: {NUMBER}"),
    "factor as number": (
        CK + 'units = { "E/l" = 1 }',
        "one.toml, measurement row 1 (line 1), units.E/l: must be string, is a number",
    ),
    "factor 0": (
        CK + 'units = { "E/l" = "0" }',
        "one.toml, measurement row 1 (line 1), units.E/l: the factor must not be 0, every value would be",
    ),
    "assumed factor 0.0": (
        CK + 'assumed_units = { "E/l" = "0.0" }',
        "one.toml, measurement row 1 (line 1), assumed_units.E/l: the factor must not be 0, every value would be",
    ),
    "vial of 0": (
        RTX + 'codes = [\n{ system = "s", code = "c", dose_units = { "{vial}" = { mg = "0" } } }]',
        "one.toml, medication row 1 (line 4), dose_units.{vial}.mg: the factor must not be 0, every value would be",
    ),
    "label dose of 0": (RTX + 'label_dose_mg = "0"', "one.toml, medication row 1 (line 1), label_dose_mg: must not be 0"),
    "dose unit 0": (
        '[dose]\nunits = { "mcg" = "0" }',
        "one.toml, dose.units.mcg: the factor must not be 0, every dose would be",
    ),
    "dose unit of another kind": (
        '[dose]\nunits = { "mL" = "1" }',
        "one.toml, dose.units.mL: mL is another kind of quantity than mg",
    ),
    "dose unit with a wrong factor": ('[dose]\nunits = { "kg" = "1000" }', "one.toml, dose.units.kg: 1 kg is 1000000 mg, not 1000"),
    "unit of another kind": (
        CK + 'units = { "ug/L" = "1" }',
        "one.toml, measurement row 1 (line 1), units.ug/L: ug/L is another kind of quantity than U/L",
    ),
    "assumed unit of another kind": (
        CK + 'assumed_units = { "mmol/L" = "1" }',
        "one.toml, measurement row 1 (line 1), assumed_units.mmol/L: mmol/L is another kind of quantity than U/L",
    ),
    "wrong factor": (
        CK + 'units = { "U/mL" = "1/1000" }',
        "one.toml, measurement row 1 (line 1), units.U/mL: 1 U/mL is 1000 U/L, not 1/1000",
    ),
    "range reversed": (
        CK + 'range = ["1000", "0"]',
        "one.toml, measurement row 1 (line 1), range: the lower end comes first, and 1000 is more than 0",
    ),
    "plausible reversed": (
        CK + 'plausible = ["2", "1.5"]',
        "one.toml, measurement row 1 (line 1), plausible: the lower end comes first, and 2 is more than 1.5",
    ),
    "range without ends": (
        CK + "range = []",
        "one.toml, measurement row 1 (line 1), range: needs at least 1 entry",
    ),
    "another unit": (
        CK + 'unit = "ukat/L"',
        "one.toml, measurement row 1 (line 1), unit: ck is reckoned in U/L; give the factor to it in units instead",
    ),
    "replaced without units": (
        CK + "replace = true",
        'one.toml, measurement row 1 (line 1), units: must hold the variable\'s own unit: "U/L" = "1"',
    ),
    "unit of an antibody": (
        '[[measurement]]\nvariable = "anti_jo1"\nunits = { "U/mL" = "1" }',
        "one.toml, measurement row 1 (line 1), units: anti_jo1 has no number, so it takes no unit",
    ),
    "new without unit": (
        '[[measurement]]\nvariable = "troponin"\nnew = true',
        "one.toml, measurement row 1 (line 1): a new measurement needs unit and units, or answers = true, or panel = true",
    ),
    "unknown measurement": (
        '[[measurement]]\nvariable = "cdasi_activty"',
        "one.toml, measurement row 1 (line 1): no table knows the measurement 'cdasi_activty', "
        "did you mean 'cdasi_activity'? a variable of your own says new = true",
    ),
    "unknown medication": (
        '[[medication]]\nvariable = "anifrolumap"\ncodes = [{ system = "urn:x", code = "1" }]',
        "one.toml, medication row 1 (line 1): no table knows the medication 'anifrolumap', "
        "did you mean 'anifrolumab'? a variable of your own says new = true",
    ),
    "nothing to switch off": (
        '[[adverse_event]]\nvariable = "zzz"\noff = true',
        "one.toml, adverse_event row 1 (line 1): no table knows the adverse event 'zzz'; "
        "a variable of your own says new = true",
    ),
    "not new": (
        RTX + "new = true",
        f"one.toml, medication row 1 (line 1): 'rituximab' is not new, "
        f"{load_tables().rows['medication', 'rituximab'].origin} has it; "
        "take new = true away to add to it, or give yours another name",
    ),
    "two meanings in one file": (
        '[[medication]]\nvariable = "one"\nnew = true\ncodes = [{ system = "urn:x", code = "1" }]\n'
        '[[medication]]\nvariable = "two"\nnew = true\ncodes = [{ system = "urn:x", code = "1" }]',
        "one.toml, medication row 2 (line 8): urn:x|1 means 'two' here, and 'one' in one.toml, medication row 1 (line 4)",
    ),
    "two meanings with the shipped": (
        RTX + 'codes = [\n{ system = "http://www.whocc.no/atc", code = "L04AX03" }]',
        "one.toml, medication row 1 (line 4): http://www.whocc.no/atc|L04AX03 means 'rituximab' here, and 'methotrexate' "
        f"in {load_tables().rows['medication', 'methotrexate'].code_origins['http://www.whocc.no/atc', 'L04AX03'].origin}",
    ),
    "two meanings through an alias": (
        RTX + 'codes = [{ system = "urn:oid:2.16.840.1.113883.6.73", code = "L04AX03" }]',
        "one.toml, medication row 1 (line 3): http://www.whocc.no/atc|L04AX03 means 'rituximab' here, and 'methotrexate' "
        f"in {load_tables().rows['medication', 'methotrexate'].code_origins['http://www.whocc.no/atc', 'L04AX03'].origin}",
    ),
    "two meanings of one product in two forms": (
        RTX + 'codes = [{ system = "http://hl7.org/fhir/sid/ndc", code = "0310304000" }]',
        "one.toml, medication row 1 (line 3): http://hl7.org/fhir/sid/ndc|0310304000 means 'rituximab' here, and "
        f"'anifrolumab' in {load_tables().rows['medication', 'anifrolumab'].code_origins['http://hl7.org/fhir/sid/ndc', '0310304000'].origin}",
    ),
    "another meaning of our own code": (
        f'[[measurement]]\nvariable = "ldh"\ncodes = [{{ system = "{OWN_SYSTEM}", code = "ck" }}]',
        f"one.toml, measurement row 1 (line 3): {OWN_SYSTEM}|ck means 'ldh' here, and 'ck' in "
        f"{load_tables().rows['measurement', 'ck'].origin}",
    ),
    "another meaning of a code system's other name": (
        '[aliases]\n"urn:oid:2.16.840.1.113883.6.88" = "urn:x"',
        "one.toml, aliases: urn:oid:2.16.840.1.113883.6.88 is urn:x here, and "
        "http://www.nlm.nih.gov/research/umls/rxnorm in medications.toml",
    ),
    "nested too deeply": ("x = " + "[" * 3000 + "]" * 3000, "one.toml is not TOML: it is nested too deeply"),
    "not TOML": (
        "[[measurement]\n",
        "one.toml is not TOML: Expected ']]' at the end of an array declaration (at line 1, column 14)",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("text", "fault"), FAULTS.values(), ids=FAULTS)
def test_a_fault_names_file_row_and_line(faults: Faults, text: str, fault: str) -> None:
    assert faults(text) == [fault]


def test_a_unit_that_the_shipped_tables_have_otherwise(faults: Faults) -> None:
    row = load_tables().rows["measurement", "ck"]

    assert faults(CK + 'assumed_units = { "UI/L" = "1" }\nunits = { "µkat/L" = "1/60" }') == [
        f"one.toml, measurement row 1 (line 1), units.µkat/L: the factor is 60 by {row.origin}, and 1/60 here"
    ]


def test_a_row_over_one_that_is_off_stands_alone(faults: Faults) -> None:
    assert faults(CK + "off = true", CK + 'codes = [{ system = "urn:x", code = "1" }]') == [
        'two.toml, measurement row 1 (line 1), units: must hold the variable\'s own unit: "U/L" = "1"'
    ]


def test_two_tables_of_a_site_that_contradict_each_other_are_both_named(faults: Faults) -> None:
    row = '[[medication]]\nvariable = "{}"\nnew = true\ncodes = [{{ system = "urn:x", code = "1" }}]'

    assert faults(row.format("one"), row.format("two")) == [
        "two.toml, medication row 1 (line 4): urn:x|1 means 'two' here, and 'one' in one.toml, medication row 1 (line 4)"
    ]


def test_two_tables_of_a_site_that_convert_differently_are_both_named(faults: Faults) -> None:
    told = faults(CK + 'units = { "E/l" = "1" }', CK + 'units = { "E/l" = "2" }')

    assert len(told) == 1
    assert told[0].startswith("two.toml, measurement row 1 (line 1), units.E/l: the factor is 1 by measurements.toml, ")
    assert told[0].endswith("; one.toml, measurement row 1 (line 1), and 2 here")


def test_all_faults_of_all_tables_are_told_together(faults: Faults) -> None:
    code = 'codes = [{ system = "http://www.whocc.no/atc", code = "L04AX03" }]'
    told = faults(
        CK + 'unti = "U/L"\nunits = { "U/L" = "1,5" }\n' + '[[measurement]]\nvariable = "dlqy"',
        "[[",
        RTX + code + "\n" + CK + 'range = ["3", "2"]',
    )

    assert [one.partition(":")[0].partition(" (")[0] for one in told] == [
        "two.toml is not TOML",
        "one.toml, measurement row 1",
        "one.toml, measurement row 1",
        "one.toml, measurement row 2",
        "three.toml, measurement row 1",
        "three.toml, medication row 1",
    ]


def test_a_row_with_a_fault_causes_no_second_one(faults: Faults) -> None:
    # The replacement that frees the code is itself at fault; once it is mended, nothing is said twice.
    text = (
        '[[medication]]\nvariable = "methotrexate"\nreplace = true\nlabel_dose_mg = "x"\n'
        + RTX
        + 'codes = [{ system = "http://www.whocc.no/atc", code = "L04AX03" }]'
    )

    assert faults(text) == [f"one.toml, medication row 1 (line 1), label_dose_mg: {NUMBER}"]


def test_a_table_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"missing\.toml cannot be read: No such file or directory"):
        load_tables([tmp_path / "missing.toml"])


def test_a_table_in_another_encoding_is_named(tmp_path: Path) -> None:
    (tmp_path / "latin.toml").write_bytes("# León\n".encode("latin-1"))

    with pytest.raises(ConfigError, match=r"latin\.toml cannot be read: it is not text in UTF-8"):
        load_tables([tmp_path / "latin.toml"])


@pytest.mark.parametrize("name", ["medications.toml", "measurements.toml", "conditions.toml", "adverse-events.toml"])
def test_the_shipped_tables_have_no_fault(name: str) -> None:
    """They are not checked when they are loaded, so they are here: by the rules that hold for a site's."""
    file = shipped(name)

    assert judged(file).faults == []
    assert list(judged(file).sound) == list(file.entries)
    new = [entry._replace(says={**entry.says, "new": True}) for entry in file.entries]
    assert [fault for entry in new for fault in against(entry, {}, ())] == []


def test_each_fault_is_in_the_documentation_as_it_is_told(
    documented: dict[str, str], as_documented: Callable[[str], str]
) -> None:
    found = {what: said for what, said in documented.items() if said.startswith("leon.toml")}

    assert found == {what: as_documented(said) for what, (_, said) in FAULTS.items()}
