"""dm-fhir's own ways to read an Observation, and the least that a reader could do. Prints how many a second of processor time.

python read_own.py WAY FILE
"""

import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec
from peers.parse_observation import per_second

from dm_fhir.fhir.resource import plain_heads, plain_resources
from dm_fhir.mappings.observation import Observation

_LINES_TOGETHER = 100


class _Bare(msgspec.Struct, gc=False):
    resourceType: str
    id: str


def _filed(bodies: Sequence[bytes]) -> object:
    """As the lines of a file are."""
    heads = plain_heads(bodies)
    return heads and plain_resources(heads, bodies)


def main(way: str, file: str) -> None:
    """Read every line of the file this way."""
    lines = Path(file).read_bytes().splitlines()
    if way == "filed":
        together = [lines[start : start + _LINES_TOGETHER] for start in range(0, len(lines), _LINES_TOGETHER)]
        rate = per_second(_filed, together, _LINES_TOGETHER)
    else:
        rate = per_second(msgspec.json.Decoder(Observation if way == "view" else _Bare).decode, lines)
    sys.stdout.write(f"{rate}\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
