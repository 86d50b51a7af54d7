"""The container's packages: each by one version and its hashes, enough for all that the program needs, from no named place."""

import tomllib
from collections.abc import Iterator
from functools import cache
from importlib.metadata import PackageNotFoundError, requires
from importlib.metadata import version as version_of
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[2]
LOCK = ROOT / "deploy" / "requirements.lock"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
#: The extras of a container; the Job for Spark reads from object storage.
IN_CONTAINERS = ("report", "export", "import", "storage")
PYTHONS = ("3.11", "3.12", "3.13")


@cache
def locked() -> dict[Requirement, list[str]]:
    """Each package with its version, and the hashes below it."""
    found: dict[Requirement, list[str]] = {}
    for line in LOCK.read_text(encoding="utf-8").splitlines():
        words = line.removesuffix("\\").strip()
        if words.startswith("--hash="):
            found[[*found][-1]].append(words.removeprefix("--hash="))
        elif words and not words.startswith("#"):
            found[Requirement(words)] = []
    return found


def environment(python: str) -> dict[str, str]:
    """What a marker is asked against: CPython on Linux."""
    return {
        "python_version": python, "python_full_version": f"{python}.7", "sys_platform": "linux", "os_name": "posix",
        "platform_system": "Linux", "platform_machine": "x86_64", "implementation_name": "cpython",
        "platform_python_implementation": "CPython", "extra": "",
    }  # fmt: skip


def versions(python: str) -> dict[str, Version]:
    """What would be installed under a Python, by name."""
    found: dict[str, Version] = {}
    for one in locked():
        if one.marker is None or one.marker.evaluate(environment(python)):
            assert canonicalize_name(one.name) not in found, f"{one.name} twice under {python}"
            (pin,) = one.specifier
            assert pin.operator == "=="
            found[canonicalize_name(one.name)] = Version(pin.version)
    return found


def wanted() -> list[str]:
    """What the program itself asks for, with the extras that a container has."""
    extras = PROJECT["optional-dependencies"]
    return [*PROJECT["dependencies"], *(one for name in IN_CONTAINERS for one in extras[name])]


def needed(python: str) -> Iterator[tuple[str, Requirement]]:
    """Whatever is needed, by whom: by the program, and by each package of the lock that is installed here in just that version."""
    for text in wanted():
        yield "dm-fhir", Requirement(text)
    for name, version in versions(python).items():
        try:
            texts = requires(name) or [] if Version(version_of(name)) == version else []
        except PackageNotFoundError:  # one that only another Python needs
            continue
        for text in texts:
            yield name, Requirement(text)


@pytest.mark.parametrize("python", PYTHONS)
def test_whatever_is_needed_is_there_in_a_version_that_will_do(python: str) -> None:
    have = versions(python)
    for by, one in needed(python):
        if one.marker is None or one.marker.evaluate(environment(python)):
            name = canonicalize_name(one.name)
            assert name in have, f"{by} needs {one.name}; make lock"
            assert one.specifier.contains(have[name]), f"{by} needs {one}, it is {have[name]}; make lock"


def test_every_package_has_hashes_and_nothing_else_is_taken() -> None:
    assert len(locked()) > 20
    for one, hashes in locked().items():
        assert hashes, one
        assert all(text.startswith("sha256:") and len(text) == 71 for text in hashes), one
        assert one.url is None


def test_it_names_no_place_to_get_them_from() -> None:
    text = LOCK.read_text(encoding="utf-8")
    assert [
        word for word in ("://", "--index", "--find-links", "--extra-index", "--trusted", "-e ", "@ ") if word in text
    ] == []
