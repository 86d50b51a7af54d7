"""Every finding has a row that says what it means; every row has something that makes it; the page says the same."""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from dm_fhir.mappings.case import read_case
from dm_fhir.mappings.codes import load_tables
from dm_fhir.model.findings import KINDS, by_severity, documentation, finding, meaning_of

ROOT = Path(__file__).parents[2]
SOURCES = [path for folder in ("mappings", "cli", "src/dm_fhir") for path in sorted((ROOT / folder).rglob("*.py"))]
REGISTRY = ROOT / "src/dm_fhir/model/findings.py"
TABLES = load_tables()


def calls(path: Path) -> Iterator[tuple[str, ast.Call]]:
    """The calls in a module, with the last part of the name that is called."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func).rpartition(".")[2], node


def texts(node: ast.AST) -> set[str]:
    """The texts that an expression may come to."""
    return {one.value for one in ast.walk(node) if isinstance(one, ast.Constant) and isinstance(one.value, str)}


def named_codes() -> set[str]:
    """The codes that are named where a finding, or the reason of a result, is made."""
    found: set[str] = set()
    for path in SOURCES:
        for name, call in calls(path):
            if name in ("find", "finding") and call.args and isinstance(call.args[0], ast.Constant):
                found |= texts(call.args[0])  # bytes have a `find` too
            if name == "Result":
                found |= {text for one in call.keywords if one.arg == "reason" for text in texts(one.value)}
    return found


def test_every_code_that_is_named_has_a_row() -> None:
    assert "unreadable" in named_codes()
    assert "merge_unclear" in named_codes()
    assert "conflict" in named_codes()
    assert named_codes() - KINDS.keys() == set()


def test_every_row_has_something_that_makes_it() -> None:
    trees = [ast.parse(path.read_text(encoding="utf-8")) for path in SOURCES if path != REGISTRY]
    assert KINDS.keys() - set().union(*map(texts, trees)) == set()


def test_a_finding_is_made_in_one_place_only() -> None:
    makers = [path for path in SOURCES for name, _ in calls(path) if name == "Finding"]
    assert makers == [REGISTRY]


def test_a_code_without_a_row_makes_no_finding() -> None:
    with pytest.raises(KeyError):
        finding("no_such_code", "Observation/1")


def test_the_kind_decides_unless_what_was_done_is_more_exact() -> None:
    found = finding("zone_assumed", "Observation/1", "effective", done="read in Europe/Madrid")
    assert (found.severity, found.done, found.path) == ("information", "read in Europe/Madrid", "effective")
    assert finding("unit_missing", "Observation/1").done == KINDS["unit_missing"].done


def test_the_page_is_the_registry() -> None:
    assert (ROOT / "docs/findings.md").read_text(encoding="utf-8") == documentation()


def test_no_row_breaks_its_line_in_the_page() -> None:
    assert [code for code, kind in KINDS.items() if any("|" in text or "\n" in text or not text for text in kind)] == []


def test_the_gravest_come_first_and_a_later_version_s_code_is_shown_in_words() -> None:
    codes = ["zone_assumed", "of_tomorrow", "unreadable", "merge_unclear"]
    assert by_severity(codes) == ["unreadable", "merge_unclear", "of_tomorrow", "zone_assumed"]
    assert meaning_of("of_tomorrow") == "of tomorrow"


class Stored(msgspec.Struct):
    """A stored resource."""

    type: str
    id: str
    body: bytes
    version: str | None = "1"
    last_updated: str | None = None


VALUES: list[dict[str, Any]] = [
    {},
    {"valueString": "450 UI/L"},
    {"valueInteger": 12},
    {"valueBoolean": True},
    {"valueCodeableConcept": {"text": "positive"}},
    {"valueCodeableConcept": {"coding": [{"system": "urn:x", "code": "y"}]}},
    {"dataAbsentReason": {"text": "unknown"}},
    *({"valueQuantity": {"value": value} | unit} for value in (-5, 40, 80, 140, 99999999)
      for unit in ({}, {"unit": "U/L"}, {"unit": "furlong"}, {"code": "{score}", "system": "http://unitsofmeasure.org"})),
    {"valueQuantity": {"value": 90}, "referenceRange": [{"high": {"value": 80}}]},
]  # fmt: skip


@pytest.mark.parametrize(
    "variable",
    [
        name
        for (kind, name), row in TABLES.rows.items()
        if kind == "measurement" and row.codes and not (row.panel or row.excluded)
    ],
)
def test_whatever_a_value_is_its_finding_has_a_row(variable: str) -> None:
    (system, code), *_ = [(one.system, one.code) for one in TABLES.rows["measurement", variable].codes]
    concept = {"coding": [{"system": system, "code": code}]}
    records = [
        {"resourceType": "Observation", "id": str(number), "status": "final", "code": concept} | value
        for number, value in enumerate(VALUES)
    ]
    stored = [Stored("Observation", one["id"], msgspec.json.encode(one)) for one in records]
    case = read_case("Patient/1", "north", "Europe/Madrid", "anifrolumab", stored, TABLES, {})

    assert {(one.code, one.severity) for one in case.findings} <= {(c, k.severity) for c, k in KINDS.items()}
    assert "Observation/0" in {one.reference for one in case.findings}


def test_a_finding_about_a_part_names_the_part() -> None:
    score = {"coding": [{"system": "https://w3id.org/dm-fhir/CodeSystem/measurement", "code": "dlqi"}]}
    body = {"resourceType": "Observation", "status": "final", "code": {"text": "a form"}}
    body["component"] = [{"code": {"text": "other"}}, {"code": score, "valueString": "12"}]  # type: ignore[assignment]
    case = read_case(
        "Patient/1", "n", "UTC", "anifrolumab", [Stored("Observation", "1", msgspec.json.encode(body))], TABLES, {}
    )
    assert [(one.code, one.path) for one in case.findings] == [("value_is_string", "component[1].value")]
