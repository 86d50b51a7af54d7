"""How records are asked for: what a server refuses is found out once, and asked for in another way."""

from collections.abc import Callable
from datetime import date

import pytest

from dm_fhir.sync.query import DATE_PARAMETERS
from dm_fhir.sync.windows import parameters

from .hospital import Ask, Hospital, Refuse, Reply, refusal
from .records import category, ck, cks, infusion, person, population, record
from .study import Study

StudyOf = Callable[..., Study]
PATIENTS = ("p1", "p2", "p3")
#: As many patients as make a search too long for an address.
MANY = tuple(f"patient-with-a-rather-long-id-{number}" for number in range(60))


def refusing(status: int, when: Callable[[Ask], bool], text: str = "") -> Refuse:
    """Refuses what fits."""
    return lambda ask: refusal(status, text) if when(ask) else None


def without_category(ask: Ask) -> bool:
    """A search of Observations that names no category."""
    return ask.is_search and ask.type == "Observation" and not ask.has("category")


WANTS_CATEGORY = refusing(400, without_category, "required: category")


def test_a_server_that_wants_a_category_is_found_out_once_and_its_units_are_by_category(
    hospital: Hospital, study_of: StudyOf
) -> None:
    hospital.refuse.append(WANTS_CATEGORY)
    study = study_of(pull={"categories": '["laboratory", "survey"]'})
    assert study.type("pull").code == 0
    states = {query: unit.state for (patient, query), unit in study.units().items() if "category" in query}
    assert states == {
        "Observation?patient&category=laboratory": "complete",
        "Observation?patient&category=survey": "complete",
    }
    assert ("Patient/p1", "Observation?patient") not in study.units()
    assert set(study.bodies("Observation")) == {"p1-ck", "p2-ck", "p3-ck"}

    hospital.asked.clear()
    assert study.type("pull").code == 0
    assert all(ask.has("category") for ask in hospital.searches("Observation"))


def test_a_category_that_nobody_gets_is_left_out_and_the_others_go_on(hospital: Hospital, study_of: StudyOf) -> None:
    hospital.refuse.append(WANTS_CATEGORY)
    hospital.refuse.append(refusing(400, lambda ask: ask.parameter("category") == "therapy", "no such value"))
    study = study_of(pull={"categories": '["therapy", "laboratory"]'})

    assert study.type("pull").code == 0
    assert {query for _, query in study.units() if "category" in query} == {"Observation?patient&category=laboratory"}
    assert study.facts()["category therapy"] == "no"


def test_a_patient_for_whom_a_category_is_refused_costs_the_others_nothing(
    hospital: Hospital, study_of: StudyOf
) -> None:
    hospital.refuse.append(WANTS_CATEGORY)
    hospital.refuse.append(
        refusing(400, lambda ask: ask.type == "Observation" and ask.parameter("patient") == "p1", "cannot be searched")
    )
    study = study_of(pull={"categories": '["laboratory", "survey"]', "patients_per_query": "1"})

    assert study.type("pull").code == 3
    units = [unit for (_, query), unit in study.units().items() if "category" in query]
    assert {unit.patient for unit in units if unit.state == "unsupported"} == {"Patient/p1"}
    assert len(units) == 6
    assert set(study.bodies("Observation")) == {"p2-ck", "p3-ck"}
    assert not [name for name in study.facts() if name.startswith("category")]


def test_patients_are_read_by_id_where_they_cannot_be_searched(hospital: Hospital, study_of: StudyOf) -> None:
    hospital.refuse.append(refusing(400, lambda ask: ask.is_search and ask.type == "Patient"))
    study = study_of()

    assert study.type("pull").code == 0
    assert set(study.bodies("Patient")) == {"p1", "p2", "p3"}
    assert not any(ask.has("patient") for ask in hospital.asked if ask.type == "Patient")


def test_a_refused_type_stops_no_other_and_is_named(hospital: Hospital, study_of: StudyOf) -> None:
    hospital.refuse.append(refusing(403, lambda ask: ask.type == "MedicationAdministration"))
    study = study_of()
    ran = study.type("pull")

    assert ran.code == 3
    assert study.unit("MedicationAdministration?patient").state == "refused"
    assert study.unit("Observation?patient").state == "complete"
    assert "MedicationAdministration" in ran.text


