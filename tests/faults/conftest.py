"""The fault server, a study at it, and the table of what dm-fhir did."""

import os
import signal
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from types import FrameType

import pytest

from dm_fhir.mappings import site

from .certificates import Certificates, make_certificates
from .scenarios import SCENARIOS, Scenario
from .server import FaultServer
from .study import Ran, Study, new_study
from .table import Observed, observed, print_table, write_readme

#: A pull that does not end by itself ends its test.
LONGEST_TEST_SECONDS = 60
_seen = pytest.StashKey[dict[str, Observed]]()
Observe = Callable[[Scenario, Study, Ran], None]


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_seen] = {}


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, exitstatus: int, config: pytest.Config) -> None:
    """FAULT_TABLE=print prints the table; FAULT_TABLE=readme also writes the README's, if all is as required."""
    wanted, seen = os.environ.get("FAULT_TABLE", ""), config.stash.get(_seen, {})
    if wanted:
        print_table(terminalreporter.write_line, seen, is_good=exitstatus == 0)
    if wanted == "readme" and exitstatus == 0 and len(seen) == len(SCENARIOS):
        write_readme()


@pytest.fixture(scope="session", autouse=True)
def _own_environment() -> Iterator[None]:
    """The user's DM_FHIR_* settings are none of ours."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("DM_FHIR")]:
            patch.delenv(name)
        yield


@pytest.fixture(scope="session", autouse=True)
def _tables_are_read_once() -> Iterator[None]:
    """Reading and checking the shipped mapping tables takes longer than a pull here, and they are always the same."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(site, "load_tables", cache(site.load_tables))
        yield


@pytest.fixture(autouse=True)
def _ends_by_itself() -> Iterator[None]:
    def stop(_: int, __: FrameType | None) -> None:
        pytest.fail(f"not over after {LONGEST_TEST_SECONDS} seconds")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(LONGEST_TEST_SECONDS)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make_certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="session")
def server(certificates: Certificates) -> Iterator[FaultServer]:
    with FaultServer(certificates.servers) as server:
        yield server
        assert server.errors == []


@pytest.fixture
def study_of(
    server: FaultServer, certificates: Certificates, tmp_path: Path
) -> Callable[[Scenario], tuple[Study, str]]:
    """The study of a scenario, and its endpoint at the server."""

    def make(scenario: Scenario) -> tuple[Study, str]:
        endpoint = server.endpoint(scenario.fault, scenario.tls)
        path = endpoint.split("/", 3)[3]
        more = scenario.site.format(
            endpoint=endpoint,
            path=f"/{path}",
            other_host=server.other_host,
            other_netloc=server.other_host.partition("//")[2],
        )
        more += f'\nca_bundle = "{certificates.authority}"' if scenario.tls else ""
        return new_study(tmp_path, endpoint, login=scenario.login, pull=scenario.pull, site=more), endpoint

    return make


@pytest.fixture
def observe(request: pytest.FixtureRequest) -> Observe:
    """Keeps what dm-fhir did for the table."""

    def keep(scenario: Scenario, study: Study, ran: Ran) -> None:
        request.config.stash[_seen][scenario.id] = observed(scenario, study, ran)

    return keep
