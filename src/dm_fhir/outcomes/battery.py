"""All outcomes of one case: the exposure, then each instrument at baseline and at every follow-up."""

from collections.abc import Iterator
from fractions import Fraction
from zoneinfo import ZoneInfo

from dm_fhir.model.case import Case, Outcome
from dm_fhir.model.definitions import Definitions
from dm_fhir.outcomes import (
    composites,
    core_set,
    discontinuation,
    exposure,
    follow_up,
    glucocorticoid_outcomes,
    infusions,
    instruments,
    other_therapies,
)
from dm_fhir.outcomes.exposure import Exposure
from dm_fhir.outcomes.followed import followed, unexposed
from dm_fhir.outcomes.measured import Records, records_of

#: Raised whenever a rule changes what it yields for the same records; a new version re-computes every case.
VERSION = "5"
DEFAULTS = Definitions()


def variables() -> tuple[str, ...]:
    """Every variable that an outcome can have."""
    courses = (*follow_up.variables(), *discontinuation.variables(), *glucocorticoid_outcomes.variables())
    changes = other_therapies.variables()
    return (*infusions.VARIABLES, *instruments.variables(), *composites.variables(), *courses, *changes)


def outcomes(
    case: Case, label_dose_mg: Fraction | None = None, definitions: Definitions = DEFAULTS
) -> tuple[Outcome, ...]:
    """Every outcome of `case`, in a fixed order. Those that cannot be computed are there with their reasons."""
    exposed = exposure_of(case, label_dose_mg)
    records = records_of(case)
    return (
        *infusions.of_exposure(exposed),
        *_of_instruments(records, exposed, definitions),
        *composites.composites(case, exposed.first, records.of(core_set.VARIABLES), definitions),
        *follow_up.outcomes(case, exposed),
        *discontinuation.outcomes(case, exposed),
        *glucocorticoid_outcomes.outcomes(case, exposed, definitions),
        *other_therapies.outcomes(case, exposed, definitions),
    )


def exposure_of(case: Case, label_dose_mg: Fraction | None = None) -> Exposure:
    """The case's exposure to the study drug."""
    return exposure.exposure(case.administrations, ZoneInfo(case.timezone), label_dose_mg)


def _of_instruments(records: Records, exposed: Exposure, definitions: Definitions) -> Iterator[Outcome]:
    """The instruments that every series reports, and all others that the case has a record of."""
    for instrument in instruments.defined(definitions):
        if instrument.name not in _ALWAYS and not records.of(instrument.variables):
            continue
        if exposed.first is None:
            yield from unexposed(instrument)
        else:
            yield from followed(instrument, records, exposed.first, definitions)


_ALWAYS = {one.name for one in instruments.CORE}
