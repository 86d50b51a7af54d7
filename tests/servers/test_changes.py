"""What has changed since the last pull, on servers that say when, and on those that do not; what has been deleted."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from .hospital import Ask, Hospital, Reply, refusal
from .records import META, ck, infusion, person, record, without
from .study import Study

StudyOf = Callable[..., Study]


def timeless(*held: dict[str, Any]) -> list[dict[str, Any]]:
    """The records as a server gives them that has neither versions nor times."""
    return [without(one, "meta") for one in held]


def since(ask: Ask) -> str:
    """From when on a search wants changes; empty if it wants all."""
    return ask.parameter("_lastUpdated")


def test_a_server_that_has_no_times_is_asked_for_everything_and_equal_content_is_no_change(
    hospital: Hospital, study_of: StudyOf
) -> None:
    hospital.held = timeless(*hospital.held)
    study = study_of()
    study.type("sync")
    before, asked = study.changes(), len(hospital.asked)
    hospital.held = [dict(reversed(one.items())) for one in hospital.held]
    again = study.type("sync", "--json")

    assert again.code == 0, again.text
    assert not [ask for ask in hospital.asked[asked:] if since(ask) and ask.type in ("Patient", "Observation")]
    assert study.unit("Observation?patient").notes["unchanged"] == 1
    assert study.changes() == before
    assert '"mapped":0' in again.out.replace(" ", "")


def test_a_server_that_has_no_times_has_its_changes_noticed(hospital: Hospital, study_of: StudyOf) -> None:
    hospital.held = timeless(*hospital.held)
    study = study_of()
    study.type("pull")
    hospital.put(*timeless(ck("p2-ck", "p2", 777)))

    assert study.type("pull").code == 0
    assert b"777" in study.bodies("Observation")["p2-ck"]


def test_one_question_for_all_does_not_stand_for_records_without_times(hospital: Hospital, study_of: StudyOf) -> None:
    hospital.held = timeless(*hospital.held)
    study = study_of(pull={"patients_per_query": "2"})
    study.type("pull")
    study.type("pull")
    hospital.put(*timeless(ck("p2-ck", "p2", 777)))
    study.type("pull")

    assert b"777" in study.bodies("Observation")["p2-ck"]


def test_where_a_site_does_not_believe_the_times_everything_is_asked_for(hospital: Hospital, study_of: StudyOf) -> None:
    """As of a server whose lastUpdated is something else than the record's last change."""
    study = study_of(pull={"patients_per_query": "2", "last_updated": "false"})
    study.type("pull")
    study.type("pull")
    hospital.put(ck("p2-ck", "p2", 777, meta={**META, "versionId": "2"}))
    study.type("pull")

    assert b"777" in study.bodies("Observation")["p2-ck"]


def test_a_count_over_many_years_that_a_server_cannot_make_is_not_insisted_on(
    hospital: Hospital, study_of: StudyOf
) -> None:
    hospital.refuse.append(lambda ask: refusal(500) if ask.is_count and since(ask) else None)
    study = study_of(pull={"patients_per_query": "2"})
    ran = study.type("pull")

    assert (ran.code, ran.waits) == (0, ())
    assert len([ask for ask in hospital.asked if ask.is_count and ask.type == "Observation"]) == 1


def test_a_type_without_lastupdated_is_asked_for_in_full_and_the_others_for_changes(
    hospital: Hospital, study_of: StudyOf
) -> None:
    listed = hospital.listed["MedicationAdministration"]
    hospital.listed["MedicationAdministration"] = tuple(name for name in listed if name != "_lastUpdated")
    study = study_of()
    study.type("pull")
    hospital.put(infusion("p1-second", "p1"))
    hospital.asked.clear()

    assert study.type("pull").code == 0
    assert not any(since(ask) for ask in hospital.searches("MedicationAdministration"))
    assert all(since(ask) for ask in hospital.searches("Observation"))
    assert "p1-second" in study.bodies("MedicationAdministration")


def test_changes_are_asked_for_by_the_servers_clock_with_ten_minutes_of_overlap(
    hospital: Hospital, study_of: StudyOf
) -> None:
    hospital.skew = timedelta(hours=-3)
    study = study_of()
    started = hospital.now
    study.type("pull")
    hospital.asked.clear()
    study.type("pull")

    asked = {since(ask) for ask in hospital.searches("Observation")}
    [bound] = asked
    assert bound.startswith("ge")
    assert bound.endswith("Z")
    assert abs(datetime.fromisoformat(bound[2:]) - (started - timedelta(minutes=10))) < timedelta(seconds=5)


def test_the_first_pull_and_a_new_patient_have_no_bound(hospital: Hospital, study_of: StudyOf) -> None:
    study = study_of(patients=["p1"])
    study.type("pull")
    assert not any(since(ask) for ask in hospital.asked)

    hospital.asked.clear()
    (study.config.parent / "patients.txt").write_text("p1\np2\np3\n", encoding="utf-8")
    study.type("pull")
    bounds = {ask.parameter("patient"): since(ask) for ask in hospital.searches("Observation")}
    assert (bool(bounds["p1"]), bounds["p2,p3"]) == (True, "")
    assert {"p2-ck", "p3-ck"} <= set(study.bodies("Observation"))


