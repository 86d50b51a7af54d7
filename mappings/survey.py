"""What a site's records show of codes, against the tables: mapped, not mapped, not usable, never seen. Counts only."""

import re
from collections import Counter
from collections.abc import Iterable
from fractions import Fraction
from typing import Protocol

import msgspec

from dm_fhir.mappings.case import Record
from dm_fhir.mappings.codes import Row, Tables
from dm_fhir.mappings.medication import Medications
from dm_fhir.mappings.outcome_observation import is_own
from dm_fhir.mappings.seen import ABSENT, NO_UNIT, NOTHING, STATUS, Sight, Unresolved, is_looked_at, sights
from dm_fhir.model.case import Coding

#: Nothing was recorded that could have been used.
_NO_VALUE = (ABSENT, NOTHING)
#: A Patient has no codes that a table knows; a Medication is looked at where it is given.
_LOOKED_AT_ELSEWHERE = ("Patient", "Medication")
_MOST_CODES = 20_000
_MOST_OF_A_CODE = 50
_MOST_CHARACTERS = {"display": 80, "unit": 40}
_MOST_REFERENCES = 100
#: What is counted together where there are too many different ones.
OTHERS = "others"
_DAY = re.compile(r"(\d{4})(-\d\d(-\d\d)?)?", re.ASCII)


class Whose(Record, Protocol):
    """A stored resource, and whose it is."""

    @property
    def subject(self) -> str | None: ...


class CodeSeen(msgspec.Struct, frozen=True):
    """One code in one element: how often, of how many patients, in which units.

    `variable` is the row that knows it, None: no row does. `units` count by unit as written ("" where a quantity has
    none), `units_not_in_table` are those that the row does not know. `values` count by FHIR's element, `statuses` by status
    (`statuses_not_counted`: records with these are left out), `scales` by the scale on which a value was read (of the kind
    `value`, a coded value, by the variable that it is one of), `unused` by reason why it is not used; `trouble` counts those
    for which that can be mended. `last_seen` is the record's own date.
    """

    kind: str
    element: str
    system: str
    code: str
    display: str | None
    variable: str | None
    records: int
    patients: int
    last_seen: str | None
    units: dict[str, int]
    units_not_in_table: tuple[str, ...]
    values: dict[str, int]
    statuses: dict[str, int]
    statuses_not_counted: tuple[str, ...]
    scales: dict[str, int]
    unused: dict[str, int]
    trouble: int


class Mixed(msgspec.Struct, frozen=True):
    """A variable whose values are not all written alike: in units of different size, or on different scales.

    Each is converted by its own unit and compared on its own scale only; a unit that was entered wrongly shows here.
    """

    kind: str
    variable: str
    what: str
    counts: dict[str, int]


class NeverSeen(msgspec.Struct, frozen=True):
    """A row of which no code was seen. `origin` is where it is written."""

    kind: str
    variable: str
    codes: int
    origin: str


class SiteSeen(msgspec.Struct, frozen=True):
    """What one site's records show. `records` count by type, as far as dm-fhir looks into the type.

    `without_code` counts, by element, what has a text and no code, and what has neither. `unresolved` are drugs named by a
    reference that leads nowhere. `unreadable` names records, as far as there is room; `not_listed` counts sightings of further
    codes where there were too many to list.
    """

    site: str
    records: dict[str, int]
    other_types: dict[str, int]
    unmapped: list[CodeSeen]
    mapped: list[CodeSeen]
    mixed: list[Mixed]
    never_seen: list[NeverSeen]
    without_code: dict[str, dict[str, int]]
    unresolved: dict[str, int]
    unreadable: list[str]
    unreadable_count: int
    own_outcomes: int
    not_listed: int

    @property
    def trouble(self) -> int:
        """How many values of known codes cannot be used, for a reason that a table or the hospital can mend."""
        return sum(one.trouble for one in self.mapped)


def survey(site: str, records: Iterable[Whose], tables: Tables, medications: Medications, drug: str) -> SiteSeen:
    """What the records show. Those of one patient must stand together; one of them is in memory at a time."""
    seen = _Survey(tables, drug, medications)
    for record in records:
        seen.take(record)
    return seen.result(site)


