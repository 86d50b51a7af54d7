"""A table for a real hospital's local codes (PhysioNet MIMIC-IV demo on FHIR): infusions, doses, diagnoses, and what stays unmapped.

What is expected is counted from the files with json alone.
"""

from __future__ import annotations

import gzip
import json
import shutil
import sqlite3
import sys
import tomllib
from collections import Counter
from contextlib import closing
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from dm_fhir.model.case import Administration, Case
from dm_fhir.model.document import decode

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.acceptance.conftest import Ran

pytestmark = pytest.mark.real_data
MIMIC = Path(__file__).parents[3] / "shared" / "data" / "mimic-iv-demo-fhir"
TABLE = Path(__file__).with_name("mimic.toml")
CONFIG = """
[study]
title = "Fentanyl at a hospital in Boston"
drug = "fentanyl"
timezone = "America/New_York"

[[site]]
name = "mimic"
tables = ["mimic.toml"]

[site.cohort]
by = "everybody"

[site.pull]
scope = "all"
"""
UNKNOWN = "no code that the tables know"
UNMAPPED = {
    "Observation": 4491, "MedicationAdministration": 4669, "MedicationRequest": 1811, "Condition": 424,
    "MedicationStatement": 77,
}  # fmt: skip
Json = dict[str, Any]
Code = tuple[str, str]


@pytest.fixture(scope="module")
def lines() -> list[Json]:
    """Every line of every file, read by nothing of ours."""
    files = sorted(MIMIC.glob("*.ndjson.gz"))
    return [json.loads(line, parse_float=Decimal, parse_int=Decimal) for path in files for line in gzip.open(path)]


@pytest.fixture(scope="module")
def known() -> dict[str, dict[Code, str]]:
    """The variable of every code in the hospital's table, by kind."""
    table = tomllib.loads(TABLE.read_text(encoding="utf-8"))
    return {
        kind: {(code["system"], code["code"]): row["variable"] for row in table[kind] for code in row["codes"]}
        for kind in ("medication", "condition", "method")
    }


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory, dm_fhir: Callable[..., Ran]) -> list[Case]:
    """What pull and compute make of every patient."""
    folder = tmp_path_factory.mktemp("mimic")
    shutil.copy(TABLE, folder)
    config = folder / "dm-fhir.toml"
    config.write_text(CONFIG, encoding="utf-8")
    assert dm_fhir("--config", str(config), "--quiet", "pull", "--from", str(MIMIC)).code == 0
    assert dm_fhir("--config", str(config), "--quiet", "compute").code == 0
    with closing(sqlite3.connect(folder / "dm-fhir.sqlite")) as db:
        return [decode(body, Case) for (body,) in db.execute("SELECT body FROM case_document")]


@pytest.fixture(scope="module")
def administrations(cases: list[Case]) -> dict[str, Administration]:
    """What was read of the study drug, by id."""
    return {one.source.reference.partition("/")[2]: one for case in cases for one in case.administrations}


def codes_of(resource: Json, medications: dict[str, Json]) -> list[Code]:
    """The codes of a record, or of the Medication that it refers to."""
    concept = resource.get("code") or resource.get("medicationCodeableConcept")
    if concept is None and "medicationReference" in resource:
        concept = medications[resource["medicationReference"]["reference"]].get("code")
    return [(coding["system"], coding["code"]) for coding in (concept or {}).get("coding", [])]


@pytest.fixture(scope="module")
def coded(lines: list[Json]) -> list[tuple[Json, list[Code]]]:
    """Every record that a case series may use, with its codes."""
    types = ("Condition", "Observation", "MedicationAdministration", "MedicationRequest", "MedicationStatement")
    medications = {f"Medication/{one['id']}": one for one in lines if one["resourceType"] == "Medication"}
    return [(one, codes_of(one, medications)) for one in lines if one["resourceType"] in types]


