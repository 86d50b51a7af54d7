"""Searches of many pages: nothing is taken for the end but the end, and what a server does not give is named."""

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from .hospital import Ask, Bend, Hospital, Json, Reply, refusal, without_next
from .records import cks, infusion, population
from .study import Study

StudyOf = Callable[..., Study]
COUNT = 95


def bending_observations(bend: Bend) -> Bend:
    """Bends the pages of Observations only."""
    return lambda ask, bundle: bend(ask, bundle) if ask.type == "Observation" and not ask.is_count else bundle


def refusing_observations(when: Callable[[Ask], bool], status: int) -> Callable[[Ask], Reply | None]:
    """Refuses pages of Observations."""
    return lambda ask: (
        refusal(status) if ask.is_search and ask.type == "Observation" and not ask.is_count and when(ask) else None
    )


@pytest.fixture
def many(hospital: Hospital) -> Hospital:
    """A hospital whose only patient of the cohort has 95 creatine kinases, a day apart, in pages of 10."""
    hospital.held = [*population("p1"), *cks("p1", COUNT - 1, "2025-05-31T10:00:00Z")]
    hospital.most_per_page = 10
    return hospital


@pytest.fixture
def study(many: Hospital, study_of: StudyOf) -> Study:
    """A study of this patient."""
    return study_of(patients=["p1"])


def test_a_short_page_is_not_the_last(many: Hospital, study: Study) -> None:
    """As of a server that filters its pages after it has made them."""
    many.bend.append(
        bending_observations(
            lambda ask, bundle: {**bundle, "total": 50, "entry": bundle["entry"][: 1 if ask.page % 2 else 10]}
        )
    )

    assert study.type("pull").code == 0
    unit = study.unit("Observation?patient")
    assert (unit.pages, unit.unique) == (10, 50)


def test_a_first_page_may_hold_more_than_was_asked_for(many: Hospital, study: Study) -> None:
    """As of a server that puts all of one category onto page 1."""

    def bend(ask: Ask, bundle: Json) -> Json:
        held = [one for one in many.held if one["resourceType"] == "Observation"]
        if ask.page == 1:
            return {**bundle, "entry": [many.entry(one) for one in held[:60]]}
        return {**bundle, "entry": [many.entry(one) for one in held[60:][ask.page - 2 :: 9]]}

    many.bend.append(bending_observations(bend))

    assert study.type("pull").code == 0
    assert study.unit("Observation?patient").unique == COUNT


def test_every_search_says_how_large_a_page_may_be(many: Hospital, study: Study) -> None:
    study.type("pull")

    assert all(int(ask.parameter("_count")) for ask in many.asked if ask.is_search and not ask.is_count)


@pytest.mark.parametrize("status", [404, 414, 500])
def test_an_address_that_grows_too_long_for_the_server_is_split_by_date(
    many: Hospital, study: Study, status: int
) -> None:
    many.refuse.append(refusing_observations(lambda ask: ask.page > 3 and not ask.has("date"), status))

    assert study.type("pull").code == 0
    unit = study.unit("Observation?patient")
    assert (unit.state, unit.unique, unit.expected) == ("complete", COUNT, COUNT)
    assert unit.notes["date_windows"] > 1


def test_one_bad_record_that_fails_its_page_costs_its_days_and_the_unit_says_so(many: Hospital, study: Study) -> None:
    bad = "p1-ck-40"

    def fails(ask: Ask) -> bool:
        return any(entry["resource"]["id"] == bad for entry in many.honest(ask).body["entry"])

    many.refuse.append(refusing_observations(fails, 500))
    ran = study.type("pull")
    unit = study.unit("Observation?patient")

    assert (ran.code, unit.state, unit.reason) == (3, "partial", "http-500")
    assert bad not in study.bodies("Observation")
    assert len(study.bodies("Observation")) == COUNT - 1
    assert f"{COUNT - 1} of {COUNT} stored" in str(unit.message)

    many.refuse.clear()
    assert study.type("pull", "--retry-failed").code == 0
    assert len(study.bodies("Observation")) == COUNT