class _Survey:
    """What has been seen so far."""

    def __init__(self, tables: Tables, drug: str, medications: Medications) -> None:
        self._tables, self._drug, self._medications = tables, drug, medications
        self._codes: dict[tuple[str, str, str, str], _Code] = {}
        self._records: Counter[str] = Counter()
        self._others: Counter[str] = Counter()
        self._without: dict[str, Counter[str]] = {}
        self._unresolved: Counter[str] = Counter()
        self._unreadable: list[str] = []
        self._unreadable_count = self._own = self._not_listed = 0

    def take(self, record: Whose) -> None:
        """Count one record."""
        if not is_looked_at(record.type):
            self._others.update([record.type] if record.type not in _LOOKED_AT_ELSEWHERE else [])
            return
        self._records[record.type] += 1
        try:
            if record.type == "Observation" and is_own(record.body):
                self._own += 1
                return
            for sight in sights(record.type, record.body, self._tables, self._medications, self._drug):
                self._count(sight, record.subject, record.last_updated)
        except msgspec.DecodeError:
            self._unreadable_count += 1
            if len(self._unreadable) < _MOST_REFERENCES:
                self._unreadable.append(f"{record.type}/{record.id}")

    def _count(self, sight: Sight | Unresolved, subject: str | None, last_updated: str | None) -> None:
        if isinstance(sight, Unresolved):
            self._unresolved[sight.element] += 1
        elif not sight.codings:
            self._without.setdefault(sight.element, Counter())["text only" if sight.has_text else "nothing"] += 1
        else:
            for coding in self._counted(sight):
                found = self._code(sight, coding)
                if found is None:
                    self._not_listed += 1
                else:
                    found.count(sight, coding, subject, last_updated)

    def _counted(self, sight: Sight) -> tuple[Coding, ...]:
        """The code by which a row knows the record; all of them where none does."""
        if sight.row is None:
            return sight.codings
        known = self._tables.by_code
        by = (
            c
            for c in sight.codings
            if known.get((sight.kind, self._tables.system(c.system), c.code or "")) is sight.row
        )
        return (next(by, sight.codings[0]),)  # a form has no code, a coded value has none of its own

    def _code(self, sight: Sight, coding: Coding) -> "_Code | None":
        variable = sight.row.variable if sight.row is not None else ""
        key = (sight.element, self._tables.system(coding.system), coding.code or "", variable)
        found = self._codes.get(key)
        if found is None and (len(self._codes) < _MOST_CODES or sight.row is not None):
            found = self._codes[key] = _Code(sight.kind, key, sight.row)
        return found

    def result(self, site: str) -> SiteSeen:
        """All of it, the most frequent first."""
        codes = sorted(self._codes.values(), key=lambda one: (-one.patients, -one.records, one.key))
        mapped = [one for one in codes if one.row is not None]
        return SiteSeen(
            site=site,
            records=dict(sorted(self._records.items())),
            other_types=dict(sorted(self._others.items())),
            unmapped=[one.seen() for one in codes if one.row is None],
            mapped=[one.seen() for one in mapped],
            mixed=_mixed(mapped),
            never_seen=_never_seen(self._tables, mapped),
            without_code={element: dict(counts) for element, counts in sorted(self._without.items())},
            unresolved=dict(sorted(self._unresolved.items())),
            unreadable=self._unreadable,
            unreadable_count=self._unreadable_count,
            own_outcomes=self._own,
            not_listed=self._not_listed,
        )