def test_a_long_search_goes_by_post_and_its_pages_by_get(hospital: Hospital, study_of: StudyOf) -> None:
    hospital.held = population(*MANY)
    hospital.most_per_page = 25
    study = study_of(patients=MANY)

    assert study.type("pull").code == 0
    ways = [(ask.method, ask.page) for ask in hospital.searches("Observation")]
    assert ways == [("POST", 1), ("GET", 2), ("GET", 3)]
    assert "patient=" not in hospital.searches("Observation")[0].address
    assert len(study.bodies("Observation")) == len(MANY)


def test_where_post_is_refused_it_is_get_from_then_on_for_this_type(hospital: Hospital, study_of: StudyOf) -> None:
    hospital.held = population(*MANY)
    hospital.refuse.append(refusing(404, lambda ask: ask.path == "Observation/_search"))
    study = study_of(patients=MANY)
    assert study.type("pull").code == 0
    assert [ask.method for ask in hospital.searches("Observation")] == ["POST", "GET"]
    assert study.facts()["post Observation"] == "no"

    hospital.asked.clear()
    assert study.type("pull").code == 0
    assert {ask.method for ask in hospital.searches("Observation")} == {"GET"}
    assert "POST" in {ask.method for ask in hospital.searches("Condition")}


def test_medications_are_never_searched_by_patient_but_read_by_reference(hospital: Hospital, study_of: StudyOf) -> None:
    drug = {"resourceType": "Medication", "id": "vial", "code": {"coding": [{"system": "urn:local", "code": "4711"}]}}
    absolute = f"{hospital.endpoint}/Medication/absolute"
    hospital.put(
        drug,
        {**drug, "id": "absolute"},
        infusion("by-relative", "p1", medicationReference={"reference": "Medication/vial/_history/3"}),
        infusion("by-absolute", "p2", medicationReference={"reference": absolute}),
        infusion("by-contained", "p2", medicationReference={"reference": "#m"}, contained=[{**drug, "id": "m"}]),
        infusion("elsewhere", "p3", medicationReference={"reference": "https://other.example/r4/Medication/x"}),
    )
    study = study_of()

    assert study.type("pull").code == 0
    assert [ask.path for ask in hospital.asked if ask.type == "Medication"] == [
        "Medication/absolute",
        "Medication/vial",
    ]
    assert set(study.bodies("Medication")) == {"vial", "absolute"}


def test_a_medication_under_the_servers_inner_address_is_read_by_the_sites_rule(
    hospital: Hospital, study_of: StudyOf
) -> None:
    hospital.put(
        {"resourceType": "Medication", "id": "vial"},
        infusion("inner", "p1", medicationReference={"reference": "http://inner:8080/fhir/Medication/vial"}),
    )
    study = study_of(site=f'rewrite = {{ "http://inner:8080/fhir" = "{hospital.endpoint}" }}')

    assert study.type("pull").code == 0
    assert set(study.bodies("Medication")) == {"vial"}


@pytest.mark.parametrize(("type_name", "name"), DATE_PARAMETERS.items())
def test_dates_are_whole_moments_with_a_prefix_and_in_utc(type_name: str, name: str) -> None:
    asked = parameters(name, (date(2025, 3, 1), date(2025, 4, 1)))

    # A day more on both sides: a server may take a day without zone for a day of UTC.
    assert asked == ((name, "ge2025-02-28T00:00:00Z"), (name, "lt2025-04-02T00:00:00Z"))


def test_a_type_that_is_not_listed_is_asked_for_in_the_patients_compartment(
    hospital: Hospital, study_of: StudyOf
) -> None:
    hospital.listed["MedicationStatement"] = ("_lastUpdated",)
    hospital.put(record("MedicationStatement", "s1", "p1", medicationCodeableConcept={"text": "hydroxychloroquine"}))
    study = study_of()
    ran = study.type("pull")

    assert "s1" in study.bodies("MedicationStatement")
    assert study.unit("MedicationStatement?patient", "p1").state == "complete"
    # Nothing was found for the others, and to a search that is not listed that proves nothing.
    assert study.unit("MedicationStatement?patient", "p2").reason == "not-listed"
    assert ran.code == 3


def test_one_patient_whom_a_server_does_not_know_costs_the_others_nothing(
    hospital: Hospital, study_of: StudyOf
) -> None:
    """As of a server that answers 404 where the patient of a compartment is not there, or no longer."""
    hospital.listed["MedicationStatement"] = ("_lastUpdated",)
    hospital.put(
        *(record("MedicationStatement", f"{p}-s", p, medicationCodeableConcept={"text": "x"}) for p in PATIENTS)
    )
    hospital.refuse.append(refusing(404, lambda ask: ask.path == "Patient/p1/MedicationStatement", "no such patient"))
    study = study_of(pull={"concurrency": "1"})
    study.type("pull")

    states = {patient: study.unit("MedicationStatement?patient", patient).state for patient in PATIENTS}
    assert states == {"p1": "unsupported", "p2": "complete", "p3": "complete"}


