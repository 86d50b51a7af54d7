"""The tables as FHIR: whole, without contradiction, and a profile that what we write conforms to."""

import json
import re
from collections import Counter
from collections.abc import Iterable
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pytest

from dm_fhir.demo.cohorts import dump_ndjson, four_patients, twenty_four_patients
from dm_fhir.mappings.case import read_case
from dm_fhir.mappings.category import category
from dm_fhir.mappings.codes import OWN_SYSTEM, load_tables, own_code
from dm_fhir.mappings.outcome_observation import as_entered_in_error, to_fhir
from dm_fhir.mappings.outcome_parts import ANSWER_SYSTEM
from dm_fhir.mappings.terminology import REASONS, bundle, resources
from dm_fhir.mappings.terminology import WRITTEN_ANSWERS as ANSWERS
from dm_fhir.model.case import Case, Coding, Input, Outcome, Source
from dm_fhir.outcomes import discontinuation, instruments
from dm_fhir.outcomes.battery import outcomes, variables
from dm_fhir.statistics import treatment

Json = dict[str, Any]
TABLES = load_tables()
ALL = resources(TABLES)
RESOURCES = {f"{one['resourceType']}-{one['id'].removeprefix('dm-fhir-')}": one for one in ALL}
PROFILE = RESOURCES["StructureDefinition-outcome-observation"]
CONCEPTS = {one["code"]: one for one in RESOURCES["CodeSystem-measurement"]["concept"]}
VALUE_SETS = {one["url"]: one for one in RESOURCES.values() if one["resourceType"] == "ValueSet"}


def test_every_variable_outcome_and_reason_has_one_code_of_ours() -> None:
    # A dose a day in prednisone may be recorded by a hospital, and is computed: one variable, one code.
    expected = {*(variable for _, variable in TABLES.rows), *variables()}

    codes = Counter(one["code"] for one in RESOURCES["CodeSystem-measurement"]["concept"])
    assert codes == Counter({*map(own_code, expected), *REASONS})
    assert RESOURCES["CodeSystem-measurement"]["count"] == len(CONCEPTS)
    assert RESOURCES["CodeSystem-measurement"]["url"] == OWN_SYSTEM
    assert all(one["display"] for one in CONCEPTS.values())
    assert CONCEPTS["ck"]["property"] == [
        {"code": "kind", "valueCode": "measurement"},
        {"code": "unit", "valueString": "U/L"},
    ]


def test_the_reasons_are_those_that_the_report_reads() -> None:
    stopped = {code for system, code in discontinuation.REASONS if system == OWN_SYSTEM}

    assert set(REASONS) == {*stopped, *treatment.INDICATIONS}


def test_the_sample_cohorts_use_no_other_code_of_ours() -> None:
    text = b"\n".join(dump_ndjson(site.resources) for site in (*four_patients(), *twenty_four_patients()))
    used = set(re.findall(rf'"system":"{re.escape(OWN_SYSTEM)}","code":"([^"]+)"', text.decode()))

    assert "cdasi-activity" in used
    assert used <= set(CONCEPTS)


def test_each_resource_is_named_once() -> None:
    assert len({one["url"] for one in ALL}) == len(RESOURCES) == len(ALL)
    assert len(bundle(ALL)["entry"]) == len(ALL)


def test_a_value_set_holds_what_is_read_and_not_what_is_left_out() -> None:
    found = {
        (part["system"], one["code"])
        for part in RESOURCES["ValueSet-measurement"]["compose"]["include"]
        for one in part["concept"]
    }

    assert {("http://loinc.org", "2157-6"), ("http://loinc.org", "2532-0"), (OWN_SYSTEM, "ck")} <= found
    assert not {("http://loinc.org", "13969-1"), (OWN_SYSTEM, "exclude-ck-mb")} & found


def test_our_concept_maps_read_as_a_sites_tables_say_what_the_tables_say(tmp_path: Path) -> None:
    paths = []
    for name, one in RESOURCES.items():
        if one["resourceType"] == "ConceptMap":
            paths.append(tmp_path / f"{name}.json")
            paths[-1].write_text(json.dumps(one), encoding="utf-8")
    tables = load_tables(paths)

    assert {key: row.variable for key, row in tables.by_code.items()} == {
        key: row.variable for key, row in TABLES.by_code.items()
    }
    assert tables.remarks == ()
    mapped = {
        (part["source"], one["code"])
        for name, found in RESOURCES.items() if name.startswith("ConceptMap")
        for part in found["group"] for one in part["element"]
    }  # fmt: skip
    assert mapped == {(system, code) for _, system, code in TABLES.by_code if system != OWN_SYSTEM}


