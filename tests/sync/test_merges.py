"""Merged patients: one person each, whatever way the links point, and apart again without them."""

import json
from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dm_fhir.mappings.site import SiteMapper
from dm_fhir.sync.merges import Person, people

Link = tuple[str, str, str]


def survivors(patients: str, *links: Link) -> dict[str, str]:
    """Who remains, by patient; each letter is one."""
    return {patient: person.survivor for patient, person in people(patients, links).items()}


@pytest.mark.parametrize("kind", ["seealso", "refer", "", "REPLACES"])
def test_other_links_merge_nothing(kind: str) -> None:
    assert people("AB", [("A", kind, "B")]) == {"A": Person("A", ("A",)), "B": Person("B", ("B",))}


@pytest.mark.parametrize(
    "links",
    [
        [("A", "replaced-by", "B")],
        [("B", "replaces", "A")],
        [("A", "replaced-by", "B"), ("B", "replaces", "A"), ("A", "replaced-by", "B")],
        [("A", "replaced-by", "B"), ("B", "replaces", "B"), ("A", "replaced-by", "A")],
    ],
)
def test_a_patient_that_is_replaced_is_the_one_that_replaces_it(links: list[Link]) -> None:
    together = Person("B", ("A", "B"))
    assert people("ABC", links) == {"A": together, "B": together, "C": Person("C", ("C",))}


def test_chains_end_at_the_one_that_nobody_replaces() -> None:
    assert survivors(
        "ABCD", ("D", "replaced-by", "C"), ("B", "replaces", "C"), ("B", "replaced-by", "A")
    ) == dict.fromkeys("ABCD", "A")


def test_a_circle_has_its_smallest_member_remain_and_says_so() -> None:
    links = [("B", "replaced-by", "C"), ("C", "replaced-by", "B"), ("A", "replaced-by", "B")]
    assert people("ABC", links)["A"] == Person("B", ("A", "B", "C"), is_clear=False)


def test_a_circle_aside_leaves_clear_who_is_replaced_by_nobody() -> None:
    links = [("A", "replaced-by", "D"), ("A", "replaced-by", "B"), ("B", "replaced-by", "C"), ("C", "replaced-by", "B")]
    assert people("ABCD", links)["A"] == Person("D", ("A", "B", "C", "D"))


def test_one_that_is_replaced_by_two_is_one_person_and_says_so() -> None:
    links = [("B", "replaced-by", "C"), ("B", "replaced-by", "A")]
    assert people("ABC", links)["B"] == Person("A", ("A", "B", "C"), is_clear=False)


def test_a_replaced_patient_that_we_do_not_have_is_harmless() -> None:
    assert people("B", [("B", "replaces", "A")]) == {"B": Person("B", ("B",))}


def test_a_remaining_patient_that_we_do_not_have_is_named() -> None:
    assert people("A", [("A", "replaced-by", "B")]) == {"A": Person("A", ("A",), missing=("B",))}
    to_nobody = [("A", "replaced-by", "B"), ("B", "replaced-by", "X"), ("X", "replaced-by", "Y")]
    assert people("AB", to_nobody)["A"] == Person("B", ("A", "B"), missing=("X", "Y"))


def test_two_that_only_share_one_that_we_do_not_have_are_one_person() -> None:
    through = [("A", "replaced-by", "X"), ("C", "replaces", "X")]
    assert people("AC", through)["A"] == Person("C", ("A", "C"))
    into = [("A", "replaced-by", "X"), ("C", "replaced-by", "X")]
    assert people("AC", into)["C"] == Person("A", ("A", "C"), is_clear=False, missing=("X",))


def test_without_the_link_they_are_apart_again() -> None:
    link = ("A", "replaced-by", "B")
    assert (survivors("AB", link), survivors("AB")) == ({"A": "B", "B": "B"}, {"A": "A", "B": "B"})


def test_a_long_chain_needs_no_deep_stack() -> None:
    patients = [f"Patient/{number:05}" for number in range(1500)]
    links = [(one, "replaced-by", other) for one, other in pairwise(patients)]
    assert {person.survivor for person in people(patients, links).values()} == {patients[-1]}


LINKS = st.tuples(
    st.sampled_from("ABCDEF"), st.sampled_from(["replaced-by", "replaces", "seealso"]), st.sampled_from("ABCDEF")
)


@given(patients=st.sets(st.sampled_from("ABCDEF")), links=st.lists(LINKS, max_size=8), order=st.randoms())
def test_everybody_is_in_exactly_one_person_whatever_the_links(
    patients: set[str], links: list[Link], order: object
) -> None:
    found = people(sorted(patients), links)
    assert found.keys() == patients
    members = [member for person in set(found.values()) for member in person.members]
    assert sorted(members) == sorted(patients)
    for patient, person in found.items():
        assert person.survivor in person.members
        assert patient in person.members
        assert patients.isdisjoint(person.missing)
    shuffled: Sequence[Link] = list(links)
    order.shuffle(shuffled)  # type: ignore[attr-defined]
    assert people(sorted(patients, reverse=True), shuffled) == found


@given(links=st.lists(LINKS, max_size=8))
def test_who_remains_is_replaced_by_nobody_unless_it_is_said_that_it_is_unclear(links: list[Link]) -> None:
    said = {(one, other) for one, kind, other in links if kind == "replaced-by"}
    replaced = {
        one for one, other in said | {(other, one) for one, kind, other in links if kind == "replaces"} if one != other
    }
    for person in people("ABCDEF", links).values():
        nobody = [member for member in person.members if member not in replaced]
        assert person.is_clear == (nobody == [person.survivor])
        assert person.missing == ()


@pytest.mark.parametrize(
    ("link", "found"),
    [
        ([{"type": "replaced-by", "other": {"reference": "Patient/B"}}], [("replaced-by", "Patient/B")]),
        ([{"type": "replaces", "other": {"reference": "https://fhir.test/r4/Patient/B"}}], [("replaces", "Patient/B")]),
        ([{"type": "replaces", "other": {"reference": "Patient/B/_history/3"}}], [("replaces", "Patient/B")]),
        ([{"type": "seealso", "other": {"reference": "Patient/B"}}, {"type": "refer", "other": {"reference": "Patient/C"}}], []),
        ([{"type": "replaces", "other": {"reference": "RelatedPerson/B"}}], []),
        ([{"type": "replaces", "other": {"identifier": {"value": "B"}}}], []),
        ([{"type": 5}], []),
    ],
)  # fmt: skip
def test_what_a_patient_says_of_its_merges(
    mapper: SiteMapper, link: list[object], found: list[tuple[str, str]]
) -> None:
    body = json.dumps({"resourceType": "Patient", "id": "A", "gender": "not a gender", "link": link}).encode()
    assert list(mapper.merges(body)) == found
