"""One record looked at by itself: what FHIR objects to, and what a case series would make of it. Nothing of it is told."""

from collections.abc import Mapping
from typing import NamedTuple

import msgspec

from dm_fhir.mappings.case import read_case
from dm_fhir.mappings.codes import Tables
from dm_fhir.mappings.datatypes import Reference, read
from dm_fhir.mappings.medication import medication_concept
from dm_fhir.mappings.medication_administration import MedicationAdministration
from dm_fhir.mappings.validity import NO_TYPE, Fault, faults_in, is_read
from dm_fhir.model.case import Finding

#: A resource that names its drug by reference to a Medication that is none of its own.
ELSEWHERE = "its Medication is another resource, so its drug was not looked at"


class Checked(NamedTuple):
    """What is wrong with a record as FHIR; the findings it makes; and why it says nothing to the study, by reason."""

    faults: list[Fault]
    findings: list[Finding]
    left_out: Mapping[str, int]


class _Record(NamedTuple):
    type: str
    id: str
    version: str | None
    last_updated: str | None
    body: bytes


class _Referring(msgspec.Struct, frozen=True):
    medicationReference: Reference | None = None


def check_record(type_name: str, id_: str, body: bytes, tables: Tables, timezone: str) -> Checked:
    """What `body`, a resource of this type and id, comes to at a site with these tables and this zone.

    A drug that is given counts as the study's, so that each administration is looked at.
    """
    faults = faults_in(body)
    if not is_read(type_name):
        is_fhir = all(fault.message != NO_TYPE for fault in faults)
        return Checked(faults, [], {f"{type_name}: not part of the case series": 1} if is_fhir else {})
    if type_name == "Medication":
        return Checked(faults, [], {})
    record = _Record(type_name, id_, None, None, body)
    case = read_case(f"Patient/{id_}", "", timezone, _drug(body, tables), [record], tables, {})
    findings = [one for one in case.findings if one.code != "unreadable"]  # the faults name what cannot be read
    if _is_elsewhere(body):
        known = [one for one in findings if one.code != "medication_unresolved"]
        return Checked(faults, known, {f"{type_name}: {ELSEWHERE}": 1})
    return Checked(faults, findings, case.left_out)


def _drug(body: bytes, tables: Tables) -> str:
    try:
        concept = medication_concept(read(body, MedicationAdministration), tables, {})
    except msgspec.DecodeError:  # another type, or one that cannot be read
        return ""
    return (concept.variable if concept else None) or ""


def _is_elsewhere(body: bytes) -> bool:
    try:
        reference = read(body, _Referring).medicationReference
    except msgspec.DecodeError:
        return False
    return reference is not None and not (reference.reference or "#").startswith("#")
