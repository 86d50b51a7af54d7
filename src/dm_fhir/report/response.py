"""Sentences about what became of the patients: follow-up, and each score and lab value against its baseline."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from typing import NamedTuple

from dm_fhir.model.exact import rounded, shown
from dm_fhir.outcomes import cdasi, ck, dlqi, mmt8
from dm_fhir.outcomes.battery import INSTRUMENTS
from dm_fhir.outcomes.change import Instrument
from dm_fhir.outcomes.exposure import infusions_before
from dm_fhir.report.change import Change, last_assessed, last_change
from dm_fhir.report.cohort import Cohort, Patient
from dm_fhir.report.sentence import (
    EN_DASH,
    FEW,
    Sentence,
    lacking,
    mean_values,
    members,
    ranked,
    shown_counts,
    shown_mean,
)
from dm_fhir.report.words import condition_words
from dm_fhir.statistics.summaries import (
    MedianRange,
    mean_sd,
    median_range,
    of_evaluable,
)

DAYS_PER_MONTH = Fraction(304375, 10000)
#: Manifestations outside the skin whose end counts as improvement.
EXTRACUTANEOUS = (
    "arthritis",
    "synovitis",
    "dysphagia",
    "proximal_weakness",
    "muscle_weakness",
    "musculoskeletal_involvement",
)


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


def sentences_of_response(cohort: Cohort) -> Iterator[Sentence]:
    """Follow-up and change since baseline."""
    yield _follow_up(cohort)
    yield _infusions_before(cohort)
    for wording in WORDINGS:
        changes = [last_change(patient, wording.instrument) for patient in cohort.patients]
        yield _improved(wording, changes)
        yield _change(wording, changes)
    yield _extracutaneous(cohort)


def _follow_up(cohort: Cohort) -> Sentence:
    days = [(end - p.started.day).days for p in cohort.patients if p.started.day and (end := p.last_day)]
    mean = mean_sd(day / DAYS_PER_MONTH for day in days)
    text = f"Follow-up: {shown_mean(mean)} months (mean ± SD, n = {len(days)}), from the first infusion to the last "
    text += "documented infusion or accepted assessment, in days / 30.4375."
    text = text if mean else "The length of follow-up is not documented."
    missing = lacking({"with an unknown day of the first infusion": cohort.n - len(days)}, cohort.n)
    return Sentence("follow_up", text, mean_values(mean), missing)


def infusions_before_last_assessment(patient: Patient) -> int | None:
    """Completed infusions that started before the last follow-up assessment; None if there was none."""
    moment = patient.span(last_assessed(patient, INSTRUMENTS))
    return infusions_before(patient.exposed, moment) if moment else None


def _infusions_before(cohort: Cohort) -> Sentence:
    found = {p.case.id: n for p in cohort.patients if (n := infusions_before_last_assessment(p)) is not None}
    spread = median_range(found.values())
    missing = lacking({"without a follow-up assessment": cohort.n - len(found)}, cohort.n)
    if spread is None:
        return Sentence(
            "infusions_before_last_assessment", "No follow-up assessment is documented.", {"n": "0"}, missing
        )
    text = (
        f"Last assessed after a median (range) of {shown(spread.median)} ({_range(spread, shown)}) completed infusions"
    )
    groups = {n: [name for name, own in found.items() if own == n] for n in sorted(set(found.values()), reverse=True)}
    if len(found) <= FEW:
        text += f": {', '.join(f'after {n} in {members(names, len(found))}' for n, names in groups.items())}"
    values = {"n": str(len(found))} | {f"after_{n}": str(len(names)) for n, names in groups.items()}
    values |= {f"patients_after_{n}": ", ".join(names) for n, names in groups.items()}
    return Sentence("infusions_before_last_assessment", f"{text}.", values, missing)


def _improved(wording: Wording, changes: Sequence[Change]) -> Sentence:
    evaluable = [change.points for change in changes if change.points is not None]
    improved = sum(points > 0 for points in evaluable)
    lack = Counter(change.lack for change in changes if change.lack)
    text = f"{wording.name} {wording.improved} in {of_evaluable(improved, len(evaluable), len(changes), lack)}."
    text = text if evaluable else f"{wording.name} could not be compared with a baseline in any patient."
    values = shown_counts({"improved": improved}, len(evaluable))
    worse = sum(points < 0 for points in evaluable)
    return Sentence(f"{wording.id}_improved", text, values | {"worse": str(worse)}, lacking(lack, len(changes)))


def _change(wording: Wording, changes: Sequence[Change]) -> Sentence:
    """Scales are never mixed: MMT8 on 80 and on 150 points are two medians."""
    evaluable = [change for change in changes if change.points is not None]
    scales = ranked(change.scale for change in evaluable)
    parts = [_one_scale(wording, [c for c in evaluable if c.scale == scale], scale, len(scales)) for scale in scales]
    text = f"From baseline to the last follow-up: {'; '.join(part for part, _ in parts)}."
    text = text if parts else f"The change of {wording.name} is not computable: no patient has baseline and follow-up."
    values = {key: value for _, numbers in parts for key, value in numbers.items()}
    lack = Counter(change.lack for change in changes if change.lack)
    lack["with a baseline of 0, left out of the percentages"] = sum(change.percent is None for change in evaluable)
    return Sentence(f"{wording.id}_change", text, values, lacking(lack, len(changes)))


def _one_scale(wording: Wording, changes: Sequence[Change], scale: str, scales: int) -> tuple[str, dict[str, str]]:
    points = median_range(change.points for change in changes if change.points is not None)
    percent = median_range(change.percent for change in changes if change.percent is not None)
    if points is None:
        return "", {}
    middle = f"{shown(points.median)} {wording.unit}" + (f" or {rounded(percent.median, 1)} %" if percent else "")
    ranges = _range(points, shown) + (f"; {_range(percent, _percent)}" if percent else "")
    name = _scale_words(wording, scale)
    text = f"median (range) {name} {wording.better} of {middle} ({ranges}), n = {len(changes)}"
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


def _extracutaneous(cohort: Cohort) -> Sentence:
    measures = {patient.case.id: _measures(patient) for patient in cohort.patients}
    evaluable = {name: found for name, found in measures.items() if found}
    improved = [name for name, found in evaluable.items() if any(found.values())]
    counts = ranked(what for found in evaluable.values() for what, better in found.items() if better)
    text = f"Outside the skin at least one measure improved in {members(improved, len(evaluable))}"
    text += f": {', '.join(f'{what} {count}' for what, count in counts.items())}." if counts else "."
    text = text if evaluable else "Disease outside the skin is not documented at follow-up."
    missing = lacking({"without a measure outside the skin at baseline": cohort.n - len(evaluable)}, cohort.n)
    values = shown_counts({"improved": len(improved), **counts}, len(evaluable)) | {"patients": ", ".join(improved)}
    return Sentence("extracutaneous_improved", text, values, missing)


def _measures(patient: Patient) -> dict[str, bool]:
    """Each measure outside the skin that the patient had at baseline, and whether it was better afterwards."""
    found: dict[str, bool] = {}
    for instrument, words in ((mmt8.INSTRUMENT, "MMT8 higher"), (ck.INSTRUMENT, "CK lower")):
        points = last_change(patient, instrument).points
        if points is not None:
            found[words] = points > 0
    for one in patient.case.conditions:
        variable = one.concept.variable or ""
        if variable in EXTRACUTANEOUS and patient.by(one.onset, patient.first_day) is not False:
            words = f"{condition_words(variable)} resolved"
            found[words] = found.get(words, False) or patient.by(one.abatement, patient.first_day) is False
    return found
