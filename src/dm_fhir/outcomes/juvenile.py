"""Scores of juvenile dermatomyositis: CMAS, DAS, CAT and CHQ (R-JDM).

CMAS 0-52, worse = lower; JDM DAS 0-20, its muscle part 0-11, its skin part 0-9, worse = higher (J Rheumatol 37676). CAT activity
0-96, damage 0-22 (not confirmed), worse = higher (PMC2598780); its short form CAT-BM is separate. Damage is no endpoint. The
physical summary of the CHQ is better the higher it is, as its authors score it; its range is not confirmed.

Improvement is positive when better. No threshold and no band is published; the CAT's medians per severity grade are
anchors (Huber 2008), not edges, and are not applied.
"""

from dm_fhir.outcomes.change import Instrument


def _score(name: str, *, higher_is_worse: bool = True, is_endpoint: bool = True) -> Instrument:
    return Instrument(name, (name,), "R-JDM", "1", "{score}", higher_is_worse=higher_is_worse, is_endpoint=is_endpoint)


INSTRUMENTS = (
    _score("cmas", higher_is_worse=False),
    _score("jdm_das_total"),
    _score("jdm_das_muscle"),
    _score("jdm_das_skin"),
    _score("cat_activity"),
    _score("cat_damage", is_endpoint=False),
    _score("cat_bm_activity"),
    _score("cat_bm_damage", is_endpoint=False),
    _score("chq_phs", higher_is_worse=False),
)
