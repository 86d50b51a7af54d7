"""Many sites' series in one: what must be the same, what may not be, and nobody merged with anybody."""

from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from dm_fhir.errors import ConfigError
from dm_fhir.model.case import Administration, Case, CaseSeries, Finding, Outcome, Source
from dm_fhir.model.definitions import Definitions
from dm_fhir.model.document import encode
from dm_fhir.report.documents import finding_counts, read_documents, sentences_of_document
from dm_fhir.report.merged import Document, merged
from dm_fhir.report.pseudonym import pseudonymised
from dm_fhir.report.sentences import sentences
from dm_fhir.statistics.cohort import found_twice

BASELINE = Outcome("ck_baseline", "R-BL", "1", number=Fraction(400), unit="U/L")


def case(site: str, name: str, **more: Any) -> Case:
    given = Administration(Source(site, f"MedicationAdministration/{name}"), status="completed", when="2024-03-05")
    return Case(
        f"Patient/{name}", site, "Europe/Madrid", **{"outcomes": (BASELINE,), "administrations": (given,)} | more
    )


def document(site: str, *names: str, until: str | None = "2025-06-01", **more: Any) -> Document:
    cases = tuple(case(site, name) for name in names)
    return Document(
        f"in/{site}.json", replace(CaseSeries(f"Study at {site}", "anifrolumab", cases, {site: until}), **more)
    )


LEON, MADRID = document("leon", "a", "b"), document("madrid", "c")


def refused(*documents: Document, **more: Any) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        merged(documents, **more)
    return caught.value


def test_all_cases_of_all_sites_are_there_in_one_order_whatever_the_order_of_the_files() -> None:
    one, other = merged([LEON, MADRID], title="Both"), merged([MADRID, LEON], title="Both")
    assert one == other
    assert [(c.site, c.id) for c in one.series.cases] == [
        ("leon", "Patient/a"),
        ("leon", "Patient/b"),
        ("madrid", "Patient/c"),
    ]
    assert one.series.complete_until == {"leon": "2025-06-01", "madrid": "2025-06-01"}
    assert (one.series.title, merged([LEON, MADRID]).series.title) == ("Both", "Study at leon")
    assert (one.repeated, one.persons, one.series.differences) == (0, {}, ())


def test_merging_one_changes_nothing_and_merging_merged_ones_neither() -> None:
    once = merged([LEON, MADRID]).series
    assert merged([LEON]).series.cases == LEON.series.cases
    again = merged([Document("all.json", once), LEON, MADRID])
    assert (again.series, again.repeated) == (once, 3)


@pytest.mark.parametrize(
    ("more", "fault"),
    [
        ({"drug": "ivig"}, "in/madrid.json: drug: ivig, in in/leon.json anifrolumab: another study drug"),
        ({"pseudonymised": False}, "in/madrid.json: pseudonymised: false, in in/leon.json true: another kind of names"),
        ({"dates": "shifted"}, "in/madrid.json: dates: shifted, in in/leon.json kept: another way of dates"),
    ],
)
def test_what_can_never_go_together_is_refused(more: dict[str, Any], fault: str) -> None:
    other = document("madrid", "c", **more)
    for allow in (False, True):
        assert refused(LEON, other, allow_differences=allow).faults == (fault,)


@pytest.mark.parametrize("name", Definitions.__struct_fields__)
def test_each_definition_must_be_the_same_or_the_difference_is_recorded(name: str) -> None:
    values: dict[str, Any] = {
        "visits": (), "cdasi_19": "mild", "chq_phs_range": Fraction(10), "activity_from_total": True,
        "enzyme_change_in_uln": True, "tis_lower_bound": True,
    }  # fmt: skip
    other = document("madrid", "c", definitions=replace(Definitions(), **{name: values.get(name, {"ck": Fraction(7)})}))
    difference = f"madrid.json: definitions.{name} is not that of leon.json"

    error = refused(LEON, other)
    assert error.faults == (difference,)
    assert "--allow-differences" in str(error)
    found = merged([LEON, other], allow_differences=True).series
    assert (found.differences, found.definitions) == ((difference,), Definitions())
    assert merged([Document("all.json", found)]).series.differences == (difference,)


def test_so_must_the_versions_of_rules() -> None:
    newer = replace(BASELINE, rule_version="2")
    other = Document("madrid.json", replace(MADRID.series, cases=(case("madrid", "c", outcomes=(newer,)),)))
    difference = "madrid.json: outcomes.ck_baseline was computed by R-BL version 2, in leon.json by R-BL version 1"
    assert refused(LEON, other).faults == (difference,)
    assert merged([LEON, other], allow_differences=True).series.differences == (difference,)
    without = Document("madrid.json", replace(MADRID.series, cases=(case("madrid", "c", outcomes=()),)))
    assert merged([LEON, without]).series.differences == ()


