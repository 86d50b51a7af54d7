"""The fault server, a study at it, and the table of what dm-fhir did."""

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType

import pytest

from .certificates import Certificates, make_certificates
from .scenarios import SCENARIOS, Scenario
from .server import FaultServer
from .study import Ran, Study, new_study
from .table import Observed, observed, observed_write, print_table, write_readme
from .write_scenarios import WRITE_SCENARIOS, WriteScenario
from .write_study import Began

#: A pull that does not end by itself ends its test.
LONGEST_TEST_SECONDS = 60
#: What dm-fhir did, by scenario: from the reports of the tests, in whichever process they ran.
_seen: dict[str, Observed] = {}
_PROPERTY = "fault"
Observe = Callable[[Scenario, Study, Ran], None]


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    for name, value in report.user_properties:
        if name == _PROPERTY and report.when == "call":
            scenario, *rest = value
            _seen[scenario] = Observed(*rest)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, exitstatus: int) -> None:
    """FAULT_TABLE=print prints the table; FAULT_TABLE=readme also writes the README's, if all is as required.

    With several processes only where the run names tests/faults, as `make faults` does: else the first never reads this file.
    """
    wanted = os.environ.get("FAULT_TABLE", "")
    if wanted:
        print_table(terminalreporter.write_line, _seen, is_good=exitstatus == 0)
    if wanted == "readme" and exitstatus == 0 and len(_seen) == len({one.id for one in (*SCENARIOS, *WRITE_SCENARIOS)}):
        write_readme()


@pytest.fixture(scope="session", autouse=True)
def _own_environment() -> Iterator[None]:
    """The user's DM_FHIR_* settings are none of ours."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("DM_FHIR")]:
            patch.delenv(name)
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
def observe(record_property: Callable[[str, object], None]) -> Observe:
    """Keeps what dm-fhir did for the table."""

    def keep(scenario: Scenario, study: Study, ran: Ran) -> None:
        record_property(_PROPERTY, [scenario.id, *observed(scenario, study, ran)])

    return keep


@pytest.fixture
def observe_write(record_property: Callable[[str, object], None]) -> Callable[[WriteScenario, Began, Ran], None]:
    """The same for a push."""

    def keep(scenario: WriteScenario, began: Began, ran: Ran) -> None:
        record_property(_PROPERTY, [scenario.id, *observed_write(began, ran)])

    return keep
