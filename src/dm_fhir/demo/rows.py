"""The rows of the cohort tables, as typed objects."""

import tomllib
from datetime import date, timedelta
from decimal import Decimal
from importlib.resources import files
from typing import Literal

import msgspec

Score = tuple[int, Decimal]
"""A day, counted from the first infusion, and the value found on it."""


class Row(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename={"start": "from", "end": "to"}):
    """Base of all rows: a misspelt key in a table is an error, not a silent gap."""


class Person(Row, frozen=True):
    """Who the invented person is."""

    gender: Literal["female", "male"]
    race: str
    birth_date: date


class Diagnosis(Row, frozen=True):
    """Dermatomyositis of one kind; `onset` keeps the precision it is written with."""

    subtype: str
    onset: str
    paraneoplastic: bool = False


class Serology(Row, frozen=True):
    """The antibodies that were positive on one day; the other tests of the site were negative."""

    day: int
    positive: tuple[str, ...] = ()


class SteroidCourse(Row, frozen=True):
    """An oral glucocorticoid at one daily dose, from one day to another (both included)."""

    mg: Decimal
    start: int
    end: int


class ImmunoglobulinCourse(Row, frozen=True):
    """Intravenous immunoglobulin every so many weeks; no end means that it goes on."""

    weeks: int
    start: int
    end: int | None = None


class Irregularity(Row, frozen=True):
    """How one administration is recorded differently from the others."""

    day: int
    kind: Literal["not-done", "stopped", "period", "contained", "referenced"]
    reason: str | None = None
    mg: Decimal | None = None


class Anifrolumab(Row, frozen=True):
    """The infusions of one patient: the first day, and all days counted from it."""

    indication: str
    first: date
    days: tuple[int, ...]
    mg: Decimal = Decimal(300)
    irregular: tuple[Irregularity, ...] = ()
    lost_to_follow_up: bool = False


class Flare(Row, frozen=True):
    """A flare with its creatine kinase, written by the laboratory as UI/L."""

    day: int
    ck: Decimal


class Event(Row, frozen=True):
    """One adverse event."""

    day: int
    event: str


class Patient(Row, frozen=True):
    """One row: an invented patient. All days are counted from the first infusion."""

    id: str
    person: Person
    diagnosis: Diagnosis
    anifrolumab: Anifrolumab
    follow_up_days: int
    cdasi: tuple[Score, ...]
    manifestations: tuple[str, ...] = ()
    resolved: dict[str, int] = {}
    serology: Serology | None = None
    prior: tuple[str, ...] = ()
    concomitant: tuple[str, ...] = ()
    stopped: dict[str, int] = {}
    steroid: str = "prednisone"
    steroid_courses: tuple[SteroidCourse, ...] = ()
    immunoglobulin_courses: tuple[ImmunoglobulinCourse, ...] = ()
    mmt8: tuple[Score, ...] = ()
    ck: tuple[Score, ...] = ()
    dlqi: tuple[Score, ...] = ()
    amended_cdasi: Score | None = None
    mistaken_cdasi: Score | None = None
    flare: Flare | None = None
    adverse_events: tuple[Event, ...] = ()

    def date_of(self, day: int) -> date:
        """The calendar date of a day counted from the first infusion."""
        return self.anifrolumab.first + timedelta(days=day)


class Test(Row, frozen=True):
    """The LOINC code under which a site's laboratory reports one antibody."""

    code: str
    display: str


class Site(Row, frozen=True):
    """One hospital: how it records, and its patients."""

    name: str
    timezone: str
    diagnosis_category: Literal["encounter-diagnosis", "problem-list-item"]
    ck_unit: Literal["U/L", "ukat/L"]
    ck_high: dict[str, Decimal]
    patient: tuple[Patient, ...]
    antibody_tests: dict[str, Test] = {}
    extra_antibody_tests: dict[str, Test] = {}


class Table(Row, frozen=True):
    """One cohort."""

    site: tuple[Site, ...]


def read_sites(name: str) -> tuple[Site, ...]:
    """The sites of one cohort table, with exact numbers."""
    text = (files("dm_fhir.demo") / "tables" / name).read_text(encoding="utf-8")
    return msgspec.convert(tomllib.loads(text, parse_float=Decimal), Table).site
