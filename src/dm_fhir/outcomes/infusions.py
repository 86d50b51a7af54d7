"""Exposure as outcomes (R-EXP): number of infusions, total dose, first and last date; dose and date of each."""

from collections.abc import Sequence
from fractions import Fraction
from typing import Any

from msgspec.structs import replace

from dm_fhir.model.case import Input, Outcome
from dm_fhir.outcomes import exposure
from dm_fhir.outcomes.exposure import Exposure, Infusion

VARIABLES = ("infusions_completed", "cumulative_dose_mg", "first_exposure", "last_exposure", "infusion_dose_mg")


def of_exposure(exposed: Exposure) -> list[Outcome]:
    """The outcomes of a patient's exposure; without any, each says so."""
    infusions = exposed.infusions
    first, last = (infusions[0].start, infusions[-1].start) if infusions else (None, None)
    none = () if infusions else ("no_exposure",)
    dose = _cumulative_dose(infusions)
    unknown = none or (("dose_unknown",) if dose is None else ())
    inputs = tuple(Input("infusion", source) for infusion in infusions for source in infusion.sources)

    def outcome(variable: str, **values: Any) -> Outcome:
        shared = Outcome(variable, exposure.RULE, exposure.VERSION, when=last, flags=exposed.flags, inputs=inputs)
        return replace(shared, **values)

    return [
        outcome("infusions_completed", number=Fraction(len(exposed.completed)), unit="{infusion}"),
        outcome("cumulative_dose_mg", number=dose, unit="mg", reasons=unknown),
        outcome("first_exposure", date=first, reasons=none),
        outcome("last_exposure", date=last, reasons=none),
        *map(_infusion, infusions),
    ]


def _infusion(infusion: Infusion) -> Outcome:
    """The dose of one infusion at its time; a partial one is flagged."""
    return Outcome(
        "infusion_dose_mg",
        exposure.RULE,
        exposure.VERSION,
        number=infusion.dose_mg,
        unit="mg",
        when=infusion.start,
        about=infusion.sources[0].place,
        reasons=() if infusion.dose_mg is not None else ("dose_unknown",),
        flags=() if infusion.ordinal is not None else ("partial",),
        inputs=tuple(Input("infusion", source) for source in infusion.sources),
        verdicts=_interval(infusion),
    )


def _interval(infusion: Infusion) -> dict[str, str]:
    """The days since the infusion before, and what the label makes of them; nothing for the first, or if a day is not known."""
    days = infusion.interval_days
    return {"interval_days": str(days), "interval_class": exposure.interval_class(days)} if days is not None else {}


def _cumulative_dose(infusions: Sequence[Infusion]) -> Fraction | None:
    doses = [infusion.dose_mg for infusion in infusions if infusion.dose_mg is not None]
    return sum(doses, Fraction(0)) if doses and len(doses) == len(infusions) else None
