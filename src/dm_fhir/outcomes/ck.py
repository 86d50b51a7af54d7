"""CK: creatine kinase in serum or plasma, in U/L (R-CK).

Worse = higher. 1 ukat/L = 60 U/L and 1 nkat/L = 0.06 U/L exactly (1 U = 1 umol/min); the factors are in the mapping
table. A value with a comparator is a bound and never makes a change.
"""

from dm_fhir.outcomes.change import Instrument

INSTRUMENT = Instrument("ck", ("ck",), "R-CK", "1", "U/L", higher_is_worse=True)
