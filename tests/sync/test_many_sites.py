"""Many sites in one run: side by side within a budget, none holds another, and the result is the same whatever the number at a time."""

import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from dm_fhir.fhir import budget
from dm_fhir.store.turns import SharedConnection
from dm_fhir.sync import side_by_side

from .many import Hospitals, Manner, content, hospitals

#: Until when a site has been read.
_UNTIL = re.compile(r'("site-[0-9]+"):"[^"]*Z"')
HEAD = "[sync]\nsites_at_a_time = {}\nmost_requests = {}\n"


@pytest.fixture
def thirty() -> Iterator[Hospitals]:
    with hospitals({f"site-{number:02}": "well" for number in range(30)}) as here:
        yield here


class Watched(NamedTuple):
    """Which threads had the store, and in whose transaction another one's statement came to stand."""

    users: set[int]
    intruders: list[tuple[int, int]]


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> Watched:
    """The store looks who it is at each statement, which is when the others must be waiting."""
    found, owner, original = Watched(set(), []), [0], SharedConnection._check

    def look(self: SharedConnection) -> None:
        me = threading.get_ident()
        if not self.in_transaction:
            owner[0] = me
        elif owner[0] != me:
            found.intruders.append((owner[0], me))
        found.users.add(me)
        original(self)

    monkeypatch.setattr(SharedConnection, "_check", look)
    return found


def test_no_statement_gets_into_another_threads_transaction(
    thirty: Hospitals, tmp_path: Path, watched: Watched
) -> None:
    study = thirty.study(tmp_path / "study", HEAD.format(12, 64))
    assert study.type("sync").code == 0
    assert watched.intruders == []
    assert len(watched.users) > 12
    assert study.ask("PRAGMA integrity_check") == [("ok",)]


def test_the_store_and_the_export_are_the_same_one_site_at_a_time_and_eight(tmp_path: Path) -> None:
    found = []
    for number in (1, 8):
        with hospitals({f"site-{number:02}": "well" for number in range(30)}, patients=1) as here:
            here.manners["site-07"] = here.manners["site-21"] = "breaks"
            here.manners.update(dict.fromkeys(("site-11", "site-12", "site-13"), "slow"))
            study = here.study(tmp_path / "study", HEAD.format(number, 32), concurrency=1)
            assert study.type("sync").code == 3
            exported = tmp_path / "study" / "cases.json"
            assert study.type("export", "--format", "json", "--identified", "-o", str(exported)).code == 0
            found.append((content(study), _UNTIL.sub(r"\1", exported.read_text())))
            assert {name for name, _ in here.asked} == set(here.manners)
            assert (max(most for _, most in here.asked) > 1) == (number > 1)
        study.config.parent.rename(tmp_path / str(number))
    (store, text), (other_store, other_text) = found
    assert sum(map(len, store.values())) > 1000
    for table, rows in store.items():
        assert rows == other_store[table], table
    assert text == other_text


def test_sites_that_hang_hold_up_neither_the_requests_nor_the_places_of_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three places, two requests: the first five sites have them all, and never answer."""
    monkeypatch.setattr(budget, "PATIENCE_SECONDS", 0.2)
    monkeypatch.setattr(side_by_side, "PATIENCE_SECONDS", 0.2)
    manners: dict[str, Manner] = {f"a-{number}": "hangs" for number in range(5)}
    manners |= {f"b-{number}": "well" for number in range(4)}
    with hospitals(manners, patients=1) as here:
        study = here.study(tmp_path / "study", HEAD.format(3, 2), read_timeout_seconds=10)
        before_the_first_gave_up: list[set[str]] = []

        def give_up() -> None:
            before_the_first_gave_up.append(
                {row[0] for row in study.ask("SELECT site FROM unit WHERE query = 'whole plan' AND state = 'complete'")}
            )
            here.released.set()

        threading.Timer(6, give_up).start()
        study.type("pull")
    assert before_the_first_gave_up == [{"b-0", "b-1", "b-2", "b-3"}]


@pytest.mark.parametrize("most", [1, 3])
def test_no_more_requests_at_a_time_than_the_budget_has(tmp_path: Path, most: int) -> None:
    with hospitals({f"site-{number}": "slow" for number in range(6)}, patients=1) as here:
        study = here.study(tmp_path / "study", HEAD.format(6, most))
        assert study.type("pull").code == 0
        assert max(active for _, active in here.asked) == most
