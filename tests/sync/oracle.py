"""What a pull of files has to come to, worked out slowly: a line at a time, with json.loads and dictionaries alone.

It shares no code with what it checks. Its rules are those of docs/files.md, with `scope = "all"` and a cohort by medication.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple, NoReturn

Json = dict[str, Any]
_ATC, _DRUG = "http://www.whocc.no/atc", "L04AG11"


class Expected(NamedTuple):
    """The cohort, the bytes of what is current by `Type/id`, what is set aside (`file:line…` and why); lines and resources."""

    members: set[str]
    current: dict[str, bytes]
    aside: set[tuple[str, str]]
    lines: int
    resources: int


class _Record(NamedTuple):
    content: Json
    body: bytes
    subject: str | None
    place: str

    @property
    def name(self) -> str:
        return f"{self.content['resourceType']}/{self.content['id']}"


def expected(folder: Mapping[str, bytes]) -> Expected:
    """What these files of NDJSON, by name, come to."""
    records: list[_Record] = []
    aside: set[tuple[str, str]] = set()
    lines = 0
    for name, content in sorted(folder.items()):
        every = content.removeprefix(b"\xef\xbb\xbf").split(b"\n")
        if every[-1] == b"":
            every.pop()
        lines += len(every)
        for number, line in enumerate(every, start=1):
            if line.strip():
                _read(line.strip(), f"{name}:{number}", records, aside)
    members = _cohort(records)
    odd = [one for one in records if not _reads_meta(one.content)]
    aside |= {(one.place, "unreadable") for one in odd if one.subject in members}
    arrived = len(records) - sum(one.subject in members for one in odd)
    records = [one for one in records if one not in odd]
    ours = [one for one in records if one.subject in members]
    called = {_reference(one.content, "medicationReference") for one in ours}
    drugs = [
        one
        for one in records
        if one.content["resourceType"] == "Medication" and (_is_drug(one.content.get("code")) or _names(one) & called)
    ]
    current: dict[str, _Record] = {}
    for one in [*ours, *drugs]:
        before = current.get(one.name)
        if before is None or _updated(before) <= _updated(one):
            current[one.name] = one
    return Expected(members, {name: one.body for name, one in current.items()}, aside, lines, arrived)


def _read(line: bytes, place: str, records: list[_Record], aside: set[tuple[str, str]]) -> None:
    """One line: a resource, a Bundle's entries, or why there is none."""
    try:
        content = json.loads(line.decode("utf-8"), parse_constant=_refuse)
    except UnicodeDecodeError:
        aside.add((place, "invalid-utf-8"))
        return
    except ValueError:
        aside.add((place, "not-json"))
        return
    except RecursionError:
        aside.add((place, "too-deep"))
        return
    if isinstance(content, dict) and content.get("resourceType") == "Bundle":
        found: list[tuple[str | None, _Record]] = []
        for number, entry in enumerate(content["entry"]):
            body = json.dumps(entry["resource"]).encode()
            reason = _fault(entry["resource"])
            if reason:
                aside.add((f"{place}:entry[{number}]", reason))
            else:
                found.append(
                    (entry.get("fullUrl"), _Record(entry["resource"], body, _subject(entry["resource"]), place))
                )
        called = {url: one.name for url, one in found if url}
        records += [one._replace(subject=called.get(one.subject or "", one.subject)) for _, one in found]
    elif reason := _fault(content):
        aside.add((place, reason))
    else:
        records.append(_Record(content, line, _subject(content), place))


def _refuse(constant: str) -> NoReturn:
    raise ValueError(constant)


def _fault(content: Any) -> str | None:
    if not isinstance(content, dict):
        return "no-resource" if content is None else "unreadable"
    kind, id_ = content.get("resourceType"), content.get("id")
    if not isinstance(kind, str | None) or not isinstance(id_, str | None):
        return "unreadable"
    return None if kind and id_ else "no-id" if kind else "no-type"


def _reads_meta(content: Json) -> bool:
    """What is wrong with it shows only where somebody looks: a line of nobody in the cohort is not looked at."""
    meta = content.get("meta", {})
    return isinstance(meta, dict) and all(isinstance(meta.get(one), str | None) for one in ("versionId", "lastUpdated"))


def _subject(content: Json) -> str | None:
    if content["resourceType"] == "Patient":
        return f"Patient/{content['id']}"
    return _reference(content, "subject") or _reference(content, "patient")


def _reference(content: Json, name: str) -> str | None:
    element = content.get(name)
    text = element.get("reference") if isinstance(element, dict) else None
    return _local(text) if isinstance(text, str) and text else None


def _local(text: str) -> str:
    return "/".join(text.split("/_history/")[0].rstrip("/").split("/")[-2:])


def _cohort(records: list[_Record]) -> set[str]:
    drugs = {
        name
        for one in records
        if one.content["resourceType"] == "Medication" and _is_drug(one.content.get("code"))
        for name in _names(one)
    }
    members = {
        one.subject
        for one in records
        if one.content["resourceType"] == "MedicationAdministration"
        and _gives(one.content, drugs)
        and one.subject
        and one.subject.startswith("Patient/")
    }
    links = [(one.name, other) for one in records for other in _same_person(one.content)]
    while joining := {end for link in links if members & set(link) for end in link} - members:
        members |= joining
    return members


def _gives(content: Json, drugs: set[str]) -> bool:
    concept = content.get("medicationCodeableConcept")
    if isinstance(concept, dict):
        return _is_drug(concept)
    text = _reference(content, "medicationReference")
    if text is not None and text.startswith("#"):
        return any(one["id"] == text[1:] and _is_drug(one["code"]) for one in content.get("contained", []))
    return text in drugs


def _is_drug(concept: Any) -> bool:
    codings = concept.get("coding", []) if isinstance(concept, dict) else []
    return any((one.get("system"), one.get("code")) == (_ATC, _DRUG) for one in codings)


def _names(medication: _Record) -> set[str | None]:
    return {medication.name, f"urn:uuid:{medication.content['id']}"}


def _same_person(content: Json) -> Iterator[str]:
    if content["resourceType"] == "Patient":
        for link in content.get("link", []):
            yield _local(link["other"]["reference"])


def _updated(one: _Record) -> str:
    return str(one.content.get("meta", {}).get("lastUpdated") or "")
