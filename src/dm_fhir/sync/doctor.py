"""The checks of a site's connection, each as a pull would meet it."""

from collections.abc import Callable
from functools import partial

import msgspec

from dm_fhir.errors import DmFhirError, LoginRefused, ServerUnavailable
from dm_fhir.fhir.capability import Capability, read_capability
from dm_fhir.fhir.connection import Connection
from dm_fhir.fhir.search import Page, read_page, search_url
from dm_fhir.sync.mapper import Mapper
from dm_fhir.sync.pull import SEARCHES
from dm_fhir.sync.unit import patient_search


class Check(msgspec.Struct, frozen=True):
    """One thing tried: what, whether it works, what the server said, and the exit code a pull would end with."""

    what: str
    ok: bool
    said: str
    exit_code: int = 0


def examine(connection: Connection, mapper: Mapper) -> list[Check]:
    """Endpoint, login, each planned search with `_count=1`. Stops where going on is pointless. Changes nothing."""
    capability: list[Capability] = []
    patients: list[str] = []
    checks = [_try("FHIR R4 endpoint", lambda: _endpoint(connection, capability))]
    if not checks[0].ok:
        return checks
    attempts: list[tuple[str, Callable[[], str]]] = [
        ("login", lambda: _login(connection)),
        ("cohort by code", lambda: _cohort(connection, mapper, patients)),
    ]
    attempts += [
        (name, partial(_search, connection, capability, patients, name, parameter)) for name, parameter in SEARCHES
    ]
    for what, attempt in attempts:
        checks.append(_try(what, attempt))
        if checks[-1].exit_code in (LoginRefused.exit_code, ServerUnavailable.exit_code):
            break
    return checks


def _try(what: str, attempt: Callable[[], str]) -> Check:
    try:
        return Check(what, True, attempt())
    except LoginRefused as error:  # whatever was tried: the first request of all may be the one that is refused
        return Check("login", False, error.message, error.exit_code)
    except DmFhirError as error:
        return Check(what, False, error.message, error.exit_code)


def _endpoint(connection: Connection, capability: list[Capability]) -> str:
    capability.append(read_capability(connection))
    return f"{capability[0].name}, FHIR {capability[0].fhirVersion}"


def _login(connection: Connection) -> str:
    """The token endpoint's answer, and one small question; a server may refuse that question for its own reasons."""
    connection.login.headers()
    connection.get(search_url("Patient", [("_summary", "count")]), accept=(400, 403, 404))
    return "accepted"


def _cohort(connection: Connection, mapper: Mapper, patients: list[str]) -> str:
    codes = ",".join(f"{system}|{code}" for system, code in mapper.drug_codes())
    page = _page(connection, search_url("MedicationAdministration", [("code", codes), ("_count", "1")]))
    patients += [resource.subject for resource in page.resources if resource.subject]
    return f"{_works(page)} administrations"


def _search(
    connection: Connection, capability: list[Capability], patients: list[str], name: str, parameter: str
) -> str:
    """The search of one type, tried on a patient of the cohort if it has one."""
    by = f"by {parameter}" if capability[0].searches(name, parameter) else "in the patient's compartment"
    if not patients:
        return f"would be searched {by}; there is no patient to try it on"
    return f"{_works(_page(connection, patient_search(capability[0], name, parameter, patients[0], [('_count', '1')])))} {by}"


def _page(connection: Connection, url: str) -> Page:
    return read_page(connection.get(url), connection)


def _works(page: Page) -> str:
    return "works" if page.total is None else f"works: {page.total} found"
