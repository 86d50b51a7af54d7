"""Results as text for people or as one JSON object for machines. The last line of text is always the summary."""

from collections.abc import Mapping, Sequence
from typing import Any

import click
import msgspec

from dm_fhir.errors import DmFhirError
from dm_fhir.sync.summary import SiteSummary

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


def document(command: str, summaries: Sequence[SiteSummary], exit_code: int, **more: Any) -> str:
    """The JSON object: command, state, exit_code, sites, and what the command adds."""
    head = {"command": command, "state": _STATES.get(exit_code, "failed"), "exit_code": exit_code}
    return msgspec.json.encode({**head, "sites": summaries, **more}).decode()


def error_document(error: Exception) -> str:
    """The JSON object of a command that could not do its work."""
    code = error.exit_code if isinstance(error, DmFhirError) else 1
    return msgspec.json.encode({"state": "failed", "exit_code": code, "sites": [], "error": str(error)}).decode()


def site_lines(summary: SiteSummary) -> list[str]:
    """A site in a few lines: where it stands, then what needs attention."""
    lines = [f"{summary.site}: {_where(summary)}"]
    lines += [f"  stopped: {line}" for line in (summary.error or "").splitlines()]
    lines += _capped([_attention(one) for one in summary.attention], "units that need attention")
    lines += _capped([f"  set aside: {place} ({reason})" for place, reason in summary.set_aside.items()], "set aside")
    lines += _capped([f"  unreadable: {reference}" for reference in summary.unreadable], "unreadable")
    return lines


def _where(summary: SiteSummary) -> str:
    parts = [
        f"complete until {summary.complete_until}"
        if summary.complete_until
        else "not complete"
        if summary.units
        else "never pulled",
        f"resources {sum(summary.resources.values())}",
        f"cases {summary.patients.get('case', 0)}",
        f"findings {_counted(summary.findings)}" if summary.findings else "",
        f"outcomes on the server {_counted(summary.pushed)}" if summary.pushed else "",
    ]
    return "; ".join(part for part in parts if part)


def _attention(one: Any) -> str:
    whose = f"{one.patient} " if one.patient else ""
    return f"  {one.state}: {whose}{one.query}: {one.message or one.reason}"


def _capped(lines: list[str], what: str) -> list[str]:
    more = len(lines) - _MOST_LINES
    return (
        lines
        if more <= 0
        else [*lines[:_MOST_LINES], f"  … and {more} more {what}; all of them: dm-fhir status --json"]
    )


def _counted(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in counts.items())


def closing_line(command: str, summaries: Sequence[SiteSummary], exit_code: int) -> str:
    """The one line that a scheduler's log must have."""
    units: dict[str, int] = {}
    for summary in summaries:
        for state, count in summary.units.items():
            units[state] = units.get(state, 0) + count
    meaning = _NEXT.get(exit_code, "")
    return f"{command}: units: {_counted(units) or 'none'}; exit {exit_code}{meaning}"


_NEXT = {
    0: " (complete)",
    1: " (failed)",
    2: " (mend the configuration, then run again)",
    3: " (partial: what is named above; the next pull asks for it again)",
    4: " (server unavailable: run again later)",
    5: " (login refused: check the credentials)",
    7: " (conflict: look at what is named above)",
}
