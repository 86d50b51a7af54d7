"""Every Observation that was pushed, read back from the server: what it must say, and that its sources are there."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

if TYPE_CHECKING:
    from tests.acceptance.conftest import Loop

Json = dict[str, Any]
IDENTIFIER_SYSTEM = "https://w3id.org/dm-fhir/outcome"


@pytest.fixture(scope="module")
def pushed(loop: Loop) -> list[Json]:
    """All of them, as the strict server kept them."""
    return loop.hospital.outcomes()


def test_all_of_them_are_read_back(loop: Loop, pushed: list[Json]) -> None:
    assert len(pushed) == loop.status.json["sites"][0]["pushed"]["confirmed"] > 0


def test_each_is_a_valid_observation(pushed: list[Json]) -> None:
    from fhir.resources.R4B.observation import Observation

    for one in pushed:
        Observation.model_validate_json(msgspec.json.encode(one))


def test_each_says_what_of_whom_and_when(pushed: list[Json]) -> None:
    for one in pushed:
        assert one["status"] == "final"
        assert one["code"]["coding"][0]["system"] == "https://w3id.org/dm-fhir/CodeSystem/measurement"
        assert one["code"]["text"]
        assert one["subject"]["reference"].startswith("Patient/bal-")
        # What was assessed has its time; what speaks of a day, such as a dose a day, has that day. R4 wants seconds and a zone.
        assert re.fullmatch(r"2024-\d\d-\d\d(T\d\d:\d\d:\d\d(Z|[+-]\d\d:\d\d))?", one["effectiveDateTime"])
        assert one["category"][0]["coding"][0]["code"] in ("exam", "survey", "laboratory", "therapy")


def test_each_says_either_a_value_or_why_there_is_none(pushed: list[Json]) -> None:
    said = [[name for name in one if name.startswith("value") or name == "dataAbsentReason"] for one in pushed]

    assert {len(names) for names in said} == {1}
    assert {names[0] for names in said} >= {"valueQuantity", "valueDateTime", "dataAbsentReason"}


def test_each_names_its_rule_and_version(pushed: list[Json]) -> None:
    for one in pushed:
        words = one["method"]["text"].split()
        assert words[:3] == ["dm-fhir", "rule", words[2]]
        assert words[2].startswith("R-")
        assert words[-2] == "version"


def test_each_has_one_identifier_of_its_own(pushed: list[Json]) -> None:
    identifiers = [one["identifier"] for one in pushed]

    assert all(len(found) == 1 and found[0]["system"] == IDENTIFIER_SYSTEM for found in identifiers)
    assert len({found[0]["value"] for found in identifiers}) == len(pushed)


def test_each_names_the_version_of_every_source_and_they_are_there(loop: Loop, pushed: list[Json]) -> None:
    derived = {part["reference"] for one in pushed for part in one.get("derivedFrom", [])}
    supporting = {part["valueReference"]["reference"] for one in pushed for part in one.get("extension", [])}

    assert all(reference.startswith("Observation/") for reference in derived)
    references = sorted(derived | supporting)
    for reference, found in zip(references, loop.hospital.get_all(references), strict=True):
        kind, id_, history, version = reference.split("/")
        assert (found["resourceType"], found["id"], history, found["meta"]["versionId"]) == (
            kind,
            id_,
            "_history",
            version,
        )


def test_what_was_computed_from_observations_is_derived_from_them(loop: Loop, pushed: list[Json]) -> None:
    by_identifier = {one["identifier"][0]["value"]: one for one in pushed}
    rows = loop.study.ask(
        "SELECT push.identifier, outcome.body FROM push JOIN outcome USING (site, patient, variable, about)"
    )
    assert len(rows) == len(pushed)
    for identifier, body in rows:
        sources = [one["source"] for one in msgspec.json.decode(body)["inputs"]]
        expected = {
            f"{s['reference']}/_history/{s['version']}" for s in sources if s["reference"].startswith("Observation/")
        }
        assert {part["reference"] for part in by_identifier[identifier].get("derivedFrom", [])} == expected


def test_each_has_a_code_of_our_code_system(pushed: list[Json]) -> None:
    from dm_fhir.mappings.codes import load_tables
    from dm_fhir.mappings.terminology import resources

    known = {concept["code"] for concept in resources(load_tables())[0]["concept"]}

    assert {one["code"]["coding"][0]["code"] for one in pushed} <= known


def test_each_claims_the_profile_and_names_program_and_rule(pushed: list[Json]) -> None:
    for one in pushed:
        rule = one["method"]["text"].split()[2].rstrip(",")
        assert one["meta"]["profile"] == ["https://w3id.org/dm-fhir/StructureDefinition/outcome-observation"]
        assert one["device"] == {"reference": "#dm-fhir"}
        assert [version["type"]["text"] for version in one["contained"][0]["version"]] == ["dm-fhir", f"rule {rule}"]


def test_verdicts_and_parts_are_on_the_server(pushed: list[Json]) -> None:
    verdicts = {coding["code"] for one in pushed for said in one.get("interpretation", ()) for coding in said["coding"]}
    parts = {part["code"]["coding"][0]["code"] for one in pushed for part in one.get("component", ())}

    assert any(code.startswith("cdasi-a-mcid-4.") for code in verdicts)
    assert any(code.endswith("-points") for code in parts)
