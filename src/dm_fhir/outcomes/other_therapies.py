"""What became of the other systemic drugs since the first exposure (R-OTHER, version 1): one answer for each drug.

Inputs: statements and orders of every systemic drug that the tables know, other than the study drug and glucocorticoids
(R-GC-COURSE); what is only given by infusion, without a statement or an order, has no documented regimen. Formula: the
regimen in force on the day of the first exposure against the one in force on the last documented day of follow-up.
Answers: `stopped` (in force then, and later over with an explicit stop: status stopped or completed, with an end; one that
merely runs out is unknown), `spaced` (both are given seven days or more apart, and the later interval is longer: an event
of its own, not a stop), `reduced`, `unchanged` and `increased` (mg a day; one and the same record is unchanged), `started`
(it surely began after the first exposure). Partial dates and what no record tells leave it unknown. A drug that was surely
over before the first exposure has no answer: it is earlier treatment. Immunoglobulin and intravenous immunoglobulin are
one drug. Thresholds: none but the seven days. Source: the clinical reference's section 5.1 and the two case series
("tapered or discontinued", "intervals were spaced"); all are this project's decisions. Nothing is configurable.
"""

from collections.abc import Iterable, Iterator, Sequence
from datetime import date, timedelta, tzinfo
from fractions import Fraction
from typing import NamedTuple
from zoneinfo import ZoneInfo

from dm_fhir.model.case import Case, Dosing, Input, Outcome, Therapy
from dm_fhir.model.dates import on_or_before
from dm_fhir.model.definitions import Definitions
from dm_fhir.model.exact import to_text
from dm_fhir.outcomes.dosing import LOCAL_DRUG, times_per_day
from dm_fhir.outcomes.exposure import Exposure, status_of
from dm_fhir.outcomes.follow_up import end_of_follow_up
from dm_fhir.outcomes.therapies import GLUCOCORTICOIDS, GROUPS, any_in_force, by_drug, in_force, is_order, study_drug

RULE, VERSION = "R-OTHER", "1"
LAST = "last"
SPACED_FROM_DAYS = 7
#: The drugs of the shipped table. A drug that a site's own table adds has an outcome of its name too.
DRUGS = (
    "abatacept", "adalimumab", "anifrolumab", "apremilast", "azathioprine", "baricitinib", "belimumab", "chloroquine", "ciclosporin",
    "corticotropin", "cyclophosphamide", "dapsone", "deucravacitinib", "etanercept", "filgotinib", "hydroxychloroquine",
    "immunoglobulin", "infliximab", "leflunomide", "lenalidomide", "mepacrine", "methotrexate", "mycophenolate",
    "rituximab", "ruxolitinib", "scig", "tacrolimus", "thalidomide", "tofacitinib", "upadacitinib",
)  # fmt: skip


class Change(NamedTuple):
    """What became of one drug; `answer` None with `reasons`. `before` and `after` are the records that show it."""

    answer: str | None
    before: tuple[Therapy, ...] = ()
    after: tuple[Therapy, ...] = ()
    reasons: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()
    verdicts: dict[str, str] | None = None


class Regimen(NamedTuple):
    """How a drug is taken on a day: mg a day, and days between two doses; None where that is not known, with `reasons`."""

    mg_per_day: Fraction | None
    interval_days: Fraction | None
    reasons: tuple[str, ...]


def variables(drugs: Iterable[str] = DRUGS) -> tuple[str, ...]:
    """What the outcomes of this rule are called, for drugs that a table knows; those that have none are passed over."""
    groups = (GROUPS.get(drug, drug) for drug in drugs if not drug.endswith(LOCAL_DRUG))
    return tuple(f"{drug}_change" for drug in dict.fromkeys(groups) if drug != "glucocorticoid")


def outcomes(case: Case, exposed: Exposure, definitions: Definitions) -> Iterator[Outcome]:
    """An answer for each other systemic drug that may have been taken since the first exposure; none without one."""
    first, end = exposed.first, end_of_follow_up(case, exposed)
    if first is None or first.day is None or end is None:
        return
    for drug, found in changes(case, first.day, end.day, definitions).items():
        yield Outcome(
            f"{drug}_change",
            RULE,
            VERSION,
            answer=found.answer,
            when=end.day.isoformat() if found.answer is not None else None,
            visit=LAST,
            reasons=found.reasons,
            flags=found.flags,
            inputs=(
                *_inputs("baseline", found.before, first.day, case),
                *_inputs("followup", found.after, end.day, case),
            ),
            verdicts=found.verdicts or {},
        )


