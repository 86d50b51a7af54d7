"""dm-fhir demo, typed as a user types it, and everything that can keep it from running."""

from __future__ import annotations

import importlib.util
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from dm_fhir.config import load_config
from dm_fhir.demo import server
from dm_fhir.errors import DmFhirError

if TYPE_CHECKING:
    from tests.acceptance.conftest import Ran

WITHIN_SECONDS = 180


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the demo is run, once for all tests here."""
    return tmp_path_factory.mktemp("demo") / "try"


@pytest.fixture(scope="module")
def demo(folder: Path) -> subprocess.CompletedProcess[str]:
    """The whole demo."""
    # As one types it, by a relative name: the servers have working folders of their own.
    with started(folder.name, cwd=folder.parent) as process:
        out, err = process.communicate(timeout=WITHIN_SECONDS)
    return subprocess.CompletedProcess([], process.returncode, out, err)


@pytest.fixture
def busy_port() -> Iterator[int]:
    """A port that somebody else has."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        yield other.getsockname()[1]


def started(*words: str, cwd: Path | None = None) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", "from dm_fhir.cli.main import run; run()", "demo", *words]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=cwd, umask=0)


def servers_of(folder: Path) -> list[int]:
    """The running processes whose command line names a file in the folder."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            words = (entry / "cmdline").read_bytes() if entry.name.isdecimal() else b""
        except OSError:  # it has just ended
            continue
        if f"{folder}/servers/".encode() in words:
            found.append(int(entry.name))
    return found


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WITHIN_SECONDS
    while not condition():
        assert time.monotonic() < deadline, "it did not come to pass"
        time.sleep(0.05)


def test_it_runs_to_its_end_and_prints_the_papers_sentence(demo: subprocess.CompletedProcess[str]) -> None:
    assert demo.returncode == 0, demo.stdout + demo.stderr
    assert "CDASI-A reduction of 12 points or 49.4 % (5–21; 26.9 %–77.8 %)" in demo.stdout  # noqa: RUF001  # the paper's dashes
    assert demo.stdout.count("second sync: nothing to compute, nothing written") == 2


def test_it_prints_every_published_figure_beside_the_computed_one(demo: subprocess.CompletedProcess[str]) -> None:
    for line in (
        "  median (range) CDASI-A reduction, percent: 49.4% (26.9% - 77.8%) / 49.4% (26.9% - 77.8%): same",
        "  indication: skin: 91.6% / 91.7% (22 of 24): same count, printed otherwise [91.6 is truncated: 22 of 24 is 91.67 %]",
        "  years from diagnosis to initiation, means compared: -4.2 / -4.2: impossible_if_same_patients: the paper contradicts itself",
    ):
        assert line in demo.stdout
    assert "  28 figures: 28 same\n" in demo.stdout
    assert "  60 figures: 55 same; " in demo.stdout
    assert demo.stdout.count("The persons of the sample are invented") == 2


def test_it_leaves_configs_stores_and_reports_all_private(
    demo: subprocess.CompletedProcess[str], folder: Path, dm_fhir: Callable[..., Ran]
) -> None:
    for paper, sites in (("four-patients", 1), ("twenty-four-patients", 3)):
        home = folder / paper
        assert f"config {home.relative_to(folder.parent) / 'dm-fhir.toml'}" in demo.stdout
        assert len(load_config(home / "dm-fhir.toml").sites) == sites
        modes = {file.name: oct(file.stat().st_mode & 0o777) for file in home.iterdir()}
        files = dict.fromkeys(("dm-fhir.sqlite", "dm-fhir.sqlite.lock", "dm-fhir.toml"), "0o600")
        assert modes == files | {"keys": "0o700", "report": "0o700"}
        assert {oct(path.stat().st_mode & 0o777) for path in (home / "report").rglob("*")} == {"0o600", "0o700"}
        assert oct((home / "keys" / "pseudonym.key").stat().st_mode & 0o777) == "0o600"
        assert dm_fhir("--config", str(home / "dm-fhir.toml"), "status").code == 0
    made = [folder, *folder.rglob("*")]
    assert (folder / "servers").is_dir()
    assert [str(path) for path in made if path.stat().st_mode & 0o077] == []  # begun under a umask that hides nothing


def test_what_it_proposes_to_try_next_works(
    demo: subprocess.CompletedProcess[str], folder: Path, dm_fhir: Callable[..., Ran], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder.parent)
    proposed = [line.split() for line in demo.stdout.splitlines() if line.startswith("  dm-fhir --config ")]

    assert len(proposed) == 3
    assert [dm_fhir(*words[1:]).code for words in proposed] == [0, 0, 0]


@pytest.mark.usefixtures("demo")
def test_no_server_is_left(folder: Path) -> None:
    assert servers_of(folder) == []


@pytest.mark.usefixtures("demo")
def test_a_second_run_in_its_folder_is_refused(folder: Path, dm_fhir: Callable[..., Ran]) -> None:
    ran = dm_fhir("demo", str(folder))

    assert ran.code == 2
    assert f"dm-fhir: {folder} exists already\n" in ran.err
    assert "--replace begins again there" in ran.err
    assert (folder / "four-patients" / "report" / "report.html").is_file()


def test_a_folder_that_is_no_demo_is_never_replaced(tmp_path: Path, dm_fhir: Callable[..., Ran]) -> None:
    (tmp_path / "thesis.txt").write_text("years of work", encoding="utf-8")

    ran = dm_fhir("demo", str(tmp_path), "--replace")

    assert ran.code == 2
    assert "the demo never writes into a folder that is not its own" in ran.err
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 130), (signal.SIGKILL, -9)])
def test_a_run_that_is_stopped_in_the_middle_leaves_no_server(tmp_path: Path, number: int, code: int) -> None:
    """With --replace, which begins again where an earlier demo left its folder."""
    folder = tmp_path / "try"
    (folder / "old").mkdir(parents=True)
    (folder / "demo.json").write_text("{}", encoding="utf-8")

    with started(str(folder), "--replace") as process:
        wait_until(lambda: len(servers_of(folder)) == 4)
        assert not (folder / "old").exists()
        process.send_signal(number)
        _, err = process.communicate(timeout=WITHIN_SECONDS)

    assert process.returncode == code, err
    wait_until(lambda: not servers_of(folder))


def test_a_busy_port_is_named(tmp_path: Path, dm_fhir: Callable[..., Ran], busy_port: int) -> None:
    ran = dm_fhir("demo", str(tmp_path / "try"), "--port", str(busy_port))

    assert ran.code == 2
    assert f"dm-fhir: port {busy_port} on 127.0.0.1 is in use" in ran.err
    assert not (tmp_path / "try").exists()


def test_a_missing_extra_is_named_with_its_pip_line(
    tmp_path: Path, dm_fhir: Callable[..., Ran], monkeypatch: pytest.MonkeyPatch
) -> None:
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *more: None if name == "sekmet" else find_spec(name, *more)
    )

    ran = dm_fhir("demo", str(tmp_path / "try"))

    assert ran.code == 2
    assert ran.err.endswith(
        "the demo needs the FHIR server sekmet-fhir\n  install it with: pip install 'dm-fhir[demo]'\n"
    )
    assert not (tmp_path / "try").exists()


def test_a_server_that_dies_at_its_start_is_told_with_its_log(
    tmp_path: Path, private_key: Path, busy_port: int
) -> None:
    public = private_key.with_name("public.pem")

    with (
        pytest.raises(DmFhirError, match=r"(?s)the server of leon ended while starting:.*address already in use"),
        server.running(["madrid", "leon"], [*server.choose_ports(1, None), busy_port], tmp_path, public) as started,
    ):
        assert started == "it came up"
    assert servers_of(tmp_path) == []
    assert os.path.exists(tmp_path / "leon" / "server.log")
