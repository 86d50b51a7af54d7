"""Results as text for people or as one JSON object for machines. The last line of text is always the summary."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import click
import msgspec

from dm_fhir.sync.summary import Attention, SiteSummary

_STATES = {0: "complete", 3: "partial"}
_MOST_LINES = 10


def report(
    command: str,
    summaries: Sequence[SiteSummary],
    exit_code: int,
    *,
    as_json: bool,
    lines: Sequence[str] = (),
    **more: Any,
) -> int:
    """Print what a command came to, and hand its exit code back."""
    if as_json:
        click.echo(document(command, summaries, exit_code, **more))
    else:
        for line in (*lines, *(line for summary in summaries for line in site_lines(summary))):
            click.echo(line)
        click.echo(closing_line(command, summaries, exit_code))
    return exit_code


def document(command: str, sites: Sequence[object], exit_code: int, **more: Any) -> str:
    """The JSON object: command, state, exit_code, sites, and what the command adds."""
    head = {"command": command, "state": _STATES.get(exit_code, "failed"), "exit_code": exit_code}
    return msgspec.json.encode({**head, "sites": sites, **more}).decode()


def error_document(command: str, exit_code: int, error: str) -> str:
    """The JSON object of a command that could not do its work."""
    return document(command, [], exit_code, state="failed", error=error)


def site_lines(summary: SiteSummary) -> list[str]:
    """A site in a few lines: where it stands, then what needs attention."""
    lines = [f"{summary.site}: {_where(summary)}"]
    lines += [f"  stopped: {_in_a_line(summary.error)}"] if summary.error else []
    lines += _capped([_attention(one) for one in summary.attention], "units that need attention")
    lines += _capped(
        [
            f"  set aside: {place} ({reason}); mend it at its source and read it again"
            for place, reason in summary.set_aside.items()
        ],
        "set aside",
    )
    lines += _capped(
        [f"  unreadable: {reference}; mend it at its source and read it again" for reference in summary.unreadable],
        "unreadable",
    )
    if summary.without_patient:
        lines.append(f"  in no case, because they name no patient: {counted(summary.without_patient)}")
    return lines


def _where(summary: SiteSummary) -> str:
    parts = [
        _how_far(summary),
        f"{sum(summary.resources.values())} resources",
        f"{summary.patients.get('case', 0)} cases" if summary.patients else "",
        f"findings: {counted(summary.findings)}" if summary.findings else "",
        f"outcomes on the server: {counted(summary.pushed)}" if summary.pushed else "",
    ]
    return "; ".join(part for part in parts if part)


def _how_far(summary: SiteSummary) -> str:
    if summary.complete_until:
        return f"complete until {summary.complete_until}"
    return "not complete" if summary.units else "never pulled"


def _attention(one: Attention) -> str:
    whose = f"{one.patient} " if one.patient else ""
    return f"  {one.state}: {whose}{one.query}: {_in_a_line(one.message or one.reason or '')}"


def _in_a_line(text: str) -> str:
    return "; ".join(line.strip() for line in text.splitlines())


def _capped(lines: list[str], what: str) -> list[str]:
    more = len(lines) - _MOST_LINES
    if more <= 0:
        return lines
    return [*lines[:_MOST_LINES], f"  … and {more} more {what}; all of them: dm-fhir status --json"]


def counted(counts: Mapping[str, int]) -> str:
    """`3 complete, 1 partial`; empty if there is nothing."""
    return ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in counts.items())


def closing_line(command: str, summaries: Sequence[SiteSummary], exit_code: int) -> str:
    """The one line that a scheduler's log must have."""
    units: Counter[str] = Counter()
    for summary in summaries:
        units.update(summary.units)
    told = f"units: {counted(units) or 'none'}; " if summaries else ""
    return f"{command}: {told}exit {exit_code}{_NEXT.get(exit_code, '')}"


_NEXT = {
    0: " (complete)",
    1: " (failed)",
    2: " (mend the configuration, then run again)",
    3: " (partial: what is named above; the next pull asks again for what is open)",
    4: " (server unavailable: run again later)",
    5: " (login refused: check the credentials)",
    7: " (conflict: look at what is named above)",
}