def test_a_sites_codes_and_variables_are_in_its_resources(tmp_path: Path) -> None:
    path = tmp_path / "leon.toml"
    path.write_text(
        '[[measurement]]\nvariable = "troponin_t"\nnew = true\nunit = "ng/L"\nunits = { "ng/L" = "1" }\n'
        'codes = [{ system = "urn:leon:lab", code = "TNT", display = "Troponin T" }]',
        encoding="utf-8",
    )
    found = {f"{one['resourceType']}-{one['id']}": one for one in resources(load_tables([path]))}

    groups = {one["source"]: one["element"] for one in found["ConceptMap-dm-fhir-measurement"]["group"]}
    assert groups["urn:leon:lab"] == [
        {
            "code": "TNT",
            "display": "Troponin T",
            "target": [{"code": "troponin-t", "display": "troponin t", "equivalence": "equivalent"}],
        }
    ]
    assert "troponin-t" in {one["code"] for one in found["CodeSystem-dm-fhir-measurement"]["concept"]}


def test_a_variable_of_two_kinds_is_one_code(tmp_path: Path) -> None:
    path = tmp_path / "leon.toml"
    row = '[[{}]]\nvariable = "zoster"\nnew = true\n'
    path.write_text(row.format("condition") + row.format("adverse_event"), encoding="utf-8")
    concepts = [one for one in resources(load_tables([path]))[0]["concept"] if one["code"] == "zoster"]

    assert [one["property"] for one in concepts] == [
        [{"code": "kind", "valueCode": "condition"}, {"code": "kind", "valueCode": "adverse-event"}]
    ]


# What we write, against the profile that says what we write.


def faults(observation: Json) -> list[str]:
    """Where an Observation is not what the profile says; every constraint in it is looked at."""
    found = []
    for element in PROFILE["differential"]["element"]:
        path = element["path"].removeprefix("Observation").removeprefix(".")
        holders, name = _holders(observation, path)
        for holder in holders:
            values = _values(holder, name) if name else [holder]
            found += [f"{path} {rule}".strip() for rule in _broken(element, values)]
            found += [f"{path} type"] if not _choices(holder, name) <= _allowed(element) else []
    return found


def _holders(observation: Json, path: str) -> tuple[list[Json], str]:
    """The elements that hold the last name of the path, which counts within each of them."""
    *parents, name = path.split(".")
    holders = [observation]
    for parent in parents:
        holders = [value for holder in holders for value in _values(holder, parent)]
    return holders, name


def _values(holder: Json, name: str) -> list[Any]:
    if name.endswith("[x]"):
        return [value for key, value in holder.items() if key.startswith(name[:-3])]
    value = holder.get(name)
    return value if isinstance(value, list) else [] if value is None else [value]


def _choices(holder: Json, name: str) -> set[str]:
    """The elements that are there of one that can have several types."""
    return {key for key in holder if key.startswith(name[:-3])} if name.endswith("[x]") else set()


def _allowed(element: Json) -> set[str]:
    name = element["path"].rpartition(".")[2].removesuffix("[x]")
    return {f"{name}{one['code'][0].upper()}{one['code'][1:]}" for one in element.get("type", [])}


def _broken(element: Json, values: list[Any]) -> Iterable[str]:
    known = {
        "id", "path", "short", "min", "max", "fixedUri", "binding", "type", "constraint",
    }  # fmt: skip
    assert set(element) <= known, "the profile has a rule that is not looked at here"
    if len(values) < element.get("min", 0):
        yield "min"
    if "max" in element and len(values) > int(element["max"]):
        yield "max"
    if "fixedUri" in element and any(value != element["fixedUri"] for value in values):
        yield "fixed"
    if "binding" in element and not all(_bound(value, VALUE_SETS[element["binding"]["valueSet"]]) for value in values):
        yield "binding"
    references = [one for one in element.get("type", []) if one["code"] == "Reference"]
    if references and not all(any(_leads_to(value, one) for one in references) for value in values):
        yield "type"
    for rule in element.get("constraint", ()):
        if not all(map(CONSTRAINTS[rule["key"]], values)):
            yield rule["key"]


def _bound(value: Any, value_set: Json) -> bool:
    listed = {(part["system"], one["code"]) for part in value_set["compose"]["include"] for one in part["concept"]}
    if isinstance(value, str):
        return value in {code for _, code in listed}
    return any((one["system"], one["code"]) in listed for one in value["coding"])


