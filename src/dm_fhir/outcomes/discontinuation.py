"""Whether the study drug was discontinued, and why (R-STOP, version 1).

Inputs: orders and statements of the study drug, adverse events, the death, administrations that were not done or broken
off. Formula, the first that holds: an adverse event that led to withdrawing the drug or leaving the study, not followed by
an infusion; an order or statement with the status `stopped`, while none is active and no infusion came after its end; the
death; an active order or statement, which means no. Else unknown: that nothing is documented is never "no", and an
infusion that was missed is no discontinuation. Reason: the `statusReason` of what was stopped, else that of the last
administration that was not done or was broken off, if none followed. Codes of allergy and intolerance are adverse events.
No threshold. Source: the clinical reference's section 5 and the second case series, which tells apart adverse events and
loss to follow-up; a project decision. Nothing is configurable.
"""

from collections.abc import Iterable, Iterator, Sequence
from datetime import tzinfo
from typing import NamedTuple
from zoneinfo import ZoneInfo

from msgspec.structs import replace

from dm_fhir.model.case import Administration, AdverseEvent, Case, Concept, Input, Outcome, Source, Therapy
from dm_fhir.model.dates import span
from dm_fhir.outcomes.exposure import Exposure, status_of
from dm_fhir.outcomes.follow_up import end_of_follow_up
from dm_fhir.outcomes.therapies import is_taken, study_drug

RULE, VERSION = "R-STOP", "1"
#: Where reasons without a standard code have theirs.
OWN_SYSTEM = "https://w3id.org/dm-fhir/CodeSystem/measurement"
_HL7_REASON = "http://terminology.hl7.org/CodeSystem/medicationrequest-status-reason"
#: Coded reasons that a paper tells apart; any other is "other".
REASONS = {
    (OWN_SYSTEM, "lost-to-follow-up"): "lost_to_follow_up",
    (OWN_SYSTEM, "adverse-event"): "adverse_event",
    (_HL7_REASON, "salg"): "adverse_event",
    (_HL7_REASON, "sintol"): "adverse_event",
}


class Discontinuation(NamedTuple):
    """Whether the drug was discontinued, None if no record tells.

    `reason` is one of `REASONS`, "death" or "other", None where it is not documented; `recorded` is it in the record's own
    codes and words. `evidence` are the records that show the one, `told_by` those that tell the other.
    """

    stopped: bool | None
    reason: str | None = None
    recorded: Concept | None = None
    evidence: tuple[Source, ...] = ()
    told_by: tuple[Source, ...] = ()


def discontinuation(case: Case, exposed: Exposure) -> Discontinuation:
    """Whether and why the study drug was discontinued, by the first rule that holds."""
    zone = ZoneInfo(case.timezone)
    drug = study_drug(case)
    records = sorted(
        (one for one in case.therapies if drug is not None and one.medication.variable == drug and is_taken(one)),
        key=lambda one: one.source.reference,
    )
    harmful = [one for one in case.adverse_events if _led_to_stop(one, drug, exposed, zone)]
    active = tuple(one.source for one in records if one.status == "active")
    stopped = [one for one in records if one.status == "stopped" and not _given_after(exposed, _end(one), zone)]
    if exposed.first is None:
        return Discontinuation(None)
    if harmful:
        places = tuple(sorted((one.source for one in harmful), key=lambda one: one.place))
        return Discontinuation(True, "adverse_event", None, places, places)
    if stopped and not active:
        return _stopped(stopped, case.administrations, zone)
    if case.subject is not None and (case.subject.deceased or case.subject.deceased_at is not None):
        place = (case.subject.source,)
        return Discontinuation(True, "death", None, place, place)
    return Discontinuation(False if active else None, evidence=active)


def variables() -> tuple[str, ...]:
    """What the outcomes of this rule are called."""
    return ("discontinued", "discontinuation_reason")


def outcomes(case: Case, exposed: Exposure) -> Iterator[Outcome]:
    """`discontinued` yes or no, and why; None with `no_exposure`, `stop_not_documented`, `not_discontinued`, `reason_missing`."""
    found = discontinuation(case, exposed)
    answer = {True: "yes", False: "no", None: None}[found.stopped]
    unknown = () if answer else ("no_exposure",) if exposed.first is None else ("stop_not_documented",)
    why_none = unknown or (("not_discontinued",) if answer == "no" else ("reason_missing",))
    end = end_of_follow_up(case, exposed)
    when = end.day.isoformat() if end is not None else None
    stop = Outcome("discontinued", RULE, VERSION, when=when if answer else None, reasons=unknown)
    reason = replace(stop, variable="discontinuation_reason", when=when if found.reason else None)
    evidence = tuple(Input("discontinuation", source) for source in found.evidence)
    told_by = tuple(Input("reason", source) for source in found.told_by)
    yield replace(stop, answer=answer, inputs=evidence)
    yield replace(reason, answer=found.reason, reasons=() if found.reason else why_none, inputs=told_by)


def reason_of(recorded: Concept) -> str:
    """What a recorded reason counts as: one of `REASONS`, else "other"."""
    told = (REASONS.get((coding.system or "", coding.code or "")) for coding in recorded.codings)
    return next((name for name in told if name), "other")


def _stopped(stopped: Sequence[Therapy], given: Iterable[Administration], zone: tzinfo) -> Discontinuation:
    evidence = tuple(one.source for one in stopped)
    told: list[tuple[Source, tuple[Concept, ...]]] = [(one.source, one.status_reasons) for one in stopped]
    last = _last_not_given(given, zone)
    told += [(last.source, last.status_reasons)] if last is not None else []
    for source, reasons in told:
        for recorded in reasons:
            if recorded.text or recorded.codings:
                return Discontinuation(True, reason_of(recorded), recorded, evidence, (source,))
    return Discontinuation(True, None, None, evidence)


def _last_not_given(given: Iterable[Administration], zone: tzinfo) -> Administration | None:
    """The last administration, if it was not done or was broken off."""
    dated = []
    for one in given:
        try:
            dated.append((span(_time(one) or "", zone).start, one.source.reference, one))
        except ValueError:
            continue
    last = max(dated, default=None)
    return last[2] if last is not None and status_of(last[2]) in ("not-done", "stopped") else None


def _led_to_stop(event: AdverseEvent, drug: str | None, exposed: Exposure, zone: tzinfo) -> bool:
    """Whether an event led to the end of the study drug: of no other drug alone, and not followed by an infusion."""
    others = {one.drug for one in event.suspects if one.drug is not None}
    concerns = not others or drug in others or event.left_study is True
    return event.led_to_stop is True and concerns and not _given_after(exposed, event.date, zone)


def _given_after(exposed: Exposure, text: str | None, zone: tzinfo) -> bool:
    """Whether an infusion surely came after that time; False where there is none."""
    try:
        moment = span(text or "", zone)
    except ValueError:
        return False
    return any(moment.surely_before(infusion.span) for infusion in exposed.completed)


def _end(therapy: Therapy) -> str | None:
    return therapy.period.end if therapy.period else None


def _time(given: Administration) -> str | None:
    return given.when or (given.during.start if given.during else None)
