"""Two passes over files: who is in the cohort by each way to say it, what of theirs is kept, and nobody lost."""

import io
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from dm_fhir.config import Cohort
from dm_fhir.errors import ConfigError
from dm_fhir.fhir.sources import source_of
from dm_fhir.mappings.patient import merges
from dm_fhir.store.quarantine import quarantined
from dm_fhir.sync.file_types import only_type
from dm_fhir.sync.held import held

from ..servers.records import Json, ck, infusion, person, record
from .exports import ASPIRIN, Pulls, by_reference, condition, export, medication, write

BY_MEDICATION = Cohort("medication")


@pytest.fixture
def pulls(tmp_path: Path) -> Pulls:
    return Pulls(tmp_path, BY_MEDICATION)


def test_the_cohort_by_code_and_by_medication_and_only_its_records(pulls: Pulls, tmp_path: Path) -> None:
    taken = pulls(export(tmp_path / "in"))
    assert pulls.members() == ["Patient/code", "Patient/ref"]
    assert pulls.stored() == {
        "Patient/code", "Patient/ref", "MedicationAdministration/i1", "MedicationAdministration/i2", "Medication/drug",
        "Observation/ck-code", "Observation/ck-ref",
    }  # fmt: skip
    assert set(pulls.states().values()) == {"complete"}
    assert (taken.patients, taken.files, taken.complete, taken.lines) == (2, 5, 0, 24)
    assert taken.types == {
        "Patient": 6,
        "Observation": 6,
        "Encounter": 6,
        "MedicationAdministration": 4,
        "Medication": 2,
    }
    assert taken.kept == {"new": 6}
    assert taken.not_kept == {"not_in_cohort": 16, "not_mapped": 2}
    assert taken.shown == {"MedicationAdministration": 4, "Medication": 2}
    assert pulls.notes("file: Observation.ndjson") == {"new": 2, "not_in_cohort": 4}
    assert held(pulls.db, pulls.site, merges) == {}


def test_the_first_pass_reads_only_what_may_show_the_cohort(pulls: Pulls, tmp_path: Path) -> None:
    pulls(export(tmp_path / "in"))
    assert pulls.asked == [
        ("GivenDrug", ["Medication.000.ndjson", "MedicationAdministration.ndjson"]),
        ("GivenDrug by Medication", ["MedicationAdministration.ndjson"]),
        ("Linked", ["Patient.ndjson"]),
        ("OfPatients", ["Encounter.ndjson", "Medication.000.ndjson", "MedicationAdministration.ndjson", "Observation.ndjson",
                        "Patient.ndjson"]),
        ("TheseMedications", ["Medication.000.ndjson"]),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "begins", "only"),
    [
        ("Observation.ndjson", ck("o", "a"), "Observation"),
        ("MimicObservationED.ndjson", ck("o", "a"), "Observation"),
        ("MedicationRequest.000.ndjson", record("MedicationRequest", "r", "a"), "MedicationRequest"),
        (
            "MedicationAdministration.ndjson",
            medication("m"),
            None,
        ),  # named for what shows the cohort, whatever it begins with
        ("export.ndjson", ck("o", "a"), None),
        ("Observation.json", ck("o", "a"), None),
    ],
)
def test_the_one_type_of_a_file_is_believed_only_if_its_name_agrees(
    tmp_path: Path, name: str, begins: dict[str, object], only: str | None
) -> None:
    assert only_type(source_of(str(write(tmp_path / name, begins)))) == only


def test_every_line_is_accounted_for(pulls: Pulls, tmp_path: Path) -> None:
    folder = export(tmp_path / "in")
    with (folder / "Observation.ndjson").open("a") as file:
        file.write('{oops\n{"resourceType":"Observation","subject":{"reference":"Patient/code"}}\n')
    taken = pulls(folder)
    assert taken.lines == 26
    assert taken.kept.total() + taken.not_kept.total() == 26
    assert taken.not_kept["set_aside"] == 2
    assert [(one.place, one.reason) for one in quarantined(pulls.db, "leon")] == [
        (f"{folder}/Observation.ndjson:7", "not-json"),
        (f"{folder}/Observation.ndjson:8", "no-id"),
    ]


