"""zsh reads the script and is handed commands and sites. What it draws of them is zsh's own."""

from pathlib import Path

import pytest
from tests.cli.test_completion import script, typed_in

pytestmark = pytest.mark.tool

#: In place of zsh's line editor, which needs a terminal: prints what it would be given.
_DRAWN = """
compdef() { }
_describe() { print -rl -- ${completions_with_descriptions%%:*} }
compadd() { print -rl -- $completions }
"""
_ASK = "words=({}); CURRENT={}; _dm_fhir_completion\n"


def test_zsh_completes(tmp_path: Path) -> None:
    text = _DRAWN + script("zsh") + _ASK.format("dm-fhir st", 2) + _ASK.format("dm-fhir status --site le", 4)
    assert typed_in(["zsh", "-f", "-c"], text, tmp_path) == ["status", "leon", "leida"]
