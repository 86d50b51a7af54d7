"""What a value and a change come to by each published definition of their instrument, and the definitions in words."""

from collections.abc import Iterator
from fractions import Fraction
from typing import NamedTuple

from dm_fhir.model.case import Outcome, Result
from dm_fhir.model.definitions import Definitions
from dm_fhir.outcomes.change import Instrument
from dm_fhir.outcomes.enzymes import normalised, upper_limit
from dm_fhir.outcomes.instruments import defined, whose
from dm_fhir.outcomes.thresholds import Interval, Status, possible

Verdicts = dict[str, str]


class Definition(NamedTuple):
    """A published definition in words. `parts` are the outcomes of the instrument that have a verdict by it."""

    id: str
    parts: tuple[str, ...]
    words: str
    source: str
    status: Status


class Told(NamedTuple):
    """A definition, and what an outcome comes to by it; None where that is not decided."""

    definition: Definition
    verdict: str | None


def by_bands(instrument: Instrument, result: Result, variable: str, definitions: Definitions) -> Verdicts:
    """The bands that a value lies in. One that is only a bound lies in a band that holds all it may mean."""
    if result.number is None:
        return {}
    values = {"value": possible(result.number, result.bound), "x_uln": in_uln(result, variable, definitions)}
    found = {one.id: one.verdict(among) for one in instrument.bands if (among := values[one.of]) is not None}
    return _decided(found)


def by_thresholds(instrument: Instrument, of: str, improvement: Fraction) -> Verdicts:
    """Which changes that matter an improvement reaches; `of` is "points" or "percent"."""
    return _decided({one.id: one.verdict(improvement) for one in instrument.thresholds if one.of == of})


def by_limit(instrument: Instrument, variable: str, first: Result, last: Result, definitions: Definitions) -> Verdicts:
    """Whether a raised enzyme is normal again, each result held against its own upper limit."""
    limits = [in_uln(one, variable, definitions) for one in (first, last)] if instrument.in_uln else [None]
    if None in limits:
        return {}
    before, after = (one for one in limits if one is not None)
    return _decided({f"{variable}_normalised": normalised(before, after)})


def in_uln(result: Result, variable: str, definitions: Definitions) -> Interval | None:
    """The multiples of its upper limit of normal that an enzyme's result may mean; None without value or limit."""
    limit = upper_limit(result, variable, definitions)
    if result.number is None or limit is None:
        return None
    return possible(result.number, result.bound).divided_by(limit)


def definitions_of(instrument: Instrument) -> Iterator[Definition]:
    """Every published definition that the instrument's outcomes are held against."""
    for threshold in instrument.thresholds:
        part = "improvement" if threshold.of == "points" else "percent_improvement"
        yield Definition(threshold.id, (part,), threshold.words(instrument.unit), threshold.source, threshold.status)
    for bands in instrument.bands:
        yield Definition(bands.id, ("baseline", "improvement"), bands.words, bands.source, bands.status)
    if instrument.in_uln:
        words = "above its upper limit of normal at baseline, not above its own at follow-up"
        yield Definition(f"{instrument.name}_normalised", ("improvement",), words, "dm-fhir", "D")


def told_of(outcome: Outcome, definitions: Definitions) -> tuple[Told, ...]:
    """The definitions that an outcome of an instrument is held against; none where there is nothing to hold against them."""
    found = whose(outcome.variable)
    if found is None or (outcome.number is None and not outcome.verdicts):
        return ()
    instrument = next(one for one in defined(definitions) if one.name == found[0].name)
    applied = (one for one in definitions_of(instrument) if found[2] in one.parts)
    return tuple(Told(one, outcome.verdicts.get(one.id)) for one in applied)


def _decided(found: dict[str, str | None]) -> Verdicts:
    return {name: verdict for name, verdict in found.items() if verdict is not None}