@pytest.mark.parametrize(
    "subject",
    [
        {"subject": {"reference": "Patient/code"}},
        {"subject": {"reference": "https://fhir.test/r4/Patient/code"}},
        {"subject": {"reference": "Patient/code/_history/3"}},
        {"subject": {"reference": "https://fhir.test/r4/Patient/code/_history/3"}},
        {"patient": {"reference": "Patient/code"}},
        {"subject": {"display": "somebody"}, "patient": {"reference": "https://fhir.test/Patient/code"}},
    ],
)
def test_however_a_record_names_its_patient(pulls: Pulls, tmp_path: Path, subject: dict[str, object]) -> None:
    folder = export(tmp_path / "in")
    one = {name: value for name, value in ck("further", "code").items() if name != "subject"}
    write(folder / "more.ndjson", {**one, **subject})
    pulls(folder)
    assert "Observation/further" in pulls.stored()


def test_nobody_is_lost_in_a_file_that_is_named_for_another_type(pulls: Pulls, tmp_path: Path) -> None:
    """An infusion far behind in a file of Observations, a Medication that it needs behind Encounters: found all the same."""
    folder = export(tmp_path / "in")
    lines = [ck(f"o{number}", "other3") for number in range(600)]
    write(
        folder / "Observation.1.ndjson",
        *lines,
        infusion("stray", "other3"),
        by_reference("s2", "other4", "Medication/x"),
    )
    encounters = [record("Encounter", f"n{number}", "other1") for number in range(1000)]
    write(folder / "Encounter.1.ndjson", *encounters, medication("x"))
    taken = pulls(folder)
    assert pulls.members() == ["Patient/code", "Patient/other3", "Patient/other4", "Patient/ref"]
    assert {
        "MedicationAdministration/stray",
        "Observation/o599",
        "Patient/other3",
        "Patient/other4",
        "Medication/x",
    } <= pulls.stored()
    assert set(pulls.states().values()) == {"complete"}
    assert taken.lines == 24 + 602 + 1001
    assert taken.kept.total() + taken.not_kept.total() == taken.lines
    assert taken.other_types == [
        f"{folder}/Encounter.1.ndjson:1001 (Medication)",
        f"{folder}/Observation.1.ndjson:601 (MedicationAdministration)",
        f"{folder}/Observation.1.ndjson:602 (MedicationAdministration)",
    ]
    assert pulls.notes("file: Observation.1.ndjson")["other_type"] == 2
    pulls(folder)
    assert pulls.asked == []


def test_another_patient_who_is_the_same_person_joins(pulls: Pulls, tmp_path: Path) -> None:
    folder = export(tmp_path / "in")
    link = [{"type": "replaced-by", "other": {"reference": "Patient/code"}}]
    write(folder / "Patient.2.ndjson", person("old", link=link), person("older", link=[{"type": "replaced-by", "other": {"reference": "Patient/old"}}]))  # fmt: skip
    write(folder / "Observation.2.ndjson", ck("o-old", "old"), ck("o-older", "older"))
    pulls(folder)
    assert pulls.members() == ["Patient/code", "Patient/old", "Patient/older", "Patient/ref"]
    assert {"Observation/o-old", "Observation/o-older", "Patient/old"} <= pulls.stored()
    before = pulls.stored()
    pulls(folder)
    assert (pulls.asked, pulls.stored()) == ([], before)


