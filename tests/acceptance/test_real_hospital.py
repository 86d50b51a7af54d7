"""Real de-identified hospital data (PhysioNet MIMIC-IV demo on FHIR): every line accounted for, and a case series of one of its drugs."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.acceptance.conftest import Ran

pytestmark = pytest.mark.real_data
MIMIC = Path(__file__).parents[3] / "shared" / "data" / "mimic-iv-demo-fhir"
CODES = "http://mimic.mit.edu/fhir/mimic/CodeSystem"
CONFIG = """
[study]
title = "Senna at a hospital in Boston"
drug = "senna"
timezone = "America/New_York"

[[site]]
name = "mimic"
tables = ["mimic.toml"]

[site.cohort]
by = "everybody"

[site.pull]
scope = "all"
"""
TABLE = f"""
[[medication]]
variable = "senna"
new = true
codes = [{{ system = "{CODES}/mimic-medication-formulary-drug-cd", code = "SENN187" }}]

[[method]]
variable = "not-done"
codes = [
  {{ system = "{CODES}/mimic-medication-method", code = "Not Given" }},
  {{ system = "{CODES}/mimic-medication-method", code = "Hold Dose" }},
]

[[method]]
variable = "completed"
codes = [{{ system = "{CODES}/mimic-medication-method", code = "Administered" }}]
"""


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("mimic")
    (folder / "mimic.toml").write_text(TABLE, encoding="utf-8")
    (folder / "dm-fhir.toml").write_text(CONFIG, encoding="utf-8")
    return folder / "dm-fhir.toml"


@pytest.fixture(scope="module")
def lines() -> list[dict[str, Any]]:
    """Every line of every file, read by nothing of ours."""
    return [json.loads(line) for path in sorted(MIMIC.glob("*.ndjson.gz")) for line in gzip.open(path)]


@pytest.fixture(scope="module")
def pulled(config: Path, dm_fhir: Callable[..., Ran]) -> Ran:
    return dm_fhir("--config", str(config), "--quiet", "pull", "--from", str(MIMIC), "--json")


def test_every_line_is_accounted_for(pulled: Ran, lines: list[dict[str, Any]]) -> None:
    by_type = dict(Counter(line["resourceType"] for line in lines))
    told = pulled.json

    assert pulled.code == 0
    assert told["read"] == by_type
    assert told["sites"][0]["resources"] == by_type
    assert sum(by_type.values()) > 10_000
    assert told["sites"][0]["set_aside"] == {}
    # What is no FHIR in the folder is named, not read: the licence, the attribution, the publisher's counts.
    assert {Path(one["path"]).suffix for one in told["passed_over"]} == {".md", ".txt", ".json"}


def test_one_of_its_drugs_gives_infusions_and_those_that_were_not_given(
    pulled: Ran, config: Path, dm_fhir: Callable[..., Ran], lines: list[dict[str, Any]]
) -> None:
    assert pulled.code == dm_fhir("--config", str(config), "compute").code == 0
    series = dm_fhir("--config", str(config), "export", "--identified").json
    recorded = [one for one in lines if one["resourceType"] == "MedicationAdministration" and _is_senna(one)]
    not_given = {one["id"] for one in recorded if _method(one) == "Not Given"}
    read = {a["source"]["reference"].split("/")[1]: a for case in series["cases"] for a in case["administrations"]}

    assert read.keys() == {one["id"] for one in recorded}
    assert {id_ for id_, one in read.items() if one.get("method_status") == "not-done"} == not_given
    assert not_given
    assert {read[id_]["status"] for id_ in not_given} == {"completed"}  # what the hospital wrote is kept as well
    assert _infusions(series) > 0
    assert not _used(series) & not_given


def _is_senna(one: dict[str, Any]) -> bool:
    return any(coding["code"] == "SENN187" for coding in one.get("medicationCodeableConcept", {}).get("coding", []))


def _method(one: dict[str, Any]) -> str | None:
    codings = one.get("dosage", {}).get("method", {}).get("coding", [{}])
    return codings[0].get("code")


def _infusions(series: dict[str, Any]) -> int:
    outcomes = [one for case in series["cases"] for one in case["outcomes"] if one["variable"] == "infusions_completed"]
    return sum(int(one["number"]) for one in outcomes)


def _used(series: dict[str, Any]) -> set[str]:
    """The administrations that any outcome was computed from."""
    inputs = [i for case in series["cases"] for outcome in case["outcomes"] for i in outcome.get("inputs", [])]
    return {one["source"]["reference"].split("/")[1] for one in inputs}
