"""What of a pull's time is waiting that its plan cannot avoid."""

from collections import Counter
from collections.abc import Sequence
from urllib.parse import unquote_plus

from served import Request


def unavoidable_seconds(requests: Sequence[Request], delay_seconds: float, at_a_time: int) -> float:
    """The waiting for these requests, so many at a time, but never less than the longest chain of them one by one.

    A chain: what is asked before the first search that names patients, then the pages of the longest search.
    """
    before = next((number for number, one in enumerate(requests) if names_patients(one)), len(requests))
    pages = Counter(_without_offset(one) for one in requests[before:])
    chain = before + max(pages.values(), default=0)
    return delay_seconds * max(len(requests) / at_a_time, chain)


def names_patients(request: Request) -> bool:
    """Whether this request is for the records of patients that it names."""
    asked = f"{request.target}&{request.form}".replace("?", "&")
    return any(f"&{name}=" in asked for name in ("patient", "subject", "_id"))


def _without_offset(request: Request) -> str:
    return unquote_plus(f"{request.target}&{request.form}").partition("&_offset=")[0]
