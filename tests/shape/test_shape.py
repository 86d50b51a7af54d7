"""The shape of the house: imports run down, every package ships, every command and exit code is documented."""

import ast
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from dm_fhir.cli.main import COMMANDS, main
from dm_fhir.errors import EXIT_CODES, EXIT_PRECEDENCE

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
FOLDERS = {"dm_fhir.cli": "cli", "dm_fhir.mappings": "mappings"}

#: Each room and the rooms below it that it may import. A room may always import itself, `errors` and `dm_fhir`.
BELOW = {
    "errors": set(),
    "validation": set(),
    "model": {"validation"},
    "secret": set(),
    "config_rules": set(),
    "config": {"config_rules", "secret", "model", "validation"},
    "schemas": set(),
    "outcomes": {"model", "config", "validation"},
    "statistics": {"model", "config", "validation", "outcomes"},
    "fhir": {"secret", "model", "config", "validation"},
    "store": {"model", "config", "validation"},
    "export": {"outcomes", "model", "config", "validation"},
    "sync": {"fhir", "store", "outcomes", "statistics", "model", "config", "validation"},
    "report": {"store", "outcomes", "statistics", "model", "config", "validation"},
    "mappings": {"outcomes", "model", "config", "validation"},
    "demo": {"fhir", "config", "model", "statistics"},
    "testing": {"mappings", "fhir", "model", "config"},
}


def modules() -> Iterator[tuple[str, Path]]:
    """Every module of the package by the name it is imported under."""
    for name, folder in {"dm_fhir": "src/dm_fhir", **FOLDERS}.items():
        for path in sorted((ROOT / folder).rglob("*.py")):
            parts = path.relative_to(ROOT / folder).with_suffix("").parts
            yield ".".join((name, *(part for part in parts if part != "__init__"))), path


