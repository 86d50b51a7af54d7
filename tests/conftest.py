"""What only some machines have, FHIR data that nobody here wrote, a browser, other programs, and the promise that they are then used."""

import os
import shutil
import signal
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from dm_fhir.mappings import site
from dm_fhir.sync.scan.runners import usable_cores

#: Beside the repository, never in it: the publishers' files under their own licences.
REAL_DATA = Path(__file__).parents[2] / "shared" / "data"
#: The codes that somebody has verified, each with its source.
VERIFIED_CODES = REAL_DATA.parent / "clinical" / "codes.csv"
#: Debian's package of this name.
CHROMIUM = Path(shutil.which("chromium") or "/usr/bin/chromium")
#: Programs of Debian's packages systemd, cron, openjdk-17-jre-headless, zsh and fish.
SYSTEMD_ANALYZE = Path(shutil.which("systemd-analyze") or "/usr/bin/systemd-analyze")
CRONTAB = Path(shutil.which("crontab") or "/usr/bin/crontab")
ZSH = Path(shutil.which("zsh") or "/usr/bin/zsh")
JAVA = Path(shutil.which("java") or "/usr/bin/java")
FISH = Path(shutil.which("fish") or "/usr/bin/fish")
#: The files whose tests are marked `real_data`, `browser` or `tool`, each with what it needs.
READERS = {
    "mappings/test_real_data.py": REAL_DATA,
    "mappings/test_real_adverse_events.py": REAL_DATA,
    "mappings/test_terminology_r4.py": REAL_DATA,
    "mappings/test_verified_codes.py": VERIFIED_CODES,
    "acceptance/test_cohort_in_real_files.py": REAL_DATA,
    "acceptance/test_every_real_resource.py": REAL_DATA,
    "acceptance/test_hospital_table.py": REAL_DATA,
    "acceptance/test_pushed_r4_schema.py": REAL_DATA,
    "acceptance/test_real_hospital.py": REAL_DATA,
    "export/test_exported_r4_schema.py": REAL_DATA,
    "report/test_in_a_browser.py": CHROMIUM,
    "cli/test_completion_fish.py": FISH,
    "cli/test_completion_zsh.py": ZSH,
    "schedule/test_crontab.py": CRONTAB,
    "schedule/test_systemd_analyze.py": SYSTEMD_ANALYZE,
    "spark/test_spark.py": JAVA,
    "spark/test_spark_command.py": JAVA,
}
collect_ignore = [name for name, needs in READERS.items() if not needs.exists()]
MARKS = {"real_data", "browser", "tool"}
#: The tests with one of these marks that were run, by any process of this run.
_executed: set[str] = set()


def pytest_configure(config: pytest.Config) -> None:
    """Who is started in the background of a script ignores Ctrl-C, and so would every process that a test interrupts."""
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """With `-n auto` one process more than there are cores: tests also wait, for servers and for what they have started."""
    return usable_cores() + 1


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for needs in dict.fromkeys(READERS.values()):
        if not needs.exists():
            terminalreporter.write_line(f"not here: {needs}; the tests that need it were not collected")


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Where tests run in several processes, their reports are what the first of them gets to see."""
    if report.when == "call" and not report.skipped and MARKS & set(report.keywords):
        _executed.add(report.nodeid)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """In CI a full run that has the data, the browser or the program, and leaves one of their tests out has failed."""
    config = session.config
    if hasattr(config, "workerinput"):
        return  # one of several processes: it sees only its share
    promised = os.environ.get("CI") == "true" and is_full(config)
    readers = [name for name, needs in READERS.items() if needs.exists()]
    idle = [name for name in readers if not any(f"tests/{name}::" in test for test in _executed)]
    if promised and idle:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
        reporter = config.pluginmanager.get_plugin("terminalreporter")
        reporter.write_line(f"\nwhat they need is here, and no test of {', '.join(idle)} was run", red=True)


def is_full(config: pytest.Config) -> bool:
    """Whether the run was not narrowed down to some folders, names or marks."""
    narrowed = config.option.keyword or config.option.markexpr or config.option.collectonly
    asked = {(config.invocation_params.dir / argument).resolve() for argument in config.args}
    return not narrowed and bool(asked & {config.rootpath, config.rootpath / "tests"})


@pytest.fixture(scope="session", autouse=True)
def _shipped_tables_are_read_once() -> Iterator[None]:
    """Reading and checking them takes longer than many a command, and they are always the same. A site's own may change."""
    load = site.load_tables
    shipped = cache(load)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(site, "load_tables", lambda tables=(): load(tables) if tables else shipped())
        yield
