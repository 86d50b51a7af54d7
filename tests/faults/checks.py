"""What must hold after a pull: the scenario's own row, and what must hold whatever happened."""

import re
import tomllib
from collections import Counter
from collections.abc import Mapping, Sequence

from dm_fhir.store.ledger import Unit

from .hospital import CONDITIONS
from .scenarios import ANY, SOME, Scenario
from .server import BEARER, Logged, Run
from .study import CLIENT_SECRET, Ran, Study

WAITING_BUDGET_SECONDS = 1800
_QUERY_STRING = re.compile(r"[?&](patient|subject|page|date|_count|_offset|_lastUpdated)=")


def check_row(scenario: Scenario, study: Study, run: Run, ran: Ran) -> None:
    """What the scenario requires: exit code, rows, ledger, message, waiting, requests."""
    units = study.units()
    assert (ran.code, len(study.observations())) == (scenario.exit, scenario.rows), ran.text
    _check_unit(scenario, units.get(scenario.query))
    _check_notes(scenario, units.values())
    set_aside = sorted(reason for reason, _ in study.set_aside())
    assert set_aside == sorted(scenario.quarantined), set_aside
    _check_conditions(scenario, study, units)
    _check_told_rows(units.get(scenario.query), len(study.observations()))
    missing = [words for words in scenario.says if not re.search(words, ran.text)]
    assert not missing, ran.text
    if scenario.waits:
        assert scenario.waits[0] <= sum(ran.waits) <= scenario.waits[1], ran.waits
    _check_requests(scenario, run.log)


def _check_unit(scenario: Scenario, unit: Unit | None) -> None:
    if scenario.state is None:
        assert unit is None or (unit.state != "complete" and unit.unique == 0), unit
        return
    assert unit is not None, "the unit is not in the ledger"
    assert unit.state == scenario.state, unit
    assert unit.reason in (scenario.reason or (None,)), unit
    wanted = {
        "expected": scenario.expected,
        "unique": scenario.rows if scenario.unique is None else scenario.unique,
        "received": scenario.received,
        "pages": scenario.pages,
        "retries": scenario.retries,
    }
    wanted = {name: count for name, count in wanted.items() if count != ANY}
    assert {name: getattr(unit, name) for name in wanted} == wanted, unit


def _check_told_rows(unit: Unit | None, rows: int) -> None:
    """A message that says how many are stored says the truth."""
    told = re.search(r"(\d+) of \d+ stored", (unit and unit.message) or "")
    assert told is None or int(told[1]) == rows, (unit, rows)


def _check_notes(scenario: Scenario, units: Sequence[Unit]) -> None:
    notes: Counter[str] = Counter()
    for unit in units:
        notes.update(unit.notes)
    wrong = {name: notes[name] for name, count in scenario.notes.items() if not _is(notes[name], count)}
    assert not wrong, f"{wrong} of {dict(notes)}, expected {dict(scenario.notes)}"


def _is(count: int, wanted: int) -> bool:
    return count >= 1 if wanted == SOME else count == wanted


def _check_conditions(scenario: Scenario, study: Study, units: Mapping[str, Unit]) -> None:
    unit = units.get("Condition?patient")
    is_there = unit is not None and unit.state == "complete" and len(study.conditions()) == unit.unique == CONDITIONS
    assert scenario.has_conditions in (None, is_there), unit


def _check_requests(scenario: Scenario, log: Sequence[Logged]) -> None:
    pages = [line for line in log if line.page and not line.parameter("date") and not line.parameter("_lastUpdated")]
    times = Counter(line.page for line in pages)
    assert not {page: times[page] for page, most in scenario.asked.items() if times[page] > most}, times
    assert scenario.most_pages is None or len(pages) <= scenario.most_pages, times


def check_always(study: Study, run: Run, ran: Ran, *, scenario: Scenario | None = None) -> None:
    """The invariants of a first pull."""
    units = study.units()
    optional = tomllib.loads(f"is = {(scenario and scenario.pull.get('optional_types')) or '[]'}")["is"]
    _check_exit_code(ran, units, has_set_aside=bool(study.set_aside()), optional=optional)
    marked = {query: unit.watermark for query, unit in units.items() if unit.watermark is not None}
    assert set(marked) == {query for query, unit in units.items() if unit.state == "complete"}, marked
    check_secrecy(ran, run, [unit.message or "" for unit in units.values()])
    check_origins(ran, run.log, may_leave=bool(scenario and "redirect_hosts" in scenario.site))
    assert not scenario or not scenario.tls or all(line.is_tls for line in run.log)
    assert not any(part in line.path for line in run.log for part in ("..", "passwd", "?"))
    assert sum(ran.waits) <= WAITING_BUDGET_SECONDS
    _check_summary(ran, study)


def _check_exit_code(ran: Ran, units: Mapping[str, Unit], *, has_set_aside: bool, optional: Sequence[str]) -> None:
    """0 if and only if everything is complete and nothing set aside."""
    open_units = [
        query
        for query, unit in units.items()
        if unit.state != "complete" and not (unit.state == "unsupported" and query.partition("?")[0] in optional)
    ]
    assert (ran.code == 0) == (bool(units) and not open_units and not has_set_aside), (ran.code, open_units)


def check_secrecy(ran: Ran, run: Run, messages: Sequence[str]) -> None:
    """No credential and no query string where people read. `messages` are the ledger's."""
    text = "\n".join([ran.text, *messages])
    assert not [secret for secret in (BEARER, CLIENT_SECRET, "eyJ", "cookie-4711", *run.tokens) if secret in text], text
    assert not _QUERY_STRING.search(text), _QUERY_STRING.search(text)


def check_origins(ran: Ran, log: Sequence[Logged], *, may_leave: bool) -> None:
    """Nothing that opens a door goes to another host; nothing at all, unless the site allows it."""
    elsewhere = [line for line in log if line.address != "127.0.0.1"]
    assert not [line for line in elsewhere if line.carried or not may_leave], elsewhere
    assert not ran.looked_up, ran.looked_up


def _check_summary(ran: Ran, study: Study) -> None:
    """The last line is the summary, and `status` gives the same numbers."""
    told = re.fullmatch(r"pull: units: (.*); exit (\d+)( \(.+\))?", ran.last_line)
    assert told, ran.out
    assert int(told[2]) == ran.code
    counts: Counter[str] = Counter()
    for site in study.status()["sites"]:
        counts.update(site["units"])
    said = dict(part.split(" ")[::-1] for part in told[1].split(", ")) if told[1] != "none" else {}
    assert said == {state: str(count) for state, count in counts.items() if count}, (said, counts)


def check_healed(
    study: Study, ran: Ran, before: Mapping[str, Unit], log: Sequence[Logged], *, rows: int, is_full: bool
) -> None:
    """What a pull from the healthy server ends with, and that it asked in full only for what had not been complete."""
    assert (ran.code, len(study.observations()), len(study.conditions())) == (0, rows, CONDITIONS), ran.text
    units = study.units()
    assert {unit.state for unit in units.values()} == {"complete"}, units
    assert study.set_aside() == [], ran.text
    if not is_full:
        types = {query.partition("?")[0] for query, unit in before.items() if unit.state == "complete" and "?" in query}
        # What was set aside has been mended without a new date: only a full answer can show that.
        types -= {
            query.partition("?")[0]
            for query, unit in before.items()
            if unit.state != "complete" or unit.notes.get("set_aside")
        }
        again = [
            line for line in log if line.type in types and not line.parameter("_lastUpdated") and line.status == 200
        ]
        assert not again, "complete units were asked for once more"
