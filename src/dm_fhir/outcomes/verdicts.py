"""What a value and a change come to by each published definition of their instrument, and the definitions in words."""

from collections.abc import Iterator
from fractions import Fraction
from typing import NamedTuple

from dm_fhir.model.case import Outcome, Result
from dm_fhir.model.definitions import Definitions
from dm_fhir.outcomes.change import Instrument
from dm_fhir.outcomes.enzymes import normalised, upper_limit
from dm_fhir.outcomes.instruments import defined, whose
from dm_fhir.outcomes.thresholds import Interval, Status

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


def by_bands(instrument: Instrument, values: Interval, multiples: Interval | None) -> Verdicts:
    """The bands that a value lies in: all the values that it may mean, and these in multiples of the upper limit of normal."""
    among = {"value": values, "x_uln": multiples}
    return _decided({one.id: one.verdict(held) for one in instrument.bands if (held := among[one.of]) is not None})


def by_thresholds(instrument: Instrument, of: str, improvement: Fraction) -> Verdicts:
    """Which changes that matter an improvement reaches; `of` is "points" or "percent"."""
    return _decided({one.id: one.verdict(improvement) for one in instrument.thresholds if one.of == of})


def by_limit(variable: str, first: Interval | None, last: Interval | None) -> Verdicts:
    """Whether a raised enzyme is normal again; both are in multiples of the limit of their own result."""
    if first is None or last is None:
        return {}
    return _decided({f"{variable}_normalised": normalised(first, last)})


def multiples(values: Interval, result: Result, instrument: Instrument, definitions: Definitions) -> Interval | None:
    """The values of an enzyme's result in multiples of its upper limit of normal; None without a limit, or of no enzyme."""
    limit = upper_limit(result, instrument.name, definitions) if instrument.in_uln else None
    return values.divided_by(limit) if limit is not None else None


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
