"""How long a server wants to be left alone: by the letter, and while it prepares an export also by what it seems to mean.

Servers send epochs, in seconds or milliseconds, fractions, ISO dates and "5 minutes" (RFC 9110, section 10.2.3, allows whole
seconds and HTTP dates).
"""

import re
from datetime import UTC, datetime

from dm_fhir.fhir.transport import Answer, http_date

_UNITS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}
_AMOUNT = re.compile(
    r"(?P<amount>\d{1,18}(?:\.\d{1,18})?)\s*"
    r"(?P<unit>ms|millis(?:econds?)?|s|secs?|seconds?|m|mins?|minutes?|h|hrs?|hours?|d|days?)?",
    re.ASCII | re.IGNORECASE,
)
#: A number as large as this is a date: seconds since 1970, from 2001 on; and from there on in milliseconds.
_EPOCH_SECONDS, _EPOCH_MILLISECONDS = 10**9, 10**11
#: Whatever is longer is a mistake: ten years, of which every calendar knows the end.
_LONGEST_SECONDS = 10 * 366 * 86400.0


def standard_wait(answer: Answer) -> float | None:
    """Seconds to wait by Retry-After (a whole number, or a date by the server's own clock); None if it says neither."""
    text = answer.headers.get("Retry-After", "").strip()
    if re.fullmatch("[0-9]{1,9}", text):
        return float(text)
    until = http_date(text)
    return max(0.0, (until - (answer.date or datetime.now(UTC))).total_seconds()) if until else None


def instant(moment: datetime) -> str:
    """A moment in UTC as the ledger writes it, to the second: `2026-05-04T03:02:01Z`."""
    return moment.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def asked_to_wait(answer: Answer) -> float | None:
    """The seconds for which the server wants to be left alone, however it says so; None if it does not say."""
    return seconds_asked(answer.headers.get("Retry-After", ""), answer.date or datetime.now(UTC))


def seconds_asked(text: str, now: datetime) -> float | None:
    """The seconds to wait that a Retry-After means, 0 to ten years; None if it means nothing. `now` is the server's clock."""
    seconds = _seconds_meant(text, now)
    return None if seconds is None else min(max(0.0, seconds), _LONGEST_SECONDS)


def _seconds_meant(text: str, now: datetime) -> float | None:
    text = text.strip().strip('"').strip()
    found = _AMOUNT.fullmatch(text)
    if found is None:
        until = http_date(text) or _iso_date(text)
        return (until - now).total_seconds() if until else None
    amount = float(found["amount"])
    if found["unit"]:
        return amount * _UNITS["ms" if found["unit"].lower().startswith(("ms", "milli")) else found["unit"][0].lower()]
    if amount >= _EPOCH_MILLISECONDS:
        return amount / 1000 - now.timestamp()
    return amount - now.timestamp() if amount >= _EPOCH_SECONDS else amount


def _iso_date(text: str) -> datetime | None:
    if not re.match(r"\d{4}-\d\d-\d\d[T ]", text, re.ASCII):
        return None
    try:
        moment = datetime.fromisoformat(text)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        return None
