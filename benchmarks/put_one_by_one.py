"""The least that a program of one's own would do: ready resources from a file, each put by its identifier, with requests.

python put_one_by_one.py BASE FILE HOW_MANY  prints how many the server took
"""

import sys
from pathlib import Path
from urllib.parse import quote

import msgspec
import requests


def main(base: str, file: str, how_many: str) -> None:
    """Put the first so many. It notes nothing, reads nothing back, and ends at the first answer that is no success."""
    bodies = msgspec.json.decode(Path(file).read_bytes(), type=list[msgspec.Raw])[: int(how_many)]
    taken = 0
    with requests.Session() as session:
        session.headers["Content-Type"] = "application/fhir+json"
        for body in bodies:
            name = msgspec.json.decode(body)["identifier"][0]
            condition = quote(f"{name['system']}|{name['value']}", safe="")
            answer = session.put(f"{base}/Observation?identifier={condition}", data=bytes(body), timeout=60)
            answer.raise_for_status()
            taken += 1
    sys.stdout.write(f"{taken}\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
