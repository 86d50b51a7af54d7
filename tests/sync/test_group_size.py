"""How many patients a search names: as many as fill a page, no more than the server heeds, and nobody is lost by it."""

from collections import Counter
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, NamedTuple, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dm_fhir.errors import RequestFailed, StoreError
from dm_fhir.fhir.vendors import Settings
from dm_fhir.sync import group_size, together, unchanged
from dm_fhir.sync.puller import Puller
from dm_fhir.sync.query import SEARCHES, Query

from ..servers.hospital import Ask, Hospital, refusal
from ..servers.records import ck, cks, person, population, record
from ..servers.study import Study

StudyOf = Callable[..., Study]
#: A tenth of what is real, so that few patients are many.
USUAL, MOST = 10, 50
MANY = tuple(f"m{number:03}" for number in range(130))


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Groups are a tenth as large as they are otherwise."""
    monkeypatch.setattr(group_size, "USUAL", USUAL)
    monkeypatch.setattr(group_size, "MOST", MOST)
    monkeypatch.setattr(unchanged, "USUAL", USUAL)


@pytest.fixture
def many(hospital: Hospital, small: None) -> Hospital:
    """A hospital of many patients, each with an infusion and a creatine kinase."""
    hospital.held = population(*MANY)
    return hospital


def sizes(hospital: Hospital, type_name: str) -> list[int]:
    """How many patients each search of a type named, but for those that only look whether there is something."""
    name = {"Patient": "_id", "AdverseEvent": "subject"}.get(type_name, "patient")
    searches = [ask for ask in hospital.searches(type_name) if ask.parameter("_count") != "1" and ask.page == 1]
    return [len(ask.parameter(name).split(",")) for ask in searches]


def test_the_first_search_names_as_many_as_usual_and_those_after_it_fill_a_page(
    many: Hospital, study_of: StudyOf
) -> None:
    assert study_of(patients=MANY).type("pull").code == 0

    assert sizes(many, "Patient") == [50, 50, 30]
    assert sizes(many, "Observation") == [10, 50, 50, 20]
    assert sizes(many, "AdverseEvent") == [10, 50, 50, 20], "nobody has any"


@pytest.mark.parametrize(("page_size", "each", "then"), [
    (20, 1, 18),  # 18 of 20
    (20, 2, 18),  # 36 of two pages
    (20, 4, 13),  # 52 of three pages, 54 being nine tenths of them
    (100, 1, 50),  # a page would hold more, a list does not
    (2, 1, 10),
])  # fmt: skip
def test_pages_are_filled_to_nine_tenths_and_no_group_is_smaller_than_usual(
    hospital: Hospital, small: None, study_of: StudyOf, page_size: int, each: int, then: int
) -> None:
    hospital.held = [one for name in MANY[:70] for one in (person(name), *cks(name, each))]
    study = study_of(patients=MANY[:70], pull={"page_size": str(page_size)})

    assert study.type("pull").code == 0
    first, *others, last = sizes(hospital, "Observation")
    assert (first, set(others)) == (10, {then})
    assert last <= then
    assert len(study.bodies("Observation")) == 70 * each


def test_one_patient_with_a_thousand_records_makes_nobody_elses_group_smaller_than_usual(
    hospital: Hospital, small: None, study_of: StudyOf
) -> None:
    hospital.held = [*population(*MANY[:40]), *cks(MANY[3], 1000)]
    study = study_of(patients=MANY[:40], pull={"page_size": "100"})

    assert study.type("pull").code == 0
    assert min(sizes(hospital, "Observation")[:-1]) >= USUAL
    assert study.unit("Observation?patient", MANY[3]).unique == 1001
    assert study.unit("Observation?patient", MANY[4]).unique == 1
    assert len(study.bodies("Observation")) == 1040


def test_connections_are_not_left_without_work(many: Hospital, study_of: StudyOf) -> None:
    assert study_of(patients=MANY, pull={"concurrency": "5"}).type("pull").code == 0

    assert sizes(many, "Patient") == [26] * 5
    assert max(sizes(many, "Observation")) == MOST, "the other types are asked for at the same time"


@pytest.mark.parametrize("said", [7, 60])
def test_what_a_site_says_is_taken_exactly(many: Hospital, study_of: StudyOf, said: int) -> None:
    assert study_of(patients=MANY, pull={"patients_per_query": str(said)}).type("pull").code == 0

    for type_name in ("Observation", "MedicationAdministration", "Condition"):
        whole, rest = divmod(len(MANY), said)
        assert sizes(many, type_name) == [said] * whole + [rest] * bool(rest), type_name


def test_without_post_no_search_is_longer_than_usual(many: Hospital, study_of: StudyOf) -> None:
    assert study_of(patients=MANY, pull={"post_search": "false"}).type("pull").code == 0

    assert max(sizes(many, "Patient") + sizes(many, "Observation")) == USUAL


@pytest.mark.parametrize("status", [400, 413, 500])
def test_a_server_that_refuses_long_lists_is_asked_as_usual_from_then_on(
    many: Hospital, study_of: StudyOf, status: int
) -> None:
    def refusing(ask: Ask) -> Any:
        return refusal(status) if ask.is_search and ask.parameter("patient").count(",") >= 30 else None

    many.refuse.append(refusing)
    study = study_of(patients=MANY, pull={"tries": "1"})

    assert study.type("pull").code == 0
    assert len(study.bodies("Observation")) == len(study.bodies("MedicationAdministration")) == len(MANY)
    assert study.facts()["patients_per_query"] == "10"
    assert sum(size > USUAL for size in sizes(many, "Observation")) == 0, "it was known from MedicationAdministration"
    many.asked.clear()
    study.change("UPDATE unit SET watermark = NULL")
    assert study.type("pull").code == 0
    assert max(sizes(many, "MedicationAdministration")) == USUAL


def test_a_long_list_that_shows_nothing_is_not_tried_again_and_again(
    hospital: Hospital, small: None, study_of: StudyOf
) -> None:
    hospital.held = [*map(person, MANY), *(ck(f"{name}-ck", name) for name in MANY[:10])]

    assert study_of(patients=MANY).type("pull").code == 0
    assert sorted(sizes(hospital, "Observation")) == [*[5] * 10, *[10] * 8, 50]


def test_a_refusal_that_is_not_for_the_length_changes_no_length(many: Hospital, study_of: StudyOf) -> None:
    many.refuse.append(lambda ask: refusal(403) if ask.type == "Condition" else None)
    study = study_of(patients=MANY)

    assert study.type("pull").code == 3
    assert "patients_per_query" not in study.facts()


@pytest.mark.parametrize("heeded", [10, 11, 49])
@pytest.mark.parametrize("sparse", [1, 40])
def test_a_server_that_heeds_only_so_many_of_a_list_hides_nobodys_records(
    many: Hospital, study_of: StudyOf, heeded: int, sparse: int
) -> None:
    many.put(*(record("AdverseEvent", f"e-{name}", name, actuality="actual") for name in MANY[::sparse]))
    many.lists = heeded
    study = study_of(patients=MANY)

    assert study.type("pull").code == 0
    for type_name in ("Patient", "Observation", "MedicationAdministration"):
        assert len(study.bodies(type_name)) == len(MANY), type_name
    assert set(study.bodies("AdverseEvent")) == {f"e-{name}" for name in MANY[::sparse]}
    assert study.facts()["patients_per_query"] == "10"
    assert "no" not in study.facts().values(), "shorter lists are heeded"


def test_one_odd_record_in_a_large_group_costs_few_requests(many: Hospital, study_of: StudyOf) -> None:
    odd = {"resourceType": "Observation", "status": "final"}

    def bend(ask: Ask, bundle: dict[str, Any]) -> dict[str, Any]:
        is_asked = ask.type == "Observation" and MANY[77] in ask.parameter("patient")
        return {**bundle, "entry": [*bundle["entry"], {"resource": odd}]} if is_asked else bundle

    many.bend.append(bend)
    study = study_of(patients=MANY)

    assert study.type("pull").code == 3
    # the groups, the tenths of one of them, and those of one of the tenths
    assert sorted(sizes(many, "Observation"), reverse=True) == [50, 50, 20, 10, *[5] * 10, *[1] * 5]
    alone = [patient for (patient, query), unit in study.units().items()
             if query == "Observation?patient" and "asked_together" not in unit.notes]  # fmt: skip
    assert len(alone) == 5
    assert study.unit("Observation?patient", MANY[77]).notes["set_aside"] == 1


@pytest.mark.parametrize("number", [1, 6, 12])
def test_a_pull_that_ended_in_the_middle_goes_on(
    many: Hospital, study_of: StudyOf, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    study = study_of(patients=MANY, pull={"page_size": "20"})
    calls: list[int] = []

    def failing(*args: object) -> None:
        calls.append(1)
        if len(calls) == number:
            raise StoreError("no space left")
        put_units(*args)  # type: ignore[arg-type]

    put_units = together.put_units
    with monkeypatch.context() as patch:
        patch.setattr(together, "put_units", failing)
        assert study.type("pull").code == 1

    done = [unit for (_, query), unit in study.units().items() if query == "Observation?patient" and unit.watermark]
    many.asked.clear()
    assert study.type("pull").code == 0
    assert len(study.bodies("Observation")) == len(MANY)
    in_full = [ask for ask in many.searches("Observation") if not ask.has("_lastUpdated")]
    assert sum(len(ask.parameter("patient").split(",")) for ask in in_full if ask.page == 1) == len(MANY) - len(done)


def test_changes_are_asked_for_by_lists_as_long_as_were_heeded(many: Hospital, study_of: StudyOf) -> None:
    study = study_of(patients=MANY)
    study.type("pull")
    many.put({**ck("new", MANY[120]), "meta": {"lastUpdated": f"{many.now:%Y-%m-%dT%H:%M:%SZ}"}})
    many.asked.clear()

    assert study.type("pull").code == 0
    assert "new" in study.bodies("Observation")
    assert sizes(many, "Observation") == [10, 50, 50, 20]
    assert not sizes(many, "Condition"), "nothing has changed of them"


class _Server(NamedTuple):
    """Heeds the first so many of a list; who has a record, by type."""

    heeded: int
    having: dict[str, set[int]]

    def whose(self, type_name: str, patients: list[str]) -> Counter[str]:
        return Counter(patient for patient in patients[: self.heeded] if int(patient) in self.having[type_name])


def _puller() -> Puller:
    facts: dict[str, str] = {}
    return cast(Puller, SimpleNamespace(
        fact=facts.get, remember=facts.__setitem__, probed=set(), answered={}, settings=Settings(),
        takes_post=lambda _: True,
    ))  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_whatever_is_taken_for_proven_is_whole(data: st.DataObject) -> None:
    """As long as a server heeds lists of the usual length, and all types alike; however long a site says they shall be."""
    types = [name for name, _ in SEARCHES[:2]]
    having = st.one_of(st.sets(st.integers(0, 59), max_size=3), st.sets(st.integers(0, 59)), st.just(set(range(60))))
    records = {name: data.draw(having) for name in types}
    server = _Server(data.draw(st.integers(USUAL, 59)), records)
    puller = _puller()

    def has_any(_: Puller, query: Query, patients: list[str], more: object) -> bool:
        return bool(server.whose(query.type, patients))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(group_size, "USUAL", USUAL)
        patch.setattr(together, "_has_any", has_any)
        for _ in range(data.draw(st.integers(1, 6))):
            type_name, size = data.draw(st.sampled_from(types)), data.draw(st.integers(1, 60))
            start = data.draw(st.integers(0, 60 - size))
            patients = [str(number) for number in range(start, start + size)]
            more = data.draw(st.sampled_from([(), (("_lastUpdated", "ge2025-01-01T00:00:00Z"),)]))
            whose = server.whose(type_name, patients)
            if together._is_proven(puller, Query(type_name, "q", "patient"), patients, more, whose):
                assert set(whose) == {patient for patient in patients if int(patient) in records[type_name]}


def test_one_patients_records_show_nothing_of_a_list() -> None:
    """A server may take the last name of it for all."""
    assert together._shown(["a", "b", "c"], {"c": 1}) == 0
    assert together._shown(["a", "b", "c"], {"b": 1, "a": 4}) == 2


@given(
    patients=st.integers(1, 500), resources=st.integers(0, 10**6), page_size=st.integers(1, 1000), share=st.integers(1)
)
def test_a_group_is_never_smaller_than_usual_nor_larger_than_the_most(
    patients: int, resources: int, page_size: int, share: int
) -> None:
    puller = _puller()
    puller.settings = Settings(page_size=page_size)
    puller.answered["q", True] = (patients, resources)
    size = group_size.group_size(puller, Query("Observation", "q", "patient"), share, in_full=True)

    assert group_size.USUAL <= size <= group_size.MOST
    assert size <= max(group_size.USUAL, share)


def test_what_an_earlier_version_noted_of_lists_proves_no_length() -> None:
    puller = _puller()
    puller.remember("lists Observation", "yes")

    assert group_size.longest_list(puller, "Observation") == 0
    group_size.heeds(puller, "Observation", 20)
    group_size.heeds(puller, "Observation", 3)
    assert group_size.longest_list(puller, "Observation") == 20


@pytest.mark.parametrize(("error", "refused"), [
    (RequestFailed("too long", reason="http-414", status=414), True),
    (RequestFailed("too slow", reason="read-timeout"), True),
    (RequestFailed("not for you", reason="refused", status=403), False),
    (RequestFailed("it goes in circles", reason="paging-loop"), False),
], ids=lambda value: str(value))  # fmt: skip
def test_which_failures_may_be_for_the_length(error: RequestFailed, refused: bool) -> None:
    assert together._is_for_length(error) is refused
