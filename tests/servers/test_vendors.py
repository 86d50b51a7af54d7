"""The vendor table: a row is chosen by what the server calls itself, and the site has the last word."""

import json
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from dm_fhir.config import Pull
from dm_fhir.errors import ConfigError
from dm_fhir.fhir.capability import Capability, _Software
from dm_fhir.fhir.vendors import CATEGORIES, Settings, settings_for, vendor_of, vendors

from .hospital import Hospital, refusal
from .study import Study

StudyOf = Callable[..., Study]
VENDORS = ("epic", "oracle", "hapi", "azure", "healthlake", "medplum", "blaze", "athena", "google")
#: For each setting that is not a yes or no, a value that no row has.
OTHER: Mapping[str, Any] = {
    "page_size": 17,
    "patients_per_query": 3,
    "observations_by": "whole",
    "categories": ("exam",),
    "result_limit": 77,
    "sort": "_id",
}


def software(name: str, publisher: str | None = None) -> Capability:
    """The statement of a server that calls itself so."""
    return Capability(publisher=publisher, software=_Software(name))


def test_there_is_a_row_for_each_vendor_with_its_sources() -> None:
    table = vendors()

    assert tuple(table) == VENDORS
    assert not [
        row.name
        for row in table.values()
        if not (row.names and row.remarks and row.writing and row.bulk and row.sources)
    ]


@pytest.mark.parametrize(("capability", "row"), [
    (software("Epic", "Some Hospital"), "epic"),
    (software("Cerner Ignite"), "oracle"),
    (software("fhir-server", "Oracle Health"), "oracle"),
    (software("HAPI FHIR Server"), "hapi"),
    (software("Azure API for FHIR", "Microsoft"), "azure"),
    (software("Amazon HealthLake"), "healthlake"),
    (software("medplum"), "medplum"),
    (software("Blaze"), "blaze"),
    (software("athenahealth FHIR"), "athena"),
    (software("Google Cloud Healthcare API"), "google"),
    # What the software is called decides before who runs it.
    (software("HAPI FHIR Server", "Epic Clinics of Oracle"), "hapi"),
    # A name is a word of its own.
    (software("Lawson", "St. Epicurus Hospital"), None),
    (software("sekmet-fhir"), None),
    (Capability(), None),
])  # fmt: skip
def test_the_row_is_chosen_by_what_the_server_calls_itself(capability: Capability, row: str | None) -> None:
    found = vendor_of(capability, None)

    assert (found.name if found else None) == row


def test_a_site_names_its_vendor() -> None:
    found = vendor_of(software("HAPI FHIR Server"), "epic")

    assert found is not None
    assert found.name == "epic"
    with pytest.raises(ConfigError, match=r"known: epic, oracle"):
        vendor_of(Capability(), "kodjin")


@pytest.mark.parametrize("vendor", VENDORS)
@pytest.mark.parametrize("name", Settings.__struct_fields__)
def test_a_site_overrules_every_setting_of_every_row(vendor: str, name: str) -> None:
    row = vendors()[vendor]
    stands = settings_for(Pull(), row, {})
    other = OTHER.get(name, not getattr(stands, name))

    assert getattr(stands, name) == _default(name, row.settings)
    assert getattr(settings_for(Pull(**{name: other}), row, {}), name) == other != getattr(stands, name)


def _default(name: str, said: Mapping[str, object]) -> object:
    value = said.get(name, getattr(Settings(), name))
    return tuple(value) if isinstance(value, list) else value


def test_what_was_found_out_stands_over_the_row_and_under_the_site() -> None:
    row = vendors()["oracle"]
    facts = {"page_size": "100", "observations_by": "categories", "lists Observation": "no"}

    assert settings_for(Pull(), row, facts).page_size == 100
    assert settings_for(Pull(), row, facts).observations_by == "categories"
    assert settings_for(Pull(page_size=50), row, facts).page_size == 50
    assert settings_for(Pull(), None, {}).categories == CATEGORIES


def test_a_pull_asks_as_the_row_of_its_server_says(hospital: Hospital, study_of: StudyOf) -> None:
    hospital.software = "Epic"
    study = study_of()

    assert study.type("pull").code == 0
    searches = hospital.searches("Observation")
    assert {ask.parameter("patient") for ask in searches} == {"p1", "p2", "p3"}
    assert "therapy" not in {ask.parameter("category") for ask in searches}
    assert all(ask.has("category") for ask in searches)

    hospital.asked.clear()
    assert study.type("pull").code == 0
    assert not any(ask.has("_lastUpdated") for ask in hospital.asked)


def test_a_pull_asks_as_the_site_says_where_that_is_something_else(hospital: Hospital, study_of: StudyOf) -> None:
    hospital.software = "Epic"
    study = study_of(pull={"observations_by": '"whole"', "patients_per_query": "10", "page_size": "33"})

    assert study.type("pull").code == 0
    [search] = hospital.searches("Observation")
    assert (search.parameter("patient"), search.parameter("_count"), search.has("category")) == (
        "p1,p2,p3",
        "33",
        False,
    )


def test_a_server_that_becomes_another_one_is_found_out_anew(hospital: Hospital, study_of: StudyOf) -> None:
    hospital.lists = 1
    hospital.refuse.append(lambda ask: refusal(400) if "Prefer" in ask.headers and ask.type == "Condition" else None)
    study = study_of()
    study.type("pull")
    assert study.facts()["lists Observation"] == study.facts()["strict Condition"] == "no"

    hospital.lists, hospital.software = None, "Hospital, renovated"
    hospital.refuse.clear()
    study.type("pull")
    assert study.facts().get("lists Observation") != "no"
    assert "strict Condition" not in study.facts()


def test_doctor_says_which_row_holds_and_who_said_what(hospital: Hospital, study_of: StudyOf) -> None:
    hospital.software = "Medplum"
    study = study_of(pull={"page_size": "50"})
    [site] = json.loads(study.type("doctor", "--json").out)["sites"]
    settings = {one["name"]: (one["value"], one["by"]) for one in site["settings"]}

    assert site["vendor"]["name"] == "medplum"
    assert settings["sort"] == ("_lastUpdated", "vendor")
    assert settings["page_size"] == (50, "site")
    assert settings["strict"] == (True, "default")


def test_an_unknown_vendor_is_a_fault_of_the_config(hospital: Hospital, study_of: StudyOf) -> None:
    ran = study_of(site='vendor = "kodjin"').type("pull")

    assert ran.code == 2
    assert "no vendor is called 'kodjin'" in ran.text
