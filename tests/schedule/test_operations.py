"""docs/operations.md names commands and options that there are, and says what to do for every exit code."""

import re
import shlex
from pathlib import Path

import click
import pytest

from dm_fhir.cli.main import COMMANDS, main
from dm_fhir.errors import EXIT_CODES

TEXT = (Path(__file__).parents[2] / "docs" / "operations.md").read_text(encoding="utf-8")
LINES = [line.strip() for block in re.findall(r"```sh\n(.*?)```", TEXT, re.DOTALL) for line in block.splitlines()]
TYPED = [line for line in LINES if line.startswith("dm-fhir ") and line != "dm-fhir --version"]


@pytest.mark.parametrize("line", TYPED)
def test_what_is_to_be_typed_can_be_typed(line: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    words = shlex.split(line)[1:]
    words = words[2:] if words[0] == "--config" else words
    command = main.get_command(click.Context(main), words[0])
    assert command is not None
    rest = words[1:]
    if isinstance(command, click.Group) and rest and rest[0] in command.commands:
        command, rest = command.commands[rest[0]], rest[1:]
    known = {option for parameter in command.params for option in parameter.opts}
    assert {word for word in rest if word.startswith("-")} <= known


def test_every_command_in_the_text_is_one() -> None:
    named = set(re.findall(r"`dm-fhir ([a-z-]+)", TEXT))
    assert named <= set(COMMANDS)


def test_every_exit_code_has_its_row() -> None:
    section = TEXT.split("## What to do for each exit code")[1].split("\n## ")[0]
    assert [int(code) for code in re.findall(r"^\| (\d+) \|", section, re.MULTILINE)] == list(EXIT_CODES)


def test_links_into_this_page_and_beside_it_lead_somewhere() -> None:
    headings = {
        re.sub(r"[^a-z0-9 -]", "", line[3:].lower()).replace(" ", "-")
        for line in TEXT.splitlines()
        if line.startswith("## ")
    }
    anchors = set(re.findall(r"\]\(#([^)]+)\)", TEXT))
    assert anchors <= headings
    files = set(re.findall(r"\]\(([a-z-]+\.md)", TEXT))
    assert {name for name in files if not (Path(__file__).parents[2] / "docs" / name).is_file()} == set()
