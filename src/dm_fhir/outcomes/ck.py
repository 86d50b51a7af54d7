"""CK: creatine kinase in serum or plasma, in U/L (R-CK).

Worse = higher; improvement is baseline minus follow-up. 1 ukat/L = 60 U/L and 1 nkat/L = 0.06 U/L exactly (1 U = 1 umol/min);
the factors are in the mapping table. A value with a comparator is a bound: it never makes a change, but falls into a band that
holds all it may mean. Multiples of the upper limit of normal: see `enzymes.py`.

Bands: grades of CTCAE by the multiple of the upper limit, upper ends included (not confirmed); up to the limit there is no grade.
"""

from fractions import Fraction

from dm_fhir.outcomes.change import Instrument
from dm_fhir.outcomes.thresholds import Bands, Interval

_EDGES = tuple(map(Fraction, ("1", "5/2", "5", "10")))
_CTCAE = Bands(
    "ck_ctcae",
    (
        ("no_grade", Interval(high=_EDGES[0])),
        *(
            (f"grade_{grade}", Interval(low, high, low_open=True))
            for grade, (low, high) in enumerate(zip(_EDGES, (*_EDGES[1:], None), strict=True), start=1)
        ),
    ),
    "CTCAE",
    "N",
    of="x_uln",
)
INSTRUMENT = Instrument("ck", ("ck",), "R-CK", "1", "U/L", higher_is_worse=True, bands=(_CTCAE,), in_uln=True)
