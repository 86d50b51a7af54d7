"""Many patients in one query: nothing is lost in a group, and whatever is odd about one patient stays with that patient."""

from collections.abc import Callable

import pytest

from dm_fhir.errors import StoreError
from dm_fhir.sync import together

from ..servers.hospital import Ask, Bend, Hospital, Json, refusal
from ..servers.records import ck, cks, infusion, person, population, record
from ..servers.study import Study

StudyOf = Callable[..., Study]
MANY = tuple(f"m{number:02}" for number in range(30))
FOUR = ("p1", "p2", "p3", "p4")


def named(ask: Ask) -> list[str]:
    """Whom a search of records names."""
    return (ask.parameter("patient") or ask.parameter("subject").replace("Patient/", "")).split(",")


def sizes(hospital: Hospital, type_name: str) -> list[int]:
    """How many patients each search of a type named."""
    return [len(named(ask)) for ask in hospital.searches(type_name)]


def adding(type_name: str, patient: str, extra: Json) -> Bend:
    """Another entry in each answer about this patient."""

    def bend(ask: Ask, bundle: Json) -> Json:
        if ask.type != type_name or patient not in named(ask) or ask.is_count:
            return bundle
        return {**bundle, "entry": [*bundle["entry"], {"resource": extra}]}

    return bend


def test_an_odd_entry_has_its_patient_asked_for_alone_and_the_others_in_groups(
    hospital: Hospital, study_of: StudyOf
) -> None:
    hospital.held = population(*MANY)
    hospital.bend.append(adding("Observation", "m07", {"resourceType": "Observation", "status": "final"}))
    study = study_of(patients=MANY)
    ran = study.type("pull")

    assert ran.code == 3, ran.text
    assert sizes(hospital, "Observation") == [30, *[3] * 10, 1, 1, 1]
    units = {patient: unit for (patient, query), unit in study.units().items() if query == "Observation?patient"}
    assert {patient for patient, unit in units.items() if unit.notes.get("set_aside")} == {"Patient/m07"}
    alone = {patient for patient, unit in units.items() if "asked_together" not in unit.notes}
    assert alone == {"Patient/m06", "Patient/m07", "Patient/m08"}
    assert {(unit.state, unit.unique) for unit in units.values()} == {("complete", 1)}
    assert len(study.bodies("Observation")) == 30


def test_a_strangers_record_in_a_group_keeps_nobody_elses_unit_open(hospital: Hospital, study_of: StudyOf) -> None:
    hospital.bend.append(adding("Observation", "p2", ck("s", "stranger")))
    study = study_of()
    ran = study.type("pull")

    assert ran.code == 3
    states = {patient: unit.state for (patient, query), unit in study.units().items() if query == "Observation?patient"}
    assert states == {"Patient/p1": "complete", "Patient/p2": "partial", "Patient/p3": "complete"}
    assert study.unit("Observation?patient", "p2").reason == "foreign-subject"
    assert set(study.bodies("Observation")) == {"p1-ck", "p2-ck", "p3-ck"}


def test_a_group_that_comes_short_names_the_patient_who_does(hospital: Hospital, study_of: StudyOf) -> None:
    def hiding(ask: Ask, bundle: Json) -> Json:
        if ask.type != "Observation" or ask.is_count:
            return bundle
        return {**bundle, "entry": [one for one in bundle["entry"] if one["resource"]["id"] != "p2-ck"]}

    hospital.bend.append(hiding)
    study = study_of()

    assert study.type("pull").code == 3
    states = {patient: unit.state for (patient, query), unit in study.units().items() if "Observation" in query}
    assert states == {"Patient/p1": "complete", "Patient/p2": "partial", "Patient/p3": "complete"}
    assert (study.unit("Observation?patient", "p2").reason, set(study.bodies("Observation"))) == (
        "short",
        {"p1-ck", "p3-ck"},
    )


def test_a_patient_whom_the_server_does_not_have_is_named_though_the_others_come_in_a_group(
    hospital: Hospital, study_of: StudyOf
) -> None:
    study = study_of(patients=["p1", "p2", "nobody", "p3"])
    ran = study.type("pull")

    assert ran.code == 3
    assert "Patient/nobody Patient: the server has no Patient/nobody (404)" in ran.out
    assert study.unit("Patient", "nobody").reason == "not-found"
    assert study.unit("Patient", "p3").state == "complete"


