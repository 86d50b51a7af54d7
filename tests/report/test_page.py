"""The page: safe with hostile text, without personal data, well-formed, and in words."""

import re
from collections.abc import Sequence
from html.parser import HTMLParser
from typing import Any

import pytest
from msgspec.structs import replace

from dm_fhir.demo.cohorts import four_patients, twenty_four_patients
from dm_fhir.model.case import Case, Coding
from dm_fhir.model.definitions import Definitions
from dm_fhir.model.findings import KINDS
from dm_fhir.report.explained_by import EXPLAINED_BY
from dm_fhir.report.page import Data
from dm_fhir.report.report import Report, report
from dm_fhir.report.sections import figures_of, tables_of
from dm_fhir.report.sentences import sentences
from dm_fhir.store.cases import FindingCount

DRUG = "anifrolumab"
HOSTILE = '<script>alert("1")</script>'
VOID = {"meta", "link", "br", "hr", "img", "input", "col"}


def page_of(
    cases: Sequence[Case], title: str = "A study", definitions: Definitions | None = None, suppress_below: int = 0
) -> str:
    return report_of(cases, title, definitions, suppress_below).page()


def report_of(
    cases: Sequence[Case], title: str = "A study", definitions: Definitions | None = None, suppress_below: int = 0
) -> Report:
    sites = {case.site: "2025-06-01" for case in cases}
    findings = {"baltimore": {"zone_assumed": FindingCount(31, 2), "unit_missing": FindingCount(17, 5)}}
    until = {**sites, "oviedo": None}
    data = Data(
        title, DRUG, cases, until, findings, "2025-06-02", "dm-fhir 1", definitions or Definitions(), suppress_below
    )
    return report(data, {site: {"case": 1, "no study drug": 2} for site in sites})


@pytest.fixture(scope="module")
def html_of_four(four: tuple[Case, ...]) -> str:
    return page_of(four)


