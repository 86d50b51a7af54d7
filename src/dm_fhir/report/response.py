"""Sentences about what became of the patients: follow-up, and each score and lab value against its baseline."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from typing import NamedTuple

from dm_fhir.model.exact import rounded, shown
from dm_fhir.outcomes import cdasi, ck, dlqi, mmt8
from dm_fhir.outcomes.change import Instrument
from dm_fhir.report.change import lack_words
from dm_fhir.report.sentence import EN_DASH, FEW, Counted, Sentence, lacking, mean_values, shown_mean
from dm_fhir.report.words import condition_words
from dm_fhir.statistics.change import Change, last_change
from dm_fhir.statistics.cohort import Cohort
from dm_fhir.statistics.follow_up import DAYS_PER_MONTH, extracutaneous, followed, infusions_before_last_assessment
from dm_fhir.statistics.small_cells import SmallCells
from dm_fhir.statistics.summaries import MedianRange, mean_sd, median_range
from dm_fhir.statistics.tally import ranked


class Wording(NamedTuple):
    """How a paper names a score, its unit, and the direction in which patients get better."""

    instrument: Instrument
    id: str
    name: str
    unit: str
    improved: str
    better: str


WORDINGS = (
    Wording(cdasi.INSTRUMENT, "cdasi", "CDASI-A", "points", "improved", "reduction"),
    Wording(mmt8.INSTRUMENT, "mmt8", "MMT8", "points", "improved", "increase"),
    Wording(dlqi.INSTRUMENT, "dlqi", "DLQI", "points", "improved", "reduction"),
    Wording(ck.INSTRUMENT, "ck", "CK", "U/L", "decreased", "reduction"),
)
_OUTSIDE_THE_SKIN = {"mmt8": "MMT8 higher", "ck": "CK lower"}


def sentences_of_response(cohort: Cohort, small: SmallCells) -> Iterator[Sentence]:
    """Follow-up and change since baseline."""
    yield _follow_up(cohort, small)
    yield _infusions_before(cohort, small)
    for wording in WORDINGS:
        changes = [last_change(patient, wording.instrument) for patient in cohort.patients]
        yield _improved(wording, changes, small)
        yield _change(wording, changes, small)
    yield _extracutaneous(cohort, small)


def _follow_up(cohort: Cohort, small: SmallCells) -> Sentence:
    days = followed(cohort)
    mean = mean_sd(day / DAYS_PER_MONTH for day in days)
    hidden = f"not shown, of {small.number(len(days))} patients only"
    months = hidden if small.hides(len(days)) else shown_mean(mean, "months")
    text = f"Follow-up: {months}, from the first infusion to the last "
    text += "documented infusion or accepted assessment, in days / 30.4375."
    text = text if mean else "The length of follow-up is not documented."
    missing = lacking({"with an unknown day of the first infusion": cohort.n - len(days)}, cohort.n, small)
    return Sentence("follow_up", text, mean_values(mean, small), missing)


def _infusions_before(cohort: Cohort, small: SmallCells) -> Sentence:
    found = {p.name: n for p in cohort.patients if (n := infusions_before_last_assessment(p)) is not None}
    spread = median_range(found.values())
    missing = lacking({"without a follow-up assessment": cohort.n - len(found)}, cohort.n, small)
    if spread is None:
        return Sentence(
            "infusions_before_last_assessment", "No follow-up assessment is documented.", {"n": "0"}, missing
        )
    several = len(found) > 1
    middle = shown(spread.median) + (f" ({_range(spread, shown)})" if several else "")
    text = f"Last assessed after {'a median (range) of ' if several else ''}{_of_so_many(middle, len(found), small)} "
    text += f"completed infusion{'s' * (several or spread.median != 1)}"
    groups = {n: [name for name, own in found.items() if own == n] for n in sorted(set(found.values()), reverse=True)}
    counted = Counted({f"after_{n}": len(names) for n, names in groups.items()}, len(found), small, exclusive=True)
    hidden = counted.hidden
    values = {"n": small.number(len(found))} | {key: hidden.get(key, str(n)) for key, n in counted.counts.items()}
    if not small.below:
        if len(found) <= FEW:
            text += (
                f": {', '.join(f'after {n} in {_members(names, len(found), small)}' for n, names in groups.items())}"
            )
        values |= {f"patients_after_{n}": ", ".join(names) for n, names in groups.items()}
    return Sentence("infusions_before_last_assessment", f"{text}.", values, missing)


def _members(names: Sequence[str], n: int, small: SmallCells) -> str:
    """How many; and who, where there are few enough for a reader to look them up and no count is hidden."""
    named = names and n <= FEW and not small.below
    return small.of(len(names), n) + (f" [{', '.join(names)}]" if named else "")


def _of_so_many(text: str, n: int, small: SmallCells) -> str:
    """The text, unless it speaks of too few patients."""
    return f"(not shown, of {small.number(n)} patients only)" if small.hides(n) else text


def _improved(wording: Wording, changes: Sequence[Change], small: SmallCells) -> Sentence:
    evaluable = [change.points for change in changes if change.points is not None]
    improved = sum(points > 0 for points in evaluable)
    lack = _lacks(changes)
    counted = small.of_evaluable(improved, len(evaluable), len(changes), lack)
    text = f"{wording.name} {wording.improved} in {counted}."
    text = text if evaluable else f"{wording.name} could not be compared with a baseline in any patient."
    worse = sum(points < 0 for points in evaluable)
    values = Counted({"improved": improved}, len(evaluable), small).values()
    values["worse"] = small.instead(worse, len(evaluable)) or str(worse)
    return Sentence(f"{wording.id}_improved", text, values, lacking(lack, len(changes), small))


def _lacks(changes: Sequence[Change]) -> Counter[str]:
    return Counter(lack_words(change.lack) for change in changes if change.lack)


def _change(wording: Wording, changes: Sequence[Change], small: SmallCells) -> Sentence:
    """Scales are never mixed: MMT8 on 80 and on 150 points are two medians."""
    evaluable = [change for change in changes if change.points is not None]
    scales = ranked(change.scale for change in evaluable)
    parts = [
        _one_scale(wording, [c for c in evaluable if c.scale == scale], scale, len(scales), small) for scale in scales
    ]
    text = f"From baseline to the last follow-up: {'; '.join(part for part, _ in parts)}."
    text = text if parts else f"The change of {wording.name} is not computable: no patient has baseline and follow-up."
    values = {key: value for _, numbers in parts for key, value in numbers.items()}
    lack = _lacks(changes)
    lack["with a baseline of 0, left out of the percentages"] = sum(change.percent is None for change in evaluable)
    return Sentence(f"{wording.id}_change", text, values, lacking(lack, len(changes), small))


def _one_scale(
    wording: Wording, changes: Sequence[Change], scale: str, scales: int, small: SmallCells
) -> tuple[str, dict[str, str]]:
    points = median_range(change.points for change in changes if change.points is not None)
    percent = median_range(change.percent for change in changes if change.percent is not None)
    name = _scale_words(wording, scale)
    if points is None or small.hides(len(changes)):
        return f"{name} {_of_so_many('', len(changes), small)}", {"n": small.number(len(changes))}
    unit = "point" if wording.unit == "points" and points.median == 1 else wording.unit
    middle = f"{shown(points.median)} {unit}" + (f" or {rounded(percent.median, 1)} %" if percent else "")
    ranges = _range(points, shown) + (f"; {_range(percent, _percent)}" if percent else "")
    text = f"median (range) {name} {wording.better} of {middle} ({ranges}), n = {len(changes)}"
    if len(changes) == 1:
        text = f"{name} {wording.better} of {middle}, n = 1"
    text += "; a minus is worse" if points.median < 0 else ""
    numbers = {"n": str(len(changes)), **_numbers("points", points, shown)}
    numbers |= _numbers("percent", percent, lambda value: f"{rounded(value, 1)}") if percent else {}
    return text, numbers if scales == 1 else {f"{scale}:{key}": value for key, value in numbers.items()}


def _scale_words(wording: Wording, scale: str) -> str:
    """The score's name with its scale, where it has one."""
    highest = scale.rpartition("_")[2]
    return f"{wording.name} (0{EN_DASH}{highest})" if highest.isdigit() else wording.name