def _leads_to(value: Json, type: Json) -> bool:
    kinds = tuple(f"{one.rpartition('/')[2]}/" for one in type["targetProfile"])
    return str(value.get("reference", "")).startswith(kinds)


CONSTRAINTS: dict[str, Any] = {
    "dmf-1": lambda one: bool(_values(one, "value[x]")) != ("dataAbsentReason" in one),
    "dmf-2": lambda one: (
        "valueQuantity" not in one
        or (
            one["valueQuantity"].get("system") == "http://unitsofmeasure.org" and bool(one["valueQuantity"].get("code"))
        )
    ),
    "dmf-4": lambda one: "valueCodeableConcept" not in one or _bound(one["valueCodeableConcept"], VALUE_SETS[ANSWERS]),
    "dmf-5": lambda one: bool(_values(one, "value[x]")) != ("dataAbsentReason" in one),
    "dmf-3": lambda one: "dataAbsentReason" not in one or bool(one.get("note")),
}


class Stored(msgspec.Struct):
    type: str
    id: str
    body: bytes
    version: str | None = "1"
    last_updated: str | None = None


def written() -> list[Json]:
    """Every outcome of a patient with all instruments, and of one with none, as they are written."""
    return [
        json.loads(to_fhir(one, "anifrolumab", case.id, ZoneInfo(case.timezone)).body, parse_float=Decimal)
        for case in (_case(scores=True), _case(scores=False))
        for one in outcomes(case, Fraction(300))
        if one.when is not None
    ]


def _case(*, scores: bool) -> Case:
    drug = {"coding": [{"system": "http://www.whocc.no/atc", "code": "L04AG11"}]}
    infusion = {
        "medicationCodeableConcept": drug,
        "status": "completed",
        "dosage": {"dose": {"value": 300, "unit": "mg"}},
    }
    found = [
        {"resourceType": "MedicationAdministration", "id": f"i{n}", "effectiveDateTime": f"2024-0{n}-01", **infusion}
        for n in (3, 4)
    ]
    own = {
        "cdasi-activity": "{score}",
        "mmt8-150": "{score}",
        "dlqi": "{score}",
        "ck": "U/L",
        "aldolase": "U/L",
        "skindex29-symptoms": "{score}",
        "fvc-percent-predicted": "%",
        "haq-di": "{score}",
    }
    own |= dict.fromkeys(("physician-global-vas", "patient-global-vas", "extramuscular-vas"), "mm")
    found += [
        {
            "resourceType": "Observation", "id": f"{code}-{month}", "status": "final",
            "code": {"coding": [{"system": OWN_SYSTEM, "code": code}]}, "effectiveDateTime": f"2024-{month}-01",
            "valueQuantity": {"value": value, "unit": unit}, "referenceRange": [{"high": {"value": 200, "unit": unit}}] if code != "aldolase" else [],
        }
        for code, unit in own.items() if scores
        for month, value in (("02", 0 if code == "dlqi" else 2 if code == "haq-di" else 21), ("05", 1 if code == "haq-di" else 7))
    ]  # fmt: skip
    records = [Stored(one["resourceType"], one["id"], msgspec.json.encode(one)) for one in found]
    return read_case("Patient/1", "north", "Europe/Madrid", "anifrolumab", records, TABLES, {})


WRITTEN = written()


def test_what_we_write_conforms_to_the_profile() -> None:
    codes = {one["code"]["coding"][0]["code"] for one in WRITTEN}

    assert {"cdasi-activity-percent-improvement", "ck-baseline", "infusion-dose-mg", "first-exposure"} <= codes
    assert {"ck-x-uln", "aldolase-x-uln-baseline", "skindex29-symptoms-improvement"} <= codes
    assert {"tis", "tis-category", "imacs-improvement", "imacs-worsening"} <= codes
    assert {key for one in WRITTEN for key in one if key.startswith(("value", "dataAbsent"))} == {
        "valueQuantity",
        "valueDateTime",
        "valueCodeableConcept",
        "dataAbsentReason",
    }
    assert {one["code"]["text"]: faults(one) for one in WRITTEN if faults(one)} == {}


def test_multiples_of_an_upper_limit_are_written_as_numbers_with_a_unit_and_the_missing_ones_with_their_reason() -> (
    None
):
    found = {
        one["code"]["coding"][0]["code"]: one for one in WRITTEN if one["code"]["coding"][0]["code"].endswith("-x-uln")
    }

    assert found["ck-x-uln"]["valueQuantity"] == {
        "value": Decimal("0.035"), "unit": "{ULN}", "system": "http://unitsofmeasure.org", "code": "{ULN}",
    }  # fmt: skip
    assert found["aldolase-x-uln"]["note"] == [{"text": "not computable: uln_missing"}]


