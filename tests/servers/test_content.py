"""What stands in the records of real hospitals, from the server to the case series: nothing is lost, nothing is guessed."""

import json
from collections.abc import Callable
from typing import Any

from .hospital import Ask, Bend, Hospital, Json, Reply
from .records import CK, META, ck, infusion, person, without
from .study import Study

StudyOf = Callable[..., Study]
#: As long as one vendor's ids are.
LONG_ID = "e" + "X-.7" * 21 + "zzz"


def findings(study: Study) -> dict[str, int]:
    """The findings of the case series, by code."""
    [site] = json.loads(study.type("status", "--json").out)["sites"]
    return dict(site["findings"])


def exported(study: Study, *options: str) -> Any:
    """The only case of the case series; without options as it may leave the hospital."""
    [case] = json.loads(study.type("export", *options).out)["cases"]
    return case


def test_a_result_in_words_is_kept_and_is_no_number(hospital: Hospital, study_of: StudyOf) -> None:
    words = {**without(ck("p1-ck", "p1"), "valueQuantity"), "valueString": "<10 IntlUnit/mL"}
    hospital.put(words)
    study = study_of(patients=["p1"])

    assert study.type("sync").code == 0
    assert findings(study) == {"value_is_string": 1}
    [assessment] = exported(study)["assessments"]
    assert assessment["measured"]["result"] == {"reason": "value_is_string"}
    assert b"<10 IntlUnit/mL" in study.bodies("Observation")["p1-ck"]
    assert "IntlUnit" not in study.type("export").out


def test_a_result_that_is_absent_is_missing_with_its_reason_and_no_zero(hospital: Hospital, study_of: StudyOf) -> None:
    absent = {
        "coding": [{"system": "http://terminology.hl7.org/CodeSystem/data-absent-reason", "code": "not-performed"}]
    }
    hospital.put({**without(ck("p1-ck", "p1"), "valueQuantity"), "dataAbsentReason": absent})
    study = study_of(patients=["p1"])

    assert study.type("sync").code == 0
    assert findings(study) == {"value_missing": 1}
    [assessment] = exported(study, "--identified")["assessments"]
    assert assessment["measured"]["result"] == {"reason": "value_missing"}
    assert assessment["measured"]["absent"]["codings"][0]["code"] == "not-performed"


def test_a_result_below_the_limit_of_the_method_keeps_its_sign(hospital: Hospital, study_of: StudyOf) -> None:
    quantity = {"value": 20, "comparator": "<", "unit": "U/L", "system": "http://unitsofmeasure.org", "code": "U/L"}
    hospital.put(ck("p1-ck", "p1", valueQuantity=quantity))
    study = study_of(patients=["p1"])

    assert study.type("sync").code == 0
    [assessment] = exported(study)["assessments"]
    assert assessment["measured"]["result"]["bound"] == "upper_exclusive"


def test_an_unknown_unit_is_a_finding(hospital: Hospital, study_of: StudyOf) -> None:
    hospital.put(ck("p1-ck", "p1", valueQuantity={"value": 20, "unit": "K/uL"}))
    study = study_of(patients=["p1"])

    assert study.type("sync").code == 0
    assert findings(study) == {"unit_incompatible": 1}


def test_a_time_without_zone_is_the_hospitals_and_said_to_be(hospital: Hospital, study_of: StudyOf) -> None:
    hospital.put(ck("p1-ck", "p1", when="2025-06-01T10:00:00"))
    study = study_of(patients=["p1"], site='timezone = "Europe/Madrid"')

    assert study.type("sync").code == 0
    assert findings(study) == {"zone_assumed": 1}
    [assessment] = exported(study)["assessments"]
    assert assessment["when"] == "2025-06-01T10:00:00"


def test_ids_of_88_characters_go_all_the_way(hospital: Hospital, study_of: StudyOf) -> None:
    assert len(LONG_ID) == 88
    hospital.put(person(LONG_ID), infusion("i", LONG_ID), ck("k", LONG_ID))
    study = study_of(patients=[LONG_ID], pull={"patients_per_query": "1"})

    assert study.type("sync").code == 0
    assert set(study.bodies("Patient")) == {LONG_ID}
    assert len(exported(study)["assessments"]) == 1