def _percent(value: Fraction) -> str:
    return f"{rounded(value, 1)} %"


def _range(spread: MedianRange, show: Callable[[Fraction], str]) -> str:
    """Lowest and highest; a dash between them only where no minus sign could be taken for it."""
    between = EN_DASH if spread.low >= 0 else " to "
    return f"{show(spread.low)}{between}{show(spread.high)}"


def _numbers(name: str, spread: MedianRange, show: Callable[[Fraction], str]) -> dict[str, str]:
    return {f"{name}_{part}": show(value) for part, value in zip(("median", "low", "high"), spread, strict=True)}


def _extracutaneous(cohort: Cohort, small: SmallCells) -> Sentence:
    evaluable = {patient.name: found for patient in cohort.patients if (found := extracutaneous(patient))}
    improved = [name for name, found in evaluable.items() if any(found.values())]
    counts = ranked(_outside(what) for found in evaluable.values() for what, better in found.items() if better)
    text = (
        f"Outside the skin at least one measure improved, by any amount, in {_members(improved, len(evaluable), small)}"
    )
    text += f": {Counted(counts, len(evaluable), small).named()}." if counts else "."
    text = text if evaluable else "Disease outside the skin is not documented at follow-up."
    lack = {"without a measure outside the skin at baseline": cohort.n - len(evaluable)}
    values = Counted({"improved": len(improved), **counts}, len(evaluable), small).values()
    values |= {} if small.below else {"patients": ", ".join(improved)}
    return Sentence("extracutaneous_improved", text, values, lacking(lack, cohort.n, small))


def _outside(measure: str) -> str:
    return _OUTSIDE_THE_SKIN.get(measure) or f"{condition_words(measure)} resolved"
