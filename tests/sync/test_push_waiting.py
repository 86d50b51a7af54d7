"""What a push is to do, held until its turn: it comes out as it went in, and takes little room until then."""

import sqlite3
import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dm_fhir.config import Push
from dm_fhir.mappings.site import SiteMapper
from dm_fhir.model.case import Outcome
from dm_fhir.model.document import encode
from dm_fhir.store.cases import CaseRow, OutcomeRow, put_case
from dm_fhir.store.database import transaction
from dm_fhir.store.pushes import Pushed, each_pushed, identifiers_of, put_pushes, standing
from dm_fhir.sync.push.plan import TO_SEND, Before, Item, plan
from dm_fhir.sync.push.waiting import waiting, whole

from .pushing import body_of

#: More than are packed together, and than are asked of the store at a time.
MANY = 450


def written(number: int, state: str = "confirmed") -> Pushed:
    name = f"n{number:04}"
    return Pushed(
        name, f"Patient/{number % 7}", "tis", "", state, f"Observation/{number}", "1", "h", None, body_of(name, number), "m"
    )  # fmt: skip


def item(number: int, old: Pushed | None = None, action: str = "new") -> Item:
    name = f"n{number:04}"
    body = body_of(name, number + 1) if action in TO_SEND else b""
    return Item(action, name, f"Patient/{number % 7}", "tis", "", body, old, f"made {number}", "why")  # type: ignore[arg-type]


@given(
    st.lists(
        st.tuples(st.sampled_from(("new", "changed", "retract", "unchanged", "blocked")), st.booleans()), max_size=200
    )
)
def test_what_is_to_be_sent_comes_out_as_it_went_in(kinds: list[tuple[str, bool]]) -> None:
    rows = {number: written(number) for number, (_, is_there) in enumerate(kinds) if is_there}
    items = [item(number, rows.get(number), action) for number, (action, _) in enumerate(kinds)]

    db = sqlite3.connect(":memory:", isolation_level=None)
    names = [*Pushed._fields, "site", "run", '"when"']
    db.execute(f"CREATE TABLE push ({', '.join(names)})")
    put_pushes(db, "leon", rows.values(), 1)

    held = list(waiting(items))

    assert [(one.action, one.identifier, one.patient, one.variable, one.why) for one in held] == [
        (one.action, one.identifier, one.patient, one.variable, one.why) for one in items
    ]
    to_send = [one for one in held if one.action in TO_SEND]
    assert whole(db, "leon", to_send[::-1]) == [one for one in items if one.action in TO_SEND][::-1]
    db.close()


def test_of_what_stands_only_that_is_held_and_what_is_noted_of_it() -> None:
    same, other = written(1)._replace(made_from="made 1"), written(2)
    held = list(waiting([item(1, same, "unchanged"), item(2, other, "unchanged"), item(3, written(3), "changed")]))
    assert [one.before for one in held] == [Before("confirmed", f"Observation/{number}", None) for number in (1, 2, 3)]
    assert [one.remade for one in held] == ["", "made 2", ""]


def test_what_waits_takes_a_fraction_of_what_is_sent() -> None:
    padding = "".join(chr(97 + number * 7 % 26) for number in range(1400))

    def items() -> Any:
        for number in range(MANY):
            yield item(number)._replace(body=body_of(f"n{number:04}", number, status=padding))

    sent = sum(len(one.body) for one in items())
    tracemalloc.start()
    try:
        held = list(waiting(items()))
        size, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(held) == MANY
    assert size < 0.35 * sent
    assert peak < 0.75 * sent  # a few at a time are whole


def test_a_plan_is_made_as_it_is_asked_for(
    db: sqlite3.Connection, mapper: SiteMapper, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [
        OutcomeRow("Patient/p1", f"v{n:03}", "", encode(Outcome(f"v{n:03}", "R", "1", when="2025")))
        for n in range(MANY)
    ]
    with transaction(db):
        put_case(db, "leon", CaseRow("Patient/p1", "case", b"{}"), "f", 1, rows, [])
    built: list[str] = []
    original: Callable[..., Any] = SiteMapper.ready
    monkeypatch.setattr(
        SiteMapper, "ready", lambda self, one, *more: built.append(one.variable) or original(self, one, *more)
    )

    items = plan(db, "leon", mapper, Push())

    assert [next(items).variable, next(items).variable] == ["v000", "v001"] == built
    assert sum(1 for _ in items) == MANY - 2


def test_what_was_written_is_read_in_the_order_that_is_asked_for(db: sqlite3.Connection) -> None:
    rows = [written(number, "rejected" if number % 2 else "confirmed") for number in range(MANY)]
    with transaction(db):
        put_pushes(db, "leon", rows, 1)
        put_pushes(db, "madrid", [written(MANY)], 1)
    names = [one.identifier for one in rows]
    asked = [*reversed(names), "n9999", names[3]]
    assert [one.identifier for one in each_pushed(db, "leon", iter(asked))] == [*reversed(names), names[3]]
    assert list(each_pushed(db, "leon", names)) == rows
    assert sorted(identifiers_of(db, "leon")) == names
    assert {one[:6] for one in standing(db, "leon", ("rejected",))} == {
        one[:6] for one in rows if one.state == "rejected"
    }
    assert len(list(standing(db, "leon"))) == MANY