@pytest.mark.parametrize("honoured", [1, 2, 3])
@pytest.mark.parametrize("having", [(), ("p1",), ("p2",), ("p3",), ("p4",), ("p2", "p3")], ids=" ".join)
def test_whoever_has_records_a_server_that_cuts_the_list_short_hides_none(
    hospital: Hospital, study_of: StudyOf, honoured: int, having: tuple[str, ...]
) -> None:
    hospital.lists = honoured
    hospital.held = [
        *population(*FOUR),
        *(record("AdverseEvent", f"e-{one}", one, actuality="actual") for one in having),
    ]
    study = study_of(patients=FOUR)

    assert study.type("pull").code == 0
    assert set(study.bodies("AdverseEvent")) == {f"e-{one}" for one in having}
    assert {"p1-ck", "p2-ck", "p3-ck", "p4-ck"} == set(study.bodies("Observation"))
    assert study.facts()["lists MedicationAdministration"] == "no"


def test_where_nothing_has_ever_proved_lists_everybody_is_asked_for_alone(
    hospital: Hospital, study_of: StudyOf
) -> None:
    """p2 alone has anything, and a server that takes only the first of p1, p2, p3 has nothing to betray it."""
    hospital.lists = 1
    hospital.held = [*map(person, ("p1", "p2", "p3")), infusion("only", "p2")]
    study = study_of()

    assert study.type("pull").code == 0
    assert set(study.bodies("MedicationAdministration")) == {"only"}


def test_lists_that_are_proven_by_one_type_are_believed_of_types_that_nobody_has(
    hospital: Hospital, study_of: StudyOf
) -> None:
    study = study_of()
    assert study.type("pull").code == 0
    assert sizes(hospital, "AdverseEvent") == [3, 1, 1], "the last and the first were not looked at"
    assert study.facts()["lists Observation"] == "3"
    assert "lists AdverseEvent" not in study.facts()

    hospital.asked.clear()
    assert study.type("pull").code == 0
    assert [len(hospital.searches(name)) for name in ("Observation", "AdverseEvent", "MedicationRequest")] == [1, 1, 1]


def test_every_patient_has_a_row_that_counts_its_own(hospital: Hospital, study_of: StudyOf) -> None:
    hospital.put(*cks("p2", 4))
    study = study_of()
    study.type("pull")

    rows = {patient: unit for (patient, query), unit in study.units().items() if query == "Observation?patient"}
    counts = {patient: (unit.expected, unit.unique, unit.received) for patient, unit in rows.items()}
    assert counts == {"Patient/p1": (1, 1, 1), "Patient/p2": (5, 5, 5), "Patient/p3": (1, 1, 1)}
    assert {unit.notes["asked_together"] for unit in rows.values()} == {3}


def test_without_an_announced_total_nobody_is_told_to_have_had_one(hospital: Hospital, study_of: StudyOf) -> None:
    hospital.always_total = False
    study = study_of()

    assert study.type("pull").code == 0
    assert {unit.expected for (patient, query), unit in study.units().items() if "?" in query} == {None}


