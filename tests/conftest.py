"""FHIR data that nobody here wrote, where they are at hand, and the promise that they are then used."""

import os
from collections.abc import Generator
from pathlib import Path

import pytest

#: Beside the repository, never in it: the publishers' files under their own licences.
REAL_DATA = Path(__file__).parents[2] / "shared" / "data"
#: The codes that somebody has verified, each with its source.
VERIFIED_CODES = REAL_DATA.parent / "clinical" / "codes.csv"
#: The files whose tests are marked `real_data`, each with what it reads.
READERS = {
    "mappings/test_real_data.py": REAL_DATA,
    "mappings/test_real_adverse_events.py": REAL_DATA,
    "mappings/test_terminology_r4.py": REAL_DATA,
    "mappings/test_verified_codes.py": VERIFIED_CODES,
    "acceptance/test_pushed_r4_schema.py": REAL_DATA,
    "acceptance/test_real_hospital.py": REAL_DATA,
}
collect_ignore = [name for name, needs in READERS.items() if not needs.exists()]
_executed = pytest.StashKey[set[str]]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_executed] = set()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for needs in dict.fromkeys(READERS.values()):
        if not needs.exists():
            terminalreporter.write_line(f"real data: not here ({needs}), their tests were not collected")


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, None, None]:
    yield
    if item.get_closest_marker("real_data"):
        item.config.stash[_executed].add(item.nodeid)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """In CI a full run that has the data and leaves one of their readers out has failed."""
    config = session.config
    promised = os.environ.get("CI") == "true" and is_full(config)
    readers = [name for name, needs in READERS.items() if needs.exists()]
    idle = [name for name in readers if not any(f"tests/{name}::" in test for test in config.stash[_executed])]
    if promised and idle:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
        reporter = config.pluginmanager.get_plugin("terminalreporter")
        reporter.write_line(f"\n{REAL_DATA.parent} is here, and no test of {', '.join(idle)} was run", red=True)


def is_full(config: pytest.Config) -> bool:
    """Whether the run was not narrowed down to some folders, names or marks."""
    narrowed = config.option.keyword or config.option.markexpr or config.option.collectonly
    asked = {(config.invocation_params.dir / argument).resolve() for argument in config.args}
    return not narrowed and bool(asked & {config.rootpath, config.rootpath / "tests"})
