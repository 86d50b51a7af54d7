"""What a question does not suspect, it would not have answered to: the quick look at many heads loses nobody.

The oracle asks every resource by itself, with the real tables.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from dm_fhir.fhir.files import read_file
from dm_fhir.fhir.sources import source_of
from dm_fhir.mappings.codes import load_tables
from dm_fhir.mappings.scope import Scope
from dm_fhir.mappings.site import SiteMapper
from dm_fhir.sync.scan import cohort_questions
from dm_fhir.sync.scan.cohort_questions import Diagnosed, GivenDrug
from dm_fhir.sync.scan.piece import Piece
from dm_fhir.sync.scan.questions import Question
from dm_fhir.sync.scan.record_questions import OfPatients
from dm_fhir.sync.scan.scan import scan
from dm_fhir.sync.scan.scanned import Scanned

_TABLES = load_tables(())
MAPPER = SiteMapper("leon", "Europe/Madrid", "anifrolumab", _TABLES, Scope(_TABLES))
_COHORT = frozenset({"Patient/1", "Patient/2"})
QUESTIONS = {
    "drug": lambda: GivenDrug(MAPPER),
    "drug by Medications": lambda: GivenDrug(MAPPER, frozenset({"Medication/m1", "urn:uuid:m1"})),
    "disease": lambda: Diagnosed(MAPPER),
    "patients, all": lambda: OfPatients(MAPPER, _COHORT, None),
    "patients, mapped": lambda: OfPatients(MAPPER, _COHORT, frozenset({"Patient", "Condition", "Observation"})),
    "everybody": lambda: OfPatients(MAPPER, None, None),
}


def _concept(*codings: tuple[str, str], **more: Any) -> dict[str, Any]:
    return {"coding": [{"system": system, "code": code} for system, code in codings], **more}


DRUG, OTHER = ("http://www.whocc.no/atc", "L04AG11"), ("http://www.whocc.no/atc", "H02AB07")
DISEASE, NO_DISEASE = ("http://snomed.info/sct", "396230008"), ("http://snomed.info/sct", "38341003")
_concepts = st.sampled_from(
    [None, {}, {"text": "anifrolumab"}, [], _concept(DRUG), _concept(OTHER), _concept(OTHER, DRUG), _concept(DISEASE),
     _concept(NO_DISEASE), _concept(("urn:x", "\u00e9"), text="a \\ \u2028 b")],
)  # fmt: skip
_references = st.sampled_from(
    ["Medication/m1", "Medication/m2", "#m", "#n", "https://x.example/r4/Medication/m1/_history/2", "urn:uuid:m1", 7]
)
_contained = st.lists(
    st.builds(
        lambda id_, code: {"resourceType": "Medication", "id": id_, "code": code}, st.sampled_from("mn"), _concepts
    ),
    max_size=2,
)
_subjects = st.sampled_from(
    [
        "Patient/1",
        "Patient/3",
        "Patient/2/_history/4",
        "http://x.example/Patient/1",
        "Group/1",
        "",
        "Patient/1/",
        7,
        "/",
    ]
)
_element = {
    "resourceType": st.sampled_from(
        ["MedicationAdministration", "Medication", "MedicationRequest", "Condition", "Patient", "Observation"]
    ),
    "id": st.sampled_from(["1", "3", "m1"]),
}
_more = {
    "medicationCodeableConcept": _concepts,
    "medicationReference": st.builds(lambda text: {"reference": text}, _references),
    "contained": _contained,
    "code": _concepts,
    "subject": st.builds(lambda text: {"reference": text}, _subjects),
    "patient": st.builds(lambda text: {"reference": text}, _subjects),
    "verificationStatus": st.sampled_from(
        [_concept(("http://terminology.hl7.org/CodeSystem/condition-ver-status", code)) for code in ("refuted", "confirmed")]
    ),
    "dosage": st.sampled_from([{}, 7]),
}  # fmt: skip
_lines = st.lists(
    st.builds(
        lambda body, is_escaped, is_double: _line(body, is_escaped, is_double),
        st.fixed_dictionaries(_element, optional=_more),
        st.booleans(),
        st.integers(0, 9),
    ),
    min_size=1,
    max_size=15,
)


def _line(body: dict[str, Any], is_escaped: bool, is_double: int) -> bytes:
    text = json.dumps(body, ensure_ascii=False)
    if is_escaped:
        text = text.replace("L04AG11", "L04AG1\\u0031").replace('"#', '"\\u0023').replace("Patient/1", "Patient\\/1")
    if is_double == 0:
        text = text[:-1] + ', "subject": {"reference": "Patient/1"}}'
    return text.encode()


def _answers(parcels: Sequence[Scanned]) -> tuple[list[tuple[str, str]], list[bytes], dict[str, int]]:
    found = [pair for parcel in parcels for pair in parcel.found]
    notes: dict[str, int] = {}
    for parcel in parcels:
        for name, count in parcel.notes.items():
            notes[name] = notes.get(name, 0) + count
    return found, [one.body for parcel in parcels for one in parcel.kept], notes


@pytest.mark.parametrize("name", QUESTIONS)
@settings(deadline=None)
@given(lines=_lines)
@example(
    lines=[
        b'{"resourceType": "Condition", "id": "1", "medicationCodeableConcept": %s, "subject": {"reference": "Patient/1"}}'
        % json.dumps(_concept(DISEASE)).encode()
    ]
)
def test_nobody_is_lost(name: str, lines: list[bytes]) -> None:
    question: Question = QUESTIONS[name]()
    with TemporaryDirectory() as folder:
        path = Path(folder) / "a.ndjson"
        path.write_bytes(b"\n".join(lines) + b"\n")
        parcels = list(scan(0, Piece(source_of(str(path)), True), question))
        expected = Scanned(0)
        for item in read_file(str(path)):
            if item.resource is not None:
                question.answer(item.resource, expected)
    assert _answers(parcels) == _answers([expected])


def test_what_a_code_means_is_asked_once_and_not_remembered_without_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Counting:
        asked = 0

        def gives_drug(self, body: bytes, medications: frozenset[str]) -> bool:
            self.asked += 1
            return MAPPER.gives_drug(body, medications)

    def administration(code: str, number: int) -> str:
        subject = {"reference": f"Patient/{number}"}
        concept = _concept(("http://www.whocc.no/atc", code))
        body = {"resourceType": "MedicationAdministration", "id": str(number), "medicationCodeableConcept": concept}
        return json.dumps({**body, "subject": subject}) + "\n"

    path, mapper = tmp_path / "a.ndjson", Counting()
    path.write_text("".join(administration("H02AB07", number) for number in range(5000)))
    question = GivenDrug(mapper)  # type: ignore[arg-type]
    list(scan(0, Piece(source_of(str(path)), True), question))
    assert (mapper.asked, len(question.remembered)) == (1, 1)
    monkeypatch.setattr(cohort_questions, "_MOST_REMEMBERED", 100)
    path.write_text(
        "".join(administration(f"X{number}", number) for number in range(5000)) + administration("L04AG11", 1)
    )
    found = [pair for parcel in scan(0, Piece(source_of(str(path)), True), question) for pair in parcel.found]
    assert found == [("patient", "Patient/1")]
    assert len(question.remembered) < 1000
