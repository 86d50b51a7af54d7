"""Strategies for parts of the model, shared by the round trips. Text is never empty, as FHIR demands of strings.

What the tables say of a record (a variable, a dose in mg) is derived by the mappings' own public functions.
"""

from decimal import Decimal
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from dm_fhir.mappings.codes import Tables, load_tables
from dm_fhir.model.case import Coding, Concept, Identifier, Period, Quantity, Ratio, Source

MODEST = settings(
    max_examples=100, deadline=None, derandomize=True, database=None, suppress_health_check=[HealthCheck.too_slow]
)


def maybe(strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.none() | strategy


def few(strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[tuple[Any, ...]]:
    return st.lists(strategy, max_size=3).map(tuple)


TEXTS = st.text(st.characters(codec="utf-8"), min_size=1, max_size=12)
IDS = st.text("ABCabc019-.", min_size=1, max_size=64)
MOMENTS = st.sampled_from(
    ["2024", "2024-03", "2024-03-05", "2024-03-05T10:00:00-04:00", "2124-02-29T23:59:60.123456789Z", "2024-03-05T10:00"]
)
NUMBERS = st.decimals(allow_nan=False, allow_infinity=False) | st.sampled_from(
    [
        Decimal("24.50"),
        Decimal("0"),
        Decimal("0.00"),
        Decimal("1E+3"),
        Decimal("-1.5"),
        Decimal("3." + "1234567890" * 5),
    ]
)


def with_methods() -> Tables:
    """The shipped tables give no dosage method a meaning; a site's does."""
    shipped = load_tables()
    row = shipped.rows["answer", "positive"]
    known = {
        ("method", *key[1:]): replace(row, kind="method", variable="not-done")
        for key in shipped.by_code
        if key[0] == "answer"
    }
    return replace(shipped, by_code=shipped.by_code | known)


TABLES = with_methods()
KNOWN_CODES = sorted(TABLES.by_code)


def codings(kind: str) -> st.SearchStrategy[Coding]:
    """Codes that the tables know as `kind`, and codes that nobody knows."""
    known = [Coding(system, code) for found, system, code in KNOWN_CODES if found == kind]
    unknown = st.builds(Coding, maybe(TEXTS), maybe(TEXTS), maybe(TEXTS))
    return st.sampled_from(known) | unknown if known else unknown


def concepts(kind: str) -> st.SearchStrategy[Concept]:
    """As recorded; which variable it is, only the tables say."""
    return st.builds(Concept, few(codings(kind)), maybe(TEXTS))


def meant(kind: str) -> st.SearchStrategy[Concept]:
    """As recorded, with the variable that the tables see in it."""
    return concepts(kind).map(lambda c: TABLES.concept(kind, c.codings, c.text))


UNITS = st.sampled_from(["mg", "g", "mL", "{vial}", "U/L", "ukat/L", "{score}", "1", "IU/L", "{tbl}", "??"])
QUANTITIES = st.builds(
    Quantity,
    maybe(NUMBERS),
    maybe(st.sampled_from(["<", "<=", ">=", ">"])),
    maybe(UNITS),
    maybe(st.just("http://unitsofmeasure.org")),
    maybe(UNITS),
)
RATIOS = st.builds(Ratio, maybe(QUANTITIES), maybe(QUANTITIES))
IDENTIFIERS = few(st.builds(Identifier, maybe(TEXTS), maybe(TEXTS)))
PERIODS = st.builds(Period, maybe(MOMENTS), maybe(MOMENTS))
REFERENCES = TEXTS | st.just("")


def sources(kind: str) -> st.SearchStrategy[Source]:
    return st.builds(lambda id, version: Source("north", f"{kind}/{id}", version), IDS, maybe(IDS))
