"""What a login's scopes let a client do: SMART on FHIR's `system/*.read` (version 1) and `system/*.rs` (version 2).

https://hl7.org/fhir/smart-app-launch/scopes-and-launch-context.html
"""

import re
from collections.abc import Iterable
from typing import Literal, NamedTuple

READ, SEARCH, CREATE, UPDATE = "r", "s", "c", "u"
_SCOPE = re.compile(r"(?:system|user|patient)/(\*|[A-Z][A-Za-z]*)\.(read|write|\*|c?r?u?d?s?)(\?.*)?")
_VERSION_1 = {"read": "rs", "write": "cud", "*": "cruds"}
Extent = Literal["all", "in part", "none"]


class Scope(NamedTuple):
    """One scope: a type or `*`, the letters of what is allowed (create, read, update, delete, search).

    `text` is how it was written, without how it is narrowed to some of the type's resources, if it `is_narrowed`.
    """

    text: str
    type: str
    letters: str
    is_narrowed: bool
    is_version_2: bool


def scopes_in(text: str) -> list[Scope]:
    """The scopes of a token or a request that speak of resources; others (`openid`, `launch`) are passed over."""
    found = []
    for word in text.split():
        match = _SCOPE.fullmatch(word)
        if match and match[2]:
            letters = _VERSION_1.get(match[2], match[2])
            text = word.partition("?")[0]
            found.append(Scope(text, match[1], letters, match[3] is not None, match[2] not in _VERSION_1))
    return found


def extent(scopes: Iterable[Scope], type_name: str, letters: str) -> Extent:
    """How far the scopes allow all of `letters` for a type."""
    of_type = [scope for scope in scopes if scope.type in ("*", type_name)]
    if set(letters) <= {letter for scope in of_type if not scope.is_narrowed for letter in scope.letters}:
        return "all"
    return "in part" if set(letters) <= {letter for scope in of_type for letter in scope.letters} else "none"


def written(type_name: str, letters: str, *, is_version_2: bool) -> str:
    """The scope that allows `letters` for a type, as a hospital's form wants it."""
    if is_version_2:
        return f"system/{type_name}.{''.join(letter for letter in 'cruds' if letter in letters)}"
    return f"system/{type_name}.{'read' if set(letters) <= set('rs') else 'write'}"


def shown(scopes: Iterable[Scope]) -> str:
    """The scopes in one line, each once; how a scope is narrowed is left out, as it may name somebody."""
    names = (f"{scope.text}{' (only for some)' if scope.is_narrowed else ''}" for scope in scopes)
    return ", ".join(dict.fromkeys(names))
