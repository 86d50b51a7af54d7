"""DLQI: Dermatology Life Quality Index, total score (R-DLQI).

0-30, worse = higher, for age 16 and over (dermatology.org.uk). The questionnaire's text is copyrighted; scores only.
"""

from dm_fhir.outcomes.change import Instrument

INSTRUMENT = Instrument("dlqi", ("dlqi",), "R-DLQI", "1", "{score}", higher_is_worse=True)
