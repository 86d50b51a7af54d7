"""Sentences about who the patients are: number, sex, ages, race."""

from collections.abc import Iterator

from dm_fhir.model.case import Case, Coding, Condition
from dm_fhir.model.dates import completed_years, last_day
from dm_fhir.outcomes.battery import exposure_of
from dm_fhir.report.cohort import Cohort, Patient, found_twice
from dm_fhir.report.disease import DIAGNOSES
from dm_fhir.report.sentence import (
    Sentence,
    lacking,
    listed,
    mean_values,
    ranked,
    shown_counts,
    shown_mean,
)
from dm_fhir.statistics.summaries import count_of_n, mean_sd

ADULT_YEARS = 18


def sentences_of_persons(cohort: Cohort, drug: str) -> Iterator[Sentence]:
    """Who was analysed and who they are."""
    yield _analysed(cohort, drug)
    yield _sex(cohort)
    yield from _ages(cohort, drug)
    yield _adult_onset(cohort)
    yield _race(cohort)


def age_at_first_infusion(patient: Patient) -> int | None:
    """Completed years; None where the dates leave more than one possible age, or none is known."""
    return _certain(_age_at_start(patient))


def ages_of(case: Case) -> dict[str, tuple[int, int]]:
    """The least and the greatest age at the `first_infusion` and at `onset`, as far as known; none without an infusion."""
    exposed = exposure_of(case)
    if not exposed.infusions:
        return {}
    patient = Patient(case, exposed)
    ages = {"first_infusion": _age_at_start(patient), "onset": _onset_age(patient)}
    return {name: age for name, age in ages.items() if age is not None}


def _analysed(cohort: Cohort, drug: str) -> Sentence:
    sites = len({patient.case.site for patient in cohort.patients})
    counted = f"{cohort.n} patient{'s' * (cohort.n != 1)}"
    left_out = "; ".join(f"{len(ids)} left out, {why}: {', '.join(ids)}" for why, ids in cohort.left_out.items())
    text = (
        f"{counted} with at least one completed infusion of {drug} at {sites} site{'s' * (sites != 1)} were analysed."
    )
    return Sentence(
        "patients",
        " ".join([text, *_counted_twice(cohort)]),
        {"n": str(cohort.n), "sites": str(sites)} | {reason: str(len(ids)) for reason, ids in cohort.left_out.items()},
        left_out,
    )


def _counted_twice(cohort: Cohort) -> Iterator[str]:
    """Cases of one person are never merged, so whoever is in several is counted in each, and that is said."""
    twice = found_twice(patient.case for patient in cohort.patients)
    if twice:
        who = (
            "1 person has several of these cases and is"
            if len(twice) == 1
            else f"{len(twice)} persons have several of these cases and are"
        )
        cases = "; ".join(" and ".join(names) for names in twice.values())
        persons = cohort.n - sum(len(names) - 1 for names in twice.values())
        yield f"{who} counted in each, so these are {persons} persons: {cases}."


def _sex(cohort: Cohort) -> Sentence:
    known = [
        subject.sex for p in cohort.patients if (subject := p.case.subject) and subject.sex not in (None, "unknown")
    ]
    counts = {"female": 0} | ranked(sex for sex in known if sex) if known else {}
    text = f"Sex: {listed(counts, len(known))}." if known else "Sex is not documented."
    missing = lacking({"without a documented sex": cohort.n - len(known)}, cohort.n)
    return Sentence("sex", text, shown_counts(counts, len(known)), missing)


def _ages(cohort: Cohort, drug: str) -> Iterator[Sentence]:
    starts = {p.case.id: age for p in cohort.patients if (age := age_at_first_infusion(p)) is not None}
    onsets = {p.case.id: age for p in cohort.patients if (age := _certain(_onset_age(p))) is not None}
    for name, words, ages in (
        ("age_at_first_infusion", f"at the first infusion of {drug}", starts),
        ("age_at_diagnosis", "at onset of dermatomyositis", onsets),
    ):
        mean = mean_sd(ages.values())
        missing = lacking({"without a certain age in years": cohort.n - len(ages)}, cohort.n)
        years = f"{shown_mean(mean)} years (mean ± SD, n = {len(ages)})" if mean else "not documented"
        yield Sentence(name, f"Age {words}: {years}.", mean_values(mean), missing)
    yield _order(cohort, starts, onsets)