def test_a_type_that_a_few_patients_were_refused_for_is_not_tried_for_everybody(
    hospital: Hospital, study_of: StudyOf
) -> None:
    names = [f"q{number}" for number in range(20)]
    hospital.held = population(*names)
    hospital.refuse.append(refusing(404, lambda ask: ask.type == "Condition"))
    study = study_of(patients=names, pull={"concurrency": "1", "patients_per_query": "1"})

    assert study.type("pull").code == 3
    assert len(hospital.searches("Condition")) < 20
    assert {study.unit("Condition?patient", name).state for name in names} == {"unsupported"}


def test_where_only_the_subject_can_be_searched_patients_are_found_by_it(hospital: Hospital, study_of: StudyOf) -> None:
    hospital.listed["Observation"] = ("subject", "combo-code", "_lastUpdated")
    study = study_of()

    assert study.type("pull").code == 0
    assert study.unit("Observation?patient").state == "complete"
    assert {ask.parameter("subject") for ask in hospital.searches("Observation")} == {
        "Patient/p1,Patient/p2,Patient/p3"
    }


def test_lists_of_patients_that_are_not_honoured_are_noticed_and_not_tried_again(
    hospital: Hospital, study_of: StudyOf
) -> None:
    hospital.lists = 1
    study = study_of()
    assert study.type("pull").code == 0
    assert set(study.bodies("Observation")) == {"p1-ck", "p2-ck", "p3-ck"}
    assert study.facts()["lists Observation"] == "no"

    hospital.asked.clear()
    assert study.type("pull").code == 0
    assert not [ask for ask in hospital.searches("Observation") if "," in ask.parameter("patient")]


@pytest.mark.parametrize("pull", [{}, {"batch": "true"}], ids=["found out", "configured"])
def test_where_lists_are_not_honoured_searches_go_in_a_batch(
    hospital: Hospital, study_of: StudyOf, pull: dict[str, str]
) -> None:
    hospital.lists, hospital.interactions = 1, ("batch",)
    study = study_of(pull=pull)
    assert study.type("pull").code == 0
    assert [ask.address for ask in hospital.searches("Observation")[-3:]] == ["in a batch"] * 3

    # Changes are asked for one by one.
    assert study.type("pull").code == 0
    assert set(study.bodies("Observation")) == {"p1-ck", "p2-ck", "p3-ck"}


@pytest.mark.parametrize("pull", [{}, {"batch": "true"}], ids=["found out", "configured"])
def test_a_batch_that_is_refused_after_all_is_done_without(
    hospital: Hospital, study_of: StudyOf, pull: dict[str, str]
) -> None:
    hospital.lists, hospital.interactions = 1, ("batch",)
    hospital.refuse.append(refusing(422, lambda ask: ask.method == "POST" and not ask.path))
    study = study_of(pull=pull)

    assert study.type("pull").code == 0
    assert set(study.bodies("Observation")) == {"p1-ck", "p2-ck", "p3-ck"}
    assert study.facts()["batch"] == "no"


def test_what_only_one_patient_has_does_not_make_lists_look_ignored_later(
    hospital: Hospital, study_of: StudyOf
) -> None:
    hospital.held = [*population("p1"), person("p2"), person("p3")]
    study = study_of()
    study.type("pull")
    study.type("pull")

    assert study.facts().get("lists Observation") != "no"


def test_strict_handling_is_asked_for_and_left_where_it_is_refused(hospital: Hospital, study_of: StudyOf) -> None:
    hospital.refuse.append(refusing(400, lambda ask: "Prefer" in ask.headers and ask.type == "Observation"))
    study = study_of()
    assert study.type("pull").code == 0
    assert study.facts()["strict Observation"] == "no"
    assert ["Prefer" in ask.headers for ask in hospital.searches("Observation")] == [True, False]

    hospital.asked.clear()
    assert study.type("pull").code == 0
    assert not any("Prefer" in ask.headers for ask in hospital.searches("Observation"))
    assert all(ask.headers["Prefer"] == "handling=strict" for ask in hospital.searches("Condition"))


