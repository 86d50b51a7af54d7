"""A study of invented patients from files, and the program run as its user runs it: a process of its own."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from dm_fhir.demo.cohorts import dump_ndjson, four_patients

from ..ran import Ran

RUN = "from dm_fhir.cli.main import run; run()"
CONFIG = """
[study]
title = "Four patients"
drug = "anifrolumab"
timezone = "America/New_York"
pseudonym_key = "file:keys/pseudonym.key"

[[site]]
name = "baltimore"
"""


def run(
    folder: Path, *words: str, umask: int = 0o000, environment: Mapping[str, str] | None = None, program: str = RUN
) -> Ran:
    """Type `dm-fhir` in `folder`, under a umask that hides nothing unless another is given."""
    done = subprocess.run(
        [sys.executable, "-c", program, *words],
        capture_output=True,
        cwd=folder,
        umask=umask,
        env=dict(os.environ) | dict(environment or {}),
        timeout=120,
        check=False,
    )
    return Ran(done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace"))


#: Types many command lines, one a line of standard input, each as if it were a process of its own; says what each came to.
_RUN_ALL = """
import json, os, sys
from dm_fhir.cli import main
umask, codes = os.umask(0), []
for words in json.load(sys.stdin):
    os.umask(umask)
    sys.argv = ["dm-fhir", *words]
    try:
        main.run()
    except SystemExit as ended:
        print(*words, ended.code, file=sys.stderr)
        codes.append(ended.code)
print(json.dumps(codes), file=sys.stderr)
"""


def run_all(folder: Path, lines: Sequence[Sequence[str]], umask: int = 0o000) -> tuple[list[int], str]:
    """Type all of these in `folder`, in one process: the exit code of each, and what was said on stderr."""
    done = subprocess.run(
        [sys.executable, "-c", _RUN_ALL],
        input=json.dumps(lines).encode(),
        capture_output=True,
        cwd=folder,
        umask=umask,
        timeout=300,
        check=True,
    )
    said, _, codes = done.stderr.decode().rstrip().rpartition("\n")
    return json.loads(codes), said


@pytest.fixture(scope="session")
def records() -> bytes:
    """The records of four invented patients, as NDJSON."""
    (site,) = four_patients()
    return dump_ndjson(site.resources)