def imports(path: Path) -> set[str]:
    """What the module imports, wherever in it the line stands."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


def room(name: str) -> str:
    """The room of a module: the first name below dm_fhir."""
    return [*name.split("."), ""][1]


MODULES = dict(modules())


@pytest.mark.parametrize("name", [name for name in MODULES if room(name) not in ("", "cli")])
def test_imports_run_down(name: str) -> None:
    inside = {room(one) for one in imports(MODULES[name]) if one.startswith("dm_fhir.")}
    assert inside - {room(name), "errors", "", "__version__"} <= BELOW[room(name)]


@pytest.mark.parametrize(
    ("package", "rooms"),
    [("requests", {"fhir", "testing"}), ("click", {"cli"}), ("jsonschema", {"validation"}), ("fhir", {"mappings"}), ("responses", {"testing"}), ("sqlite3", {"store", "sync", "report", "cli"})],
)  # fmt: skip
def test_a_library_is_imported_in_its_rooms_only(package: str, rooms: set[str]) -> None:
    users = {room(name) for name, path in MODULES.items() if package in {one.split(".")[0] for one in imports(path)}}
    assert users <= rooms


def test_only_the_command_line_prints() -> None:
    # model/schema.py is run by `make schema`, whose whole work is to print.
    printing = {name for name, path in MODULES.items() if _prints(path)} - {"dm_fhir.model.schema"}
    assert {room(name) for name in printing} <= {"cli"}


def _prints(path: Path) -> bool:
    calls = (node for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.Call))
    return any(isinstance(call.func, ast.Name) and call.func.id == "print" for call in calls)


def test_every_folder_with_python_is_packaged() -> None:
    folders = {name if path.name == "__init__.py" else name.rpartition(".")[0] for name, path in MODULES.items()}
    assert folders == set(PROJECT["tool"]["setuptools"]["packages"])


def test_everything_is_in_the_wheel(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "build", "--quiet", "--outdir", str(tmp_path), str(ROOT)]
    subprocess.run(command, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    inside = {name for name in zipfile.ZipFile(wheel).namelist() if not name.split("/")[0].endswith(".dist-info")}
    assert inside == set(expected_files())


def expected_files() -> Iterator[str]:
    """Every file of the source folders that is not left-over of running them, under its name in the wheel."""
    for name, folder in {"dm_fhir": "src/dm_fhir", **FOLDERS}.items():
        for path in (ROOT / folder).rglob("*"):
            if path.is_file() and "__pycache__" not in path.parts:
                yield f"{name.replace('.', '/')}/{path.relative_to(ROOT / folder).as_posix()}"


def test_the_bare_folder_names_are_imported_nowhere() -> None:
    tests = list((ROOT / "tests").rglob("*.py"))
    users = [
        path
        for path in (*MODULES.values(), *tests)
        if {"mappings", "cli"} & {one.split(".")[0] for one in imports(path)}
    ]
    assert users == []


def test_every_command_is_in_the_docs_and_the_docs_know_no_other() -> None:
    text = (ROOT / "docs" / "commands.md").read_text(encoding="utf-8")
    documented = [
        line.removeprefix("## ").strip("` ").removeprefix("dm-fhir ").split()[0]
        for line in text.splitlines()
        if line.startswith("## `dm-fhir")
    ]
    assert documented == list(COMMANDS)


@pytest.mark.parametrize("name", list(COMMANDS))
def test_every_option_of_a_command_is_in_the_docs(name: str) -> None:
    text = (ROOT / "docs" / "commands.md").read_text(encoding="utf-8")
    section = text.split(f"## `dm-fhir {name}")[1].split("\n## ")[0]
    command = main.get_command(click.Context(main), name)
    assert command is not None
    options = [
        option
        for parameter in command.params
        if isinstance(parameter, click.Option)
        for option in parameter.opts
        if option.startswith("--")
    ]
    assert [option for option in options if f"`{option}" not in section] == []


@pytest.mark.parametrize("name", list(COMMANDS))
def test_every_command_has_help_with_an_example(name: str) -> None:
    command = main.get_command(click.Context(main), name)
    assert command is not None
    text = command.get_help(click.Context(command, info_name=f"dm-fhir {name}"))
    assert "Example" in text
    assert (
        f"dm-fhir {name}" in text.split("Example")[1]
        or f"dm-fhir --quiet --config /etc/dm-fhir/study.toml {name}" in text
    )


def test_every_exit_code_is_in_the_docs() -> None:
    text = (ROOT / "docs" / "exit-codes.md").read_text(encoding="utf-8")
    rows = {
        int(line.split("|")[1]): line.split("|")[2].strip()
        for line in text.splitlines()
        if line.startswith("| ") and line.split("|")[1].strip().isdigit()
    }
    assert rows.keys() == EXIT_CODES.keys() == set(EXIT_PRECEDENCE)
    assert ", ".join(map(str, EXIT_PRECEDENCE)) in text
    assert all(
        rows[code].lower().startswith(meaning.split(";")[0].split(",")[0]) for code, meaning in EXIT_CODES.items()
    )


def test_every_config_key_is_in_the_docs() -> None:
    import json

    schema = json.loads((ROOT / "src/dm_fhir/schemas/site-config.schema.json").read_text(encoding="utf-8"))
    text = (ROOT / "docs" / "config.md").read_text(encoding="utf-8")
    assert [key for key in sorted(_keys(schema)) if f"`{key}`" not in text] == []


def _keys(schema: object) -> set[str]:
    if not isinstance(schema, dict):
        return set()
    own = set(schema["properties"]) if isinstance(schema.get("properties"), dict) else set()
    return own.union(
        *(_keys(part) for part in schema.values()), *(_keys(part) for part in schema.get("properties", {}).values())
    )


def test_the_version_is_on_top_of_the_changelog() -> None:
    from dm_fhir import __version__

    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    headings = [line for line in text.splitlines() if line.startswith("## ")]
    assert headings[0] == "## Unreleased"
    assert any(__version__ in heading for heading in headings) or __version__ == "0.1.0"
