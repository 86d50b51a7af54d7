"""fish completes commands, with what they do, and sites."""

from pathlib import Path

import pytest
from tests.cli.test_completion import script, typed_in

from dm_fhir.cli.main import COMMANDS

pytestmark = pytest.mark.tool


def test_fish_completes(tmp_path: Path) -> None:
    text = f"{script('fish')}\ncomplete -C 'dm-fhir st'\ncomplete -C 'dm-fhir status --site le'\n"
    found = typed_in(["fish", "-c"], text, tmp_path)
    # fish's script, which is click's, cuts a description at its first comma.
    assert found == [f"status\t{COMMANDS['status'].partition(',')[0]}", "leida", "leon"]