def test_a_result_larger_than_the_servers_limit_is_split_before_it_is_read(many: Hospital, study_of: StudyOf) -> None:
    many.refuse.append(refusing_observations(lambda ask: ask.page > 5, 400))
    study = study_of(patients=["p1"], pull={"result_limit": "50"})

    assert study.type("pull").code == 0
    assert study.unit("Observation?patient").unique == COUNT
    assert not [ask for ask in many.searches("Observation") if ask.page > 1 and not ask.has("date")]


def unsorted(ask: Ask, bundle: Json) -> Json:
    """Without `_sort`, later pages begin one record before where they should, and lose the last ones."""
    if ask.has("_sort") or ask.page == 1:
        return bundle
    return {**bundle, "entry": [bundle["entry"][0], *bundle["entry"][:-1]]}


def test_a_server_whose_unsorted_pages_repeat_and_miss_rows_is_asked_sorted_by_its_vendors_row(
    many: Hospital, study_of: StudyOf
) -> None:
    many.bend.append(bending_observations(unsorted))
    many.software = "Medplum"
    study = study_of(patients=["p1"])

    assert study.type("pull").code == 0
    assert study.unit("Observation?patient").unique == COUNT
    assert {ask.parameter("_sort") for ask in many.asked if ask.is_search} == {"_lastUpdated"}


def test_rows_that_are_missed_are_missed_by_the_announced_total(many: Hospital, study: Study) -> None:
    many.listed["Observation"] = ("patient", "_lastUpdated")
    many.bend.append(bending_observations(unsorted))
    ran = study.type("pull")
    unit = study.unit("Observation?patient")

    assert (ran.code, unit.state, unit.reason, unit.expected) == (3, "partial", "short", COUNT)
    assert unit.notes["repeated_query"] == 1


def test_a_cohorts_search_is_sorted_too(many: Hospital, study_of: StudyOf) -> None:
    many.put(*(infusion(f"p1-{number}", "p1") for number in range(20)))
    study = study_of(cohort='by = "medication"', pull={"sort": '"_id"'})

    assert study.type("pull").code == 0
    cohort = [ask for ask in many.searches("MedicationAdministration") if not ask.has("patient")]
    assert {ask.parameter("_sort") for ask in cohort} == {"_id"}


def test_next_is_followed_to_the_letter(many: Hospital, study: Study) -> None:
    def bend(ask: Ask, bundle: Json) -> Json:
        cursor = f"{many.endpoint}/Observation?patient=p1&ct=aB%2FC==;d,e!&x=%20&_count=7&page={ask.page + 1}"
        links = [{"relation": "next", "url": cursor}] if ask.page < 10 else []
        return {**bundle, "link": links}

    def fixed_size(ask: Ask, bundle: Json) -> Json:
        held = [one for one in many.held if one["resourceType"] == "Observation"]
        return {**bundle, "entry": [many.entry(one) for one in held[(ask.page - 1) * 10 : ask.page * 10]]}

    many.bend += [bending_observations(bend), bending_observations(fixed_size)]
    assert study.type("pull").code == 0
    addresses = [ask.address.partition("&page=")[0] for ask in many.searches("Observation") if ask.page > 1]
    assert set(addresses) == {"/fhir/Observation?patient=p1&ct=aB%2FC==;d,e!&x=%20&_count=7"}


def test_a_plus_in_next_is_no_blank(many: Hospital, study: Study) -> None:
    def bend(ask: Ask, bundle: Json) -> Json:
        links = [{**link, "url": f"{link['url']}&_since=2024-01-01T00:00:00+01:00"} for link in bundle["link"]]
        return {**bundle, "link": links}

    many.bend.append(bending_observations(bend))
    many.is_strict = False

    assert study.type("pull").code == 0
    later = [ask for ask in many.searches("Observation") if ask.page > 1]
    assert len(later) == 9
    assert {value for ask in later for name, value in ask.parameters if name == "_since"} == {
        "2024-01-01T00:00:00+01:00"
    }


