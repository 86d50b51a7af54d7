"""Total Improvement Score: the 2016 ACR/EULAR response criteria for myositis, adults and juveniles (R-TIS, version 1).

Inputs: the six core set measures at baseline (R-BL) and at a visit (R-VISIT): see `core_set.py`. For juveniles each of strength,
enzyme and extramuscular activity may be CMAS, CHQ-PhS and DAS instead, where the first cannot be scored.
Formula: per measure 100 x change in the improving direction / range of the scale, in percent points of the scale, not
relative to baseline. The range is 10 cm, 3 for HAQ and CHAQ, 80, 150 or 260 for the MMT by its scale, 52 for CMAS, 20 for DAS,
and k x ULN for an enzyme: CK 15, transaminases and LDH 3 (a public implementation), aldolase 6 (not confirmed), for juveniles
as configured. Bands 5, 15, 25, 40 %; for strength 2, 10, 20, 30 %; open below, closed above. Worsening is 0 points.
Total: the sum, 0-100, and only of six of six. A bound such as "<20" counts where all that it may be lies in one band.
Categories, thresholds included: adults minimal 20, moderate 40, major 60; juveniles 30, 45, 70.
Reference: Table 3 of PMC5577002. Six of six is a choice of this project: the criteria as seen do
not say what to do about a missing measure, and nothing is imputed.
"""

from collections.abc import Mapping
from fractions import Fraction
from typing import NamedTuple

from dm_fhir.model.definitions import Definitions
from dm_fhir.outcomes import core_set
from dm_fhir.outcomes.ages import Population
from dm_fhir.outcomes.bounds import Bounds, minus, times
from dm_fhir.outcomes.core_set import CHQ, CMAS, DAS, ENZYME, EXTRAMUSCULAR, IMACS, STRENGTH, Compared, CoreSet, Measure

RULE, VERSION = "R-TIS", "1"
EDGES = tuple(map(Fraction, (5, 15, 25, 40)))
STRENGTH_EDGES = tuple(map(Fraction, (2, 10, 20, 30)))
#: Points of the five bands, by measure.
POINTS: dict[str, tuple[Fraction, ...]] = {
    "physician_global_vas": tuple(map(Fraction, ("0", "7.5", "15", "17.5", "20"))),
    "patient_global_vas": tuple(map(Fraction, ("0", "2.5", "5", "7.5", "10"))),
    "haq_di": tuple(map(Fraction, ("0", "5", "7.5", "7.5", "10"))),
    "mmt8": tuple(map(Fraction, ("0", "10", "20", "27.5", "32.5"))),
    "enzyme": tuple(map(Fraction, ("0", "2.5", "5", "7.5", "7.5"))),
    "extramuscular_vas": tuple(map(Fraction, ("0", "7.5", "12.5", "15", "20"))),
}
#: The least total of each category, the best first.
THRESHOLDS: Mapping[Population, tuple[tuple[str, int], ...]] = {
    "adult": (("major", 60), ("moderate", 40), ("minimal", 20)),
    "jdm": (("major", 70), ("moderate", 45), ("minimal", 30)),
}
CATEGORIES = ("no_improvement", "minimal", "moderate", "major")
#: What a juvenile may be followed by instead.
ALTERNATIVES = {STRENGTH: CMAS, ENZYME: CHQ, EXTRAMUSCULAR: DAS}
_STANDS_FOR = {other.name: measure.name for measure, other in ALTERNATIVES.items()}


class Scored(NamedTuple):
    """A measure with its points; or None with the reasons. `percent` is of the `range`, which is in the unit of the values.

    `uln` is the limit by which an enzyme's range was made, None for everything else. Where `in_multiples`, the range is a
    multiple of ULN itself, since the two results have different ones.
    """

    compared: Compared
    points: Fraction | None
    reasons: tuple[str, ...]
    percent: Bounds | None = None
    range: Fraction | None = None
    uln: Fraction | None = None
    in_multiples: bool = False


class _Range(NamedTuple):
    width: Fraction | None
    reasons: tuple[str, ...] = ()
    uln: Fraction | None = None
    followup_uln: Fraction | None = None
    in_multiples: bool = False


def edges(measure: str) -> tuple[Fraction, ...]:
    """The upper ends of the measure's bands but the last, in percent."""
    return STRENGTH_EDGES if _slot(measure) == STRENGTH.name else EDGES


def band(measure: str, percent: Fraction) -> int:
    """Which of the five bands, 0-4, an improvement in percent of the range falls into."""
    return sum(edge < percent for edge in edges(measure))


def points(measure: str, percent: Fraction) -> Fraction:
    """The points of a measure (one of `POINTS`, or a juvenile alternative) for an improvement in percent of its range."""
    return POINTS[_slot(measure)][band(measure, percent)]


