"""A FHIR ConceptMap as a site's table: what means the same is taken, all else is told."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dm_fhir.errors import ConfigError
from dm_fhir.mappings.codes import OWN_SYSTEM, Tables, load_tables
from dm_fhir.mappings.concept_map import EQUIVALENCES
from dm_fhir.model.case import Coding

LAB, ATC, SNOMED = "urn:leon:lab", "http://www.whocc.no/atc", "http://snomed.info/sct"
Load = Callable[..., Tables]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    """The shipped tables with a ConceptMap of these groups over them, and with a TOML table first where one is given."""

    def build(*groups: dict[str, Any], toml: str | None = None, **elements: Any) -> Tables:
        document = {"resourceType": "ConceptMap", "status": "active", "group": list(groups), **elements}
        path = tmp_path / "leon.json"
        path.write_text(json.dumps(document), encoding="utf-8")
        if toml is None:
            return load_tables([path])
        (tmp_path / "leon.toml").write_text(toml, encoding="utf-8")
        return load_tables([tmp_path / "leon.toml", path])

    return build


def group(code: str, target: str | None, equivalence: str = "equivalent", *, to: str = OWN_SYSTEM) -> dict[str, Any]:
    """One code of the site's laboratory with one target."""
    targets = [{"code": target, "equivalence": equivalence} if target else {"equivalence": equivalence}]
    return {"source": LAB, "target": to, "element": [{"code": code, "display": "local", "target": targets}]}


def test_a_code_is_mapped_to_ours_and_keeps_the_units_of_the_variable(load: Load) -> None:
    tables = load(group("KREA", "ck"), url="https://example.org/leon", version="3")
    row = tables.row("measurement", [Coding(LAB, "KREA")])

    assert row is tables.rows["measurement", "ck"]
    assert (row.unit, row.units) == ("U/L", load_tables().rows["measurement", "ck"].units)
    origin = row.code_origins[LAB, "KREA"]
    assert (origin.origin, origin.source) == (
        "leon.json, group 1, element 1",
        "ConceptMap https://example.org/leon|3",
    )
    assert tables.remarks == ()


@pytest.mark.parametrize(
    ("target", "to", "kind", "variable"),
    [
        ("2157-6", "http://loinc.org", "measurement", "ck"),
        ("L04AG11", ATC, "medication", "anifrolumab"),
        ("L04AG11", "urn:oid:2.16.840.1.113883.6.73", "medication", "anifrolumab"),
        ("musculoskeletal-involvement", OWN_SYSTEM, "condition", "musculoskeletal_involvement"),
        ("4740000", SNOMED, "adverse_event", "ae_herpes_zoster"),
        ("positive", OWN_SYSTEM, "answer", "positive"),
    ],
)
def test_a_target_may_be_ours_or_any_code_that_the_tables_know(
    load: Load, target: str, to: str, kind: str, variable: str
) -> None:
    row = load(group("X", target, to=to)).row(kind, [Coding(LAB, "X")])

    assert row is not None
    assert row.variable == variable


def test_one_code_may_be_mapped_to_a_condition_and_an_event(load: Load) -> None:
    toml = f'[[condition]]\nvariable = "zoster"\nnew = true\ncodes = [{{ system = "{SNOMED}", code = "4740000" }}]'
    tables = load(group("X", "4740000", to=SNOMED), toml=toml)

    assert tables.concept("condition", (Coding(LAB, "X"),), None).variable == "zoster"
    assert tables.concept("adverse_event", (Coding(LAB, "X"),), None).variable == "ae_herpes_zoster"


@pytest.mark.parametrize("equivalence", EQUIVALENCES)
@pytest.mark.parametrize(("target", "kind"), [("ck", "measurement"), ("rituximab", "medication"), ("ild", "condition")])
def test_only_what_means_the_same_or_is_a_kind_of_it_is_taken(
    load: Load, equivalence: str, target: str, kind: str
) -> None:
    tables = load(group("X", target, equivalence))
    is_same = equivalence in ("equal", "equivalent")
    is_kind = equivalence in ("wider", "subsumes") and kind != "measurement"

    assert (tables.row(kind, [Coding(LAB, "X")]) is not None) == (is_same or is_kind)
    told = f"leon.json, group 1, element 1: {LAB}|X is not {target} itself (equivalence {equivalence}); not taken"
    assert tables.remarks == (() if is_same or is_kind else (told,))


