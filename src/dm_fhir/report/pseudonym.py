"""A case without what could name the patient: pseudonyms for references, the year for the birth date, no free text.

Every text of the model has a rule here, and a text without one does not leave. Names and addresses are never read.
"""

import hashlib
import hmac
import re
from collections.abc import Callable, Mapping
from decimal import Decimal
from fractions import Fraction
from functools import cache, lru_cache
from sys import intern
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import msgspec
from msgspec.structs import replace

from dm_fhir.model import case as model
from dm_fhir.model.case import Case, Dates
from dm_fhir.outcomes.ages import ages_of
from dm_fhir.report.moved_dates import MovedDates, days_to_move
from dm_fhir.report.public_codes import WORDS, public, with_public_unit


def pseudonymised(case: Case, key: bytes, dates: Dates = "kept") -> Case:
    """`case` under pseudonyms that are the same wherever the key is the same, its dates as `dates` says."""
    moved = MovedDates(days_to_move(case, key, dates), ZoneInfo(case.timezone))
    with_ages = replace(case, subject=replace(case.subject, ages=ages_of(case))) if case.subject else case
    veiled: Case = _Veil(key, case.site, moved).over(with_ages)
    return replace(veiled, partial_dates=dict(sorted(moved.lost.items())))


def pseudonym(key: bytes, site: str, reference: str) -> str:
    """What `reference` (`Type/id`, or with a path behind `#`) is called in an exported document."""
    whole, hash_mark, path = reference.partition("#")
    kind = whole.partition("/")[0]
    kind = (
        kind if kind.isascii() and kind.isalpha() else "Record"
    )  # an address, a URN or a search says more than a type
    return f"{kind}/{_digest(key, site, whole)}{hash_mark}{public_path(path)}"


def public_path(path: str) -> str:
    """The path of an element; in place of an item's id that is more than a number stands `item[?]`."""
    return path if _PATH.fullmatch(path) else re.sub(r"\[.*\]", "[?]", path) if path.startswith("item[") else ""


def _digest(key: bytes, site: str, text: str) -> str:
    return hmac.new(key, f"{site}|{text}".encode(), hashlib.sha256).hexdigest()[:16]


_PATH = re.compile(r"(?:[A-Za-z]{1,40}(?:\[\d{1,6}\])?(?:\.(?=[A-Za-z])|$))*|item\[/?[\d.-]{1,20}[a-z]?\]", re.ASCII)
#: The version of a record where it is a count; longer ones may be a time.
_COUNT = re.compile(r"\d{1,6}", re.ASCII)
_TIME_OF_DAY = re.compile(r"\d\d:\d\d(:\d\d)?", re.ASCII)
#: A number, with its unit, or a word of ours.
_VALUE = re.compile(r"[<>]?=?-?\d+(?:[./]\d+)?(?: [A-Za-z/%]{1,12})?|[a-z][a-z0-9_-]*", re.ASCII)
#: A value that is a date with at least its month; a bare year could be any number.
_DATED = re.compile(r"\d{4}-\d\d.*", re.ASCII)


class _Tools(NamedTuple):
    """What a rule needs: how references are named, and how dates move."""

    name: Callable[[str], str]
    dates: MovedDates


Rule = Callable[[str, _Tools], str | None]


def _own(text: str, _: _Tools) -> str | None:
    """A word of ours, of the tables or of the config. There are few, and they stand in many cases: each is kept once."""
    return intern(text)


def _none(_: str, __: _Tools) -> str | None:
    """Free text."""
    return None


def _word(text: str, _: _Tools) -> str | None:
    """A code that FHIR fixes."""
    return intern(text) if text in WORDS else None


def _reference(text: str, tools: _Tools) -> str | None:
    return tools.name(text)


def _date(text: str, tools: _Tools) -> str | None:
    return tools.dates.moved(text)


def _year(text: str, tools: _Tools) -> str | None:
    date = tools.dates.moved(text)
    return date and date[:4]


def _month(text: str, tools: _Tools) -> str | None:
    date = tools.dates.moved(text)
    return date and date[:7]


def _count(text: str, _: _Tools) -> str | None:
    return text if _COUNT.fullmatch(text) else None


def _path(text: str, _: _Tools) -> str | None:
    return public_path(text) or None


def _time_of_day(text: str, _: _Tools) -> str | None:
    return text if _TIME_OF_DAY.fullmatch(text) else None


def _value(text: str, tools: _Tools) -> str | None:
    """What an outcome took from a record, which is a number, a word of ours, or a date."""
    return tools.dates.moved(text) if _DATED.fullmatch(text) else text if _VALUE.fullmatch(text) else None


def _form(text: str, tools: _Tools) -> str | None:
    """The canonical of a form. That there is one must stay to be seen: its parts are named otherwise."""
    return text if text.startswith("http://loinc.org/q/") and len(text) < 40 else tools.name(f"Questionnaire/{text}")


