"""What explain says to people: a block a record, from what was recorded down to the run that brought it."""

from collections.abc import Sequence
from fractions import Fraction
from typing import TYPE_CHECKING

from dm_fhir.cli.map_check import printable
from dm_fhir.cli.reporter import capped

if TYPE_CHECKING:
    from dm_fhir.mappings.left_out import LeftOut
    from dm_fhir.model.case import Case, Finding
    from dm_fhir.outcomes.working import Step, Working
    from dm_fhir.report.walk import Explained, HeldAgainst, NotUsed, Record, Resource

_ROLES = {
    "followup": "follow-up",
    "earlier_followup": "follow-up before",
    "first_exposure": "first exposure",
    "baseline_damage": "baseline, damage",
    "followup_damage": "follow-up, damage",
}
#: What a measure of a composite came to.
_CAME_TO = {
    "uln": "ULN",
    "improved_20": "improved by >= 20 %:",
    "worse_20": "worse by >= 20 %:",
    "worse_25": "worse by >= 25 %:",
    "worse_30": "worse by >= 30 %:",
    "worse_above_30": "worse by > 30 %:",
    "worse_2_cm": "worse by >= 2 cm:",
    "kept": "kept:",
}
#: Said by the criteria already.
_IN_CRITERIA = {"population"}
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
        when = f", {one.when}" if one.when and one.when != said else ""
        visit = f" ({one.visit})" if one.visit and not one.name.endswith(f"@{one.visit}") else ""
        lines.append(f"    {one.name}: {said}{when}{visit}{flags}")
    lines.append("  values:")
    for value in listed_values(case):
        said = f": {value.value}" if value.value else ""
        why = f" (not used: {reason_words(value.reason)})" if value.reason else ""
        lines.append(f"    {value.reference}: {value.variable}{said}{f', {value.when}' if value.when else ''}{why}")
    return [*map(printable, lines), "next: dm-fhir explain CASE with one of these names, or a reference"]


def outcome_lines(one: "Explained") -> list[str]:
    """An outcome and its way back."""
    from dm_fhir.outcomes.answers import answer_words
    from dm_fhir.report.words import reason_words, unit_words

    lines = [f"  {one.name}: {one.label}"]
    if one.number is not None:
        exact = f" (exactly {one.number})" if one.number != one.shown else ""
        lines.append(f"    value      {one.shown} {unit_words(one.unit)}{exact}{f', {one.when}' if one.when else ''}")
    elif one.answer is not None:
        lines.append(f"    answer     {answer_words(one.answer)}{f', {one.when}' if one.when else ''}")
    elif one.date is not None:
        lines.append(f"    value      {one.date}")
    else:
        lines += [f"    no value   {reason_words(reason)} ({reason})" for reason in one.reasons]
    lines.append(f"    rule       {one.rule}, version {one.rule_version}: docs/outcomes.md")
    lines += [f"    reckoned   {one.arithmetic} = {one.number}"] if one.arithmetic else []
    lines += _working(one.working) if one.working is not None else []
    lines += [f"    flags      {', '.join(one.flags)}"] if one.flags else []
    lines += [f"    visit      stands for {one.visit}"] if one.visit and one.about else []
    lines += [_verdict(held) for held in one.verdicts if held.words or held.id not in _IN_CRITERIA]
    for record in one.inputs:
        lines += _record(record)
    if one.not_used:
        lines.append("  considered and not used:")
        lines += capped(one.not_used, _not_used, "records", "with --json", _MOST_NOT_USED)
    return list(map(printable, lines))


def _working(one: "Working") -> list[str]:
    """The criteria, the definitions used, and a line a measure."""
    lines = [f"    {'criteria' if index == 0 else '':<10} {words}" for index, words in enumerate(one.criteria)]
    lines += [f"    by         {name}: {value}" for name, value in one.definitions.items()]
    return lines + [f"    measure    {_step(step)}" for step in one.steps]


def _step(one: "Step") -> str:
    from dm_fhir.outcomes.labels import label
    from dm_fhir.report.words import reason_words, unit_words

    name = label(one.variable or one.measure)
    values = f"{one.baseline or '(none)'} to {one.followup or '(none)'}"
    if "kept" in one.came_to:
        values = one.followup or "(none)"
    came_to = ", ".join(
        f"{_CAME_TO.get(key, key)} {_percent(value) if key == 'percent' else value}"
        for key, value in one.came_to.items()
    )
    reasons = ", ".join(map(reason_words, one.reasons))
    at = f" at {one.visit.replace('_', ' ')}" if one.visit else ""
    unit = f" {unit_words(one.unit)}" if one.unit else ""
    return "; ".join(
        part for part in (f"{name}{at}: {values}{unit}", came_to, f"unknown: {reasons}" if reasons else "") if part
    )


def _percent(text: str) -> str:
    """An exact percentage rounded; one that is only known within bounds as it is."""
    from dm_fhir.model.exact import shown

    return text if text[0] in "<>" else f"{shown(Fraction(text))} %"


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


def _verdict(one: "HeldAgainst") -> str:
    """A published definition, what it says of this number, and who says so; or a definition that was used."""
    from dm_fhir.report.words import verdict_words

    said = (one.verdict or "not decided").replace("_", " ")
    if not one.words:
        return f"    by         {verdict_words(one.id)}: {said}"
    return f"    by         {one.id}: {said} ({one.words}; {one.source}; {one.status})"


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
