"""The report as one HTML page that needs nothing else: sentences, figures, tables, patients, findings, methods.

It never shows a name, a birth date or an identifier; a patient appears under the case's id.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from msgspec.structs import asdict

from dm_fhir.model.case import Case
from dm_fhir.model.definitions import Definitions
from dm_fhir.model.findings import by_severity, done_of, meaning_of, severity_of
from dm_fhir.outcomes.instruments import CORE
from dm_fhir.report.definitions import definitions as definitions_in_words
from dm_fhir.report.explained_by import EXPLAINED_BY
from dm_fhir.report.figures.figure import Figure, inline_svg
from dm_fhir.report.rows import heading, outcome_rows, patient_row
from dm_fhir.report.sections import Block, Section
from dm_fhir.report.sentence import Sentence
from dm_fhir.statistics.cohort import Cohort
from dm_fhir.statistics.table import Table
from dm_fhir.store.cases import FindingCount

#: More than these make a page that nobody can read, and that a browser opens slowly; the files beside it have all.
SHOWN_PATIENTS = 200
SHOWN_OUTCOMES_OF = 50
SHOWN_ROWS = 200
#: Cells up to so many characters are taken for numbers, with their ranges and percentages.
LONGEST_NUMBER = 26


class FindingOfSite(NamedTuple):
    """One line of the table of findings: a kind of finding at a site, and how often."""

    site: str
    code: str
    severity: str
    meaning: str
    done: str
    findings: int
    patients: int


class Data(NamedTuple):
    """What the report is about.

    `cases` are as they may be shown. `complete_until` is by site, None where it was never read completely; `findings` by
    site and code. Counts from 1 to `suppress_below` - 1 are hidden, and single patients are not shown; 0: all is.
    """

    title: str
    drug: str
    cases: Sequence[Case]
    complete_until: Mapping[str, str | None]
    findings: Mapping[str, Mapping[str, FindingCount]]
    generated: str
    program: str
    definitions: Definitions
    suppress_below: int = 0


def page(
    data: Data, cohort: Cohort, sentences: Sequence[Sentence], sections: Sequence[Section], *, has_files: bool = False
) -> str:
    """The whole page as HTML text. Every text of a record is escaped.

    `has_files`: the figures and tables lie as files beside the page, and it names them.
    """
    of_outcomes = () if data.suppress_below else data.cases[:SHOWN_OUTCOMES_OF]
    numbered = _Numbered()
    return _ENVIRONMENT.get_template("page.html").render(
        title=data.title,
        drug=data.drug,
        generated=data.generated,
        program=data.program,
        complete_until=data.complete_until,
        not_complete=[site for site, until in data.complete_until.items() if until is None],
        contents=_contents(sections),
        hides_patients=bool(data.suppress_below),
        n=cohort.n,
        topics=_by_topic(sentences),
        sections=[_section(section, numbered) for section in sections],
        instruments=[heading(instrument) for instrument in CORE],
        patients=[patient_row(patient) for patient in cohort.patients[:SHOWN_PATIENTS] if not data.suppress_below],
        shown_patients=SHOWN_PATIENTS,
        shown_rows=SHOWN_ROWS,
        outcomes=[(case.id, case.site, outcome_rows(case)) for case in of_outcomes],
        of_outcomes=len(data.cases),
        impossible=_impossible(sections),
        findings=_finding_rows(data.findings),
        left_out_cases=cohort.left_out,
        left_out_records=_left_out_records(data.cases),
        definitions=definitions_in_words(data.definitions),
        files=has_files,
    )


_ENVIRONMENT = Environment(
    loader=PackageLoader("dm_fhir.report", "templates"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


class _Numbered:
    """Figures and tables have numbers of their own, in the order of the page."""

    def __init__(self) -> None:
        self._next = Counter({"Figure": 1, "Table": 1})

    def name(self, kind: str) -> str:
        number = self._next[kind]
        self._next[kind] += 1
        return f"{kind} {number}"


def _contents(sections: Sequence[Section]) -> Iterator[tuple[str, str]]:
    yield "results", "Results"
    yield from ((section.id, section.heading) for section in sections)
    yield from (
        ("patients", "Patients"),
        ("quality", "Data quality"),
        ("methods", "Methods"),
        ("outcomes", "All outcomes"),
    )


def _section(section: Section, numbered: _Numbered) -> dict[str, Any]:
    blocks = [_block(one, numbered) for one in section.blocks]
    return {"id": section.id, "heading": section.heading, "texts": section.texts, "blocks": blocks}


def _block(block: Block, numbered: _Numbered) -> dict[str, Any]:
    if isinstance(block, Figure):
        return _figure(block, numbered)
    kind = "flow" if block.id == "flow" else "table"
    name = numbered.name("Table") if kind == "table" else ""
    told_by = EXPLAINED_BY.get(block.id, "")
    return {**asdict(block), "kind": kind, "name": name, "are_numbers": _are_numbers(block), "explained_by": told_by}


def _are_numbers(table: Table) -> list[bool]:
    """Of each column after the first whether its cells are short: these stand to the right, and are not broken."""
    columns = zip(*(row.cells for row in table.rows), strict=True)
    found = [max(len(cell.text) for cell in column) <= LONGEST_NUMBER for column in columns]
    return found or [True] * (len(table.columns) - 1)


def _figure(figure: Figure, numbered: _Numbered) -> dict[str, Any]:
    drawing = Markup(inline_svg(figure)) if figure.rows else ""  # noqa: S704 - made by us, its texts escaped by matplotlib
    told_by = EXPLAINED_BY.get(figure.id, "")
    name = numbered.name("Figure")
    return {**figure._asdict(), "kind": "figure", "name": name, "svg": drawing, "explained_by": told_by}


def _impossible(sections: Sequence[Section]) -> list[tuple[str, str]]:
    """What is wrong with the numbers of a table, by the table's title."""
    return [
        (block.title, meaning_of(code))
        for section in sections
        for block in section.blocks
        if isinstance(block, Table)
        for code in block.findings
    ]


def _by_topic(sentences: Sequence[Sentence]) -> dict[str, list[Sentence]]:
    topics: dict[str, list[Sentence]] = {}
    for sentence in sentences:
        topics.setdefault(sentence.topic or "Results", []).append(sentence)
    return topics


def _finding_rows(counts: Mapping[str, Mapping[str, FindingCount]]) -> list[FindingOfSite]:
    return [
        FindingOfSite(site, code, severity_of(code), meaning_of(code), done_of(code), *counts[site][code])
        for site in sorted(counts)
        for code in by_severity(counts[site])
    ]


def _left_out_records(cases: Sequence[Case]) -> dict[str, int]:
    total: Counter[str] = Counter()
    for case in cases:
        total.update(case.left_out)
    return dict(sorted(total.items()))