class Outline(HTMLParser):
    """Every element closed in order; the attributes and the text that a reader sees."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.faults: list[str] = []
        self.elements: list[tuple[str, dict[str, Any]]] = []
        self.words: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.faults.append(f"</{tag}> at {self.getpos()}")

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.words.append(data)

    def all(self, tag: str) -> list[dict[str, Any]]:
        return [attributes for name, attributes in self.elements if name == tag]

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", " ".join(self.words))


def test_the_page_is_well_formed(html_of_four: str) -> None:
    outline = Outline(html_of_four)
    assert (outline.faults, outline.open) == ([], [])
    assert outline.all("html") == [{"lang": "en"}]
    assert len(outline.all("h1")) == 1
    assert len(outline.all("caption")) == len(outline.all("table"))
    assert all("scope" in attributes for attributes in outline.all("th"))


def test_the_links_of_the_page_lead_somewhere(html_of_four: str) -> None:
    outline = Outline(html_of_four)
    ids = {attributes["id"] for _, attributes in outline.elements if "id" in attributes}
    assert {link["href"].removeprefix("#") for link in outline.all("a")} <= ids


def test_the_page_needs_nothing_else(html_of_four: str) -> None:
    outline = Outline(html_of_four)
    assert not {"script", "link", "img", "iframe", "object"} & {tag for tag, _ in outline.elements}
    assert re.search(r"url\((?!#)", html_of_four) is None
    assert "default-src 'none'" in html_of_four
    assert "@import" not in html_of_four


def test_the_page_holds_the_sentences(four: tuple[Case, ...], html_of_four: str) -> None:
    text = Outline(html_of_four).text
    for sentence in sentences(four, DRUG):
        assert sentence.text in text
        assert sentence.missing in text


def test_hostile_text_stays_text(four: tuple[Case, ...]) -> None:
    case = four[0]
    assert case.subject is not None
    subject = replace(case.subject, races=(Coding("urn:x", "1", HOSTILE),))
    hostile = replace(case, id=HOSTILE, site=HOSTILE, subject=subject, left_out={HOSTILE: 1})
    html = page_of((hostile, *four[1:]), title=HOSTILE)
    assert "<script" not in html
    assert "&lt;script&gt;" in html
    assert "script" not in {tag for tag, _ in Outline(html).elements}


def test_the_page_holds_no_personal_data(four: tuple[Case, ...], twenty_four: tuple[Case, ...]) -> None:
    for sites, cases in ((four_patients(), four), (twenty_four_patients(), twenty_four)):
        html = page_of(cases)
        people = [r for site in sites for r in site.resources if r["resourceType"] == "Patient"]
        assert len(people) == len(cases)
        for person in people:
            assert person["birthDate"] not in html
            assert person["name"][0]["given"][0] not in html
            assert person["identifier"][0]["system"] not in html
        assert "Sample" not in html


def test_identifiers_are_not_on_the_page(four: tuple[Case, ...]) -> None:
    case = four[0]
    assert case.subject is not None
    named = tuple(replace(one, value="MRN-4711") for one in case.subject.identifiers)
    assert named
    assert "MRN-4711" not in page_of((replace(case, subject=replace(case.subject, identifiers=named)),))


def test_what_cannot_be_computed_is_said_in_words(html_of_four: str) -> None:
    text = Outline(html_of_four).text
    assert "not computable: baseline missing" in text
    assert "without baseline" in text
    assert "None" not in text
    assert "baseline_missing" not in text


def test_completeness_findings_and_what_was_left_out_are_shown(four: tuple[Case, ...]) -> None:
    assert four[0].subject is not None
    test_patient = replace(
        four[0], subject=replace(four[0].subject, test_patient=True), left_out={"Observation: odd": 7}
    )
    text = Outline(page_of((test_patient, *four[1:]))).text
    assert "never read completely" in text
    kind = KINDS["unit_missing"]
    assert f"unit_missing {kind.meaning} {kind.done} warning 17 5 baltimore zone_assumed" in text
    assert "information 31 2" in text
    assert re.search(r"test patient 1 Patient/bal-1", text)
    assert re.search(r"Observation: odd 7", text)


def test_the_patients_table_says_better_and_worse(html_of_four: str) -> None:
    text = Outline(html_of_four).text
    arrow = "\N{RIGHTWARDS ARROW}"
    assert f"27 {arrow} 6 better by 21 (77.8 %)" in text
    assert f"92 {arrow} 96 worse by 4 (4.3 %)" in text
    assert f"150 {arrow} 150 unchanged" in text
    assert f"? {arrow} 11 without baseline" in text


def test_a_page_without_patients_says_so() -> None:
    assert "No patient has had a completed infusion." in Outline(page_of(())).text


def test_the_page_says_which_definition_the_study_chose(four: tuple[Case, ...]) -> None:
    pages = [
        Outline(page_of(four, definitions=Definitions(cdasi_19="moderate_severe"))).text,
        Outline(page_of(four, definitions=Definitions(cdasi_19="mild"))).text,
    ]

    assert ["below 19 mild, 19 and above moderate severe" in text for text in pages] == [True, False]
    assert ["up to 19 mild, above 19 moderate severe" in text for text in pages] == [False, True]


def test_figures_and_tables_are_numbered_in_the_order_of_the_page(html_of_four: str) -> None:
    text = Outline(html_of_four).text
    for kind, least in (("Figure", 5), ("Table", 8)):
        numbers = [int(number) for number in re.findall(rf"{kind} (\d+)\. ", text)]
        assert numbers == list(range(1, len(numbers) + 1))
        assert len(numbers) >= least


def test_the_flow_leads_from_the_patients_found_to_those_analysed(html_of_four: str) -> None:
    text = Outline(html_of_four).text
    assert "found at the sites" in text
    assert "left out: no study drug" in text


def test_every_patient_has_a_number_and_every_outcome_a_name_to_explain_it_by(html_of_four: str) -> None:
    outline = Outline(html_of_four)
    assert "dm-fhir explain PATIENT OUTCOME" in outline.text
    assert "cdasi_activity_baseline" in outline.text
    assert re.search(r"cdasi_activity_improvement@Observation/\S+", outline.text)


def test_a_report_that_hides_small_counts_shows_no_single_patient(four: tuple[Case, ...]) -> None:
    found = report_of(four, suppress_below=5)
    html = found.page()
    text = Outline(html).text

    assert "Single patients are not shown" in text
    assert "<svg" not in html
    assert not [case.id for case in four if case.id in text]
    names = [name for name, _ in found.files()]
    assert "tables/patients.csv" not in names
    assert "tables/outcomes.csv" not in names
    assert not [name for name in names if name.startswith("figures/")]


def test_the_files_beside_the_page(twenty_four: tuple[Case, ...]) -> None:
    found = dict(report_of(twenty_four).files())

    assert {"figures/swimmer.svg", "figures/swimmer.pdf", "figures/swimmer.png", "figures/swimmer.csv"} <= set(found)
    assert {"tables/characteristics.csv", "tables/patients.csv", "tables/outcomes.csv"} <= set(found)
    assert len(found["tables/patients.csv"].splitlines()) == 25
    assert len(found["tables/outcomes.csv"].splitlines()) == 1 + sum(len(case.outcomes) for case in twenty_four)


def test_a_report_of_one_patient(four: tuple[Case, ...]) -> None:
    found = report_of(four[:1])
    text = Outline(found.page()).text

    assert "1 patient with at least one completed infusion" in text
    assert dict(found.files())


def test_a_report_of_nobody() -> None:
    found = report_of(())
    outline = Outline(found.page())

    assert (outline.faults, outline.open) == ([], [])
    assert "Nobody can be analysed yet." in outline.text
    assert dict(found.files())


def test_of_many_patients_the_page_shows_some_and_says_so(four: tuple[Case, ...]) -> None:
    many = [replace(case, id=f"Patient/{number}") for number in range(60) for case in four]
    found = report_of(many)
    text = Outline(found.page(has_files=True)).text

    assert "Shown are the first 200 of 240 patients; all are in tables/patients.csv" in text
    assert "Shown are those of the first 50 of 240 patient records; all are in tables/outcomes.csv" in text
    assert "Shown are 50 of 240 patients at even distances; all are in swimmer.csv." in text


def test_every_table_and_figure_says_by_what_its_numbers_are_explained(four: tuple[Case, ...]) -> None:
    found = report_of(four).sections
    shown = [block.id for block in (*figures_of(found), *tables_of(found)) if block.id != "flow"]

    assert set(shown) == set(EXPLAINED_BY)
    text = Outline(page_of(four)).text
    assert len(re.findall("To explain a (?:number|value) of one patient", text)) == len(shown)
