"""--help answers at once: it loads nothing that it does not need."""

import json
import subprocess
import sys

import pytest

HEAVY = {"requests", "urllib3", "jsonschema", "fhir", "jinja2", "sqlite3", "msgspec", "jwt", "cryptography", "tenacity", "rich"}  # fmt: skip
PROGRAM = """
import json, sys
from dm_fhir.cli.main import call
code = call(sys.argv[1:])
print(json.dumps([code, sorted({name.partition(".")[0] for name in sys.modules})]))
"""


@pytest.mark.parametrize("words", [["--help"], ["--version"]])
def test_help_loads_nothing_heavy(words: list[str]) -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM, *words], capture_output=True, text=True, check=True)
    code, loaded = json.loads(done.stdout.splitlines()[-1])

    assert code == 0
    assert HEAVY & set(loaded) == set()


def test_the_list_of_heavy_ones_is_of_those_that_a_command_loads() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, "status", "--help"], capture_output=True, text=True, check=True
    )
    _, loaded = json.loads(done.stdout.splitlines()[-1])

    assert {"sqlite3", "msgspec"} <= set(loaded)
