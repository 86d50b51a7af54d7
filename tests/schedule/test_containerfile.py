"""The container: pinned, by hash, of what was just built, and with nobody's rights. Nothing here builds it: that needs a registry."""

import fnmatch
import re
from pathlib import Path
from typing import NamedTuple

from tests.schedule.examples import DEPLOY, examples

from dm_fhir import __version__

ROOT = DEPLOY.parent
TEXT = (DEPLOY / "Containerfile").read_text(encoding="utf-8")


class Instruction(NamedTuple):
    """One instruction, its lines in one."""

    name: str
    value: str


def instructions() -> list[Instruction]:
    """Every instruction, in order."""
    lines = [line for line in TEXT.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", " ", "\n".join(lines))
    return [Instruction(*line.split(maxsplit=1)) for line in joined.splitlines()]


def values(name: str) -> list[str]:
    return [one.value for one in instructions() if one.name == name]


def test_it_has_only_instructions_that_there_are() -> None:
    assert {one.name for one in instructions()} <= {"FROM", "COPY", "RUN", "ENV", "USER", "VOLUME", "ENTRYPOINT", "CMD"}
    assert instructions()[0].name == "FROM"


def test_both_stages_have_one_base_of_a_full_version() -> None:
    bases = [re.sub(r" AS \w+$", "", value) for value in values("FROM")]
    assert len(bases) == 2
    assert len(set(bases)) == 1, "a venv is tied to its Python"
    assert re.fullmatch(r"python:3\.1[1-9]\.\d+-slim-\w+", bases[0])


def test_packages_come_by_hash_and_ours_from_the_wheel_that_was_built() -> None:
    installs = [step for step in re.split(r"\s*&&\s*", " && ".join(values("RUN"))) if "pip install" in step]
    locked, own = installs
    for option in ("--require-hashes", "--only-binary :all:", "-r /build/requirements.lock"):
        assert option in locked
    assert "--no-index" in own
    assert "--no-deps" in own


def test_it_runs_as_nobody_in_particular_who_is_the_same_in_the_cron_job() -> None:
    assert [one.name for one in instructions()][-4:] == ["USER", "VOLUME", "ENTRYPOINT", "CMD"]
    assert values("USER") == ["10001:10001"]
    assert "runAsUser: 10001" in examples()["dm-fhir.cronjob.yaml"]
    assert "--uid 10001 --gid 10001" in " ".join(values("RUN"))


def test_program_and_places_are_those_of_the_cron_job() -> None:
    manifest = examples()["dm-fhir.cronjob.yaml"]
    [program] = re.findall(r'\["([^"]+)"\]', values("ENTRYPOINT")[0])
    assert f'"{program}"]' in manifest
    for name, value in re.findall(r"(DM_FHIR_\w+)=(\S+)", values("ENV")[0]):
        assert value in manifest, name
    assert values("VOLUME") == ["/var/lib/dm-fhir"]


def test_nothing_but_lock_and_wheel_is_sent_to_the_builder() -> None:
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    patterns = [line for line in ignored if line and not line.startswith("#")]
    allowed = {line.removeprefix("!") for line in patterns if line.startswith("!")}
    copied = {name for value in values("COPY") if "--from" not in value for name in value.split()[:-1]}
    assert patterns[0] == "*"
    assert allowed == copied == {"deploy/requirements.lock", "dist/*.whl"}
    assert fnmatch.fnmatch(f"dist/dm_fhir-{__version__}-py3-none-any.whl", "dist/*.whl")
    assert f"-t dm-fhir:{__version__} " in TEXT
    assert Path(ROOT, "deploy", "Containerfile").is_file()
