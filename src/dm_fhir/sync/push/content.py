"""What an Observation says, told apart from how it is written: for comparing what we wrote with what we would write, or what
the server keeps."""

import hashlib
from collections.abc import Iterator
from decimal import Decimal
from difflib import SequenceMatcher
from functools import lru_cache
from typing import Any, NamedTuple

import msgspec

_EXACT = msgspec.json.Decoder(dict[str, Any], float_hook=Decimal)
_SORTED = msgspec.json.Encoder(order="sorted")
#: What a server adds to every resource.
_OF_THE_SERVER = ("id", "meta", "text")
#: Where R4 lets an Observation name evidence that derivedFrom cannot take.
_SUPPORTING = "http://hl7.org/fhir/StructureDefinition/workflow-supportingInfo"

_MOST_DIGITS = 400

Simple = str | bool | int | Decimal | None


class Difference(NamedTuple):
    """One element that is not what it was: its path (`valueQuantity.value`, `note[0].text`), None where it was or is not there."""

    path: str
    before: Simple
    after: Simple


class _Status(msgspec.Struct, frozen=True):
    status: str = ""


class _Supporting(msgspec.Struct, frozen=True):
    url: str
    valueReference: dict[str, Any] | None = None


class _Sources(msgspec.Struct, frozen=True):
    derivedFrom: tuple[dict[str, Any], ...] = ()
    extension: tuple[_Supporting, ...] = ()


@lru_cache(1024)  # what was just sent is compared with what the server says it holds
def fingerprint(body: bytes) -> str:
    """The same for everything that says what `body` says, however its keys are ordered and its numbers written."""
    content = {name: value for name, value in _CANONICAL.decode(body).items() if name not in _OF_THE_SERVER}
    try:
        text = _SORTED.encode(content)
    except OverflowError:
        text = _SORTED.encode(_without_long_numbers(content))
    return hashlib.sha256(text).hexdigest()


def status_of(body: bytes) -> str:
    """The status of an Observation, "" where it has none that can be read."""
    try:
        return msgspec.json.decode(body, type=_Status).status
    except msgspec.ValidationError:
        return ""


def same_but_status(one: bytes, other: bytes) -> bool:
    """Whether two Observations say the same, whatever their statuses are."""
    contents = ({**_content(body), "status": None} for body in (one, other))
    first, second = map(_normal, contents)
    return bool(first == second)


def sources(body: bytes) -> set[bytes]:
    """What an Observation says that it was made of: its references to records, in the versions used."""
    named = msgspec.json.decode(body, type=_Sources)
    others = (one.valueReference for one in named.extension if one.url == _SUPPORTING)
    return {_SORTED.encode(one) for one in (*named.derivedFrom, *others) if one}


def differences(before: bytes, after: bytes) -> list[Difference]:
    """Each element in which `after` differs from `before`, down to the single value; what a server adds counts for nothing."""
    old, new = _content(before), _content(after)
    if old == new and _SORTED.encode(old) == _SORTED.encode(new):  # by far the most; true is not 1
        return []
    return list(_members("", old, new))


def altered(kept: bytes, sent: bytes) -> list[str]:
    """The elements in which the server's copy differs from what we sent; it may add id, meta and text."""
    return sorted({one.path.partition(".")[0].partition("[")[0] for one in differences(sent, kept)})


def _content(body: bytes) -> dict[str, Any]:
    return {name: value for name, value in _EXACT.decode(body).items() if name not in _OF_THE_SERVER}


def _number(text: str) -> object:
    """A number with a point or an exponent, the same however it is written: a whole one as such, any other as its digits."""
    number = Decimal(text)
    if _LEAST <= number < _BEYOND and number == number.to_integral_value():
        return int(number)
    return ["number", _plain(number)]


#: Whole numbers that the encoder takes.
_LEAST, _BEYOND = -(2**63), 2**64
_CANONICAL = msgspec.json.Decoder(dict[str, Any], float_hook=_number)


def _without_long_numbers(value: Any) -> Any:
    match value:
        case dict():
            return {name: _without_long_numbers(inner) for name, inner in value.items()}
        case list():
            return [_without_long_numbers(inner) for inner in value]
        case int() if not _LEAST <= value < _BEYOND:
            return ["number", _plain(Decimal(value))]
    return value


def _normal(value: Any) -> Any:
    match value:
        case dict():
            return {name: _normal(inner) for name, inner in value.items()}
        case list():
            return [_normal(inner) for inner in value]
        case bool() | str() | None:
            return value
    return ["number", _plain(Decimal(value))]


def _plain(number: Decimal) -> str:
    """The same for 20 and 20.0; one that would take pages to write out stays short."""
    if abs(number.adjusted()) > _MOST_DIGITS:
        return str(number)
    text = f"{number:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _differing(path: str, before: Any, after: Any) -> Iterator[Difference]:
    """None stands for what is not there: it is told leaf by leaf, too."""
    if isinstance(before, dict) and isinstance(after, dict):
        yield from _members(path, before, after)
    elif isinstance(before, list) and isinstance(after, list):
        yield from _entries(path, before, after)
    elif isinstance(before, dict | list) or isinstance(after, dict | list):
        yield from _leaves(path, before, is_before=True)
        yield from _leaves(path, after, is_before=False)
    elif _normal(before) != _normal(after):
        yield Difference(path, before, after)


def _members(path: str, before: dict[str, Any], after: dict[str, Any]) -> Iterator[Difference]:
    for name in dict.fromkeys((*before, *after)):
        yield from _differing(f"{path}.{name}" if path else name, before.get(name), after.get(name))


def _entries(path: str, before: list[Any], after: list[Any]) -> Iterator[Difference]:
    """Entries that stand in both lists are the same, also where others have come or gone before them."""
    keys = [[_SORTED.encode(_normal(one)) for one in some] for some in (before, after)]
    for kind, start, end, new_start, new_end in SequenceMatcher(a=keys[0], b=keys[1], autojunk=False).get_opcodes():
        if kind == "equal":
            continue
        both = min(end - start, new_end - new_start)
        for offset in range(both):
            place = f"{path}[{new_start + offset}]"
            yield from _differing(place, before[start + offset], after[new_start + offset])
        for index in range(start + both, end):
            yield from _leaves(f"{path}[{index}]", before[index], is_before=True)
        for index in range(new_start + both, new_end):
            yield from _leaves(f"{path}[{index}]", after[index], is_before=False)


def _leaves(path: str, value: Any, *, is_before: bool) -> Iterator[Difference]:
    """Every single value of an element that only one side has."""
    match value:
        case dict():
            for name, inner in value.items():
                yield from _leaves(f"{path}.{name}", inner, is_before=is_before)
        case list():
            for index, inner in enumerate(value):
                yield from _leaves(f"{path}[{index}]", inner, is_before=is_before)
        case None:
            return
        case _:
            yield Difference(path, value, None) if is_before else Difference(path, None, value)
