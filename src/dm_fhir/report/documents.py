"""Case series documents in place of the store: what the report needs of them."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from dm_fhir.errors import ConfigError
from dm_fhir.model.case import Case, CaseSeries
from dm_fhir.model.document import read_document
from dm_fhir.model.read_file import LARGEST_DOCUMENT_BYTES, read_bytes
from dm_fhir.report.merged import Document
from dm_fhir.report.moved_dates import DAY_0
from dm_fhir.report.sentence import Sentence
from dm_fhir.store.cases import FindingCount


def read_documents(files: Sequence[str]) -> list[Document]:
    """The case series in these files, each once. Raises ConfigError with the faults of all."""
    found, faulty = [], []
    for file in dict.fromkeys(files):
        try:
            found.append(Document(file, _read(Path(file))))
        except ConfigError as error:
            faulty.append(error)
    if len(faulty) > 1:
        raise ConfigError(f"{len(faulty)} files cannot be used:", faults=map(str, faulty))
    if faulty:
        raise faulty[0]
    return found


def _read(path: Path) -> CaseSeries:
    try:
        return read_document(read_bytes(path, LARGEST_DOCUMENT_BYTES), str(path))
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from error


def finding_counts(cases: Iterable[Case]) -> dict[str, dict[str, FindingCount]]:
    """The findings of the cases, counted by site and code."""
    findings: dict[str, Counter[str]] = defaultdict(Counter)
    patients: dict[str, Counter[str]] = defaultdict(Counter)
    for case in cases:
        codes = Counter(one.code for one in case.findings)
        findings[case.site] += codes
        patients[case.site].update(codes.keys())
    return {
        site: {code: FindingCount(count, patients[site][code]) for code, count in sorted(codes.items())}
        for site, codes in findings.items()
    }


def sentences_of_document(series: CaseSeries) -> Iterator[Sentence]:
    """What must be known of a document to read a report of it: what was done to its dates, and what differs in it."""
    if series.dates != "kept":
        yield Sentence(
            "dates", f"{_DATES[series.dates]} Intervals are as they were.{_lost(series.cases)}", topic="Data"
        )
    if series.differences:
        text = f"What was merged is not the same everywhere: {'; '.join(series.differences)}."
        yield Sentence("differences", text, topic="Data")


def _lost(cases: Iterable[Case]) -> str:
    total: Counter[str] = Counter()
    for case in cases:
        total.update(case.partial_dates)
    told = ", ".join(f"{total[name]} {words}" for name, words in _LOST.items() if total[name])
    return f" Months and years cannot be moved by days: {told}." if told else ""


_LOST: Mapping[str, str] = {"coarser": "became coarser", "left_out": "were left out"}
_DATES: Mapping[str, str] = {
    "shifted": "Dates are not those of the calendar: each patient's were moved by a number of days of their own.",
    "days": f"Dates are not those of the calendar: they are counted from the first infusion, which is put on {DAY_0}.",
}
