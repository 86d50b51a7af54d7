"""Results as text for people or as one JSON object for machines. The last line of text is always the summary."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import click
import msgspec

from dm_fhir.errors import in_a_line
from dm_fhir.model.findings import by_severity, meaning_of, severity_of
from dm_fhir.store.stops import Stop
from dm_fhir.sync.bulk.order import BULK
from dm_fhir.sync.summary import Attention, SiteSummary

T = TypeVar("T")
_STATES = {0: "complete", 3: "partial"}
_MOST_LINES = 10
#: So many parts of an export are named besides the first.
_MOST_QUERIES = 2
#: Up to so many sites each is told by itself.
FEW = 10
_MEND_AT_SOURCE = "mend it at its source and read it again"
_FILTER_IGNORED = "filter_ignored:"
#: The patients without a case that somebody may miss.
_WITHOUT_CASE = ("merged into another", "left the cohort")


def report(
    command: str,
    summaries: Sequence[SiteSummary],
    exit_code: int,
    *,
    as_json: bool,
    lines: Sequence[str] = (),
    quiet: bool = False,
    each: bool = False,
    **more: Any,
) -> int:
    """Print what a command came to, and hand its exit code back.

    `quiet`: of the sites only what needs attention. `each`: of every site, however many there are. Of what is for machines the last line also tells `outcomes` and `seconds`.
    """
    if as_json:
        click.echo(document(command, summaries, exit_code, **more))
    else:
        for line in (*lines, *_of_sites(summaries, quiet=quiet, each=each)):
            click.echo(line)
        outcomes, seconds = more.get("outcomes"), more.get("seconds", {}).get("total")
        click.echo(closing_line(command, summaries, exit_code, outcomes=outcomes, seconds=seconds))
    return exit_code


def _of_sites(summaries: Sequence[SiteSummary], *, quiet: bool, each: bool) -> list[str]:
    from dm_fhir.cli.many_sites import many_lines

    if len(summaries) > FEW and not each:
        return many_lines(summaries, quiet=quiet)
    of_site = attention_lines if quiet else site_lines
    return [line for summary in summaries for line in of_site(summary)]


def document(command: str, sites: Sequence[object], exit_code: int, **more: Any) -> str:
    """The JSON object: command, state, exit_code, sites, and what the command adds."""
    head = {"command": command, "state": _STATES.get(exit_code, "failed"), "exit_code": exit_code}
    return msgspec.json.encode({**head, "sites": sites, **more}).decode()


def error_document(command: str, exit_code: int, error: str, sites: Sequence[object] = (), **more: Any) -> str:
    """The JSON object of a command that could not do its work."""
    return document(command, sites, exit_code, state="failed", error=error, **more)


def site_lines(summary: SiteSummary) -> list[str]:
    """A site in a few lines: where it stands, then what needs attention."""
    lines = [f"{summary.site}: {_where(summary)}", *_attention_of(summary)]
    if summary.acknowledged:
        lines.append(f"  set aside and acknowledged: {len(summary.acknowledged)}")
    lines += _findings(summary)
    if summary.without_patient:
        lines.append(f"  in no case, because they name no patient: {counted(summary.without_patient)}")
    if summary.deleted_by_type:
        lines.append(f"  deleted on the server, kept here and not used: {counted(summary.deleted_by_type)}")
    return lines + _remarks(summary)


def attention_lines(summary: SiteSummary) -> list[str]:
    """What needs attention at a site; empty if nothing does."""
    found = _attention_of(summary)
    return [f"{summary.site}: {_how_far(summary)}", *found] if found else []


def _attention_of(summary: SiteSummary) -> list[str]:
    lines = _stopped(summary)
    lines += capped(alike(summary.attention), _attention, "units that need attention", "dm-fhir failed")
    lines += _held(summary)
    lines += [f"  {line}" for line in _why_set_aside(summary.set_aside)]
    lines += capped(
        list(summary.set_aside.items()),
        lambda one: f"  set aside: {one[0]} ({one[1]}); {_MEND_AT_SOURCE}, or acknowledge it: dm-fhir quarantine",
        "set aside",
        "dm-fhir quarantine",
    )
    return lines + capped(summary.unreadable, lambda one: f"  unreadable: {one}; {_MEND_AT_SOURCE}", "unreadable")


def _stopped(summary: SiteSummary) -> list[str]:
    """What was given up at a site when it was last tried, or by a run that could not keep it."""
    lines = list(map(stop_line, summary.stops))
    is_kept = any(stop.message == summary.error for stop in summary.stops)
    return lines if is_kept or not summary.error else [f"  stopped: {in_a_line(summary.error)}", *lines]


def stop_line(stop: Stop) -> str:
    """What was given up at a site, at which step, and since when that is so."""
    since = stop.tried if stop.since == stop.tried else f"since {stop.since}, last tried {stop.tried}"
    return f"  stopped: {in_a_line(stop.message)} ({stop.step}, {since})"


def _held(summary: SiteSummary) -> list[str]:
    """Who is held back, in a line; in another who of them has no case yet."""
    found = [
        ("held back until their records are complete, with what they had", [*summary.held]),
        ("of these still without a case", summary.without_case),
    ]
    return [f"  {what}: {number_of(len(some), 'patient')}: {_named(some)}" for what, some in found if some]


def _named(names: Sequence[str]) -> str:
    """The first of them, and how many more."""
    more = len(names) - _MOST_LINES
    return f"{', '.join(names[:_MOST_LINES])}{f' and {more} more: dm-fhir status --json' if more > 0 else ''}"


def _findings(summary: SiteSummary) -> list[str]:
    """A line for each kind of finding, the gravest first. Records that cannot be read have been named one by one."""
    codes = [code for code in by_severity(summary.findings) if severity_of(code) != "error"]
    found = [
        f"{summary.findings[code]} {code} in {number_of(summary.finding_patients[code], 'patient')}" for code in codes
    ]
    lines = [f"  {severity_of(c)}: {told}: {meaning_of(c)}" for c, told in zip(codes, found, strict=True)]
    where = f"dm-fhir findings --site {summary.site}"
    return [*capped(lines, str, "kinds of finding", where), *([f"  which records: {where}"] if lines else [])]


#: What is wrong with a thing that was set aside, by the ledger's word for it: one of them, several of them.
_SET_ASIDE = {
    "invalid-utf-8": ("resource is not valid UTF-8", "resources are not valid UTF-8"),
    "not-json": ("resource is no JSON", "resources are no JSON"),
    "file-cut-off": ("file is cut off", "files are cut off"),
    "file-damaged": ("file is damaged", "files are damaged"),
    "not-json-number": ("resource holds NaN or Infinity", "resources hold NaN or Infinity"),
    "ambiguous-json": ("resource is ambiguous JSON", "resources are ambiguous JSON"),
    "faulty-row": ("row of an imported table", "rows of imported tables"),
    "no-id": ("resource without id", "resources without id"),
    "too-deep": ("resource is nested too deeply", "resources are nested too deeply"),
}


def _why_set_aside(set_aside: Mapping[str, str]) -> list[str]:
    """Each kind of thing set aside, in a sentence."""
    return [_one_kind(reason, count) for reason, count in sorted(Counter(set_aside.values()).items())]


def _one_kind(reason: str, count: int) -> str:
    one, several = _SET_ASIDE.get(reason, ("unusable entry", "unusable entries"))
    what = one if count == 1 else several
    is_told = " is " in what or " are " in what or " hold" in what
    was = "was" if count == 1 else "were"
    return f"{count} {what} {'and ' if is_told else ''}{was} set aside"


def _remarks(summary: SiteSummary) -> list[str]:
    """What is worth knowing of the server, and keeps nothing from being complete."""
    notes, lines = summary.notes, []
    if summary.server_messages:
        lines.append(f"  server: {_said(summary.server_messages)}")
    elif notes.get("authorised_view_only"):
        answers = notes["authorised_view_only"]
        lines.append(f"  server: what it sends may not contain the entire record ({answers} answers)")
    elif notes.get("server_message"):
        lines.append(f"  server: {notes['server_message']} remarks with its answers")
    ignored = [name.removeprefix(_FILTER_IGNORED) for name in notes if name.startswith(_FILTER_IGNORED)]
    if ignored:
        lines.append(f"  server ignored {', '.join(ignored)}; filtered here")
    if notes.get("next_rewritten") or notes.get("plain_http_links"):
        lines.append("  the server hands out http links")
    return lines


def _said(messages: Mapping[str, int]) -> str:
    """The most frequent message, and how many others there are."""
    (message, count), *others = messages.items()
    more = f"; and {len(others)} other messages: dm-fhir status --json" if others else ""
    return f"{in_a_line(message.removeprefix('server: '))} ({count} units){more}"


def _where(summary: SiteSummary) -> str:
    parts = [
        _how_far(summary),
        f"{sum(summary.resources.values())} resources",
        _patients(summary.patients),
        number_of(sum(summary.findings.values()), "finding") if summary.findings else "",
        f"outcomes on the server: {counted(summary.pushed)}" if summary.pushed else "",
    ]
    return "; ".join(part for part in parts if part)


def _how_far(summary: SiteSummary) -> str:
    if summary.complete_until:
        return f"complete until {summary.complete_until}"
    return "not complete" if summary.units else "never pulled"


def _patients(patients: Mapping[str, int]) -> str:
    """How many patients make a case, and how many made one that no longer counts."""
    apart = counted({state: patients[state] for state in _WITHOUT_CASE if patients.get(state)})
    cases = f"{patients.get('case', 0)} cases" if patients else ""
    return ", ".join(part for part in (cases, apart) if part)


def alike(attention: Sequence[Attention]) -> list[list[Attention]]:
    """What is open, the parts of an export together where the same is wrong with them; every other unit by itself."""
    groups: dict[object, list[Attention]] = {}
    for place, one in enumerate(attention):
        is_of_export = one.query.startswith(BULK)
        groups.setdefault((one.state, one.reason, one.message) if is_of_export else place, []).append(one)
    return list(groups.values())


def queries_of(some: Sequence[Attention]) -> str:
    """`bulk: Condition`; of several `bulk: Condition, Observation, Patient and 7 more`."""
    first, *others = some
    names = [one.query.removeprefix(BULK) for one in others]
    more = len(names) - _MOST_QUERIES
    return f"{', '.join([first.query, *names[:_MOST_QUERIES]])}{f' and {more} more' if more > 0 else ''}"


def _attention(some: Sequence[Attention]) -> str:
    one = some[0]
    whose = f"{one.patient} " if one.patient else ""
    return f"  {one.state}: {whose}{queries_of(some)}: {in_a_line(one.message or one.reason or '')}"


def capped(
    things: Sequence[T],
    line: Callable[[T], str],
    what: str,
    where: str = "dm-fhir status --json",
    most: int = _MOST_LINES,
) -> list[str]:
    """A line for each of the first things, and one that counts the others and says where they are."""
    more = len(things) - most
    rest = [f"  … and {more} more {what}; all of them: {where}"] if more > 0 else []
    return [*map(line, things[:most]), *rest]


def counted(counts: Mapping[str, int]) -> str:
    """`3 complete, 1 partial`; empty if there is nothing."""
    return ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in counts.items())


def number_of(count: int, one: str) -> str:
    """`1 fault`, `2 faults`, `0 faults`."""
    return f"{count} {one}{'' if count == 1 else 's'}"


def closing_line(
    command: str,
    summaries: Sequence[SiteSummary],
    exit_code: int,
    *,
    outcomes: Mapping[str, int] | None = None,
    seconds: float | None = None,
) -> str:
    """The one line that a scheduler's log must have."""
    units = units_of(summaries) if summaries else None
    return last_line(command, exit_code, units=units, outcomes=outcomes, seconds=seconds)


