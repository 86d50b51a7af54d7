"""Data of many publishers, there and back: what the mappings claim to support survives, and nothing is made up.

The files are read where they lie; where they are not, no test is collected and the header of the run says so.
"""

import gzip
import json
from collections import Counter, defaultdict
from collections.abc import Iterator
from decimal import Decimal
from fractions import Fraction
from itertools import chain, islice
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from dm_fhir.mappings import (
    adverse_event,
    condition,
    medication_administration,
    observation,
    patient,
    questionnaire_response,
    therapy,
)
from dm_fhir.mappings.codes import Form, Row, load_tables
from dm_fhir.mappings.datatypes import read, write
from dm_fhir.mappings.medication import Medication
from dm_fhir.mappings.validity import faults_of
from dm_fhir.model.case import Source

pytestmark = pytest.mark.real_data
DATA = Path(__file__).parents[3] / "shared" / "data"
#: Of a long file this many lines are read, evenly spread.
SAMPLE = 300
#: Of a file so many resources are validated, which is slow.
VALIDATED = 3

Json = dict[str, Any]
TABLES = load_tables()
MODULES: dict[str, Any] = {
    "Patient": patient,
    "MedicationAdministration": medication_administration,
    "Observation": observation,
    "MedicationRequest": therapy,
    "MedicationStatement": therapy,
    "Condition": condition,
    "AdverseEvent": adverse_event,
}
#: Written beside what SUPPORTED promises, checked through the model: what they say comes back the same.
BESIDE = {"contained", "extension", "meta", "modifierExtension", "_birthDate", "clinicalStatus", "verificationStatus"}
SINGLE_INTERPRETATION = "interpretation is a list in R4, it was single in STU3"
SINGLE_CATEGORY = "category is a list in R4, it was single in DSTU2"
#: Everything that does not decode: file and path of the fault, and what is wrong there. None of it is valid R4.
KNOWN_INVALID = {
    ("fhir-test-cases/observation-xver-bad.json", "$.category"): SINGLE_CATEGORY,
    ("fhir-test-cases/observation-xver-bad2.json", "$.category"): SINGLE_CATEGORY,
    ("fhir-test-cases/observation-xver.json", "$.category"): SINGLE_CATEGORY,
    ("fhir-test-cases/profile-slicing-coding-bad.json", "$.interpretation"): SINGLE_INTERPRETATION,
    ("fhir-test-cases/profile-slicing-coding-good.json", "$.interpretation"): SINGLE_INTERPRETATION,
    ("ms-fhir-server/Observation-For-Patient-f001.json", "$.interpretation"): SINGLE_INTERPRETATION,
    ("ms-fhir-server/ObservationWithBloodPressure.json", "$.interpretation"): SINGLE_INTERPRETATION,
    ("ms-fhir-server/ObservationWithTemperature.json", "$.interpretation"): SINGLE_INTERPRETATION,
}
#: Files that are no JSON at all: cases of a validator's test suite, broken on purpose.
KNOWN_BROKEN = {
    "fhir-test-cases/bad-json-close-2.json",  # a bracket that closes nothing
    "fhir-test-cases/json-comma-bad-1.json",  # a comma is missing
    "fhir-test-cases/json-comments-2.json",  # comments
    "fhir-test-cases/json-no-quotes-1.json",  # names without quotes
    "fhir-test-cases/list-bad-syntax.json",  # a comma is missing
    "fhir-test-cases/mcode-pat-bad.json",  # a comma too many
    "fhir-test-cases/med-dispense.json",  # text after the end
    "fhir-test-cases/observation-with-trailing-dot.json",  # a number that ends in a dot
}
#: How many resources are read at the least; fewer would mean that this test lost its eyes.
AT_LEAST = {
    "Patient": 200,
    "MedicationAdministration": 900,
    "Observation": 4000,
    "MedicationRequest": 900,
    "MedicationStatement": 100,
    "Condition": 900,
    "AdverseEvent": 5,
}


def files(folder: str = ".") -> list[Path]:
    """Every file of resources; the definitions and terminologies describe resources, they are none."""
    found = chain((DATA / folder).rglob("*.json*"), (DATA / folder).rglob("*.ndjson*"))
    return sorted({path for path in found if path.relative_to(DATA).parts[0] not in ("definitions", "terminology")})


def folders() -> list[str]:
    return sorted({path.relative_to(DATA).parts[0] for path in files()})


