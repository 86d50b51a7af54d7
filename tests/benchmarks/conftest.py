"""The benchmarks' modules, which are scripts beside each other and no package."""

import sys
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(scope="module")
def load() -> Iterator[Callable[..., SimpleNamespace]]:
    """Gives the modules of these names. None of them stays behind for other tests."""
    before = set(sys.modules)
    sys.path.insert(0, str(BENCHMARKS))
    yield lambda *names: SimpleNamespace(**{name.replace(".", "_"): import_module(name) for name in names})
    sys.path.remove(str(BENCHMARKS))
    for name in set(sys.modules) - before:
        if str(BENCHMARKS) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]