def units_of(summaries: Sequence[SiteSummary]) -> dict[str, int]:
    """How many units of all sites are in each state."""
    return dict(sorted(sum((Counter(summary.units) for summary in summaries), Counter[str]()).items()))


def last_line(
    command: str,
    exit_code: int,
    *,
    units: Mapping[str, int] | None = None,
    outcomes: Mapping[str, int] | None = None,
    seconds: float | None = None,
) -> str:
    """`sync: units: 40 complete, 1 partial; outcomes: 12 written; 3.2 s; exit 3 (partial: …)`; None: not a word of it."""
    told = [
        f"units: {counted(units) or 'none'}" if units is not None else "",
        f"outcomes: {counted(outcomes)}" if outcomes else "",
        f"{seconds:.1f} s" if seconds is not None else "",
        f"exit {exit_code}{_NEXT_OF.get((command, exit_code)) or _NEXT.get(exit_code, '')}",
    ]
    return f"{command}: {'; '.join(part for part in told if part)}"


_NEXT = {
    0: " (complete)",
    1: " (failed)",
    2: " (mend the configuration, then run again)",
    3: " (partial: what is named above; the next pull asks again for what is open)",
    4: " (server unavailable: run again later)",
    5: " (login refused: check the credentials)",
    7: " (conflict: look at what is named above)",
    11: " (another run holds the lock: wait for it)",
    130: " (interrupted: the same command goes on)",
}
_NEXT_OF = {("import", 3): " (partial: what is named above; dm-fhir failed says what mends it)"}