def test_what_comes_again_at_the_bound_is_no_change(hospital: Hospital, study_of: StudyOf) -> None:
    now = {"versionId": "1", "lastUpdated": f"{hospital.now:%Y-%m-%dT%H:%M:%SZ}"}
    hospital.held = [{**one, "meta": now} for one in hospital.held]
    study = study_of()
    study.type("pull")
    before = study.changes()
    study.type("pull")

    assert study.unit("Observation?patient").notes["unchanged"] == 1
    assert study.changes() == before


def test_what_was_deleted_shows_when_all_is_asked_for_and_stays_as_a_tombstone(
    hospital: Hospital, study_of: StudyOf
) -> None:
    hospital.put(ck("p1-other", "p1"))
    study = study_of()
    study.type("pull")
    hospital.remove("Observation/p1-ck")
    assert study.type("pull").code == 0
    assert study.deleted() == {}

    assert study.type("pull", "--full").code == 0
    assert study.deleted() == {"Observation": 1}
    assert set(study.bodies("Observation")) == {"p1-other", "p2-ck", "p3-ck"}


def test_a_full_answer_is_asked_for_every_week(hospital: Hospital, study_of: StudyOf) -> None:
    study = study_of(pull={"full_every_days": "7"})
    study.type("pull")
    hospital.remove("Observation/p1-ck")
    study.change("UPDATE unit SET read_in_full = '2025-01-01T00:00:00Z' WHERE read_in_full IS NOT NULL")

    assert study.type("pull").code == 0
    assert study.deleted() == {"Observation": 1}


def test_what_a_search_no_longer_finds_but_is_still_there_is_kept_and_counted(
    hospital: Hospital, study_of: StudyOf
) -> None:
    study = study_of(patients=["p1"])
    study.type("pull")
    hospital.bend.append(
        lambda ask, bundle: {**bundle, "total": 0, "entry": []} if ask.type == "Observation" else bundle
    )

    assert study.type("pull", "--full").code == 0
    assert study.deleted() == {}
    assert study.unit("Observation?patient").notes["missing_from_search"] == 1
    assert "p1-ck" in study.bodies("Observation")


def test_the_servers_history_tells_of_deletions_where_the_site_wants_it(hospital: Hospital, study_of: StudyOf) -> None:
    def history(ask: Ask) -> Reply | None:
        if ask.path != "Observation/_history":
            return Reply(200, {"resourceType": "Bundle", "type": "history"}) if "_history" in ask.path else None
        deleted = [{"request": {"method": "DELETE", "url": f"Observation/{name}"}} for name in ("p1-ck", "somebodys")]
        return Reply(200, {"resourceType": "Bundle", "type": "history", "entry": deleted})

    hospital.interactions = ("history-type",)
    hospital.refuse.append(history)
    study = study_of(pull={"history": "true"})
    study.type("pull")
    hospital.remove("Observation/p1-ck")

    assert study.type("pull").code == 0
    assert study.deleted() == {"Observation": 1}
    assert "Observation/somebodys" not in {ask.path for ask in hospital.asked}


def test_a_medication_that_is_deleted_drops_no_administration(hospital: Hospital, study_of: StudyOf) -> None:
    hospital.put(infusion("p1-by-reference", "p1", medicationReference={"reference": "Medication/gone"}))
    study = study_of()

    assert study.type("sync").code == 0
    assert study.unit("Medication by reference", "").notes["gone"] == 1
    assert "p1-by-reference" in study.bodies("MedicationAdministration")
    assert '"medication_unresolved":1' in study.type("status", "--json").out


def test_both_records_of_a_merged_patient_are_pulled_and_can_come_apart(hospital: Hospital, study_of: StudyOf) -> None:
    link = [{"type": "replaced-by", "other": {"reference": "Patient/p2"}}]
    hospital.put(person("p1", link=link), ck("p2-late", "p2"))
    study = study_of(patients=["p1"])
    assert study.type("sync").code == 0
    assert {"p1-ck", "p2-ck", "p2-late"} <= set(study.bodies("Observation"))
    assert study.unit("Observation?patient", "p2").state == "complete"

    hospital.put(person("p1", meta={**META, "versionId": "2", "lastUpdated": f"{hospital.now:%Y-%m-%dT%H:%M:%SZ}"}))
    assert study.type("sync").code == 0
    assert '"merged"' not in study.type("status", "--json").out


def test_a_record_that_names_the_other_id_of_a_merged_patient_is_no_strangers(
    hospital: Hospital, study_of: StudyOf
) -> None:
    link = [{"type": "replaces", "other": {"reference": "Patient/old"}}]
    moved = record("Observation", "moved", "old", **without(ck("x", "x"), "resourceType", "id", "subject"))
    hospital.put(person("p1", link=link), person("old"), moved)
    hospital.bend.append(
        lambda ask, bundle: (
            {**bundle, "total": 2, "entry": [*bundle["entry"], hospital.entry(moved)]}
            if ask.type == "Observation" and ask.parameter("patient") == "p1"
            else bundle
        )
    )
    study = study_of(patients=["p1"])

    assert study.type("pull").code == 0
    assert "moved" in study.bodies("Observation")


def test_a_refused_history_is_named_and_the_records_are_there(hospital: Hospital, study_of: StudyOf) -> None:
    hospital.interactions = ("history-type",)
    hospital.refuse.append(lambda ask: refusal(501) if ask.path.endswith("_history") else None)
    study = study_of(pull={"history": "true"})
    study.type("pull")
    ran = study.type("pull")

    assert ran.code == 3
    assert study.unit("Observation/_history", "").reason == "http-501"
    assert study.unit("Observation?patient").state == "complete"