@pytest.mark.parametrize("number", [1, 2, 4, 6, 9, 11])
def test_a_page_and_its_rows_are_written_together_or_not_at_all(
    hospital: Hospital, study_of: StudyOf, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    hospital.put(*cks("p1", 5), *cks("p3", 4))
    hospital.most_per_page = 2
    study = study_of()
    calls: list[int] = []

    def failing(*args: object) -> None:
        calls.append(1)
        if len(calls) == number:
            raise StoreError("no space left")
        put_units(*args)  # type: ignore[arg-type]

    put_units = together.put_units
    with monkeypatch.context() as patch:
        patch.setattr(together, "put_units", failing)
        ran = study.type("pull")

    assert ran.code == 1, ran.text
    stored = {name: len(study.bodies(name)) for name in ("Patient", "MedicationAdministration", "Observation")}
    counted = dict.fromkeys(stored, 0)
    for (_, query), unit in study.units().items():
        if query.partition("?")[0] in counted:
            counted[query.partition("?")[0]] += unit.unique
    assert stored == counted
    assert study.type("pull").code == 0
    assert len(study.bodies("Observation")) == 12


def test_a_server_that_wants_to_be_left_alone_leaves_all_of_a_group_open(hospital: Hospital, study_of: StudyOf) -> None:
    hospital.put(*cks("p1", 5))
    hospital.most_per_page = 2
    hospital.refuse.append(
        lambda ask: refusal(429, Retry_After="90000") if ask.type == "Observation" and ask.page == 2 else None
    )
    study = study_of()
    ran = study.type("pull")

    assert ran.code == 4, ran.text
    rows = {patient: unit for (patient, query), unit in study.units().items() if query == "Observation?patient"}
    assert {(unit.state, unit.reason, unit.watermark) for unit in rows.values()} == {
        ("partial", "retry-after-too-long", None)
    }
    assert len(rows) == 3
    assert all(unit.not_before for unit in rows.values()), "nobody knows when to ask again"

    hospital.refuse.clear()
    assert study.type("pull").code == 0
    assert len(study.bodies("Observation")) == 8


def test_a_group_whose_server_breaks_down_is_asked_for_in_smaller_ones(hospital: Hospital, study_of: StudyOf) -> None:
    hospital.held = population(*MANY)
    hospital.refuse.append(
        lambda ask: refusal(500, "too much") if ask.type == "Observation" and len(named(ask)) > 5 else None
    )
    study = study_of(patients=MANY)

    assert study.type("pull").code == 0
    assert [size for size in sizes(hospital, "Observation") if size < 30] == [3] * 10
    assert len(study.bodies("Observation")) == 30


def test_what_comes_twice_in_a_group_counts_once(hospital: Hospital, study_of: StudyOf) -> None:
    hospital.bend.append(adding("Observation", "p2", ck("p2-ck", "p2")))
    study = study_of()
    assert study.type("pull").code == 0

    unit = study.unit("Observation?patient", "p2")
    assert (unit.state, unit.received, unit.unique, unit.notes["duplicate"]) == ("complete", 2, 1, 1)
    assert unit.notes["asked_together"] == 3


def test_what_comes_again_on_a_later_page_of_a_group_counts_once(hospital: Hospital, study_of: StudyOf) -> None:
    hospital.held = population(*FOUR)
    first: list[Json] = []

    def repeating(ask: Ask, bundle: Json) -> Json:
        if ask.type != "Observation" or ask.is_count:
            return bundle
        entries = [*first[-1:], *bundle["entry"]] if first else bundle["entry"]
        first.extend(bundle["entry"])
        return {**bundle, "entry": entries}

    hospital.bend.append(repeating)
    study = study_of(pull={"page_size": "2"}, patients=FOUR)
    assert study.type("pull").code == 0

    units = [unit for (_, query), unit in study.units().items() if query == "Observation?patient"]
    assert all("asked_together" in unit.notes for unit in units)
    assert [unit.unique for unit in units] == [1, 1, 1, 1]
    assert sum(unit.notes.get("duplicate", 0) for unit in units) == 1


def test_one_record_without_a_time_has_its_patient_asked_in_full_again(hospital: Hospital, study_of: StudyOf) -> None:
    timeless = {**ck("p2-more", "p2"), "meta": {"versionId": "1"}}
    hospital.bend.append(adding("Observation", "p2", timeless))
    study = study_of()
    assert study.type("pull").code == 0

    noted = {patient: unit.notes.get("no_last_updated") for (patient, query), unit in study.units().items()
             if query == "Observation?patient"}  # fmt: skip
    assert noted == {"Patient/p1": None, "Patient/p2": 1, "Patient/p3": None}


def test_a_record_of_another_type_is_no_answer_of_the_group(hospital: Hospital, study_of: StudyOf) -> None:
    hospital.bend.append(adding("Observation", "p2", infusion("p2-odd", "p2")))
    study = study_of()
    study.type("pull")

    alone = {patient for (patient, query), unit in study.units().items()
             if query == "Observation?patient" and "asked_together" not in unit.notes}  # fmt: skip
    assert "Patient/p2" in alone
    assert "p2-odd" not in study.bodies("Observation")
