"""The table of the faults: what the server did, what dm-fhir came to."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from string import ascii_lowercase
from typing import NamedTuple

from .outcomes import KEYS
from .peers import BEST_PEER
from .scenarios import ANY, SCENARIOS, Scenario
from .study import Ran, Study
from .write_scenarios import WRITE_SCENARIOS, WriteScenario
from .write_study import Began

README = Path(__file__).parents[2] / "README.md"
BEGIN, END = "<!-- faults -->\n", "<!-- /faults -->"
_LONGEST_MESSAGE = 90


class Observed(NamedTuple):
    """What a pull or a push came to. `rows`: of the patient in the store, or outcomes on the server."""

    rows: int
    code: int
    ledger: str
    message: str


def observed(scenario: Scenario, study: Study, ran: Ran) -> Observed:
    """What this pull came to, by the store and by what it said."""
    unit = study.units().get(scenario.query)
    ledger = "-" if unit is None else f"{unit.state} ({unit.reason})" if unit.reason else unit.state
    said = unit.message if unit is not None and unit.message else _error(ran)
    return Observed(len(study.observations()), ran.code, ledger, _cut(said))


def observed_write(began: Began, ran: Ran) -> Observed:
    """What this push came to: how many outcomes are on the server, and how they stand in the ledger."""
    states = Counter(began.states().values())
    ledger = ", ".join(f"{count} {state}" for state, count in sorted(states.items()))
    messages = [row.message for row in began.rows().values() if row.message]
    said = messages[0] if messages else _error(ran)
    return Observed(sum(began.run.shelf.count().values()), ran.code, ledger, _cut(said))


def _error(ran: Ran) -> str:
    lines = [line.strip() for line in ran.text.splitlines()]
    return next((line for line in lines if line.startswith(("dm-fhir: ", "stopped: "))), "")


def _cut(text: str) -> str:
    text = " ".join(text.split()).replace("|", "/")
    return text if len(text) <= _LONGEST_MESSAGE else text[: _LONGEST_MESSAGE - 1] + "…"


def print_table(write: Callable[[str], None], seen: Mapping[str, Observed], *, is_good: bool) -> None:
    """The table as Markdown."""
    write("| fault | the server | rows, or outcomes on the server | exit | ledger | message |")
    write("|---|---|---|---|---|---|")
    for scenario in sorted((*SCENARIOS, *WRITE_SCENARIOS), key=lambda one: one.t):
        if one := seen.get(scenario.id):
            write(f"| {scenario.id} | {scenario.does} | {one.rows} | {one.code} | {one.ledger} | {one.message} |")
    write("as required" if is_good else "not everything is as required: see the failures above")


def readme_table() -> str:
    """The table of the README: a row for every fault, what the best peer did, and what dm-fhir does, by the scenarios."""
    rows = ["| | the server | best peer | dm-fhir |", "|---|---|---|---|"]
    for t, group in groupby(sorted((*SCENARIOS, *WRITE_SCENARIOS), key=lambda one: one.t), key=lambda one: one.t):
        variants = {one.does: _outcome(one) for one in group if not one.fault.endswith("-once") or t in (8, 64)}
        rows.append(f"| T{t} | {_lettered(list(variants))} | {BEST_PEER[t]} | {_outcomes(list(variants.values()))} |")
    return "\n".join([*rows, ""])


def write_readme() -> None:
    """Put the table between its marks in the README."""
    text = README.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    README.write_text(f"{before}{BEGIN}{readme_table()}{END}{after}", encoding="utf-8")


def _lettered(texts: Sequence[str]) -> str:
    if len(texts) == 1:
        return texts[0]
    return "; ".join(f"({letter}) {text}" for letter, text in zip(_LETTERS, texts, strict=False))


def _outcomes(outcomes: Sequence[str]) -> str:
    """What dm-fhir comes to in each variant; those with the same outcome together."""
    by_outcome: dict[str, str] = {}
    for letter, outcome in zip(_LETTERS, outcomes, strict=False):
        by_outcome[outcome] = by_outcome.get(outcome, "") + letter
    if len(by_outcome) == 1:
        return next(iter(by_outcome))
    return "; ".join(f"({', '.join(letters)}) {outcome}" for outcome, letters in by_outcome.items())


def _outcome(scenario: Scenario | WriteScenario) -> str:
    if isinstance(scenario, WriteScenario):
        return _written(scenario)
    reason = f" ({scenario.reason[0]})" if scenario.reason else ""
    rows = "" if scenario.rows == ANY else f"{scenario.rows} rows, "
    state = f", {scenario.state}{reason}" if scenario.state not in (None, "complete") else ""
    return f"{rows}exit {scenario.exit}{state}"


def _written(scenario: WriteScenario) -> str:
    """How many of the twenty outcomes are on the server just once, the exit code, and how those stand that are not confirmed."""
    once = sum(scenario.stored.get(key, 1) == 1 for key in KEYS.values())
    stored = max(scenario.stored.get("*", once), 0)
    named = {key: state for key, state in scenario.states.items() if state}
    states = ", ".join(f"{'all' if key == '*' else key} {state}" for key, state in named.items())
    return f"{stored} stored once, exit {scenario.exit}{f', {states}' if states else ''}"


_LETTERS = ascii_lowercase
