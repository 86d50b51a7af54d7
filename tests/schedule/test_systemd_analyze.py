"""systemd itself reads the unit and the timer without a word, and says how little the unit may do."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.schedule.conftest import CONFIG
from tests.schedule.examples import examples

if TYPE_CHECKING:
    from tests.schedule.conftest import Ran

pytestmark = pytest.mark.tool
#: As written by systemd-analyze: 0 is the least exposed, 10 the most.
MOST_EXPOSED = 2.0


def analyze(*words: str) -> subprocess.CompletedProcess[str]:
    """What systemd-analyze says, warnings and all."""
    return subprocess.run(["systemd-analyze", *words], capture_output=True, text=True, check=False, timeout=60)  # noqa: S607


def verified(folder: Path) -> str:
    """What systemd has to say against the units in a folder."""
    done = analyze("verify", "--man=no", *map(str, sorted([*folder.glob("*.service"), *folder.glob("*.timer")])))
    return f"{done.stdout}{done.stderr}{done.returncode or ''}"


@pytest.mark.parametrize(
    "store", ["/var/lib/dm-fhir/dm-fhir.sqlite", "/var/lib/a b/c/dm.sqlite", "the 100 % store/dm.sqlite"]
)
@pytest.mark.parametrize(
    "words", [[], ["--every", "15m"], ["--every", "6h", "--at", "14:30"], ["--at", "02:30", "--user", "root"]]
)
def test_systemd_has_nothing_to_say(
    typed: Callable[..., Ran], config: Path, tmp_path: Path, store: str, words: list[str]
) -> None:
    config.write_text(CONFIG.replace("/var/lib/dm-fhir/dm-fhir.sqlite", store), encoding="utf-8")
    assert typed("systemd", "-o", str(tmp_path / "units"), *words).code == 0
    assert verified(tmp_path / "units") == ""


def test_it_would_say_something_of_a_wrong_unit(typed: Callable[..., Ran], tmp_path: Path) -> None:
    typed("systemd", "-o", str(tmp_path))
    [unit] = tmp_path.glob("*.service")
    unit.write_text(unit.read_text(encoding="utf-8").replace("ProtectClock", "ProtectClok"), encoding="utf-8")
    assert "Unknown key 'ProtectClok' in section [Service]" in verified(tmp_path)


def test_the_unit_may_do_little(typed: Callable[..., Ran], tmp_path: Path) -> None:
    typed("systemd", "-o", str(tmp_path))
    [unit] = tmp_path.glob("*.service")
    done = analyze("security", "--offline=yes", f"--threshold={10 * MOST_EXPOSED:.0f}", "--no-pager", str(unit))
    assert done.returncode == 0, done.stdout
    told = re.search(r"exposure level for \S+: ([0-9.]+)", done.stdout)
    assert told is not None
    assert float(told[1]) <= MOST_EXPOSED


@pytest.mark.parametrize(
    ("words", "first", "second"),
    [
        (["--every", "15m"], None, 15),
        (["--every", "1h", "--at", "00:20"], "00:20:00", 60),
        (["--every", "6h", "--at", "14:30"], "02:30:00", 360),
        (["--at", "02:30"], "02:30:00", 1440),
    ],
)
def test_the_timer_elapses_as_asked(
    typed: Callable[..., Ran], words: list[str], first: str | None, second: int
) -> None:
    [calendar] = re.findall(r"^OnCalendar=(.*)$", typed("systemd", *words).out, re.MULTILINE)
    base = ["--base-time=2026-03-02 23:59:59 UTC", "--iterations=2"]
    done = analyze("calendar", *base, calendar)
    assert done.returncode == 0, done.stderr
    [one, two] = re.findall(r"(?:Next elapse|#2): \w+ \S+ (\S+) UTC", done.stdout)
    assert first in (None, one)
    assert (_minutes(two) - _minutes(one)) % 1440 == second % 1440


def _minutes(time: str) -> int:
    hours, minutes, _ = map(int, time.split(":"))
    return 60 * hours + minutes


def test_the_example_is_verified_too(tmp_path: Path) -> None:
    for name, text in examples(Path(sys.executable)).items():
        if name.startswith("dm-fhir."):
            (tmp_path / name).write_text(text, encoding="utf-8")
    assert verified(tmp_path) == ""
