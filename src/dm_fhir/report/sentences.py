"""The sentences of the paper, computed from the cases."""

from collections.abc import Iterable, Iterator, Sequence

from msgspec.structs import replace

from dm_fhir.model.case import Case
from dm_fhir.report.disease import sentences_of_disease
from dm_fhir.report.persons import sentences_of_persons
from dm_fhir.report.response import sentences_of_response
from dm_fhir.report.safety import sentences_of_safety
from dm_fhir.report.sentence import Sentence
from dm_fhir.report.treatment import sentences_of_treatment
from dm_fhir.statistics.cohort import Cohort
from dm_fhir.statistics.small_cells import SmallCells

__all__ = ["Sentence", "sentences", "sentences_of"]


def sentences(cases: Sequence[Case], drug: str, suppress_below: int = 0) -> tuple[Sentence, ...]:
    """Every sentence, in the order of a paper. One that cannot be computed is there and says what is not documented.

    `drug` is the study drug's variable. Outcomes are those of the cases; a case without any has them computed. Counts
    from 1 to `suppress_below` - 1 are not shown.
    """
    return sentences_of(Cohort(cases), drug, suppress_below)


def sentences_of(cohort: Cohort, drug: str, suppress_below: int = 0) -> tuple[Sentence, ...]:
    """The same of a cohort."""
    small = SmallCells(suppress_below)
    return (
        *_about("Patients", sentences_of_persons(cohort, drug, small)),
        *_about("Disease", sentences_of_disease(cohort, small)),
        *_about("Treatment", sentences_of_treatment(cohort, drug, small)),
        *_about("Response", sentences_of_response(cohort, small)),
        *_about("Safety", sentences_of_safety(cohort, drug, small)),
    )


def _about(topic: str, found: Iterable[Sentence]) -> Iterator[Sentence]:
    return (replace(sentence, topic=topic) for sentence in found)
