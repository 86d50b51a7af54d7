"""What must hold after a push: the scenario's own row, and what must hold whatever happened."""

import re
from collections import Counter
from collections.abc import Mapping
from typing import TypeVar

from .checks import WAITING_BUDGET_SECONDS, check_origins, check_secrecy
from .hospital import Json
from .outcomes import KEYS
from .server import Run
from .study import Ran
from .write_faults import REMARK
from .write_scenarios import WriteScenario
from .write_study import Began, content

ALL = tuple(KEYS.values())
#: What can no longer be computed where a scenario starts with "gone".
GONE = ("k3", "k7")
T = TypeVar("T")


def check_row(scenario: WriteScenario, began: Began, ran: Ran, ours: Mapping[str, Json]) -> None:
    """What the scenario requires: exit code, what is on the server, ledger, message, waiting, requests."""
    assert ran.code == scenario.exit, ran.text
    check_standing(scenario, began, ran, ours)
    missing = [words for words in scenario.says if not re.search(words, ran.text)]
    assert not missing, ran.text
    rows = began.rows()
    wrong = [
        (key, rows[key].message)
        for key, words in scenario.ledger.items()
        if not re.search(words, rows[key].message or "")
    ]
    assert not wrong, wrong
    if scenario.waits:
        assert scenario.waits[0] <= sum(ran.waits) <= scenario.waits[1], ran.waits
    writes = [line for line in began.run.log if line.writes and line.method in ("PUT", "POST")]
    assert not (scenario.writes_nothing and writes), writes
    if scenario.tries is not None:
        assert sum("k3" in line.writes for line in writes) <= scenario.tries


def check_standing(scenario: WriteScenario, began: Began, ran: Ran, ours: Mapping[str, Json]) -> None:
    """What is on the server of each outcome, and how it stands in the ledger."""
    counts = began.run.shelf.count()
    assert scenario.resources in (None, len(began.run.shelf.current())), began.run.shelf.current()
    if scenario.stored.get("*") is not None:
        assert sum(counts[key] for key in ALL) == scenario.stored["*"] or scenario.stored["*"] == -1, counts
    else:
        assert {key: counts[key] for key in ALL} == _each(scenario.stored, 1), ran.text
    states = began.states()
    if scenario.states.get("*") != "":
        wanted = _each(scenario.states, "confirmed")
        assert {key: states.get(key) for key in ALL} == wanted, ran.text
    for key in ALL:
        whose = scenario.whose.get(key, "ours")
        for one in began.run.shelf.of(key):
            _check_content(whose, key, one, ours, retracted=states.get(key) == "retracted")
    for key in ALL:
        wanted_versions = scenario.versions.get(key, scenario.versions.get("*"))
        if wanted_versions is not None and counts[key]:
            versions = began.run.shelf.versions_of(key)
            assert len(versions) == wanted_versions, (key, versions)


def _check_content(whose: str, key: str, found: Json, ours: Mapping[str, Json], *, retracted: bool) -> None:
    if whose == "ours":
        assert content(found) == content(ours[key]), key
        assert (found["status"] == "entered-in-error") == retracted, found["status"]
    elif whose == "theirs":
        assert found["note"] == [{"text": REMARK}], found
    elif whose == "before":
        assert content(found) != content(ours[key]), "what we meant to write is there"
        assert found["status"] == "final"


def _each(exceptions: Mapping[str, T], usual: T) -> dict[str, T]:
    return {key: exceptions.get(key, exceptions.get("*", usual)) for key in ALL}


def check_always(began: Began, ran: Ran) -> None:
    """The invariants of a push."""
    states, counts, rows = began.states(), began.run.shelf.count(), began.rows()
    is_settled = all(states.get(key) in ("confirmed", "retracted") for key in ALL)
    assert (ran.code == 0) == is_settled, (ran.code, states)
    messages = [row.message or "" for row in rows.values()]
    check_secrecy(ran, began.run, messages)
    check_origins(ran, began.run.log, may_leave=False)
    assert sum(ran.waits) <= WAITING_BUDGET_SECONDS
    told = re.fullmatch(r"(push|sync): (?:.*; )?exit (\d+)( \(.+\))?", ran.last_line)
    assert told, ran.out
    assert int(told[2]) == ran.code
    unnamed = [key for key in ALL if counts[key] > 1 and not rows[key].message]
    assert not unnamed, "what is not once on the server is named in the ledger"
    lost = [key for key in ALL if counts[key] == 0 and states.get(key) in ("confirmed", "retracted")]
    assert not lost, "what is called written is there"
    check_only_ours(began.run)


def check_only_ours(run: Run) -> None:
    """Nothing but Observations and Provenances was written."""
    types = {name for line in run.log for name in line.writes if not name.startswith("k")}
    assert types <= {"Observation", "Provenance"}, types


def check_provenance(began: Began) -> None:
    """Each version that we wrote and that is confirmed has one Provenance; no transmission has two."""
    run, documents = began.run, began.run.shelf.current("Provenance")
    recorded = Counter(one["recorded"] for one in documents)
    assert set(recorded.values()) <= {1}, "a transmission has two Provenances"
    targets = Counter(target["reference"] for one in documents for target in one["target"])
    if run.shelf.manners.provenance != "yes":
        assert not documents
        return
    # Without versions the next transmission's Provenance has the same target.
    assert not run.shelf.manners.versions or set(targets.values()) <= {1}, f"a version has two Provenances: {targets}"
    for key, state in began.states().items():
        if state not in ("confirmed", "retracted"):
            continue
        (one,) = run.shelf.of(key)
        version = f"/_history/{one['meta']['versionId']}" if run.shelf.manners.versions else ""
        found = targets[f"Observation/{one['id']}{version}"]
        assert found, f"{key} has no Provenance"
