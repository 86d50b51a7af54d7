"""A bulk server and a connection to it that never really waits."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from dm_fhir.config import Auth, Pull, Site
from dm_fhir.fhir.connection import Connection
from dm_fhir.fhir.credential import Login

from ..faults.processes import Forks, forks
from .clinic import Undisturbed, clinic_in, content
from .server import BulkServer

Connect = Callable[..., Connection]


def resource(type_name: str, id_: str, patient: str = "", **more: Any) -> dict[str, Any]:
    """A resource, of a patient if one is given."""
    subject = {"subject": {"reference": f"Patient/{patient}"}} if patient else {}
    return {"resourceType": type_name, "id": id_, **subject, **more}


#: Two patients with an Observation each, a Group of the second, and a Medication that is nobody's.
HELD = [
    resource("Patient", "1"),
    resource("Patient", "2"),
    resource("Observation", "a", "1", code={"coding": [{"code": "x"}]}),
    resource("Observation", "b", "2", code={"coding": [{"code": "y"}]}),
    resource("Medication", "m"),
    resource("Group", "g", member=[{"entity": {"reference": "Patient/2"}}]),
]


@pytest.fixture
def server() -> Iterator[BulkServer]:
    """A server that holds HELD."""
    with BulkServer(HELD) as server:
        yield server
        assert server.errors == []


@pytest.fixture
def waits() -> list[float]:
    """The seconds that were slept, one entry a sleep; none really is."""
    return []


@pytest.fixture
def connect(server: BulkServer, waits: list[float]) -> Iterator[Connect]:
    """Makes connections to the server, with small limits, and closes them."""
    made: list[Connection] = []

    def make(
        login: Login | None = None, endpoint: str = "", site: dict[str, Any] | None = None, **limits: Any
    ) -> Connection:
        pull = Pull(**{"connect_timeout_seconds": 0.5, "read_timeout_seconds": 0.5, **limits})
        of_site = Site("clinic", server.endpoint, "UTC", (), {}, Auth(), pull, **(site or {}))
        headers = {"Epic-Client-ID": "ours"}
        connection = Connection(endpoint or server.endpoint, pull, login, headers, waits.append, site=of_site)
        made.append(connection)
        return connection

    yield make
    for connection in made:
        connection.close()


@pytest.fixture(scope="session")
def forking() -> Iterator[Forks]:
    """Runs commands, each in a process of its own that is there at once."""
    with forks() as one:
        yield one


@pytest.fixture(scope="session")
def undisturbed(forking: Forks, tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    """A pull that was left alone."""
    with clinic_in(tmp_path_factory.mktemp("undisturbed") / "study") as clinic:
        code, report, said = forking.run(clinic.study, "pull")
        assert code == 0, said
        return Undisturbed(content(clinic), len(clinic.server.log), report["commits"])
