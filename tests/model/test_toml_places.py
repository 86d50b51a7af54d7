"""Where in a TOML text something stands."""

import re
import tomllib
from importlib.resources import files
from typing import Any

import pytest

from dm_fhir.model.toml_places import Path, lines_of, nearest

TEXT = """# a remark = [1]
title = "a # b"  # no remark
[study]
drug = 'x'
long = \"\"\"
[[not.a.header]]
"quoted" \\\"\"\"\"\"
other = '''
'' ]
'''

[[site]]
name = "a"
tables = [
  "one",  # the first
  "t]wo",
]
[site.auth]
"client id" = 1
[[site]]
name = "b"
headers = { "X-A" = "1", b = [1, { c = 2 }] }
site.deep.er = 2025-01-01
[[site.more]]
x = 1.5
[[site.more]]
x = true
"""
LINES: dict[Path, int] = {
    ("title",): 2, ("study",): 3, ("study", "drug"): 4, ("study", "long"): 5, ("study", "other"): 8, ("site",): 12, ("site", 0): 12,
    ("site", 0, "name"): 13, ("site", 0, "tables"): 14, ("site", 0, "tables", 0): 15, ("site", 0, "tables", 1): 16,
    ("site", 0, "auth"): 18, ("site", 0, "auth", "client id"): 19, ("site", 1): 20, ("site", 1, "name"): 21, ("site", 1, "headers"): 22,
    ("site", 1, "headers", "X-A"): 22, ("site", 1, "headers", "b"): 22, ("site", 1, "headers", "b", 0): 22,
    ("site", 1, "headers", "b", 1): 22, ("site", 1, "headers", "b", 1, "c"): 22, ("site", 1, "site"): 23,
    ("site", 1, "site", "deep"): 23, ("site", 1, "site", "deep", "er"): 23, ("site", 1, "more"): 24, ("site", 1, "more", 0): 24,
    ("site", 1, "more", 0, "x"): 25, ("site", 1, "more", 1): 26, ("site", 1, "more", 1, "x"): 27,
}  # fmt: skip


def paths(tree: Any, above: Path = ()) -> set[Path]:
    """Everything in the document."""
    inner = enumerate(tree) if isinstance(tree, list) else tree.items() if isinstance(tree, dict) else ()
    return {above, *(path for key, one in inner for path in paths(one, (*above, key)))} - {()}


def test_everything_has_its_line() -> None:
    assert lines_of(TEXT) == LINES
    assert paths(tomllib.loads(TEXT)) == set(LINES)


@pytest.mark.parametrize(
    ("path", "line"),
    [(("site", 1, "name"), 21), (("site", 1, "endpoint"), 20), (("site", 9), 12), (("gone",), None), ((), None)],
)
def test_what_is_missing_has_the_line_of_what_is_around_it(path: Path, line: int | None) -> None:
    assert nearest(path, LINES) == line


@pytest.mark.parametrize(
    "name", sorted(one.name for one in (files("dm_fhir.mappings") / "tables").iterdir() if one.name.endswith(".toml"))
)
def test_every_row_of_the_shipped_tables_is_found(name: str) -> None:
    text = (files("dm_fhir.mappings") / "tables" / name).read_text(encoding="utf-8")
    lines, document = lines_of(text), tomllib.loads(text)
    assert paths(document) == set(lines)
    for path, line in lines.items():
        if path[-1] == "variable":
            (row,) = [document[path[0]][path[1]]]
            assert re.match(rf'variable = "{row["variable"]}"', text.splitlines()[line - 1])


def test_a_text_that_ends_at_once() -> None:
    assert lines_of("") == lines_of("\n# only a remark") == {}
    assert lines_of("a = 1") == {("a",): 1}
