"""Sentences about who the patients are: number, sex, ages, race."""

from collections.abc import Iterator

from dm_fhir.outcomes.ages import ADULT_YEARS
from dm_fhir.report.sentence import Counted, Sentence, lacking, mean_values, shown_mean
from dm_fhir.statistics import persons
from dm_fhir.statistics.ages import Ages, adult_onset, ages
from dm_fhir.statistics.cohort import Cohort, found_twice
from dm_fhir.statistics.small_cells import SmallCells
from dm_fhir.statistics.summaries import mean_sd


def sentences_of_persons(cohort: Cohort, drug: str, small: SmallCells) -> Iterator[Sentence]:
    """Who was analysed and who they are."""
    yield _analysed(cohort, drug, small)
    yield _sex(cohort, small)
    yield from _ages(cohort, drug, small)
    yield _adult_onset(cohort, small)
    yield _race(cohort, small)


def _analysed(cohort: Cohort, drug: str, small: SmallCells) -> Sentence:
    sites = len({patient.case.site for patient in cohort.patients})
    n = small.number(cohort.n)
    left_out = "; ".join(
        f"{small.number(len(ids))} left out, {why}" + ("" if small.below else f": {', '.join(ids)}")
        for why, ids in cohort.left_out.items()
    )
    text = f"{n} patient{'s' * (cohort.n != 1)} with at least one completed infusion of {drug} at {sites} "
    text += f"site{'s' * (sites != 1)} were analysed."
    return Sentence(
        "patients",
        " ".join([text, *_counted_twice(cohort, small)]),
        {"n": n, "sites": str(sites)} | {reason: small.number(len(ids)) for reason, ids in cohort.left_out.items()},
        left_out,
    )


def _counted_twice(cohort: Cohort, small: SmallCells) -> Iterator[str]:
    """Cases of one person are never merged, so whoever is in several is counted in each, and that is said."""
    twice = found_twice(patient.case for patient in cohort.patients)
    if twice:
        several = len(twice) != 1
        who = f"{small.number(len(twice))} person{'s have' if several else ' has'} several of these cases and "
        cases = "; ".join(" and ".join(names) for names in twice.values())
        named = "" if small.below else f": {cases}"
        count = cohort.n - sum(len(names) - 1 for names in twice.values())
        yield f"{who}{'are' if several else 'is'} counted in each, so these are {small.number(count)} persons{named}."


def _sex(cohort: Cohort, small: SmallCells) -> Sentence:
    tally = persons.sex(cohort)
    counted = Counted(tally.counts, tally.n, small, exclusive=True)
    text = f"Sex: {counted.listed()}." if tally.n else "Sex is not documented."
    return Sentence("sex", text, counted.values(), lacking(tally.lacking, cohort.n, small))


def _ages(cohort: Cohort, drug: str, small: SmallCells) -> Iterator[Sentence]:
    found = ages(cohort)
    for name, words, known in (
        ("age_at_first_infusion", f"at the first infusion of {drug}", found.at_start),
        ("age_at_diagnosis", "at onset of dermatomyositis", found.at_diagnosis),
    ):
        mean = mean_sd(known.values())
        missing = lacking({"without a certain age in years": cohort.n - len(known)}, cohort.n, small)
        years = shown_mean(mean, "years")
        years = f"not shown, of {small.number(len(known))} patients only" if small.hides(len(known)) else years
        yield Sentence(name, f"Age {words}: {years}.", mean_values(mean, small), missing)
    yield _order(cohort, found, small)


def _order(cohort: Cohort, found: Ages, small: SmallCells) -> Sentence:
    """Diagnosis must not be after the first infusion: checked per patient, and on the means if n is the same."""
    after, ok = found.violations, sum(order == "ok" for order in found.order.values())
    known = ok + len(after)
    text = f"Dermatomyositis began on or before the first infusion in {small.of(ok, known)}"
    named = f": {', '.join(after)}" if after and not small.below else ""
    text += f"; later in {small.number(len(after))}{named}."
    values = {
        "ok": str(small.instead(ok, known) or ok),
        "violation": small.number(len(after)),
        "n": small.number(known),
    }
    if found.finding == "impossible_if_same_patients":
        text += " The mean age at the first infusion is below the mean age at onset: impossible in the same patients."
        values["finding"] = found.finding
    missing = lacking({"where the dates do not tell": cohort.n - known}, cohort.n, small)
    return Sentence(
        "diagnosis_before_first_infusion", text if known else "Dates of onset are not documented.", values, missing
    )


def _adult_onset(cohort: Cohort, small: SmallCells) -> Sentence:
    tally = adult_onset(cohort)
    counted = small.of(tally.counts["adult_onset"], tally.n)
    text = f"Adult-onset dermatomyositis (onset at {ADULT_YEARS} years or later): {counted}."
    text = text if tally.n else "The age at onset is not documented."
    values = Counted(tally.counts, tally.n, small).values()
    return Sentence("adult_onset", text, values, lacking(tally.lacking, cohort.n, small))


def _race(cohort: Cohort, small: SmallCells) -> Sentence:
    tally = persons.race(cohort)
    counted = Counted(tally.counts, tally.n, small, exclusive=True)
    text = f"Race: {counted.listed()}." if tally.n else "Race is not documented."
    return Sentence("race", text, counted.values(), lacking(tally.lacking, cohort.n, small))
