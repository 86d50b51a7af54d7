"""What the store says of each site, and the exit code that follows from it."""

import sqlite3

import msgspec

from dm_fhir.config import Site
from dm_fhir.errors import EXIT_CODES, DmFhirError, worst_exit_code
from dm_fhir.store import cases, ledger, pushes, quarantine, resources
from dm_fhir.store.ledger import Unit
from dm_fhir.store.stops import Stop, stops
from dm_fhir.sync.held import Merges, held
from dm_fhir.sync.public_words import reason_said
from dm_fhir.sync.pull import PLAN
from dm_fhir.sync.query import FORMS, SEARCHES

_PARTIAL = 3
STEPS = ("pull", "compute", "push")


class Attention(msgspec.Struct, frozen=True):
    """A unit that is not complete, and why.

    `watermark` is how far it was once read completely, None: never. `not_before` is when the server wants to be asked again.
    """

    patient: str
    query: str
    state: str
    reason: str | None
    message: str | None
    expected: int | None
    unique: int
    watermark: str | None = None
    not_before: str | None = None


class SiteSummary(msgspec.Struct, frozen=True):
    """One site as the store knows it. `complete_until` is None while any unit needs attention.

    `findings` counts them by code, `finding_patients` the patients in whose cases they are. `set_aside` and `acknowledged` say why, by place; what somebody has acknowledged is only counted. `without_patient`
    counts, by type, the records that name no patient and so are in no case. `notes` sums what was noted while reading,
    `server_messages` what the server said along with complete answers, and of how many units. `held` are the patients who
    are held back, each with why; whoever of them is in `without_case` was never complete, the others keep what they had.
    `stops` are the steps that were given up here when they were last tried. `error` is what stopped this run here, `stopped_by`
    the same in a few words without anything of the site.
    """

    site: str
    complete_until: str | None
    units: dict[str, int]
    resources: dict[str, int]
    patients: dict[str, int]
    findings: dict[str, int]
    finding_patients: dict[str, int]
    pushed: dict[str, int]
    attention: list[Attention]
    set_aside: dict[str, str]
    acknowledged: dict[str, str]
    unreadable: list[str]
    without_patient: dict[str, int]
    deleted_by_type: dict[str, int]
    notes: dict[str, int]
    server_messages: dict[str, int]
    held: dict[str, str] = {}
    without_case: list[str] = []
    all_refused: bool = False
    stops: list[Stop] = []
    error: str | None = None
    stopped_by: str | None = None

    def exit_code(self, steps: tuple[str, ...] = STEPS) -> int:
        """The code that the ledger asks for, as far as these steps answer for it."""
        codes = [3 if self.held else 0]
        if "pull" in steps:
            codes += [3] if self.attention or self.set_aside or not self.units else []
            codes += [5] if self.all_refused else []
        if "compute" in steps and self.unreadable:
            codes.append(3)
        if "push" in steps:
            codes += [3] if any(self.pushed.get(state) for state in ("blocked", "rejected", "sending")) else []
            codes += [7] if self.pushed.get("conflict") else []
        return worst_exit_code(codes)

    def standing_code(self, steps: tuple[str, ...] = STEPS) -> int:
        """The same for whoever looks later: with what stopped these steps when they were last tried."""
        return worst_exit_code([self.exit_code(steps), *(stop.exit_code for stop in self.stops if stop.step in steps)])


def summarise(db: sqlite3.Connection, site: Site, merges: Merges, error: DmFhirError | None = None) -> SiteSummary:
    """The site's state. `error` is what stopped this run there, if anything did."""
    name = site.name
    optional = site.pull.optional_types
    aside = quarantine.quarantined(db, name)
    found = cases.finding_counts(db, name)
    units = ledger.counts_by_state(db, name)
    plan = 1 if ledger.get_unit(db, name, "", PLAN) else 0
    back = held(db, site, merges)
    known = cases.fingerprints(db, name) if back else {}
    return SiteSummary(
        site=name,
        complete_until=ledger.complete_until(db, name, optional),
        units=units,
        resources=resources.counts_by_type(db, name),
        patients=cases.counts_by_state(db, name),
        findings={code: count.findings for code, count in found.items()},
        finding_patients={code: count.patients for code, count in found.items()},
        pushed=pushes.counts_by_state(db, name),
        attention=[_attention(unit) for unit in ledger.open_units(db, name) if ledger.needs_attention(unit, optional)],
        set_aside={one.place: one.reason for one in aside if one.acknowledged is None},
        acknowledged={one.place: one.reason for one in aside if one.acknowledged is not None},
        unreadable=[f"{reference} ({path})" if path else reference for _, reference, path in cases.errors(db, name)],
        without_patient=resources.without_patient(db, name, [type_name for type_name, _ in (*SEARCHES, FORMS)]),
        deleted_by_type=resources.deleted_by_type(db, name),
        notes=ledger.notes(db, name),
        server_messages=ledger.messages_of_complete(db, name),
        held=back,
        without_case=[patient for patient in back if patient not in known],
        all_refused=0 < units.get("refused", 0) == sum(units.values()) - plan,
        stops=stops_of(db, site),
        error=None if error is None else str(error),
        stopped_by=None if error is None else stopped_by(error.exit_code, getattr(error, "reason", None)),
    )


def stops_of(db: sqlite3.Connection, site: Site) -> list[Stop]:
    """The steps that were given up at the site when they were last tried, as far as its config has them still."""
    asked = {"pull": site.endpoint is not None, "push": site.push.enabled}
    return [stop for stop in stops(db, site.name) if asked.get(stop.step, True)]


def stopped_by(exit_code: int, reason: str | None) -> str:
    """What stopped a site, in words that are the same wherever it is the same: `server unavailable, try later (unreachable)`."""
    word = reason_said(reason)
    what = "a request failed" if exit_code == _PARTIAL else EXIT_CODES.get(exit_code, "failed")
    return f"{what}{f' ({word})' if word else ''}"


def _attention(unit: Unit) -> Attention:
    return Attention(
        unit.patient, unit.query, unit.state, unit.reason, unit.message, unit.expected, unit.unique, unit.watermark,
        unit.not_before,
    )  # fmt: skip
