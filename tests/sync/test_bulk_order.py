"""What is asked of an export: its types, its level, when it is another one; and the times by which changes are asked for."""

from contextlib import nullcontext
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dm_fhir.config import Auth, Bulk, Cohort, Pull, Site
from dm_fhir.store.database import open_store
from dm_fhir.store.ledger import Unit, begin_run, now, put_units
from dm_fhir.sync.bulk.order import MEDICATION, may_lack, moment_of, order_of, said_as, since_of

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Tables:
    """As much of the mappings as an order asks."""

    def __init__(self, scope: str = "codes", *, reads_forms: bool = False) -> None:
        self.scope, self.reads_forms = scope, reads_forms


def site(bulk: Bulk | None = None, **more: Any) -> Site:
    return Site("leon", "https://fhir.test", "UTC", (), {}, Auth(), Pull(mode="bulk"), bulk=bulk or Bulk(), **more)


def asked(one: Site, tables: Tables | None = None) -> str:
    return order_of(one, tables or Tables()).asked  # type: ignore[arg-type]


def test_everything_that_a_pull_reads() -> None:
    order = order_of(site(), Tables())  # type: ignore[arg-type]
    assert order.export(None).level == "Patient"
    assert order.types == (
        "Patient", "MedicationAdministration", "Observation", "Condition", "MedicationRequest", "MedicationStatement",
        "AdverseEvent", "Medication",
    )  # fmt: skip
    assert "QuestionnaireResponse" in order_of(site(), Tables(reads_forms=True)).types  # type: ignore[arg-type]
    assert order_of(site(Bulk(types=("Observation", "Patient"))), Tables()).types == ("Patient", "Observation")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("level", "path"), [("group", "Group/7/$export"), ("patient", "Patient/$export"), ("system", "$export")]
)
def test_levels(level: Any, path: str) -> None:
    order = order_of(site(Bulk(level=level, group="Group/7" if level == "group" else None)), Tables())  # type: ignore[arg-type]
    assert order.export("2026-01-01T00:00:00Z").path == path


def test_what_makes_it_another_export(tmp_path: Path) -> None:
    listed = tmp_path / "list.txt"
    listed.write_text("a\n", encoding="utf-8")
    of_list = site(cohort=Cohort("patients", patients=listed))
    every = [
        asked(site()),
        asked(site(), Tables("other codes")),
        asked(site(Bulk(level="system"))),
        asked(site(Bulk(types=("Patient",)))),
        asked(site(Bulk(type_filters=("Observation?category=exam",)))),
        asked(site(Bulk(elements=("code",)))),
        asked(site(cohort=Cohort("condition"))),
        asked(of_list),
    ]
    listed.write_text("a\nb\n", encoding="utf-8")
    every.append(asked(of_list))
    assert len(set(every)) == len(every)
    assert asked(site(Bulk(keep_files=True, longest_days=3))) == asked(site())


def test_a_type_more_leaves_what_the_others_ask() -> None:
    few, more = (order_of(site(Bulk(types=types)), Tables()) for types in (("Patient",), ("Patient", "Observation")))  # type: ignore[arg-type]
    assert few.asked != more.asked
    assert few.units["bulk: Patient"] == more.units["bulk: Patient"]


def test_only_a_whole_server_must_have_medications() -> None:
    order = order_of(site(), Tables())  # type: ignore[arg-type]
    assert may_lack(order, MEDICATION)
    assert not may_lack(order, "Observation")
    assert not may_lack(order_of(site(Bulk(level="system")), Tables()), MEDICATION)  # type: ignore[arg-type]


@given(st.integers(0, 4 * 10**15), st.integers(-14 * 60, 14 * 60))
def test_a_mark_is_never_later_than_the_time_and_never_a_second_earlier(microseconds: int, minutes: int) -> None:
    moment = (EPOCH + timedelta(microseconds=microseconds)).astimezone(timezone(timedelta(minutes=minutes)))
    mark = moment_of(moment.isoformat())
    assert mark is not None
    assert mark.endswith("Z")
    assert timedelta(0) <= moment - datetime.fromisoformat(mark).astimezone(UTC) < timedelta(seconds=1)


@pytest.mark.parametrize(
    "text", [None, "", "yesterday", "2026-01-01T00:00:00", "2026-13-01T00:00:00Z", "0001-01-01T00:00:00+14:00"]
)
def test_what_is_no_time_is_none(text: str | None) -> None:
    assert moment_of(text) is None


def test_of_several_exports_in_one_second_the_first_is_gone_on_from() -> None:
    times = ["2026-01-01T00:00:00.1Z", "2026-01-01T01:00:01.2+01:00", "2026-01-01T00:00:01.7Z"]
    assert said_as("2026-01-01T00:00:01Z", times) == times[1]
    assert said_as("2026-01-01T00:00:02Z", times) is None


def test_changes_are_asked_for_since_the_oldest_of_all_marks(tmp_path: Path) -> None:
    """A type that was not complete in the last export keeps its mark: from there on its changes are not yet known."""
    db = open_store(tmp_path / "store.sqlite", "anifrolumab")
    run = begin_run(db, "pull")
    order = order_of(site(), Tables())  # type: ignore[arg-type]
    marks = dict.fromkeys(order.units, "2026-01-02T00:00:00Z") | {"bulk: Observation": "2026-01-01T00:00:00Z"}
    put_units(
        db,
        [
            Unit("leon", "", query, state="complete", reason=None, watermark=marks[query], run=run, asked=asked_, read_in_full=now())
            for query, asked_ in order.units.items()
        ],
    )  # fmt: skip
    for number, time in enumerate(("2026-01-01T00:00:00.5Z", "2026-01-02T00:00:00Z")):
        db.execute(
            "INSERT INTO bulk_job (number, site, asked, begun, run, state, transaction_time, marks) "
            "VALUES (?, 'leon', '', '', ?, 'ended', ?, '{}')",
            (number, run, time),
        )
    puller = SimpleNamespace(full=False, name="leon", site=order.site, reading=lambda: nullcontext(db), settings=None)
    assert since_of(puller, order) == "2026-01-01T00:00:00.5Z"  # type: ignore[arg-type]
    puller.full = True
    assert since_of(puller, order) is None  # type: ignore[arg-type]
    db.close()
