"""Why a record of a patient is not in the case: what the mapping counts it under, what it finds wrong, which codes it has."""

import msgspec

from dm_fhir.mappings.case import Record
from dm_fhir.mappings.medication import Medications
from dm_fhir.mappings.seen import Sight, sights
from dm_fhir.mappings.site import SiteMapper
from dm_fhir.model.case import Finding

_MOST_CHARACTERS = 80


class Code(msgspec.Struct, frozen=True):
    """A code of the record. `variable` is the row that knows it, None if none does."""

    element: str
    system: str
    code: str
    display: str | None
    variable: str | None


class LeftOut(msgspec.Struct, frozen=True):
    """Why it is left out, as the case counts it (empty: it is used), with its findings and its codes."""

    why: list[str]
    findings: tuple[Finding, ...]
    codes: list[Code]


def left_out(mapper: SiteMapper, patient: str, record: Record, medications: Medications) -> LeftOut:
    """What comes of one record alone, read as one of this patient's."""
    case = mapper.case(patient, [record], medications)
    try:
        seen = sights(record.type, record.body, mapper.tables, medications, mapper.drug)
    except msgspec.DecodeError:
        seen = ()
    codes = [
        Code(
            one.element,
            coding.system or "",
            coding.code or "",
            coding.display[:_MOST_CHARACTERS] if coding.display else None,
            one.row.variable if one.row else None,
        )
        for one in seen
        if isinstance(one, Sight)
        for coding in one.codings
    ]
    return LeftOut(list(case.left_out), case.findings, codes)
