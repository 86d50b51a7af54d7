"""docs/servers.md says what is so: its vendor table is the project's, and whatever it calls tested has a test."""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

from dm_fhir.fhir.vendors import vendors

from ..faults.scenarios import SCENARIOS
from .vendor_table import DOCS, shown_table, vendor_table

TESTS = Path(__file__).parents[1]
BEHAVIOURS = 82
TEXT = DOCS.read_text(encoding="utf-8")
README = (TESTS.parent / "README.md").read_text(encoding="utf-8")


class Behaviour(NamedTuple):
    """One row of `What servers do`."""

    number: int
    seen: str
    answer: str
    shown_by: str


def behaviours() -> Iterator[Behaviour]:
    """The rows, whichever table of the section they stand in."""
    for line in TEXT.partition("\n## What servers do\n")[2].splitlines():
        cells = [cell.strip() for cell in line.strip("| ").split(" | ")]
        if line.startswith("| ") and cells[0].isdigit():
            assert len(cells) == 4, line
            yield Behaviour(int(cells[0]), *cells[1:])


ROWS = list(behaviours())


@cache
def every_test() -> frozenset[str]:
    """The names of all tests."""
    trees = (ast.parse(path.read_text(encoding="utf-8")) for path in TESTS.rglob("test_*.py"))
    return frozenset(node.name for tree in trees for node in ast.walk(tree) if isinstance(node, ast.FunctionDef))


def test_every_behaviour_has_its_row() -> None:
    assert [row.number for row in ROWS] == list(range(1, BEHAVIOURS + 1))
    assert not [row for row in ROWS if not (row.seen and row.answer)]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: str(row.number))
def test_every_row_is_shown_by_tests_or_says_its_limit(row: Behaviour) -> None:
    tested, _, limit = row.shown_by.partition("limit: ")
    named = re.findall(r"`(\w+)`", tested)
    faults = [int(number) for number in re.findall(r"\bT(\d+)\b", tested)]

    assert named or faults or limit
    assert not set(named) - every_test(), "no such test"
    assert not set(faults) - {scenario.t for scenario in SCENARIOS}, "no such fault"
    assert not re.sub(r"`test_\w+`|T\d+|[,; ]", "", tested), "what is this?"


def test_the_faults_that_are_spoken_of_are_in_the_readme() -> None:
    faults = {number for row in ROWS for number in re.findall(r"\bT(\d+)\b", row.shown_by)}

    assert "../README.md#what-servers-do-to-a-pull" in TEXT
    assert "\n## What servers do to a pull\n" in README
    assert not [number for number in faults if f"| T{number} |" not in README]


def test_the_vendor_table_is_the_projects() -> None:
    assert shown_table() == vendor_table(), "python -m tests.servers.vendor_table"


@pytest.mark.parametrize("name", vendors())
def test_a_vendors_row_has_its_settings(name: str) -> None:
    [row] = [line for line in shown_table().splitlines() if line.startswith(f"| **{name}** |")]

    assert not [setting for setting in vendors()[name].settings if f"`{setting} = " not in row]
    assert not [remark for remark in vendors()[name].remarks if remark not in row]


def test_it_says_that_no_vendor_was_checked_at_a_hospital() -> None:
    section = TEXT.partition("\n## Vendors\n")[2].partition("\n## ")[0]

    assert "Nothing in this table was checked against a hospital's own server" in section


def test_the_links_lead_somewhere() -> None:
    links = re.findall(r"\]\(([^)\s]+)\)", TEXT)
    headings = {
        re.sub(r"[^\w -]", "", line.lstrip("# ")).lower().replace(" ", "-")
        for line in TEXT.splitlines()
        if line.startswith("#")
    }

    assert links
    for link in links:
        place, _, heading = link.partition("#")
        assert place or heading in headings, link
        assert not place or (DOCS.parent / place).exists(), link
