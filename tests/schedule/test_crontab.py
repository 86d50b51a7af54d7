"""cron itself reads the line."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.schedule.examples import DEPLOY

if TYPE_CHECKING:
    from tests.schedule.conftest import Ran

pytestmark = pytest.mark.tool


def read_by_cron(path: Path) -> str:
    """What cron has against a crontab; nothing is put in place."""
    done = subprocess.run(["crontab", "-n", str(path)], capture_output=True, text=True, check=False, timeout=60)  # noqa: S607
    return "" if done.returncode == 0 else done.stdout + done.stderr


@pytest.mark.parametrize(
    "words", [[], ["--every", "15m"], ["--every", "6h", "--at", "14:30"], ["--at", "02:30"], ["--user", "root"]]
)
def test_cron_has_nothing_against_it(typed: Callable[..., Ran], tmp_path: Path, words: list[str]) -> None:
    path = tmp_path / "crontab"
    path.write_text(typed("cron", *words).out, encoding="utf-8")
    assert read_by_cron(path) == ""


def test_it_would_have_something_against_a_wrong_one(typed: Callable[..., Ran], tmp_path: Path) -> None:
    path = tmp_path / "crontab"
    path.write_text(typed("cron", "--at", "02:30").out.replace("\n30 2 ", "\n30 25 "), encoding="utf-8")
    assert "bad hour" in read_by_cron(path)


def test_the_example_is_read_too() -> None:
    assert read_by_cron(DEPLOY / "cron.d" / "dm-fhir") == ""