def test_a_category_that_the_server_ignores_is_looked_at_here(hospital: Hospital, study_of: StudyOf) -> None:
    hospital.put(ck("vital", "p1", category=category("vital-signs")))
    hospital.listed["Observation"] = ("patient", "_lastUpdated")
    hospital.is_strict = False
    study = study_of(pull={"observations_by": '"categories"', "categories": '["laboratory"]'})

    assert study.type("pull").code == 0
    unit = study.unit("Observation?patient&category=laboratory")
    assert (unit.unique, unit.notes["filter_ignored:category"]) == (1, 1)


def test_scope_mapped_keeps_only_what_the_tables_know_and_all_keeps_everything(
    hospital: Hospital, study_of: StudyOf
) -> None:
    unknown = {"coding": [{"system": "urn:local", "code": "weight"}]}
    other_drug = {"coding": [{"system": "urn:local", "code": "paracetamol"}]}
    hospital.put(
        ck("weight", "p1", code=unknown),
        infusion("other", "p1", medicationCodeableConcept=other_drug),
        infusion("in-words", "p1", medicationCodeableConcept={"text": "Saphnelo"}),
        record("AdverseEvent", "fall", "p1", actuality="actual", event={"text": "fell down the stairs"}),
    )
    study = study_of()
    assert study.type("pull").code == 0
    assert set(study.bodies("Observation")) == {"p1-ck", "p2-ck", "p3-ck"}
    assert all(ask.has("combo-code") for ask in hospital.searches("Observation"))
    # A drug that is only written in words may be the study's, and an adverse event is one whatever its code.
    assert set(study.bodies("MedicationAdministration")) == {"p1-infusion", "p2-infusion", "p3-infusion", "in-words"}
    assert set(study.bodies("AdverseEvent")) == {"fall"}
    assert study.unit("MedicationAdministration?patient").notes["not_mapped"] == 1

    text = study.config.read_text(encoding="utf-8")
    study.config.write_text(text.replace("[site.pull]\n", '[site.pull]\nscope = "all"\n'), encoding="utf-8")
    assert study.type("pull").code == 0
    assert "weight" in study.bodies("Observation")
    assert "other" in study.bodies("MedicationAdministration")


def test_a_server_that_searches_nothing_by_code_is_asked_for_whole_records(
    hospital: Hospital, study_of: StudyOf
) -> None:
    hospital.listed["Observation"] = ("patient", "_lastUpdated")
    hospital.put(*cks("p1", 3), ck("weight", "p1", code={"coding": [{"code": "weight"}]}))
    study = study_of()

    assert study.type("pull").code == 0
    assert "weight" not in study.bodies("Observation")
    assert study.unit("Observation?patient").notes["not_mapped"] == 1
    assert len(hospital.searches("Observation")) == 1


def test_a_smaller_page_is_asked_for_where_the_usual_one_is_refused(hospital: Hospital, study_of: StudyOf) -> None:
    hospital.refuse.append(refusing(400, lambda ask: int(ask.parameter("_count") or 0) > 100, "_count at most 100"))
    study = study_of()
    assert study.type("pull").code == 0
    assert study.facts()["page_size"] == "100"

    hospital.asked.clear()
    assert study.type("pull").code == 0
    assert {ask.parameter("_count") for ask in hospital.searches("Observation")} == {"100"}


def test_an_answer_to_another_search_is_given_up_at_its_first_page(hospital: Hospital, study_of: StudyOf) -> None:
    """A search of the cohort that is ignored would bring the whole hospital."""
    strangers = [
        infusion(f"other-{n}", f"s{n}", medicationCodeableConcept={"coding": [{"code": "x"}]}) for n in range(90)
    ]
    hospital.held = strangers
    hospital.bend.append(lambda ask, bundle: bundle)
    hospital.listed["MedicationAdministration"] = ("patient", "_lastUpdated")
    hospital.listed["Medication"] = ("_lastUpdated",)
    hospital.is_strict, hospital.most_per_page = False, 10
    study = study_of(cohort='by = "medication"')
    ran = study.type("pull")

    assert ran.code != 0
    assert len([ask for ask in hospital.searches("MedicationAdministration") if ask.page > 1]) == 0
    assert study.bodies("MedicationAdministration") == {}


def test_reply_of_another_shape_is_no_page(hospital: Hospital, study_of: StudyOf) -> None:
    hospital.refuse.append(lambda ask: Reply(200, {"resourceType": "Parameters"}) if ask.type == "Condition" else None)
    study = study_of()

    assert study.type("pull").code == 3
    assert study.unit("Condition?patient").reason == "not-fhir"
