"""What outcomes are called, and the patterns by which a site chooses among them."""

from collections.abc import Iterable, Iterator
from difflib import get_close_matches
from fnmatch import filter as matching

from dm_fhir.mappings.rows import Row
from dm_fhir.outcomes import other_therapies
from dm_fhir.outcomes.battery import variables


def outcome_names(rows: Iterable[Row]) -> tuple[str, ...]:
    """Every outcome: those of the rules, and one for each drug that a site's table adds."""
    drugs = (row.variable for row in rows if row.kind == "medication")
    return tuple(dict.fromkeys((*variables(), *other_therapies.variables(drugs))))


def pattern_faults(patterns: Iterable[str], rows: Iterable[Row]) -> Iterator[str]:
    """A sentence for each pattern that matches no outcome, with the names that are nearest to it."""
    known = outcome_names(rows)
    for pattern in patterns:
        if not matching(known, pattern):
            near = get_close_matches(pattern.strip("*?"), known, n=3, cutoff=0.5)
            meant = f"; near it: {', '.join(near)}" if near else "; what there are: docs/outcomes.md"
            yield f"'{pattern}' matches no outcome{meant}"
