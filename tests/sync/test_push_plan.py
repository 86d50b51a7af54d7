"""What a push would do: by what the store holds and what was written before, outcome by outcome."""

import json
import sqlite3
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import pytest

from dm_fhir.config import Push
from dm_fhir.mappings.site import SiteMapper
from dm_fhir.model.case import Input, Outcome, Source
from dm_fhir.model.document import encode
from dm_fhir.store.cases import CaseRow, OutcomeRow, put_case
from dm_fhir.store.database import transaction
from dm_fhir.store.pushes import Pushed, pushed, put_push
from dm_fhir.sync.push import plan as push_plan
from dm_fhir.sync.push.content import fingerprint
from dm_fhir.sync.push.plan import HELD, TO_SEND, WITHOUT_TIME, Item, count, plan, superseded

ALL = Push(enabled=True)
P1, P2 = "Patient/p1", "Patient/p2"


def outcome(variable: str = "dlqi_baseline", number: int | None = 20, **more: Any) -> Outcome:
    """An outcome made of Observation/d1 in its first version."""
    made_of = Input("baseline", Source("leon", "Observation/d1", "1"))
    values = {"number": None if number is None else Fraction(number), "when": "2025-03-01", "inputs": (made_of,)} | more
    return Outcome(variable, "R-DLQI", "1", **values)


class Site:
    """The outcomes of site leon, and what was written of them."""

    def __init__(self, db: sqlite3.Connection, mapper: SiteMapper) -> None:
        self.db, self.mapper = db, mapper

    def has(self, *outcomes: Outcome, patient: str = P1) -> None:
        """These are the patient's outcomes now."""
        rows = [OutcomeRow(patient, one.variable, one.about or one.visit or "", encode(one)) for one in outcomes]
        with transaction(self.db):
            put_case(self.db, "leon", CaseRow(patient, "case", b"{}"), "f", 1, rows, [])

    def plan(self, push: Push = ALL, **more: Any) -> list[Item]:
        return list(plan(self.db, "leon", self.mapper, push, **more))

    def one(self, push: Push = ALL, **more: Any) -> Item:
        """The only item of the plan."""
        (item,) = self.plan(push, **more)
        return item

    def becomes(self, state: str, items: list[Item] | None = None, **more: Any) -> None:
        """What is planned was sent, and this is what became of it. Of what was not confirmed the body before stays."""
        for item in self.plan() if items is None else items:
            if item.action not in TO_SEND:
                continue
            old = item.before
            settled = state in ("confirmed", "retracted")
            body = item.body if settled or old is None else old.body
            row = Pushed(
                item.identifier, item.patient, item.variable, item.about, state, "Observation/7" if settled or (old and old.server_id) else None,
                "1", fingerprint(item.body), None, body, item.made_from,
            )  # fmt: skip
            put_push(self.db, "leon", row._replace(**more), 1)

    def confirmed(self, *outcomes: Outcome) -> None:
        """These are the outcomes, and they are on the server."""
        self.has(*outcomes)
        self.becomes("confirmed")


@pytest.fixture
def site(db: sqlite3.Connection, mapper: SiteMapper) -> Site:
    """No outcome, nothing written."""
    return Site(db, mapper)


def status(item: Item) -> str:
    return str(json.loads(item.body)["status"])


def test_what_was_never_written_is_new_and_final(site: Site) -> None:
    site.has(outcome())
    item = site.one()
    assert (item.action, status(item), item.before, item.why) == ("new", "final", None, "")


