"""What is said of more sites than fit on a screen: how many are how, what is wrong, what is wrong at many of them, the worst first."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from dm_fhir.cli.reporter import FEW, attention_lines, counted, number_of
from dm_fhir.errors import EXIT_PRECEDENCE
from dm_fhir.sync.public_words import query_said, reason_said
from dm_fhir.sync.summary import SiteSummary

#: What is the same at so many sites is told once.
_COMMON = 3
_MOST_NAMES, _MOST_LINES_OF_A_SITE = 4, 4
_STATES = ("complete", "partial", "failed", "never pulled")
_ALL = "dm-fhir status --all"


def many_lines(summaries: Sequence[SiteSummary], *, quiet: bool = False) -> list[str]:
    """How many sites are how; then what needs attention, the worst first; then the complete ones. `quiet`: nothing of these."""
    states = Counter(map(state_of, summaries))
    lines = [f"{len(summaries)} sites: {counted({state: states[state] for state in _STATES if states[state]})}"]
    faults = {summary.site: set(_faults(summary)) for summary in summaries}
    common = _common(faults.values())
    lines += [_common_line(fault, [site for site, some in faults.items() if fault in some]) for fault in common]
    others = sorted((one for one in summaries if faults[one.site] - set(common)), key=_rank)
    for summary in others[:FEW]:
        lines += _of_site(summary)
    if len(others) > FEW:
        lines.append(f"… and {len(others) - FEW} more sites that need attention; all of them: {_ALL}")
    complete = [one.complete_until for one in summaries if state_of(one) == "complete" and one.complete_until]
    if complete and not quiet:
        lines.append(f"complete: {number_of(len(complete), 'site')}, all of them until {min(complete)}; each: {_ALL}")
    return lines


def state_of(summary: SiteSummary) -> str:
    """How a site stands, in one of four words."""
    if summary.error or summary.exit_code() not in (0, 3):
        return "failed"
    if not summary.units:
        return "never pulled"
    return "partial" if summary.exit_code() else "complete"


def _faults(summary: SiteSummary) -> Iterator[str]:
    """What is wrong with a site, in words that are the same wherever it is the same."""
    if summary.error:
        yield f"stopped: {summary.stopped_by}"
    elif not summary.units:
        yield "never pulled"
    for one in summary.attention:
        yield f"{one.state}: {query_said(one.query)} ({reason_said(one.reason) or 'no reason'})"
    if summary.set_aside:
        yield "something was set aside: dm-fhir quarantine"
    if summary.unreadable:
        yield "records that cannot be read: dm-fhir findings"
    for state in ("conflict", "rejected", "sending", "blocked"):
        if summary.pushed.get(state):
            yield f"outcomes {'not settled' if state == 'sending' else state}: dm-fhir push --dry-run"


def _common(faults: Iterable[set[str]]) -> list[str]:
    """What is wrong at several sites, by how many."""
    counts = Counter(fault for some in faults for fault in some)
    return [fault for fault, count in sorted(counts.items(), key=lambda one: (-one[1], one[0])) if count >= _COMMON]


def _common_line(fault: str, sites: Sequence[str]) -> str:
    more = len(sites) - _MOST_NAMES
    return f"at {len(sites)} sites: {fault}: {', '.join(sites[:_MOST_NAMES])}{f' and {more} more' if more > 0 else ''}"


def _of_site(summary: SiteSummary) -> list[str]:
    lines = attention_lines(summary) or [f"{summary.site}: {next(_faults(summary))}"]
    more = len(lines) - 1 - _MOST_LINES_OF_A_SITE
    if more <= 0:
        return lines
    return [*lines[: 1 + _MOST_LINES_OF_A_SITE], f"  … and {more} more lines: dm-fhir status --site {summary.site}"]


def _rank(summary: SiteSummary) -> tuple[bool, int, int, str]:
    """The worst first: what stopped, what no retry mends, and where most is open."""
    return not summary.error, EXIT_PRECEDENCE.index(summary.exit_code()), -len(summary.attention), summary.site
