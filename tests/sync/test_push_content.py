"""What an Observation says: two of them compared, element by element, however they are written."""

import json
from decimal import Decimal
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dm_fhir.sync.push.content import Difference, altered, differences, fingerprint, same_but_status, sources, status_of

SIMPLE = st.one_of(st.text(max_size=3), st.booleans(), st.integers(-5, 5), st.decimals(-9, 9, places=2))
VALUES = st.recursive(
    SIMPLE,
    lambda inner: st.one_of(
        st.lists(inner, min_size=1, max_size=4), st.dictionaries(st.sampled_from("abcd"), inner, min_size=1, max_size=3)
    ),
    max_leaves=12,
)
BODIES = st.dictionaries(st.sampled_from(("status", "code", "note", "valueQuantity", "extension")), VALUES)

UNHURRIED = settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])


def written(content: dict[str, Any], **how: Any) -> bytes:
    """As JSON, numbers as numbers."""

    def plain(value: Any) -> Any:
        match value:
            case dict():
                return {name: plain(inner) for name, inner in value.items()}
            case list():
                return [plain(inner) for inner in value]
            case Decimal():
                return float(value)
        return value

    return json.dumps(plain(content), **how).encode()


def told(before: dict[str, Any], after: dict[str, Any]) -> list[tuple[str, Any, Any]]:
    return [tuple(one) for one in differences(written(before), written(after))]


def test_a_difference_is_the_single_value_at_its_path() -> None:
    before = {"valueQuantity": {"value": 20, "unit": "{score}"}, "note": [{"text": "a"}]}
    after = {"valueQuantity": {"value": 15, "unit": "{score}"}, "note": [{"text": "b"}], "method": {"text": "rule"}}
    assert told(before, after) == [
        ("valueQuantity.value", 20, 15),
        ("note[0].text", "a", "b"),
        ("method.text", None, "rule"),
    ]


def test_entries_that_stand_in_both_lists_are_the_same_wherever_they_stand() -> None:
    one, two, three = ({"reference": f"Observation/{number}"} for number in (1, 2, 3))
    assert told({"derivedFrom": [one, two]}, {"derivedFrom": [three, one, two]}) == [
        ("derivedFrom[0].reference", None, "Observation/3")
    ]
    assert told({"derivedFrom": [one, two, three]}, {"derivedFrom": [one, three]}) == [
        ("derivedFrom[1].reference", "Observation/2", None)
    ]
    assert told({"derivedFrom": [one, two]}, {"derivedFrom": [one, three]}) == [
        ("derivedFrom[1].reference", "Observation/2", "Observation/3")
    ]


def test_one_kind_of_value_in_place_of_another_is_told_from_both_sides() -> None:
    assert told({"value": {"code": "a"}}, {"value": ["b"]}) == [("value.code", "a", None), ("value[0]", None, "b")]
    assert told({"value": True}, {"value": 1}) == [("value", True, 1)]


def test_how_a_number_is_written_and_what_a_server_adds_is_no_difference() -> None:
    ours = b'{"status": "final", "valueQuantity": {"value": 20.10}}'
    kept = b'{"id": "7", "meta": {"versionId": "1"}, "text": {"div": "x"}, "valueQuantity": {"value": 2.01e1}, "status": "final"}'
    assert differences(ours, kept) == []
    assert (altered(kept, ours), fingerprint(kept)) == ([], fingerprint(ours))


def test_what_a_server_changed_is_named_by_its_element() -> None:
    ours = written({"identifier": [{"value": "k"}], "valueQuantity": {"value": 20}, "status": "final"})
    kept = written({"valueQuantity": {"value": 20, "unit": "1"}, "status": "amended", "issued": "2025"})
    assert altered(kept, ours) == ["identifier", "issued", "status", "valueQuantity"]


def test_the_29th_digit_counts_and_an_immense_exponent_costs_nothing() -> None:
    long = b'{"value": 1.00000000000000000000000000001}'
    assert differences(long, b'{"value": 1}') == [Difference("value", Decimal("1.00000000000000000000000000001"), 1)]
    assert fingerprint(long) != fingerprint(b'{"value": 1}')
    assert fingerprint(b'{"value": 1.0E+999999999}') != fingerprint(b'{"value": 1}')


def test_what_it_was_made_of_is_what_it_derives_from_and_its_supporting_information() -> None:
    supporting = "http://hl7.org/fhir/StructureDefinition/workflow-supportingInfo"
    body = {
        "derivedFrom": [{"reference": "Observation/1/_history/2"}],
        "extension": [
            {"url": supporting, "valueReference": {"reference": "MedicationAdministration/3"}},
            {"url": "urn:other", "valueReference": {"reference": "Observation/9"}},
        ],
    }
    assert sources(written(body)) == {
        b'{"reference":"Observation/1/_history/2"}',
        b'{"reference":"MedicationAdministration/3"}',
    }
    assert sources(b"{}") == set()


def test_a_status_can_be_left_out_of_account() -> None:
    final, amended = (written({"status": status, "valueQuantity": {"value": 1}}) for status in ("final", "amended"))
    assert same_but_status(final, amended)
    assert fingerprint(final) != fingerprint(amended)
    assert not same_but_status(final, written({"status": "final", "valueQuantity": {"value": 2}}))
    assert (status_of(amended), status_of(b"{}")) == ("amended", "")


@UNHURRIED
@given(BODIES)
def test_nothing_differs_from_itself_however_it_is_ordered(content: dict[str, Any]) -> None:
    turned = dict(reversed(content.items()))
    assert differences(written(content), written(turned, indent=1)) == []
    assert fingerprint(written(content)) == fingerprint(written(turned))


@UNHURRIED
@given(BODIES, BODIES)
def test_there_is_a_difference_exactly_where_the_fingerprints_differ(
    one: dict[str, Any], other: dict[str, Any]
) -> None:
    before, after = written(one), written(other)
    found = differences(before, after)
    assert bool(found) == (fingerprint(before) != fingerprint(after))
    assert {place.partition(".")[0].partition("[")[0] for place, *_ in found} == set(altered(after, before))
    back = differences(after, before)
    assert len(back) == len(found)


def test_a_status_that_cannot_be_read_is_none() -> None:
    assert [status_of(one) for one in (b"{}", b'{"status": null}', b'{"status": ["final"]}')] == ["", "", ""]