def resources(path: Path) -> Iterator[tuple[Json, bytes]]:
    """The file's resources of the types that are mapped, also those in Bundles, with their bytes."""
    for part in parts(path):
        for resource in unpacked(parsed(part)):
            if resource.get("resourceType") in MODULES:
                yield resource, encoded(resource)


def parts(path: Path) -> list[bytes]:
    """The documents in a file: its lines where it has one on each, else the whole."""
    body = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    return sampled(body.splitlines()) if ".ndjson" in path.name else [body]


def sampled(lines: list[bytes]) -> list[bytes]:
    filled = [line for line in lines if line.strip()]
    return filled[:: max(1, len(filled) // SAMPLE)]


def parsed(body: bytes) -> Any:
    """The JSON in `body`; None where it is none, which `test_broken_files_are_the_known_ones` counts."""
    try:
        return json.loads(body.decode("utf-8-sig"), parse_float=Decimal)
    except ValueError:
        return None


def unpacked(resource: Any) -> Iterator[Json]:
    if not isinstance(resource, dict):
        return
    yield resource
    entries = resource.get("entry", []) if resource.get("resourceType") == "Bundle" else []
    for entry in entries if isinstance(entries, list) else []:
        yield from unpacked(entry.get("resource"))


def encoded(resource: Json) -> bytes:
    return msgspec.json.Encoder(decimal_format="number").encode(resource)


def pruned(element: Any, paths: set[str], prefix: str = "") -> Any:
    """Only what `paths` name; what holds nothing of it is left out, in lists too."""
    if isinstance(element, list):
        kept = [pruned(one, paths, prefix) for one in element]
        return [one for one in kept if one not in ({}, [], None)] or None
    if not isinstance(element, dict):
        return element if prefix in paths else None
    found = {name: pruned(value, paths, f"{prefix}.{name}".lstrip(".")) for name, value in element.items()}
    return {name: value for name, value in found.items() if value not in ({}, [], None)}


def there_and_back(kind: str, body: bytes) -> tuple[Any, Any, bytes]:
    """The part of the model, the same after writing and reading it again, and what was written."""
    module = MODULES[kind]
    view = getattr(module, kind)
    record = read(body, view)
    source = Source("north", f"{kind}/{record.id}" if record.id is not None else kind)
    first = from_fhir(kind, record, source)
    subject = record.subject.reference if kind != "Patient" and record.subject else None
    written = write(to_fhir(kind, first, subject))
    return first, from_fhir(kind, read(written, view), source), written


def from_fhir(kind: str, record: Any, source: Source) -> Any:
    if kind == "Patient":
        return patient.from_fhir(record, source)
    if kind in ("Observation", "Condition", "AdverseEvent"):
        return MODULES[kind].from_fhir(record, source, TABLES)
    if kind == "MedicationRequest":
        return therapy.from_request(record, source, TABLES, MEDICATIONS)
    if kind == "MedicationStatement":
        return therapy.from_statement(record, source, TABLES, MEDICATIONS)
    return medication_administration.from_fhir(record, source, TABLES, MEDICATIONS)


def to_fhir(kind: str, part: Any, subject: str | None) -> Any:
    if kind == "Patient":
        return patient.to_fhir(part)
    if kind == "MedicationRequest":
        return therapy.to_request(part, subject)
    if kind == "MedicationStatement":
        return therapy.to_statement(part, subject)
    return MODULES[kind].to_fhir(part, subject)


def supported_in(kind: str) -> set[str]:
    found = MODULES[kind].SUPPORTED
    return set(found[kind] if isinstance(found, dict) else found)


MEDICATIONS: dict[str, Medication] = {}


def fault(error: msgspec.DecodeError) -> str:
    return str(error).partition(" - at `")[2].rstrip("`") or str(error)


def unquoted(resource: Any) -> Any:
    """The resource with amounts in quotes as numbers: that is how they are read, one publisher writes them so."""
    if isinstance(resource, list):
        return [unquoted(one) for one in resource]
    if not isinstance(resource, dict):
        return resource
    return {
        name: {**value, "value": Decimal(value["value"])} if name in AMOUNTS and "value" in value else unquoted(value)
        for name, value in resource.items()
    }


AMOUNTS = {"valueQuantity", "dose", "low", "high"}


@pytest.mark.parametrize("folder", folders())
def test_what_is_supported_survives(folder: str) -> None:
    invalid = set()
    for path in files(folder):
        for resource, body in resources(path):
            try:
                check(path, resource, body)
            except msgspec.DecodeError as error:
                invalid.add((path.relative_to(DATA).as_posix(), fault(error)))

    assert invalid == {one for one in KNOWN_INVALID if one[0].startswith(f"{folder}/")}


def check(path: Path, resource: Json, body: bytes) -> None:
    kind = resource["resourceType"]
    supported = supported_in(kind)
    first, second, written = there_and_back(kind, body)
    back = {name: value for name, value in json.loads(written, parse_float=Decimal).items() if name not in BESIDE}

    assert pruned(back, supported) == pruned(unquoted(resource), supported), path
    assert pruned(back, supported) == without_empty(back), f"{path}: more than SUPPORTED was written"
    assert second == first, path


@pytest.mark.parametrize("folder", folders())
def test_what_is_written_of_a_valid_record_is_valid(folder: str) -> None:
    """But for the samples of valueSampledData, which are not kept."""
    for path in files(folder):
        for resource, body in islice(resources(path), VALIDATED):
            if not faults_of(body):
                written = there_and_back(resource["resourceType"], body)[2]
                assert [fault for fault in faults_of(written) if "valueSampledData." not in fault] == [], path


def without_empty(element: Any) -> Any:
    if isinstance(element, list):
        return [one for one in map(without_empty, element) if one not in ({}, [], None)] or None
    if not isinstance(element, dict):
        return element
    found = {name: without_empty(value) for name, value in element.items()}
    return {name: value for name, value in found.items() if value not in ({}, [], None)}


def test_broken_files_are_the_known_ones() -> None:
    broken = {path.relative_to(DATA).as_posix() for path in files() for part in parts(path) if parsed(part) is None}

    assert broken == KNOWN_BROKEN


def test_enough_is_read() -> None:
    read_here = Counter(resource["resourceType"] for path in files() for resource, _ in resources(path))

    assert all(read_here[kind] >= least for kind, least in AT_LEAST.items()), read_here
    assert set(KNOWN_INVALID) == {one for one in KNOWN_INVALID if (DATA / one[0]).is_file()}


def responses() -> Iterator[tuple[Path, Json]]:
    for path in files():
        for part in parts(path):
            for resource in unpacked(parsed(part)):
                if resource.get("resourceType") == "QuestionnaireResponse":
                    yield path, resource


def test_every_numeric_answer_of_every_questionnaire_can_be_a_score() -> None:
    """As if a table named each item of each form: what was answered is read, exact, and comes back."""
    read_here = Counter[str]()
    for path, resource in responses():
        record = read(encoded(resource), questionnaire_response.QuestionnaireResponse)
        answered: dict[str, set[Decimal | int]] = defaultdict(set)
        for link, answer in numbers_in(resource.get("item", [])):
            answered[link].add(answer)
        canonical = (record.questionnaire or "").partition("|")[0]
        rows = [(score_row(place), Form(canonical, total=link)) for place, link in enumerate(answered)]
        tables = replace(TABLES, forms={canonical: tuple(rows)})
        source = Source("north", f"QuestionnaireResponse/{record.id}")
        found = questionnaire_response.from_fhir(record, source, tables)

        # A group that was filled in twice contradicts itself: neither answer is taken.
        expected = [next(iter(values)) if len(values) == 1 else None for values in answered.values()]
        assert [one.measured.result.number for one in found] == expected, path
        if found:
            written = write(questionnaire_response.to_fhir(found, "Patient/1"))
            again = questionnaire_response.from_fhir(
                read(written, questionnaire_response.QuestionnaireResponse), source, tables
            )
            assert again == found, path
        read_here.update(responses=1, answers=len(answered))

    assert read_here["responses"] >= 16
    assert read_here["answers"] >= 10


def numbers_in(items: list[Json]) -> Iterator[tuple[str, Decimal | int]]:
    for item in items:
        for answer in item.get("answer", []):
            value = answer.get("valueDecimal", answer.get("valueInteger"))
            if value is not None:
                yield item["linkId"], value
            yield from numbers_in(answer.get("item", []))
        yield from numbers_in(item.get("item", []))


def score_row(place: int) -> Row:
    return Row("measurement", f"score_{place}", unit="{score}", units={"{score}": Fraction(1)}, unitless=True)
