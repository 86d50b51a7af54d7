"""The figures: what they draw and leave out, that they are safe inside a page, and the files for a journal."""

import csv
import io
import re
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dm_fhir.model.case import Case
from dm_fhir.model.definitions import WEEKS
from dm_fhir.report.figures.figure import VARIABLES, Figure, files, inline_svg, table_bytes
from dm_fhir.report.figures.glucocorticoids import Course, Stretch, glucocorticoids
from dm_fhir.report.figures.manifestations import Present, manifestations
from dm_fhir.report.figures.scores import Line, Point, medians, scores
from dm_fhir.report.figures.some import evenly, said
from dm_fhir.report.figures.survival import survival
from dm_fhir.report.figures.swimmer import swimmer
from dm_fhir.report.figures.waterfall import waterfall
from dm_fhir.statistics.cohort import Cohort
from dm_fhir.statistics.follow_up import day_of_month
from dm_fhir.statistics.survival import Followed, kaplan_meier

COURSE = Course(
    1,
    (Stretch(-91, -1, Fraction(20)), Stretch(0, 27, Fraction(10)), Stretch(28, 55, None), Stretch(56, 90, Fraction(5))),
)
OTHERS = (
    glucocorticoids([COURSE], 3),
    manifestations(("baseline", "month 1"), {"pruritus": [Present(3, 4, 0), Present(0, 0, 4)]}),
    survival(kaplan_meier([Followed(30, True), Followed(90, False)])),
)


@pytest.fixture(scope="module")
def of_twenty_four(twenty_four: tuple[Case, ...]) -> tuple[Figure, ...]:
    cohort = Cohort(twenty_four)
    return (swimmer(cohort), scores(cohort, WEEKS), waterfall(cohort), *OTHERS)


def test_drawings_are_safe_inside_one_page(of_twenty_four: tuple[Figure, ...]) -> None:
    drawings = [inline_svg(figure) for figure in of_twenty_four]
    ids = [one for text in drawings for one in re.findall(r'\bid="([^"]+)"', text)]
    used = {one for text in drawings for one in re.findall(r'(?:url\(|href=")#([^")]+)', text)}

    assert len(ids) == len(set(ids))
    assert used <= set(ids)
    assert all(text.startswith("<svg viewBox=") and text.rstrip().endswith("</svg>") for text in drawings)
    # An address would be asked for when the page is opened; names of XML's own are none.
    assert not any(re.search(r'(?:href|src)="(?!#)', text) for text in drawings)


def test_drawings_take_their_colours_from_the_page(of_twenty_four: tuple[Figure, ...]) -> None:
    for figure in of_twenty_four:
        text = inline_svg(figure)
        assert "var(--ink)" in text
        assert not any(colour in text for colour in VARIABLES)
        assert set(re.findall(r"#[0-9a-f]{6}\b", text)) <= {"#000000"}


def test_the_same_figure_is_the_same_files(of_twenty_four: tuple[Figure, ...]) -> None:
    figure = of_twenty_four[0]
    assert files(figure) == files(figure)


def test_files_for_a_journal(of_twenty_four: tuple[Figure, ...]) -> None:
    found = files(of_twenty_four[1])

    assert set(found) == {"scores.svg", "scores.pdf", "scores.png", "scores.csv"}
    assert found["scores.pdf"].startswith(b"%PDF")
    assert found["scores.png"].startswith(b"\x89PNG")
    rows = list(csv.reader(io.StringIO(found["scores.csv"].decode())))
    assert tuple(rows[0]) == of_twenty_four[1].columns
    assert len(rows) == len(of_twenty_four[1].rows) + 1


@pytest.mark.parametrize("draw", [swimmer, waterfall, lambda cohort: scores(cohort, WEEKS)])
def test_nobody_to_draw(draw: Any) -> None:
    figure = draw(Cohort(()))

    assert figure.rows == ()
    assert figure.caption.startswith("No patient")
    assert set(files(figure)) == {f"{figure.id}.csv"}


def test_one_patient(four: tuple[Case, ...]) -> None:
    cohort = Cohort(four[:1])
    for figure in (swimmer(cohort), scores(cohort, WEEKS), waterfall(cohort)):
        assert inline_svg(figure)


def test_the_swimmer_has_every_infusion(twenty_four: tuple[Case, ...]) -> None:
    cohort = Cohort(twenty_four)
    events = [row[2] for row in swimmer(cohort).rows]

    assert events.count("infusion") == sum(len(patient.exposed.completed) for patient in cohort.patients)
    assert events.count("infusion broken off") == sum(len(patient.exposed.partial) for patient in cohort.patients) > 0
    assert events.count("end of follow-up") == cohort.n


