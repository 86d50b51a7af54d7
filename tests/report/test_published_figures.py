"""Every published figure beside the computed one. What is not the same stands here, with the reason."""

from collections.abc import Sequence

import pytest
from msgspec.structs import replace

from dm_fhir.demo.figures import Compared, compare, comparison, figures
from dm_fhir.demo.published import Cohort as Paper
from dm_fhir.model.case import Case
from dm_fhir.model.definitions import Definitions
from dm_fhir.report.sentences import sentences
from dm_fhir.report.tables.paper import tables
from dm_fhir.statistics.cohort import Cohort

DRUG = "anifrolumab"


def compared(paper: Paper, cases: Sequence[Case], suppress_below: int = 0) -> dict[str, Compared]:
    told = {one.id: one.values for one in sentences(cases, DRUG, suppress_below)}
    found = compare(paper, told, tables(Cohort(cases), DRUG, Definitions(), suppress_below))
    assert len({one.figure.says for one in found}) == len(found)
    return {one.figure.says: one for one in found}


def test_the_first_paper_is_computed_as_it_is_printed(four: tuple[Case, ...]) -> None:
    found = compared("four-patients", four)
    assert len(found) == 28
    assert {says: one.verdict for says, one in found.items() if one.verdict != "same"} == {}
    assert found["median (range) CDASI-A reduction, percent"].computed == "49.4% (26.9% - 77.8%)"
    assert found["CDASI-A reduction, mean, percent"].computed == "50.9±24.6"
    assert found["assessed after three infusions"].computed == "2 of 4: Patient/bal-1, Patient/bal-3"


def test_the_second_paper_is_computed_as_it_is_printed_but_where_it_truncates_or_contradicts_itself(
    twenty_four: tuple[Case, ...],
) -> None:
    found = compared("twenty-four-patients", twenty_four)
    assert len(found) == 60
    assert {says: (one.computed, one.verdict) for says, one in found.items() if one.verdict != "same"} == {
        "earlier: ruxolitinib": ("4.2% (1 of 24)", "same count, printed otherwise"),
        "indication: skin": ("91.7% (22 of 24)", "same count, printed otherwise"),
        "indication: musculoskeletal": ("8.3% (2 of 24)", "same count, printed otherwise"),
        "age at diagnosis, years": ("44.7±19.6", "the paper contradicts itself"),
        "years from diagnosis to initiation, means compared": ("-4.2: impossible_if_same_patients", "the paper contradicts itself"),
    }  # fmt: skip


def test_a_figure_that_is_not_computed_is_not_taken_for_nought(four: tuple[Case, ...]) -> None:
    cases = [replace(case, outcomes=tuple(replace(one, verdicts={}) for one in case.outcomes)) for case in four]
    found = compared("four-patients", cases)["CDASI-A better by at least 4 points"]
    assert (found.computed, found.verdict) == ("", "not computed")


def test_another_count_or_other_patients_differ(four: tuple[Case, ...]) -> None:
    found = compared("four-patients", four[:3])
    assert found["patients"].verdict == "differs"
    assert found["improved skin"].computed == "3 of 3"
    assert found["improved skin"].verdict == "differs"
    renamed = [replace(case, id=case.id.replace("bal-4", "bal-9")) for case in four]
    assert compared("four-patients", renamed)["assessed after two infusions"].verdict == "differs"


def test_a_hidden_count_is_not_compared(twenty_four: tuple[Case, ...]) -> None:
    found = compared("twenty-four-patients", twenty_four, suppress_below=5)
    assert (found["juvenile"].computed, found["juvenile"].verdict) == ("<5", "not computed")
    assert found["classic"].verdict == "same"


@pytest.mark.parametrize("paper", ["four-patients", "twenty-four-patients"])
def test_the_comparison_says_that_the_sample_is_invented(paper: Paper, four: tuple[Case, ...]) -> None:
    table = comparison(paper, tuple(compared(paper, four).values()))
    assert "invented" in table.notes[0]
    assert [group.heading for group in table.groups] == ["Printed", "Not printed, but follows from what is"]
    assert sum(1 for _ in table.rows) == len(figures(paper))
    assert table.findings == (("impossible_if_same_patients",) if paper == "twenty-four-patients" else ())


def test_each_figure_says_where_it_is_computed() -> None:
    for paper in ("four-patients", "twenty-four-patients"):
        for one in figures(paper):
            assert bool(one.ages) != bool(one.where), one.says
            assert bool(one.ages) or bool(one.shows) != (one.count is not None), one.says
