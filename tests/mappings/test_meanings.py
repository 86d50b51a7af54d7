"""A site says what its own codes for routes, habits and judgements mean; what it cannot say is a fault with its row."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from dm_fhir.errors import ConfigError
from dm_fhir.mappings.codes import Tables, load_tables
from dm_fhir.mappings.dosage import Dosage, Product, dosing_in
from dm_fhir.mappings.scope import Scope
from dm_fhir.mappings.site import SiteMapper
from dm_fhir.model.case import Concept

Load = Callable[[str], Tables]
HABITS = """
[[route]]
variable = "route_oral"
codes = [{ system = "urn:leon:routes", code = "PO" }]

[[timing]]
variable = "every_36_hours"
new = true
times_per_day = "2/3"
codes = [{ system = "urn:leon:habits", code = "Q36H" }]

[[timing]]
variable = "twice_daily"
codes = [{ system = "urn:leon:habits", code = "BID" }]
"""


@pytest.fixture
def load(tmp_path: Path) -> Load:
    def build(text: str) -> Tables:
        path = tmp_path / "leon.toml"
        path.write_text(text, encoding="utf-8")
        return load_tables([path])

    return build


def coded(system: str, code: str) -> dict[str, Any]:
    return {"coding": [{"system": system, "code": code}]}


@pytest.mark.parametrize(("habit", "mg_per_day"), [("Q36H", 10), ("BID", 30)])
def test_a_sites_own_route_and_habit_give_a_daily_dose(load: Load, habit: str, mg_per_day: int) -> None:
    body = {
        "route": coded("urn:leon:routes", "PO"),
        "timing": {"code": coded("urn:leon:habits", habit)},
        "doseAndRate": [{"doseQuantity": {"value": 15, "unit": "mg"}}],
    }
    found = dosing_in(msgspec.convert(body, Dosage), Product(Concept(variable="prednisone"), None), load(HABITS))

    assert (found.systemic, found.mg_per_day) == (True, mg_per_day)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (
            '[[route]]\nvariable = "by_mouth"',
            "route row 1 (line 1), variable: must be one of route_oral, route_intravenous",
        ),
        ('[[timing]]\nvariable = "never"\ntimes_per_day = "0"', "timing row 1 (line 1), times_per_day: must not be 0"),
        (
            '[[timing]]\nvariable = "often"\ntimes_per_day = 2',
            "timing row 1 (line 1), times_per_day: must be string, is a number",
        ),
        ('[[ae_grade]]\nvariable = "grade_6"', "ae_grade row 1 (line 1), variable: must be one of grade_1"),
        ('[[ae_relatedness]]\nvariable = "maybe"', "ae_relatedness row 1 (line 1), variable: must be one of related"),
        (
            '[[route]]\nvariable = "route_rectal"\ncodes = [{ system = "http://snomed.info/sct", code = "26643006" }]',
            "http://snomed.info/sct|26643006 means 'route_rectal' here, and 'route_oral' in dosing.toml",
        ),
    ],
)
def test_a_fault_names_file_and_row(load: Load, text: str, fault: str) -> None:
    with pytest.raises(ConfigError) as error:
        load(text)

    assert "leon.toml" in str(error.value)
    assert fault in str(error.value)


def test_what_elements_mean_does_not_change_what_a_server_is_asked_for(load: Load) -> None:
    def scope(tables: Tables) -> str:
        return SiteMapper("leon", "Europe/Madrid", "anifrolumab", tables, Scope(tables)).scope

    drug = '[[medication]]\nvariable = "prednisone"\ncodes = [{ system = "urn:leon", code = "P" }]'

    assert scope(load(HABITS)) == scope(load_tables())
    assert scope(load(drug)) != scope(load_tables())


@pytest.mark.parametrize(
    ("type_name", "concept", "known"),
    [
        ("Observation", b'{"coding":[{"system":"http://loinc.org","code":"2157-6"}]}', True),
        ("Observation", b'{"coding":[{"system":"http://loinc.org","code":"8867-4"}]}', False),
        ("Observation", b'{"text":"a form"}', False),
        ("MedicationStatement", b'{"text":"a drug"}', True),
        ("MedicationStatement", b'{"coding":[{"system":"urn:x","code":"P"}]}', False),
        ("AdverseEvent", b"", True),
    ],
)
def test_a_code_that_was_read_along_tells_the_same_as_the_record(type_name: str, concept: bytes, known: bool) -> None:
    name = b"code" if type_name == "Observation" else b"medicationCodeableConcept"
    body = b'{"resourceType":"%s","%s":%s}' % (type_name.encode(), name, concept or b"null")

    assert Scope(load_tables()).knows(type_name, body) is known
    assert Scope(load_tables()).knows(type_name, body, concept) is known
