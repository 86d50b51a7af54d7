"""How many of one unit make another: enough of UCUM (https://ucum.org/ucum, sections 27 to 45) to catch a wrong factor.

Only what tables of scores, laboratory values and doses need. A unit that is not read here is not judged.
"""

import re
from collections import Counter
from fractions import Fraction
from typing import NamedTuple


class _Unit(NamedTuple):
    size: Fraction
    kind: tuple[tuple[str, int], ...]  # exponents of m, s, g and mol, sorted; empty for a pure number


_PREFIXES = {
    "k": Fraction(10) ** 3, "d": Fraction(1, 10), "c": Fraction(1, 100), "m": Fraction(1, 10**3),
    "u": Fraction(1, 10**6), "n": Fraction(1, 10**9), "p": Fraction(1, 10**12), "f": Fraction(1, 10**15),
}  # fmt: skip
#: Those that take a prefix. 1 kat = 1 mol/s; 1 U = 1 umol/min, so 1 ukat = 60 U; 1 L = 1 dm3.
_METRIC = {
    "m": _Unit(Fraction(1), (("m", 1),)),
    "g": _Unit(Fraction(1), (("g", 1),)),
    "s": _Unit(Fraction(1), (("s", 1),)),
    "mol": _Unit(Fraction(1), (("mol", 1),)),
    "L": _Unit(Fraction(1, 1000), (("m", 3),)),
    "l": _Unit(Fraction(1, 1000), (("m", 3),)),
    "kat": _Unit(Fraction(1), (("mol", 1), ("s", -1))),
    "U": _Unit(Fraction(1, 60 * 10**6), (("mol", 1), ("s", -1))),
}
_OTHERS = {
    "%": _Unit(Fraction(1, 100), ()),
    "min": _Unit(Fraction(60), (("s", 1),)),
    "h": _Unit(Fraction(3600), (("s", 1),)),
    "d": _Unit(Fraction(86400), (("s", 1),)),
    "wk": _Unit(Fraction(7 * 86400), (("s", 1),)),
}
_ANNOTATION = re.compile(r"\{[^{}]*\}")


class DifferentKinds(ValueError):
    """The units are of different kinds of quantity: no factor leads from one to the other."""


def ratio(unit: str, other: str) -> Fraction | None:
    """How many `other` one `unit` is, exact; None where one of them is not read here, or says nothing of its kind.

    A bare `1` and an annotation such as `{score}` say nothing of their kind. Raises DifferentKinds.
    """
    one, two = _read(unit), _read(other)
    if one is None or two is None:
        return None
    if one.kind != two.kind:
        raise DifferentKinds
    return one.size / two.size


def _read(unit: str) -> _Unit | None:
    """The unit's size and kind; None where any part of it is unknown, or nothing of it is more than a number."""
    plain = _ANNOTATION.sub("", unit.strip().replace("µ", "u").replace("μ", "u"))
    numerator, *denominators = plain.split("/")
    if not numerator.strip("1"):
        return None
    size, kind = Fraction(1), Counter[str]()
    for sign, part in ((1, numerator), *((-1, one) for one in denominators)):
        for atom in part.split("."):
            found = _atom(atom)
            if found is None:
                return None
            size *= found.size**sign
            for name, exponent in found.kind:
                kind[name] += sign * exponent
    return _Unit(size, tuple(sorted((name, exponent) for name, exponent in kind.items() if exponent)))


def _atom(text: str) -> _Unit | None:
    if text in _METRIC or text in _OTHERS:
        return _METRIC.get(text) or _OTHERS[text]
    prefix, metric = _PREFIXES.get(text[:1]), _METRIC.get(text[1:])
    return _Unit(prefix * metric.size, metric.kind) if prefix and metric else None