def test_the_bytes_are_kept_as_they_came_and_numbers_keep_their_digits(hospital: Hospital, study_of: StudyOf) -> None:
    body = json.dumps(ck("p1-ck", "p1", 250)).replace("250", "1.10")

    def exact(ask: Ask) -> Reply | None:
        if ask.type != "Observation" or not ask.is_search:
            return None
        bundle = f'{{"resourceType": "Bundle", "total": 1, "entry": [{{"resource": {body}}}]}}'
        return Reply(200, bundle.encode())

    hospital.refuse.append(exact)
    study = study_of(patients=["p1"])

    assert study.type("sync").code == 0
    assert study.bodies("Observation")["p1-ck"] == body.encode()
    assert '"value":1.10' in study.type("export").out.replace(" ", "")


def test_what_is_only_known_here_does_not_leave_the_house(hospital: Hospital, study_of: StudyOf) -> None:
    """Codes and texts of a hospital's own may hold anything, names included."""
    telling = {"system": "urn:local", "code": "SMITH-JANE", "display": "Jane Smith"}
    hospital.put(
        ck("p1-own", "p1", code={"coding": [telling], "text": "Jane Smith"}),
        ck("p1-ck", "p1", code={**CK, "text": "CK of Jane Smith"}),
        infusion("p1-other", "p1", medicationCodeableConcept={"coding": [telling], "text": "for Jane Smith"}),
    )
    study = study_of(patients=["p1"], pull={"scope": '"all"'})

    assert study.type("sync").code == 0
    for told in (
        study.type("export").out,
        study.type("export", "--identified").out,
        study.type("status", "--json").out,
    ):
        assert "urn:local" not in told
    assert "Smith" not in study.type("export").out


def test_an_answer_with_a_warning_is_whole_and_the_warning_is_told(hospital: Hospital, study_of: StudyOf) -> None:
    warning = {
        "resourceType": "OperationOutcome",
        "issue": [
            {"severity": "warning", "code": "suppressed", "diagnostics": "4119: may not contain the entire record"}
        ],
    }
    hospital.bend.append(warned(warning))
    study = study_of(patients=["p1"])
    ran = study.type("pull")

    assert ran.code == 0
    assert "may not contain the entire record" in ran.text
    assert study.unit("Observation?patient").notes["authorised_view_only"] == 1


def test_a_failure_that_calls_itself_200_is_a_failure(hospital: Hospital, study_of: StudyOf) -> None:
    error = {
        "resourceType": "OperationOutcome",
        "issue": [{"severity": "error", "code": "exception", "diagnostics": "the search could not be run"}],
    }
    hospital.bend.append(
        lambda ask, bundle: (
            {**bundle, "total": 0, "entry": [{"resource": error}]} if ask.type == "Observation" else bundle
        )
    )
    study = study_of(patients=["p1"])
    ran = study.type("pull")

    assert ran.code == 3
    assert (study.unit("Observation?patient").state, study.unit("Observation?patient").reason) == (
        "failed",
        "outcome-error",
    )


def warned(outcome: Json) -> Bend:
    """Puts an OperationOutcome at the end of every page of Observations."""
    return lambda ask, bundle: (
        {**bundle, "entry": [*bundle["entry"], {"resource": outcome, "search": {"mode": "outcome"}}]}
        if ask.type == "Observation" and not ask.is_count
        else bundle
    )


def test_results_that_were_taken_back_are_left_out_with_the_reason(hospital: Hospital, study_of: StudyOf) -> None:
    before, after = "2025-05-01T10:00:00Z", "2025-07-01T10:00:00Z"
    hospital.put(
        ck("p1-ck", "p1", 300, before),
        ck("p1-wrong", "p1", 9000, before, status="entered-in-error", meta=META),
        ck("p1-cancelled", "p1", 8000, after, status="cancelled"),
        ck("p1-late", "p1", 200, after),
    )
    study = study_of(patients=["p1"])

    assert study.type("sync").code == 0
    baseline = next(one for one in exported(study)["outcomes"] if one["variable"] == "ck_baseline")
    assert baseline["number"] == "300"
    assert len(study.bodies("Observation")) == 4
