"""The dates of one patient moved by so many days: intervals stay, the calendar goes.

The days of a patient follow from the pseudonym key, so they are the same in every export. A month or a year cannot be
moved by days: it becomes the most precise date that surely holds it, or goes; both are counted.
"""

import hashlib
import hmac
from collections import Counter
from datetime import date, tzinfo

from dm_fhir.model.case import Case, Dates
from dm_fhir.model.dates import is_date, moved
from dm_fhir.outcomes.battery import exposure_of

#: Where the day of the first infusion is put when dates are counted from it.
DAY_0 = date(2000, 1, 1)
_MOST_DAYS = 365


def days_to_move(case: Case, key: bytes, dates: Dates) -> int | None:
    """By how many days the case's dates are moved; None where there is no day of a first infusion to count from.

    `shifted`: 1 to 365 days back, by the key and the person, or the patient at the site where no person is known.
    """
    if dates == "kept":
        return 0
    if dates == "shifted":
        whose = case.person or f"{case.site}|{case.id}"
        digest = hmac.new(key, f"dates|{whose}".encode(), hashlib.sha256).digest()
        return -1 - int.from_bytes(digest[:8], "big") % _MOST_DAYS
    first = exposure_of(case).first
    return (DAY_0 - first.day).days if first and first.day else None


class MovedDates:
    """Moves dates by `days`, None: takes all of them away. `lost` counts what became `coarser` and what was `left_out`."""

    def __init__(self, days: int | None, zone: tzinfo) -> None:
        self._days, self._zone = days, zone
        self.lost: Counter[str] = Counter()

    def moved(self, text: str) -> str | None:
        """The date as it leaves; None where it cannot be moved, and for what is no date, which may be any text."""
        if not is_date(text):
            return None
        try:
            found = moved(text, self._days, self._zone) if self._days is not None else None
        except (ValueError, OverflowError):  # a day that no calendar has, or one moved out of it
            found = None
        if found is None:
            self.lost["left_out"] += 1
        elif len(found) < len(text) and "T" not in text:
            self.lost["coarser"] += 1
        return found
