"""The least that a pull could do: the same pages once more, each decoded with msgspec, nothing kept.

`typed` decodes them to the types and ids of their entries, which is the least that tells them apart; `whole` to dictionaries.
"""

import json
import sys
from pathlib import Path

import msgspec
import requests


class _Resource(msgspec.Struct):
    resourceType: str
    id: str


class _Entry(msgspec.Struct):
    resource: _Resource


class _Bundle(msgspec.Struct):
    entry: list[_Entry] = []


def main(root: str, requests_file: str, how: str) -> None:
    """Send every recorded search again, one after the other, and print how many entries came."""
    session, read = requests.Session(), 0
    for method, target, form in json.loads(Path(requests_file).read_text(encoding="utf-8")):
        headers = {"Content-Type": "application/x-www-form-urlencoded"} if form else None
        answer = session.request(method, root + target, data=form or None, headers=headers, timeout=60)
        if how == "typed":
            read += len(msgspec.json.decode(answer.content, type=_Bundle).entry)
        else:
            read += len(msgspec.json.decode(answer.content).get("entry", ()))
    sys.stdout.write(f"{read}\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