def test_by_condition(tmp_path: Path) -> None:
    pulls = Pulls(tmp_path, Cohort("condition"))
    folder = export(tmp_path / "in")
    refuted = {**condition("c3", "other2"), "verificationStatus": {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/condition-ver-status", "code": "refuted"}]}}  # fmt: skip
    write(folder / "Condition.ndjson", condition("c1", "other1"), condition("c2", "ref", ASPIRIN), refuted)
    taken = pulls(folder)
    assert pulls.members() == ["Patient/other1"]
    assert taken.shown == {"Condition": 3}
    # whatever the tables know of the patient is kept, and the Medication that is needed for it
    assert pulls.stored() == {
        "Patient/other1", "Condition/c1", "Observation/ck-other1", "MedicationAdministration/i3", "Medication/aspirin",
    }  # fmt: skip
    assert pulls.states()["Medication in files"] == "complete"


def test_medications_that_are_in_no_file_are_counted(pulls: Pulls, tmp_path: Path) -> None:
    folder = export(tmp_path / "in")
    write(folder / "MedicationRequest.ndjson", *(record("MedicationRequest", f"r{n}", "code", medicationReference={"reference": f"Medication/gone{n}"}) for n in range(2)))  # fmt: skip
    taken = pulls(folder)
    assert taken.gone == 2
    assert pulls.states()["Medication in files"] == "complete"
    assert pulls.notes("Medication in files")["gone"] == 2
    assert pulls(folder).gone == 2
    assert pulls.asked == []
    write(folder / "Medication.1.ndjson", medication("gone1", ASPIRIN))
    assert pulls(folder).gone == 1
    assert "Medication/gone1" in pulls.stored()


def test_by_a_list_of_ids_without_any_search(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text("# this week\nother1\nPatient/other2\nPatient/nobody\na/b/c\n")
    pulls = Pulls(tmp_path, Cohort("patients", patients=tmp_path / "list.txt"))
    taken = pulls(export(tmp_path / "in"))
    assert pulls.members() == ["Patient/nobody", "Patient/other1", "Patient/other2"]
    assert [(one.line, one.state) for one in taken.named] == [
        (2, "found"),
        (3, "found"),
        (4, "found"),
        (5, "unreadable"),
    ]
    assert taken.without_patient == 1
    assert [name for name, _ in pulls.asked] == ["Linked", "OfPatients", "TheseMedications"]
    assert pulls.states()["cohort: list of patients"] == "partial (not-found)"


def test_by_a_list_of_identifiers(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text("urn:mrn|1\nurn:mrn|2\nurn:mrn|3\nother1\n")
    pulls = Pulls(tmp_path, Cohort("patients", patients=tmp_path / "list.txt"))
    folder = export(tmp_path / "in")

    def numbered(name: str, number: str) -> dict[str, object]:
        return person(name, identifier=[{"system": "urn:mrn", "value": number}])

    write(folder / "more.ndjson", numbered("a", "1"), numbered("b1", "2"), numbered("b2", "2"), numbered("z", "9"))
    taken = pulls(folder)
    assert [(one.line, one.state, one.patient) for one in taken.named] == [
        (1, "found", "Patient/a"), (2, "ambiguous", None), (3, "not found", None), (4, "found", "Patient/other1"),
    ]  # fmt: skip
    assert pulls.members() == ["Patient/a", "Patient/other1"]
    assert "Patient/a" in pulls.stored()
    # whose they are is known from the store too, when the file is no longer given
    (folder / "more.ndjson").unlink()
    assert [one.state for one in pulls(folder).named] == ["found", "not found", "not found", "found"]


def _group(*names: str) -> dict[str, object]:
    members = [{"entity": {"reference": f"Patient/{name}"}} for name in names]
    gone = {"entity": {"reference": "Patient/code"}, "inactive": True}
    return {"resourceType": "Group", "id": "g", "member": [*members, gone, {"entity": {"reference": "Device/1"}}]}


def test_by_the_group_in_the_files(tmp_path: Path) -> None:
    pulls = Pulls(tmp_path, Cohort("group", group="Group/g"))
    folder = export(tmp_path / "in")
    with pytest.raises(ConfigError, match="there is no Group/g in the files"):
        pulls(folder)
    assert pulls.states()["all files"] == "partial (interrupted)"
    write(folder / "Group.ndjson", _group("other1", "other4"))
    pulls(folder)
    assert pulls.members() == ["Patient/other1", "Patient/other4"]
    assert set(pulls.states().values()) == {"complete"}
    # a later export need not have it again, and nobody leaves
    write(tmp_path / "next" / "Observation.ndjson", ck("later", "other4"))
    pulls(tmp_path / "next")
    assert "Observation/later" in pulls.stored()
    write(folder / "Group.ndjson", _group())
    pulls(folder)
    assert pulls.states()["cohort: Group/g"] == "partial (empty-group)"
    assert pulls.members() == ["Patient/other1", "Patient/other4"]


def test_everybody_in_one_pass(tmp_path: Path) -> None:
    pulls = Pulls(tmp_path, Cohort("everybody"))
    taken = pulls(export(tmp_path / "in"))
    assert [name for name, _ in pulls.asked] == ["OfPatients"]
    assert len(pulls.members()) == taken.patients == 6
    assert {one.partition("/")[0] for one in pulls.stored()} == {
        "Patient", "Observation", "MedicationAdministration", "Medication",
    }  # fmt: skip
    assert taken.not_kept["not_mapped"] == 6 + 1  # Encounters, an infusion of aspirin


def test_scope_all_keeps_everything_of_the_cohort(tmp_path: Path) -> None:
    pulls = Pulls(tmp_path, BY_MEDICATION, scope="all")
    pulls(export(tmp_path / "in"))
    assert {"Encounter/e-code", "Encounter/e-ref"} <= pulls.stored()
    assert "Encounter/e-other1" not in pulls.stored()


def test_bundles_go_the_same_way(pulls: Pulls, tmp_path: Path) -> None:
    folder = export(tmp_path / "in")
    inside = [
        {"fullUrl": "urn:uuid:1", "resource": person("bundled")},
        {"fullUrl": "urn:uuid:2", "resource": {**infusion("b1", "x"), "subject": {"reference": "urn:uuid:1"}}},
        {"fullUrl": "urn:uuid:3", "resource": {**ck("b2", "x"), "subject": {"reference": "urn:uuid:1"}}},
    ]
    write(folder / "bundle.json", {"resourceType": "Bundle", "type": "transaction", "entry": inside})
    pulls(folder)
    assert "Patient/bundled" in pulls.members()
    assert {"Patient/bundled", "MedicationAdministration/b1", "Observation/b2"} <= pulls.stored()


@pytest.mark.parametrize("cohort", [BY_MEDICATION, Cohort("everybody")])
def test_standard_input_is_kept_until_it_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cohort: Cohort
) -> None:
    pulls = Pulls(tmp_path, cohort)
    content = b"".join(path.read_bytes() for path in sorted(export(tmp_path / "in").iterdir())) + b"{oops\n"
    for _ in range(2):  # the second time it is read again: nobody can tell whether it is the same
        monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(content)))
        taken = pulls("-")
        assert taken.lines == 25
    assert "MedicationAdministration/i2" in pulls.stored()
    assert ("Observation/ck-other1" in pulls.stored()) == (cohort.by == "everybody")
    assert pulls.states()["file: -"] == "complete"
    assert [one.place for one in quarantined(pulls.db, "leon")] == ["-:25"]
    assert not list(tmp_path.glob("*.stdin*"))


@pytest.mark.parametrize(
    "odd",
    [
        {"dosage": {"dose": {"value": "300"}}},
        {"status": ["completed"]},
        {"effectiveDateTime": 7},
        {"meta": {"versionId": 1}},
        {"meta": {"versionId": 1}, "medicationReference": {"reference": "Medication/drug"}},
    ],
)
def test_whoever_was_given_the_drug_is_found_though_the_record_is_odd(odd: Json, tmp_path: Path) -> None:
    write(tmp_path / "in" / "MedicationAdministration.ndjson", infusion("i1", "odd", **odd))
    write(tmp_path / "in" / "Medication.ndjson", {**medication("drug"), "status": 7})
    pulls = Pulls(tmp_path, Cohort("medication"))
    taken = pulls(tmp_path / "in")
    assert pulls.members() == ["Patient/odd"]
    assert taken.kept.total() + taken.not_kept["set_aside"] == 2 - taken.not_kept["not_in_cohort"]
    aside = [Path(one.place).name for one in quarantined(pulls.db, "leon")]
    assert aside == (["MedicationAdministration.ndjson:1"] if "meta" in odd else [])


@pytest.mark.parametrize("odd", [{"onsetDateTime": 7}, {"meta": {"lastUpdated": 7}}])
def test_whoever_has_the_disease_is_found_though_the_record_is_odd(odd: Json, tmp_path: Path) -> None:
    write(tmp_path / "in" / "Condition.ndjson", {**condition("c1", "odd"), **odd})
    pulls = Pulls(tmp_path, Cohort("condition"))
    pulls(tmp_path / "in")
    assert pulls.members() == ["Patient/odd"]


def test_what_is_wrong_with_meta_and_more_finds_nobody(tmp_path: Path) -> None:
    write(tmp_path / "in" / "MedicationAdministration.ndjson", {**infusion("i1", "odd"), "id": 7, "meta": 7})
    pulls = Pulls(tmp_path, Cohort("medication"))
    pulls(tmp_path / "in")
    assert pulls.members() == []
    assert [one.reason for one in quarantined(pulls.db, "leon")] == ["unreadable"]