def test_the_waterfall_falls(twenty_four: tuple[Case, ...]) -> None:
    percents = [Fraction(row[1]) for row in waterfall(Cohort(twenty_four)).rows]
    assert percents == sorted(percents, reverse=True)
    assert len(percents) == 24


def test_every_value_of_the_scores_is_drawn_once(four: tuple[Case, ...]) -> None:
    rows = scores(Cohort(four), WEEKS).rows
    of_patients = [row for row in rows if row[0].isdigit() and row[1] == "cdasi_activity"]

    assert len(of_patients) == len(set(of_patients))
    assert {row[0] for row in of_patients} == {"1", "2", "3", "4"}
    assert all(int(row[2]) <= 0 for row in of_patients if row[4] == "baseline")


def test_medians_are_those_of_the_visit() -> None:
    def line(number: int, baseline: int, week_4: int | None) -> Line:
        points = [Point(-3, Fraction(baseline), "baseline"), Point(90, Fraction(1), None)]
        points += [Point(30, Fraction(week_4), "week_4")] if week_4 is not None else []
        return Line(number, "cdasi_activity", tuple(points))

    three = [line(1, 20, 10), line(2, 30, 11), line(3, 10, 30)]
    found = medians([*three, line(4, 40, None)], WEEKS)

    assert [(one.visit, one.day, one.n, one.value) for one in found] == [("baseline", 0, 4, 25), ("week_4", 28, 3, 11)]
    assert [one.visit for one in medians([*three[:2], line(3, 10, None)], WEEKS)] == ["baseline"]
    assert [one.visit for one in medians(three[:2], WEEKS)] == ["baseline", "week_4"]


def test_unknown_doses_are_gaps() -> None:
    figure = glucocorticoids([COURSE, Course(2, (Stretch(0, 90, None),))], 3)

    assert "2 of 3 patients without any documented dose" in figure.caption
    assert [row[3] for row in figure.rows] == ["20", "10", "", "5"]
    assert COURSE.on(40) is None
    assert COURSE.on(56) == 5


def test_the_most_frequent_manifestation_is_first() -> None:
    counts = {"alopecia": [Present(1, 4, 0)], "pruritus": [Present(3, 4, 0)]}
    assert [row[0] for row in manifestations(("baseline",), counts).rows] == ["pruritus", "alopecia"]


@given(st.lists(st.integers(), max_size=300), st.integers(2, 60))
def test_evenly_keeps_order_and_both_ends(values: list[int], most: int) -> None:
    found = evenly(values, most)

    assert len(found) == min(len(values), most)
    assert not values or (found[0], found[-1]) == (values[0], values[-1])
    assert found == values or list(map(id, found)) == [id(v) for v in found]


def test_what_is_not_shown_is_said() -> None:
    assert said(24, 24, "x.csv") == ""
    assert said(50, 5000, "x.csv") == " Shown are 50 of 5000 patients at even distances; all are in x.csv."


@pytest.mark.parametrize("cell", ["=1+1", "+cmd", "-x", "@SUM(A1)", "\tx", "\rx"])
def test_no_cell_is_a_formula(cell: str) -> None:
    assert next(csv.reader(io.StringIO(table_bytes((), [(cell,)]).decode().splitlines(True)[1])))[0][:1] == "'"


@pytest.mark.parametrize("cell", ["-5", "-1.5", "100/3", "24.5", "", "week_4"])
def test_numbers_stay_as_they_are(cell: str) -> None:
    assert list(csv.reader(io.StringIO(table_bytes(("a",), [(cell,)]).decode())))[1] == [cell] or cell == ""


def test_the_numbers_at_risk_are_of_whole_days_as_in_the_table() -> None:
    """Month 3 begins within day 91, month 6 within day 182, month 12 within day 365: who left on these was still at risk."""
    curve = kaplan_meier([Followed(days, False) for days in (90, 91, 92, 182, 183, 365)])
    texts = re.findall(r">([^<>]+)</text>", inline_svg(survival(curve)))

    assert texts[: texts.index("Months since the first infusion")] == ["0", "3", "6", "9", "12"]
    assert texts[texts.index("Still on the drug (%)") + 1 : texts.index("At risk")] == ["6", "5", "3", "1", "1"]
    assert [curve.at_risk(day_of_month(month)) for month in (0, 3, 6, 9, 12)] == [6, 5, 3, 1, 1]
