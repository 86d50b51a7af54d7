"""How often a drug is taken, and so how much of it a day (R-GC-COURSE: daily dose = dose x times / period); and where it acts.

https://hl7.org/fhir/R4/datatypes.html#Timing. Nothing is guessed: where the record leaves the rate open, there is none,
and the reason says what is missing.
"""

from fractions import Fraction

from dm_fhir.model.case import Concept, Timing

#: Routes that take a drug to the whole body, and those that treat one place. Of any other nothing is known.
SYSTEMIC_ROUTES = ("route_oral", "route_intravenous", "route_intramuscular", "route_subcutaneous")
LOCAL_ROUTES = (
    "route_topical", "route_ophthalmic", "route_otic", "route_nasal", "route_inhaled", "route_rectal", "route_vaginal",
    "route_intra_articular",
)  # fmt: skip
#: How the variable of a drug ends that has a systemic and a local form, where the code means the local one.
LOCAL_DRUG = "_nonsystemic"

#: Days in one unit of time. A week has seven; months and years are UCUM's mean ones (mo = 30.4375 d, a = 365.25 d).
DAYS = {
    "s": Fraction(1, 86_400),
    "min": Fraction(1, 1_440),
    "h": Fraction(1, 24),
    "d": Fraction(1),
    "wk": Fraction(7),
    "mo": Fraction(487, 16),
    "a": Fraction(1461, 4),
}


def is_systemic(route: Concept | None, medication: Concept) -> bool | None:
    """Whether a drug given by this route reaches the whole body; None where neither route nor drug tells."""
    variable = route.variable if route else None
    if variable in LOCAL_ROUTES or (medication.variable or "").endswith(LOCAL_DRUG):
        return False
    return True if variable in SYSTEMIC_ROUTES else None


def times_per_day(timing: Timing | None, of_the_code: Fraction | None = None) -> tuple[Fraction | None, str | None]:
    """How many times a day, exact; or None with what is not known.

    `of_the_code` is what the mapping tables know of the timing's code, which stands for the whole timing where there is
    one (FHIR). Not known: `frequency_missing`, `frequency_range`, `single_doses`, `timing_unclear`.
    """
    if of_the_code is not None:
        return of_the_code, None
    if timing is None:
        return None, "frequency_missing"
    if timing.frequency_max is not None or timing.period_max is not None:
        return None, "frequency_range"
    if timing.period is None and timing.period_unit is None and timing.frequency is None:
        return _by_the_clock(timing)
    if timing.period is None or timing.period <= 0 or timing.period_unit not in DAYS:
        return None, "timing_unclear"
    if timing.frequency is not None and timing.frequency < 0:
        return None, "timing_unclear"
    often = Fraction(1 if timing.frequency is None else timing.frequency)
    return _on_its_days(timing, often / (Fraction(timing.period) * DAYS[timing.period_unit]))


def _by_the_clock(timing: Timing) -> tuple[Fraction | None, str | None]:
    """Times of the day, such as 08:00 or before breakfast, on every day or on some days of the week."""
    times = len(timing.times_of_day) + len(timing.when)
    if times or timing.days_of_week:
        return Fraction(times or 1) * Fraction(len(set(timing.days_of_week)) or 7, 7), None
    return None, "single_doses" if timing.times or timing.count is not None else "frequency_missing"


def _on_its_days(timing: Timing, rate: Fraction) -> tuple[Fraction | None, str | None]:
    """A daily rate that holds on some days of the week only. Once a week on Friday names its day and is as it is."""
    days = len(set(timing.days_of_week))
    if not days:
        return rate, None
    if timing.period_unit == "d" and timing.period == 1:
        return rate * Fraction(days, 7), None
    once_a_week_each = timing.period_unit == "wk" and timing.period == 1 and timing.frequency in (None, 1, days)
    return (Fraction(days, 7), None) if once_a_week_each else (None, "timing_unclear")
