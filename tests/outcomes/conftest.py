"""Builds cases the way a run does: FHIR JSON as bytes, through the mappings, into the model."""

from collections.abc import Iterable
from typing import Any

import msgspec
import pytest

from dm_fhir.mappings import medication_administration, observation
from dm_fhir.mappings.codes import OWN_SYSTEM, Tables, load_tables
from dm_fhir.mappings.datatypes import read
from dm_fhir.model.case import Administration, Assessment, Case, Source

ZONE = "America/New_York"
ANIFROLUMAB = {"system": "http://www.whocc.no/atc", "code": "L04AG11"}
CK = {"system": "http://loinc.org", "code": "2157-6"}
#: The units of the core set, where they are no plain scores, and the codes of its enzymes.
UNITS = {
    **dict.fromkeys(("physician_global_vas", "patient_global_vas", "extramuscular_vas"), "cm"),
    **dict.fromkeys(("ck", "aldolase", "alt", "ast", "ldh"), "U/L"),
}
ENZYMES = {"ck": "2157-6", "aldolase": "1761-6", "alt": "1742-6", "ast": "1920-8", "ldh": "2532-0"}
_ENCODER = msgspec.json.Encoder(decimal_format="number")


class Clinic:
    """A site: its tables, and its FHIR records as parts of a case."""

    def __init__(self, tables: Tables) -> None:
        self.tables = tables

    def own(self, code: str) -> dict[str, str]:
        """A code of our own CodeSystem."""
        return {"system": OWN_SYSTEM, "code": code}

    def assessment(
        self, id: str, coding: dict[str, str], last_updated: str | None = None, **elements: Any
    ) -> Assessment:
        """An Observation with these elements; final, unless they say otherwise."""
        body = {"resourceType": "Observation", "id": id, "status": "final", "code": {"coding": [coding]}, **elements}
        source = Source("north", f"Observation/{id}", last_updated=last_updated)
        return observation.from_fhir(read(_ENCODER.encode(body), observation.Observation), source, self.tables)

    def score(self, id: str, code: str, value: Any, when: str, **elements: Any) -> Assessment:
        """A score on one of our own codes; without a value where `value` is None."""
        quantity = (
            {"valueQuantity": {"value": value, "unit": "{score}", "code": "{score}"}} if value is not None else {}
        )
        return self.assessment(id, self.own(code), effectiveDateTime=when, **{**quantity, **elements})

    def core(self, variable: str, when: str, value: Any, uln: Any = None, **quantity: Any) -> Assessment:
        """A measure of the core set on a day; `quantity` may say another unit, or a comparator."""
        quantity = {"value": value, "unit": UNITS.get(variable, "{score}"), **quantity}
        limits = [{"high": {"value": uln, "unit": quantity["unit"]}}] if uln is not None else []
        is_enzyme = variable in ENZYMES
        coding = {"system": "http://loinc.org", "code": ENZYMES[variable]} if is_enzyme else None
        return self.assessment(
            f"{variable}.{when}",
            coding or self.own(variable.replace("_", "-")),
            effectiveDateTime=when,
            valueQuantity=quantity,
            referenceRange=limits,
        )

    def infusion(self, id: str, when: str | None, dose: Any = 300, unit: str = "mg", **elements: Any) -> Administration:
        """A completed infusion of anifrolumab, unless the elements say otherwise; no dose where `dose` is None."""
        timed = {"effectiveDateTime": when} if when is not None else {}
        given = {"dosage": {"dose": {"value": dose, "unit": unit}}} if dose is not None else {}
        return self.administration(id, {"status": "completed", **timed, **given, **elements})

    def administration(self, id: str, elements: dict[str, Any]) -> Administration:
        """A MedicationAdministration with these elements; of anifrolumab, unless they say otherwise."""
        body = {
            "resourceType": "MedicationAdministration",
            "id": id,
            "medicationCodeableConcept": {"coding": [ANIFROLUMAB]},
            **elements,
        }
        record = read(_ENCODER.encode(body), medication_administration.MedicationAdministration)
        source = Source("north", f"MedicationAdministration/{id}")
        return medication_administration.from_fhir(record, source, self.tables, {})

    def case(self, assessments: Iterable[Assessment], administrations: Iterable[Administration]) -> Case:
        """One patient's case in New York."""
        return Case("Patient/1", "north", ZONE, assessments=tuple(assessments), administrations=tuple(administrations))


@pytest.fixture(scope="session")
def clinic() -> Clinic:
    """A site with the shipped tables."""
    return Clinic(load_tables())


@pytest.fixture(scope="session")
def clinic_with(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A site with a table of its own over the shipped ones."""

    def build(table: str) -> Clinic:
        path = tmp_path_factory.mktemp("tables") / "site.toml"
        path.write_text(table, encoding="utf-8")
        return Clinic(load_tables([path]))

    return build
