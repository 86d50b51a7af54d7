"""Case series of many sites made into one. What cannot be compared is refused; nobody is ever merged with anybody."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from dm_fhir import __version__
from dm_fhir.errors import ConfigError
from dm_fhir.model.case import Case, CaseSeries
from dm_fhir.statistics.cohort import found_twice


class Document(NamedTuple):
    """A case series and the file that it came from."""

    file: str
    series: CaseSeries


class Merged(NamedTuple):
    """The merged series. `repeated` counts cases that were the same in several files; `persons` are those with several cases."""

    series: CaseSeries
    repeated: int
    persons: Mapping[str, tuple[str, ...]]


def merged(documents: Sequence[Document], *, title: str | None = None, allow_differences: bool = False) -> Merged:
    """One series of at least one document, the cases in order of site and id.

    Study drug, pseudonyms and the way of dates must be the same in all, and so must definitions and versions of rules, unless
    `allow_differences`: then they stand in `differences`, and the definitions are those of the first. The same case twice is
    kept once. Raises ConfigError with all faults, also where a case is not the same in two files.
    """
    first = documents[0].series
    faults = [fault for other in documents[1:] for fault in _not_comparable(documents[0], other)]
    differences = [text for other in documents[1:] for text in _differences(documents[0], other)]
    cases, conflicts = _cases(documents)
    faults += [*conflicts, *([] if allow_differences else differences)]
    if faults:
        hint = "export again with one version and the same [study], or record the differences: --allow-differences"
        raise ConfigError(
            "these case series do not go together:", faults=faults, hint=hint if differences and not allow_differences else None
        )  # fmt: skip
    known = (text for one in documents for text in one.series.differences)
    series = CaseSeries(
        title or first.title,
        first.drug,
        tuple(cases[name] for name in sorted(cases)),
        _complete_until(documents),
        pseudonymised=first.pseudonymised,
        written_by=f"dm-fhir {__version__}",
        definitions=first.definitions,
        dates=first.dates,
        differences=tuple(dict.fromkeys((*known, *differences))),
    )
    repeated = sum(len(one.series.cases) for one in documents) - len(series.cases)
    return Merged(series, repeated, found_twice(series.cases))


def _not_comparable(first: Document, other: Document) -> Iterator[str]:
    for name, meaning in (("drug", "study drug"), ("pseudonymised", "kind of names"), ("dates", "way of dates")):
        ours, theirs = getattr(first.series, name), getattr(other.series, name)
        if ours != theirs:
            yield f"{other.file}: {name}: {_word(theirs)}, in {first.file} {_word(ours)}: another {meaning}"


def _differences(first: Document, other: Document) -> Iterator[str]:
    """The definitions and the versions of rules that are not the same; files go by their names, for this is kept."""
    there, here = Path(other.file).name, Path(first.file).name
    for name in first.series.definitions.__struct_fields__:
        if getattr(first.series.definitions, name) != getattr(other.series.definitions, name):
            yield f"{there}: definitions.{name} is not that of {here}"
    ours, theirs = _rules(first.series.cases), _rules(other.series.cases)
    for variable in sorted(ours.keys() & theirs.keys()):
        if ours[variable] != theirs[variable]:
            by, otherwise = _listed(theirs[variable]), _listed(ours[variable])
            yield f"{there}: outcomes.{variable} was computed by {by}, in {here} by {otherwise}"


def _rules(cases: Iterable[Case]) -> dict[str, set[tuple[str, str]]]:
    found: dict[str, set[tuple[str, str]]] = {}
    for case in cases:
        for outcome in case.outcomes:
            found.setdefault(outcome.variable, set()).add((outcome.rule, outcome.rule_version))
    return found


def _listed(rules: Iterable[tuple[str, str]]) -> str:
    return " and ".join(f"{rule} version {version}" for rule, version in sorted(rules))


def _cases(documents: Iterable[Document]) -> tuple[dict[tuple[str, str], Case], list[str]]:
    """Each case once, by site and id; and where two files say different things of one."""
    cases: dict[tuple[str, str], Case] = {}
    whose: dict[tuple[str, str], Document] = {}
    conflicts: list[str] = []
    for one in documents:
        for case in one.series.cases:
            name = (case.site, case.id)
            if name not in cases:
                cases[name], whose[name] = case, one
            elif cases[name] != case:
                conflicts.append(_conflict(case, whose[name], one))
    return cases, conflicts


def _conflict(case: Case, first: Document, other: Document) -> str:
    ages = (f"{one.file} is complete until {one.series.complete_until.get(case.site) or '?'}" for one in (first, other))
    return f"{other.file}: {case.site}:{case.id} is not what it is in {first.file}; leave the older out ({', '.join(ages)})"


def _complete_until(documents: Iterable[Document]) -> dict[str, str | None]:
    """Of each site the earliest that a file says; None where one of them was never complete."""
    found: dict[str, str | None] = {}
    for one in documents:
        for site, until in one.series.complete_until.items():
            before = found.get(site, until)
            found[site] = None if before is None or until is None else min(before, until)
    return dict(sorted(found.items()))


def _word(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