#: What becomes of each text, by the kind of part and its field. A field that is not here is left out.
RULES: Mapping[type, Mapping[str, Rule]] = {
    model.Source: {"site": _own, "reference": _reference, "version": _count, "path": _path, "last_updated": _none},
    model.Concept: {"text": _none, "variable": _own},
    model.Period: {"start": _date, "end": _date},
    model.Link: {"other": _reference, "type": _word},
    model.Subject: {"sex": _word, "birth_date": _year, "birth_date_absent": _word, "deceased_at": _month},
    model.Administration: {
        "status": _word, "part_of": _reference, "request": _reference, "medication_reference": _reference,
        "when": _date, "method_status": _own, "flags": _own,
    },
    model.Range: {"text": _none},
    model.Finding: {"code": _own, "severity": _own, "reference": _reference, "done": _own, "path": _path},
    model.Result: {"unit": _own, "bound": _own, "answer": _own, "reason": _own, "flags": _own},
    # A day or a time that is a result may be one of the patient's life.
    model.Measured: {"string": _none, "date_time": _none, "time_of_day": _none},
    model.Assessment: {
        "status": _word, "when": _date, "timing": _date, "issued": _date, "specimen": _reference,
        "members": _reference, "derived_from": _reference, "questionnaire": _form,
    },
    model.Condition: {
        "clinical_status": _word, "verification_status": _word, "onset": _date, "onset_text": _none,
        "abatement": _date, "abatement_text": _none, "recorded": _date,
    },
    model.Timing: {
        "times": _date, "period_unit": _word, "days_of_week": _word, "times_of_day": _time_of_day, "when": _word,
    },
    model.Dosing: {"text": _none, "reasons": _own},
    model.Therapy: {
        "based_on": _reference, "medication_reference": _reference, "status": _word, "intent": _word, "when": _date,
        "authored": _date,
    },
    model.Suspect: {"reference": _reference, "drug": _own},
    model.Action: {"reference": _reference},
    model.AdverseEvent: {
        "status": _word, "actuality": _word, "date": _date, "detected": _date, "recorded": _date, "resolved": _date,
        "resulting_conditions": _reference, "resulting_effects": _reference,
    },
    model.Input: {"role": _own, "value": _value},
    model.Part: {"measure": _own, "variable": _own, "between": _own, "reasons": _own},
    model.Outcome: {
        "variable": _own, "rule": _own, "rule_version": _own, "date": _date, "unit": _own, "when": _date,
        "about": _reference, "reasons": _own, "flags": _own, "answer": _own, "visit": _own,
    },
    Case: {"id": _reference, "site": _own, "timezone": _own, "person": _own},
}  # fmt: skip
#: Fields that do not leave at all, whatever is in them.
REMOVED: Mapping[type, Mapping[str, Any]] = {
    model.Subject: {"identifiers": ()},
    model.Administration: {"identifiers": ()},
    model.Assessment: {"identifiers": ()},
    model.Condition: {"identifiers": ()},
    model.Therapy: {"identifiers": ()},
    model.AdverseEvent: {"identifier": None},
    model.Measured: {"period": None},
}


@lru_cache(maxsize=4096)
def _public_concept(codings: tuple[model.Coding, ...], variable: str | None) -> model.Concept:
    """The codes that may leave; the same few stand in many cases."""
    return model.Concept(public(codings), None, variable)


class _Veil:
    """Goes through the parts of a case."""

    def __init__(self, key: bytes, site: str, dates: MovedDates) -> None:
        # The same few references stand in many places.
        self._tools = _Tools(cache(lambda reference: pseudonym(key, site, reference)), dates)
        self._sources: dict[model.Source, model.Source] = {}

    def over(self, part: Any) -> Any:
        """The part as it may leave."""
        match part:
            case model.Concept():
                return _public_concept(part.codings, part.variable)
            case model.Measured(concept=model.Concept(variable=None)):
                # What was measured beside what the study asks for stays untold, also where its code is public.
                return self._over_struct(replace(part, concept=model.Concept()))
            case model.Source():  # each record stands in many outcomes
                if part not in self._sources:
                    self._sources[part] = self._over_struct(part)
                return self._sources[part]
            case model.Quantity():
                return with_public_unit(part)
            case msgspec.Struct():
                return self._over_struct(part)
            case tuple():
                return public(part) if part and isinstance(part[0], model.Coding) else tuple(map(self.over, part))
        return part

    def _over_struct(self, part: Any) -> Any:
        kind: type[msgspec.Struct] = type(part)
        values = []
        for name, rule, is_removed, instead in _fields(kind):
            value = instead if is_removed else getattr(part, name)
            # Nothing, and numbers, leave as they are; most fields are one of these.
            values.append(
                value if is_removed or value is None or type(value) in _NUMBERS else self._field(value, rule, name)
            )
        return kind(*values)

    def _field(self, value: Any, rule: Rule, name: str) -> Any:
        if isinstance(value, str):
            found = rule(value, self._tools)
            return found if found is not None or name not in _NEEDED else ""
        if isinstance(value, tuple) and value and isinstance(value[0], str):
            return tuple(text for one in value if (text := rule(one, self._tools)) is not None)
        return self.over(value)


@cache
def _fields(kind: type[msgspec.Struct]) -> tuple[tuple[str, Rule, bool, Any], ...]:
    """Of each field in order: its name, its rule, whether it is removed, and what stands there instead."""
    rules, removed = RULES.get(kind, {}), REMOVED.get(kind, {})
    return tuple((name, rules.get(name, _none), name in removed, removed.get(name)) for name in kind.__struct_fields__)


_NUMBERS = frozenset({bool, int, Decimal, Fraction})
#: Texts that the model must have.
_NEEDED = frozenset({"type", "done", "role"})


def person(case: Case, key: bytes, system: str | None) -> str | None:
    """The same for the same person wherever the key is the same: from the one identifier of this system.

    Blanks and case of the identifier do not matter. None without one, and where the patient has several.
    """
    found = {
        "".join((one.value or "").split()).casefold()
        for one in (case.subject.identifiers if case.subject else ())
        if system is not None and one.system == system
    } - {""}
    return f"Person/{_digest(key, f'person|{system}', found.pop())}" if len(found) == 1 else None
