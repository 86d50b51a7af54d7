"""Glucocorticoids: what each record says of one drug, and what that is as prednisone (R-GC, version 1).

Inputs: statements, orders and administrations of a systemic glucocorticoid. Formula: mg of prednisone = mg of the drug x
factor, and mg a day = dose x times / period. Factors (mg equal to 5 mg of prednisone: prednisone and prednisolone 5,
methylprednisolone and triamcinolone 4, hydrocortisone 20, cortisone 25; dexamethasone 0.75, betamethasone 0.6,
deflazacort 6, where sources differ) are those of globalrph and formularyproductions, deflazacort's of public code;
`prednisone_factors` of the study stand over them, and they are never derived from WHO's DDDs. A systemic glucocorticoid
without a factor has no equivalent. Topical, nasal, inhaled, rectal and intra-articular ones do not count. Threshold:
250 mg or more of intravenous methylprednisolone on a day is a pulse. Intramuscular triamcinolone, methylprednisolone and
betamethasone are taken for depot injections, which have no daily dose. Source: the clinical reference's section 6.
"""

from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Sequence
from datetime import date, timedelta, tzinfo
from fractions import Fraction
from typing import NamedTuple, TypeVar
from zoneinfo import ZoneInfo

from dm_fhir.model.case import Administration, Case, Dosing, Identifier, Period, Source, Therapy, naming
from dm_fhir.model.dates import first_day, last_day, span
from dm_fhir.model.definitions import Definitions
from dm_fhir.outcomes.dosing import is_systemic
from dm_fhir.outcomes.exposure import status_of
from dm_fhir.outcomes.therapies import GLUCOCORTICOIDS, is_order, is_taken

RULE, VERSION = "R-GC", "1"
PULSE_MG = 250
FACTORS = {
    "prednisone": Fraction(1),
    "prednisolone": Fraction(1),
    "methylprednisolone": Fraction(5, 4),
    "triamcinolone": Fraction(5, 4),
    "hydrocortisone": Fraction(1, 4),
    "cortisone": Fraction(1, 5),
    "dexamethasone": Fraction(20, 3),
    "betamethasone": Fraction(25, 3),
    "deflazacort": Fraction(5, 6),
}
#: Of two kinds of record that tell of one drug on one day the first is believed.
ADMINISTRATION, STATEMENT, ORDER = range(3)
_PULSED, _DEPOTS = "methylprednisolone", ("triamcinolone", "methylprednisolone", "betamethasone")


class Said(NamedTuple):
    """What one record says of one drug from day to day.

    It surely holds from `sure_from` to `sure_to` and possibly from `may_from` to `may_to`; `date.min` and `date.max` mean
    that nothing bounds it. `mg_per_day` is mg of the drug itself, None where that is not known: see `reason`, which also
    says why its days are not sure. `factor` is None for a drug without one. `stopped` is whether its end is an explicit
    stop, `intravenous` the route.
    """

    drug: str
    kind: int
    may_from: date
    sure_from: date
    sure_to: date
    may_to: date
    mg_per_day: Fraction | None
    factor: Fraction | None
    reason: str | None
    stopped: bool
    intravenous: bool
    source: Source

    @property
    def may_pulse(self) -> bool:
        """Whether it counts towards a pulse."""
        return self.drug == _PULSED and self.intravenous

    def is_sure(self, on: date) -> bool:
        """Whether it surely holds on that day."""
        return self.sure_from <= on <= self.sure_to


class Without(NamedTuple):
    """A record of one of these drugs that is no daily dose, and why."""

    source: Source
    drug: str
    reason: str


class Records(NamedTuple):
    """The records of a case that tell of systemic glucocorticoids; depot injections and records without effect apart."""

    said: tuple[Said, ...]
    depots: tuple[Source, ...]
    left_out: tuple[Without, ...]
    flags: tuple[str, ...]


def factors(definitions: Definitions) -> dict[str, Fraction]:
    """mg of prednisone to one mg of each drug: the published ones, under those of the study."""
    return {**FACTORS, **definitions.prednisone_factors}


