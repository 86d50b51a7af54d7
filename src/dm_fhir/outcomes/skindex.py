"""Skindex-29: quality of life with a skin disease, in total and in three domains (R-SKINDEX).

0-100, worse = higher (LOINC 96000-5); improvement is baseline minus follow-up. No threshold is published.

Bands: severely impaired from 52 (symptoms), 39 (emotions) and 37 (functioning) (Prinsen; not confirmed).
"""

from dm_fhir.outcomes.change import Instrument
from dm_fhir.outcomes.thresholds import Bands, at_least


def _part(name: str, *bands: Bands) -> Instrument:
    return Instrument(name, (name,), "R-SKINDEX", "1", "{score}", higher_is_worse=True, bands=bands)


def _severe(edge: str) -> Bands:
    return at_least("skindex29_severe", edge, "Prinsen", "N")


INSTRUMENTS = (
    _part("skindex29_total"),
    _part("skindex29_symptoms", _severe("52")),
    _part("skindex29_emotions", _severe("39")),
    _part("skindex29_functioning", _severe("37")),
)
