"""Where in a TOML text something stands. The text is taken to be TOML: whoever asks has read it with tomllib before."""

import re
from typing import NamedTuple

#: A key: keys and indices from the top.
Path = tuple[str | int, ...]

_BLANK = re.compile(r"(?:\s|#[^\n]*)*")
_KEY = re.compile(r"""\s*(?:"((?:[^"\\]|\\.)*)"|'([^']*)'|([A-Za-z0-9_-]+))\s*""")
_TEXT = re.compile(
    r'"""(?:[^\\]|\\.)*?"{3,5}|' + r"'''.*?'{3,5}|" + r""""(?:[^"\\]|\\.)*"|'[^']*'""",
    re.DOTALL,
)
_BARE = re.compile(r"[^,\]}\n#]*")


class _Read(NamedTuple):
    keys: tuple[str, ...]
    end: int


def lines_of(text: str) -> dict[Path, int]:
    """The line of every table, key and entry, counted from 1."""
    return _Reader(text).read()


def nearest(path: Path, lines: dict[Path, int]) -> int | None:
    """The line of the path, or of the nearest thing around it; None where that is the whole document."""
    return next((lines[path[:length]] for length in range(len(path), 0, -1) if path[:length] in lines), None)


class _Reader:
    """Goes through the text once."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._lines: dict[Path, int] = {}
        self._entries: dict[Path, int] = {}

    def read(self) -> dict[Path, int]:
        at = self._blank(0)
        table: Path = ()
        while at < len(self._text):
            if self._text[at] == "[":
                table, at = self._header(at)
            else:
                at = self._member(at, table)
            at = self._blank(at)
        return self._lines

    def _header(self, at: int) -> tuple[Path, int]:
        """`[a.b]` or `[[a.b]]`: the table that follows, and the end of the line's header."""
        is_entry = self._text.startswith("[[", at)
        keys, end = self._keys(at + 1 + is_entry)
        path: Path = ()
        for key in keys[:-1]:
            path = self._latest((*path, key))
        path = (*path, keys[-1])
        if is_entry:
            number = self._entries.get(path, 0)
            self._entries[path] = number + 1
            self._note(path, at)
            path = (*path, number)
        self._note(path, at)
        return path, end + 1 + is_entry

    def _latest(self, path: Path) -> Path:
        """The latest entry, where `path` is a list of tables."""
        return (*path, self._entries[path] - 1) if path in self._entries else path

    def _member(self, at: int, table: Path) -> int:
        """`key = value`; gives where it ends."""
        keys, equals = self._keys(at)
        for length in range(1, len(keys) + 1):
            self._note((*table, *keys[:length]), at)
        return self._value(self._blank(equals + 1), (*table, *keys))

    def _value(self, at: int, path: Path) -> int:
        if self._text[at] == "[":
            return self._list(at + 1, path)
        if self._text[at] == "{":
            return self._inline(at + 1, path)
        match = _TEXT.match(self._text, at) or _BARE.match(self._text, at)
        return match.end() if match else len(self._text)

    def _list(self, at: int, path: Path) -> int:
        number, at = 0, self._blank(at)
        while self._text[at] != "]":
            self._note((*path, number), at)
            at = self._after_comma(self._value(at, (*path, number)))
            number += 1
        return at + 1

    def _inline(self, at: int, path: Path) -> int:
        at = self._blank(at)
        while self._text[at] != "}":
            at = self._after_comma(self._member(at, path))
        return at + 1

    def _after_comma(self, at: int) -> int:
        at = self._blank(at)
        return self._blank(at + 1) if self._text[at] == "," else at

    def _keys(self, at: int) -> _Read:
        """`a."b".c`, and where they end."""
        keys: list[str] = []
        while match := _KEY.match(self._text, at):
            keys.append(next(part for part in match.groups() if part is not None))
            at = match.end()
            if not self._text.startswith(".", at):
                break
            at += 1
        return _Read(tuple(keys), at)

    def _blank(self, at: int) -> int:
        match = _BLANK.match(self._text, at)
        return match.end() if match else at

    def _note(self, path: Path, at: int) -> None:
        self._lines.setdefault(path, 1 + self._text.count("\n", 0, at))