def records(case: Case, definitions: Definitions) -> Records:
    """Every record of a systemic glucocorticoid; `left_out` names the others of these drugs, with drug and reason."""
    zone, by_drug = ZoneInfo(case.timezone), factors(definitions)
    names = {*GLUCOCORTICOIDS, *by_drug}
    therapies = [one for one in case.therapies if _drug(one) in names]
    statements = _once((one for one in therapies if not is_order(one)), _content_of_therapy)
    ordered = {(one.source.reference, _drug(one)) for one in therapies if is_order(one) and is_taken(one)}
    carried_out = [one for one in therapies if is_order(one) and _is_part_of(one, ordered)]
    whole = (one for one in therapies if is_order(one) and not _is_part_of(one, ordered))
    orders = _once(whole, _content_of_therapy)
    given = _once((one for one in case.other_administrations if _drug(one) in names), _content_of_administration)
    found: list[Said | Without] = []
    for therapy in (*statements[0], *orders[0]):
        found += _of_therapy(therapy, by_drug.get(_drug(therapy)), zone)
    for administration in given[0]:
        found += _of_administration(administration, by_drug.get(_drug(administration)), zone)
    said = [one for one in found if isinstance(one, Said)]
    apart = [one for one in found if isinstance(one, Without)]
    copies: list[Therapy | Administration] = [*statements[1], *carried_out, *orders[1], *given[1]]
    return Records(
        said=tuple(_without_shared_days(said)),
        depots=tuple(one.source for one in apart if one.reason == "depot_injection"),
        left_out=(
            *(one for one in apart if one.reason != "depot_injection"),
            *(Without(one.source, _drug(one), "duplicate") for one in copies),
        ),
        flags=("duplicate_suspected",) if statements[2] or orders[2] or given[2] else (),
    )


def _of_therapy(therapy: Therapy, factor: Fraction | None, zone: tzinfo) -> Iterator[Said | Without]:
    drug = _drug(therapy)
    if _is_reversed(therapy.period, zone):
        yield Without(therapy.source, drug, "period_reversed")
    elif therapy.status == "not-taken":
        yield _said(therapy, None, Fraction(0), None, factor, zone)
    elif not is_taken(therapy):
        yield Without(therapy.source, drug, "status_excluded")
    elif therapy.status == "on-hold" or not therapy.dosings:
        reason = "status_excluded" if therapy.status == "on-hold" else "dose_missing"
        yield _said(therapy, None, None, f"{reason}:{drug}", factor, zone)
    else:
        for index, dosing in enumerate(therapy.dosings):
            source = therapy.source_of(index)
            apart = _apart(dosing.systemic, dosing.route.variable if dosing.route else None, drug)
            if apart is not None:
                yield Without(source, drug, apart)
            else:
                said = _said(therapy, dosing, dosing.mg_per_day, _no_dose(dosing, drug), factor, zone)
                yield said._replace(source=source)


def _of_administration(given: Administration, factor: Fraction | None, zone: tzinfo) -> Iterator[Said | Without]:
    """One administration is its day's dose. One that was not given is none; one whose status leaves it open is unknown."""
    drug, status = _drug(given), status_of(given)
    route = given.route.variable if given.route else None
    apart = _apart(is_systemic(given.route, given.medication) if given.medication else None, route, drug)
    when = given.when or (given.during.start if given.during else None)
    try:
        moment = span(when or "", zone)
    except ValueError:
        yield Without(given.source, drug, "time_unreadable" if when else "time_missing")
        return
    if apart is not None or status == "entered-in-error":
        yield Without(given.source, drug, apart or "entered_in_error")
        return
    amount = given.dose_mg if status in ("completed", "stopped") else Fraction(0) if status == "not-done" else None
    unknown = None if amount is not None else f"{'dose_unknown' if status in _GIVEN else 'status_excluded'}:{drug}"
    first, last = first_day(moment, zone), last_day(moment, zone)
    sure = (first, last) if first == last else (date.max, date.min)
    reason = unknown or (None if first == last else f"partial_date:{drug}")
    iv = route == "route_intravenous"
    yield Said(drug, ADMINISTRATION, first, *sure, last, amount, factor, reason, False, iv, given.source)


_GIVEN = ("completed", "stopped")


def _apart(systemic: bool | None, route: str | None, drug: str) -> str | None:
    """Why something of these drugs is no daily dose at all; None for what is one."""
    if systemic is False:
        return "route_not_systemic"
    return "depot_injection" if route == "route_intramuscular" and drug in _DEPOTS else None


def _no_dose(dosing: Dosing, drug: str) -> str | None:
    if dosing.mg_per_day is not None:
        return None
    reason = next(iter(dosing.reasons), "dose_missing")
    return reason if ":" in reason else f"{reason}:{drug}"


