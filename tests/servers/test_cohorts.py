"""Whose records are pulled: by list, by Group, by condition, by medication, and what a server says that cannot."""

import json
from collections.abc import Callable
from dataclasses import replace

import pytest

from .hospital import Ask, Hospital, Json, Reply, refusal
from .records import infusion, person, population, record
from .study import Study

StudyOf = Callable[..., Study]
MRN = "urn:mrn"
BY_MEDICATION = 'by = "medication"'


def numbered(name: str, number: str) -> Json:
    """A patient with a medical record number."""
    return person(name, identifier=[{"system": MRN, "value": number}])


def write_list(study: Study, *lines: str) -> None:
    """Put these lines into the study's list of patients."""
    (study.config.parent / "patients.txt").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def members(study: Study) -> set[str]:
    """Whose records there are."""
    return {patient for (patient, query), _ in study.units().items() if query == "Observation?patient"}


def test_every_line_of_a_list_is_accounted_for_by_its_number(hospital: Hospital, study_of: StudyOf) -> None:
    hospital.put(numbered("p1", "100"), numbered("p2", "200"), numbered("twin", "200"))
    study = study_of()
    write_list(study, "# this week's", f"{MRN}|100", f"{MRN}|200", f"{MRN}|300", "Patient/p3", "a/b/c")
    ran = study.type("pull", "--json")
    listed = json.loads(ran.out)["listed"]["north"]

    assert ran.code == 3
    assert {one["line"]: one["state"] for one in listed} == {
        2: "found", 3: "ambiguous", 4: "not found", 5: "found", 6: "unreadable",
    }  # fmt: skip
    assert members(study) == {"Patient/p1", "Patient/p3"}
    assert "line 3 ambiguous, line 4 not found" in str(study.unit("cohort: list of patients", "").message)
    for told in (ran.text, study.type("pull").text, study.type("failed").text):
        assert not [number for number in ("100", "200", "300") if f"|{number}" in told or f" {number}" in told], told
    assert "line 4" in study.type("pull").text


def test_whoever_is_not_on_the_list_any_more_is_left_alone(hospital: Hospital, study_of: StudyOf) -> None:
    study = study_of()
    study.type("pull")
    write_list(study, "p1")
    hospital.asked.clear()

    assert study.type("pull").code == 0
    assert {ask.parameter("patient") for ask in hospital.searches("Observation")} == {"p1"}


def test_a_patient_that_does_not_exist_is_no_complete_patient(hospital: Hospital, study_of: StudyOf) -> None:
    study = study_of(patients=["p1", "p-typed-wrong"])
    ran = study.type("pull")

    assert ran.code == 3, ran.text
    assert study.unit("Patient", "p-typed-wrong").state != "complete"
    assert study.unit("Patient", "p1").state == "complete"


def test_one_week_of_patients_joins_the_cohort(hospital: Hospital, study_of: StudyOf) -> None:
    hospital.put(numbered("p2", "200"))
    study = study_of(cohort=BY_MEDICATION)
    file = study.config.parent / "this-week.txt"
    file.write_text(f"{MRN}|200\n{MRN}|999\n", encoding="utf-8")
    ran = study.type("pull", "--patient-file", str(file))

    assert members(study) == {"Patient/p2"}
    assert "line 2 of the list: not found" in ran.text


def test_identifiers_stand_in_no_address_where_the_server_takes_post(hospital: Hospital, study_of: StudyOf) -> None:
    hospital.put(numbered("p1", "MRN-1"))
    study = study_of()
    write_list(study, f"{MRN}|MRN-1")

    assert study.type("pull").code == 0
    assert not [ask.address for ask in hospital.asked if "MRN-1" in ask.address]


@pytest.mark.parametrize("manner", ["refused", "form not read"])
def test_where_post_does_not_work_identifiers_are_asked_for_by_get(
    hospital: Hospital, study_of: StudyOf, manner: str
) -> None:
    hospital.put(numbered("p1", "MRN-1"))

    def by_post(ask: Ask) -> Reply | None:
        if ask.method != "POST":
            return None
        return refusal(404) if manner == "refused" else hospital.honest(replace(ask, parameters=()))

    hospital.refuse.append(by_post)
    hospital.most_per_page = 2
    study = study_of()
    write_list(study, f"{MRN}|MRN-1")

    assert study.type("pull").code == 0
    assert members(study) == {"Patient/p1"}
    assert study.facts()["post Patient"] == "no"


def test_a_server_that_ignores_identifiers_does_not_send_the_whole_hospital(
    hospital: Hospital, study_of: StudyOf
) -> None:
    hospital.put(*(person(f"other-{number}") for number in range(50)))
    hospital.listed["Patient"] = ("_id",)
    hospital.is_strict, hospital.most_per_page = False, 10
    study = study_of()
    write_list(study, f"{MRN}|MRN-1")
    ran = study.type("pull")

    assert ran.code == 3
    assert study.unit("cohort: list of patients", "").reason == "filter-ignored"
    assert max(ask.page for ask in hospital.searches("Patient")) == 1


