"""How each number of the report is defined, in words, with the rule's name and version."""

from dm_fhir.model.definitions import Definitions
from dm_fhir.outcomes import (
    adverse_events,
    baseline,
    composites,
    discontinuation,
    exposure,
    follow_up,
    glucocorticoids,
    imacs,
    inactive,
    other_therapies,
    tis,
)
from dm_fhir.outcomes.ages import ADULT_YEARS, Population
from dm_fhir.outcomes.battery import DEFAULTS
from dm_fhir.outcomes.change import Instrument
from dm_fhir.outcomes.instruments import defined
from dm_fhir.outcomes.labels import label
from dm_fhir.outcomes.thresholds import STATUS
from dm_fhir.outcomes.verdicts import definitions_of
from dm_fhir.report.sentence import EN_DASH
from dm_fhir.statistics.drug_survival import CENSORING
from dm_fhir.statistics.signed_rank import MOST_EXACT


def definitions(chosen: Definitions = DEFAULTS) -> tuple[tuple[str, str], ...]:
    """Pairs of what is defined and how, with the definitions that the study chose."""
    return (*_RULES, *map(_instrument, defined(chosen)), *_criteria(), *_SENTENCES, *_STATISTICS)


def _instrument(one: Instrument) -> tuple[str, str]:
    """An instrument: which way is better, and every published definition that it is held against."""
    way = "baseline minus follow-up" if one.higher_is_worse else "follow-up minus baseline"
    said = [
        f"Improvement is {way}, so positive is better. Percent improvement is 100 x improvement / baseline; a baseline "
        "of 0 has none.",
        *([] if one.is_endpoint else ["It is followed and is no endpoint of the response."]),
        *(f"{found.id}: {found.words} ({found.source}; {STATUS[found.status]})." for found in definitions_of(one)),
    ]
    return f"{label(one.name)} ({one.rule}, version {one.rule_version})", " ".join(said)


def _criteria() -> tuple[tuple[str, str], ...]:
    thresholds = "; ".join(
        f"{whose} " + ", ".join(f"{name} {least}" for name, least in reversed(tis.THRESHOLDS[population]))
        for whose, population in _POPULATIONS
    )
    limits = ", ".join(f"{label(variable)} {limit.words}" for variable, limit in inactive.LIMITS.items())
    return (
        (
            f"{label('tis')} ({tis.RULE}, version {tis.VERSION})",
            "The sum of the points of six core set measures at a visit, each by its improvement in percent of the range of its "
            f"scale; none where one of the six is missing. Thresholds, included: {thresholds}.",
        ),
        *(
            (
                f"{label(rule.variable)} ({rule.id}, version {rule.version})",
                f"In percent of baseline: {'; '.join(imacs.CRITERIA[rule.id])}.",
            )
            for rule in composites.RULES
            if rule.id in imacs.CRITERIA
        ),
        (
            f"{label('jdm_inactive')} ({inactive.RULE}, version {inactive.VERSION})",
            f"At least {inactive.ENOUGH} of: {limits}. Decided where what is missing cannot change it.",
        ),
    )


