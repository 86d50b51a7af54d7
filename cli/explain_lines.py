"""What explain says to people: a block a record, from what was recorded down to the run that brought it."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from dm_fhir.cli.map_check import printable
from dm_fhir.cli.reporter import capped

if TYPE_CHECKING:
    from dm_fhir.mappings.left_out import LeftOut
    from dm_fhir.model.case import Case, Finding
    from dm_fhir.report.walk import Explained, NotUsed, Record, Resource

_ROLES = {"followup": "follow-up", "first_exposure": "first exposure"}
_MOST_QUERIES = 3
_MOST_NOT_USED = 20


def case_lines(case: "Case") -> list[str]:
    """Every outcome and every value of a case, with the name by which it can be asked for."""
    from dm_fhir.report.walk import listed_outcomes, listed_values
    from dm_fhir.report.words import reason_words

    lines = ["  outcomes:"]
    for one in listed_outcomes(case):
        reasons = ", ".join(map(reason_words, one.reasons))
        said = one.value or f"not computed ({reasons})"
        flags = f" [{', '.join(one.flags)}]" if one.flags else ""
        lines.append(f"    {one.name}: {said}{f', {one.when}' if one.when and one.when != said else ''}{flags}")
    lines.append("  values:")
    for value in listed_values(case):
        said = f": {value.value}" if value.value else ""
        why = f" (not used: {reason_words(value.reason)})" if value.reason else ""
        lines.append(f"    {value.reference}: {value.variable}{said}{f', {value.when}' if value.when else ''}{why}")
    return [*map(printable, lines), "next: dm-fhir explain CASE with one of these names, or a reference"]


def outcome_lines(one: "Explained") -> list[str]:
    """An outcome and its way back."""
    from dm_fhir.outcomes.labels import answer_words
    from dm_fhir.report.words import reason_words, unit_words, verdict_words

    lines = [f"  {one.name}: {one.label}"]
    if one.number is not None:
        exact = f" (exactly {one.number})" if one.number != one.shown else ""
        lines.append(f"    value      {one.shown} {unit_words(one.unit)}{exact}{f', {one.when}' if one.when else ''}")
    elif one.date is not None:
        lines.append(f"    value      {one.date}")
    elif one.answer is not None:
        lines.append(f"    answer     {answer_words(one.answer)} ({one.answer}){f', {one.when}' if one.when else ''}")
    else:
        lines += [f"    no value   {reason_words(reason)} ({reason})" for reason in one.reasons]
    lines.append(f"    rule       {one.rule}, version {one.rule_version}: docs/outcomes.md")
    lines += [f"    reckoned   {one.arithmetic} = {one.number}"] if one.arithmetic else []
    lines += [f"    flags      {', '.join(one.flags)}"] if one.flags else []
    lines += [f"    by         {verdict_words(name)}: {value}" for name, value in one.verdicts.items()]
    for record in one.inputs:
        lines += _record(record)
    if one.not_used:
        lines.append("  considered and not used:")
        lines += capped(one.not_used, _not_used, "records", "with --json", _MOST_NOT_USED)
    return list(map(printable, lines))


def record_lines(
    records: "Sequence[Record]", uses: Sequence[tuple[str, str]], findings: "Sequence[Finding]"
) -> list[str]:
    """A record, what it is used for, and what was found about it."""
    lines = [line for record in records for line in _record(record)]
    lines += [f"  used by {name} as {_ROLES.get(role, role)}" for name, role in uses]
    lines += [] if uses else ["  no outcome rests on it"]
    lines += [_finding(finding) for finding in findings]
    return list(map(printable, lines))


def left_out_lines(
    reference: str, patient: str, subject: str | None, why: "LeftOut | None", resource: "Resource"
) -> list[str]:
    """A record that is not in the case, and why."""
    lines = [f"  {reference}: not in the case"]
    if reference == subject:
        lines = [f"  {reference}: says who the patient is; no value is taken from it but sex, age and death"]
    elif subject != patient:
        lines.append(f"    whose      {subject or 'nobody named'}, not {patient}")
    if why is None:
        lines.append("    why        the server has it no longer")
    else:
        lines += [f"    why        {reason}" for reason in why.why]
        lines += [f"  {_finding(finding)}" for finding in why.findings]
        lines += [_code(one.element, one.system, one.code, one.display, one.variable) for one in why.codes]
    return list(map(printable, [*lines, *_resource(resource)]))


def _record(one: "Record") -> list[str]:
    from dm_fhir.report.words import reason_words

    role = f"{_ROLES.get(one.role, one.role)}: " if one.role else ""
    variable = f", {one.variable}" if one.variable else ""
    lines = [f"  {role}{one.reference}{variable}{f', {one.when}' if one.when else ''}"]
    if one.recorded:
        status = f" (status {one.status})" if one.status else ""
        lines.append(f"    recorded   {one.recorded} in {one.element}{status}")
    converted = next((row for row in one.rows if row.factor is not None), None)
    if converted is not None and one.number is not None:
        lines += [f"    read as    {converted.read_as}"] if converted.read_as is not None else []
        unit = converted.unit or "without unit"
        lines.append(f"    converted  {unit} x {converted.factor} = {one.number} {one.unit or ''}")
    if one.mg_per_day is not None:
        lines.append(f"    a day      {one.mg_per_day} mg")
    if one.answer:
        lines.append(f"    means      {one.answer}")
    if one.bound != "exact":
        lines.append(f"    bound      {one.bound.replace('_', ' ')}")
    if one.reason:
        lines.append(f"    no number  {reason_words(one.reason)} ({one.reason})")
    lines += [f"    flags      {', '.join(one.flags)}"] if one.flags else []
    lines += [
        f"    row        [[{row.kind}]] {row.variable} by {row.system}|{row.code}: {row.origin}" for row in one.rows
    ]
    return [*lines, *(_resource(one.resource) if one.resource else ["    version    not in the store any more"])]


def _resource(one: "Resource") -> list[str]:
    parts = [
        f"version {one.version}" if one.version else "no version told",
        f"of {one.last_updated}" if one.last_updated else "",
        f"SHA-256 {one.hash}" if one.hash else "",
    ]
    run = f"run {one.run}" + (f" ({one.command}, {one.started})" if one.command else "")
    several = f"one of {len(one.queries)} queries: " if len(one.queries) > 1 else ""
    more = ", …" if len(one.queries) > _MOST_QUERIES else ""
    queries = f", by {several}{', '.join(one.queries[:_MOST_QUERIES])}{more}" if one.queries else ""
    return [
        f"    version    {', '.join(part for part in parts if part)}",
        *([] if one.is_current else ["               the store holds a newer version"]),
        *([f"               deleted on the server, noticed {one.deleted}"] if one.deleted else []),
        f"    {'read' if one.origin == 'file' else 'pulled'}{' ' * (7 if one.origin == 'file' else 5)}{run}{queries}",
    ]


def _not_used(one: "NotUsed") -> str:
    from dm_fhir.report.words import reason_words

    value = f", {one.number} {one.unit or ''}".rstrip() if one.number is not None else ""
    when = f", {one.when}" if one.when else ""
    return f"    {one.reference}, {one.variable}{value}{when}: {reason_words(one.reason)}"


def _finding(one: "Finding") -> str:
    return f"  finding {one.code} ({one.severity}){f' at {one.path}' if one.path else ''}: {one.done}"


def _code(element: str, system: str, code: str, display: str | None, variable: str | None) -> str:
    known = f"row {variable}" if variable else "no row knows it"
    name = f' "{display}"' if display else ""
    return f"    code       {system or '(no system)'}|{code}{name} in {element}: {known}"