def changes(case: Case, day_0: date, last: date, definitions: Definitions) -> dict[str, Change]:
    """What became of each drug between the two days, in order of the drugs' names.

    A drug to which the study gives a factor to prednisone is a glucocorticoid, and not among them.
    """
    zone = ZoneInfo(case.timezone)
    found = {}
    for drug, therapies in _by_drug(case, definitions).items():
        concerned = [one for one in therapies if _concerns(one, day_0, last, zone)]
        if concerned:
            found[drug] = change(concerned, day_0, last, zone)
    return {name: found[name] for name in sorted(found)} | _only_given(
        case, {*found, *definitions.prednisone_factors}, day_0, last
    )


def change(therapies: Sequence[Therapy], day_0: date, last: date, zone: tzinfo) -> Change:
    """What became of one drug by its records."""
    therapies = sorted(therapies, key=lambda one: one.source.reference)
    before = tuple(one for one in therapies if in_force(one, day_0, zone))
    after = tuple(one for one in therapies if in_force(one, last, zone))
    at_start, at_end = (any_in_force(therapies, day, zone) for day in (day_0, last))
    if at_start is None:
        return Change(None, before, after, ("baseline_missing", *_open(therapies, day_0, zone)))
    if not at_start:
        begun = tuple(one for one in therapies if on_or_before(_start(one), last, zone))
        if not begun:
            return Change(None, before, after, ("followup_missing", *_open(therapies, last, zone)))
        return Change("started", (), after or begun, flags=("not_in_force_at_end",) if at_end is False else ())
    if at_end is None:
        return Change(None, before, after, ("followup_missing", *_open(therapies, last, zone)))
    if not at_end:
        return _ended(before, [one for one in therapies if in_force(one, last, zone) is False])
    unclear = (*_open(therapies, day_0, zone), *_open(therapies, last, zone))
    if unclear:
        return Change(None, before, after, tuple(dict.fromkeys(unclear)))
    return _compared(before, after, day_0, last, zone)


def regimen(therapies: Iterable[Therapy], on: date, zone: tzinfo) -> Regimen:
    """How a drug is taken on a day by the records in force on it: by statements, else by orders. Local doses do not count."""
    every = list(therapies)
    kinds = [[one for one in every if is_order(one) is ordered] for ordered in (False, True)]
    found = [_regimen(some, on, zone) for some in kinds if some]
    known = (one for one in found if one.mg_per_day is not None)
    return next(known, found[0] if found else Regimen(None, None, ("dose_missing",)))


def _regimen(therapies: Iterable[Therapy], on: date, zone: tzinfo) -> Regimen:
    """The regimen by records of one kind. Those side by side that did not begin together may be a renewal or a dose on top."""
    therapies = list(therapies)
    if len({_start(one) for one in therapies}) > 1:
        return Regimen(None, None, (f"overlap_unclear:{therapies[0].medication.variable}",))
    dosings = [
        dosing
        for one in therapies
        for dosing in (one.dosings or (Dosing(reasons=("dose_missing",)),))
        if dosing.systemic is not False and _holds(dosing, on, zone)
    ]
    amounts = [one.mg_per_day for one in dosings]
    reasons = tuple(dict.fromkeys(reason for one in dosings if one.mg_per_day is None for reason in one.reasons))
    known = [amount for amount in amounts if amount is not None]
    total = sum(known, Fraction(0)) if known and len(known) == len(amounts) else None
    often = [times_per_day(one.timing)[0] for one in dosings]
    interval = 1 / often[0] if len(often) == 1 and often[0] else None
    return Regimen(total, interval, reasons or (() if known else ("dose_missing",)))