def test_pages_of_one_search_come_one_after_the_other_and_patients_side_by_side(
    hospital: Hospital, study_of: StudyOf
) -> None:
    patients = ("p1", "p2", "p3", "p4")
    hospital.held = [one for p in patients for one in (*population(p), *cks(p, 30))]
    hospital.most_per_page = 10
    active, most = Counter[str](), Counter[str]()
    lock = threading.Lock()

    @contextmanager
    def under_way(*names: str) -> Iterator[None]:
        with lock:
            active.update(names)
            most.update({name: active[name] - most[name] for name in names if active[name] > most[name]})
        yield
        with lock:
            active.subtract(names)

    def slowly(ask: Ask, bundle: Json) -> Json:
        with under_way(ask.parameter("patient"), "any"):
            threading.Event().wait(0.02)
        return bundle

    hospital.bend.append(bending_observations(slowly))
    study = study_of(patients=patients, pull={"patients_per_query": "1", "concurrency": "4"})

    assert study.type("pull").code == 0
    assert {name: most[name] for name in patients} == dict.fromkeys(patients, 1)
    assert most["any"] > 1


@pytest.mark.parametrize(
    ("told", "is_asked"),
    [({}, False), ({"pull": {"ask_for_totals": "true"}}, True), ({"site": 'vendor = "azure"'}, True)],
    ids=["not listed", "configured", "by the vendor's row"],
)
def test_an_exact_total_is_asked_for_where_the_server_gives_none_by_itself(
    many: Hospital, study_of: StudyOf, told: dict[str, Any], is_asked: bool
) -> None:
    many.always_total = False
    many.bend.append(bending_observations(lambda ask, bundle: without_next(bundle) if ask.page == 9 else bundle))
    many.listed["Observation"] = ("patient", "_lastUpdated")
    study = study_of(patients=["p1"], **told)
    ran = study.type("pull")
    unit = study.unit("Observation?patient")

    # Without a total nobody can tell that the last page is missing, and the ledger says that none was announced.
    assert (ran.code, unit.expected, unit.unique) == ((0, COUNT, COUNT) if is_asked else (0, None, 90))


def test_where_it_is_listed_an_exact_total_is_asked_for(many: Hospital, study: Study) -> None:
    many.listed["Observation"] = (*many.listed["Observation"], "_total")

    assert study.type("pull").code == 0
    assert all(ask.parameter("_total") == "accurate" for ask in many.searches("Observation") if ask.page == 1)
    assert not any(ask.has("_total") for ask in many.searches("Condition"))


def test_an_estimate_until_the_last_page_is_no_announcement(many: Hospital, study: Study) -> None:
    many.bend.append(bending_observations(lambda ask, bundle: {**bundle, "total": 120 if ask.page < 10 else COUNT}))

    assert study.type("pull").code == 0
    unit = study.unit("Observation?patient")
    assert unit.expected == COUNT
    assert "count_checked" not in unit.notes


def test_how_many_there_are_is_asked_without_a_word_about_pages(many: Hospital, study_of: StudyOf) -> None:
    many.bend.append(bending_observations(lambda ask, bundle: without_next(bundle)))
    study = study_of(patients=["p1"], pull={"sort": '"_id"', "ask_for_totals": "true"})
    study.type("pull")

    [count] = [ask for ask in many.asked if ask.is_count]
    assert {name for name, _ in count.parameters} == {"patient", "combo-code", "_summary"}


def test_a_server_that_fails_by_date_too_is_not_asked_for_ever(many: Hospital, study: Study) -> None:
    many.refuse.append(refusing_observations(lambda ask: ask.page > 3 or ask.has("date"), 500))

    assert study.type("pull").code == 3
    unit = study.unit("Observation?patient")
    assert (unit.state, unit.reason, unit.unique) == ("partial", "http-500", 30)
    assert unit.notes["date_windows"] < 20
    assert len(many.searches("Observation")) < 80
