"""What a part of the benchmarks is given."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple


class Bench(NamedTuple):
    """An empty folder on a disk, whether the part shall be quick, and where to say how far it is."""

    folder: Path
    is_quick: bool
    say: Callable[[str], None]