class _Code:
    """One code in one element, as far as it has been seen. Records of one patient come one after the other."""

    def __init__(self, kind: str, key: tuple[str, str, str, str], row: Row | None) -> None:
        self.kind, self.key, self.row = kind, key, row
        self.records = self.patients = self.trouble = 0
        self.displays: Counter[str] = Counter()
        self.units: Counter[str] = Counter()
        self.foreign_units: set[str] = set()
        self.foreign_statuses: set[str] = set()
        self.values: Counter[str] = Counter()
        self.statuses: Counter[str] = Counter()
        self.scales: Counter[str] = Counter()
        self.unused: Counter[str] = Counter()
        self._patient: str | None = None
        self._last: str | None = None

    def count(self, sight: Sight, coding: Coding, subject: str | None, last_updated: str | None) -> None:
        """Count one more record."""
        self.records += 1
        if subject is not None and subject != self._patient:
            self.patients += 1
            self._patient = subject
        day = _day(sight.when) or _day(last_updated)
        self._last = max(filter(None, (self._last, day)), default=None)
        _add(self.displays, coding.display, _MOST_CHARACTERS["display"])
        _add(self.values, sight.value)
        status = _add(self.statuses, sight.status or "none")
        self.foreign_statuses.update([status] if sight.reason == STATUS else [])
        self._count_unit(sight)
        _add(self.scales, sight.variable)
        if sight.row is not None:
            _add(self.unused, sight.reason)
            is_lost = sight.reason not in (None, STATUS) and sight.value not in _NO_VALUE
            self.trouble += sight.matters and is_lost

    def _count_unit(self, sight: Sight) -> None:
        if sight.unit is None:
            return
        unit = _add(self.units, sight.unit, _MOST_CHARACTERS["unit"])
        if sight.row is not None and not sight.is_in_table:
            self.foreign_units.add(unit)

    def seen(self) -> CodeSeen:
        """What was counted."""
        element, system, code, _ = self.key
        return CodeSeen(
            kind=self.kind,
            element=element,
            system=system,
            code=code,
            display=next((text for text, _ in self.displays.most_common() if text != OTHERS), None),
            variable=self.row.variable if self.row else None,
            records=self.records,
            patients=self.patients,
            last_seen=self._last,
            units=dict(self.units.most_common()),
            units_not_in_table=tuple(sorted(self.foreign_units)),
            values=dict(self.values.most_common()),
            statuses=dict(self.statuses.most_common()),
            statuses_not_counted=tuple(sorted(self.foreign_statuses)),
            scales=dict(self.scales.most_common()),
            unused=dict(self.unused.most_common()),
            trouble=self.trouble,
        )


def _add(counts: Counter[str], text: str | None, most_characters: int = 60) -> str:
    """Count a text; where there are too many different ones, under `others`."""
    if text is None:
        return ""
    name = text[:most_characters]
    name = name if name in counts or len(counts) < _MOST_OF_A_CODE else OTHERS
    counts[name] += 1
    return name


def _day(text: str | None) -> str | None:
    """The day of a date or time; None where the text is none that a record can mean."""
    form = _DAY.match(text or "")
    return form[0] if form and 1 < int(form[1]) < 9999 else None


def _mixed(mapped: Iterable[_Code]) -> list[Mixed]:
    """The variables whose values are written in units of different size, or on different scales."""
    by_row: dict[tuple[str, str], list[_Code]] = {}
    for one in mapped:
        if one.row is not None and one.kind == "measurement":
            by_row.setdefault((one.row.kind, one.row.variable), []).append(one)
    found = []
    for (kind, variable), codes in sorted(by_row.items()):
        for what, counts in (("scales", _sum(one.scales for one in codes)), ("units", _sizes(codes))):
            if len(counts) > 1:
                found.append(Mixed(kind, variable, what, dict(counts.most_common())))
    return found


def _sizes(codes: Iterable[_Code]) -> Counter[str]:
    """How many values in each unit, if the units are not all of one size."""
    counts: Counter[str] = Counter()
    sizes: set[Fraction] = set()
    for one in codes:
        for unit, count in one.units.items():
            factor = _factor(one.row, unit)
            if factor is not None:
                sizes.add(factor)
                counts[unit or "no unit"] += count
    return counts if len(sizes) > 1 else Counter()


def _factor(row: Row | None, unit: str) -> Fraction | None:
    if row is None:
        return None
    if unit == NO_UNIT:
        return Fraction(1) if row.unitless else None
    return row.units.get(unit, row.assumed_units.get(unit))


def _sum(counters: Iterable[Counter[str]]) -> Counter[str]:
    total: Counter[str] = Counter()
    for one in counters:
        total.update(one)
    return total


def _never_seen(tables: Tables, mapped: Iterable[_Code]) -> list[NeverSeen]:
    seen = {(one.row.kind, one.row.variable) for one in mapped if one.row is not None}
    return [
        NeverSeen(row.kind, row.variable, len(row.codes), row.origin)
        for key, row in sorted(tables.rows.items())
        if key not in seen
    ]