def test_what_is_on_the_server_is_unchanged_and_not_even_built(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.confirmed(outcome(), outcome("ck_baseline"))
    monkeypatch.setattr(SiteMapper, "ready", None)
    monkeypatch.setattr(push_plan, "decode", None)
    assert count(site.plan()) == {"unchanged": 2}
    assert {item.body for item in site.plan()} == {b""}


def test_another_value_of_the_same_records_is_amended_once(site: Site) -> None:
    site.confirmed(outcome())
    site.has(outcome(number=15))
    assert (site.one().action, status(site.one())) == ("changed", "amended")
    site.becomes("confirmed")
    assert site.one().action == "unchanged"


@pytest.mark.parametrize("version", ["2", None])
def test_a_record_used_in_another_version_or_no_longer_makes_it_corrected(site: Site, version: str | None) -> None:
    site.confirmed(outcome())
    inputs = (Input("baseline", Source("leon", "Observation/d1", version)),) if version else ()
    site.has(outcome(number=15, inputs=inputs))
    assert status(site.one()) == "corrected"


def test_a_record_more_is_an_amendment(site: Site) -> None:
    site.confirmed(outcome())
    more = Input("other", Source("leon", "MedicationAdministration/m1", "1"))
    site.has(outcome(inputs=(*outcome().inputs, more)))
    assert status(site.one()) == "amended"


@pytest.mark.parametrize("number", [20, 15])
def test_a_status_alone_is_no_change_and_the_mark_is_noted(site: Site, number: int) -> None:
    site.confirmed(outcome())
    site.has(outcome(number=number))
    site.becomes("confirmed")  # as final, or amended
    (old,) = pushed(site.db, "leon")
    put_push(site.db, "leon", old._replace(made_from="of an earlier release"), 1)
    item = site.one()
    assert (item.action, item.made_from) == ("unchanged", old.made_from)
    assert item.before is not None
    assert item.before.made_from == "of an earlier release"


def test_what_is_no_longer_derived_is_taken_back_and_corrected_when_it_is_again(site: Site) -> None:
    site.confirmed(outcome())
    site.has()
    assert (site.one().action, status(site.one())) == ("retract", "entered-in-error")
    site.becomes("retracted")
    assert site.plan() == []
    site.has(outcome())
    assert (site.one().action, status(site.one())) == ("changed", "corrected")


def test_what_lost_its_time_is_taken_back_and_without_one_nothing_is_begun(site: Site) -> None:
    site.confirmed(outcome())
    timeless = outcome(number=None, when=None, reasons=("not_assessed",))
    site.has(timeless)
    assert site.one().action == "retract"
    site.becomes("retracted")
    assert (site.one().action, site.one().why) == ("blocked", WITHOUT_TIME)


def test_what_was_refused_is_not_sent_again_until_it_changes(site: Site) -> None:
    site.has(outcome())
    site.becomes("rejected", message="no such code")
    item = site.one()
    assert (item.action, item.why) == ("blocked", f"{push_plan.REFUSED}: no such code")
    site.has(outcome(number=15))
    assert (site.one().action, status(site.one())) == ("new", "final")


def test_a_refused_change_is_not_sent_again_either_nor_a_refused_retraction(site: Site) -> None:
    site.confirmed(outcome())
    site.has(outcome(number=15))
    site.becomes("rejected")
    put_push(site.db, "leon", next(pushed(site.db, "leon"))._replace(made_from=""), 1)
    assert site.one().action == "blocked"
    site.has()
    site.becomes("rejected")
    assert (site.one().action, site.one().why) == ("blocked", push_plan.REFUSED)
    assert site.one(held=[P1]).why == push_plan.REFUSED


@pytest.mark.parametrize(
    ("state", "message", "why"),
    [
        ("conflict", "Observation/7 was changed", "in conflict before: Observation/7 was changed"),
        ("sending", None, "not settled before"),
        ("blocked", "not on the server", "kept back before: not on the server"),
    ],
)
def test_what_was_left_open_is_looked_at_again(site: Site, state: str, message: str | None, why: str) -> None:
    site.has(outcome())
    site.becomes(state, message=message)
    item = site.one()
    assert (item.action, item.why, status(item)) == ("new", why, "final")


@pytest.mark.parametrize("state", ["rejected", "blocked"])
def test_what_never_came_onto_the_server_is_not_taken_back_but_forgotten(site: Site, state: str) -> None:
    site.has(outcome())
    site.becomes(state)
    site.has()
    assert site.plan() == []
    assert superseded(site.db, "leon", []) == [site.mapper.identifier(P1, "dlqi_baseline", "")]


def test_what_may_have_come_onto_the_server_is_taken_back(site: Site) -> None:
    site.has(outcome())
    site.becomes("sending")
    site.has()
    assert site.one().action == "retract"  # nobody knows whether the server has it
    assert superseded(site.db, "leon", site.plan()) == []


def test_what_is_not_selected_is_not_begun_and_kept_up_to_date_once_written(site: Site) -> None:
    site.confirmed(outcome())
    site.has(outcome(number=15), outcome("ck_baseline"), outcome("cdasi_activity_baseline"))
    some = Push(enabled=True, outcomes=("cdasi_*", "tis"))
    assert {item.variable: item.action for item in site.plan(some)} == {
        "cdasi_activity_baseline": "new",
        "ck_baseline": "not selected",
        "dlqi_baseline": "changed",
    }


def test_what_was_refused_and_is_no_longer_selected_is_forgotten(site: Site) -> None:
    site.has(outcome())
    site.becomes("rejected", made_from="")
    items = site.plan(Push(outcomes=("tis",)))
    assert [item.action for item in items] == ["not selected"]
    assert superseded(site.db, "leon", items) == [items[0].identifier]
    assert superseded(site.db, "leon", site.plan()) == []


def test_nothing_is_written_of_whom_is_held_back(site: Site) -> None:
    site.confirmed(outcome(), outcome("ck_baseline"), outcome("tis"))
    site.has(outcome("ck_baseline", 900), outcome("tis"), outcome("dlqi_improvement"))
    site.has(outcome(), patient=P2)
    found = {(item.patient, item.variable): (item.action, item.why) for item in site.plan(held=[P1])}
    assert found == {
        (P1, "ck_baseline"): ("blocked", HELD),
        (P1, "dlqi_baseline"): ("blocked", HELD),  # not even taken back
        (P1, "dlqi_improvement"): ("blocked", HELD),
        (P1, "tis"): ("unchanged", ""),
        (P2, "dlqi_baseline"): ("new", ""),
    }
    assert {item.body for item in site.plan(held=[P1]) if item.action == "blocked"} == {b""}


def test_everything_that_may_be_on_the_server_is_taken_back(site: Site) -> None:
    states = {
        "confirmed": "tis",
        "sending": "ck_baseline",
        "conflict": "dlqi_baseline",
        "rejected": "mmt8_150_baseline",
    }
    for state, variable in states.items():
        site.has(outcome(variable))
        site.becomes(state, [item for item in site.plan() if item.variable == variable])
    site.has(outcome("cdasi_activity_baseline"))
    items = site.plan(Push(outcomes=("nothing",)), retract_all=True)
    assert [(item.variable, item.action) for item in items] == [
        ("ck_baseline", "retract"),
        ("dlqi_baseline", "retract"),
        ("tis", "retract"),
    ]


def test_unchanged_outcomes_are_planned_without_looking_into_them(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.has(*(outcome(about=f"Observation/{number}") for number in range(500)))
    site.becomes("confirmed")
    calls: list[str] = []

    def counting(name: str, original: Callable[..., Any]) -> Callable[..., Any]:
        return lambda *args: calls.append(name) or original(*args)

    for name in ("decode", "fingerprint", "status_of", "sources"):
        monkeypatch.setattr(push_plan, name, counting(name, getattr(push_plan, name)))
    assert count(site.plan()) == {"unchanged": 500}
    assert calls == []


def test_what_fhir_cannot_name_blocks_that_one_outcome_only(site: Site) -> None:
    bad = Input("baseline", Source("leon", "Observation/Eva Meier"))
    site.has(outcome(), outcome("ck_baseline", inputs=(bad,)))

    found = {item.variable: (item.action, item.why) for item in site.plan()}
    assert found == {
        "dlqi_baseline": ("new", ""),
        "ck_baseline": ("blocked", "it rests on a record (Observation) whose id or version is none that FHIR allows"),
    }


def test_what_was_refused_and_has_lost_its_time_is_forgotten_and_what_is_there_never(site: Site) -> None:
    site.has(outcome())
    site.becomes("rejected")
    site.has(outcome(number=None, when=None))
    assert superseded(site.db, "leon", site.plan()) == [site.one().identifier]
    site.confirmed(outcome(number=5))
    site.has(outcome(number=15))
    site.becomes("rejected")
    assert superseded(site.db, "leon", []) == []


def test_what_was_taken_back_comes_back_whether_it_is_selected_or_not(site: Site) -> None:
    site.confirmed(outcome())
    site.has()
    site.becomes("retracted")
    site.has(outcome())
    assert site.one(Push(outcomes=("tis",))).action == "changed"


def test_a_retraction_that_was_cut_off_is_corrected_where_the_outcome_holds_again(site: Site) -> None:
    """The server may have it."""
    site.confirmed(outcome())
    site.has()
    site.becomes("sending")
    site.has(outcome())
    assert (site.one().action, status(site.one())) == ("changed", "corrected")


def test_a_write_that_was_cut_off_and_was_none_is_not_corrected(site: Site) -> None:
    site.confirmed(outcome())
    site.has(outcome(number=15))
    site.becomes("sending")
    site.has(outcome(number=16))
    assert status(site.one()) == "amended"