def points_possible(measure: str, percent: Bounds) -> tuple[Fraction, Fraction]:
    """The fewest and the most points of an improvement that is only known within bounds."""
    low, high = bands_possible(measure, percent)
    return POINTS[_slot(measure)][low], POINTS[_slot(measure)][high]


def bands_possible(measure: str, percent: Bounds) -> tuple[int, int]:
    """The lowest and the highest band of an improvement that is only known within bounds."""
    passed = [edge for edge in edges(measure) if _is_passed(edge, percent)]
    reached = [edge for edge in edges(measure) if percent.high is None or edge < percent.high]
    return len(passed), len(reached)


def category(total: Fraction, population: Population) -> str:
    """The category of a total: one of `CATEGORIES`."""
    return next((name for name, least in THRESHOLDS[population] if total >= least), CATEGORIES[0])


def scored(core: CoreSet, visit: str | None, population: Population, definitions: Definitions) -> tuple[Scored, ...]:
    """The six measures of a visit with their points, in the order of the core set."""
    return tuple(_one_of_six(core, measure, visit, population, definitions) for measure in IMACS)


def score(core: CoreSet, one: Compared, population: Population, definitions: Definitions) -> Scored:
    """The points of one measure. Reasons besides its own: `uln_missing`, `uln_differs`, `range_not_configured`, `comparator`."""
    if one.reasons or one.start is None or one.seen is None:
        return Scored(one, None, one.reasons)
    scale = _range(core, one, population, definitions)
    if scale.width is None:
        return Scored(one, None, scale.reasons, uln=scale.uln)
    percent = times(_change(one, scale), 100 / scale.width)
    low, high = bands_possible(one.measure.name, percent)
    decided = POINTS[_slot(one.measure.name)][low] if low == high else None
    reasons = () if decided is not None else (f"comparator:{one.variable}",)
    return Scored(one, decided, reasons, percent, scale.width, scale.uln, scale.in_multiples)


def _one_of_six(
    core: CoreSet, measure: Measure, visit: str | None, population: Population, definitions: Definitions
) -> Scored:
    own = score(core, core_set.compared(core, measure, visit), population, definitions)
    other = ALTERNATIVES.get(measure) if population == "jdm" else None
    if own.points is not None or other is None:
        return own
    instead = score(core, core_set.compared(core, other, visit), population, definitions)
    # Where neither gives points, what was measured at all says what is lacking.
    return instead if instead.points is not None or (not _is_there(own) and _is_there(instead)) else own


def _is_there(one: Scored) -> bool:
    return one.compared.start is not None or one.compared.seen is not None


def _range(core: CoreSet, one: Compared, population: Population, definitions: Definitions) -> _Range:
    if one.measure == ENZYME:
        return _enzyme_range(core, one, population, definitions)
    width = definitions.chq_phs_range if one.measure == CHQ else core_set.SCALES[one.variable or ""].highest
    return _Range(width, () if width is not None else (f"range_not_configured:{one.variable}",))


def _enzyme_range(core: CoreSet, one: Compared, population: Population, definitions: Definitions) -> _Range:
    """k x ULN. Two different limits make two scales, unless the study follows multiples of them."""
    if one.start is None or one.seen is None:
        return _Range(None)
    ranges = definitions.enzyme_range_in_uln_juvenile if population == "jdm" else definitions.enzyme_range_in_uln
    multiple = ranges.get(one.variable or "")
    first, last = core_set.uln(core, one.start), core_set.uln(core, one.seen.assessment)
    reasons = () if multiple is not None else (f"range_not_configured:{one.variable}",)
    if multiple is None or first is None or last is None:
        missing = (f"uln_missing:{one.variable}",) if first is None or last is None else ()
        return _Range(None, (*missing, *reasons))
    if first == last:
        return _Range(multiple * first, (), first)
    if definitions.enzyme_change_in_uln:
        return _Range(multiple, (), first, last, in_multiples=True)
    return _Range(None, (f"uln_differs:{one.variable}",), first)


def _change(one: Compared, scale: _Range) -> Bounds:
    """How much better the follow-up is, by every possible value."""
    if one.ends is None:
        raise ValueError(f"{one.measure.name} has nothing to compare")
    first, last = one.ends
    if scale.in_multiples and scale.uln is not None and scale.followup_uln is not None:
        first, last = times(first, 1 / scale.uln), times(last, 1 / scale.followup_uln)
    return minus(first, last) if core_set.SCALES[one.variable or ""].higher_is_worse else minus(last, first)


def _is_passed(edge: Fraction, percent: Bounds) -> bool:
    """Whether every possible improvement lies above the edge."""
    return percent.low is not None and (edge < percent.low or (edge == percent.low and percent.low_open))


def _slot(measure: str) -> str:
    """The measure of the six whose points an alternative takes."""
    return _STANDS_FOR.get(measure, measure)
