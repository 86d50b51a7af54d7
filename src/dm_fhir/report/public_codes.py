"""Codes and units that anybody may see: those of public code systems, in the shape that these have, and FHIR's own words.

A hospital's own codes and units may be anything that somebody typed, names included. They stay in the hospital.
"""

import re
from collections.abc import Iterable

from msgspec.structs import replace

from dm_fhir.model.case import Coding, Quantity

UCUM = "http://unitsofmeasure.org"
#: Where a system's address begins, and the shape of its codes.
_SYSTEMS = tuple(
    (start, re.compile(shape, re.ASCII))
    for start, shape in (
        ("http://loinc.org", r"(?:L[APL])?\d{1,8}-\d"),
        ("http://snomed.info/sct", r"\d{6,18}"),
        ("http://www.nlm.nih.gov/research/umls/rxnorm", r"\d{1,8}"),
        ("http://www.whocc.no/atc", r"[A-Z](?:\d\d(?:[A-Z](?:[A-Z](?:\d\d)?)?)?)?"),
        ("http://hl7.org/fhir/sid/icd-", r"[A-Z]\d[0-9A-Z](?:\.[0-9A-Z]{1,4})?"),
        ("http://hl7.org/fhir/sid/ndc", r"\d[\d-]{8,13}"),
        ("http://id.who.int/icd", r"[0-9A-Z]{2,5}(?:\.[0-9A-Z]{1,3})?|\d{5,10}"),
        ("http://ncicb.nci.nih.gov/xml/owl/EVS/Thesaurus.owl", r"C\d{3,7}"),
        ("http://human-phenotype-ontology.org", r"HP:\d{7}"),
        ("https://www.meddra.org", r"\d{8}"),
        ("http://standardterms.edqm.eu", r"\d{8}"),
        ("http://www.cms.gov/Medicare/Coding/HCPCSReleaseCodeSets", r"[A-Z]\d{4}"),
        ("http://terminology.hl7.org/CodeSystem/CAS", r"\d{2,7}-\d\d-\d"),
        ("http://terminology.hl7.org/CodeSystem/", r"[A-Za-z][A-Za-z0-9-]{0,40}"),
        ("https://w3id.org/dm-fhir/CodeSystem/", r"[a-z][a-z0-9-]{1,60}"),
        ("urn:oid:2.16.840.1.113883.6.238", r"\d{4}-\d"),
    )
)
_AMOUNT = r"(?:[munpkcd\u00b5\u03bc]?(?:g|L|l|mol|kat|m|s|U|IU|UI|\[IU\]|\[iU\]|eq)|min|h|d|wk|mo|a|%|mm\[Hg\]|10\*\d{1,2}|1|\{score\})"
_WORD = r"years?|months?|weeks?|days?|hours?|score|points?|tablets?|capsules?|vials?|bags?|\{tbl\}"
_UNIT = re.compile(rf"{_AMOUNT}(?:[./]{_AMOUNT}){{0,3}}|{_WORD}", re.ASCII)
#: FHIR's words for statuses, times of day and the like. Whatever else stands in their place is not FHIR's.
WORDS = frozenset("""
    male female other unknown asked-unknown temp-unknown not-asked asked-declined masked not-applicable unsupported as-text
    error not-a-number negative-infinity positive-infinity not-performed not-permitted
    registered preliminary final amended corrected cancelled appended
    in-progress not-done on-hold completed entered-in-error stopped active draft intended not-taken
    recurrence relapse inactive remission resolved unconfirmed provisional differential confirmed refuted
    proposal plan order original-order reflex-order filler-order instance-order option actual potential
    replaced-by replaces refer seealso < <= > >=
    s min h d wk mo a mon tue wed thu fri sat sun
    MORN MORN.early MORN.late NOON AFT AFT.early AFT.late EVE EVE.early EVE.late NIGHT PHS
    HS WAKE C CM CD CV AC ACM ACD ACV PC PCM PCD PCV
""".split())  # noqa: SIM905  # fmt: skip


def public(codings: Iterable[Coding]) -> tuple[Coding, ...]:
    """Those of a public code system whose code has its shape, without their displays."""
    return tuple(replace(one, display=None) for one in codings if _is_public(one))


def with_public_unit(quantity: Quantity) -> Quantity:
    """The amount with its unit, as text and as a UCUM code, where each is a usual one; else without."""
    unit = quantity.unit if quantity.unit and _UNIT.fullmatch(quantity.unit) else None
    code = quantity.code if quantity.system == UCUM and quantity.code and _UNIT.fullmatch(quantity.code) else None
    comparator = quantity.comparator if quantity.comparator in WORDS else None
    return Quantity(quantity.value, comparator, unit, UCUM if code else None, code)


def _is_public(coding: Coding) -> bool:
    system, code = coding.system or "", coding.code or ""
    return any(system.startswith(start) and shape.fullmatch(code) for start, shape in _SYSTEMS)
