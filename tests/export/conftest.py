"""Cases to be exported: the sample cohorts under pseudonyms, and one with every field filled."""

from collections import defaultdict
from typing import Any

import pytest
from msgspec.structs import replace

from dm_fhir.demo.cohorts import dump_ndjson, twenty_four_patients
from dm_fhir.mappings.case import read_case
from dm_fhir.mappings.codes import load_tables
from dm_fhir.mappings.medication import read_medications
from dm_fhir.model.case import Case, CaseSeries
from dm_fhir.outcomes.battery import outcomes
from dm_fhir.report.pseudonym import pseudonymised
from dm_fhir.store.resources import Stored

KEY = b"the key of the sample"


@pytest.fixture(scope="session")
def cases() -> tuple[Case, ...]:
    """The larger sample cohort as it leaves its three sites."""
    return tuple(
        pseudonymised(case, KEY) for site in twenty_four_patients() for case in _cases(site.name, site.timezone, site.resources)
    )  # fmt: skip


@pytest.fixture(scope="session")
def head() -> CaseSeries:
    """What stands before the cases; its title is a formula."""
    until = {"leon": "2025-06-01T10:00:00Z", "madrid": None, "barcelona": "2025-06-01T10:00:00Z"}
    return CaseSeries('=HYPERLINK("https://example.org")', "anifrolumab", (), until)


def _cases(site: str, timezone: str, resources: Any) -> list[Case]:
    tables, by_patient = load_tables(), defaultdict(list)
    for resource in resources:
        record = Stored(resource["resourceType"], resource["id"], "1", None, dump_ndjson([resource]).strip())
        whose = f"Patient/{record.id}" if record.type == "Patient" else resource.get("subject", {}).get("reference")
        by_patient[whose].append(record)
    medications = read_medications(by_patient.pop(None, []))
    found = [
        read_case(name, site, timezone, "anifrolumab", records, tables, medications)
        for name, records in by_patient.items()
    ]
    return [replace(case, outcomes=outcomes(case)) for case in found]