@pytest.fixture(scope="module")
def fentanyl(coded: list[tuple[Json, list[Code]]], known: dict[str, dict[Code, str]]) -> dict[str, Json]:
    """The hospital's records of fentanyl that was given, by id."""
    drug = {code for code, variable in known["medication"].items() if variable == "fentanyl"}
    given = (one for one, codes in coded if one["resourceType"] == "MedicationAdministration" and drug & set(codes))
    return {one["id"]: one for one in given}


def test_every_infusion_and_every_push_is_there(
    administrations: dict[str, Administration], fentanyl: dict[str, Json]
) -> None:
    infused = {id_ for id_, one in fentanyl.items() if "effectivePeriod" in one}

    assert administrations.keys() == fentanyl.keys()
    assert (len(fentanyl), len(infused)) == (345, 84)
    assert {id_ for id_, one in administrations.items() if one.during} == infused
    for id_, one in administrations.items():
        period = fentanyl[id_].get("effectivePeriod", {})
        assert (one.when, one.during and one.during.start, one.during and one.during.end) == (
            fentanyl[id_].get("effectiveDateTime"), period.get("start"), period.get("end"),
        )  # fmt: skip
    assert Counter(one.method_status for one in administrations.values()) == {"completed": 294, None: 51}


def test_every_dose_is_in_milligrams_to_its_last_digit(
    administrations: dict[str, Administration], fentanyl: dict[str, Json]
) -> None:
    mg = {"mg": Fraction(1), "mcg": Fraction(1, 1000)}
    units = Counter(one.get("dosage", {}).get("dose", {}).get("unit") for one in fentanyl.values())

    for id_, one in administrations.items():
        dose = fentanyl[id_].get("dosage", {}).get("dose", {})
        if dose.get("unit") in mg:
            assert one.dose_mg == Fraction(dose["value"]) * mg[dose["unit"]], id_
            assert one.flags == (), id_
        else:
            assert (one.dose_mg, one.flags) == (None, ("unit_incompatible",) if dose else ()), id_
    assert units == {"mcg": 208, "mg": 84, "% of current infusion rate": 2, None: 51}


def test_diagnoses_and_other_drugs_are_found_by_local_codes(cases: list[Case]) -> None:
    diagnoses = Counter(one.concept.variable for case in cases for one in case.conditions)
    therapies = Counter(one.medication.variable for case in cases for one in case.therapies)

    assert diagnoses == {"hypertension": 9, "dysphagia": 3, "alopecia": 1}
    assert therapies == {"fentanyl": 7, "prednisone": 5, "dexamethasone": 2, "hydroxychloroquine": 2}


def test_what_stays_unmapped_is_counted(
    cases: list[Case], coded: list[tuple[Json, list[Code]]], known: dict[str, dict[Code, str]]
) -> None:
    kinds = {"Condition": "condition", "Observation": "measurement"}
    unmapped: Counter[str] = Counter()
    codes_unmapped: Counter[tuple[str, Code]] = Counter()
    for one, codes in coded:
        kind = one["resourceType"]
        if not set(codes) & known.get(kinds.get(kind, "medication"), {}).keys():
            unmapped[kind] += 1
            codes_unmapped.update((kind, code) for code in set(codes))
    for (kind, (system, code)), count in codes_unmapped.most_common(25):
        sys.stdout.write(f"{count:5} {kind} {system.rpartition('/')[2]}|{code}\n")

    left_out: Counter[str] = Counter()
    for case in cases:
        left_out.update(case.left_out)
    # An administration of no drug at all is a finding, one of a drug that the shipped tables know is another drug.
    unresolved = sum(finding.code == "medication_unresolved" for case in cases for finding in case.findings)
    left_out[f"MedicationAdministration: {UNKNOWN}"] += left_out["MedicationAdministration: another drug"] + unresolved

    left_out[f"Observation: {UNKNOWN}"] += left_out[f"Observation: a panel of others, {UNKNOWN}"]

    assert {kind: left_out[f"{kind}: {UNKNOWN}"] for kind in unmapped} == unmapped == UNMAPPED
