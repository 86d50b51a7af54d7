"""Who the patients are: sex and race, counted."""

from dm_fhir.model.case import Coding
from dm_fhir.statistics.cohort import Cohort
from dm_fhir.statistics.tally import Tally, ranked


def sex(cohort: Cohort) -> Tally:
    """Administrative sex as recorded; women first, none of them too where it is documented at all."""
    known = [
        subject.sex for p in cohort.patients if (subject := p.case.subject) and subject.sex not in (None, "unknown")
    ]
    counts = {"female": 0} | ranked(one for one in known if one) if known else {}
    return Tally(len(known), counts, {"without a documented sex": cohort.n - len(known)})


def race(cohort: Cohort) -> Tally:
    """Races by their first display; a person of several counts once, as all of them together."""
    displays: dict[tuple[str | None, str | None], str] = {}
    subjects = [p.case.subject for p in cohort.patients if p.case.subject]
    recorded = [subject.races or subject.race_details for subject in subjects]
    races = [_named(codings, displays) for codings in recorded if codings]
    return Tally(len(races), ranked(races), {"without a documented race": cohort.n - len(races)})


#: The categories of the US Office of Management and Budget, for codes that came without their display.
_RACES = {
    "1002-5": "American Indian or Alaska Native",
    "2028-9": "Asian",
    "2054-5": "Black or African American",
    "2076-8": "Native Hawaiian or Other Pacific Islander",
    "2106-3": "White",
}


def _named(races: tuple[Coding, ...], displays: dict[tuple[str | None, str | None], str]) -> str:
    """The races of one person by their first display; sites may write the same code in different words."""
    return " + ".join(
        displays.setdefault((race.system, race.code), race.display or _RACES.get(race.code or "?", race.code or "?"))
        for race in races
    )