_POPULATIONS: tuple[tuple[str, Population], ...] = (("adults", "adult"), ("juvenile dermatomyositis under 18", "jdm"))
_EARLIEST, _LATEST = exposure.SCHEDULED_INTERVAL_DAYS
_RULES = (
    (
        f"Infusion ({exposure.RULE}, version {exposure.VERSION})",
        "A completed administration. One that was broken off starts exposure and adds its dose, but is not counted; one "
        "that was not given is a missed dose; orders never count. Bags of one day are one infusion. "
        f"{_EARLIEST}{EN_DASH}{_LATEST} days since the one before are every four weeks.",
    ),
    (
        "Baseline (R-BL)",
        "The last usable value at or before the start of the first infusion, at most "
        f"{baseline.LOOK_BACK_DAYS} days back. Statuses used: {', '.join(baseline.ACCEPTED_STATUSES)}. Partial dates are "
        "never completed; values of equal rank that contradict each other are not used.",
    ),
    ("Last follow-up (R-VISIT)", "The last usable value after the start of the first infusion."),
    (
        "Rounding (R-ROUND)",
        "Everything is computed exactly and rounded once, half up, when shown: percentages of patients to whole numbers, "
        "other numbers to one decimal.",
    ),
    (
        "Summaries (R-COHORT)",
        "Percentages are of the patients who could be evaluated; the others are stated beside. SD is the sample SD. A "
        "median percentage is the median of the patients' percentages.",
    ),
)
_SENTENCES = (
    ("Patients", "Records with at least one infusion, without test patients and records replaced by another."),
    (
        "Age",
        "Completed years; an age that partial dates leave open is missing, not estimated. Adult onset is onset at "
        f"{ADULT_YEARS} years or later.",
    ),
    (
        "Subtype",
        "One per patient, the first of: antisynthetase syndrome, juvenile, amyopathic, classic. A code for adult "
        "dermatomyositis alone tells none of them.",
    ),
    ("Manifestations", "Conditions that did not surely begin after the day of the first infusion."),
    (
        "Antibodies",
        "Any accepted positive result. Anti-ARS is any of anti-Jo-1, anti-PL-7, anti-PL-12, anti-EJ, anti-OJ. "
        "Seronegative is at least one myositis-specific antibody tested and none positive. Anti-Ro52 is not specific.",
    ),
    (
        "Other treatments",
        "Earlier: surely begun before the day of the first infusion. Concomitant: begun by that day and not ended before "
        "it; a record without an end counts only while it is active. Systemic glucocorticoid: any of prednisone, "
        "prednisolone, methylprednisolone, deflazacort and the other systemic glucocorticoids.",
    ),
    (
        f"Follow-up ({follow_up.RULE}, version {follow_up.VERSION})",
        "From the first infusion to the last documented infusion or accepted assessment, at the latest to the death; a "
        "month is 30.4375 days.",
    ),
    (
        f"Glucocorticoids ({glucocorticoids.RULE}, version {glucocorticoids.VERSION})",
        "Systemic ones as prednisone. Baseline is the mean of the "
        f"{glucocorticoids.BASELINE_DAYS} days before the first infusion, only if all are documented. Discontinued is 0 mg, "
        f"documented on {glucocorticoids.ZERO_DAYS} consecutive days up to the end; tapered is less than at baseline. What is "
        "not documented is unknown, and who took none at baseline is not counted. Pulses and depot injections stand apart.",
    ),
    (
        f"Other treatment reduced or stopped ({other_therapies.RULE}, version {other_therapies.VERSION})",
        "In force at the first infusion and over at the end of follow-up by an explicit stop, or fewer mg a day. A longer "
        f"interval between doses at least {other_therapies.SPACED_FROM_DAYS} days apart is an event of its own.",
    ),
    (
        f"Discontinuation ({discontinuation.RULE}, version {discontinuation.VERSION})",
        "An adverse event that led to it, an order or statement that was stopped, or death. An active order or statement "
        "means that it was not; that nothing is documented means neither.",
    ),
    (
        "Outside the skin",
        "Better is: MMT8 higher or CK lower than at baseline by any amount; arthritis, synovitis, dysphagia, weakness or "
        "musculoskeletal involvement that was documented up to the first infusion, had not ended by then, and ended by the end of follow-up. A CK "
        "that was never raised counts too, and strength that was full at baseline cannot get better.",
    ),
    (
        f"Adverse events ({adverse_events.RULE}, version {adverse_events.VERSION})",
        "All recorded since the day of the first infusion, whether or not the drug caused them; copies count once.",
    ),
)
_STATISTICS = (
    (
        "Order of ages (R-AGE, version 1)",
        "A diagnosis must lie on or before the day of the first infusion, in each patient and in the mean; what is impossible is "
        "reported and nothing is repaired.",
    ),
    (
        "Paired test",
        "Wilcoxon signed-rank, two-sided; differences of 0 are left out, equal ones share their mean rank. Exact for up to "
        f"{MOST_EXACT} differences, above that the normal approximation with corrections for ties and continuity. One difference "
        "has no test.",
    ),
    (
        "Intervals",
        "95 %: of proportions exact (Clopper and Pearson), of rates exact (Poisson; Garwood, Ulm), of survival pointwise on the log-log "
        "scale.",
    ),
    ("Quartiles", "By linear interpolation between the ordered values (Hyndman and Fan, definition 7)."),
    ("Time on the drug", f"Kaplan-Meier. {CENSORING}"),
)
