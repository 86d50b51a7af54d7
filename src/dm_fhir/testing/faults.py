"""What can go wrong with a server on purpose: statuses, silence, broken connections, answers that are not whole."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

import msgspec
from requests import ConnectionError as RequestsConnectionError
from requests import ReadTimeout

#: `timeout`: no answer comes. `connection`: it breaks. `truncated`: half of the answer comes. `duplicated-page`: a page has the
#: rows of the one before instead of its own. `bad-resource`: the first resource of a page has no id.
Kind = Literal["timeout", "connection", "truncated", "duplicated-page", "bad-resource"]
Answer = tuple[int, dict[str, str], bytes]
_ENCODER = msgspec.json.Encoder(decimal_format="number")


@dataclass
class Fault:
    """What happens to the next `times` requests that begin with `request`: an HTTP status, or one of the kinds."""

    request: str
    kind: int | Kind
    body: bytes
    times: int
    headers: dict[str, str]

    def meets(self, asked: str) -> bool:
        """Whether it befalls this request. Only a page after the first can repeat the one before."""
        is_there = self.kind != "duplicated-page" or "_offset=" in asked
        return self.times > 0 and is_there and asked.startswith(self.request)


def first_met(faults: Sequence[Fault], asked: str) -> Fault | None:
    """The first of the faults that befalls this request, which is used up by one; None if none does."""
    met = next((one for one in faults if one.meets(asked)), None)
    if met:
        met.times -= 1
    return met


def instead(fault: Fault) -> Answer | Exception | None:
    """What comes without the server being asked at all; None where the fault is in its answer."""
    if fault.kind == "timeout":
        return ReadTimeout("no answer came")
    if fault.kind == "connection":
        return RequestsConnectionError("the connection broke")
    if isinstance(fault.kind, int):
        return fault.kind, {"Content-Type": "application/fhir+json", **fault.headers}, fault.body
    return None


def spoilt(answer: Answer, kind: int | Kind) -> Answer:
    """The server's answer with the fault in it."""
    status, headers, body = answer
    if kind == "truncated":
        return status, headers, body[: len(body) // 2]
    if kind == "bad-resource":
        bundle = json.loads(body, parse_float=Decimal)
        for entry in bundle.get("entry", [])[:1]:
            entry["resource"].pop("id", None)
        return status, headers, _ENCODER.encode(bundle)
    return answer
