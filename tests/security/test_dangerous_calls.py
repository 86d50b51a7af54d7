"""No data becomes SQL, a command of a shell, code, or an object: read off the source, call by call."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = [path for folder in ("src/dm_fhir", "cli", "mappings") for path in sorted((ROOT / folder).rglob("*.py"))]
_EXECUTE = ("execute", "executemany", "executescript")
#: What may stand in a statement besides constants of the module: where, and why it is none of the data.
ALLOWED = {
    ("store/schema.py", "statement"),  # a statement of the migrations above it
    ("store/schema.py", "columns"),  # of _MOVED
    ("store/schema.py", "table"),  # of _MOVED
    ("store/schema.py", "given"),  # question marks
    ("store/database.py", "name"),  # page_count, page_size
    ("sync/support.py", "name"),  # page_count, page_size
    ("sync/support.py", "table"),  # of TABLES
    ("store/backup.py", "name"),  # page_count, page_size
    ("store/ledger.py", "given"),  # question marks
    ("store/pushes.py", "only"),  # question marks
    ("store/turns.py", "sql"),  # handed on to sqlite3: who calls is looked at
    ("store/turns.py", "script"),  # handed on to sqlite3: who calls is looked at
    ("store/quarantine.py", "same"),  # the line above it
    ("store/resources.py", "of_none"),  # of _OF_NO_PATIENT
}
#: Modules that turn data into code, objects or commands, and functions that do.
_MODULES = {"pickle", "marshal", "shelve", "dill", "yaml", "xml.", "telnetlib", "ftplib", "commands"}
_FUNCTIONS = {"eval", "exec", "compile", "__import__", "os.system", "os.popen", "tempfile.mktemp"}


def trees() -> Iterator[tuple[str, ast.Module]]:
    for path in SOURCES:
        yield (
            path.relative_to(ROOT).as_posix().removeprefix("src/dm_fhir/"),
            ast.parse(path.read_text(encoding="utf-8")),
        )


def calls(tree: ast.AST) -> Iterator[ast.Call]:
    return (node for node in ast.walk(tree) if isinstance(node, ast.Call))


def unknown_parts(statement: ast.expr) -> Iterator[str]:
    """What a statement is made of that is neither text, nor a constant of its module, nor question marks."""
    match statement:
        case ast.Constant():
            return
        case ast.JoinedStr(values=values):
            for value in values:
                yield from unknown_parts(value.value if isinstance(value, ast.FormattedValue) else value)
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            yield from unknown_parts(left)
            yield from unknown_parts(right)
        case ast.Call(func=ast.Name(id="marks")):
            return
        case ast.Name(id=name) if name.isupper():
            return
        case _:
            yield ast.unparse(statement)


def in_statements(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """Whatever else stands in the SQL of a module, and on which line."""
    for call in calls(tree):
        if isinstance(call.func, ast.Attribute) and call.func.attr in _EXECUTE and call.args:
            yield from ((part, call.lineno) for part in unknown_parts(call.args[0]))


def dangers(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """Imports and calls that nothing here may make, and on which line."""
    for node in ast.walk(tree):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        names += [node.module] if isinstance(node, ast.ImportFrom) and node.module else []
        yield from ((name, node.lineno) for name in names if name.startswith(tuple(_MODULES)))
    for call in calls(tree):
        name = ast.unparse(call.func)
        if name in _FUNCTIONS:
            yield name, call.lineno
        for given in call.keywords:
            if given.arg == "shell" and not (isinstance(given.value, ast.Constant) and given.value.value is False):
                yield f"{name}(shell=…)", call.lineno
            if given.arg == "verify" and isinstance(given.value, ast.Constant) and given.value.value is False:
                yield f"{name}(verify=False)", call.lineno


def test_statements_hold_constants_and_question_marks_only() -> None:
    found = [(name, part, line) for name, tree in trees() for part, line in in_statements(tree)]
    assert [one for one in found if one[:2] not in ALLOWED] == []
    assert {one[:2] for one in found} >= ALLOWED, "an exception that nobody needs any more"


def test_nothing_turns_data_into_code_objects_or_commands() -> None:
    assert [(name, *one) for name, tree in trees() for one in dangers(tree)] == []


@pytest.mark.parametrize(
    "bad",
    [
        'db.execute(f"SELECT * FROM x WHERE id = \'{name}\'")',
        'db.execute("SELECT " + name)',
        'db.executemany("SELECT %s" % name, ())',
        'db.execute("SELECT {}".format(name))',
        'db.execute(f"DELETE FROM {table()}")',
        'self.db.executescript(text)',
    ],
)  # fmt: skip
def test_what_it_would_find_in_a_statement(bad: str) -> None:
    assert list(in_statements(ast.parse(bad)))


@pytest.mark.parametrize(
    "bad",
    [
        "import pickle", "from yaml import load", "eval(text)", "os.system(text)", "subprocess.run(text, shell=True)",
        "run(text, shell=is_shell)", "session.get(url, verify=False)", "import xml.sax.handler",
    ],
)  # fmt: skip
def test_what_it_would_find_elsewhere(bad: str) -> None:
    assert list(dangers(ast.parse(bad)))
