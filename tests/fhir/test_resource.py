"""What a resource says of itself, without being read whole."""

import hashlib

import pytest
from msgspec.structs import replace

from dm_fhir.fhir.resource import Unusable, local_reference, plainly_read, read_resource


def test_type_id_version_time_and_subject_are_read_and_the_bytes_stay() -> None:
    body = (
        b'{ "resourceType":"Observation","id":"o1","meta":{"versionId":"3","lastUpdated":"2025-06-01T10:00:00Z"},'
        b'"subject":{"reference":"https://h.example/r4/Patient/7/_history/2"},"valueQuantity":{"value":1.10} }'
    )
    resource = read_resource(body)
    assert (resource.type, resource.id, resource.version) == ("Observation", "o1", "3")
    assert (resource.last_updated, resource.subject) == ("2025-06-01T10:00:00Z", "Patient/7")
    assert (resource.reference, resource.body, resource.hash) == (
        "Observation/o1",
        body,
        hashlib.sha256(body).hexdigest(),
    )


@pytest.mark.parametrize(
    ("tail", "subject"),
    [
        ("", None),
        (',"patient":{"reference":"Patient/8"}', "Patient/8"),
        (',"subject":{"display":"x"},"patient":{"reference":"Patient/8"}', "Patient/8"),
        (',"subject":{"reference":"Group/1"},"patient":{"reference":"Patient/8"}', "Group/1"),
        (',"subject":[{"reference":"Patient/8"}]', None),
        (',"subject":"Patient/8"', None),
        (',"subject":{"reference":""}', None),
        (',"subject":null', None),
    ],
)
def test_whose_a_resource_is(tail: str, subject: str | None) -> None:
    assert read_resource(f'{{"resourceType":"Basic","id":"1"{tail}}}'.encode()).subject == subject


def test_a_patient_is_its_own_subject() -> None:
    assert read_resource(b'{"resourceType":"Patient","id":"7"}').subject == "Patient/7"


def test_an_id_of_88_characters_is_an_id() -> None:
    assert read_resource(b'{"resourceType":"Patient","id":"' + b"x" * 88 + b'"}').id == "x" * 88


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"null", "no-resource"),
        (b"", "not-json"),
        (b'{"resourceType":"Patient","id":"1"', "not-json"),
        (b'{"resourceType":"Patient","id":"1","x":NaN}', "not-json"),
        (b'{"resourceType":"Patient","id":"\xff\xfe"}', "invalid-utf-8"),
        (b'{"resourceType":"Patient","id":"1","x":"\xff"}', "invalid-utf-8"),
        (b'{"id":"1"}', "no-type"),
        (b'{"resourceType":"","id":"1"}', "no-type"),
        (b'{"resourceType":"Patient"}', "no-id"),
        (b'{"resourceType":"Patient","id":""}', "no-id"),
        (b'{"resourceType":"Patient","id":7}', "unreadable"),
        (b'{"resourceType":"Patient","id":"1","meta":[]}', "unreadable"),
        (b"[]", "unreadable"),
        (b'{"resourceType":"Patient","id":"1","x":' + b"[" * 100_000, "too-deep"),
    ],
)
def test_bytes_that_are_no_resource(body: bytes, reason: str) -> None:
    with pytest.raises(Unusable) as caught:
        read_resource(body)
    assert caught.value.reason == reason


@pytest.mark.parametrize(
    ("written", "local"),
    [
        ("Patient/7", "Patient/7"),
        ("Patient/7/", "Patient/7"),
        ("Patient/7/_history/3", "Patient/7"),
        ("https://h.example/r4/Patient/7", "Patient/7"),
        ("https://h.example/r4/Patient/7/_history/3", "Patient/7"),
        ("#contained", "#contained"),
        ("urn:uuid:0c2c", "urn:uuid:0c2c"),
    ],
)
def test_a_reference_however_it_is_written(written: str, local: str) -> None:
    assert local_reference(written) == local


def page_of(*bodies: bytes) -> bytes:
    return b'{"resourceType":"Bundle","entry":[%s]}' % b",".join(b'{"resource":%s}' % body for body in bodies)


def test_a_plain_page_is_read_in_one_go_with_what_each_is_about() -> None:
    bodies = [
        b'{"resourceType":"Observation","id":"o","code":{"text":"a"},"subject":{"reference":"Patient/7"}}',
        b'{"resourceType":"MedicationRequest","id":"r","medicationCodeableConcept":{"text":"b"}}',
        b'{"resourceType":"Patient","id":"7"}',
    ]
    found = plainly_read(page_of(*bodies), bodies)

    assert found is not None
    assert [one.concept for one in found] == [b'{"text":"a"}', b'{"text":"b"}', b""]
    assert [one.subject for one in found] == ["Patient/7", None, "Patient/7"]
    assert [replace(one, concept=b"") for one in found] == [read_resource(body) for body in bodies]


def test_an_element_of_another_type_says_nothing_of_what_a_resource_is_about() -> None:
    bodies = [
        b'{"resourceType":"Condition","id":"c","medicationCodeableConcept":{"text":"a"}}',
        b'{"resourceType":"MedicationRequest","id":"r","code":{"text":"a"}}',
        b'{"resourceType":"Medication","id":"m","code":{"text":"b"},"medicationCodeableConcept":{"text":"a"}}',
    ]
    found = plainly_read(page_of(*bodies), bodies)

    assert found is not None
    assert [one.concept for one in found] == [b"", b"", b'{"text":"b"}']


@pytest.mark.parametrize(
    "odd",
    [
        b'{"resourceType":"OperationOutcome","id":"x"}',
        b'{"id":"x"}',
        b'{"resourceType":"Observation","id":"a/b"}',
        b'{"resourceType":"Observation"}',
        b'{"resourceType":"Observation","id":"x","subject":5}',
    ],
)
def test_a_page_with_something_odd_wants_a_closer_look(odd: bytes) -> None:
    bodies = [b'{"resourceType":"Observation","id":"o"}', odd]

    assert plainly_read(page_of(*bodies), bodies) is None
