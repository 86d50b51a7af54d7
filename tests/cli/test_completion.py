"""What a shell is offered, and that a command's name costs no command's import."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import click
import pytest

from dm_fhir.cli.completion import site_names
from dm_fhir.cli.main import COMMANDS, main

CONFIG = '[study]\ntitle = "x"\ndrug = "anifrolumab"\n[[site]]\nname = "leon"\n[[site]]\nname = "leida"\n[[site]]\nname = "madrid"\n'
PROGRAM = Path(sys.executable).with_name("dm-fhir")
#: Prints what is offered, and on a last line what was imported for it.
_ASKED = """
import json, sys
from dm_fhir.cli.main import run
try:
    run()
except SystemExit:
    print(json.dumps(sorted(sys.modules)))
"""
Offered = Callable[..., list[str]]


def asked(folder: Path, line: str) -> tuple[list[str], set[str]]:
    """What is offered for the last word of a line, and the modules that were loaded."""
    words = line.split(" ")
    env = {name: value for name, value in os.environ.items() if not name.startswith("DM_FHIR")}
    asking = {"_DM_FHIR_COMPLETE": "bash_complete", "COMP_WORDS": line, "COMP_CWORD": str(len(words) - 1)}
    done = subprocess.run([sys.executable, "-c", _ASKED], cwd=folder, env=env | asking, capture_output=True, text=True, check=True)  # fmt: skip
    *offered, modules = done.stdout.splitlines()
    assert done.stderr == ""
    return [one.partition(",")[2] for one in offered if one], set(json.loads(modules))


@pytest.fixture
def offered(tmp_path: Path) -> Offered:
    """What is offered in a folder that has a config."""
    (tmp_path / "dm-fhir.toml").write_text(CONFIG, encoding="utf-8")
    return lambda line: asked(tmp_path, line)[0]


def test_every_command_is_offered_and_none_is_imported(tmp_path: Path) -> None:
    names, modules = asked(tmp_path, "dm-fhir ")
    assert names == list(COMMANDS)
    loaded = {name for name in modules if name.startswith("dm_fhir.")}
    assert loaded == {"dm_fhir.cli", "dm_fhir.cli.ending", "dm_fhir.cli.main", "dm_fhir.errors"}
    assert not {"msgspec", "requests", "sqlite3", "jsonschema"} & modules


def test_commands_that_begin_so_and_options_are_offered(offered: Offered) -> None:
    assert offered("dm-fhir st") == ["status"]
    assert offered("dm-fhir --log-format ") == ["text", "json"]
    assert {"--site", "--json"} <= set(offered("dm-fhir status --"))
    assert offered("dm-fhir schedule ") == ["systemd", "cron", "k8s"]
    assert set(offered("dm-fhir map ")) >= {"check", "diff", "show"}


@pytest.mark.parametrize("command", ["status", "sync", "import x.csv", "keys create", "map show", "validate"])
def test_sites_are_those_of_the_config(offered: Offered, command: str) -> None:
    assert offered(f"dm-fhir {command} --site ") == ["leon", "leida", "madrid"]
    assert offered(f"dm-fhir {command} --site le") == ["leon", "leida"]


def test_sites_are_those_of_the_config_that_was_named(
    offered: Offered, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "other.toml"
    other.write_text(CONFIG.replace("madrid", "lugo"), encoding="utf-8")
    assert offered(f"dm-fhir --config {other} status --site l") == ["leon", "leida", "lugo"]
    env = os.environ | {"DM_FHIR_CONFIG": str(other)}
    asking = {"_DM_FHIR_COMPLETE": "bash_complete", "COMP_WORDS": "dm-fhir status --site l", "COMP_CWORD": "3"}
    done = subprocess.run([PROGRAM], cwd=tmp_path, env=env | asking, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["plain,leon", "plain,leida", "plain,lugo"]


@pytest.mark.parametrize(
    "config", ["", "site = 1", "[[site]]\nendpoint = 'x'", "not TOML", "[[site]]\nname = 3", "\udcff"]
)
def test_a_config_that_cannot_be_read_offers_nothing_and_says_nothing(tmp_path: Path, config: str) -> None:
    path = tmp_path / "dm-fhir.toml"
    typing = click.Context(main)
    typing.params["config"] = path
    assert site_names(typing, click.Option(["--site"]), "") == []
    path.write_bytes(config.encode(errors="surrogateescape"))
    assert site_names(typing, click.Option(["--site"]), "") == []


def script(shell: str) -> str:
    """What the documentation has users put into their shell's folder."""
    env = os.environ | {"_DM_FHIR_COMPLETE": f"{shell}_source"}
    return subprocess.run([PROGRAM], env=env, capture_output=True, text=True, check=True).stdout


def typed_in(shell: list[str], text: str, folder: Path) -> list[str]:
    """The lines that a shell prints for a script of its own, in a folder with a config, with the program on its way."""
    (folder / "dm-fhir.toml").write_text(CONFIG, encoding="utf-8")
    env = os.environ | {"PATH": f"{PROGRAM.parent}:{os.environ['PATH']}", "HOME": str(folder)}
    done = subprocess.run([*shell, text], cwd=folder, env=env, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


def test_bash_completes(tmp_path: Path) -> None:
    ask = "COMPREPLY=(); COMP_WORDS=({}); COMP_CWORD={}; _dm_fhir_completion dm-fhir; echo ${{COMPREPLY[@]}}\n"
    text = script("bash") + ask.format("dm-fhir st", 1) + ask.format("dm-fhir status --site le", 3)
    assert typed_in(["bash", "-c"], text, tmp_path) == ["status", "leon leida"]