def test_a_number_of_another_system_is_not_the_patients(hospital: Hospital, study_of: StudyOf) -> None:
    """As of a server that looks at the value only."""
    hospital.put(person("p2", identifier=[{"system": "urn:other", "value": "100"}]), numbered("p3", "300"))
    sloppy = {"urn:mrn|100": "urn:other|100", "urn:mrn|300": "urn:mrn|300"}
    hospital.refuse.append(
        lambda ask: (
            hospital.honest(replace(ask, parameters=(("identifier", sloppy[ask.parameter("identifier")]),)))
            if ask.has("identifier")
            else None
        )
    )
    study = study_of()
    write_list(study, f"{MRN}|100", f"{MRN}|300")
    ran = study.type("pull", "--json")

    assert [one["state"] for one in json.loads(ran.out)["listed"]["north"]] == ["not found", "found"]


def test_a_group_has_its_active_members(hospital: Hospital, study_of: StudyOf) -> None:
    active = [{"entity": {"reference": f"Patient/{name}"}} for name in ("p1", "p2")]
    left = {"entity": {"reference": "Patient/p3"}, "inactive": True}
    device = {"entity": {"reference": "Device/d1"}}
    hospital.put({"resourceType": "Group", "id": "study", "member": [*active, left, device]})
    study = study_of(cohort='by = "group"\ngroup = "Group/study"')

    assert study.type("pull").code == 0
    assert members(study) == {"Patient/p1", "Patient/p2"}


def test_a_condition_that_was_refuted_is_none(hospital: Hospital, study_of: StudyOf) -> None:
    code = {"coding": [{"system": "http://hl7.org/fhir/sid/icd-10-cm", "code": "M33.13"}]}
    refuted = {"coding": [{"code": "refuted"}]}
    other = {"coding": [{"system": "http://hl7.org/fhir/sid/icd-10-cm", "code": "L20.9"}]}
    hospital.put(
        record("Condition", "c1", "p1", code=code),
        record("Condition", "c2", "p2", code=code, verificationStatus=refuted),
        record("Condition", "c3", "p3", code=other),
    )
    study = study_of(cohort='by = "condition"')

    assert study.type("pull").code == 0
    assert members(study) == {"Patient/p1"}


def test_whoever_was_given_the_drug_by_code_or_by_reference(hospital: Hospital, study_of: StudyOf) -> None:
    hospital.put(
        {
            "resourceType": "Medication",
            "id": "vial",
            "code": {"coding": [{"system": "http://www.whocc.no/atc", "code": "L04AG11"}]},
        },
        person("p4"),
        infusion("p4-infusion", "p4", medicationReference={"reference": "Medication/vial"}),
    )
    study = study_of(cohort=BY_MEDICATION)

    assert study.type("pull").code == 0
    assert members(study) == {"Patient/p1", "Patient/p2", "Patient/p3", "Patient/p4"}


def test_a_code_is_found_under_every_name_of_its_system(hospital: Hospital, study_of: StudyOf) -> None:
    """A server that knows it as an OID finds nothing under the address."""
    oid = {"coding": [{"system": "urn:oid:2.16.840.1.113883.6.73", "code": "L04AG11"}]}
    hospital.held = [person("p1"), infusion("i", "p1", medicationCodeableConcept=oid)]
    study = study_of(cohort=BY_MEDICATION)

    assert study.type("pull").code == 0
    assert members(study) == {"Patient/p1"}


@pytest.mark.parametrize(("cohort", "type_name", "ways"), [
    (BY_MEDICATION, "MedicationAdministration", ('by = "condition"', 'by = "group"', 'by = "patients"')),
    ('by = "condition"', "Condition", ('by = "medication"', 'by = "group"', 'by = "patients"')),
])  # fmt: skip
def test_a_server_that_cannot_search_the_cohort_so_says_which_way_it_can(
    hospital: Hospital, study_of: StudyOf, cohort: str, type_name: str, ways: tuple[str, ...]
) -> None:
    """As one that wants a patient in every search."""
    hospital.refuse.append(
        lambda ask: (
            refusal(400, "patient or _id is required")
            if ask.is_search and ask.type == type_name and not ask.has("patient")
            else None
        )
    )
    ran = study_of(cohort=cohort).type("pull")

    assert ran.code == 2
    assert not [way for way in ways if way not in ran.text], ran.text


def test_a_search_of_the_cohort_that_brings_more_keeps_what_fits(hospital: Hospital, study_of: StudyOf) -> None:
    other = {"coding": [{"system": "urn:local", "code": "paracetamol"}]}
    hospital.held += [person("p9"), infusion("p9-other", "p9", medicationCodeableConcept=other)]
    hospital.bend.append(
        lambda ask, bundle: (
            {
                **bundle,
                "total": 4,
                "entry": [hospital.entry(one) for one in hospital.held if one["resourceType"] == ask.type],
            }
            if ask.type == "MedicationAdministration" and ask.has("code")
            else bundle
        )
    )
    study = study_of(cohort=BY_MEDICATION)

    assert study.type("pull").code == 0
    assert members(study) == {"Patient/p1", "Patient/p2", "Patient/p3"}
    assert study.unit("cohort: MedicationAdministration by code", "").notes["filter_ignored:code"] == 1


def test_many_patients_are_asked_for_in_groups(hospital: Hospital, study_of: StudyOf) -> None:
    names = [f"q{number}" for number in range(25)]
    hospital.held = population(*names)
    study = study_of(patients=names, pull={"patients_per_query": "10"})

    assert study.type("pull").code == 0
    assert sorted(len(ask.parameter("patient").split(",")) for ask in hospital.searches("Observation")) == [5, 10, 10]
