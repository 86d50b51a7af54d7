"""An amount that somebody wrote as text: "450 UI/L", "< 20", "7,5 ukat/L". Read only where a table allows it."""

import re
from decimal import Decimal

from dm_fhir.model.case import Quantity

_FORM = re.compile(
    r"\s*(?P<comparator><=|>=|<|>|≤|≥)?\s*(?P<whole>-?[0-9]{1,12})(?:(?P<mark>[.,])(?P<places>[0-9]{1,12}))?"
    r"\s*(?P<unit>[A-Za-zµμ%\[{][^\s0-9]*)?\s*"
)
_COMPARATORS = {"≤": "<=", "≥": ">="}
_THOUSAND = 3


def quantity_in_text(text: str) -> Quantity | None:
    """The one amount that `text` is; None where it is anything else, or could be two ("1.234" may be a thousand)."""
    form = _FORM.fullmatch(text)
    if form is None:
        return None
    places = form["places"] or ""
    # Half of Europe writes 1.234 for a thousand, the other half for a little more than one. 0.123 is neither's thousand.
    if len(places) == _THOUSAND and form["whole"].lstrip("-") != "0":
        return None
    comparator = form["comparator"] and _COMPARATORS.get(form["comparator"], form["comparator"])
    return Quantity(Decimal(f"{form['whole']}.{places}" if places else form["whole"]), comparator, form["unit"])