def test_the_same_case_twice_is_kept_once_and_another_one_of_its_name_refused() -> None:
    older = document("leon", "b", "z", until="2025-01-01")._replace(file="old.json")
    found = merged([LEON, older])
    assert (len(found.series.cases), found.repeated, found.series.complete_until) == (3, 1, {"leon": "2025-01-01"})

    changed = document("leon", until="2025-01-01", cases=(case("leon", "b", accepts_preliminary=True),)).series
    assert refused(LEON, Document("old.json", changed), allow_differences=True).faults == (
        "old.json: leon:Patient/b is not what it is in in/leon.json; leave the older out "
        "(in/leon.json is complete until 2025-06-01, old.json is complete until 2025-01-01)",
    )


@given(
    st.lists(st.one_of(st.none(), st.sampled_from(["2025-01-01", "2025-02-01", "2025-03-01"])), min_size=1, max_size=4)
)
def test_a_site_is_complete_until_the_earliest_that_is_said_of_it(said: list[str | None]) -> None:
    documents = [document("leon", str(number), until=until) for number, until in enumerate(said)]
    known = [until for until in said if until is not None]
    assert merged(documents).series.complete_until == {"leon": min(known) if len(known) == len(said) else None}


# The same person at two sites

TWICE = Document(
    "madrid.json", replace(MADRID.series, cases=(case("madrid", "c", person="Person/1"), case("madrid", "d")))
)
ONCE = Document(
    "leon.json",
    replace(LEON.series, cases=(case("leon", "a", person="Person/1"), case("leon", "b", person="Person/2"))),
)


def test_a_person_at_two_sites_keeps_both_cases_and_is_named() -> None:
    found = merged([ONCE, TWICE])
    assert len(found.series.cases) == 4
    assert found.persons == {"Person/1": ("leon:Patient/a", "madrid:Patient/c")}
    assert found_twice([case("leon", "a"), case("madrid", "b")]) == {}


def test_the_report_counts_nobody_twice_without_saying_so() -> None:
    series = merged([ONCE, TWICE]).series
    text = sentences(series.cases, "anifrolumab")[0].text
    assert text.startswith("4 patients with at least one completed infusion of anifrolumab at 2 sites were analysed.")
    assert text.endswith(
        "1 person has several of these cases and is counted in each, so these are 3 persons: leon:Patient/a and madrid:Patient/c."
    )
    assert sentences(ONCE.series.cases, "anifrolumab")[0].text.endswith("were analysed.")


# What a report of documents says


def test_the_report_says_what_was_done_to_dates_and_what_differs() -> None:
    assert list(sentences_of_document(LEON.series)) == []
    cases = (
        replace(LEON.series.cases[0], partial_dates={"coarser": 2, "left_out": 1}),
        replace(LEON.series.cases[1], partial_dates={"coarser": 1}),
    )
    told = list(sentences_of_document(replace(LEON.series, cases=cases, dates="shifted", differences=("x differs",))))
    assert [one.id for one in told] == ["dates", "differences"]
    assert "each patient's were moved by a number of days of their own" in told[0].text
    assert told[0].text.endswith("Months and years cannot be moved by days: 3 became coarser, 1 were left out.")
    assert "x differs" in told[1].text
    (days,) = sentences_of_document(replace(LEON.series, dates="days"))
    assert "counted from the first infusion, which is put on 2000-01-01" in days.text


def test_findings_are_counted_as_the_store_counts_them() -> None:
    one = Finding("zone_assumed", "information", "Observation/1", "read")
    cases = [case("leon", "a", findings=(one, one)), case("leon", "b", findings=(one,)), case("madrid", "c")]
    assert finding_counts(cases) == {"leon": {"zone_assumed": (3, 2)}, "madrid": {}}


def test_all_faulty_files_are_told_together(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(encode(LEON.series))
    (tmp_path / "b.json").write_text("{}", encoding="utf-8")
    with pytest.raises(ConfigError, match="2 files cannot be used") as caught:
        read_documents([str(tmp_path / name) for name in ("a.json", "b.json", "c.json")])
    assert ["b.json" in fault or "c.json" in fault for fault in caught.value.faults] == [True, True]
    (only,) = read_documents([str(tmp_path / "a.json"), str(tmp_path / "a.json")])
    assert only.series == LEON.series


@pytest.mark.parametrize("dates", ["kept", "shifted", "days"])
def test_what_is_reported_of_a_document_is_what_is_reported_of_the_cases(
    twenty_four: tuple[Case, ...], dates: Any
) -> None:
    """But for the names of the cases, and for what partial dates no longer tell."""
    veiled = [pseudonymised(one, b"key", dates) for one in twenty_four]
    named = [replace(one, id=other.id) for one, other in zip(twenty_four, veiled, strict=True)]
    whole, left = sentences(named, "anifrolumab"), sentences(veiled, "anifrolumab")
    differing = {one.id for one, other in zip(whole, left, strict=True) if one != other}
    assert differing <= (set() if dates == "kept" else {"treatment_period", "diagnosis_before_first_infusion"})