def test_what_is_written_of_an_instrument_says_whether_it_was_examined_asked_or_measured() -> None:
    found = {name: category(name) for name in instruments.variables()}

    assert [name for name, code in found.items() if code is None] == []
    expected = {
        "ck_x_uln": "laboratory", "cdasi_damage_improvement": "exam", "cdlqi_baseline": "survey", "cat_activity_baseline": "exam",
        "physician_global_vas_baseline": "exam", "patient_global_vas_baseline": "survey", "fvc_l_baseline": "procedure",
        "chaq_baseline": "survey", "chq_phs_baseline": "survey", "alt_improvement": "laboratory",
    }  # fmt: skip
    assert {name: found[name] for name in expected} == expected
    assert category("catheter") is None


def test_what_we_take_back_conforms_to_the_profile() -> None:
    for one in WRITTEN:
        taken_back = json.loads(as_entered_in_error(json.dumps(one, default=float).encode()))

        assert taken_back["status"] == "entered-in-error"
        assert faults(taken_back) == []


PART = {"coding": [{"system": "https://w3id.org/dm-fhir/CodeSystem/part", "code": "ck-points"}]}
ONE = next(one for one in WRITTEN if "valueQuantity" in one and "derivedFrom" in one)


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({"identifier": []}, "identifier min"),
        ({"identifier": ONE["identifier"] * 2}, "identifier max"),
        ({"identifier": [{"system": "urn:x", "value": "1"}]}, "identifier.system fixed"),
        ({"identifier": [{"system": ONE["identifier"][0]["system"]}]}, "identifier.value min"),
        ({"status": "preliminary"}, "status binding"),
        ({"category": []}, "category min"),
        ({"code": {"coding": [{"system": "http://loinc.org", "code": "2157-6"}], "text": "x"}}, "code binding"),
        ({"code": {"coding": ONE["code"]["coding"]}}, "code.text min"),
        ({"subject": {"reference": "Group/1"}}, "subject type"),
        ({"effectiveDateTime": None}, "effective[x] min"),
        ({"dataAbsentReason": {}, "note": [{"text": "x"}]}, "dmf-1"),
        ({"valueQuantity": None}, "dmf-1"),
        ({"valueQuantity": {"value": 1, "unit": "points"}}, "dmf-2"),
        ({"valueQuantity": None, "dataAbsentReason": {}}, "dmf-3"),
        ({"valueQuantity": None, "valueString": "7"}, "value[x] type"),
        ({"valueQuantity": None, "valueCodeableConcept": {"coding": [{"system": ANSWER_SYSTEM, "code": "perhaps"}]}}, "dmf-4"),
        ({"method": None}, "method min"),
        ({"method": {}}, "method.text min"),
        ({"derivedFrom": [{"reference": "Condition/1"}]}, "derivedFrom type"),
        ({"contained": []}, "contained min"),
        ({"device": None}, "device min"),
        ({"interpretation": [{"coding": [{"system": "urn:x", "code": "H"}]}]}, "interpretation binding"),
        ({"component": [{"code": PART, "valueQuantity": {}, "dataAbsentReason": {}}]}, "component dmf-5"),
        ({"component": [{"code": PART}]}, "component dmf-5"),
        ({"component": [{"code": {"coding": [{"system": OWN_SYSTEM, "code": "ck"}]}, "valueString": "x"}]}, "component.code binding"),
        ({"component": [{"code": PART, "valueBoolean": True}]}, "component.value[x] type"),
    ],
)  # fmt: skip
def test_what_is_otherwise_does_not_conform(change: Json, rule: str) -> None:
    changed = {key: value for key, value in {**ONE, **change}.items() if value is not None}
    assert faults(changed) == [rule]


def test_an_outcome_that_the_value_set_does_not_know_does_not_conform() -> None:
    outcome = Outcome("surprise", "R-X", "1", when="2024-01-01", inputs=(Input("x", Source("north", "Observation/1")),))
    body = to_fhir(outcome, "anifrolumab", "Patient/1", ZoneInfo("Europe/Madrid")).body

    assert "code binding" in faults(json.loads(body))
    assert TABLES.row("measurement", [Coding(OWN_SYSTEM, "surprise")]) is None
