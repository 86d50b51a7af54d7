"""Two sample cohorts, as FHIR R4 resources that any server accepts.

Their aggregates are those of two public case series; every single person in them is invented.
"""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import msgspec

from dm_fhir.demo.conditions import conditions
from dm_fhir.demo.events import adverse_events
from dm_fhir.demo.infusions import administrations, medication_request, medications
from dm_fhir.demo.observations import observations
from dm_fhir.demo.persons import patient_resource
from dm_fhir.demo.rows import Site, read_sites
from dm_fhir.demo.statements import statements


class SampleSite(NamedTuple):
    """One invented hospital: its name, its time zone, and its resources, each after those it refers to.

    Numbers in the resources are `int` or `Decimal`, never `float`.
    """

    name: str
    timezone: str
    resources: list[dict[str, Any]]


def four_patients() -> tuple[SampleSite, ...]:
    """One site with the aggregates of the Johns Hopkins case series of four patients (infusions April-August 2024)."""
    return tuple(_sample(site) for site in read_sites("four_patients.toml"))


def twenty_four_patients() -> tuple[SampleSite, ...]:
    """Three sites with the aggregates of ACR Convergence 2025, abstract 2670 (24 patients in Spain)."""
    return tuple(_sample(site) for site in read_sites("twenty_four_patients.toml"))


def dump_ndjson(resources: Iterable[Mapping[str, Any]]) -> bytes:
    """The resources as NDJSON, one per line, with every decimal written digit for digit."""
    return msgspec.json.Encoder(decimal_format="number").encode_lines(resources)


def _sample(site: Site) -> SampleSite:
    patients = site.patient
    resources = [
        *(patient_resource(patient) for patient in patients),
        *medications(site),
        *(found for patient in patients for found in conditions(site, patient)),
        *(medication_request(patient) for patient in patients),
        *(found for patient in patients for found in statements(patient)),
        *(found for patient in patients for found in administrations(site, patient)),
        *(found for patient in patients for found in observations(site, patient)),
        *(found for patient in patients for found in adverse_events(patient)),
    ]
    return SampleSite(site.name, site.timezone, resources)
