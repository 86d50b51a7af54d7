"""A case's assessments sorted by what was measured, once for all instruments."""

from collections.abc import Iterable, Iterator
from datetime import tzinfo
from typing import NamedTuple
from zoneinfo import ZoneInfo

from msgspec.structs import replace

from dm_fhir.model.case import Assessment, Case, Identifier, Measured, Source
from dm_fhir.outcomes.baseline import accepted_statuses


class Records(NamedTuple):
    """The assessments of a case by variable; in which zone their days lie, and which statuses count."""

    by_variable: dict[str, list[Assessment]]
    zone: tzinfo
    accepted: tuple[str, ...]

    def of(self, variables: Iterable[str]) -> list[Assessment]:
        """The assessments of these variables, of any status; a part of a panel stands alone."""
        return [one for variable in variables for one in self.by_variable.get(variable, ())]


def records_of(case: Case) -> Records:
    """The case's assessments of everything that the tables know."""
    found: dict[str, list[Assessment]] = {}
    for assessment in case.assessments:
        for one in _parts(assessment):
            variable = _variable(one)
            if variable is not None:
                found.setdefault(variable, []).append(one)
    return Records(found, ZoneInfo(case.timezone), accepted_statuses(case))


def measured_as(case: Case, variables: Iterable[str]) -> list[Assessment]:
    """The case's assessments of these variables, in its order; a part of a panel stands alone, under its time and status."""
    wanted = frozenset(variables)
    return [one for assessment in case.assessments for one in _parts(assessment) if _variable(one) in wanted]


def _variable(one: Assessment) -> str | None:
    return one.measured.concept.variable


def _parts(assessment: Assessment) -> Iterator[Assessment]:
    yield assessment
    for index, component in enumerate(assessment.components):
        if component.concept.variable is not None:
            yield _part(assessment, component, assessment.source_of(index))


def _part(panel: Assessment, component: Measured, source: Source) -> Assessment:
    # A copy of the panel, such as its amendment, has a copy of the part: the part is known by both names.
    names = tuple(
        Identifier(one.system, f"{one.value}#{component.concept.variable}") for one in panel.identifiers if one.value
    )
    return replace(panel, source=source, measured=component, components=(), identifiers=names)