def test_what_is_not_taken_is_told(load: Load) -> None:
    depending = group("A", "ck")
    depending["element"][0]["target"][0]["dependsOn"] = [{"property": "http://example.org/method", "value": "x"}]
    untouched = {"source": LAB, "target": OWN_SYSTEM, "element": [{"code": "B"}], "unmapped": {"mode": "provided"}}

    assert load(depending, untouched, group("C", None, "unmatched"), group("D", "1-8", to="http://loinc.org")).remarks == (
        f"leon.json, group 1, element 1: {LAB}|A has a target that depends on other elements; not taken",
        "leon.json, group 2: unmapped is not used: a code without a target has no meaning here",
        f"leon.json, group 2, element 1: {LAB}|B has no target",
        f"leon.json, group 3, element 1: {LAB}|C is unmatched; not taken",
        f"leon.json, group 4, element 1: {LAB}|D leads to http://loinc.org|1-8, which no row knows; not taken",
    )  # fmt: skip


def test_what_is_switched_off_stays_off(load: Load) -> None:
    tables = load(group("X", "ck"), toml='[[measurement]]\nvariable = "ck"\noff = true')

    assert ("measurement", "ck") not in tables.rows
    assert tables.remarks == (
        f"leon.json, group 1, element 1: {LAB}|X leads to {OWN_SYSTEM}|ck, which no row knows; not taken",
    )


FAULTS: dict[str, tuple[dict[str, Any], str]] = {
    "misspelt": (
        group("X", "cdasi-activty"),
        f"leon.json, group 1, element 1: {LAB}|X leads to 'cdasi-activty', which is no code of {OWN_SYSTEM}, "
        "did you mean 'cdasi-activity'?",
    ),
    "no source": (
        {k: v for k, v in group("X", "ck").items() if k != "source"},
        "leon.json, group 1: 'source' is missing, the code system",
    ),
    "no target": (
        {k: v for k, v in group("X", "ck").items() if k != "target"},
        "leon.json, group 1: 'target' is missing, the code system",
    ),
    "no code": (
        {"source": LAB, "target": OWN_SYSTEM, "element": [{"display": "CK"}]},
        "leon.json, group 1, element 1: 'code' is missing",
    ),
    "no target code": (group("X", None), "leon.json, group 1, element 1: the target's 'code' is missing"),
    "R5": (
        {"source": LAB, "target": OWN_SYSTEM, "element": [{"code": "X", "target": [{"code": "ck", "relationship": "equivalent"}]}]},
        f"leon.json, group 1, element 1: equivalence must be one of {', '.join(EQUIVALENCES)} (FHIR R4)",
    ),
    "two meanings": (
        {"source": LAB, "target": OWN_SYSTEM, "element": [
            {"code": "X", "target": [{"code": "ck", "equivalence": "equal"}, {"code": "ldh", "equivalence": "equal"}]}
        ]},
        f"leon.json, group 1, element 1: {LAB}|X means 'ldh' here, and 'ck' in leon.json, group 1, element 1",
    ),
    "a shipped code": (
        {"source": "http://loinc.org", "target": OWN_SYSTEM, "element": [
            {"code": "2157-6", "target": [{"code": "ldh", "equivalence": "equal"}]}
        ]},
        "leon.json, group 1, element 1: http://loinc.org|2157-6 means 'ldh' here, and 'ck' in "
        f"{load_tables().rows['measurement', 'ck'].code_origins['http://loinc.org', '2157-6'].origin}",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("one", "fault"), FAULTS.values(), ids=FAULTS)
def test_a_fault_names_file_group_and_element(load: Load, one: dict[str, Any], fault: str) -> None:
    with pytest.raises(ConfigError) as error:
        load(one)

    assert error.value.faults == (fault,)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("{", "leon.json is not a FHIR ConceptMap: Input data was truncated"),
        ('{"resourceType": "ValueSet"}', "leon.json is not a FHIR ConceptMap: Invalid value 'ValueSet' - at `$.resourceType`"),
        ('{"resourceType": "ConceptMap", "group": {}}', "leon.json is not a FHIR ConceptMap: Expected `array`, got `object` - at `$.group`"),
        ("[]", "leon.json is not a FHIR ConceptMap: Expected `object`, got `array`"),
    ],
)  # fmt: skip
def test_what_is_no_concept_map_is_told(tmp_path: Path, text: str, fault: str) -> None:
    path = tmp_path / "leon.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError) as error:
        load_tables([path])

    assert error.value.faults == (fault,)


def test_the_fingerprint_follows_the_map(load: Load) -> None:
    assert load(group("X", "ck")).fingerprint != load(group("X", "ldh")).fingerprint != load_tables().fingerprint


def test_each_fault_is_in_the_documentation_as_it_is_told(
    documented: dict[str, str], as_documented: Callable[[str], str]
) -> None:
    found = {what: said for what, said in documented.items() if said.startswith("leon.json")}

    assert found == {what: as_documented(said) for what, (_, said) in FAULTS.items()}
