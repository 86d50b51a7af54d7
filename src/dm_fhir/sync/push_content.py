"""What an Observation says, told apart from how it is written: for comparing ours with what the server keeps."""

import hashlib
from decimal import Decimal
from typing import Any

import msgspec

_EXACT = msgspec.json.Decoder(dict[str, Any], float_hook=Decimal)
_SORTED = msgspec.json.Encoder(order="sorted")
#: What a server adds to every resource.
_OF_THE_SERVER = ("id", "meta", "text")


def fingerprint(body: bytes) -> str:
    """The same for everything that says what `body` says, however its keys are ordered and its numbers written."""
    content = {name: value for name, value in _EXACT.decode(body).items() if name not in _OF_THE_SERVER}
    return hashlib.sha256(_SORTED.encode(_normal(content))).hexdigest()


def _normal(value: Any) -> Any:
    match value:
        case dict():
            return {name: _normal(inner) for name, inner in value.items()}
        case list():
            return [_normal(inner) for inner in value]
        case bool() | str() | None:
            return value
    return ["number", f"{Decimal(value).normalize():f}"]


def altered(kept: bytes, sent: bytes) -> list[str]:
    """The elements in which the server's copy differs from what we sent; it may add id, meta and text."""
    theirs, ours = _EXACT.decode(kept), _EXACT.decode(sent)
    added = {name for name in theirs if name not in ours}.difference(_OF_THE_SERVER)
    return sorted({name for name, value in ours.items() if theirs.get(name) != value} | added)
