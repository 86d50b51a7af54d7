"""The peers' own environment: made on first use, beside this benchmark, never part of the project's."""

import subprocess
import sys
from pathlib import Path

_FOLDER = Path(__file__).parents[1] / ".venv"
_REQUIREMENTS = Path(__file__).with_name("requirements.txt")


def program(name: str) -> Path:
    """The path of a program in the peers' environment, which is made if need be."""
    done = _FOLDER / ".installed"
    wanted = _REQUIREMENTS.read_text(encoding="utf-8")
    if not done.exists() or done.read_text(encoding="utf-8") != wanted:
        sys.stderr.write("the peers' environment is made, once: this takes a few minutes\n")
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(_FOLDER)], check=True)
        pip = [str(_FOLDER / "bin" / "python"), "-m", "pip", "install", "-qq", "--disable-pip-version-check"]
        subprocess.run([*pip, "--requirement", str(_REQUIREMENTS)], check=True)
        done.write_text(wanted, encoding="utf-8")
    return _FOLDER / "bin" / name


def versions() -> dict[str, str]:
    """Each peer and its version."""
    lines = _REQUIREMENTS.read_text(encoding="utf-8").split()
    return dict(line.split("==", 1) for line in lines)
