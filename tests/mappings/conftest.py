"""What docs/mapping.md says is told of a faulty table."""

import re
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs" / "mapping.md"
_ROW = re.compile(r"^\| ([^`|]+) \| `(leon\..*)` \|$", re.MULTILINE)
#: Where a shipped row stands changes with every edit of the tables, so the documentation leaves it open.
_SHIPPED = re.compile(r"((?:medications|measurements|conditions|adverse-events)\.toml), \w+ row \d+ \(line \d+\)")


@pytest.fixture(scope="session")
def documented() -> dict[str, str]:
    """Each kind of fault in the documentation, with its message."""
    text = DOCS.read_text(encoding="utf-8")
    return {what: said.replace("\\|", "|") for what, said in _ROW.findall(text)}


@pytest.fixture(scope="session")
def as_documented() -> object:
    """Puts a message of a test as the documentation has it."""
    return lambda message: _SHIPPED.sub(r"\1, …", message.replace("one.toml", "leon.toml"))
