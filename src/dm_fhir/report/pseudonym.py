"""A case without what could name the patient: pseudonyms for references, the year for the birth date, no free text.

Names and addresses are never read. Dates of treatment and assessment stay: the outcomes are made of them.
"""

import hashlib
import hmac
from typing import Any

import msgspec
from msgspec.structs import replace

from dm_fhir.model.case import (
    Action,
    Administration,
    AdverseEvent,
    Assessment,
    Case,
    Coding,
    Concept,
    Condition,
    Dosing,
    Finding,
    Link,
    Measured,
    Outcome,
    Range,
    Source,
    Subject,
    Suspect,
    Therapy,
)


def pseudonymised(case: Case, key: bytes) -> Case:
    """`case` under pseudonyms that are the same wherever the key is the same."""
    parts: Case = _Veil(key, case.site).over(case)
    return replace(parts, id=_Veil(key, case.site).name(case.id))


def pseudonym(key: bytes, site: str, reference: str) -> str:
    """What `reference` (`Type/id`, or with a path behind `#`) is called in an exported document."""
    return _Veil(key, site).name(reference)


class _Veil:
    """Goes through the parts of a case; a rule per kind of part says what is taken away."""

    def __init__(self, key: bytes, site: str) -> None:
        self._key, self._site = key, site

    def over(self, part: Any) -> Any:
        if isinstance(part, tuple):
            return tuple(map(self.over, part))
        if not isinstance(part, msgspec.Struct):
            return part
        inside = {name: self.over(getattr(part, name)) for name in part.__struct_fields__}
        return self._without(replace(part, **inside))

    def name(self, reference: str) -> str:
        """`Type/pseudonym`, with the path kept where there is one."""
        whole, hash_mark, path = reference.partition("#")
        kind = whole.partition("/")[0]
        kind = kind if kind.isalpha() else "Record"  # an address, a URN or a search says more than a type
        digest = hmac.new(self._key, f"{self._site}|{whole}".encode(), hashlib.sha256).hexdigest()[:16]
        return f"{kind}/{digest}{hash_mark}{path}"

    def _without(self, part: Any) -> Any:
        match part:
            case Source():
                return replace(part, reference=self.name(part.reference), last_updated=None)
            case Subject():
                year = part.birth_date[:4] if part.birth_date else None
                return replace(
                    part, identifiers=(), birth_date=year, deceased_at=part.deceased_at and part.deceased_at[:7]
                )
            case Link():
                return replace(part, other=self.name(part.other))
            case Coding():
                return replace(part, display=None)
            case Concept():
                # Local codes and texts that no table knows may carry anything, names included.
                return replace(part, text=None, codings=part.codings if part.variable else ())
            case Measured():
                # A day or a time that is a result may be one of the patient's life.
                return replace(part, string=None, date_time=None, time_of_day=None, period=None)
            case Assessment():
                return replace(
                    part,
                    identifiers=(),
                    specimen=part.specimen and self.name(part.specimen),
                    members=tuple(map(self.name, part.members)),
                    derived_from=tuple(map(self.name, part.derived_from)),
                )
            case Range():
                return replace(part, text=None)
            case Administration():
                reference = part.medication_reference
                return replace(
                    part,
                    identifiers=(),
                    part_of=tuple(map(self.name, part.part_of)),
                    request=part.request and self.name(part.request),
                    medication_reference=reference and self.name(reference),
                )
            case Therapy():
                reference = part.medication_reference
                based_on = tuple(map(self.name, part.based_on))
                return replace(
                    part, identifiers=(), based_on=based_on, medication_reference=reference and self.name(reference)
                )
            case Dosing():
                return replace(part, text=None)
            case Condition():
                return replace(part, identifiers=(), onset_text=None, abatement_text=None)
            case AdverseEvent():
                return replace(
                    part,
                    identifier=None,
                    resulting_conditions=tuple(map(self.name, part.resulting_conditions)),
                    resulting_effects=tuple(map(self.name, part.resulting_effects)),
                )
            case Suspect() | Action():
                return replace(part, reference=part.reference and self.name(part.reference))
            case Finding():
                return replace(part, reference=self.name(part.reference))
            case Outcome():
                return replace(part, about=part.about and self.name(part.about))
        return replace(part, identifiers=()) if hasattr(part, "identifiers") else part
