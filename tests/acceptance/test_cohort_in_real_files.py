"""A cohort found in real files, and its records kept: against what a few lines of Python, which know nothing of ours, find there."""

import gzip
import json
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from ..conftest import REAL_DATA as DATA
from ..ran import Ran

pytestmark = pytest.mark.real_data
HEAD = '[study]\ntitle = "Real files"\ndrug = "{drug}"\n\n[[site]]\nname = "there"\ntables = ["t.toml"]\n[site.pull]\nscope = "all"\n'
CODES = "http://mimic.mit.edu/fhir/mimic/CodeSystem"
#: Where Medications are referred to (MIMIC), where they are not, and where patients are only named.
SENNA = f"""
[[medication]]
variable = "senna"
new = true
codes = [{{ system = "{CODES}/mimic-medication-formulary-drug-cd", code = "SENN187" }}]
"""
FOLDERS = (
    "mimic-iv-demo-fhir",
    "synthea-bulk-10-patients",
    "generated-clinosim",
    "generated-carebundle",
    "mii-testdata",
)
Json = dict[str, Any]


def resources_in(folder: str) -> Iterator[Json]:
    """Every resource of the folder that has a type and an id."""
    for path in sorted((DATA / folder).rglob("*")):
        name = path.name.removesuffix(".gz")
        if not path.is_file() or not name.endswith((".json", ".ndjson")):
            continue
        content = path.read_bytes()
        text = (gzip.decompress(content) if path.suffix == ".gz" else content).decode("utf-8-sig")
        documents = text.splitlines() if name.endswith(".ndjson") else [text]
        for document in (json.loads(one) for one in documents if one.strip()):
            found = (
                [entry["resource"] for entry in document.get("entry", [])]
                if document.get("resourceType") == "Bundle"
                else [document]
            )
            yield from (one for one in found if "resourceType" in one and "id" in one)


def patient_of(one: Json) -> str | None:
    """Whose it is, in files without Bundles."""
    if one["resourceType"] == "Patient":
        return f"Patient/{one['id']}"
    for name in ("subject", "patient"):
        reference = one.get(name)
        if isinstance(reference, dict) and reference.get("reference"):
            return "/".join(reference["reference"].split("/_history/")[0].split("/")[-2:])
    return None


def pulled(tmp_path: Path, dm_fhir: Callable[..., Ran], folder: str, cohort: str, drug: str, table: str = "") -> Json:
    """What a pull of the folder says."""
    (tmp_path / "dm-fhir.toml").write_text(HEAD.format(drug=drug) + cohort, encoding="utf-8")
    (tmp_path / "t.toml").write_text(table, encoding="utf-8")
    ran = dm_fhir("--config", str(tmp_path / "dm-fhir.toml"), "--quiet", "pull", "--json", "--from", str(DATA / folder))
    assert ran.code in (0, 3), ran.err
    return json.loads(ran.out)


def stored(tmp_path: Path) -> set[str]:
    with closing(sqlite3.connect(tmp_path / "dm-fhir.sqlite")) as db:
        return {f"{kind}/{id_}" for kind, id_ in db.execute("SELECT type, id FROM resource")}


def members(tmp_path: Path) -> set[str]:
    with closing(sqlite3.connect(tmp_path / "dm-fhir.sqlite")) as db:
        return {row[0] for row in db.execute("SELECT patient FROM cohort_member")}


def test_whoever_was_given_senna_in_boston(tmp_path: Path, dm_fhir: Callable[..., Ran]) -> None:
    everything = list(resources_in("mimic-iv-demo-fhir"))

    def is_senna(concept: Json) -> bool:
        return any(one.get("code") == "SENN187" for one in concept.get("coding", []))

    def ingredients(one: Json) -> list[Json]:
        return [part.get("itemCodeableConcept", {}) for part in one.get("ingredient", [])]

    drugs = {
        f"Medication/{one['id']}" for one in everything
        if one["resourceType"] == "Medication" and any(map(is_senna, (one.get("code", {}), *ingredients(one))))
    }  # fmt: skip
    given = {
        patient_of(one) for one in everything
        if one["resourceType"] == "MedicationAdministration"
        and (is_senna(one.get("medicationCodeableConcept", {})) or one.get("medicationReference", {}).get("reference") in drugs)
    }  # fmt: skip
    assert 0 < len(given) < 15

    told = pulled(tmp_path, dm_fhir, "mimic-iv-demo-fhir", "", "senna", SENNA)

    assert members(tmp_path) == given
    theirs = {f"{one['resourceType']}/{one['id']}" for one in everything if patient_of(one) in given}
    referred = {
        one["medicationReference"]["reference"] for one in everything
        if patient_of(one) in given and "reference" in one.get("medicationReference", {})
    }  # fmt: skip
    there = {f"Medication/{one['id']}" for one in everything if one["resourceType"] == "Medication"}
    assert stored(tmp_path) == theirs | (referred & there) | drugs
    assert told["read"] == dict(Counter(one["resourceType"] for one in everything))
    assert told["lines_read"] == len(everything)
    assert sum(told["kept"].values()) == len([one for one in everything if patient_of(one) in given])
    assert sum(told["kept"].values()) + sum(told["not_kept"].values()) == told["lines_read"]


@pytest.mark.parametrize("folder", FOLDERS)
def test_two_patients_of_each_folder_and_every_line_accounted_for(
    tmp_path: Path, dm_fhir: Callable[..., Ran], folder: str
) -> None:
    everything = list(resources_in(folder))
    names = sorted(one["id"] for one in everything if one["resourceType"] == "Patient")[:2]
    assert len(names) == 2
    (tmp_path / "list.txt").write_text("\n".join(names), encoding="utf-8")
    cohort = '[site.cohort]\nby = "patients"\npatients = "list.txt"\n'

    told = pulled(tmp_path, dm_fhir, folder, cohort, "anifrolumab")

    wanted = {f"Patient/{name}" for name in names}
    by_reference = {f"{one['resourceType']}/{one['id']}" for one in everything if patient_of(one) in wanted}
    assert members(tmp_path) == wanted
    assert by_reference <= stored(tmp_path)
    assert told["read"] == dict(Counter(one["resourceType"] for one in everything))
    kept, not_kept = sum(told["kept"].values()), told["not_kept"]
    assert kept + not_kept.get("not_in_cohort", 0) + not_kept.get("own_outcome", 0) == len(everything)
    assert kept > 2
