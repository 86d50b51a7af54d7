"""Merged patients: which records of a hospital are one person's, by what the Patients say they replace.

`seealso` and `refer` merge nothing. When a link is gone again, so is the merge: nothing here remembers.
"""

from collections.abc import Collection, Iterable, Mapping
from typing import NamedTuple


class Person(NamedTuple):
    """One person: every patient whose records are theirs, in order, and the one that remains.

    `is_clear` is False where the links do not say which one remains: they go in a circle, or to several. `missing` are the
    patients that should remain, and that nobody told us of but a link.
    """

    survivor: str
    members: tuple[str, ...]
    is_clear: bool = True
    missing: tuple[str, ...] = ()


def people(patients: Collection[str], links: Iterable[tuple[str, str, str]]) -> dict[str, Person]:
    """The person behind each of the patients. A link is a patient, `replaced-by` or `replaces`, and another patient."""
    replaced_by = _replaced_by(links)
    neighbours = _both_ways(replaced_by)
    known = set(patients)
    found: dict[str, Person] = {}
    for patient in patients:
        if patient not in found:
            everybody = _reached(patient, neighbours)
            person = _person(everybody & known, replaced_by)
            found.update(dict.fromkeys(person.members, person))
    return found


def _person(members: set[str], replaced_by: Mapping[str, set[str]]) -> Person:
    """Who is replaced by nobody known remains; where there is none, whoever is replaced in a circle and by nobody else."""
    leads_to = {member: _reached(member, replaced_by) for member in members}
    by_nobody = [member for member, others in leads_to.items() if others & members == {member}]
    in_circle = [member for member, others in leads_to.items() if all(member in leads_to[o] for o in others & members)]
    last = by_nobody or in_circle
    unknown = set().union(*leads_to.values()) - members
    missing = sorted(one for one in unknown if not _reached(one, replaced_by) & members)
    return Person(min(last), tuple(sorted(members)), len(last) == 1, tuple(missing))


def _replaced_by(links: Iterable[tuple[str, str, str]]) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for patient, kind, other in links:
        if patient != other and kind == "replaced-by":
            found.setdefault(patient, set()).add(other)
        elif patient != other and kind == "replaces":
            found.setdefault(other, set()).add(patient)
    return found


def _both_ways(edges: Mapping[str, set[str]]) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for one, others in edges.items():
        for other in others:
            found.setdefault(one, set()).add(other)
            found.setdefault(other, set()).add(one)
    return found


def _reached(start: str, edges: Mapping[str, set[str]]) -> set[str]:
    """`start` and all to which the edges lead from it."""
    found, ahead = {start}, [start]
    while ahead:
        new = edges.get(ahead.pop(), set()) - found
        found |= new
        ahead += new
    return found
