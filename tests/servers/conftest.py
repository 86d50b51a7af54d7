"""A hospital with three patients, and a study at it."""

import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from .hospital import Hospital, serving
from .records import population
from .study import Study, new_study

PATIENTS = ("p1", "p2", "p3")
#: A pull that does not end by itself ends its test.
LONGEST_TEST_SECONDS = 20


@pytest.fixture(autouse=True)
def _ends_by_itself() -> Iterator[None]:
    def stop(_: int, __: FrameType | None) -> None:
        pytest.fail(f"not over after {LONGEST_TEST_SECONDS} seconds")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(LONGEST_TEST_SECONDS)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture
def hospital() -> Iterator[Hospital]:
    """A running server that holds three patients' records."""
    with serving(Hospital(population(*PATIENTS))) as hospital:
        yield hospital


@pytest.fixture
def study_of(hospital: Hospital, tmp_path: Path) -> Callable[..., Study]:
    """Makes the study: its cohort is the hospital's three patients, unless told otherwise."""

    def make(**more: Any) -> Study:
        return new_study(tmp_path, hospital.endpoint, **{"patients": PATIENTS, **more})

    return make
