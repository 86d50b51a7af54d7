"""The sample cohorts as cases, read through the real mapping and with their outcomes."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import pytest
from msgspec.structs import replace

from dm_fhir.demo.cohorts import SampleSite, dump_ndjson, four_patients, twenty_four_patients
from dm_fhir.mappings.case import read_case
from dm_fhir.mappings.codes import load_tables
from dm_fhir.mappings.medication import read_medications
from dm_fhir.model.case import Case
from dm_fhir.outcomes.battery import outcomes

DRUG = "anifrolumab"


class Record(NamedTuple):
    """A stored resource."""

    type: str
    id: str
    version: str | None
    last_updated: str | None
    body: bytes


@pytest.fixture(scope="session")
def four() -> tuple[Case, ...]:
    """The cohort of one site."""
    return _cases_of(four_patients())


@pytest.fixture(scope="session")
def twenty_four() -> tuple[Case, ...]:
    """The cohort of three sites."""
    return _cases_of(twenty_four_patients())


def _cases_of(sites: Iterable[SampleSite]) -> tuple[Case, ...]:
    return tuple(case for site in sites for case in _cases(site.name, site.timezone, site.resources))


def _cases(site: str, timezone: str, resources: Iterable[Mapping[str, Any]]) -> list[Case]:
    tables = load_tables()
    by_patient: dict[str, list[Record]] = defaultdict(list)
    of_the_site: list[Record] = []
    for resource in resources:
        record = Record(resource["resourceType"], resource["id"], "1", None, dump_ndjson([resource]).strip())
        reference = f"Patient/{record.id}" if record.type == "Patient" else _subject(resource)
        (by_patient[reference] if reference else of_the_site).append(record)
    medications = read_medications(of_the_site)
    cases = [
        read_case(name, site, timezone, DRUG, records, tables, medications) for name, records in by_patient.items()
    ]
    return [replace(case, outcomes=outcomes(case)) for case in cases]


def _subject(resource: Mapping[str, Any]) -> str | None:
    subject: dict[str, str] = resource.get("subject", {})
    return subject.get("reference")