def _compared(before: tuple[Therapy, ...], after: tuple[Therapy, ...], day_0: date, last: date, zone: tzinfo) -> Change:
    then, now = regimen(before, day_0, zone), regimen(after, last, zone)
    intervals = then.interval_days, now.interval_days
    if intervals[0] is not None and intervals[1] is not None and min(intervals[0], intervals[1]) >= SPACED_FROM_DAYS:
        told = {"interval_days_baseline": to_text(intervals[0]), "interval_days": to_text(intervals[1])}
        if intervals[1] > intervals[0]:
            return Change("spaced", before, after, verdicts=told)
    if then.mg_per_day is not None and now.mg_per_day is not None:
        answer = "reduced" if now.mg_per_day < then.mg_per_day else "increased"
        return Change("unchanged" if now.mg_per_day == then.mg_per_day else answer, before, after)
    if before == after and not any(_has_bounds(dosing) for one in before for dosing in one.dosings):
        return Change("unchanged", before, after)
    return Change(None, before, after, tuple(dict.fromkeys((*then.reasons, *now.reasons))) or ("dose_missing",))


def _ended(before: tuple[Therapy, ...], over: Sequence[Therapy]) -> Change:
    """Over: stopped where every record that was in force says so, unknown where one merely ran out."""
    stopped = all(one.status in ("stopped", "completed") for one in before)
    later = tuple(one for one in over if one not in before)
    if stopped and all(one.status in ("stopped", "completed") for one in later):
        return Change("stopped", before, (*before, *later))
    return Change(None, before, (), ("stop_not_documented",))


def _by_drug(case: Case, definitions: Definitions) -> dict[str, list[Therapy]]:
    """The records of every other systemic drug; what treats one place only is none."""
    systemic = [one for one in case.therapies if not one.dosings or any(d.systemic is not False for d in one.dosings)]
    found = by_drug(systemic, study_drug(case))
    return {name: found[name] for name in found.keys() - {"glucocorticoid", *definitions.prednisone_factors}}


def _only_given(case: Case, stated: Iterable[str], day_0: date, last: date) -> dict[str, Change]:
    """Drugs that were given since the first exposure, and of which no record says how they are to be given."""
    zone = ZoneInfo(case.timezone)
    names = set()
    for one in case.other_administrations:
        variable = (one.medication.variable if one.medication else None) or ""
        when = one.when or (one.during.start if one.during else None)
        counts = status_of(one) in ("completed", "stopped") and on_or_before(when, last, zone)
        local = variable in GLUCOCORTICOIDS or variable.endswith(LOCAL_DRUG) or not variable
        if counts and not local and on_or_before(when, day_0, zone) is False:
            names.add(GROUPS.get(variable, variable))
    return {name: Change(None, reasons=("regimen_missing",)) for name in sorted(names.difference(stated))}


def _concerns(therapy: Therapy, day_0: date, last: date, zone: tzinfo) -> bool:
    """Whether it may have been in force between the two days."""
    end = therapy.period.end if therapy.period else None
    over = end is not None and on_or_before(end, day_0 - timedelta(days=1), zone) is True
    return not over and on_or_before(_start(therapy), last, zone) is not False


def _open(therapies: Iterable[Therapy], on: date, zone: tzinfo) -> list[str]:
    """Why it is not known whether records were in force on a day."""
    reasons = []
    for one in therapies:
        if in_force(one, on, zone) is None:
            begun, end = on_or_before(_start(one), on, zone), one.period.end if one.period else None
            missing = (
                "start_missing" if _start(one) is None else "end_missing" if begun and end is None else "partial_date"
            )
            reasons.append(f"{missing}:{one.medication.variable}")
    return list(dict.fromkeys(reasons))


def _holds(dosing: Dosing, on: date, zone: tzinfo) -> bool:
    """Whether an instruction holds on a day, by bounds of its own; one without any holds as long as its record."""
    bounds = dosing.timing.during if dosing.timing else None
    if bounds is None:
        return True
    begun = bounds.start is None or on_or_before(bounds.start, on, zone) is not False
    return begun and (bounds.end is None or on_or_before(bounds.end, on - timedelta(days=1), zone) is not True)


def _has_bounds(dosing: Dosing) -> bool:
    return dosing.timing is not None and dosing.timing.during is not None


def _start(therapy: Therapy) -> str | None:
    return therapy.period.start if therapy.period else None


def _inputs(role: str, therapies: Iterable[Therapy], on: date, case: Case) -> Iterator[Input]:
    """The records, and the mg a day of each where known."""
    for one in therapies:
        amount = regimen((one,), on, ZoneInfo(case.timezone)).mg_per_day
        yield Input(role, one.source, to_text(amount) if amount is not None else None)
