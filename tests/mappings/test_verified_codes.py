"""Every code that was verified is shipped with its source, and none that was not."""

import csv
import gzip
from fractions import Fraction
from pathlib import Path
from xml.etree import ElementTree

import pytest

from dm_fhir.mappings.codes import OWN_SYSTEM, Row, load_tables
from dm_fhir.mappings.ucum import ratio

pytestmark = pytest.mark.real_data
SHARED = Path(__file__).parents[3] / "shared"
VERIFIED_CODES, UCUM = SHARED / "clinical" / "codes.csv", SHARED / "data" / "terminology" / "ucum-essence.xml.gz"
TABLES = load_tables()
LISTED = list(csv.DictReader(VERIFIED_CODES.read_text(encoding="utf-8").splitlines()))
VERIFIED = [one for one in LISTED if one["verified"] == "yes"]


def rows_of(one: dict[str, str]) -> list[Row]:
    """The rows that hold the code as the list has it; its variable is a row's, or a whole kind of rows."""
    key = (one["system"], one["code"])
    rows = [row for row in TABLES.rows.values() if key in row.code_origins]
    return [row for row in rows if one["variable"] in (row.variable, row.kind)]


def test_the_list_has_verified_and_unverified_codes() -> None:
    assert len(VERIFIED) > 300
    assert len(LISTED) > len(VERIFIED)


@pytest.mark.parametrize("one", VERIFIED, ids=lambda one: f"{one['variable']}-{one['code']}")
def test_a_verified_code_is_shipped_with_its_source(one: dict[str, str]) -> None:
    (row,) = rows_of(one)
    origin = row.code_origins[one["system"], one["code"]]
    display = {code.code: code.display for code in row.codes if code.system == one["system"]}[one["code"]]

    assert (origin.source, display) == (one["source"], one["display"])
    is_old = "superseded" in one["source"] or "deleted" in one["display"]
    assert origin.status == ("discouraged" if "DISCOURAGED" in one["source"] else "superseded" if is_old else None)


def test_no_unverified_code_is_shipped() -> None:
    shipped = {(system, code) for _, system, code in TABLES.by_code}

    assert [one["code"] for one in LISTED if one["verified"] != "yes" and (one["system"], one["code"]) in shipped] == []


def test_whatever_else_is_shipped_is_ours_or_says_who_says_so() -> None:
    listed = {(one["system"], one["code"]) for one in LISTED}
    others = [
        (key, origin.source)
        for row in TABLES.rows.values()
        for key, origin in row.code_origins.items()
        if key not in listed and key[0] != OWN_SYSTEM
    ]

    assert {source for _, source in others} == {
        "SNOMED CT qualifier value",
        "HL7 v3 ObservationInterpretation",
        "ndclist.com",  # the forms of a National Drug Code that were made from the one listed
        # routes, habits and judgements
        "HL7 FHIR R4 examples", "HL7 FHIR R4 CodeSystem", "HL7 FHIR R4 ValueSet timing-abbreviation",
        "HL7 FHIR validator test cases", "HL7 Terminology ValueSet adverse-event-clinical-research-grades",
        "HL7 ae-research-backport", "DICOM CID 11; OncoFAIR implementation guide", "OncoFAIR implementation guide",
        "MII Kerndatensatz Medikation", "MII test data", "PyPI clinosim 0.6.5",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("unit", "other"),
    [("kat", "umol/s"), ("U", "umol/min"), ("ukat/L", "U/L"), ("L", "mL"), ("min", "s"), ("h", "min"), ("d", "h"), ("wk", "d"), ("%", "%")],
)  # fmt: skip
def test_units_are_what_ucum_says_they_are(unit: str, other: str) -> None:
    """Held against ucum-essence.xml, each unit followed down to base units."""
    text = gzip.decompress(UCUM.read_bytes())
    essence = ElementTree.fromstring(text)  # noqa: S314  # a file of UCUM's own

    assert ratio(unit, other) == _size(unit, essence) / _size(other, essence)


def _size(unit: str, essence: ElementTree.Element) -> Fraction:
    """The unit in base units, by the definitions of UCUM itself."""
    numerator, _, denominator = unit.partition("/")
    return _atom(numerator, essence) / (_size(denominator, essence) if denominator else 1)


def _atom(text: str, essence: ElementTree.Element) -> Fraction:
    space = essence.tag.removesuffix("root")
    if not text or text == "1":
        return Fraction(1)
    if text.startswith("10*"):
        return Fraction(10) ** int(text[3:])
    letters = text.rstrip("0123456789") or text
    exponent = int(text[len(letters) :] or 1)
    for part in essence.findall(f"{space}base-unit"):
        if part.get("Code") == letters:
            return Fraction(1)
    for part in essence.findall(f"{space}unit"):
        if part.get("Code") == letters:
            value = part.find(f"{space}value")
            assert value is not None
            inner = Fraction(1)
            for term in value.attrib["Unit"].split("."):
                inner *= _size(term, essence)
            return (Fraction(value.attrib["value"]) * inner) ** exponent
    prefix = next(one for one in essence.findall(f"{space}prefix") if one.get("Code") == letters[0])
    size = prefix.find(f"{space}value")
    assert size is not None
    return (Fraction(size.attrib["value"]) * _atom(letters[1:], essence)) ** exponent