def _order(cohort: Cohort, starts: dict[str, int], onsets: dict[str, int]) -> Sentence:
    """Diagnosis must not be after the first infusion: checked per patient, and on the means if n is the same."""
    verdicts = {patient.case.id: _onset_by_start(patient) for patient in cohort.patients}
    known = [verdict for verdict in verdicts.values() if verdict is not None]
    after = [name for name, verdict in verdicts.items() if verdict is False]
    text = f"Dermatomyositis began on or before the first infusion in {count_of_n(sum(known), len(known))}"
    text += f"; later in {len(after)}: {', '.join(after)}." if after else f"; later in {len(after)}."
    if starts.keys() == onsets.keys() and sum(starts.values()) < sum(onsets.values()):
        text += " The mean age at the first infusion is below the mean age at onset: impossible in the same patients."
    missing = lacking({"where the dates do not tell": cohort.n - len(known)}, cohort.n)
    values = {"ok": str(sum(known)), "violation": str(len(after)), "n": str(len(known))}
    return Sentence(
        "diagnosis_before_first_infusion", text if known else "Dates of onset are not documented.", values, missing
    )


def _adult_onset(cohort: Cohort) -> Sentence:
    ages = [_onset_age(patient) for patient in cohort.patients]
    adult = sum(1 for age in ages if age and age[0] >= ADULT_YEARS)
    known = adult + sum(1 for age in ages if age and age[1] < ADULT_YEARS)
    text = f"Adult-onset dermatomyositis (onset at {ADULT_YEARS} years or later): {count_of_n(adult, known)}."
    missing = lacking({"with an unknown age at onset": cohort.n - known}, cohort.n)
    text = text if known else "The age at onset is not documented."
    return Sentence("adult_onset", text, shown_counts({"adult_onset": adult}, known), missing)


def _race(cohort: Cohort) -> Sentence:
    displays: dict[tuple[str | None, str | None], str] = {}
    subjects = [p.case.subject for p in cohort.patients if p.case.subject]
    recorded = [subject.races or subject.race_details for subject in subjects]
    races = [_named(codings, displays) for codings in recorded if codings]
    counts = ranked(races)
    text = f"Race: {listed(counts, len(races))}." if races else "Race is not documented."
    missing = lacking({"without a documented race": cohort.n - len(races)}, cohort.n)
    return Sentence("race", text, shown_counts(counts, len(races)), missing)


#: The categories of the US Office of Management and Budget, for codes that came without their display.
_RACES = {
    "1002-5": "American Indian or Alaska Native",
    "2028-9": "Asian",
    "2054-5": "Black or African American",
    "2076-8": "Native Hawaiian or Other Pacific Islander",
    "2106-3": "White",
}


def _named(races: tuple[Coding, ...], displays: dict[tuple[str | None, str | None], str]) -> str:
    """The races of one person by their first display; sites may write the same code in different words."""
    return " + ".join(
        displays.setdefault((race.system, race.code), race.display or _RACES.get(race.code or "?", race.code or "?"))
        for race in races
    )


def _onset_age(patient: Patient) -> tuple[int, int] | None:
    """The least and the greatest age at the earliest dated onset of a diagnosis; else the age that a record states."""
    onset, subject = _onset(patient), patient.case.subject
    if subject and "onset" in subject.ages:
        return subject.ages["onset"]
    by_dates = _age(patient, subject.birth_date if subject else None, onset.onset) if onset else None
    if by_dates is not None:
        return by_dates
    stated = [age for one in patient.case.conditions if one.concept.variable in DIAGNOSES and (age := _stated_age(one))]
    return min(stated, default=None)


def _age_at_start(patient: Patient) -> tuple[int, int] | None:
    subject = patient.case.subject
    if subject and "first_infusion" in subject.ages:
        return subject.ages["first_infusion"]
    return _age(patient, subject.birth_date if subject else None, patient.started.start)


def _stated_age(condition: Condition) -> tuple[int, int] | None:
    """The age at onset as the record states it, in completed years; None without one, or in another unit."""
    ages = condition.onset_ages
    low, high = (ages.low, ages.high) if ages else (condition.onset_age, condition.onset_age)
    if not low or not high or not {low.code or low.unit, high.code or high.unit} <= _YEARS:
        return None
    if low.value is None or high.value is None or low.comparator or high.comparator:
        return None
    return int(low.value), int(high.value)


_YEARS = {"a", "year", "years"}


def _onset(patient: Patient) -> Condition | None:
    dated = [
        (moment.start, one)
        for one in patient.case.conditions
        if one.concept.variable in DIAGNOSES and (moment := patient.span(one.onset)) is not None
    ]
    return min(dated, key=lambda pair: pair[0])[1] if dated else None


def _onset_by_start(patient: Patient) -> bool | None:
    onset = _onset(patient)
    return patient.by(onset.onset, last_day(patient.started.span, patient.zone)) if onset else None


def _age(patient: Patient, birth: str | None, when: str | None) -> tuple[int, int] | None:
    if patient.span(birth) is None or patient.span(when) is None or not birth or not when:
        return None
    return completed_years(birth, when, patient.zone)


def _certain(age: tuple[int, int] | None) -> int | None:
    return age[0] if age and age[0] == age[1] else None