def _said(
    therapy: Therapy, dosing: Dosing | None, mg: Fraction | None, reason: str | None, factor: Fraction | None, zone: tzinfo
) -> Said:  # fmt: skip
    """A record's dose within the bounds of the dosing, else of the record."""
    whole, drug = therapy.period or Period(), _drug(therapy)
    own = (dosing.timing.during if dosing and dosing.timing else None) or Period()
    start, end = own.start or whole.start, own.end or whole.end
    may_from, sure_from = _bounds(start, zone) or (date.min, date.max)
    ends = _bounds(end, zone)
    # A statement that the drug is being taken, or is not, holds until it is changed. An order says nothing of the sort.
    goes_on = end is None and not is_order(therapy) and therapy.status in ("active", "not-taken")
    sure_to, may_to = ends or ((date.max, date.max) if goes_on else (date.min, date.max))
    bounds = "start_missing" if sure_from == date.max else "end_missing" if ends is None and not goes_on else None
    partial = "partial_date" if may_from != sure_from or sure_to != may_to else None
    unsure = f"{bounds or partial}:{drug}" if bounds or partial else None
    stopped = therapy.status in ("stopped", "completed") and ends is not None and end == whole.end
    return Said(
        drug=drug,
        kind=ORDER if is_order(therapy) else STATEMENT,
        may_from=may_from,
        sure_from=sure_from,
        sure_to=sure_to,
        may_to=may_to,
        mg_per_day=mg,
        factor=factor,
        reason=reason or unsure,
        stopped=stopped,
        intravenous=dosing is not None and dosing.route is not None and dosing.route.variable == "route_intravenous",
        source=therapy.source,
    )


def _bounds(text: str | None, zone: tzinfo) -> tuple[date, date] | None:
    """The first and the last day that a date may mean; None if it is absent or no date."""
    try:
        moment = span(text or "", zone)
    except ValueError:
        return None
    return first_day(moment, zone), last_day(moment, zone)


def _is_reversed(period: Period | None, zone: tzinfo) -> bool:
    start, end = (_bounds(text, zone) for text in (period.start, period.end)) if period else (None, None)
    return start is not None and end is not None and end[1] < start[0]


def _without_shared_days(said: Sequence[Said]) -> Iterator[Said]:
    """Where a record of a drug ends on the day on which the next of its kind begins, that day is the next one's."""
    begun = {(one.drug, one.kind, one.sure_from) for one in said if one.kind != ADMINISTRATION}
    for one in said:
        shared = one.sure_from < one.sure_to == one.may_to and (one.drug, one.kind, one.sure_to) in begun
        eve = one.sure_to - timedelta(days=1) if shared else one.sure_to
        yield one._replace(sure_to=eve, may_to=eve) if shared else one


Record = TypeVar("Record", Therapy, Administration)


def _once(found: Iterable[Record], content: Callable[[Record], Hashable]) -> tuple[list[Record], list[Record], bool]:
    """Each record once, the copies, and whether only their content told that they are copies.

    Of two that share an identifier the later update stands. Where one has none, equal content makes a copy.
    """
    kept: list[Record] = []
    copies: list[Record] = []
    names: set[Identifier] = set()
    contents: dict[Hashable, bool] = {}  # and whether one of those with this content has no identifier
    suspected = False
    in_order = sorted(found, key=lambda one: one.source.reference)
    for one in sorted(in_order, key=lambda one: one.source.last_updated or "", reverse=True):
        own, said = naming(one.identifiers), content(one)
        alike = said in contents and (not own or contents[said])
        if own & names or alike:
            suspected |= not own & names
            copies.append(one)
            continue
        kept.append(one)
        names |= own
        contents[said] = contents.get(said, False) or not own
    return kept, copies, suspected


def _is_part_of(order: Therapy, ordered: Collection[tuple[str, str]]) -> bool:
    """Whether an order carries out another one of the same drug, which says as much."""
    return any((one, _drug(order)) in ordered and one != order.source.reference for one in order.based_on)


def _content_of_therapy(one: Therapy) -> Hashable:
    return _drug(one), one.status, one.period, one.dosings


def _content_of_administration(one: Administration) -> Hashable:
    route = one.route.variable if one.route else None
    return _drug(one), status_of(one), one.when, one.during, one.dose_mg, route, one.part_of


def _drug(record: Therapy | Administration) -> str:
    return (record.medication.variable if record.medication else None) or ""
