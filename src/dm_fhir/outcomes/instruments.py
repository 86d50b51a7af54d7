"""Every instrument that outcomes follow, in the order in which they are reported."""

from dm_fhir.model.definitions import Definitions
from dm_fhir.outcomes import cdasi, ck, dlqi, enzymes, haq, juvenile, lung, mmt8, pruritus, skindex, vas
from dm_fhir.outcomes.change import Instrument

#: Of these every case has outcomes; where nothing is recorded, they say so. Of all others only a case with a record has any.
CORE = (cdasi.INSTRUMENT, mmt8.INSTRUMENT, dlqi.INSTRUMENT, ck.INSTRUMENT)
INSTRUMENTS = (
    *CORE,
    cdasi.DAMAGE,
    mmt8.MMT24,
    dlqi.CHILDREN,
    *enzymes.OTHERS,
    vas.PHYSICIAN,
    vas.PATIENT,
    vas.EXTRAMUSCULAR,
    vas.SIX_ORGANS,
    haq.ADULT,
    haq.CHILD,
    pruritus.NRS,
    pruritus.VAS,
    pruritus.FIVE_D,
    *skindex.INSTRUMENTS,
    *lung.INSTRUMENTS,
    *juvenile.INSTRUMENTS,
)
#: What an instrument's outcomes are called after its variable; an enzyme has two more, in multiples of its upper limit.
PARTS = ("baseline", "improvement", "percent_improvement")
PARTS_IN_ULN = ("x_uln_baseline", "x_uln")


def defined(definitions: Definitions) -> tuple[Instrument, ...]:
    """The instruments with the definitions that the study chose."""
    return tuple(cdasi.defined(definitions) if one is cdasi.INSTRUMENT else one for one in INSTRUMENTS)


def parts_of(instrument: Instrument) -> tuple[str, ...]:
    """The outcomes that an instrument has of each of its variables."""
    return (*PARTS, *(PARTS_IN_ULN if instrument.in_uln else ()))


def variables() -> tuple[str, ...]:
    """Every variable that an outcome of an instrument can have."""
    return tuple(_WHOSE)


def whose(variable: str) -> tuple[Instrument, str, str] | None:
    """Of an outcome's variable the instrument, the measured variable and the part; None if it is no instrument's."""
    return _WHOSE.get(variable)


_WHOSE = {
    f"{name}_{part}": (one, name, part)
    for one in INSTRUMENTS
    for name in dict.fromkeys((one.name, *one.variables))
    for part in parts_of(one)
}
